"""ExecuTorch with XNNPACK: one file that a small runtime in C++ runs, without Python or torch."""

from __future__ import annotations

from pathlib import Path

import torch

from vla_core.policy import Policy as PolicyProtocol
from vla_learning.onnx_graphs import PolicyGraph
from vla_learning.optimise.probe import Probe
from vla_learning.optimise.subject import load_subject, Subject
from vla_learning.optimise.torch_policy import graph, TorchPolicy
from vla_learning.optimise.variants import Variant


def build(
    variant: Variant, subject: Subject, calibration: Probe, folder: Path, threads: int
) -> None:
    """Export the network for any number of words, and lower it to XNNPACK."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    config = subject.policy.config
    longest = 64 if subject.policy.encoder is None else subject.policy.encoder.max_tokens
    image = torch.zeros(1, config.height, config.width, 3, dtype=torch.uint8)
    inputs = image, torch.zeros(1, 5, config.tokens), torch.zeros(1, config.tokens)
    words = {1: torch.export.Dim('words', min=2, max=longest)}
    with torch.no_grad():
        program = torch.export.export(
            PolicyGraph(subject.policy).eval(), inputs, dynamic_shapes=(None, words, None)
        )
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    (folder / variant.kept).write_bytes(lowered.to_executorch().buffer)


def open(variant: Variant, checkpoint: Path, folder: Path) -> PolicyProtocol:  # noqa: A001
    """Load the file in the runtime; the language side stays torch."""
    from executorch.runtime import Runtime

    # Kept alive by the closure: the method lives in the program's memory.
    program = Runtime.get().load_program(folder / variant.kept)
    method = program.load_method('forward')

    def run(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(method.execute([value.contiguous() for value in inputs]))

    return TorchPolicy(load_subject(checkpoint), graph(run))
