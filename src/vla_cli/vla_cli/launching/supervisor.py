"""Runs a list of processes: starts, restarts, and ends them all together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
import itertools
import os
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
from typing import IO, TextIO

from vla_cli.launching import guardian
from vla_cli.launching.output import Output
from vla_cli.launching.plan import Process

# By a signal of ours, or a shell's number for it: what a program returns that ends in order.
_ENDED_BY_US = (-signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGTERM)
# How long the output pipes of an ended process may stay open, s (a child of it may hold them).
_DRAIN = 1.0


def run(processes: Sequence[Process], out: TextIO, coloured: bool) -> int:
    """Run the processes until all have ended, or a signal ends them; return the exit status."""
    output = Output(out, [process.label for process in processes], coloured)
    try:
        with tempfile.TemporaryDirectory(prefix='vla_up_') as folder, _guarded() as notes:
            ready = [process.with_files(Path(folder)) for process in processes]
            return asyncio.run(_Supervisor(ready, output, notes).run())
    finally:
        output.close()


class _Supervisor:
    def __init__(self, processes: Sequence[Process], output: Output, notes: TextIO) -> None:
        self._processes = processes
        self._output = output
        self._notes = notes
        self._running: dict[int, str] = {}
        self._failed = False
        self._last_words: dict[str, str] = {}
        self._cause = ''

    async def run(self) -> int:
        self._ending = asyncio.Event()
        # Every further Ctrl-C skips the wait before the next, firmer signal.
        self._hurry = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._interrupt, number.name)
        ender = asyncio.create_task(self._end_all())
        await asyncio.gather(*(self._live(process) for process in self._processes))
        ender.cancel()
        if self._cause:
            # Where one wrong value ends every node, the first line that says so is far above.
            self._output.say(f'the first failure: {self._cause}', failed=True)
        return 1 if self._failed else 0

    def _interrupt(self, name: str) -> None:
        if self._ending.is_set():
            self._hurry.set()
            return
        self._output.say(f'{name}: ending {len(self._running)} processes')
        self._ending.set()

    async def _live(self, process: Process) -> None:
        """Start a process, and start it again as often as it is due."""
        for retry in itertools.count():
            code = await self._once(process)
            if self._ending.is_set() or process.ends_launch or not process.respawn:
                break
            if 0 <= process.respawn_max_retries <= retry:
                self._output.say(
                    f'{process.label} is given up after {retry} restarts', failed=True
                )
                break
            self._output.say(f'{process.label} starts again in {process.respawn_delay} s')
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), process.respawn_delay)
            if self._ending.is_set():
                break
        # Ended by our own SIGINT or SIGTERM is a clean end; killed is not.
        clean = (0, *_ENDED_BY_US) if self._ending.is_set() else (0,)
        if code not in clean:
            self._failed = True
            words = self._last_words.get(process.label, 'without a word')
            self._cause = self._cause or f'{process.label} {_how(code)}: {words}'
        if process.ends_launch and not self._ending.is_set():
            self._output.say(f'{process.label} has ended: ending everything')
            self._ending.set()

    async def _once(self, process: Process) -> int:
        """Run a process to its end; return its exit code, negative for a signal."""
        label, environment = process.label, process.environment
        if self._output.coloured:
            environment = {'RCUTILS_COLORIZED_OUTPUT': '1', **environment}
        try:
            # A session of its own: Ctrl-C in the terminal reaches it through us only, once.
            child = subprocess.Popen(
                process.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if process.output == 'screen' else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            self._output.say(f'{label} cannot be started: {error}', failed=True)
            self._last_words[label] = str(error)
            return 1
        self._note(f'+ {child.pid}')
        self._running[child.pid] = label
        if self._ending.is_set():
            _signal(child.pid, signal.SIGINT)
        streams = [
            asyncio.create_task(self._relay(label, stream, said))
            for stream, said in ((child.stdout, self._said), (child.stderr, self._complained))
            if stream is not None
        ]
        code = await _ended(child)
        # What the process left behind must not outlive it.
        _signal(child.pid, signal.SIGKILL)
        self._note(f'- {child.pid}')
        del self._running[child.pid]
        await asyncio.wait(streams, timeout=_DRAIN)
        for stream in streams:
            stream.cancel()
        if code or not self._ending.is_set():
            self._output.say(f'{label} [{child.pid}] {_how(code)}', failed=code != 0)
        return code

    async def _end_all(self) -> None:
        """Once the end has begun, signal every process, more firmly after each wait."""
        await self._ending.wait()
        for delay, number in guardian.STEPS:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), delay)
            self._hurry.clear()
            for pid, label in self._running.items():
                if delay:
                    self._output.say(f'{label} [{pid}] has not ended: {number.name}', failed=True)
                _signal(pid, number)

    def _said(self, label: str, line: bytes) -> None:
        self._output.line(label, line.decode(errors='replace'))

    def _complained(self, label: str, line: bytes) -> None:
        self._said(label, line)
        if words := line.decode(errors='replace').strip():
            self._last_words[label] = words

    async def _relay(
        self, label: str, pipe: IO[bytes], said: Callable[[str, bytes], None]
    ) -> None:
        """Hand on a process's output line by line, lines of any length."""
        stream = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), pipe
        )
        rest = b''
        with closing(transport):
            while data := await stream.read(1 << 16):
                *lines, rest = (rest + data).split(b'\n')
                for line in lines:
                    said(label, line)
        if rest:
            said(label, rest)

    def _note(self, line: str) -> None:
        # A guardian that was killed leaves the launch running, only without its protection.
        with suppress(BrokenPipeError):
            self._notes.write(f'{line}\n')
            self._notes.flush()


def _how(code: int) -> str:
    return f'died of {signal.Signals(-code).name}' if code < 0 else f'ended with {code}'


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


async def _ended(child: subprocess.Popen[bytes]) -> int:
    """Wait for the end of the process itself: its pipes may be held open by a child of it."""
    ended = asyncio.Event()
    handle = os.pidfd_open(child.pid)
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)
    return child.wait()


@contextmanager
def _guarded() -> Iterator[TextIO]:
    """Start the guardian; yield the pipe for notes to it, and wait for its end."""
    command = [sys.executable, '-I', '-S', guardian.__file__]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        yield process.stdin
