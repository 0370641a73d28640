"""Rows of `vla bench --only variants`: each way of running a checkpoint, in turns with eager.

python -m vla_learning.optimise.side_by_side CHECKPOINT FRAMES
"""

from __future__ import annotations

from collections.abc import Iterator
import json
import os
from pathlib import Path
import sys
import tempfile
from typing import Any

import numpy as np

from vla_core.errors import ConfigError, VlaError
from vla_core.parity import FEWEST_FRAMES, FEWEST_TIMED

#: First layout of the pictures; those of `vla-learn optimise`.
_SEED = 500_000


def measure(
    checkpoint: Path, frames: int, only: tuple[str, ...] = ()
) -> Iterator[dict[str, object]]:
    """Time the variants for this machine's CPU, the instruction cached, all cores.

    Args:
        checkpoint: folder of the trainer, or an exported one of the compact scale.
        frames: of each to time.
        only: variants; none: all.

    Yields:
        A row of the benchmark for each; of one whose toolchain is absent, or that does not run
        here, without samples and with the reason.

    Raises:
        ConfigError: if there are too few frames, or a variant is unknown.
        VlaError: if the checkpoint cannot be used, or the first variant does not run.
    """
    from vla_learning.optimise.sampling import take
    from vla_learning.optimise.subject import load_subject
    from vla_learning.optimise.variants import BASE, chosen

    if frames < FEWEST_TIMED:
        raise ConfigError(f'frames {frames}: expected at least {FEWEST_TIMED}')
    subject = load_subject(checkpoint)
    probe, calibration = take(subject.manifest.spec, None, FEWEST_FRAMES, _SEED, None, '')
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        probe.save(folder / 'probe.npz')
        trial = _Trial(checkpoint, subject, calibration, folder)
        with trial.running(chosen('cpu', (BASE,))[0]) as base:
            for variant in chosen('cpu', only):
                try:
                    yield trial.row(variant, base, frames)
                except Exception as error:  # a toolchain may raise whatever it likes
                    if variant.name == BASE:
                        raise
                    text = next(iter(str(error).splitlines()), type(error).__name__)
                    yield _row(variant, [], {}, {'missing': text})


class _Trial:
    """What all variants have in common."""

    def __init__(self, checkpoint: Path, subject: Any, calibration: Any, folder: Path) -> None:
        self._checkpoint, self._subject, self._calibration = checkpoint, subject, calibration
        self._folder = folder
        self._threads = len(os.sched_getaffinity(0))

    def running(self, variant: Any) -> Any:
        """Build a variant, if that was not done, and start it."""
        from vla_learning.optimise.measuring import Process

        folder = self._folder / variant.name
        if not folder.exists():
            folder.mkdir()
            variant.build(self._subject, self._calibration, folder, self._threads)
        probe = self._folder / 'probe.npz'
        return Process(variant.name, self._checkpoint, folder, probe, self._threads)

    def row(self, variant: Any, base: Any, frames: int) -> dict[str, object]:
        """Time a variant and the base in turns."""
        from vla_learning.optimise.measuring import seconds_in_turns
        from vla_learning.optimise.runner_process import CACHED

        reason = variant.available()
        if reason:
            raise VlaError(reason)
        with self.running(variant) as process:
            mine, theirs = seconds_in_turns(process, base, CACHED, CACHED, frames)
            notes = {
                'what': variant.text,
                'threads': self._threads,
                'load, s': round(process.load, 2),
                'peak, MB': round(process.peak / 1e6),
            }
        ratio = float(np.median(mine) / np.median(theirs))
        return _row(variant, [1e3 * seconds for seconds in mine], {'eager': ratio}, notes)


def _row(
    variant: Any, samples: list[float], against: dict[str, float], notes: dict[str, object]
) -> dict[str, object]:
    name = f'variant_{variant.name}'
    return {'name': name, 'unit': 'ms', 'samples': samples, 'against': against, 'notes': notes}


def main() -> int:
    """Run the command; return its exit status."""
    # What a library prints must not look like the answer.
    answer = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    try:
        rows = list(measure(Path(sys.argv[1]), int(sys.argv[2])))
    except VlaError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(rows), file=answer, flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
