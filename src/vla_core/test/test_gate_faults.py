"""What a failing policy process does to a driving robot, by simulated time."""

from dataclasses import replace
import math

import numpy as np
import pytest

from vla_core.gate.causes import Cause, State
from vla_core.gate.limits import ZERO
from vla_core.gate.messages import (
    Beat,
    Command,
    Estop,
    EventKind,
    InternalError,
    Record,
    Rejected,
    Request,
    Stop,
    StopLevel,
)
from vla_core.types import Representation, Status


def _kill(world):
    world.beating = world.chunking = False


def _resume(world):
    world.beating = world.chunking = True


def _first(world, since, condition):
    return next(
        index * 0.02 for index, result in enumerate(world.results[since:], 1) if condition(result)
    )


def test_killed_policy_decelerates_within_300_ms_and_never_moves_again(driving):
    start, speed = len(driving.results), driving.published[0]
    _kill(driving)
    driving.go(5.0)
    decelerates = _first(driving, start, lambda result: result.published[0] < speed)
    zero = _first(driving, start, lambda result: result.published == ZERO)
    assert decelerates <= 0.30
    assert zero <= 0.30 + speed / 1.0
    driving.run += 1
    driving.sequence = 0
    _resume(driving)
    driving.go(10.0)
    assert driving.states[-3:] == [State.HOLD, State.CONTROLLED_STOP, State.STOPPED]
    assert all(result.published == ZERO for result in driving.results[-500:])
    assert driving.results[-1].cause is Cause.HEARTBEAT_LOST
    assert driving.step(request=Request.ARM).reply.accepted
    driving.until(State.ACTIVE)
    assert driving.go(1.0).published[0] == pytest.approx(0.3)


@pytest.mark.parametrize('span', [0.30, 0.40, 0.46])
def test_policy_frozen_shortly_holds_and_resumes_by_itself(driving, span):
    _kill(driving)
    driving.go(span)
    assert driving.gate.state is State.HOLD
    _resume(driving)
    driving.go(1.0)
    assert driving.states[-3:] == [State.ACTIVE, State.HOLD, State.ACTIVE]
    assert driving.published[0] == pytest.approx(0.3)


@pytest.mark.parametrize('span', [0.52, 1.0, 3.0])
def test_policy_frozen_longer_stays_stopped(driving, span):
    _kill(driving)
    driving.go(span)
    _resume(driving)
    driving.go(10.0)
    assert driving.gate.state is State.STOPPED
    assert driving.published == ZERO


@pytest.mark.parametrize('state', [State.ARMING, State.ACTIVE, State.HOLD])
@pytest.mark.parametrize('sign', ['beat', 'chunk', 'record'])
def test_new_run_is_a_fault_while_armed(make_world, state, sign):
    world = make_world()
    world.until(State.STOPPED)
    world.go(1.1)
    world.step(request=Request.ARM)
    if state is not State.ARMING:
        world.until(State.ACTIVE)
    if state is State.HOLD:
        world.step(Stop(StopLevel.HOLD))
    assert world.gate.state is state
    world.beating = world.chunking = False
    world.run += 1
    message = {
        'beat': world.beat,
        'chunk': world.chunk,
        'record': lambda: Record('go', 1, world.run, 1),
    }[sign]()
    if isinstance(message, Beat):
        message = replace(message, at=world.now + 0.02)
    result = world.step(message)
    assert (result.state, result.cause) == (State.CONTROLLED_STOP, Cause.POLICY_RESTARTED)
    assert result.policy_run == world.run


def test_new_run_while_stopped_is_forgotten_and_forgets(world):
    world.until(State.STOPPED)
    world.step(Record('go', 1, world.run, 9))
    world.chunking = False
    assert world.step(Rejected('chunk', 'nan')).consecutive_errors == 1
    world.run += 1
    assert world.step().consecutive_errors == 0
    world.chunking = True
    world.sequence = 0
    result = world.go(1.2)
    assert (result.state, result.ready_to_arm) == (State.STOPPED, True)
    assert (result.instruction_id, result.policy_run) == (0, world.run)
    assert result.counts['rejected'] == 1


def test_older_run_is_discarded_uncounted(driving):
    before = driving.results[-1].counts
    driving.chunking = False
    for _ in range(2):
        result = driving.step(driving.chunk((0.0, 0.0), policy_run=driving.run - 1))
    assert result.counts['discarded'] == before['discarded'] + 2
    assert result.counts['errors'] == before['errors']
    assert (result.state, result.wanted[0], result.policy_run) == (State.ACTIVE, 0.3, driving.run)


