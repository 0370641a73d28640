"""What does not fit the robot, or is for evaluations only, is refused with both sides named."""

from dataclasses import replace

import numpy as np
import pytest

from vla_core.errors import CheckpointError, ConfigError
from vla_core.policy import native_spec
from vla_core.robot import AxisConfig, RobotConfig
from vla_core.types import Observation, Representation
from vla_inference import loading
from vla_inference.config import PolicyConfig
from vla_inference.loading import (
    check_fit,
    check_modes,
    check_patience,
    check_replanning,
    compare_speeds,
    load_policy,
    Loader,
)

AXIS = {'max_speed': 0.5, 'max_accel': 1.0, 'max_decel': 1.0}
SPEC = native_spec('fake')


def robot(simulated=True, source='linear.x', **options):
    axes = (
        AxisConfig(**AXIS, source=source),
        *(None,) * 4,
        AxisConfig(**AXIS, source='angular.z'),
    )
    name = 'sim' if simulated else 'real'
    return RobotConfig(name, axes, False, True, 'LOCALHOST', simulated=simulated, **options)


def config(**options):
    return PolicyConfig(**{'checkpoint': 'hold', 'robot': 'sim', **options})


def test_loader_makes_a_runner_and_keeps_its_contract():
    loader = Loader(config(checkpoint='scripted', fallback='hold'), robot(), print)
    with pytest.raises(CheckpointError, match='not loaded'):
        _ = loader.spec
    assert loader().spec.model_id == 'scripted'
    assert loader.spec.model_id == 'scripted'


@pytest.mark.parametrize('label', ['checkpoint', 'fallback'])
@pytest.mark.parametrize('name', ['scripted', 'faulty'])
def test_policy_for_the_simulated_robot_is_refused_on_a_real_one(label, name):
    with pytest.raises(ConfigError, match=rf'{label} is {name}.*robot is real'):
        Loader(config(**{label: name}), robot(simulated=False), print)()


def test_unknown_policy_names_what_is_known():
    with pytest.raises(ConfigError, match=r"'nobody'.*hold"):
        load_policy('nobody', 'cpu', print)


def test_fitting_policy_is_accepted():
    check_fit(SPEC, robot(gripper='gripper'))


@pytest.mark.parametrize('source', ['angular.x', 'wheel'])
def test_axis_without_a_fitting_action_is_refused(source):
    with pytest.raises(CheckpointError, match=rf'robot sim takes {source}.*fake'):
        check_fit(SPEC, robot(source=source))


def deltas(**options):
    units = ('m', 'm', 'm', 'rad', 'rad', 'rad', '1')
    return replace(SPEC, action_units=units, representation=Representation.DELTA, **options)


def test_what_can_be_made_velocities_is_accepted():
    check_fit(deltas(), robot(gripper='gripper'))
    check_fit(replace(deltas(), representation=Representation.RELATIVE), robot())


def test_absolute_poses_are_refused():
    with pytest.raises(CheckpointError, match=r'fake gives ABSOLUTE poses.*expected VELOCITY'):
        check_fit(replace(SPEC, representation=Representation.ABSOLUTE), robot())


def test_a_chunk_is_not_played_for_longer_than_the_gate_does():
    check_replanning(SPEC, robot(), 0.5)
    with pytest.raises(ConfigError, match=r'replan_after is 0\.6 s: robot sim plays .* 0\.6 s'):
        check_replanning(SPEC, robot(), 0.6)
    with pytest.raises(ConfigError, match=r'for 0\.3 s, expected less'):
        check_replanning(SPEC, robot(max_observation_age=0.3), 0.3)
    with pytest.raises(ConfigError, match=r'for 0\.2 s, expected less'):
        Loader(config(replan_after=0.4), robot(max_observation_age=0.2), print)()


def test_frames_without_an_answer_are_refused_in_lockstep():
    with pytest.raises(ConfigError, match=r'replan_after is 0\.3 s and clock is lockstep'):
        check_modes(config(clock='lockstep', replan_after=0.3), robot())


def test_the_execution_is_that_of_the_parameters(fake, monkeypatch):
    monkeypatch.setattr(loading, 'load_policy', lambda name, device, report: fake)
    steps = []
    for splice_time in (0.02, 1.0):
        loader = Loader(config(splice_time=splice_time), robot(), print)
        loader()
        made = loader.make_execution()
        rows = made.follow(made.velocities(np.full((8, 7), 0.01)), 0, 0)[1]
        steps.append(int(np.argmax(rows[:, 0] == 0.01)))
    assert steps == [1, 0], 'at once, and not within the chunk'


