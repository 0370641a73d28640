"""`vla-learn export`: what the trainer wrote becomes what the robot runs without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TYPE_CHECKING

import tyro

if TYPE_CHECKING:
    from vla_core.types import PolicySpec
    from vla_learning.data.batch import Features
    from vla_learning.model import Policy
    from vla_learning.sim.sentences import Sentences


@dataclass(frozen=True)
class Export:
    """Turn a checkpoint of the trainer into one that the robot runs without torch (ONNX).

    Attributes:
        native: folder of the trainer.
        onnx: folder to write; what is there is replaced.
    """

    native: Annotated[Path, tyro.conf.Positional]
    onnx: Annotated[Path, tyro.conf.Positional]


def command(options: Export) -> int:
    """Export, compare, say how far apart both are; returns the exit status."""
    parity = export_folder(options.native, options.onnx)
    size = sum(path.stat().st_size for path in options.onnx.iterdir()) / 1e6
    largest = max(parity.values())
    print(f'{options.onnx}: {size:.1f} MB, largest difference from torch {largest:.1e}')
    return 0


def export_folder(native: Path, folder: Path) -> dict[str, float]:
    """Export a checkpoint of the trainer.

    Args:
        native: what `vla_learning.checkpoint.save` wrote.
        folder: where to write, replacing what was there.

    Returns:
        Largest absolute differences between torch and onnxruntime, by output.

    Raises:
        CheckpointError: if the checkpoint is damaged, or a difference is too large; `folder` is
            not touched.
        ConfigError: if `folder` holds something that is no checkpoint, or is `native` itself.
    """
    from vla_learning.checkpoint import load, load_mean, replaceable
    from vla_learning.onnx_graphs import write_onnx

    replaceable(folder, native)
    policy, manifest = load(native)
    training = {**manifest.training, 'native_sha256': manifest.spec.model_sha256}
    return write_onnx(
        policy, load_mean(native), folder, manifest.spec, training, manifest.statistics
    )


def export(
    policy: Policy,
    sentences: Sentences,
    folder: Path,
    spec: PolicySpec,
    training: Mapping[str, Any],
) -> dict[str, float]:
    """Export a network that was trained in the simulator, without a checkpoint in between.

    Args:
        policy: trained network.
        sentences: training sentences, for the mean of the language features.
        folder: where to write, replacing what was there.
        spec: the checkpoint's contract.
        training: provenance, as plain values.

    Returns:
        See `export_folder`.

    Raises:
        CheckpointError: if a difference is too large; `folder` is not touched.
    """
    from vla_learning.checkpoint import mean_words
    from vla_learning.onnx_graphs import round_weights, write_onnx

    mean = mean_words(round_weights(policy), sample_of(sentences))
    return write_onnx(policy, mean, folder, spec, training)


def sample_of(sentences: Sentences, count: int = 2000) -> Features:
    """Draw training sentences that are understood; a blind policy hears their mean."""
    import numpy as np
    import torch

    from vla_learning.data.batch import Features

    understood = np.flatnonzero(sentences.understood)
    chosen = np.random.default_rng(0).choice(
        understood, min(count, len(understood)), replace=False
    )
    embeddings, padding = sentences.gather(chosen)
    return Features(torch.from_numpy(embeddings), torch.from_numpy(padding))
