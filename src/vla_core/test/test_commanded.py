"""Commands held against the robot's limits: the gate's own pass, spoiled ones are found."""

from dataclasses import replace
import math

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import pytest

from vla_core.commanded import audit, beyond, Commanded, LONGEST_LEAD, SMOOTH
from vla_core.gate.causes import Cause, State
from vla_core.gate.limits import Limits, ZERO
from vla_core.gate.messages import Estop, Stop, StopLevel

PERIOD = 0.02
ACTIVE = Commanded(1, PERIOD, PERIOD, State.ACTIVE, Cause.NONE, (1, 1), ZERO)


def steps_of(world):
    return [
        Commanded(
            result.tick,
            result.tick * PERIOD,
            result.dt,
            result.state,
            result.cause,
            (result.policy_run, result.sequence) if result.step_index >= 0 else None,
            result.published,
        )
        for result in world.results
    ]


@pytest.fixture
def limits(world):
    return Limits.of(world.robot)


@pytest.fixture
def driven(make_world):
    """A drive that turns around, is held, stopped and stopped at once."""
    world = make_world().armed()
    world.velocity = (-0.3, 0.9)
    world.go(2.0)
    world.step(Stop(StopLevel.HOLD))
    world.go(1.0)
    world.velocity = (0.5, -0.4)
    world.go(1.0)
    world.step(Estop(True, 'latched'))
    world.go(0.5)
    return world


def test_what_the_gate_commands_passes_and_its_emergency_stop_is_told_apart(driven, limits):
    found = audit(steps_of(driven), limits)
    assert found.kept
    assert found.commands == len(driven.results)
    assert found.seconds == pytest.approx(PERIOD * (len(driven.results) - 1))
    driven = [result for result in driven.results if result.state in (State.ARMING, State.ACTIVE)]
    assert 0.9 * len(driven) < found.boundaries <= len(driven)
    assert found.stops == {Cause.ESTOP_INPUT: 1}
    assert found.gaps == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_spoiled_command_is_found(good, data):
    steps, limits = good
    moving = [
        n for n, step in enumerate(steps) if step.state is State.ACTIVE and n + 1 < len(steps)
    ]
    index = data.draw(st.sampled_from(moving))
    jump = data.draw(st.floats(0.05, 10.0) | st.sampled_from([math.nan, math.inf]))
    step = steps[index]
    spoiled = (step.published[0] + jump, *step.published[1:])
    found = audit([*steps[:index], replace(step, published=spoiled), *steps[index + 1 :]], limits)
    assert not found.kept
    assert found.too_fast + found.too_sudden >= 1


@pytest.fixture
def good(driving, limits):
    return steps_of(driving), limits


@pytest.mark.parametrize('state', [state for state in State if state not in SMOOTH])
def test_motion_where_nothing_may_move_is_found(limits, state):
    crawl = (1e-6, 0.0, 0.0, 0.0, 0.0, 0.0)
    found = audit([ACTIVE, replace(ACTIVE, number=2, state=state, published=crawl)], limits)
    assert (found.not_zero, found.kept) == (1, False)


@pytest.mark.parametrize('state', SMOOTH)
@pytest.mark.parametrize(('chunk', 'at_boundary'), [((1, 1), 0), ((1, 2), 1), ((2, 1), 1)])
def test_zero_at_once_is_a_breach_where_the_gate_has_to_brake(limits, state, chunk, at_boundary):
    speed = (0.2, 0.0, 0.0, 0.0, 0.0, 0.0)
    first = replace(ACTIVE, published=speed)
    second = Commanded(2, 2 * PERIOD, PERIOD, state, Cause.NONE, chunk, ZERO)
    found = audit([first, second], limits)
    by_policy = state in (State.ARMING, State.ACTIVE)
    assert (found.too_sudden, found.at_boundaries) == (1, at_boundary and by_policy)


