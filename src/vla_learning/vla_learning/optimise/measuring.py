"""Time two variants frame by frame in turns, each in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
from typing import Any, Self

import numpy as np

from vla_core.errors import VlaError
from vla_learning.optimise.runner_process import CACHED, CHECKPOINT

_MODULE = 'vla_learning.optimise.runner_process'
#: Threads that spin while they wait starve beside any other busy process.
_ENVIRONMENT = {'OMP_WAIT_POLICY': 'PASSIVE', 'GOMP_SPINCOUNT': '0'}
#: Parts into which the frames are cut: whatever else runs meanwhile slows both alike.
ROUNDS = 10
_WARM_UP = 5


class MeasuringError(VlaError):
    """A variant that does not run."""


@dataclass(frozen=True)
class Latency:
    """How long frames took, in s; `against` is the same of the other one, in turns.

    Attributes:
        frames: of each.
        p50: median.
        p99: quantile 0.99.
        against: median of the other.
    """

    frames: int
    p50: float
    p99: float
    against: float


class Process:
    """A variant in a process of its own.

    Attributes:
        load: s to open it and run two frames.
        rss: bytes after the latest run.
        peak: bytes at most.
    """

    def __init__(
        self,
        name: str,
        checkpoint: Path,
        folder: Path,
        probe: Path,
        threads: int,
        device: str = 'cpu',
    ) -> None:
        """Start it.

        Args:
            name: of the variant, or CHECKPOINT.
            checkpoint: what it was made of.
            folder: of what it was built.
            probe: file of frames.
            threads: of one inference; 0: as many as a robot would use.
            device: of CHECKPOINT; a variant has its own.

        Raises:
            MeasuringError: if the variant cannot be opened.
        """
        self._name = name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the process)
        limit = {'OMP_NUM_THREADS': str(threads)} if threads else {}
        command = [sys.executable, '-m', _MODULE, name]
        command += [str(checkpoint), str(folder), str(probe), str(threads), device]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A pipe that nobody reads would stop a talkative library.
            stderr=self._errors,
            text=True,
            env=os.environ | _ENVIRONMENT | limit,
        )
        opened = self._answer()
        self.load, self.rss, self.peak = float(opened['load']), int(opened['rss']), 0

    @classmethod
    def of_checkpoint(cls, folder: Path, probe: Path, device: str) -> Self:
        """Start a checkpoint as a robot opens it."""
        return cls(CHECKPOINT, folder, folder, probe, 0, device)

    def run(self, mode: str, count: int) -> list[float]:
        """Run frames; returns seconds.

        Raises:
            MeasuringError: if the process died.
        """
        assert self._process.stdin is not None  # noqa: S101 (a pipe was asked for)
        try:
            self._process.stdin.write(f'{mode} {count}\n')
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        done = self._answer()
        self.rss, self.peak = done['rss'], done['peak']
        return list(map(float, done['seconds']))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The end of its input ends it.
        self._process.communicate()
        self._errors.close()

    def _answer(self) -> Mapping[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 (a pipe was asked for)
        line = self._process.stdout.readline()
        if not line:
            self._process.communicate()
            self._errors.seek(0)
            said = self._errors.read().decode(errors='replace').strip().splitlines()
            last = (said or [f'status {self._process.returncode}'])[-1]
            raise MeasuringError(f'{self._name}: {last}')
        content: Mapping[str, Any] = json.loads(line)
        if 'error' in content:
            self._process.communicate()
            raise MeasuringError(f'{self._name}: {content["error"]}')
        return content


def in_turns(
    one: Process, other: Process, modes: Sequence[tuple[str, str]], frames: int
) -> list[Latency]:
    """Time `one` against `other`.

    Args:
        one: is timed.
        other: what it is compared with.
        modes: how the one runs and how the other does, see `runner_process`.
        frames: of each, per mode.
    """
    found = []
    for mode, against in modes:
        mine, theirs = seconds_in_turns(one, other, mode, against, frames)
        p50, p99 = np.quantile(mine, (0.5, 0.99)).tolist()
        found.append(Latency(len(mine), p50, p99, float(np.median(theirs))))
    return found


def seconds_in_turns(
    one: Process, other: Process, mode: str, against: str, frames: int
) -> tuple[list[float], list[float]]:
    """Return what every frame took `one` in `mode`, and `other` in `against`."""
    part = max(1, frames // ROUNDS)
    one.run(mode, _WARM_UP)
    other.run(against, _WARM_UP)
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        mine.extend(one.run(mode, part))
        theirs.extend(other.run(against, part))
    return mine, theirs


def cached_in_turns(one: Process, other: Process, frames: int) -> Latency:
    """Time both with the instruction cached."""
    return in_turns(one, other, [(CACHED, CACHED)], frames)[0]
