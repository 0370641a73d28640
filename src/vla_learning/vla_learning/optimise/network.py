"""Variants that are the network itself in torch: as it is, in dynamic int8, or pruned."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
import warnings

import torch
from torch import nn

from vla_core.policy import Policy as PolicyProtocol
from vla_learning.onnx_graphs import PolicyGraph
from vla_learning.optimise.probe import Probe
from vla_learning.optimise.pruning import prune, zero
from vla_learning.optimise.subject import load_subject, Subject
from vla_learning.optimise.torch_policy import graph, TorchPolicy
from vla_learning.optimise.variants import Variant


def build(
    variant: Variant, subject: Subject, calibration: Probe, folder: Path, threads: int
) -> None:
    """Write nothing: all is made of the checkpoint when it is opened."""


def open(variant: Variant, checkpoint: Path, folder: Path) -> PolicyProtocol:  # noqa: A001
    """Load the checkpoint and change the network as the variant says."""
    subject = load_subject(checkpoint)
    if variant.name == 'dynamic_int8':
        listen = None if subject.policy.encoder is None else _dynamic(subject.policy.encoder)
        return TorchPolicy(subject, graph(_dynamic(PolicyGraph(subject.policy).eval())), listen)
    if variant.name == 'pruned':
        return TorchPolicy(replace(subject, policy=prune(subject.policy)))
    if variant.name == 'sparse':
        return TorchPolicy(replace(subject, policy=zero(subject.policy)))
    return TorchPolicy(subject)


def _dynamic(module: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        # Deprecated in favour of a package of its own; still the one that is built in.
        warnings.simplefilter('ignore')
        return torch.ao.quantization.quantize_dynamic(
            deepcopy(module), {nn.Linear}, dtype=torch.qint8
        )