def test_slower_policy_than_the_robot_allows_is_refused():
    with pytest.raises(CheckpointError, match=r'max_inference is 0\.3 s: robot sim allows 0\.2'):
        check_fit(replace(SPEC, max_inference=0.3), robot())
    check_fit(replace(SPEC, max_inference=0.1), robot())


def test_lockstep_is_refused_on_a_real_robot():
    check_modes(config(clock='lockstep'), robot())
    with pytest.raises(ConfigError, match=r'lockstep.*real'):
        check_modes(config(clock='lockstep'), robot(simulated=False))


def test_blind_run_is_refused_on_the_steady_clock():
    check_modes(config(clock='lockstep', ablate_language=True), robot())
    with pytest.raises(ConfigError, match=r'ablate_language.*steady'):
        check_modes(config(ablate_language=True), robot())


@pytest.mark.parametrize('speeds', [{}, {'forward': 0.4, 'turn': 1.2}, {'forward': 0.0}])
def test_speeds_of_the_same_unit_are_no_matter(trained_on, speeds):
    assert compare_speeds(SPEC, robot()) == []
    assert compare_speeds(replace(SPEC, envelope=trained_on(90, **speeds)), robot()) == []


def test_deltas_are_compared_as_speeds(trained_on):
    envelope = trained_on(90, forward=0.04, turn=0.05)
    assert compare_speeds(deltas(envelope=envelope, step_dt=0.1), robot()) == []
    with pytest.raises(CheckpointError, match='millimetres'):
        compare_speeds(deltas(envelope=trained_on(90, forward=40.0), step_dt=0.1), robot())
    relative = deltas(envelope=trained_on(90, forward=40.0), step_dt=0.1)
    relative = replace(relative, representation=Representation.RELATIVE)
    assert compare_speeds(relative, robot()) == [], 'a distance is no speed'


@pytest.mark.parametrize(
    ('speeds', 'message'),
    [
        ({'forward': 400.0}, r'linear\.x up to 400 m/s.*sim allows 0\.5 .*millimetres per second'),
        ({'turn': 57.3}, r'angular\.z up to 57\.3 rad/s.*sim allows 0\.5.*degrees per second'),
    ],
)
def test_policy_trained_in_another_unit_is_refused_with_both_sides(trained_on, speeds, message):
    with pytest.raises(CheckpointError, match=message):
        compare_speeds(replace(SPEC, envelope=trained_on(90, **speeds)), robot())


@pytest.mark.parametrize(
    ('speeds', 'hint'),
    [
        ({'forward': 0.0005}, 'millimetres per second'),
        ({'turn': 0.5 / 57.3}, 'degrees per second'),
        ({'forward': 0.5 / 3.6}, 'kilometres per hour'),
        ({'forward': 0.5 * 3.6}, 'kilometres per hour'),
    ],
)
def test_what_may_be_a_slow_policy_is_told_and_not_refused(
    monkeypatch, fake, trained_on, speeds, hint
):
    fake.spec = replace(SPEC, envelope=trained_on(90, **speeds))
    monkeypatch.setattr(loading, 'load_policy', lambda *_: fake)
    told = []
    Loader(config(), robot(), lambda text, severe: told.append((text, severe)))()
    ((text, severe),) = told
    assert hint in text
    assert not severe


def test_guard_knows_the_robot_and_its_margin(monkeypatch, fake, trained_on):
    fake.spec = replace(SPEC, envelope=trained_on(90, turn=0.01))
    monkeypatch.setattr(loading, 'load_policy', lambda *_: fake)
    for margin, found in ((0.5, 1), (100.0, 0)):
        loader = Loader(config(envelope_margin=margin), robot(), lambda text, severe: None)
        loader()
        guard = loader.make_guard()
        seen = Observation({'front': np.full((96, 192, 3), 140, np.uint8)}, 1)
        for _ in range(10):
            # 50 times what was trained, but no more than the robot can do.
            guard.record(seen, {'odom.w': 0.5})
        assert len(guard.findings) == found


def test_motion_does_not_outlast_instructions():
    check_modes(config(motion_timeout=120.0, instruction_timeout=120.0), robot())
    with pytest.raises(ConfigError, match=r'motion_timeout is 121.0 s: expected at most'):
        check_modes(config(motion_timeout=121.0, instruction_timeout=120.0), robot())


def test_inference_that_takes_as_long_as_it_may_is_no_hang():
    check_patience(replace(SPEC, max_inference=0.5), 0.6)
    with pytest.raises(ConfigError, match=r'hang_timeout is 0.5 s: expected more than the 0.5 s'):
        check_patience(replace(SPEC, max_inference=0.5), 0.5)
