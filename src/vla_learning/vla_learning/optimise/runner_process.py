"""A process of its own that holds one variant and runs frames on demand.

    python -m vla_learning.optimise.runner_process VARIANT CHECKPOINT FOLDER PROBE THREADS DEVICE

VARIANT is a name of `variants`, or `checkpoint`: FOLDER as a robot opens it, on DEVICE. Each line
of standard input is `MODE COUNT`; each line of standard output is JSON. Nothing is shared with
other runtimes, so that memory and threads are this variant's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
import json
import os
from pathlib import Path
import sys
from time import perf_counter
from typing import TYPE_CHECKING

from vla_core.errors import VlaError

if TYPE_CHECKING:
    from vla_core.policy import Policy
    from vla_learning.optimise.probe import Probe

#: Instruction cached; encoded for every frame; the same, padded to 64 words as the seed did.
CACHED, UNCACHED, PADDED = 'cached', 'uncached', 'padded'
CHECKPOINT = 'checkpoint'
_PADDED_TO = 64


def main(arguments: list[str]) -> int:
    """Open a variant and obey."""
    name, checkpoint, folder, probe_file, threads, device = arguments
    # What a library prints must not look like an answer.
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)

    def answer(content: object) -> None:
        print(json.dumps(content), file=answers, flush=True)

    from vla_learning.optimise.probe import Probe

    probe = Probe.load(Path(probe_file))
    before = perf_counter()
    try:
        policy = _open(name, Path(checkpoint), Path(folder), int(threads), device)
    except (VlaError, RuntimeError, ImportError, OSError) as error:
        answer({'error': f'{type(error).__name__}: {error}'.splitlines()[0]})
        return 1
    _run(policy, probe, CACHED, range(2))
    frames = probe.images.nbytes  # which a robot does not hold
    answer({'load': perf_counter() - before, 'rss': _memory('VmRSS') - frames})
    done: Counter[str] = Counter()
    for line in sys.stdin:
        mode, count = line.split()
        if mode != CACHED and not done[mode]:
            # Some variants compile for each length of a sentence when they first hear one.
            _run(policy, probe, mode, [n for _, n in sorted(_lengths(probe).items())])
        seconds = _run(policy, probe, mode, range(done[mode], done[mode] + int(count)))
        done[mode] += int(count)
        rss, peak = _memory('VmRSS') - frames, _memory('VmHWM') - frames
        answer({'seconds': seconds, 'rss': rss, 'peak': peak})
    return 0


def _lengths(probe: Probe) -> dict[int, int]:
    """Number of words -> a frame whose instruction has as many."""
    return {len(text.split()): number for number, text in enumerate(probe.texts)}


def _open(name: str, checkpoint: Path, folder: Path, threads: int, device: str) -> Policy:
    if name == CHECKPOINT:
        from vla_core.manifest import load_manifest
        from vla_core.policy import create_policy

        return create_policy(load_manifest(folder).policy, folder, device)
    from vla_learning.optimise.variants import find

    variant = find(name)
    if not variant.policy:
        import torch

        torch.set_num_threads(threads)
    return variant.open(checkpoint, folder)


def _run(policy: Policy, probe: Probe, mode: str, frames: Iterable[int]) -> list[float]:
    """Time frames one by one, in seconds."""
    slot = policy.spec.cameras[0].name
    if hasattr(policy, 'pad_to'):
        policy.pad_to = _PADDED_TO if mode == PADDED else 0
    language = policy.encode(probe.text(0))
    frame: Callable[[int], object]
    if mode == CACHED:

        def frame(number: int) -> object:
            return policy.infer(probe.observation(number, slot), language)
    else:

        def frame(number: int) -> object:
            heard = policy.encode(probe.text(number))
            return policy.infer(probe.observation(number, slot), heard)

    seconds = []
    for number in frames:
        before = perf_counter()
        frame(number)
        seconds.append(perf_counter() - before)
    return seconds


def _memory(field: str) -> int:
    """Return a size of this process in bytes."""
    for line in Path('/proc/self/status').read_text(encoding='ascii').splitlines():
        key, _, value = line.partition(':')
        if key == field:
            return 1024 * int(value.split()[0])
    raise OSError(f'/proc/self/status: no {field}')


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
