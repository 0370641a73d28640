"""vla_up as a process: it marks output, restarts, ends everything, and leaves nobody behind."""

from collections.abc import Iterator
import os
from pathlib import Path
import select
import signal
import subprocess
import sys
import time

import psutil
import pytest

STUBBORN = 'import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (2, 15)]; '
PATIENCE = 30.0


class Launch:
    """A running vla_up and what it has printed so far."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, '-m', 'vla_cli.up', '--builtin', str(path)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.lines: list[str] = []
        self._rest = b''

    def wait_for(self, text: str) -> str:
        while (line := self._read()) is not None:
            if text in line:
                return line
        raise AssertionError(f'{text!r} was never printed: {self.lines}')

    def end(self) -> int:
        while self._read() is not None:
            pass
        return self.process.wait(PATIENCE)

    def _read(self) -> str | None:
        pipe = self.process.stdout.fileno()
        while b'\n' not in self._rest:
            assert select.select([pipe], [], [], PATIENCE)[0], f'silence after {self.lines}'
            data = os.read(pipe, 1 << 20)
            if not data:
                return None
            self._rest += data
        line, self._rest = self._rest.split(b'\n', 1)
        self.lines.append(line.decode())
        return self.lines[-1]

    def children(self) -> list[psutil.Process]:
        """Every process below vla_up, except its guardian."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in below if 'guardian' not in ' '.join(child.cmdline())]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator:
    launches = []

    def start(content: str) -> Launch:
        path = tmp_path / 'test.launch.xml'
        path.write_text(f'<launch>{content}</launch>')
        launches.append(Launch(path))
        return launches[-1]

    yield start
    for started in launches:
        started.process.kill()
        started.process.communicate()


def python(code: str, attributes: str = '') -> str:
    # Quoted, for the workspace may lie in a path with a space.
    command = f"&quot;{sys.executable}&quot; -uc '{code}'"
    return f'<executable cmd="{command}" output="screen" {attributes}/>'


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE)
    return not alive


def test_lines_are_marked_and_a_clean_end_is_zero(launch) -> None:
    started = launch(python('print(5); print(6, end=str())', 'name="left"'))
    assert started.end() == 0
    assert [line for line in started.lines if line.startswith('[left]')] == [
        '[left]   5',
        '[left]   6',
    ]


def test_a_line_longer_than_any_buffer_arrives_whole(launch) -> None:
    started = launch(python('print(chr(97) * 1000000)', 'name="a"'))
    assert started.end() == 0
    assert 'a' * 1_000_000 in started.lines[0]


def test_a_failed_process_makes_the_status_one(launch) -> None:
    started = launch(python('exit(3)', 'name="a"') + python('pass', 'name="b"'))
    assert started.end() == 1
    assert any('a [' in line and 'ended with 3' in line for line in started.lines)


def test_the_last_line_names_the_first_failure_and_its_last_words(launch) -> None:
    started = launch(
        python('import time; time.sleep(1); exit(4)', 'name="later"')
        + python('import sys; print(1); sys.exit(str(7) + chr(10))', 'name="sooner"')
    )
    assert started.end() == 1
    assert started.lines[-1].endswith('the first failure: sooner ended with 1: 7')


def test_a_clean_end_names_no_failure(launch) -> None:
    started = launch(python('import sys; print(7, file=sys.stderr)', 'name="a"'))
    assert started.end() == 0
    assert not any('failure' in line for line in started.lines)


def test_a_letter_that_the_locale_lacks_silences_nobody(launch, monkeypatch) -> None:
    monkeypatch.setenv('PYTHONIOENCODING', 'ascii')
    code = 'import os; os.write(1, bytes([0xc2, 0xb5, 0x6d, 10, 0x62, 10]))'
    started = launch(python(code, 'name="a"'))
    assert started.end() == 0
    assert [line for line in started.lines if line.startswith('[a]')] == [
        '[a]      ?m',
        '[a]      b',
    ]


def test_an_executable_that_does_not_exist_is_a_failure(launch) -> None:
    started = launch('<executable cmd="/nowhere/at_all"/>')
    assert started.end() == 1
    assert 'cannot be started' in started.lines[0]


def test_a_file_that_cannot_be_played_is_status_two(launch) -> None:
    started = launch('<timer/>')
    assert started.end() == 2
    assert 'test.launch.xml:1: <timer>' in started.lines[0]


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_every_process_in_order(launch, number: signal.Signals) -> None:
    code = 'import signal&#10;try: print(1); signal.pause()&#10;except KeyboardInterrupt: print(2)'
    started = launch(python(code, 'name="a"') + python(code, 'name="b"'))
    first = started.wait_for('1')[1]
    started.wait_for(f'[{"b" if first == "a" else "a"}]')
    children = started.children()
    assert len(children) == 2
    started.process.send_signal(number)
    assert started.end() == 0
    assert sum(line.endswith(' 2') for line in started.lines) == 2
    assert gone(children)


