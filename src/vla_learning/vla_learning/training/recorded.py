"""Training on a recorded data set: its sources, the contract of what is learned, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vla_core.envelope import Envelope
from vla_core.errors import ConfigError
from vla_core.types import CameraSlot, PolicySpec, Representation
from vla_learning.checkpoint import save
from vla_learning.data.episodes import unit_of
from vla_learning.data.source import open_source, Recorded, RecordedSource, View
from vla_learning.envelope import measure
from vla_learning.experiment import Experiment
from vla_learning.model import check_encoder, encoder_for, LanguageEncoder, Policy
from vla_learning.training.beginning import make_policy
from vla_learning.training.trainer import Trainer

#: Instructions whose mean a blind policy hears.
_SAMPLE = 64


def make_trainer(experiment: Experiment, run: Path) -> Trainer:
    """Open an experiment's data set, and make the trainer of a run.

    Raises:
        DataError: if the data set cannot be used.
        ConfigError: if experiment, data set, encoder and run folder do not fit together.
    """
    source, validation = open_sources(experiment)
    if len(source.axes) != experiment.model.axes:
        raise ConfigError(
            f'{experiment.data.path}: actions of {len(source.axes)} axes {source.axes}: '
            f'expected model.axes, {experiment.model.axes}; or name some in data.axes'
        )
    if source.untaught:
        raise ConfigError(
            f'{experiment.data.path} has no {source.untaught}: expected data.axes among '
            f'{source.recording.axes}, for an axis that nothing teaches would move the robot'
        )
    check_encoder(experiment.model)
    publisher = Publisher(experiment, source)
    policy = make_policy(experiment)
    # A recording says what was done, not what is to be refused or when something is done.
    policy.accept_everything()
    facts = {
        'sha256': source.sha256,
        'axes': list(source.axes),
        'action_scale': list(source.action_scale),
        'samples': source.samples,
        'clipped': source.clipped,
        'left_out': len(source.recording.problems.found),
    }
    return Trainer(
        experiment,
        source,
        run,
        validation=validation,
        publish=publisher.publish,
        policy=policy,
        data=facts,
    )


def open_sources(experiment: Experiment) -> tuple[RecordedSource, RecordedSource | None]:
    """Open what is trained on, and what is kept back for validation, if anything is."""
    data, model, train = experiment.data, experiment.model, experiment.train
    spec = Recorded(
        path=Path(data.path),
        camera=data.camera,
        fps=data.fps,
        validation_share=data.validation,
        seed=train.seed,
        skip_bad=data.skip_bad,
        cache=data.cache,
        derived=Path(data.derived) if data.derived else None,
        gripper=data.gripper,
    )
    slot = CameraSlot('front', model.width, model.height, data.mode)
    view = View(slot, model.horizon, data.step_dt, data.axes, data.action_scale)
    source = open_source(spec, view, train.batch)
    if not data.validation:
        return source, None
    return source, open_source(spec, view, train.batch, 'validation')


def contract(experiment: Experiment, source: RecordedSource, name: str) -> PolicySpec:
    """Say what a policy trained on a data set promises.

    Raises:
        ConfigError: if nothing says how far apart its steps are.
    """
    data, model, fps = experiment.data, experiment.model, source.recording.fps
    if data.step_dt is None and not fps:
        raise ConfigError(f'{data.path}: fps is unknown: expected data.fps or data.step_dt')
    step_dt = data.step_dt if data.step_dt is not None else 1 / fps
    return PolicySpec(
        model_id=name,
        cameras=(CameraSlot('front', model.width, model.height, data.mode),),
        action_names=source.axes,
        action_units=tuple(unit_of(axis, data.representation) for axis in source.axes),
        action_scale=tuple(map(float, source.action_scale)),
        horizon=model.horizon,
        step_dt=float(step_dt),
        rate=1 / step_dt,
        representation=Representation[data.representation],
    )


def origin_of(source: RecordedSource) -> str:
    """Say what a data set is, for a person who reads an envelope."""
    return f'{source.recording.path.name} ({source.samples} to train on), actions of all frames'


class Publisher:
    """Writes checkpoint folders of a run.

    Args:
        experiment: of the run.
        source: what it learns from.
    """

    def __init__(self, experiment: Experiment, source: RecordedSource) -> None:
        self._source = source
        self._encoder: LanguageEncoder | None = None
        self._envelope: Envelope | None = None
        self._contract = contract(experiment, source, 'unnamed')

    def publish(self, folder: Path, policy: Policy, training: Mapping[str, Any]) -> None:
        """Write a checkpoint named after its run."""
        texts = [text for text in self._source.recording.texts if text.strip()][:_SAMPLE]
        if policy.encoder is not None or self._encoder is None:
            self._encoder = encoder_for(policy)
        if self._envelope is None:
            origin = origin_of(self._source)
            self._envelope = measure(self._source, self._contract, origin, self._source.statistics)
        name = f'{folder.parent.name}-{folder.name}'
        save(
            folder,
            policy,
            replace(self._contract, model_id=name, envelope=self._envelope),
            training,
            self._source.statistics.dict(),
            self._encoder.encode(texts),
        )
