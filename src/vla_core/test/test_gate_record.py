"""What a decision says of itself, field by field, and the moments at which spans are over.

Times are multiples of a quarter of a second, which floats hold exactly: a span is over at its end
and not a step later.
"""

from contextlib import nullcontext
from dataclasses import asdict
import math

import numpy as np
import pytest

from vla_core.errors import ActionRejected, ObservationError
from vla_core.gate.causes import Cause, State
from vla_core.gate.chunks import check, rows
from vla_core.gate.config import GROSS, ORDER_SPAN, STAMP_AHEAD, Timing
from vla_core.gate.debounce import CLEAR_AFTER, Debounce
from vla_core.gate.limits import approach, clamp, holds, Limits, ZERO
from vla_core.gate.messages import (
    Beat,
    Event,
    EventKind,
    Inputs,
    Odom,
    Record,
    Rejected,
    Reply,
    Request,
    Result,
    Stop,
    StopLevel,
)
from vla_core.gate.signals import MOST_BEATS, Signals
from vla_core.gate.stream import PolicyStream
from vla_core.player import ROUNDING
from vla_core.types import NATIVE_AXES, NATIVE_UNITS, Representation, Status

QUARTER = 0.25
WARNINGS = (
    'estop: none in the robot file',
    'no heartbeat of a monitor',
    'no heartbeat of a camera: a frozen picture would not be noticed',
)
VELOCITY = (0.3, 0.0, 0.0, 0.0, 0.0, 0.2)


def assert_says(result: Result, **expected) -> None:
    """Compare every field; numbers to a nanosecond, NaN with NaN."""
    found = asdict(result)
    assert set(expected) == set(found)
    for name, value in expected.items():
        if isinstance(value, float):
            assert found[name] == pytest.approx(value, abs=1e-9, nan_ok=True), name
        else:
            assert getattr(result, name) == value, name


def test_decision_in_mid_drive_says_everything(driving):
    driving.step(Record('go', 5, driving.run, 3))
    entered = next(r for r in driving.results if r.state is State.ACTIVE)
    ticks = len(driving.results)
    since = (ticks - entered.tick) * 0.02
    observed = round(driving.now * 1e9)
    driving.chunking = driving.beating = driving.odom_on = False
    driving.step(dt=0.05)
    result = driving.step(Rejected('beat', 'bad'), dt=0.02)
    assert_says(
        result,
        tick=ticks + 2,
        dt=0.02,
        state=State.ACTIVE,
        cause=Cause.NONE,
        causes=(),
        since=since + 0.07,
        wanted=VELOCITY,
        allowed=VELOCITY,
        published=VELOCITY,
        gripper=math.nan,
        speed_scale=1.0,
        observation_ns=observed,
        policy_run=driving.run,
        sequence=driving.sequence,
        step_index=0,
        instruction_id=3,
        chunk_status=Status.RUNNING,
        heartbeat_age=0.07,
        chunk_age=0.07,
        observation_age=0.07,
        odom_age=0.07,
        consecutive_errors=0,
        ready_to_arm=False,
        blockers=(),
        warnings=WARNINGS,
        counts={
            'accepted': driving.sequence,
            'discarded': 0,
            'clipped': 0,
            'rejected': 0,
            'errors': 1,
        },
        events=(Event(EventKind.REJECTED, State.ACTIVE, State.ACTIVE, 'beat: bad', axis='beat'),),
        reply=None,
    )


