"""The parts of the ladder alone: debounce, breach, pace, reasons."""

from itertools import pairwise
import math
from pathlib import Path
import random

from hypothesis import given
from hypothesis import strategies as st
import pytest

from vla_core.gate.breach import Breach
from vla_core.gate.causes import Cause, Severity, severity, State
from vla_core.gate.config import ESCAPE_SPEED
from vla_core.gate.debounce import CLEAR_AFTER, Debounce
from vla_core.gate.messages import EventKind, Request, Stop, StopLevel
from vla_core.gate.pace import HYSTERESIS, Pace, RISE_AFTER, RISE_RATE
from vla_core.gate.reasons import NO_REASON, PARAMETERS, Reason
from vla_core.gate.zones import RELEASE, STANDOFF

PERIOD = 0.02
REFERENCE = Path(__file__).parents[3] / 'docs' / 'reference' / 'safety.md'


# -- debounce ----------------------------------------------------------------------------------


def test_emergencies_have_no_debounce():
    assert all(severity(cause) < Severity.FAULT for cause in CLEAR_AFTER)


@pytest.mark.parametrize('cause', CLEAR_AFTER)
def test_cause_outlives_its_reason(cause):
    debounce, span = Debounce(), CLEAR_AFTER[cause]
    assert debounce.settle([cause], 1.0) == {cause}
    assert debounce.settle([], 1.0 + span - 0.001) == {cause}
    assert debounce.settle([], 1.0 + span + 0.001) == set()
    assert debounce.settle([], 1.0) == set()


def test_cause_that_comes_again_starts_afresh():
    debounce = Debounce()
    for step in range(20):
        assert debounce.settle([Cause.BREACHED] if step % 2 else [], 0.4 * step) == (
            {Cause.BREACHED} if step else set()
        )


@given(st.sets(st.sampled_from(Cause)))
def test_other_causes_come_and_go_at_once(causes):
    debounce = Debounce()
    assert debounce.settle(causes, 1.0) == causes
    assert debounce.settle([], 1.0) == {cause for cause in causes if cause in CLEAR_AFTER}


def test_heartbeat_at_the_border_holds_and_does_not_flutter(driving):
    """Heartbeats every 0.21 s: a hold outlives its reason, and the third is the last."""
    driving.beating = False
    for step in range(200):
        driving.step(*([driving.beat(driving.now + PERIOD)] if step % 11 == 0 else []))
    changes = [result for result in driving.results[-200:] if result.events]
    assert driving.states[-1] is State.STOPPED
    holds = [a.state for a, b in pairwise(driving.results[-200:]) if a.state is not b.state]
    assert holds.count(State.HOLD) <= 4
    assert len(changes) <= 9


