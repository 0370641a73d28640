"""What a fault did to the robot, and what a pause of the machine is not."""

import signal
import time

import psutil
import pytest

from vla_cli.bench.braking import Braking, braking
from vla_cli.bench.pauses import Pauses, THRESHOLD
from vla_cli.bench.policy_faults import rows, Trial

PLACES = [(9.9, 0.0, 0.0), (10.0, 1.0, 0.0), (10.5, 1.3, 0.4), (11.0, 1.3, 0.4)]


def commands(*speeds: float) -> list[tuple[float, float]]:
    """Velocities received at 50 Hz from 9.98 s on."""
    return [(9.98 + 0.02 * step, speed) for step, speed in enumerate(speeds)]


def test_braking_is_read_from_what_the_base_received():
    heard = commands(0.3, 0.3, 0.29, 0.3, 0.27, 0.15, 0.0, 0.0)
    found = braking(heard, PLACES, 10.01, 0.3, 11.5)
    assert found.start == pytest.approx(0.05)
    assert found.zero == pytest.approx(0.09)
    assert found.distance == pytest.approx(0.5)
    assert found.complete


def test_zero_before_the_fault_is_no_answer_to_it():
    found = braking(commands(0.0, 0.3, 0.3), PLACES, 9.99, 0.3, 11.5)
    assert not found.complete


@pytest.mark.parametrize('speeds', [[0.3] * 20, [0.3, 0.2, 0.1], []])
def test_robot_that_goes_on_took_at_least_as_long_as_was_listened(speeds):
    found = braking(commands(*speeds), PLACES, 10.0, 0.3, 11.5)
    assert not found.complete
    assert found.zero == pytest.approx(1.5)


def trial(start: float, *, pauses=(), moved=0, complete=True) -> Trial:
    return Trial(0.3, Braking(start, start + 0.25, 0.1, complete), list(pauses), moved, True)


def test_trial_in_a_pause_of_the_machine_is_counted_apart():
    trials = [trial(0.21), trial(0.22), trial(1.1, pauses=[0.9])]
    start, zero, distance, moved = rows('policy_kill', trials, {'policy': 'scripted'}, 'FIFO 10')
    assert list(start.samples) == [0.21, 0.22]
    assert list(start.paused) == [1.1]
    assert start.verdicts() == {'p99': True, 'max': True}
    assert start.notes['longest pause of the machine, s'] == 0.9
    assert zero.limits == {'max': 0.6}
    assert len(distance.samples) == 2
    # Whether the robot moves before a person arms is judged in every trial.
    assert len(moved.samples) == 3
    assert moved.verdicts() == {'max': True}


def test_late_answers_and_unarmed_moves_keep_no_promise():
    trials = [trial(0.21), trial(0.4), trial(1.5, complete=False), trial(0.2, moved=3)]
    start, _, _, moved = rows('policy_kill', trials, {}, 'other')
    assert start.verdicts() == {'p99': False, 'max': False}
    assert start.notes['robot went on'] == 1
    assert moved.figures()['max'] == 3.0
    assert moved.verdicts() == {'max': False}


def test_pause_of_the_machine_is_written_down_with_its_time():
    with Pauses() as pauses:
        child = psutil.Process(pauses.pid)
        # It has begun to count when it has slept: its own start is no pause.
        time.sleep(1.0)
        begin = time.monotonic()
        child.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        child.send_signal(signal.SIGCONT)
        end = time.monotonic()
        while not pauses.between(begin, end):
            assert time.monotonic() < end + 30.0
            time.sleep(0.01)
        assert max(pauses.between(begin, end)) > THRESHOLD
        assert pauses.between(0.0, begin - 100.0) == []
    assert not child.is_running()
