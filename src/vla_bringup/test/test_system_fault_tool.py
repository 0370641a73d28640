"""`vla faults` against the real graph: one quick fault of each kind of injector, judged.

How quickly a gate reacts is for the tool to say; here it is what the gate does, and where it ends.
"""

from pathlib import Path

import pytest

from vla_cli.faults.catalogue import chosen
from vla_cli.faults.report import Result
from vla_cli.faults.robot_file import prepare, Subject
from vla_cli.faults.running import play
from vla_core.gate.causes import Cause, State
from vla_ros.files import robot_path

#: Real time on a busy machine: what the tool rightly complains of, and this test does not.
LATE = ('slower after', 'zero after', 'the gate was silent')
#: Fault -> state in which the gate has to end, causes of which one brought it there.
STOPS = {
    'image-drop': (State.STOPPED, {Cause.CHUNK_LOST, Cause.HOLD_BUDGET}),
    'odom-drop': (State.STOPPED, {Cause.ODOM_LOST}),
    'chunk-nan': (State.ESTOP, {Cause.ERRORS_IN_ROW}),
    'policy-freeze': (State.STOPPED, {Cause.HEARTBEAT_LOST, Cause.HOLD_BUDGET}),
    'second-writer': (State.ESTOP, {Cause.SECOND_WRITER}),
    'policy-hold-interpreter': (State.STOPPED, {Cause.HEARTBEAT_LOST, Cause.HOLD_BUDGET}),
}
BEARS = ('clock-foreign',)


@pytest.fixture(scope='module')
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return prepare(robot_path('turtlebot3'), tmp_path_factory.mktemp('robot'))


@pytest.fixture(scope='module')
def results(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    folder: Path = tmp_path_factory.mktemp('faults')
    faults = chosen((*STOPS, *BEARS), subject.robot)
    told: list[Result] = []
    played, gate = play(faults, 1, subject, 'scripted', folder, told.append)
    assert told == played
    assert gate
    return {result.name: result for result in played}


@pytest.mark.parametrize('fault', STOPS)
def test_fault_stops_the_robot_until_somebody_arms(fault, results):
    assert results[fault].unmeasured == ()
    (outcome,) = results[fault].outcomes
    state, causes = STOPS[fault]
    assert (outcome.state, outcome.rested) == (state, True)
    assert outcome.cause in causes
    # The limit of that robot's file, which the simulated base has not.
    assert outcome.speed == pytest.approx(0.26)
    assert 0.0 < outcome.distance < 1.0
    assert [text for text in outcome.complaints if not text.startswith(LATE)] == []


@pytest.mark.slow
def test_every_fault_is_answered_as_it_has_to_be(subject, tmp_path, figures):
    """All that `vla faults run` knows, once each; how late an answer is, is only printed."""
    every = chosen((), subject.robot)
    played, _ = play(every, 1, subject, 'scripted', tmp_path, lambda _: None)
    assert len(played) == len(every)
    wrong = []
    for result in played:
        figures(f'{result.name}: {"met" if result.met else "; ".join(result.complaints)}')
        wrong += [text for text in result.complaints if not text.startswith(LATE)]
    assert wrong == []


@pytest.mark.parametrize('fault', BEARS)
def test_fault_that_concerns_nobody_stops_nobody(fault, results):
    (outcome,) = results[fault].outcomes
    assert outcome.state is State.ACTIVE
    assert outcome.complaints == ()