def test_discarded_chunk_is_no_valid_action(driving):
    driving.chunking = False
    driving.step(Rejected('chunk', 'nan'))
    older = driving.chunk((0.0, 0.0), policy_run=driving.run - 1)
    assert driving.step(older).consecutive_errors == 1
    driving.step(Command('stop', 1))
    assert driving.step(driving.chunk()).consecutive_errors == 1
    # Zeros are obeyed at once, and are one.
    assert driving.step(driving.chunk((0.0, 0.0))).consecutive_errors == 0


def test_run_zero_is_a_run_like_any_other(make_world):
    driving = make_world(run=0).armed()
    driving.run = 1
    assert driving.step().cause is Cause.POLICY_RESTARTED


def test_three_holds_a_minute_and_no_more(driving):
    for _ in range(3):
        assert driving.step(Stop(StopLevel.HOLD)).state is State.HOLD
        driving.until(State.ACTIVE)
        driving.go(1.0)
    result = driving.step(Stop(StopLevel.HOLD))
    assert (result.state, result.cause) == (State.CONTROLLED_STOP, Cause.HOLD_BUDGET)


def test_holds_are_forgiven_after_a_minute(driving):
    for _ in range(5):
        driving.step(Stop(StopLevel.HOLD))
        driving.until(State.ACTIVE)
        driving.go(20.0)
    assert driving.gate.state is State.ACTIVE


def test_renewed_hold_uses_up_the_budget(driving):
    start = len(driving.results)
    driving.go(0.7, Stop(StopLevel.HOLD))
    assert driving.gate.state is State.HOLD
    driving.go(0.4, Stop(StopLevel.HOLD))
    stopped = _first(driving, start, lambda result: result.state is State.CONTROLLED_STOP)
    assert stopped == pytest.approx(0.92, abs=0.05)
    assert driving.results[-1].cause is Cause.HOLD_BUDGET


def test_one_hiccup_after_another_is_no_hold_for_ever(driving):
    start = len(driving.results)
    for step in range(400):
        driving.busy_age = 0.3 if step % 8 < 4 else 0.0
        driving.step()
    stopped = _first(driving, start, lambda result: result.state is State.CONTROLLED_STOP)
    assert stopped == pytest.approx(3.0, abs=0.1)
    assert driving.states[-3:] == [State.HOLD, State.CONTROLLED_STOP, State.STOPPED]
    assert any(result.cause is Cause.HOLD_BUDGET for result in driving.results)


def _bad_chunks(world):
    """One chunk for every rule, each wrong in one thing only."""
    good = world.chunk
    unit = ('m/s', 'm/s', 'm/s', 'rad/s', 'rad/s', 'deg/s', '1')
    gross = np.zeros((8, 7))
    gross[3, 5] = 10.1
    names = ('linear.x', 'linear.y', 'linear.z', 'angular.x', 'angular.y', 'yaw', 'gripper')
    narrow = {'names': ('linear.x',), 'units': ('m/s',), 'data': np.zeros((8, 1))}
    return {
        'representation': lambda: good(representation=Representation.DELTA),
        'gross': lambda: good(data=gross),
        'huge': lambda: good(data=np.full((8, 7), 1e308)),
        'unit': lambda: good(units=unit),
        'name': lambda: good(names=names),
        'width': lambda: good(**narrow),
        'sequence': lambda: good(sequence=world.results[-1].sequence),
        'old sequence': lambda: good(sequence=1),
        'leap': lambda: good(sequence=world.results[-1].sequence + 100),
        'last number of all': lambda: good(sequence=2**64 - 1),
        'future': lambda: good(start=world.now + 1.0),
        'idle with velocity': lambda: good(status=Status.IDLE),
        'not converted': lambda: Rejected('chunk', 'data[0, linear.x] is nan'),
    }


BAD = list(_bad_chunks(type('', (), {'chunk': None, 'sequence': 0, 'now': 0.0})()))


@pytest.mark.parametrize('kind', BAD)
def test_invalid_chunk_targets_zero_that_step_and_the_next_valid_one_resumes(driving, kind):
    driving.chunking = False
    speed = driving.published[0]
    result = driving.step(_bad_chunks(driving)[kind]())
    assert result.wanted == ZERO
    assert result.published[0] == pytest.approx(speed - 1.0 * 0.02)
    assert (result.state, result.consecutive_errors) == (State.ACTIVE, 1)
    assert result.counts['rejected'] == 1
    event = next(event for event in result.events if event.kind is EventKind.REJECTED)
    assert (event.axis, event.from_state) == ('chunk', State.ACTIVE)
    result = driving.step(driving.chunk())
    assert (result.consecutive_errors, result.wanted[0]) == (0, 0.3)


