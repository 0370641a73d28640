"""The command `vla` against a robot that the test plays."""

from collections.abc import Iterator
from contextlib import suppress
import os
from pathlib import Path
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from vla_cli import say
from vla_cli.connection import connect
from vla_cli.main import main
from vla_cli.telling import tell
from vla_core.gate.causes import State
from vla_core.session import Fate
from vla_ros.domains import process_domain

_VLA = [sys.executable, '-m', 'vla_cli.main']


@pytest.fixture(params=[signal.SIGTERM, signal.SIGHUP])
def ending(request) -> Iterator[signal.Signals]:
    """Yield a signal that ends programs; the test itself outlives one that nobody minds."""
    before = signal.signal(request.param, signal.default_int_handler)
    yield request.param
    signal.signal(request.param, before)


@pytest.fixture
def unread() -> Iterator[int]:
    """Yield a pipe whose reader has left."""
    reads, writes = os.pipe()
    os.close(reads)
    yield writes
    os.close(writes)


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
@pytest.mark.parametrize('given', ['left', '/left', 'left/'])
def test_a_namespace_finds_its_robot(robot, given: str) -> None:
    assert main(['disarm', '--namespace', given]) == 0
    assert robot.asked == ['disarm']


def test_an_impossible_namespace_is_refused(capsys) -> None:
    assert main(['disarm', '--namespace', 'my robot']) == 1
    assert "namespace 'my robot'" in capsys.readouterr().err


def test_a_namespace_that_is_no_text_is_refused(capsys) -> None:
    assert main(['disarm', '--namespace', os.fsdecode(b'r\xe9d')]) == 1
    assert r"namespace 'r\udce9d' is invalid" in capsys.readouterr().err


@pytest.mark.parametrize('domain', ['abc', '233', '-1', '1.5'])
def test_a_domain_that_there_is_not_is_refused(monkeypatch, capsys, domain: str) -> None:
    monkeypatch.setenv('ROS_DOMAIN_ID', domain)
    assert main(['arm']) == 1
    expected = f"vla: ROS_DOMAIN_ID is '{domain}': expected a whole number from 0 to 232\n"
    assert capsys.readouterr().err == expected


def _refuses_several(name: str) -> str:
    return (
        f'2 robots offer /{name} in ROS domain {process_domain()}; expected one: choose it by '
        'ROS_DOMAIN_ID or --namespace, or keep to this computer with '
        'ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST\n'
    )


@pytest.mark.parametrize('command', ['arm', 'reset'])
def test_what_lets_a_robot_move_is_asked_of_none_of_several(
    robot, other_robot, capsys, command: str
) -> None:
    assert main([command]) == 1
    assert robot.asked == other_robot.asked == []
    assert capsys.readouterr().err == f'vla: {_refuses_several(f"safety/{command}")}'


@pytest.mark.parametrize(
    ('command', 'service'), [('disarm', 'disarm'), ('estop', 'trigger_estop')]
)
def test_what_stops_a_robot_is_asked_of_all_of_several(
    robot, other_robot, capsys, command: str, service: str
) -> None:
    assert main([command]) == 1
    assert set(robot.asked) == set(other_robot.asked) == {service}
    said = capsys.readouterr().err
    assert 'one answer of several was heard (as you wish): ' in said
    assert said.endswith(_refuses_several(f'safety/{service}'))


def test_stop_is_told_to_all_of_several(robot, other_robot, capsys) -> None:
    assert main(['stop']) == 1
    assert set(robot.texts) == set(other_robot.texts) == {'stop'}
    said = capsys.readouterr()
    assert said.out == 'still\n'
    assert said.err.endswith(_refuses_several('safety/arm'))


def test_say_tells_none_of_several(robot, other_robot, capsys) -> None:
    assert main(['say', 'go']) == 1
    assert robot.goals == other_robot.goals == []
    assert capsys.readouterr().err == f'vla: {_refuses_several("safety/arm")}'


def test_say_tells_none_of_several_policies(robot, other_robot, capsys, monkeypatch) -> None:
    monkeypatch.setitem(say.SERVICES, 'arm', 'nobody/offers/this')
    assert main(['say', 'go']) == 1
    assert robot.goals == other_robot.goals == []
    assert capsys.readouterr().err == f'vla: {_refuses_several("vla/follow_instruction")}'


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


def test_say_shows_what_it_does_not_know_and_controls_no_terminal(capsys) -> None:
    evil = '\x1b]0;PWNED\x07\x1b[2J'
    goal = SimpleNamespace(_gate=None, _fate=None, _stopping=False)
    result = SimpleNamespace(result=77, reason=evil, elapsed=1.0)
    assert say._Goal._report(goal, result) == 1
    say._Goal._on_gate(goal, SimpleNamespace(state=99, blockers=[evil]))
    feedback = SimpleNamespace(state=66, elapsed=1.0)
    say._Goal._on_feedback(goal, SimpleNamespace(feedback=feedback))
    said = capsys.readouterr().out
    assert all(line.isprintable() for line in said.splitlines())
    for words in ('Fate 77 after 1.0 s: ]0;PWNED[2J', 'the gate is State 99, ', 'Fate 66 1.0 s'):
        assert words in said


