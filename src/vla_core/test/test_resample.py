"""Chunks at another rate cover the same way."""

from dataclasses import replace
import math

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
import numpy as np
import pytest

from vla_core.errors import CheckpointError
from vla_core.policy import native_spec
from vla_core.resample import resample, to_velocities, velocity_units
from vla_core.types import Representation

#: Hz of the policy and of what is wanted.
RATES = [(10, 10), (10, 30), (10, 50), (30, 20)]
VALUES = st.floats(-10.0, 10.0, allow_subnormal=False)
COLUMNS = arrays.arrays(float, st.tuples(st.integers(1, 20), st.just(1)), elements=VALUES)
KINDS = list(Representation)
few = settings(max_examples=25)
PLANAR = replace(
    native_spec('planar'),
    action_names=('linear.x', 'linear.y', 'angular.z', 'gripper'),
    action_units=('m', 'm', 'rad', '1'),
    action_scale=(1.0,) * 4,
)


def brought(data, rates, kind, unit):
    return resample(data, 1 / rates[0], 1 / rates[1], kind, (unit,) * data.shape[1])


@pytest.mark.parametrize('rates', RATES)
@given(data=COLUMNS)
@few
def test_deltas_are_split_and_their_sum_stays(rates, data):
    rows = brought(data, rates, Representation.DELTA, 'm')
    assert abs(rows.sum() - data.sum()) <= 1e-9


@pytest.mark.parametrize('rates', RATES)
@given(data=COLUMNS)
@few
def test_deltas_arrive_when_they_were_meant_to(rates, data):
    rows = brought(data, rates, Representation.DELTA, 'm')
    total = np.concatenate(([0.0], np.cumsum(data)))
    ends = np.arange(1, len(rows) + 1) / rates[1]
    wanted = np.interp(ends, np.arange(len(data) + 1) / rates[0], total)
    np.testing.assert_allclose(np.cumsum(rows), wanted, atol=1e-9)


@pytest.mark.parametrize('rates', [(10, 10), (10, 30), (10, 50)])
@given(data=COLUMNS)
@few
def test_interpolated_velocities_cover_the_same_distance(rates, data):
    rows = brought(data, rates, Representation.VELOCITY, 'm/s')
    assert len(rows) == len(data) * rates[1] // rates[0]
    assert abs(rows.sum() / rates[1] - data.sum() / rates[0]) <= 1e-9


@pytest.mark.parametrize('rates', RATES)
@given(data=COLUMNS)
@few
def test_interpolated_velocities_stay_between_their_neighbours(rates, data):
    rows = brought(data, rates, Representation.VELOCITY, 'm/s')
    for index, row in enumerate(rows):
        middle = (index + 0.5) * rates[0] / rates[1] - 0.5
        low = min(max(math.floor(middle + 1e-9), 0), len(data) - 1)
        near = data[[low, min(low + 1, len(data) - 1)]]
        assert near.min() - 1e-9 <= row <= near.max() + 1e-9


@pytest.mark.parametrize('rates', RATES)
def test_a_growing_velocity_is_not_delayed(rates):
    data = np.arange(12.0)[:, None]
    rows = brought(data, rates, Representation.VELOCITY, 'm/s')
    middles = (np.arange(len(rows)) + 0.5) / rates[1] * rates[0] - 0.5
    inside = (middles >= 0.0) & (middles <= 11.0)
    np.testing.assert_allclose(rows[inside, 0], middles[inside], atol=1e-9)


@pytest.mark.parametrize('kind', KINDS)
@given(data=COLUMNS)
@few
def test_the_same_rate_changes_nothing(kind, data):
    np.testing.assert_allclose(brought(data, (10, 10), kind, 'm'), data, atol=1e-9)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('rates', RATES)
@given(data=COLUMNS)
@few
def test_the_gripper_is_held_and_never_in_between(kind, rates, data):
    rows = brought(data, rates, kind, '1')
    assert set(rows.ravel()) <= set(data.ravel())
    assert rows[0] == data[0]