@pytest.mark.parametrize('name', ['chunk', 'human'])
def test_first_error_of_all_counts_as_one(world, name):
    world.chunking = False
    assert world.step(Rejected(name, 'nan')).consecutive_errors == 1


@pytest.mark.parametrize('kind', BAD)
def test_fifth_invalid_chunk_in_a_row_latches(driving, kind):
    driving.chunking = False
    for _ in range(4):
        assert driving.step(_bad_chunks(driving)[kind]()).state is State.ACTIVE
    result = driving.step(_bad_chunks(driving)[kind]())
    assert (result.state, result.cause) == (State.ESTOP, Cause.ERRORS_IN_ROW)
    assert result.published == ZERO


def test_chunk_that_is_over_already_resets_no_count(driving):
    driving.chunking = False
    for _ in range(4):
        driving.step(Rejected('chunk', 'nan'))
    driving.step(driving.chunk(start=driving.now - 3600.0))
    result = driving.step(Rejected('chunk', 'nan'))
    assert (result.state, result.cause) == (State.ESTOP, Cause.ERRORS_IN_ROW)


def test_one_valid_action_resets_the_count(driving):
    driving.chunking = False
    for _ in range(20):
        for _ in range(4):
            driving.step(Rejected('chunk', 'nan'))
        driving.step(driving.chunk())
    assert driving.results[-1].counts['errors'] == 80
    assert State.ESTOP not in driving.states


@pytest.mark.parametrize('name', ['chunk', 'human'])
def test_errors_of_somebody_who_fell_silent_do_not_keep_the_gate_from_a_reset(driving, name):
    for _ in range(5):
        driving.step(Rejected(name, 'nan'))
        driving.chunking = False
    result = driving.results[-1]
    assert (result.state, result.cause) == (State.ESTOP, Cause.ERRORS_IN_ROW)
    assert driving.go(0.4).causes == (Cause.ERRORS_IN_ROW,)
    driving.go(1.3)
    assert driving.step(request=Request.RESET).reply.accepted


def test_slow_errors_latch_too(driving):
    for _ in range(4):
        assert driving.step(Rejected('human', 'nan')).state is State.ACTIVE
        driving.go(1.0)
    assert driving.step(Rejected('human', 'nan')).cause is Cause.ERRORS_IN_ROW


def test_invalid_chunks_while_stopped_block_arming_and_never_latch(world):
    world.until(State.STOPPED)
    world.chunking = False
    result = world.go(2.0, Rejected('chunk', 'nan'))
    assert result.state is State.STOPPED
    refusal = world.step(request=Request.ARM).reply
    assert not refusal.accepted
    assert 'errors in a row' in refusal.text


def test_nodes_counts_and_the_gates_own_are_not_added(driving):
    driving.chunking = False
    driving.node_errors = 4
    driving.go(0.08, Rejected('chunk', 'nan'))
    assert driving.gate.state is State.ACTIVE
    driving.node_errors = 5
    result = driving.step()
    assert (result.state, result.cause) == (State.ESTOP, Cause.ERRORS_IN_ROW)


def test_cameras_count_too_and_dead_nodes_do_not(driving):
    dead = Beat('camera', driving.now - 1.0, 'rear', consecutive_errors=9)
    assert driving.step(dead).state is State.ACTIVE
    alive = Beat('camera', driving.now + 0.02, 'front', consecutive_errors=5)
    assert driving.step(alive).cause is Cause.ERRORS_IN_ROW


def test_other_nodes_errors_stop_nothing(driving):
    beat = Beat('monitor', driving.now + 0.02, consecutive_errors=99)
    assert driving.step(beat).state is State.ACTIVE


@pytest.mark.parametrize('field', ['state_age', 'unchanged_age'])
@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf, -0.1])
def test_malformed_heartbeat_is_no_heartbeat(driving, field, value):
    driving.beating = False
    for _ in range(15):
        driving.step(replace(driving.beat(driving.now + 0.02), **{field: value}))
    assert driving.gate.state is State.HOLD
    assert driving.results[-1].counts['errors'] == 15


def test_unexpected_exception_latches_and_steps_go_on(driving, monkeypatch):
    def broken(*_):
        raise KeyError('bug')

    with monkeypatch.context() as patch:
        patch.setattr(driving.gate._hearing, 'causes', broken)
        for _ in range(3):
            result = driving.step()
            assert (result.state, result.published) == (State.ESTOP, ZERO)
            assert result.cause is Cause.INTERNAL_ERROR
    assert 'KeyError' in result.events[0].text
    assert driving.go(2.0).state is State.ESTOP
    assert driving.step(request=Request.RESET).state is State.STOPPED


