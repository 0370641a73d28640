"""What this machine could do at best, beside which the other rows can be read."""

from __future__ import annotations

import os
import time

import numpy as np

from vla_cli.bench import gemm, hop
from vla_cli.bench.report import Row

#: Bytes of a copy: many times what any cache holds.
_COPIED = 256 << 20
#: Copies and products take tens of milliseconds each, round trips one.
_FEWER = 10
_WARM_UP = 2


def limits(count: int) -> list[Row]:
    """Measure products of matrices, a copy, and a hop, with nothing of the graph running.

    Args:
        count: round trips; a tenth as many products and copies.
    """
    fewer = max(1, count // _FEWER)
    cores = len(os.sched_getaffinity(0))
    return [
        gemm_row(1, fewer),
        *([gemm_row(cores, fewer)] if cores > 1 else []),
        copy_row(fewer),
        *(hop_row(kind, count) for kind in hop.KINDS),
    ]


def gemm_row(threads: int, count: int) -> Row:
    """Multiply float32 matrices on so many threads."""
    samples = gemm.throughput(threads, count)
    notes = {
        'best': round(max(samples), 1),
        'size': f'{gemm.SIZE} x {gemm.SIZE} float32',
    }
    name = 'limit_gemm_1_thread' if threads == 1 else f'limit_gemm_{threads}_threads'
    return Row(name, 'GFLOP/s', samples, notes=notes, more_is_better=True)


def copy_row(count: int, size: int = _COPIED) -> Row:
    """Copy memory on one thread; what is read counts, and what is written."""
    source = np.ones(size, np.uint8)
    target = np.zeros_like(source)
    samples = []
    for number in range(_WARM_UP + count):
        began = time.perf_counter()
        np.copyto(target, source)
        if number >= _WARM_UP:
            samples.append(2e-9 * size / (time.perf_counter() - began))
    notes = {
        'best': round(max(samples), 2),
        'size': f'{size >> 20} MiB, counted both ways',
    }
    return Row('limit_copy', 'GB/s', samples, notes=notes, more_is_better=True)


def hop_row(kind: str, count: int) -> Row:
    """Send messages to another process and back; see `hop.round_trips`."""
    samples, lost = hop.round_trips(kind, count)
    way = 'UDP alone' if kind == 'chunk' else 'shared memory'
    notes = {'way': way, 'half the round trip': 'with rclpy on both sides', 'lost': lost}
    return Row(f'limit_hop_{kind}', 'ms', samples, notes=notes)
