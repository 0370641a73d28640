"""The checkpoint that is optimised, as a network of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vla_core.errors import CheckpointError
from vla_core.manifest import load_manifest, Manifest
from vla_inference.onnx_policy import MEAN_FILE
from vla_learning.checkpoint import load, load_mean
from vla_learning.model import Policy, Words
from vla_learning.optimise.recover import network


@dataclass(frozen=True)
class Subject:
    """What is optimised.

    Attributes:
        manifest: of its folder.
        policy: the network, on the CPU, in evaluation mode.
        mean: what a blind policy hears; None if nothing was kept.
    """

    manifest: Manifest
    policy: Policy
    mean: Words | None


def load_subject(folder: Path) -> Subject:
    """Load a checkpoint of the trainer, or the network in an exported one.

    Raises:
        CheckpointError: if the folder is damaged, of another kind, or optimised already.
    """
    manifest = load_manifest(folder)
    if 'reference' in manifest.parity:
        raise CheckpointError(
            f'{folder.name} is optimised already: expected its reference, '
            f'{manifest.parity["reference"]}'
        )
    if manifest.policy == 'native':
        return Subject(manifest, load(folder).policy, load_mean(folder))
    if manifest.policy == 'onnx':
        return Subject(manifest, network(manifest), _mean(folder))
    raise CheckpointError(
        f'{folder.name} is a checkpoint of policy {manifest.policy}: expected native or onnx'
    )


def _mean(folder: Path) -> Words | None:
    file = folder / MEAN_FILE
    if not file.is_file():
        return None
    with np.load(file, allow_pickle=False) as arrays:
        tokens, pooled = (torch.from_numpy(arrays[name]) for name in ('tokens', 'pooled'))
    return Words(tokens, torch.zeros(1, 1, dtype=torch.bool), pooled)