@pytest.mark.parametrize('lost', [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize('seed', range(2))
def test_states_never_oscillate_whatever_is_lost(driving, lost, seed):
    """Heartbeats and chunks that come by chance: few holds, one stop, and that is that."""
    chance = random.Random(seed).random
    driving.beating = driving.chunking = False
    start = len(driving.results)
    for _ in range(1000):
        arrived = []
        if chance() > lost:
            arrived.append(driving.beat(driving.now + PERIOD))
        if chance() > lost:
            arrived.append(driving.chunk())
        driving.step(*arrived)
    order = [driving.results[start - 1].state]
    for result in driving.results[start:]:
        if result.state is not order[-1]:
            order.append(result.state)
    assert order.count(State.HOLD) <= 3
    assert order.count(State.CONTROLLED_STOP) <= 1
    if State.CONTROLLED_STOP in order:
        assert order[order.index(State.CONTROLLED_STOP) + 1 :] == [State.STOPPED]


# -- breach ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('steps', 'expected'),
    [
        ([(False, False)], Cause.NONE),
        ([(True, False)], Cause.GEOFENCE),
        ([(True, True)], Cause.BREACHED),
        ([(True, True), (True, False)], Cause.BREACHED),
        ([(True, False), (True, True)], Cause.BREACHED),
        ([(True, True), (False, True), (True, False)], Cause.GEOFENCE),
        ([(False, True), (True, False)], Cause.GEOFENCE),
    ],
)
def test_breach_is_excused_once_the_robot_rests(steps, expected):
    breach = Breach(Cause.GEOFENCE)
    for breached, resting in steps:
        found = breach.judge(breached, resting)
    assert found is expected


# -- reasons -----------------------------------------------------------------------------------


@pytest.mark.parametrize('cause', Cause)
def test_numbers_of_a_reason_are_floats_as_the_message_has_them(driving, cause):
    now = driving.now
    reason = driving.gate._hearing.explain(cause, now, now, now)
    assert (type(reason.value), type(reason.limit)) == (float, float)


# -- pace --------------------------------------------------------------------------------------


def _pace(targets, cause=Cause.ZONE_SLOW):
    pace = Pace()
    return [
        pace.step(step * PERIOD, PERIOD, {} if target is None else {cause: target})
        for step, target in enumerate(targets)
    ]


def test_pace_falls_at_once_and_rises_late_and_slowly():
    scales = _pace([1.0] * 10 + [0.4] * 10 + [None] * 200)
    assert scales[9:11] == [1.0, 0.4]
    first = next(index for index in range(11, 200) if scales[index] > 0.4)
    assert (first - 19) * PERIOD == pytest.approx(RISE_AFTER, abs=0.03)
    assert scales[first] == pytest.approx(0.4 + RISE_RATE * PERIOD)
    assert scales[-1] == 1.0


def test_pace_reaches_what_is_allowed_and_waits_again_for_more():
    scales = _pace([0.4] + [0.8] * 200 + [0.9] * 100)
    assert scales[200] == 0.8
    first = next(index for index in range(201, 300) if scales[index] > 0.8)
    assert (first - 200) * PERIOD == pytest.approx(RISE_AFTER, abs=0.03)
    assert scales[-1] == 0.9


def test_pace_names_the_one_of_two_alike_that_is_still_there():
    pace = Pace()
    pace.step(0.0, PERIOD, {Cause.FENCE_NEAR: 0.5, Cause.ZONE_SLOW: 0.5})
    assert (pace.scale, pace.cause) == (0.5, Cause.FENCE_NEAR)
    pace.step(0.1, PERIOD, {Cause.ZONE_SLOW: 0.5})
    assert (pace.scale, pace.cause) == (0.5, Cause.ZONE_SLOW)


def test_pace_names_the_cause_of_the_lowest():
    pace = Pace()
    pace.step(
        0.0, PERIOD, {Cause.FENCE_NEAR: 0.5, Cause.ZONE_SLOW: 0.3, Cause.SLOW_REQUESTED: 0.9}
    )
    assert (pace.scale, pace.cause) == (0.3, Cause.ZONE_SLOW)
    pace.step(0.1, PERIOD, {Cause.FENCE_NEAR: 0.5})
    assert (pace.scale, pace.cause) == (0.3, Cause.ZONE_SLOW)


@given(st.lists(st.one_of(st.none(), st.floats(0.0, 1.0)), min_size=2, max_size=120))
def test_pace_never_exceeds_what_is_allowed_and_never_rises_soon_after_a_fall(targets):
    scales = _pace(targets)
    fell = -math.inf
    for step, (before, after) in enumerate(pairwise(scales), 1):
        allowed = 1.0 if targets[step] is None else targets[step]
        assert 0.0 <= after <= allowed
        assert after - before <= RISE_RATE * PERIOD + 1e-12
        if after < before:
            fell = step
        elif after > before:
            assert (step - fell) * PERIOD >= RISE_AFTER - 1e-9


@given(
    base=st.floats(0.1, 0.85),
    noise=st.lists(st.floats(0.0, 0.99 * HYSTERESIS), min_size=30, max_size=80),
)
def test_pace_settles_under_noise(base, noise):
    scales = _pace([base + value for value in noise])
    assert all(after <= before for before, after in pairwise(scales))


def test_pace_of_full_speed_with_noise_below_it_stays_low():
    scales = _pace([0.97, 1.0] * 200)
    assert set(scales) == {0.97}


def test_pace_comes_back_to_full_speed_from_just_below():
    assert _pace([0.97] + [None] * 60)[-1] == 1.0


def test_figures_of_the_reference():
    text = REFERENCE.read_text()
    assert (RISE_AFTER, RISE_RATE, HYSTERESIS) == (0.5, 0.5, 0.05)
    assert 'it rises after 0.5 s in\n  which 0.05 more' in text
    assert 'by 0.5 per second' in text
    assert (RELEASE, STANDOFF, ESCAPE_SPEED) == (0.05, 0.02, 0.1)
    assert 'Borders have 0.05 m of hysteresis' in text
    assert 'within 2 cm of nothing' in text
    assert 'at 0.1 m/s at most' in text


# -- reasons -----------------------------------------------------------------------------------


def test_reason_in_words():
    reason = Reason('observation age', 0.6123, 0.6, 's', 'max_observation_age')
    assert str(reason) == 'observation age 0.612 s, limit 0.6 s (max_observation_age)'
    assert str(Reason('errors in a row', 5.0, 5.0)) == 'errors in a row 5, limit 5'
    assert str(NO_REASON) == ''


def _late(world):
    world.beating = False
    world.go(0.3)


def _busy(world):
    world.busy_age = 0.3
    world.step()


def _hung(world):
    world.busy_age = 0.6
    world.step()


def _past_end(world):
    world.chunking = False
    world.step(world.chunk())
    world.horizon = 2
    world.step(world.chunk())
    world.go(0.3)


def _old(world):
    world.chunking = False
    world.go(0.62)


def _silent(world):
    world.chunking = False
    world.go(1.2)


def _deaf(world):
    world.odom_on = False
    world.go(0.6)


def _writers(world):
    world.writers = 3
    world.step()


def _errors(world):
    world.node_errors = 6
    world.step()


def _holds(world):
    world.go(2.0, Stop(StopLevel.HOLD))


@pytest.mark.parametrize(
    ('fault', 'cause', 'axis', 'low', 'limit', 'parameter'),
    [
        (_late, Cause.HEARTBEAT_LATE, 'policy heartbeat', 0.2, 0.2, ''),
        (_busy, Cause.BUSY_TOO_LONG, 'policy busy', 0.3, 0.2, 'max_inference'),
        (_hung, Cause.POLICY_HUNG, 'policy busy', 0.6, 0.5, 'max_inference'),
        (_past_end, Cause.CHUNK_LAPSED, 'past the end of the chunk', 0.0, 0.0, ''),
        (_old, Cause.CHUNK_LAPSED, 'observation age', 0.599, 0.6, 'max_observation_age'),
        (_silent, Cause.CHUNK_LOST, 'no playable chunk', 0.5, 0.5, 'max_observation_age'),
        (_deaf, Cause.ODOM_LOST, 'odom age', 0.5, 0.5, 'odom'),
        (_writers, Cause.SECOND_WRITER, 'publishers of cmd_vel', 3.0, 1.0, ''),
        (_errors, Cause.ERRORS_IN_ROW, 'errors in a row', 6.0, 5.0, ''),
        (_holds, Cause.HOLD_BUDGET, 'holds in a minute', 4.0, 3.0, ''),
    ],
)
def test_transition_carries_its_numbers(driving, fault, cause, axis, low, limit, parameter):
    start = len(driving.results)
    fault(driving)
    events = [event for result in driving.results[start:] for event in result.events]
    event = next(
        event for event in events if event.kind is EventKind.TRANSITION and event.cause is cause
    )
    assert (event.axis, event.limit, event.parameter) == (axis, limit, parameter)
    assert low <= event.value < low + 0.05
    assert cause.name in event.text
    assert axis in event.text


def test_every_parameter_is_a_key_of_a_robot_file():
    keys = {parameter.split('.')[0] for parameter in PARAMETERS.values()}
    known = {'max_inference', 'max_observation_age', 'estop', 'odom', 'geofence', 'scan', 'zones'}
    assert keys == known


def test_transition_without_a_number_has_none(driving):
    result = driving.step(request=Request.DISARM)
    event = next(event for event in result.events if event.kind is EventKind.TRANSITION)
    assert event.text == 'ACTIVE to CONTROLLED_STOP: DISARMED'
    assert math.isnan(event.value)
    assert math.isnan(event.limit)


def test_camera_and_person_and_estop_input_carry_numbers(make_world):
    world = make_world(estop_required=True).armed()
    world.estop_publishers = 0
    world.go(0.6)
    event = next(
        event
        for result in world.results
        for event in result.events
        if event.cause is Cause.ESTOP_INPUT_LOST
    )
    assert (event.limit, event.parameter) == (0.5, 'estop')
    assert event.value >= 0.5
