"""The command `vla` against a robot that the test plays."""

import os
import signal
import subprocess
import sys

import pytest

from vla_cli.main import main
from vla_core.gate.causes import State
from vla_core.session import Fate
from vla_ros.domains import process_domain


def test_help_does_not_import_ros() -> None:
    code = (
        'import sys\nfrom vla_cli.main import main\n'
        'try: main(["--help"])\n'
        'except SystemExit: pass\n'
        'sys.exit(", ".join(m for m in sys.modules if m.startswith(("rclpy", "numpy"))) or 0)'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert 'say' in done.stdout


@pytest.mark.parametrize('arguments', [['arm'], ['say', 'go']])
def test_without_a_gate_every_command_says_so(arguments: list[str], capsys) -> None:
    assert main(arguments) == 1
    said = f'no gate: nobody offers /safety/arm in ROS domain {process_domain()};'
    assert said in capsys.readouterr().err


def test_a_refusal_lists_every_blocker(robot, capsys) -> None:
    robot.accepts, robot.answer = False, 'no heartbeat; not still'
    assert main(['arm']) == 1
    assert capsys.readouterr().err == 'arm refused:\n  - no heartbeat\n  - not still\n'


def test_arming_ends_when_the_gate_is_active(robot, capsys) -> None:
    assert main(['arm']) == 0
    assert capsys.readouterr().out == 'armed\n'


def test_arming_that_falls_back_is_a_failure(robot, capsys) -> None:
    robot.state = State.STOPPED
    assert main(['arm']) == 1
    assert 'the gate is now STOPPED; expected ACTIVE' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('command', 'service'),
    [('disarm', 'disarm'), ('reset', 'reset'), ('estop', 'trigger_estop')],
)
def test_each_command_asks_its_service(robot, capsys, command: str, service: str) -> None:
    assert main([command]) == 0
    assert robot.asked == [service]
    assert capsys.readouterr().out == 'as you wish\n'


@pytest.mark.parametrize('robot', ['left'], indirect=True)
def test_a_namespace_finds_its_robot(robot) -> None:
    assert main(['disarm', '--namespace', 'left']) == 0
    assert robot.asked == ['disarm']


def test_an_impossible_namespace_is_refused(capsys) -> None:
    assert main(['disarm', '--namespace', 'my robot']) == 1
    assert "namespace 'my robot'" in capsys.readouterr().err


def test_stop_waits_until_the_robot_is_still(robot, capsys) -> None:
    assert main(['stop']) == 0
    assert robot.texts == ['stop']
    assert capsys.readouterr().out == 'still\n'


def test_say_follows_an_instruction_to_its_end(robot, capsys) -> None:
    robot.outcome = Fate.DONE
    assert main(['say', 'go', 'to the red ball']) == 0
    assert robot.goals == ['go to the red ball']
    assert 'DONE after 2.0 s: because' in capsys.readouterr().out


def test_say_fails_when_the_instruction_is_not_done(robot, capsys) -> None:
    robot.outcome = Fate.REFUSED
    assert main(['say', 'sing']) == 1
    assert 'REFUSED after 2.0 s: because' in capsys.readouterr().out


def test_say_tells_when_the_gate_will_not_let_the_robot_move(robot, capsys) -> None:
    robot.outcome, robot.state = Fate.DONE, State.ESTOP
    main(['say', 'go'])
    assert (
        'the gate is ESTOP, the robot will not move: e-stop is pressed' in capsys.readouterr().out
    )


def test_ctrl_c_cancels_and_stops_the_robot(robot, capsys) -> None:
    robot.on_running = lambda: os.kill(os.getpid(), signal.SIGINT)
    assert main(['say', 'go to the red ball']) == 130
    assert robot.texts == ['stop']
    assert robot.cancellation.wait(10)
    assert capsys.readouterr().out.endswith('stopping\nstill\n')


def test_top_prints_once_where_there_is_no_terminal(robot, capsys) -> None:
    assert main(['top']) == 0
    output = capsys.readouterr().out
    assert 'ACTIVE' in output
    assert '+0.50' in output


def test_raw_frames_reach_another_process() -> None:
    done = subprocess.run(
        [sys.executable, '-m', 'vla_cli.frame_loss'], capture_output=True, text=True, check=True
    )
    sent, arrived = map(int, done.stdout.split())
    assert 0 < arrived <= sent
