"""Tell a machine that stood still from a gate that was late.

A child process sleeps 10 ms at a time, in real-time class where that is granted, and writes down
every sleep that took more than 0.1 s longer. It holds no middleware: whatever stops it has stopped
the machine, or this virtual machine's share of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from types import TracebackType

#: s
THRESHOLD = 0.1
_SLEEP = 0.01
_PRIORITY = 20


class Pauses:
    """Pauses of the machine since the beginning of the `with` block."""

    def __enter__(self) -> Pauses:
        """Start the child."""
        self._file = tempfile.TemporaryFile()
        self._child = subprocess.Popen(
            [sys.executable, '-m', 'vla_cli.bench.pauses'], stdout=self._file
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the child."""
        self._child.kill()
        self._child.wait()
        self._file.close()

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._child.pid

    def between(self, begin: float, end: float) -> list[float]:
        """Return the length, s, of every pause that touches a span of the monotonic clock."""
        size = os.fstat(self._file.fileno()).st_size
        lines = os.pread(self._file.fileno(), size, 0).decode().splitlines()
        spans = [tuple(map(float, line.split())) for line in lines]
        return [last - first for first, last in spans if first < end and last > begin]


def main() -> None:
    """Write down the pauses until the parent is gone."""
    parent = os.getppid()
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    except PermissionError:
        sys.stderr.write('pauses: no real-time class: a busy machine may look like a pause\n')
    last = time.monotonic()
    while os.getppid() == parent:
        time.sleep(_SLEEP)
        now = time.monotonic()
        if now - last > THRESHOLD + _SLEEP:
            os.write(1, f'{last} {now}\n'.encode())
        last = now


if __name__ == '__main__':
    main()
