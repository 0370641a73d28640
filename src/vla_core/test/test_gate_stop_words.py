"""A stop word stops until the next instruction, in whatever order things arrive."""

from itertools import permutations

import pytest

from vla_core.gate.causes import Cause, State
from vla_core.gate.config import ID_SLACK
from vla_core.gate.limits import ZERO
from vla_core.gate.messages import Command, Record, Request, Stop, StopLevel
from vla_core.gate.stopwait import StopWait
from vla_core.types import Status

STAMP = 77


def _record(world, text, record_id, source_stamp=0):
    return Record(text, source_stamp, world.run, record_id)


def _stop(world):
    return Command('Stop!', STAMP)


def test_stop_word_decelerates_and_stays_active(driving):
    result = driving.step(_stop(driving))
    assert (result.state, result.cause) == (State.ACTIVE, Cause.STOP_WORD)
    assert result.causes == (Cause.STOP_WORD,)
    assert result.published[0] == pytest.approx(0.3 - 1.0 * 0.02)
    assert driving.go(0.4).published == ZERO
    assert driving.go(20.0).state is State.ACTIVE


@pytest.mark.parametrize('text', ['stop', ' STOP now, please ', 'halt', 'Freeze.'])
def test_stop_words_are_heard_as_whole_texts(driving, text):
    assert driving.step(Command(text, 1)).cause is Cause.STOP_WORD


@pytest.mark.parametrize('text', ['do not stop', 'go to the stop sign', '', 'stop ' * 10**6])
def test_other_texts_are_none_of_the_gates_business(driving, text):
    before = driving.results[-1]
    result = driving.step(Command(text, 1))
    assert (result.cause, result.published) == (Cause.NONE, before.published)


def test_old_chunks_are_discarded_neither_error_nor_silence(driving):
    driving.step(_stop(driving))
    before = driving.results[-1].counts
    result = driving.go(5.0)
    assert result.counts['discarded'] - before['discarded'] == 250
    assert result.counts['rejected'] == before['rejected']
    assert result.causes == (Cause.STOP_WORD,)
    assert result.chunk_age == 0.0


def test_next_instruction_moves_the_robot_without_arming(driving):
    driving.step(_stop(driving))
    driving.step(_record(driving, 'stop', 2, STAMP))
    driving.status, driving.velocity, driving.instruction_id = Status.IDLE, (0.0, 0.0), 2
    assert driving.go(2.0).cause is Cause.STOP_WORD
    driving.step(_record(driving, 'go to the red ball', 3, 99))
    driving.status, driving.velocity, driving.instruction_id = Status.RUNNING, (0.3, 0.0), 3
    result = driving.go(1.0)
    assert (result.state, result.cause) == (State.ACTIVE, Cause.NONE)
    assert result.published[0] == pytest.approx(0.3)


@pytest.mark.parametrize('order', list(permutations(range(4))))
def test_no_order_of_arrival_lets_the_old_instruction_move_the_robot(driving, order):
    """Word, its record, a late chunk of the old instruction, the first chunk of the next one."""
    driving.chunking = False
    arrivals = [
        _stop(driving),
        _record(driving, 'stop', 2, STAMP),
        lambda: driving.chunk((0.3, 0.2), instruction_id=1),
        lambda: driving.chunk((0.1, 0.0), instruction_id=3),
    ]
    heard = set()
    for index in order:
        message = arrivals[index]
        result = driving.step(message() if callable(message) else message)
        heard.add(index)
        if heard & {0, 1}:
            # From the first sign of the stop on, only the next instruction may be wanted.
            assert result.wanted[0] in (0.0, 0.1)
    # Afterwards the next instruction moves the robot in every order.
    result = driving.step(driving.chunk((0.1, 0.0), instruction_id=3))
    assert (result.wanted[0], result.cause) == (0.1, Cause.NONE)
    # A record that is repeated now (a late joiner's copy, a new status) does not stop again.
    driving.step(_record(driving, 'stop', 2, STAMP))
    assert driving.results[-1].wanted[0] == 0.1


def test_record_of_another_stop_is_not_enough(driving):
    driving.step(_stop(driving))
    driving.step(_record(driving, 'stop', 2, STAMP - 1))
    driving.instruction_id = 3
    assert driving.go(1.0).cause is Cause.STOP_WORD
    driving.step(_record(driving, 'stop', 4, STAMP))
    assert driving.go(1.0).cause is Cause.STOP_WORD
    driving.instruction_id = 5
    assert driving.step().cause is Cause.NONE


def test_second_stop_before_the_first_is_recorded(driving):
    driving.step(_stop(driving), Command('stop', STAMP + 1))
    driving.step(_record(driving, 'stop', 2, STAMP))
    driving.instruction_id = 3
    assert driving.step().cause is Cause.STOP_WORD
    driving.step(_record(driving, 'stop', 3, STAMP + 1))
    assert driving.step().cause is Cause.STOP_WORD
    driving.instruction_id = 4
    assert driving.step().cause is Cause.NONE


