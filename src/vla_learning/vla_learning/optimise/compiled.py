"""torch.compile with frozen weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch._inductor import config

from vla_core.policy import Policy as PolicyProtocol
from vla_learning.onnx_graphs import PolicyGraph
from vla_learning.optimise.probe import Probe
from vla_learning.optimise.subject import load_subject, Subject
from vla_learning.optimise.torch_policy import graph, TorchPolicy
from vla_learning.optimise.variants import Variant


def build(
    variant: Variant, subject: Subject, calibration: Probe, folder: Path, threads: int
) -> None:
    """Write nothing: it is compiled when it first runs."""


def open(variant: Variant, checkpoint: Path, folder: Path) -> PolicyProtocol:  # noqa: A001
    """Compile; each new number of words may compile again until torch gives up telling them."""
    config.freezing = True
    subject = load_subject(checkpoint)
    listen = subject.policy.encoder
    return TorchPolicy(
        subject,
        graph(torch.compile(PolicyGraph(subject.policy).eval())),
        None if listen is None else torch.compile(listen),
    )
