"""Batches ahead of time, in the order of the steps.

A batch is a function of its step, so workers can prepare the next ones while the network learns,
and a resumed run starts at any step without reading what came before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
import signal
import sys
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vla_learning.data.batch import Batch, Source

T = TypeVar('T')


@dataclass(frozen=True)
class Share:
    """Which part of every batch a process takes, in how many pieces.

    Attributes:
        process: number of the process.
        processes: how many there are.
        pieces: of each process.
    """

    process: int = 0
    processes: int = 1
    pieces: int = 1

    @property
    def parts(self) -> int:
        """Into how many parts a batch is cut."""
        return self.processes * self.pieces

    def part(self, piece: int) -> int:
        """Number of this process's piece among all parts of a batch."""
        return self.process * self.pieces + piece


class _Steps(Dataset[list[Batch]]):
    """A source as DataLoader wants it: step -> this process's pieces of the batch."""

    def __init__(self, source: Source, share: Share) -> None:
        self._source = source
        self._share = share

    def __getitem__(self, step: int) -> list[Batch]:
        share = self._share
        return [
            self._source.batch(step, share.part(piece), share.parts)
            for piece in range(share.pieces)
        ]


def feed(source: Source, steps: range, share: Share, workers: int = 0) -> Iterator[list[Batch]]:
    """Yield the pieces of each step's batch.

    Args:
        source: where batches come from; with workers it must survive being sent to a process.
        steps: which.
        share: of this process.
        workers: processes that prepare batches ahead; 0: none.
    """
    loader: DataLoader[list[Batch]] = DataLoader(
        _Steps(source, share),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        # A forked worker shares the pictures that a source holds in memory.
        multiprocessing_context='fork' if workers and sys.platform == 'linux' else None,
        worker_init_fn=_ignore_interrupts if workers else None,
        collate_fn=_as_it_is,
        # Else the loader would draw from the stream that dropout uses.
        generator=torch.Generator(),
    )
    return iter(loader)


def _as_it_is(pieces: list[Batch]) -> list[Batch]:
    return pieces


def _ignore_interrupts(_: int) -> None:
    # Ctrl-C, and torchrun's SIGTERM, reach the whole group; the trainer finishes its step, for
    # which it may need the batch that is being prepared, and then ends its workers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def to_device(value: T, device: torch.device) -> T:
    """Return a batch, or any part of one, with its tensors on a device."""
    moved: Any = value
    if isinstance(value, Tensor):
        moved = value.to(device, non_blocking=True)
    elif isinstance(value, Batch):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
        moved = replace(value, **{name: to_device(part, device) for name, part in parts.items()})
    elif isinstance(value, tuple) and hasattr(value, '_fields'):
        moved = type(value)(*(to_device(part, device) for part in value))
    return moved