def test_first_decision_knows_nothing_and_says_so(world):
    result = world.gate.step(10.0, Inputs(wall=10.0))
    assert_says(
        result,
        tick=1,
        dt=0.0,
        state=State.INIT,
        cause=Cause.NONE,
        causes=(),
        since=0.0,
        wanted=ZERO,
        allowed=ZERO,
        published=ZERO,
        gripper=math.nan,
        speed_scale=1.0,
        observation_ns=0,
        policy_run=0,
        sequence=0,
        step_index=-1,
        instruction_id=0,
        chunk_status=Status.IDLE,
        heartbeat_age=math.nan,
        chunk_age=math.nan,
        observation_age=math.nan,
        odom_age=math.nan,
        consecutive_errors=0,
        ready_to_arm=False,
        blockers=(
            'odom was never heard: the robot file requires it',
            'cmd_vel: expected no other publisher for 1.0 s',
        ),
        warnings=WARNINGS,
        counts={'accepted': 0, 'discarded': 0, 'clipped': 0, 'rejected': 0, 'errors': 0},
        events=tuple(
            Event(EventKind.WARNING, State.INIT, State.INIT, warning) for warning in WARNINGS
        ),
        reply=None,
    )


def test_errors_in_a_row_are_in_the_decision_until_a_good_chunk(driving):
    driving.chunking = False
    assert driving.step(Rejected('chunk', 'bad')).consecutive_errors == 1
    result = driving.step(Rejected('chunk', 'bad'))
    assert (result.consecutive_errors, result.counts['rejected']) == (2, 2)
    assert result.wanted == ZERO
    driving.chunking = True
    assert driving.step().consecutive_errors == 0


def test_decision_after_an_exception_says_everything(driving, monkeypatch):
    def broken(*_):
        raise KeyError('bug')

    before = driving.results[-1]
    monkeypatch.setattr(driving.gate._hearing, 'causes', broken)
    driving.step()
    result = driving.step(request=Request.RESET, dt=0.5)
    assert_says(
        result,
        tick=before.tick + 2,
        dt=0.0,
        state=State.ESTOP,
        cause=Cause.INTERNAL_ERROR,
        causes=(Cause.INTERNAL_ERROR,),
        since=0.5,
        wanted=ZERO,
        allowed=ZERO,
        published=ZERO,
        gripper=math.nan,
        speed_scale=1.0,
        observation_ns=0,
        policy_run=0,
        sequence=0,
        step_index=-1,
        instruction_id=0,
        chunk_status=Status.IDLE,
        heartbeat_age=math.nan,
        chunk_age=math.nan,
        observation_age=math.nan,
        odom_age=math.nan,
        consecutive_errors=0,
        ready_to_arm=False,
        blockers=('internal error',),
        warnings=(),
        counts={**before.counts, 'accepted': driving.sequence, 'errors': 2},
        events=(
            Event(
                EventKind.WARNING,
                State.ESTOP,
                State.ESTOP,
                "KeyError: 'bug'",
                Cause.INTERNAL_ERROR,
            ),
        ),
        reply=Reply(False, 'internal error'),
    )


@pytest.mark.parametrize('now', [math.nan, math.inf])
def test_decision_of_a_broken_clock_is_as_old_as_the_last_good_one(driving, now):
    good = driving.now
    result = driving.gate.step(now, Inputs(wall=good))
    assert result.since == 0.0
    assert f'time {now}: expected a finite number' in result.events[0].text
    # The emergency stop is entered at the last good time, and the clock may come back.
    assert driving.step(dt=QUARTER).since == pytest.approx(QUARTER)


def test_exception_before_anything_was_read_stops_at_its_own_time(driving):
    driving.now += 0.5
    result = driving.gate.step(driving.now, None)
    assert (result.state, result.published, result.since) == (State.ESTOP, ZERO, 0.0)
    assert driving.step(dt=QUARTER).since == pytest.approx(QUARTER)


def test_transition_is_an_event_with_its_cause(driving):
    result = driving.step(Stop(StopLevel.ESTOP, 'me', 'why'))
    warning, transition = result.events
    assert (warning.kind, warning.cause) == (EventKind.WARNING, Cause.ESTOP_REQUESTED)
    assert (warning.from_state, warning.to_state) == (State.ACTIVE, State.ACTIVE)
    assert warning.text == 'me asks for ESTOP: why'
    assert (transition.kind, transition.cause) == (EventKind.TRANSITION, Cause.ESTOP_REQUESTED)
    assert (transition.from_state, transition.to_state) == (State.ACTIVE, State.ESTOP)
    assert transition.text == 'ACTIVE to ESTOP: ESTOP_REQUESTED'


