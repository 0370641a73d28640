"""Multiply matrices in a process of its own, whose library uses as many threads as it is told.

python -m vla_cli.bench.gemm COUNT prints a JSON list of seconds.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from vla_cli.bench.child import printed

#: Rows and columns: as much work as a frame of the demo's policy, so that whatever else runs here
#: interrupts both alike.
SIZE = 512
_WARM_UP = 3
#: How the libraries behind numpy are told; they read it once, when they are loaded.
_THREADS = ('OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS')


def throughput(threads: int, count: int) -> list[float]:
    """Return the GFLOP/s of so many products of float32 [SIZE, SIZE].

    Raises:
        VlaError: if the process that measures fails.
    """
    text = printed(
        ['-m', __name__, str(count)],
        'products of matrices',
        dict.fromkeys(_THREADS, str(threads)),
    )
    return [2e-9 * SIZE**3 / seconds for seconds in json.loads(text)]


def _measure(count: int) -> list[float]:
    generator = np.random.default_rng(0)
    one, other = (generator.random((SIZE, SIZE), np.float32) for _ in range(2))
    result = np.empty_like(one)
    samples = []
    for number in range(_WARM_UP + count):
        began = time.perf_counter()
        np.matmul(one, other, out=result)
        if number >= _WARM_UP:
            samples.append(time.perf_counter() - began)
    return samples


if __name__ == '__main__':
    print(json.dumps(_measure(int(sys.argv[1]))))
