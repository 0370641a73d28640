"""`vla-learn envelope`: what training was like, written where the robot can compare with it.

Checkpoints get it when they are written; the command adds it to one that has none. Shape legend:
N rows, D axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
import tempfile
from typing import Annotated, TYPE_CHECKING

import numpy as np
import tyro

from vla_core.envelope import Envelope, FEATURES, features_of, Range
from vla_core.errors import ConfigError
from vla_core.manifest import load_manifest, Manifest, write_envelope
from vla_core.types import from_si, PolicySpec
from vla_learning.data.statistics import Accumulator, Statistics

if TYPE_CHECKING:
    from vla_learning.data.batch import Source

#: Pictures that are summed up when a checkpoint is written; two standard deviations of its 1 %
#: quantile are 0.4 percentage points.
PICTURES = 2000
_DIGITS = 6


@dataclass(frozen=True)
class AddEnvelope:
    """Measure the training data of a checkpoint again and write its envelope into the manifest.

    Attributes:
        checkpoint: folder; its files and their hashes stay, that of the manifest changes.
        frames: pictures: rendered anew where the simulator was the teacher.
    """

    checkpoint: Annotated[Path, tyro.conf.Positional]
    frames: int = 10_000


def command(options: AddEnvelope) -> int:
    """Measure, write, say what was written; returns the exit status.

    Raises:
        ConfigError: if the checkpoint does not say what it was trained on, or that is not there
            any more.
        CheckpointError: if the folder does not match its manifest.
    """
    if options.frames < 1:
        raise ConfigError(f'frames {options.frames}: expected at least 1')
    manifest = load_manifest(options.checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        envelope = _measure_again(manifest, options.frames, Path(folder))
    write_envelope(options.checkpoint, envelope)
    print(f'{options.checkpoint}: {envelope.source}')
    for name, one in envelope.actions.items():
        print(f'  {name}: {one.min:.3g} to {one.max:.3g}')
    return 0


def measure(
    source: Source,
    spec: PolicySpec,
    origin: str,
    statistics: Statistics | None = None,
    pictures: int | None = None,
) -> Envelope:
    """Sum up what a policy learns from.

    Args:
        source: of its batches.
        spec: contract; only cameras and actions are read. No network here takes a state.
        origin: what the source is, for a person.
        statistics: of all actions, if they are known already; None: of those in the batches.
        pictures: how many, or all if the source has fewer; None: PICTURES.
    """
    wanted = PICTURES if pictures is None else pictures
    if source.samples is not None:
        wanted = min(wanted, source.samples)
    features, actions = Accumulator(FEATURES), Accumulator(spec.action_names)
    seen = step = 0
    while seen < wanted:
        batch = source.batch(step)
        images = batch.image.numpy()[: wanted - seen]
        features.add(np.array([features_of(image) for image in images]))
        if statistics is None:
            taught = batch.actions.numpy()[batch.valid.numpy().all(axis=-1)]
            actions.add(spec.to_si(taught))
        seen, step = seen + len(images), step + 1
    return Envelope(
        source=f'{seen} pictures of {origin}',
        actions=action_ranges(statistics or actions.finish(), spec),
        images={spec.cameras[0].name: _ranges(features.finish(), features.finish().axes)},
    )


def action_ranges(statistics: Statistics, spec: PolicySpec) -> dict[str, Range]:
    """Bring the statistics of a data set into the units of the contract.

    What a network is taught ends at ±1 of the contract: the rows do the same.

    Args:
        statistics: of its actions, SI.
        spec: contract; axes that the data set lacks are left out.
    """
    columns = {axis: column for column, axis in enumerate(statistics.axes)}
    axes = list(zip(spec.action_names, spec.action_scale, spec.action_units, strict=True))

    def known(values: Sequence[float]) -> list[float]:
        return [values[columns[name]] if name in columns else 0.0 for name in spec.action_names]

    def taught(values: Sequence[float]) -> tuple[float, ...]:
        native = [
            from_si(np.array(value), scale, unit)
            for value, (_, scale, unit) in zip(known(values), axes, strict=True)
        ]
        return tuple(spec.to_si(np.clip(native, -1.0, 1.0)).tolist())

    found = replace(
        statistics,
        axes=spec.action_names,
        mean=taught(statistics.mean),
        std=tuple(known(statistics.std)),
        min=taught(statistics.min),
        max=taught(statistics.max),
        q01=taught(statistics.q01),
        q99=taught(statistics.q99),
    )
    return _ranges(found, [name for name in spec.action_names if name in columns])


def _ranges(statistics: Statistics, names: Sequence[str]) -> dict[str, Range]:
    def one(index: int) -> Range:
        numbers = ('mean', 'std', 'min', 'q01', 'q99', 'max')
        # Rounding keeps the order, and the manifest readable.
        values = {n: float(f'{getattr(statistics, n)[index]:.{_DIGITS}g}') for n in numbers}
        return Range(**values, count=statistics.count)

    return {name: one(statistics.axes.index(name)) for name in names}


def _measure_again(manifest: Manifest, frames: int, folder: Path) -> Envelope:
    """Find out what a checkpoint was trained on, and measure that."""
    training = manifest.training
    if 'layout_version' in training:
        from vla_learning.sim.recipe import open_sample, sample_origin

        origin = sample_origin(training['layout_version'], frames)
        source = open_sample(folder, frames, manifest.spec.cameras[0])
        return measure(source, manifest.spec, origin, pictures=frames)
    experiment, data = training.get('experiment'), training.get('data')
    if not isinstance(experiment, Mapping) or not isinstance(data, Mapping):
        raise ConfigError(
            f'{manifest.spec.model_id} does not say what it was trained on (an imported one never '
            'does): expected training.experiment and training.data in its manifest'
        )
    from vla_learning.experiment import Experiment
    from vla_learning.structure import build
    from vla_learning.training.recorded import open_sources, origin_of

    source, _ = open_sources(build(Experiment, experiment, 'training.experiment'))
    if source.sha256 != data.get('sha256'):
        raise ConfigError(
            f'{source.recording.path}: SHA-256 {source.sha256}: {manifest.spec.model_id} was '
            f'trained on {data.get("sha256")}'
        )
    return measure(source, manifest.spec, origin_of(source), source.statistics, frames)
