"""What a fault did to the robot, and what a pause of the machine is not."""

from contextlib import nullcontext
import signal
import time
from unittest.mock import MagicMock

import psutil
import pytest

from vla_cli.bench import policy_faults
from vla_cli.bench.braking import Braking, braking
from vla_cli.bench.pauses import Pauses, THRESHOLD
from vla_cli.bench.policy_faults import rows, Trial
from vla_cli.graph import GraphError

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
    notes = {'policy': 'scripted'}
    start, zero, distance, moved = rows('policy_kill', trials, 3, notes, 'FIFO 10')
    assert list(start.samples) == [0.21, 0.22]
    assert list(start.paused) == [1.1]
    assert all(start.verdicts().values())
    assert start.notes['longest pause of the machine, s'] == 0.9
    assert zero.limits == {'max': 0.6}
    assert len(distance.samples) == 2
    # Whether the robot moves before a person arms is judged in every trial.
    assert len(moved.samples) == 3
    assert moved.verdicts() == {'max': True, 'faults missing': True}


def test_late_answers_and_unarmed_moves_keep_no_promise():
    trials = [trial(0.21), trial(0.4), trial(1.5, complete=False), trial(0.2, moved=3)]
    start, _, _, moved = rows('policy_kill', trials, 4, {}, 'other')
    verdicts = start.verdicts()
    assert not any(verdicts[name] for name in ('p99', 'max', 'robot went on'))
    assert start.notes['robot went on'] == 1
    assert moved.figures()['max'] == 3.0
    assert moved.verdicts() == {'max': False, 'faults missing': True}


def test_pause_that_explains_no_late_answer_excuses_none():
    trials = [trial(0.21), trial(1.5, pauses=[0.12], complete=False), trial(0.31, pauses=[0.11])]
    start, *_ = rows('policy_kill', trials, 3, {}, 'other')
    assert list(start.samples) == [0.21, 1.5]
    assert list(start.paused) == [0.31]
    assert start.verdicts()['max'] is False


def test_fault_after_which_the_gate_never_stops_counts(monkeypatch, tmp_path):
    """The third robot drives on: what follows never comes, its answer is there all the same."""
    answers = iter([trial(0.2), trial(0.2), trial(1.5, complete=False)])
    monkeypatch.setattr(policy_faults, 'live_graph', lambda *_: nullcontext(MagicMock()))
    monkeypatch.setattr(policy_faults, 'class_of', lambda pid: 'other')
    monkeypatch.setattr(policy_faults, 'broken', lambda *_: (next(answers), 1.0))

    def rested(live, found, still):
        if not found.braking.complete:
            raise GraphError('never: gate STOPPED')
        return found

    monkeypatch.setattr(policy_faults, 'rested', rested)
    start, _, _, moved = policy_faults.policy_faults('k', 'kill', 'scripted', 5, tmp_path)
    assert list(start.samples) == [0.2, 0.2, 1.5]
    assert (start.notes['robot went on'], start.notes['faults missing']) == (1, 2)
    assert not any(start.verdicts().values())
    assert moved.verdicts() == {'max': True, 'faults missing': False}


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
