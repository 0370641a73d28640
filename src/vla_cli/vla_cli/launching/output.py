"""Prints the output of many processes, each line marked with its process."""

from __future__ import annotations

from collections.abc import Iterable
import itertools
import queue
import threading
from typing import TextIO

_COLOURS = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)
_PLAIN, _BOLD_RED = 0, 91
# Lines that wait for a slow reader; about a minute of a talkative graph.
_WAITING = 10_000
_LAUNCH = 'launch'


class Output:
    """Marks lines and writes them from a thread of its own.

    A terminal that is paused (Ctrl-S) blocks whoever writes to it. Were that the reader of the
    nodes' pipes, the pipes would fill and the gate would stand still inside a log call: rather
    lose lines.

    Args:
        out: where the lines go.
        labels: the processes.
        coloured: colour the marks.
    """

    def __init__(self, out: TextIO, labels: Iterable[str], coloured: bool) -> None:
        self.coloured = coloured
        self._out = out
        self._colours = {**dict(zip(labels, itertools.cycle(_COLOURS))), _LAUNCH: _PLAIN}
        self._width = max(map(len, self._colours)) + 2
        self._lines: queue.Queue[str | None] = queue.Queue(_WAITING)
        self._lost = 0
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()

    def line(self, label: str, text: str) -> None:
        """Print one line of a process."""
        mark = self._paint(f'[{label}]'.ljust(self._width), self._colours[label])
        try:
            self._lines.put_nowait(f'{mark} {text}')
        except queue.Full:
            self._lost += 1

    def say(self, text: str, failed: bool = False) -> None:
        """Print one line of the launcher itself."""
        self.line(_LAUNCH, self._paint(text, _BOLD_RED if failed else _PLAIN))

    def close(self, timeout: float = 1.0) -> None:
        """Print what waits, for at most `timeout` s."""
        if self._lost:
            self.say(
                f'{self._lost} lines were lost: the reader of this output was too slow',
                failed=True,
            )
        try:
            self._lines.put(None, timeout=timeout)
        except queue.Full:
            return
        self._writer.join(timeout)

    def _paint(self, text: str, colour: int) -> str:
        return f'\x1b[{colour}m{text}\x1b[0m' if self.coloured and colour != _PLAIN else text

    def _write(self) -> None:
        # A locale without UTF-8 must not end this thread: one odd letter would silence all nodes.
        encoding = self._out.encoding or 'utf-8'
        while (line := self._lines.get()) is not None:
            try:
                print(
                    line.encode(encoding, 'replace').decode(encoding), file=self._out, flush=True
                )
            except OSError:
                # Nobody reads any more (a closed pipe, a lost terminal): the robot must not care.
                return
