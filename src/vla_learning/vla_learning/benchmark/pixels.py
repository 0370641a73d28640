"""One frame of the compact network at several sizes of its picture, exported with random weights.

`vla bench --only growth` runs it in a process of its own; the time does not depend on the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
import json
from pathlib import Path
import sys
import tempfile
import time

import numpy as np
import torch

from vla_inference.onnx_policy import POLICY_FILE
from vla_inference.sessions import open_session
from vla_learning.model import ModelConfig, Policy
from vla_learning.onnx_graphs import write_graphs

_WARM_UP = 5
_WORDS = 7


def measure(count: int, sizes: Sequence[int]) -> list[dict[str, object]]:
    """Return one row per size, measured in turns.

    Args:
        count: frames of each.
        sizes: px, width and height; multiples of 32.

    Raises:
        ConfigError: if the network takes no such picture.
    """
    generator = np.random.default_rng(0)
    runs = []
    with tempfile.TemporaryDirectory(prefix='vla_pixels_') as folder:
        for size in sizes:
            torch.manual_seed(0)
            config = ModelConfig(height=size, width=size)
            write_graphs(Policy(config).eval(), Path(folder))
            feeds = {
                'image': generator.integers(0, 256, (1, size, size, 3), np.uint8),
                'tokens': generator.random((1, _WORDS, config.tokens), np.float32),
                'pooled': generator.random((1, config.tokens), np.float32),
            }
            runs.append((open_session(Path(folder) / POLICY_FILE), feeds))
    samples: list[list[float]] = [[] for _ in sizes]
    for number in range(_WARM_UP + count):
        for (session, feeds), taken in zip(runs, samples, strict=True):
            began = time.perf_counter()
            session.run(None, feeds)
            if number >= _WARM_UP:
                taken.append(1e3 * (time.perf_counter() - began))
    notes = {'network': 'compact, random weights, one thread'}
    return [
        {
            'name': f'growth_pixels_{size}_inference',
            'unit': 'ms',
            'samples': taken,
            'notes': notes,
        }
        for size, taken in zip(sizes, samples, strict=True)
    ]


if __name__ == '__main__':
    print(json.dumps(measure(int(sys.argv[1]), [int(size) for size in sys.argv[2:]])))
