"""torch on a GPU: eagerly, or as one CUDA graph per number of words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vla_core.policy import Policy as PolicyProtocol
from vla_learning.model import Words
from vla_learning.onnx_graphs import PolicyGraph
from vla_learning.optimise.probe import Probe
from vla_learning.optimise.subject import load_subject, Subject
from vla_learning.optimise.torch_policy import graph, TorchPolicy
from vla_learning.optimise.variants import Variant

_WARM_UP = 3


def build(
    variant: Variant, subject: Subject, calibration: Probe, folder: Path, threads: int
) -> None:
    """Write nothing: the GPU is given the checkpoint itself."""


def open(variant: Variant, checkpoint: Path, folder: Path) -> PolicyProtocol:  # noqa: A001
    """Move the network to the GPU; a graph is captured when a number of words is first seen."""
    subject = load_subject(checkpoint)
    mean = None if subject.mean is None else Words(*(part.cuda() for part in subject.mean))
    subject = replace(subject, policy=subject.policy.cuda(), mean=mean)
    if variant.name == 'cuda_graph':
        module = PolicyGraph(subject.policy).eval()
        return TorchPolicy(subject, graph(_Captured(module)), device='cuda')
    return TorchPolicy(subject, device='cuda')


class _Captured:
    """A frame as a CUDA graph: all kernels are launched at once."""

    def __init__(self, module: PolicyGraph) -> None:
        self._module = module
        self._captured: dict[int, tuple[Any, tuple[Tensor, ...], tuple[Tensor, ...]]] = {}

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Replay the graph on image, tokens [1, T, W] and pooled."""
        words = inputs[1].shape[1]
        if words not in self._captured:
            self._captured[words] = self._capture(inputs)
        replay, places, outputs = self._captured[words]
        for place, value in zip(places, inputs, strict=True):
            place.copy_(value)
        replay.replay()
        return outputs

    def _capture(self, inputs: tuple[Tensor, ...]) -> tuple[Any, Any, Any]:
        places = tuple(value.clone() for value in inputs)
        # Kernels are chosen and memory is laid out before, on a stream of its own
        # (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                self._module(*places)
        torch.cuda.current_stream().wait_stream(side)
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            outputs = self._module(*places)
        return captured, places, outputs
