"""Faults of single processes, mended on exit where that is possible."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
import signal
import time

import psutil


@contextmanager
def killed(process: psutil.Process, number: int = signal.SIGKILL) -> Iterator[int]:
    """End a process by a signal that it cannot answer; yield ROS time of that, ns."""
    began = time.time_ns()
    process.send_signal(number)
    yield began


@contextmanager
def frozen(process: psutil.Process) -> Iterator[int]:
    """Suspend a process meanwhile; yield ROS time of that, ns."""
    began = time.time_ns()
    process.suspend()
    try:
        yield began
    finally:
        with suppress(psutil.NoSuchProcess):
            process.resume()


@contextmanager
def unable_to_write(process: psutil.Process) -> Iterator[None]:
    """Let no file of a process grow, as on a disk that is full: each write fails."""
    soft, hard = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, (soft, hard))
