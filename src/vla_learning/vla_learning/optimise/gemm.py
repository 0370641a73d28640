"""What this machine could do at best: the time that the work of a frame takes at matrix speed."""

from __future__ import annotations

from time import perf_counter

import torch
from torch.utils.flop_counter import FlopCounterMode

from vla_learning.model import Policy
from vla_learning.onnx_graphs import PolicyGraph

_SIZE, _REPEATS = 1536, 12


def frame_flops(policy: Policy) -> int:
    """Count the operations of a frame with its instruction cached (multiply and add are two)."""
    config = policy.config
    image = torch.zeros(1, config.height, config.width, 3, dtype=torch.uint8)
    words = torch.zeros(1, 6, config.tokens), torch.zeros(1, config.tokens)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        PolicyGraph(policy).eval()(image, *words)
    return int(counter.get_total_flops())


def throughput(threads: int) -> dict[str, float]:
    """Measure square matrix products, in operations per second, by type; the best of several."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return {
            'fp32': _best(torch.randn(_SIZE, _SIZE), torch.mm),
            'bf16': _best(torch.randn(_SIZE, _SIZE).bfloat16(), torch.mm),
            'int8': _best(torch.randint(-99, 99, (_SIZE, _SIZE), dtype=torch.int8), torch._int_mm),
        }
    finally:
        torch.set_num_threads(before)


def _best(matrix: torch.Tensor, multiply: object) -> float:
    fastest = float('inf')
    with torch.no_grad():
        for _ in range(_REPEATS):
            before = perf_counter()
            multiply(matrix, matrix)  # type: ignore[operator]
            fastest = min(fastest, perf_counter() - before)
    return 2.0 * _SIZE**3 / fastest