def test_press_in_a_step_that_fails_stays_pressed(driving, monkeypatch):
    def broken(*_):
        raise KeyError('bug')

    with monkeypatch.context() as patch:
        patch.setattr(driving.gate._hearing, 'receive', broken)
        driving.step(Estop(True, 'latched'))
    driving.go(2.0)
    refused = driving.step(request=Request.RESET)
    assert (refused.state, refused.reply.accepted) == (State.ESTOP, False)
    assert 'ESTOP_INPUT' in refused.reply.text
    driving.step(Estop(False, 'latched'))
    driving.go(1.1)
    assert driving.step(request=Request.RESET).reply.accepted


def test_errors_are_counted_for_the_heartbeat(driving):
    before = driving.gate.errors_total
    driving.step(Rejected('odom', 'nan'), Rejected('human', 'nan'), InternalError('bug'))
    assert driving.gate.errors_total == before + 3


def test_exception_while_a_cause_is_explained_latches(driving, monkeypatch):
    def broken(*_):
        raise KeyError('bug')

    monkeypatch.setattr(driving.gate._hearing, 'explain', broken)
    result = driving.step(Stop(StopLevel.CONTROLLED_STOP))
    assert (result.state, result.published) == (State.ESTOP, ZERO)


@pytest.mark.parametrize('now', [math.nan, math.inf])
def test_clock_that_is_not_finite_latches(driving, now):
    driving.now = now
    result = driving.step(dt=0.0, quiet=True)
    assert (result.state, result.published) == (State.ESTOP, ZERO)


def test_exception_in_the_node_latches(driving):
    result = driving.step(InternalError('ValueError: bug'))
    assert (result.state, result.cause) == (State.ESTOP, Cause.INTERNAL_ERROR)
    warning = result.events[0]
    assert (warning.kind, warning.text) == (EventKind.WARNING, 'ValueError: bug')
    assert (warning.from_state, warning.cause) == (State.ACTIVE, Cause.INTERNAL_ERROR)


@pytest.mark.parametrize('beyond', [(math.nan,) * 6, (0.7, 0, 0, 0, 0, 0), (0, 0.1, 0, 0, 0, 0)])
def test_failed_final_assertion_is_a_fault_for_ever(driving, monkeypatch, beyond):
    with monkeypatch.context() as patch:
        patch.setattr('vla_core.gate.drive.approach', lambda *_: beyond)
        result = driving.step()
    assert (result.state, result.cause) == (State.FAULT, Cause.ASSERTION)
    assert result.published == ZERO
    for request in Request:
        assert driving.step(request=request).state is State.FAULT
    assert driving.go(3.0).published == ZERO


def test_zeros_are_valid_and_keep_the_gate_armed(make_world):
    world = make_world(velocity=(0.0, 0.0), status=Status.IDLE, instruction_id=0).armed()
    assert world.go(60.0).state is State.ACTIVE


def test_clipped_chunks_are_counted(driving):
    driving.velocity = (1.0, 0.0)
    result = driving.go(0.2)
    assert result.counts['clipped'] == 10
    assert result.allowed[0] == 0.6
    driving.velocity = (0.6, -1.2)
    assert driving.go(0.2).counts['clipped'] == 10


@pytest.mark.parametrize('stop', ['word', 'hold', 'estop', 'idle'])
def test_gripper_is_held_by_a_stop_and_never_moved_by_one(make_world, stop):
    world = make_world(gripper='gripper').armed()
    world.chunking = False

    def chunk(position, **changes):
        data = np.zeros((8, 7))
        data[:, 6] = position
        return world.chunk(data=data, **changes)

    assert world.step(chunk(0.7)).gripper == 0.7
    assert world.step(chunk(1.7)).gripper == 1.0
    message = {
        'word': lambda: Command('stop', 1),
        'hold': lambda: Stop(StopLevel.HOLD),
        'estop': lambda: Estop(True),
        'idle': lambda: chunk(0.0, status=Status.IDLE),
    }[stop]()
    assert world.step(message).gripper == 1.0
    late = {'status': Status.IDLE} if stop == 'idle' else {}
    assert world.step(chunk(0.2, **late)).gripper == 1.0


def test_chunk_without_the_gripper_is_refused_by_a_robot_that_has_one(make_world):
    result = make_world(gripper='claw').step()
    rejected = next(event for event in result.events if event.kind is EventKind.REJECTED)
    assert "expected 'claw' for the gripper" in rejected.text


def test_robot_without_gripper_has_none(driving):
    assert math.isnan(driving.results[-1].gripper)