def test_a_gap_says_nothing_of_the_change(limits):
    later = replace(ACTIVE, number=9, published=(0.2, 0.0, 0.0, 0.0, 0.0, 0.0))
    found = audit([ACTIVE, later], limits)
    assert (found.gaps, found.too_sudden, found.kept) == (2, 0, False)
    assert audit([ACTIVE, replace(ACTIVE, number=2), later], limits).kept


@pytest.mark.parametrize('state', [State.STOPPED, State.MANUAL])
def test_a_chunk_that_moves_nothing_has_no_boundary(limits, state):
    chunks = [replace(ACTIVE, number=n, state=state, chunk=(1, n)) for n in range(9)]
    idle = [replace(ACTIVE, number=n, chunk=None) for n in range(9)]
    assert audit(chunks, limits).boundaries == audit(idle, limits).boundaries == 0


def test_a_command_beyond_the_speed_limit_makes_no_gap(limits):
    fast = replace(ACTIVE, number=2, published=(9.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    found = audit([ACTIVE, fast, replace(ACTIVE, number=3)], limits)
    assert (found.too_fast, found.too_sudden, found.gaps) == (1, 2, 1)


def accelerating(limits, stamps, lie=1.0):
    """A gate that accelerates as its dt allows, told at `stamps`, `lie` times as long as true."""
    steps = [replace(ACTIVE, stamp=stamps[0])]
    for stamp in stamps[1:]:
        dt = lie * 0.005
        speed = min(limits.speed[0], steps[-1].published[0] + limits.accel[0] * dt)
        published = (speed, *ZERO[1:])
        number = len(steps) + 1
        steps.append(replace(ACTIVE, number=number, stamp=stamp, dt=dt, published=published))
    return steps


@pytest.mark.parametrize('base', [0.0, 1.7e9])
def test_a_dt_that_is_not_true_is_found(limits, base):
    """By such a dt every change is within the limits."""
    stamps = [base + 0.005 * number for number in range(100)]
    assert audit(accelerating(limits, stamps), limits).kept
    found = audit(accelerating(limits, stamps, 3.0), limits)
    assert (found.too_sudden, found.not_zero) == (0, 0)
    assert found.lead == pytest.approx(99 * 0.010, abs=1e-3)
    assert not found.kept


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(delays=st.lists(st.floats(0.0, LONGEST_LEAD - 0.01), min_size=2, max_size=99))
def test_a_true_dt_is_believed_however_late_a_step_is_told(limits, delays):
    stamps, latest = [], 0.0
    for number, delay in enumerate(delays):
        # Nothing is told before what was decided before it.
        latest = max(latest, 0.005 * number + delay)
        stamps.append(latest)
    assert audit(accelerating(limits, stamps), limits).lead < LONGEST_LEAD


@pytest.mark.parametrize('jump', [-3600.0, -1.0, 1.0, 3600.0])
def test_a_clock_that_is_set_is_no_lie(limits, jump):
    stamps = [1e4 + 0.005 * number + (jump if number >= 50 else 0.0) for number in range(100)]
    assert audit(accelerating(limits, stamps), limits).kept


def test_after_a_silence_of_the_gate_zero_follows_and_nothing_else(limits):
    fast = (0.6, *ZERO[1:])
    first = replace(ACTIVE, published=fast)
    hung = Commanded(2, 0.6, 0.5, State.CONTROLLED_STOP, Cause.GATE_HUNG, None, ZERO)
    found = audit([first, hung, replace(hung, number=3, stamp=0.62, dt=PERIOD)], limits)
    assert found.kept
    assert found.stops == {Cause.GATE_HUNG: 1}
    found = audit([first, replace(hung, published=(0.5, *ZERO[1:]))], limits)
    assert (found.not_zero, found.kept) == (1, False)


def test_nothing_was_kept_where_nothing_was_commanded(limits):
    assert not audit([], limits).kept


def test_a_step_may_be_as_large_as_its_time_allows(limits):
    speed = limits.accel[0] * PERIOD
    after = (speed, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert not beyond(ZERO, after, limits, PERIOD)
    assert beyond(ZERO, after, limits, PERIOD * 0.99)
