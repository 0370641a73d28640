"""Texts on `command` and nothing else, through the real processes in lock-step."""

import math

import pytest

from vla_core.gate.causes import Cause, State
from vla_core.session import Fate
from vla_core.types import Status
from vla_learning.evaluation.episodes import make_ready, NEAR
from vla_ros.conversion import twist_from_msg
from vla_ros.lockstep import TICK
from vla_sim.layout import sample_layout
from vla_sim.lockstep import LockstepDriver

# A red box 1.5 m away, in view, with free floor between.
LAYOUT = sample_layout(500115)
RED_BOX = LAYOUT.find('red', 'box')
ABSENT = 'go to the purple ball'
ZERO = (0.0,) * 6


@pytest.fixture(autouse=True)
def ready(driver: LockstepDriver) -> None:
    """Stand at the start, idle and armed."""
    driver.reset(LAYOUT)
    driver.tick(2)
    driver.say('stop')
    make_ready(driver)
    driver.reset(LAYOUT)


def ticks(driver: LockstepDriver, seconds: float):
    """Let time pass; the gate must stay ACTIVE."""
    for _ in range(round(seconds / TICK)):
        decision = driver.tick()
        assert State(decision.state) is State.ACTIVE, Cause(decision.cause).name
        yield decision


def pass_time(driver: LockstepDriver, seconds: float):
    """Let time pass, and return the last decision."""
    return list(ticks(driver, seconds))[-1]


def velocity(decision) -> tuple[float, ...]:
    return twist_from_msg(decision.published)


def until_ended(driver: LockstepDriver, instruction: int, seconds: float) -> Fate:
    """Let time pass until an instruction has ended; return how."""
    for _ in ticks(driver, seconds):
        if driver.status(instruction) != Fate.RUNNING:
            break
    return Fate(driver.status(instruction))


def test_idling_is_healthy_and_stays_armed(driver):
    for decision in ticks(driver, 5.0):
        assert velocity(decision) == ZERO
        assert decision.chunk_status == Status.IDLE


def test_sequence_of_the_seed_with_idle_gaps(driver):
    driver.say('Move forward')
    pass_time(driver, 2.0)
    assert driver.arena.odometry[0] > 0.3

    before = driver.arena.odometry[2]
    driver.say('Turn left')
    pass_time(driver, 2.0)
    assert math.remainder(driver.arena.odometry[2] - before, math.tau) > 0.5

    stop = driver.say('Stop')
    assert driver.status(stop) == Fate.IDLE
    assert velocity(pass_time(driver, 1.0)) == ZERO
    for decision in ticks(driver, 2.0):
        assert velocity(decision) == ZERO

    driver.reset(LAYOUT)
    going = driver.say('Go to the red box')
    assert until_ended(driver, going, 40.0) is Fate.DONE
    assert driver.arena.gap(RED_BOX) <= NEAR
    for decision in ticks(driver, 2.0):
        assert velocity(decision) == ZERO
        assert decision.chunk_status == Status.DONE


def test_absent_object_is_searched_and_not_found(driver):
    assert LAYOUT.find('purple', 'ball') is None
    instruction = driver.say(ABSENT)
    assert until_ended(driver, instruction, 61.0) is Fate.NOT_FOUND
    assert velocity(pass_time(driver, 1.0)) == ZERO


@pytest.mark.parametrize('text', ['sing a song', 'go to the pink pyramid', '42'])
def test_nonsense_replaces_what_is_done_and_is_refused(driver, text):
    going = driver.say('Turn left')
    pass_time(driver, 1.0)
    assert driver.status(driver.say(text)) == Fate.REFUSED
    assert driver.status(going) == Fate.REPLACED
    decision = pass_time(driver, 1.0)
    assert velocity(decision) == ZERO
    assert decision.chunk_status == Status.REFUSED


@pytest.mark.parametrize('word', ['stop', 'Stop, please!', 'FREEZE', 'do not move'])
def test_stop_in_mid_drive_decelerates_and_the_next_text_moves_again(driver, word):
    going = driver.say('Go to the red box')
    speed = pass_time(driver, 1.5).published.linear.x
    assert speed > 0.2
    driver.say(word)
    assert driver.status(going) == Fate.STOPPED
    for decision in ticks(driver, 0.6):
        assert decision.published.linear.x <= speed
        assert decision.cause == Cause.STOP_WORD or velocity(decision) == ZERO
        speed = decision.published.linear.x
    assert speed == 0.0
    driver.say('Turn left')
    assert pass_time(driver, 1.0).published.angular.z > 0.3


@pytest.mark.parametrize(
    'text', ['', ' \t', 'x' * 513, 'go ' * 350_000], ids=['empty', 'blank', 'long', '1 MB']
)
def test_malformed_text_is_reported_and_changes_nothing(driver, text):
    going = driver.say('Turn left')
    pass_time(driver, 1.0)
    known = len(driver.malformed)
    driver.send(text)
    driver.wait_for(lambda: len(driver.malformed) > known, lambda: 'a record of the text')
    assert driver.malformed[-1].status == Fate.MALFORMED
    assert driver.malformed[-1].id == 0
    assert pass_time(driver, 0.5).published.angular.z > 0.3
    assert driver.status(going) == Fate.RUNNING