def test_failed_assertion_is_an_event_with_the_command_and_the_limit(driving, monkeypatch):
    monkeypatch.setattr('vla_core.gate.drive.approach', lambda *_: (9.0, 0, 0, 0, 0, 0))
    result = driving.step()
    assert result.causes == (Cause.ASSERTION,)
    warning, transition = result.events
    assert (warning.kind, warning.cause) == (EventKind.WARNING, Cause.ASSERTION)
    assert warning.text == (
        'command (9.0, 0, 0, 0, 0, 0): expected finite, within (0.6, 0.0, 0.0, 0.0, 0.0, 1.2)'
    )
    assert (transition.to_state, transition.cause) == (State.FAULT, Cause.ASSERTION)


def test_failed_assertion_hides_no_other_cause(driving, monkeypatch):
    monkeypatch.setattr('vla_core.gate.drive.approach', lambda *_: (9.0, 0, 0, 0, 0, 0))
    result = driving.step(Stop(StopLevel.SLOW))
    assert result.causes == (Cause.SLOW_REQUESTED, Cause.ASSERTION)


def stepped(world, *messages, request=None):
    return world.step(*messages, dt=QUARTER, request=request)


def left(world, state):
    """Step until a state is left, and say when."""
    for _ in range(40):
        if stepped(world).state is not state:
            return world.now
    raise AssertionError(f'{state.name} after 10 s')


def test_spans_until_driving_are_over_at_their_end(world):
    moments = {}
    for _ in range(40):
        before = world.gate.state
        ready = world.results[-1].ready_to_arm if world.results else False
        result = stepped(world, request=Request.ARM if ready else None)
        if result.state is not before:
            moments[result.state] = world.now
        if result.ready_to_arm and 'ready' not in moments:
            moments['ready'] = world.now
    # The first step is a quarter of a second after 10 s, and starts every span.
    assert moments[State.STOPPED] == 11.25
    # Odom has been still since the first step; the checks are green since STOPPED.
    assert moments['ready'] == 12.25
    assert moments[State.ARMING] == 12.5
    assert moments[State.ACTIVE] == 13.5


def test_reset_is_granted_a_second_after_the_cause_has_gone(driving):
    driving.now = round(driving.now * 4) / 4
    stepped(driving, request=Request.TRIGGER_ESTOP)
    pressed = driving.now
    while True:
        result = stepped(driving, request=Request.RESET)
        if result.reply.accepted:
            break
        assert result.state is State.ESTOP
    # Odom shows zero in the step after, and must for 0.5 s; only then nothing is wrong any more.
    assert driving.now == pressed + QUARTER + 0.5 + 1.0


@pytest.mark.parametrize(('late', 'state'), [(-QUARTER, State.CONTROLLED_STOP), (0.0, State.HOLD)])
def test_a_hold_is_forgotten_after_exactly_a_minute(driving, late, state):
    driving.now = round(driving.now * 4) / 4
    hold = Stop(StopLevel.HOLD)
    first = driving.now + QUARTER
    for _ in range(3):
        assert stepped(driving, hold).state is State.HOLD
        stepped(driving)
        assert stepped(driving).state is State.ACTIVE
    while driving.now < first + 60.0 + late - QUARTER:
        assert stepped(driving).state is State.ACTIVE
    assert stepped(driving, hold).state is state