def test_ctrl_c_cancels_and_stops_the_robot(robot, capsys) -> None:
    robot.on_running = lambda: os.kill(os.getpid(), signal.SIGINT)
    assert main(['say', 'go to the red ball']) == 130
    assert robot.texts == ['stop']
    assert robot.cancellation.wait(10)
    # The answer to the goal may still be on its way to `vla say` when the signal comes.
    said = capsys.readouterr().out.removesuffix('the policy accepted the text late: cancelled\n')
    assert said.endswith('stopping\nstill\n')


def test_what_ends_programs_cancels_and_stops_the_robot(robot, ending, capsys) -> None:
    def end_twice() -> None:
        # As `timeout` and a terminal that is lost do.
        os.kill(os.getpid(), ending)
        time.sleep(0.2)
        os.kill(os.getpid(), ending)

    robot.on_running = end_twice
    assert main(['say', 'go to the red ball']) == 128 + ending
    assert robot.texts == ['stop']
    assert robot.cancellation.wait(10)
    said = capsys.readouterr()
    assert 'stopping\nstill\n' in said.out
    assert said.err == ''


def test_say_that_outlives_its_terminal_is_not_stopped_by_its_end() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with connect(''):
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_whatever_goes_wrong_in_say_cancels_and_stops_the_robot(robot, monkeypatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError('nobody thought of this')

    monkeypatch.setattr(say._Goal, '_on_feedback', fail)
    with pytest.raises(RuntimeError, match='nobody thought of this'):
        main(['say', 'go to the red ball'])
    assert robot.texts == ['stop']
    assert robot.cancellation.wait(10)


def test_say_follows_to_the_end_when_nobody_reads_it(robot, unread: int) -> None:
    robot.outcome = Fate.DONE
    done = subprocess.run(
        [*_VLA, 'say', 'go'], stdout=unread, stderr=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, '')
    assert robot.texts == []


def test_ctrl_c_stops_the_robot_when_nobody_reads_it(robot, unread: int) -> None:
    running = threading.Event()
    robot.on_running = running.set
    with subprocess.Popen(
        [*_VLA, 'say', 'go'], stdout=unread, stderr=subprocess.PIPE, text=True
    ) as process:
        assert running.wait(20)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)[1]
    assert (process.returncode, said) == (130, '')
    assert robot.texts == ['stop']
    assert robot.cancellation.wait(10)


def test_say_tells_through_a_pipe_while_the_robot_drives(robot) -> None:
    kept_back = os.environ | {'PYTHONUNBUFFERED': ''}
    with subprocess.Popen(
        [*_VLA, 'say', 'go'], stdout=subprocess.PIPE, text=True, env=kept_back
    ) as process:
        # It would wait for ever for what is kept back.
        too_late = threading.Timer(15.0, process.kill)
        too_late.start()
        assert process.stdout.readline() == 'RUNNING 0.5 s\n'
        too_late.cancel()
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert 'stopping\nstill\n' in process.stdout.read()


def test_say_refuses_what_is_no_text(robot, capsys) -> None:
    assert main(['say', 'go to the', os.fsdecode(b'r\xe9d'), 'box']) == 1
    expected = r"vla: text 'go to the r\udce9d box' has bytes that are no text: expected UTF-8"
    assert capsys.readouterr().err == f'{expected}\n'
    assert robot.goals == []


@pytest.mark.parametrize('arguments', [['--help'], ['bench', '--list']])
@pytest.mark.parametrize('unbuffered', ['', '1'])
def test_who_stops_reading_gets_no_traceback(arguments: list[str], unbuffered, unread) -> None:
    done = subprocess.run(
        [*_VLA, *arguments],
        stdout=unread,
        stderr=subprocess.PIPE,
        env=os.environ | {'PYTHONUNBUFFERED': unbuffered},
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, '')