@pytest.mark.parametrize('kind', [Representation.RELATIVE, Representation.ABSOLUTE])
@pytest.mark.parametrize('rates', RATES)
@given(data=COLUMNS)
@few
def test_poses_are_reached_at_the_end_of_their_steps(kind, rates, data):
    rows = brought(data, rates, kind, 'm')
    first = 0.0 if kind is Representation.RELATIVE else data[0, 0]
    ends = np.arange(1, len(rows) + 1) / rates[1] * rates[0]
    wanted = np.interp(ends, np.arange(len(data) + 1), [first, *data[:, 0]])
    np.testing.assert_allclose(rows[:, 0], wanted, atol=1e-9)


def test_angles_go_the_shorter_way_round():
    data = np.array([[3.0], [-3.0]])
    rows = brought(data, (10, 20), Representation.ABSOLUTE, 'rad')
    assert rows[2, 0] == pytest.approx(math.pi)
    assert rows[-1, 0] == pytest.approx(2 * math.pi - 3.0)


@pytest.mark.parametrize('rates', RATES)
def test_deltas_become_velocities_that_cover_the_same_way(rates):
    spec = replace(PLANAR, representation=Representation.DELTA, step_dt=1 / rates[0])
    data = np.random.default_rng(1).uniform(-0.1, 0.1, (9, 4))
    data[:, 3] = 0.7
    rows = to_velocities(data, spec, 1 / rates[1])
    np.testing.assert_allclose(rows[:, :3].sum(axis=0) / rates[1], data[:, :3].sum(axis=0))
    assert set(rows[:, 3]) == {0.7}


@pytest.mark.parametrize('rates', RATES)
def test_relative_poses_become_velocities_that_lead_there(rates):
    """Driving the velocities, seen from the robot, ends at the last pose."""
    spec = replace(PLANAR, representation=Representation.RELATIVE, step_dt=1 / rates[0])
    steps = np.arange(1, 31) / 30
    data = np.stack([np.sin(steps), 0.4 * (1 - np.cos(steps)), steps, steps > 0.5], axis=-1)
    pose = np.zeros(3)
    for forward, aside, turn, _ in to_velocities(data, spec, 1 / rates[1]) / rates[1]:
        heading = pose[2] + turn / 2
        pose[0] += math.cos(heading) * forward - math.sin(heading) * aside
        pose[1] += math.sin(heading) * forward + math.cos(heading) * aside
        pose[2] += turn
    np.testing.assert_allclose(pose, data[-1, :3], atol=1e-9)


def test_a_pose_straight_ahead_of_a_turned_robot_is_no_step_aside():
    spec = replace(PLANAR, representation=Representation.RELATIVE, step_dt=0.1)
    data = np.array([[0.0, 0.0, math.pi / 2, 0.0], [0.0, 0.1, math.pi / 2, 0.0]])
    np.testing.assert_allclose(to_velocities(data, spec, 0.1)[1], [1.0, 0.0, 0.0, 0.0], atol=1e-9)


@pytest.mark.parametrize('kind', [Representation.DELTA, Representation.RELATIVE])
def test_units_become_those_of_velocities(kind):
    units = velocity_units(replace(PLANAR, representation=kind))
    assert units == ('m/s', 'm/s', 'rad/s', '1')
    assert velocity_units(native_spec('native'))[0] == 'm/s'


def test_absolute_poses_are_refused():
    with pytest.raises(CheckpointError, match=r'planar gives ABSOLUTE .*expected VELOCITY, DELTA'):
        velocity_units(replace(PLANAR, representation=Representation.ABSOLUTE))


def test_speeds_that_are_called_deltas_are_refused():
    spec = replace(native_spec('native'), representation=Representation.DELTA)
    with pytest.raises(CheckpointError, match=r"native gives DELTA in 'm/s'"):
        velocity_units(spec)