@pytest.mark.parametrize('code', [128 + signal.SIGINT, 128 + signal.SIGTERM])
def test_the_number_of_our_signal_is_a_clean_end(launch, code: int) -> None:
    """`vla play` returns 130 after Ctrl-C."""
    wait = 'import signal&#10;try: print(1); signal.pause()&#10;except KeyboardInterrupt: '
    started = launch(python(f'{wait}exit({code})', 'name="a"'))
    started.wait_for('1')
    started.process.send_signal(signal.SIGINT)
    assert started.end() == 0
    assert not any('failure' in line for line in started.lines)


@pytest.mark.parametrize('code', [128 + signal.SIGINT, 128 + signal.SIGTERM])
def test_the_number_of_a_signal_is_a_failure_while_nothing_ends(launch, code: int) -> None:
    assert launch(python(f'exit({code})', 'name="a"')).end() == 1


def test_a_process_that_ignores_signals_is_killed_and_a_failure(launch) -> None:
    started = launch(python(STUBBORN + 'print(1); time.sleep(600)', 'name="a"'))
    started.wait_for('1')
    started.process.send_signal(signal.SIGINT)
    # Two more: the waits before SIGTERM and before SIGKILL are skipped.
    started.wait_for('SIGINT')
    started.process.send_signal(signal.SIGINT)
    started.wait_for('SIGTERM')
    started.process.send_signal(signal.SIGINT)
    assert started.end() == 1
    assert any('SIGKILL' in line for line in started.lines)


def test_the_end_of_a_process_with_on_exit_ends_everything(launch, tmp_path: Path) -> None:
    # An interpreter that is interrupted while it starts ends with a failure of its own.
    up = tmp_path / 'up'
    forever = python(
        f'import pathlib, signal; pathlib.Path(&quot;{up}&quot;).touch(); signal.pause()',
        'name="other"',
    )
    there = f'time.sleep(0.01) or os.path.exists(&quot;{up}&quot;)'
    gate = f'import os, time; list(iter(lambda: {there}, True))'
    started = launch(forever + python(gate, 'name="gate" on_exit="shutdown"'))
    assert started.end() == 0
    assert any('gate has ended: ending everything' in line for line in started.lines)


def test_a_killed_process_starts_again_as_often_as_allowed(launch) -> None:
    code = 'import os; print(os.getpid()); os.kill(os.getpid(), 9)'
    respawn = 'respawn="true" respawn_delay="0.01" respawn_max_retries="2"'
    started = launch(python(code, f'name="a" {respawn}'))
    assert started.end() == 1
    pids = {line for line in started.lines if line.startswith('[a]')}
    assert len(pids) == 3
    assert any('a is given up after 2 restarts' in line for line in started.lines)


def test_a_restarted_process_that_ends_well_is_no_failure(launch, tmp_path: Path) -> None:
    seen = tmp_path / 'seen'
    code = (
        f'import os, pathlib, signal; p = pathlib.Path(&quot;{seen}&quot;); again = p.exists();'
        'p.touch(); print(again); again or os.kill(os.getpid(), 9); signal.pause()'
    )
    started = launch(python(code, 'name="a" respawn="true" respawn_delay="0.0"'))
    started.wait_for('True')
    started.process.send_signal(signal.SIGINT)
    assert started.end() == 0


def test_a_respawn_in_waiting_does_not_hold_up_the_end(launch) -> None:
    started = launch(python('exit(1)', 'name="a" respawn="true" respawn_delay="600.0"'))
    started.wait_for('starts again')
    started.process.send_signal(signal.SIGINT)
    assert started.end() == 1


def test_what_a_process_leaves_behind_ends_with_it(launch) -> None:
    code = 'import subprocess; print(subprocess.Popen([&quot;sleep&quot;, &quot;600&quot;]).pid)'
    started = launch(python(code, 'name="a"') + python('import time; time.sleep(600)', 'name="b"'))
    left = int(started.wait_for('[a]').split()[-1])
    started.wait_for('ended with 0')
    assert gone([psutil.Process(left)] if psutil.pid_exists(left) else [])


def test_a_killed_launcher_leaves_nobody_behind(launch) -> None:
    child = 'import subprocess, time; subprocess.Popen([&quot;sleep&quot;, &quot;600&quot;]); '
    started = launch(
        python(child + 'print(1); time.sleep(600)', 'name="a"')
        + python(STUBBORN + 'print(1); time.sleep(600)', 'name="b"')
    )
    started.wait_for('1')
    started.wait_for('1')
    children = started.children()
    assert len(children) == 3
    started.process.kill()
    assert gone(children)


def test_a_reader_that_stands_still_does_not_stop_the_processes(launch, tmp_path: Path) -> None:
    done = tmp_path / 'done'
    code = (
        'import pathlib; [print(chr(97) * 1000) for _ in range(5000)]; '
        f'pathlib.Path(&quot;{done}&quot;).touch()'
    )
    launch(python(code, 'name="a"'))
    # Nobody reads our end of the pipe: 5 MB go nowhere, and the process still finishes.
    deadline = time.monotonic() + PATIENCE
    while not done.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert done.exists()