@pytest.mark.parametrize('arguments', [['--help'], ['faults', 'list']])
def test_output_that_takes_nothing_is_named(arguments: list[str]) -> None:
    with Path('/dev/full').open('w') as full:
        done = subprocess.run(
            [*_VLA, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    expected = 'vla: No space left on device: expected room for what is written\n'
    assert (done.returncode, done.stderr) == (1, expected)


def test_letters_that_the_output_does_not_know_end_nothing() -> None:
    done = subprocess.run(
        [*_VLA, 'faults', 'list'],
        capture_output=True,
        env=os.environ | {'PYTHONIOENCODING': 'ascii'},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b'')
    assert b'?' in done.stdout


@pytest.mark.parametrize(
    ('leave', 'reason'),
    [
        (lambda robot: setattr(robot, 'run', 2), 'the policy has started anew'),
        (lambda robot: robot.close(), 'the policy is gone'),
    ],
)
def test_say_ends_when_nobody_follows_its_text_any_more(robot, capsys, leave, reason) -> None:
    robot.on_running = lambda: leave(robot)
    assert main(['say', 'go to the red ball']) == 1
    assert robot.texts == ['stop']
    said = capsys.readouterr()
    assert reason in said.err
    assert said.out.endswith('stopping\nstill\n')


def test_say_ends_where_word_of_the_next_run_comes_before_the_answer(robot, capsys) -> None:
    def start_anew() -> None:
        robot.run = 2
        time.sleep(0.3)  # Meanwhile it beats.

    robot.on_goal = start_anew
    assert main(['say', 'go to the red ball']) == 1
    assert 'the policy has started anew' in capsys.readouterr().err


def test_goal_that_is_accepted_when_say_has_given_up_is_cancelled(
    robot, capsys, monkeypatch
) -> None:
    monkeypatch.setattr('vla_cli.say.ACCEPTED_TIMEOUT', 0.2)
    robot.consent_after = 50
    assert main(['say', 'go']) == 1
    assert robot.texts == ['stop']
    assert robot.cancellation.wait(10)
    said = capsys.readouterr()
    assert 'the policy does not answer within 0.2 s' in said.err
    assert said.out.endswith('still\nthe policy accepted the text late: cancelled\n')


def test_goal_that_is_accepted_after_ctrl_c_is_cancelled(robot, capsys) -> None:
    robot.consent_after = 50
    robot.on_goal = lambda: os.kill(os.getpid(), signal.SIGINT)
    assert main(['say', 'go']) == 130
    assert robot.cancellation.wait(10)
    assert capsys.readouterr().out.endswith('the policy accepted the text late: cancelled\n')


def test_say_warns_of_a_goal_that_may_still_be_accepted(robot, capsys, monkeypatch) -> None:
    monkeypatch.setattr('vla_cli.say.ACCEPTED_TIMEOUT', 0.2)
    monkeypatch.setattr('vla_cli.say.LATE_TIMEOUT', 0.2)
    robot.consent_after = 500
    assert main(['say', 'go']) == 1
    assert 'should it accept the text later, the robot obeys it' in capsys.readouterr().err


@pytest.mark.parametrize('command', [['stop'], ['say', 'go']])
def test_stop_word_is_not_lost_on_a_recorder(
    robot, recorder, monkeypatch, command: list[str]
) -> None:
    monkeypatch.setattr('vla_cli.gate.HEARING_TIMEOUT', 5.0, raising=False)
    robot.hears = False
    robot.on_running = lambda: os.kill(os.getpid(), signal.SIGINT)
    late = threading.Timer(1.0, lambda: setattr(robot, 'hears', True))
    late.start()
    main(command)
    late.join()
    assert robot.texts == ['stop']


def test_stop_word_is_said_to_a_gate_of_another_name(robot, monkeypatch) -> None:
    monkeypatch.setattr('vla_cli.gate.HEARING_TIMEOUT', 0.1)
    monkeypatch.setattr('vla_cli.gate.GATE', 'another')
    assert main(['stop']) == 0
    assert robot.texts == ['stop']


@pytest.mark.parametrize('command', ['arm', 'disarm', 'stop', 'reset', 'estop', 'top'])
def test_ctrl_c_ends_every_command_in_order(command: str) -> None:
    waiting = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    waiting.start()
    assert main([command]) == 130
    waiting.join()


def test_gate_that_falls_silent_is_not_said_to_command_motion(robot, capsys, monkeypatch) -> None:
    monkeypatch.setattr('vla_cli.gate.STILL_TIMEOUT', 0.6)
    robot.silent_after_stop = True
    assert main(['stop']) == 1
    assert 'the gate has fallen silent after 0.6 s' in capsys.readouterr().err


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


def test_a_reader_who_has_stopped_reading_holds_up_nobody(monkeypatch) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, 'rb') as full, os.fdopen(writer, 'w') as output:
        monkeypatch.setattr(sys, 'stdout', output)
        tell('first')
        assert os.read(full.fileno(), 100) == b'first\n'
        os.set_blocking(writer, False)
        with suppress(BlockingIOError):
            while os.write(writer, bytes(4096)):
                pass
        os.set_blocking(writer, True)
        tell('nobody reads this')
        assert set(os.read(reader, 1 << 20)) == {0}, 'and it has not waited for him'