def test_cancelled_goal_is_a_stop_by_its_record(driving):
    result = driving.step(_record(driving, 'stop', 2))
    assert result.cause is Cause.STOP_WORD
    assert driving.go(1.0).published == ZERO
    driving.instruction_id = 3
    assert driving.step().cause is Cause.NONE


def test_record_of_the_very_instruction_that_moves_the_robot_stops_it(driving):
    result = driving.step(_record(driving, 'stop', driving.instruction_id))
    assert (result.cause, result.wanted) == (Cause.STOP_WORD, ZERO)
    assert driving.go(1.0).published == ZERO


def test_zero_chunks_are_accepted_while_waiting(driving):
    driving.step(_stop(driving))
    driving.status, driving.velocity = Status.IDLE, (0.0, 0.0)
    before = driving.results[-1].counts['accepted']
    result = driving.go(0.2)
    assert result.counts['accepted'] == before + 10
    assert result.chunk_status is Status.IDLE


def test_zero_chunk_of_the_next_instruction_ends_the_wait(driving):
    """A refused text after a stop: the wait is over although nothing moves."""
    driving.chunking = False
    driving.step(_stop(driving))
    driving.step(_record(driving, 'stop', 2, STAMP))
    driving.step(driving.chunk((0.0, 0.0), instruction_id=3, status=Status.REFUSED))
    assert driving.results[-1].cause is Cause.NONE


def test_hold_does_not_end_the_wait(driving):
    driving.step(_stop(driving))
    assert driving.step(Stop(StopLevel.HOLD)).state is State.HOLD
    driving.until(State.ACTIVE)
    result = driving.go(2.0)
    assert (result.state, result.cause) == (State.ACTIVE, Cause.STOP_WORD)
    assert result.published == ZERO


def test_arming_ends_the_wait(driving):
    driving.step(_stop(driving))
    driving.step(request=Request.DISARM)
    driving.until(State.STOPPED)
    driving.go(1.5)
    assert driving.step(request=Request.ARM).reply.accepted
    driving.until(State.ACTIVE)
    assert driving.results[-1].cause is Cause.NONE
    assert driving.results[-1].wanted[0] == 0.3


def test_stop_word_while_stopped_blocks_nothing(world):
    world.until(State.STOPPED)
    world.step(_stop(world))
    assert world.go(1.2).ready_to_arm
    world.step(request=Request.ARM)
    # The wait is over with the arming, not with the next chunk.
    assert world.step(quiet=True).causes == ()
    assert world.until(State.ACTIVE).wanted[0] == 0.3


def test_stop_word_before_the_first_chunk_blocks_nothing(world):
    world.chunking = False
    world.until(State.STOPPED)
    world.step(_stop(world), _record(world, 'stop', 2, STAMP))
    assert world.gate.state is State.STOPPED
    world.chunking = True
    assert world.go(1.2).ready_to_arm


def test_malformed_record_changes_nothing(driving):
    driving.step(_record(driving, 'stop', 0, STAMP))
    assert driving.results[-1].cause is Cause.NONE


def test_record_whose_id_leaps_is_an_error_and_stops_nothing(driving):
    most = driving.instruction_id + ID_SLACK
    result = driving.step(_record(driving, 'stop', most + 1))
    assert result.counts['errors'] == 1
    assert f'record of instruction {most + 1}: expected at most {most}' in result.events[-1].text
    assert driving.go(0.2).wanted[0] > 0.0
    assert driving.step(_record(driving, 'stop', most)).wanted == ZERO
    assert driving.step(_record(driving, 'go on', most + ID_SLACK)).counts['errors'] == 1


def test_first_record_of_a_run_may_have_any_id(world):
    assert world.step(_record(world, 'go on', 10**6), quiet=True).instruction_id == 10**6


def test_record_of_an_older_run_changes_nothing(driving):
    driving.step(Record('stop', STAMP, driving.run - 1, 9))
    result = driving.results[-1]
    assert (result.cause, result.instruction_id) == (Cause.NONE, 0)


def test_newest_record_is_held(driving):
    driving.step(_record(driving, 'go', 7), _record(driving, 'go', 6))
    assert driving.results[-1].instruction_id == 7


def test_flood_of_records_is_bounded():
    wait = StopWait()
    for index in range(1, 10_000):
        wait.record(index, index, held_id=0)
    assert len(wait._records) == 32
    # The newest are kept: their words find them, after the next instruction took over.
    wait.word(9_999 - 31, held_id=10_000)
    wait.word(9_999, held_id=10_000)
    assert not wait.waiting