def test_a_hold_counts_again_after_exactly_a_second(driving):
    driving.now = round(driving.now * 4) / 4
    driving.busy_age = 0.3
    assert stepped(driving).state is State.HOLD
    entered = driving.now
    # The budget is three holds: one for each second, and none for the fourth.
    assert left(driving, State.HOLD) == entered + 3.0
    result = driving.results[-1]
    assert (result.state, result.cause) == (State.CONTROLLED_STOP, Cause.HOLD_BUDGET)
    # What made it hold is still named beside what stops it.
    assert result.causes == (Cause.BUSY_TOO_LONG, Cause.HOLD_BUDGET)


def test_a_chunk_lapses_and_is_lost_at_the_very_end_of_its_spans(make_world):
    driving = make_world(max_observation_age=0.5).armed()
    driving.now = round(driving.now * 4) / 4
    stepped(driving)
    driving.chunking = False
    late = [stepped(driving).causes for _ in range(4)]
    assert late == [(), *[(Cause.CHUNK_LAPSED,)] * 2, (Cause.CHUNK_LOST,)]


def test_errors_are_forgotten_after_exactly_half_a_second(driving):
    driving.now = round(driving.now * 4) / 4
    driving.chunking = False
    bad = Rejected('chunk', 'nan')
    counts = [stepped(driving, *messages).consecutive_errors for messages in ([bad], [], [])]
    assert counts == [1, 1, 0]


def test_a_stop_has_exactly_two_seconds(driving):
    driving.now = round(driving.now * 4) / 4
    driving.odom = VELOCITY
    stepped(driving, request=Request.DISARM)
    entered = driving.now
    assert left(driving, State.CONTROLLED_STOP) == entered + 2.0
    assert driving.results[-1].cause is Cause.STOP_TIMEOUT


@pytest.mark.parametrize('cause', CLEAR_AFTER)
def test_a_cause_outlives_its_reason_by_its_span_and_no_longer(cause):
    debounce, span = Debounce(), CLEAR_AFTER[cause]
    debounce.settle([cause], 0.0)
    assert debounce.settle([], span * 0.99) == {cause}
    assert debounce.settle([], span) == frozenset()


# -- chunks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('changes', 'ahead', 'text'),
    [
        ({'representation': Representation.DELTA}, 0.0, 'representation DELTA: expected VELOCITY'),
        ({}, 0.051, 'stamp 0.051 s ahead: expected at most 0.05 s'),
        ({}, math.nan, 'stamp nan s ahead: expected at most 0.05 s'),
        ({'names': (*NATIVE_AXES[:5], 'yaw', 'gripper')}, 0.0, "yaw.*expected 'angular.z'"),
        (
            {'units': (*NATIVE_UNITS[:5], 'deg/s', '1')},
            0.0,
            "angular.z is 'deg/s': expected 'rad/s'",
        ),
        ({'data': np.full((8, 7), -10.5)}, 0.0, 'linear.x of 10.5: expected at most 10'),
    ],
)
def test_refused_chunk_says_what_was_expected(world, changes, ahead, text):
    chunk = world.chunk(**changes).chunk
    with pytest.raises(ActionRejected, match=text):
        check(chunk, world.robot, ahead)


@pytest.mark.parametrize(
    ('sequence', 'wait', 'text'),
    [
        (7, 0.0, ''),
        (6, 0.0, 'sequence 6: expected more than 6'),
        (0, 2.875, 'sequence 0: expected more than 6'),
        (16, 0.0, ''),
        (17, 0.0, 'sequence 17: expected at most 16, 0.000 s after 6'),
        (17, 0.0078125, ''),
        (47, 0.125, ''),
        (48, 0.125, 'sequence 48: expected at most 47, 0.125 s after 6'),
        (17, -60.0, 'sequence 17: expected at most 16, 0.000 s after 6'),
        (2**64 - 1, 2.875, 'sequence 18446744073709551615: expected at most 734, 2.875 s after 6'),
        (0, ORDER_SPAN, ''),
        (2**64 - 1, ORDER_SPAN, ''),
    ],
)
def test_order_of_chunks(world, sequence, wait, text):
    stream = PolicyStream(world.robot, Limits.of(world.robot), Timing())
    stream.meet(world.run)
    assert stream.take(world.chunk(sequence=6))
    world.now += wait
    late = world.chunk(sequence=sequence)
    with pytest.raises(ActionRejected, match=text) if text else nullcontext():
        assert stream.take(late)


