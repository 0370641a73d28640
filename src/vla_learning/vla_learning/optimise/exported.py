"""Variants that a robot runs without torch: ONNX graphs, in float or int8, for either runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vla_core.manifest import Runtime, write_manifest
from vla_core.policy import create_policy, Policy

if TYPE_CHECKING:
    from vla_learning.optimise.probe import Probe
    from vla_learning.optimise.subject import Subject
    from vla_learning.optimise.variants import Variant


def build(
    variant: Variant, subject: Subject, calibration: Probe, folder: Path, threads: int
) -> None:
    """Write a checkpoint folder; its parity report comes when it is exported."""
    from vla_learning.onnx_graphs import write_graphs, write_mean
    from vla_learning.optimise.quantise import quantise

    manifest = subject.manifest
    language = write_graphs(subject.policy, folder, half=False)
    if subject.mean is not None:
        write_mean(subject.mean, folder)
    if variant.int8:
        quantise(folder, subject, calibration)
    spec = replace(manifest.spec, model_id=f'{manifest.spec.model_id}-{variant.name}')
    write_manifest(
        *(folder, variant.policy or 'onnx', spec, language),
        training=manifest.training,
        statistics=manifest.statistics,
        runtime=Runtime(threads, variant.precision),
    )


def open(variant: Variant, checkpoint: Path, folder: Path) -> Policy:  # noqa: A001
    """Open it as a robot does."""
    return create_policy(variant.policy, folder, 'cpu')
