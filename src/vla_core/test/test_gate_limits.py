"""Limits hold for every float there is."""

import math

from hypothesis import given
from hypothesis import strategies as st
import pytest

from vla_core.gate.limits import approach, clamp, holds, Limits, ZERO
from vla_core.robot import AxisConfig

ANY = st.one_of(
    st.floats(),
    st.sampled_from([math.nan, math.inf, -math.inf, 5e-324, -5e-324, 1e308, -1e308, 0.0, -0.0]),
)
VECTORS = st.tuples(*[ANY] * 6)
LIMITS = Limits(
    speed=(0.6, 0.0, 0.0, 0.0, 0.0, 1.2),
    accel=(1.0, 0.0, 0.0, 0.0, 0.0, 3.0),
    decel=(2.0, 0.0, 0.0, 0.0, 0.0, 4.0),
)
WITHIN = st.tuples(st.floats(-0.6, 0.6), *[st.just(0.0)] * 4, st.floats(-1.2, 1.2))


def test_limits_are_the_robot_files_and_zero_for_an_axis_that_it_lacks(make_world):
    axes = (
        AxisConfig(0.6, 1.0, 2.0, 'linear.x'),
        *[None] * 4,
        AxisConfig(1.2, 3.0, 4.0, 'angular.z'),
    )
    assert Limits.of(make_world(axes=axes).robot) == LIMITS


@given(VECTORS, st.floats(0.0, 1.0))
def test_clamped_is_finite_and_within(wanted, scale):
    result = clamp(wanted, LIMITS.speed, scale)
    assert holds(result, LIMITS)
    assert all(
        abs(value) <= most * scale for value, most in zip(result, LIMITS.speed, strict=True)
    )


@given(VECTORS)
def test_clamp_is_idempotent(wanted):
    once = clamp(wanted, LIMITS.speed)
    assert clamp(once, LIMITS.speed) == once


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('axis', range(6))
def test_a_number_that_is_not_finite_gives_zero_on_every_axis(bad, axis):
    wanted = tuple(bad if index == axis else 0.5 for index in range(6))
    assert clamp(wanted, LIMITS.speed) == ZERO


@given(st.floats(-50, 50), st.floats(-50, 50))
def test_one_ratio_keeps_the_arc(linear, angular):
    result = clamp((linear, 0.0, 0.0, 0.0, 0.0, angular), LIMITS.speed)
    assert result[0] * angular == pytest.approx(result[5] * linear, abs=1e-9)
    assert holds(result, LIMITS)


def test_zero_has_no_sign():
    assert str(clamp((-0.0, -9.0, 0.0, 0.0, 0.0, -0.0), LIMITS.speed)) == str(ZERO)


def test_unlisted_axes_are_zero_and_do_not_slow_the_others():
    assert clamp((0.5, 9.0, -9.0, 3.0, 2.0, 0.0), LIMITS.speed) == (0.5, 0, 0, 0, 0, 0)


@given(WITHIN, WITHIN, st.floats(0.0, 10.0))
def test_change_is_within_acceleration_and_deceleration(previous, target, dt):
    result = approach(previous, target, LIMITS, dt)
    assert holds(result, LIMITS)
    for before, after, accel, decel in zip(
        previous, result, LIMITS.accel, LIMITS.decel, strict=True
    ):
        if abs(after) > abs(before):
            assert abs(after - before) <= accel * min(dt, 0.1) + 1e-12
        else:
            assert abs(after - before) <= decel * dt + 1e-12
        assert after == 0.0 or before == 0.0 or (after > 0.0) == (before > 0.0)


@given(WITHIN, WITHIN)
def test_target_is_reached_and_kept(previous, target):
    for _ in range(200):
        previous = approach(previous, target, LIMITS, 0.02)
    assert previous == pytest.approx(target)


@given(WITHIN, WITHIN)
def test_nothing_changes_without_time(previous, target):
    assert approach(previous, target, LIMITS, 0.0) == previous


@given(VECTORS)
def test_final_assertion_passes_only_finite_velocities_within_limits(velocity):
    fine = all(
        math.isfinite(value) and -most <= value <= most
        for value, most in zip(velocity, LIMITS.speed, strict=True)
    )
    assert holds(velocity, LIMITS) is fine