def test_number_of_a_broken_first_chunk_shuts_out_the_true_ones_for_a_while_only(world):
    stream = PolicyStream(world.robot, Limits.of(world.robot), Timing())
    stream.meet(world.run)
    assert stream.take(world.chunk(sequence=2**63))
    for _ in range(int(ORDER_SPAN / QUARTER) - 1):
        world.now += QUARTER
        with pytest.raises(ActionRejected, match='expected more than 9223372036854775808'):
            stream.take(world.chunk())
    for _ in range(20):
        world.now += QUARTER
        assert stream.take(world.chunk())


@pytest.mark.parametrize('ahead', [STAMP_AHEAD, STAMP_AHEAD + ROUNDING])
def test_stamp_as_far_ahead_as_is_allowed_is_good(world, ahead):
    check(world.chunk().chunk, world.robot, ahead)


def test_number_as_large_as_is_allowed_is_good(world):
    check(world.chunk((GROSS, -GROSS)).chunk, world.robot, 0.0)


def test_velocity_of_a_policy_that_does_not_run_is_refused_with_its_status(world):
    chunk = world.chunk(status=Status.DONE).chunk
    with pytest.raises(ActionRejected, match='status DONE with a velocity: expected zeros'):
        rows(chunk, world.robot)


# -- vectors -------------------------------------------------------------------------------------

LIMITS = Limits((0.6,) * 6, (1.0,) * 6, (1.0,) * 6)


@pytest.mark.parametrize('length', [5, 7])
def test_vector_of_another_length_is_an_error_and_never_cut(length):
    vector = (0.1,) * length
    with pytest.raises(ValueError, match='zip'):
        clamp(vector, LIMITS.speed)
    for previous, target in ((vector, ZERO), (ZERO, vector)):
        with pytest.raises(ValueError, match='zip'):
            approach(previous, target, LIMITS, 0.02)
    assert not holds(vector, LIMITS)


def test_odom_says_what_was_expected_of_it(world):
    signals = Signals(world.robot, Timing())
    signals.check_odom(Odom(ZERO, 10.0 + STAMP_AHEAD), 10.0)
    said = r'0\.250 s old: expected finite numbers, and a stamp at most 0\.05 s ahead'
    with pytest.raises(ObservationError, match=said):
        signals.check_odom(Odom((math.inf, *ZERO[1:]), 9.75), 10.0)


@pytest.mark.parametrize('name', ['state_age', 'unchanged_age'])
@pytest.mark.parametrize('age', [math.nan, math.inf, -0.1])
def test_heartbeat_says_what_was_expected_of_it(world, name, age):
    beat = Beat('camera', 10.0, 'front', **{name: age})
    said = f'^heartbeat of camera: {name} {age}: expected finite, >= 0$'
    with pytest.raises(ObservationError, match=said):
        Signals(world.robot, Timing()).beat(beat)


def test_heartbeat_of_one_node_too_many_says_so(world):
    signals = Signals(world.robot, Timing())
    for number in range(MOST_BEATS):
        signals.beat(Beat('camera', 10.0, f's{number}'))
    said = f"^heartbeat of camera '{'x' * 40}': expected at most {MOST_BEATS} nodes$"
    with pytest.raises(ObservationError, match=said):
        signals.beat(Beat('camera', 10.0, 'x' * 41))


@pytest.mark.parametrize('speed', [0.0, 0.3])
def test_after_a_gap_in_odom_the_robot_has_not_been_moving(world, speed):
    signals = Signals(world.robot, Timing())
    for at in (10.0, 20.0):
        signals.odom(Odom((speed, *ZERO[1:]), at), at)
        assert signals.moving_span(at) == 0.0
