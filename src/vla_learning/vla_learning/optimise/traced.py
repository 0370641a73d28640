"""TorchScript: the network traced, frozen and fused; it runs without Python."""

from __future__ import annotations

from pathlib import Path
import warnings

import torch

from vla_core.policy import Policy as PolicyProtocol
from vla_learning.onnx_graphs import PolicyGraph
from vla_learning.optimise.probe import Probe
from vla_learning.optimise.subject import load_subject, Subject
from vla_learning.optimise.torch_policy import graph, TorchPolicy
from vla_learning.optimise.variants import Variant

_FILE = 'policy.pt'


def build(
    variant: Variant, subject: Subject, calibration: Probe, folder: Path, threads: int
) -> None:
    """Trace the network for any number of words."""
    config = subject.policy.config
    image = torch.zeros(1, config.height, config.width, 3, dtype=torch.uint8)
    inputs = image, torch.zeros(1, 5, config.tokens), torch.zeros(1, config.tokens)
    with torch.no_grad(), warnings.catch_warnings():
        # TorchScript is deprecated; whether it is faster is what is asked here.
        warnings.simplefilter('ignore')
        traced = torch.jit.trace(PolicyGraph(subject.policy).eval(), inputs)
        torch.jit.save(torch.jit.freeze(traced), folder / _FILE)


def open(variant: Variant, checkpoint: Path, folder: Path) -> PolicyProtocol:  # noqa: A001
    """Load the trace; the language side stays eager."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        module = torch.jit.optimize_for_inference(torch.jit.load(folder / _FILE).eval())
    return TorchPolicy(load_subject(checkpoint), graph(module))
