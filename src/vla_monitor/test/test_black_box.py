"""From messages to lines, and what /diagnostics says of the files."""

import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
import time

from diagnostic_msgs.msg import DiagnosticStatus
import pytest

from vla_core.black_box.record import line_of, read
from vla_core.gate.causes import Cause, State
from vla_core.robot import load_robot, RobotConfig
from vla_interfaces.msg import Decision, SafetyEvent
from vla_monitor.black_box import BlackBox, note_from_msg, step_from_msg

ROBOT = load_robot(Path(__file__).parents[3] / 'config' / 'robots' / 'sim.yaml')


def values(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_every_field_of_a_decision_is_kept():
    """A field that is added to the message must be added to the record, or be named here."""
    elsewhere = {'header': 'stamp_ns', 'observation_stamp': 'observation_ns', 'repeated': ''}
    fields = set(Decision.get_fields_and_field_types())
    kept = set(step_from_msg(Decision()).__slots__)
    assert fields - set(elsewhere) <= kept
    assert set(filter(None, elsewhere.values())) <= kept


def test_unknown_numbers_and_endless_fields_are_survived():
    decision = Decision(state=200, cause=201, chunk_status=202)
    decision.causes = array.array('B', [40] * 1_000_000)
    step = step_from_msg(decision)
    assert (step.state, step.cause, step.chunk_status) == ('State 200', 'Cause 201', 'Status 202')
    assert len(step.causes) <= 16
    note = note_from_msg(SafetyEvent(kind=99, axis='x' * 10_000, text='\udc00' * 10_000))
    assert len(line_of(note)) < 4096


def test_an_emergency_stop_becomes_a_file_of_this_robot(tmp_path):
    box = BlackBox(str(tmp_path / 'here'), ROBOT, '/one/two')
    box.decision(Decision(state=State.ACTIVE))
    box.event(SafetyEvent(text='on the way'))
    box.decision(Decision(state=State.ESTOP, cause=Cause.ESTOP_INPUT))
    until(lambda: values(box.status('x'))['written'] == '1')
    box.close()
    (path,) = (tmp_path / 'here').iterdir()
    assert path.name.startswith('sim-one-two-')
    recording = read(path)
    assert recording.header.trigger == 'ESTOP: ESTOP_INPUT'
    assert recording.header.namespace == 'one/two'
    assert [step.state for step in recording.steps] == ['ACTIVE', 'ESTOP']
    assert recording.notes[0].text == 'on the way'
    status = box.status('one/vla/black_box')
    assert (status.level, status.name) == (DiagnosticStatus.OK, 'one/vla/black_box')
    assert str(path) in status.message


def test_a_folder_that_refuses_is_a_warning_that_says_why(tmp_path):
    (tmp_path / 'file').touch()
    box = BlackBox(str(tmp_path / 'file' / 'below'), ROBOT, '/')
    box.decision(Decision(state=State.ACTIVE))
    box.decision(Decision(state=State.FAULT))
    until(lambda: values(box.status('x'))['failed'] != '0')
    status = box.status('x')
    assert status.level == DiagnosticStatus.WARN
    assert 'Not a directory' in status.message
    assert values(status)['lines in memory'] == '2'
    box.close()


@pytest.mark.parametrize(('state', 'written'), [(State.HOLD, True), (State.STOPPED, False)])
def test_the_end_of_the_monitor_while_the_robot_could_move_is_on_file(tmp_path, state, written):
    box = BlackBox(str(tmp_path), ROBOT, '')
    box.decision(Decision(state=state))
    box.close()
    assert (tmp_path / 'sim-ended.jsonl').exists() is written


def limits(folder: Path, robot: RobotConfig, lockstep: bool) -> dict[str, dict[str, float]]:
    box = BlackBox(str(folder), robot, '/', lockstep)
    box.decision(Decision(state=State.ACTIVE))
    box.decision(Decision(state=State.ESTOP))
    until(lambda: values(box.status('x'))['written'] == '1')
    box.close()
    (path,) = folder.iterdir()
    return read(path).header.limits


def test_limits_of_this_robot_stand_in_the_file(tmp_path):
    robot = replace(ROBOT, max_observation_age=1.5, odom_required=False)
    assert limits(tmp_path / 'a', robot, lockstep=False) == {
        'linear.x': {'max_speed': 0.6, 'max_accel': 1.0, 'max_decel': 1.0},
        'angular.z': {'max_speed': 1.2, 'max_accel': 3.0, 'max_decel': 3.0},
        'heartbeat_age': {'late': 0.2, 'lost': 0.5},
        'observation_age': {'lapsed': 1.5},
    }
    found = limits(tmp_path / 'b', replace(robot, odom_required=True), lockstep=True)
    assert found['heartbeat_age']['lost'] == 5.0
    assert found['odom_age'] == {'lost': 0.5}
