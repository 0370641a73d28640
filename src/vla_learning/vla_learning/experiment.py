"""An experiment: what is learned from what, by which network, and how; one YAML file each.

Nothing here imports torch except through the configurations of other modules.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from vla_core.errors import ConfigError
from vla_core.parameters import load_yaml
from vla_learning.model.config import ModelConfig
from vla_learning.randomise import Randomisation
from vla_learning.structure import build, check, leaves, plain, Range

#: Kept in the run folder: the experiment with every value that it ran with.
FILE_NAME = 'experiment.yaml'
_SCALES = {'compact': ModelConfig, 'full': ModelConfig.full}
# What changes neither the weights nor the data: a run may be resumed with other values.
_FREE = (
    'train.device',
    'train.workers',
    'train.log_steps',
    'train.checkpoint_steps',
    'train.checkpoint_epochs',
    'train.save_seconds',
)


@dataclass(frozen=True)
class LossConfig:
    """What the network is taught, and how much each part counts.

    Attributes:
        kind: of the action loss; smooth_l1 is huber divided by beta.
        beta: error at which huber and smooth_l1 turn from a square into a line.
        axis_weights: one for each action axis; empty: all 1.
        fading: weight of the chunk's last step relative to its first.
        action: weight of the action loss.
        done: weight of "the instruction is fulfilled"; this and the following need a simulator.
        sight: weight of "the named object is in sight".
        place: weight of the named object's bearing and gap.
        ground: weight of where the action query looks.
    """

    kind: Literal['mse', 'l1', 'huber', 'smooth_l1'] = 'mse'
    beta: Annotated[float, Range(1e-6)] = 0.05
    axis_weights: Annotated[tuple[float, ...], Range(0)] = ()
    fading: Annotated[float, Range(0, 1)] = 1.0
    action: Annotated[float, Range(0)] = 1.0
    done: Annotated[float, Range(0)] = 1.0
    sight: Annotated[float, Range(0)] = 0.2
    place: Annotated[float, Range(0)] = 0.3
    ground: Annotated[float, Range(0)] = 0.15

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        steps: optimiser steps of the whole run, at most; none: epochs decide.
        epochs: passes over the data, at most; none: steps decide.
        batch: pictures per step, over all processes and pieces.
        pieces: parts into which each process cuts its share of a batch, to save memory (gradient
            accumulation); the result stays the same.
        learning_rate: peak of AdamW's.
        weight_decay: of AdamW.
        schedule: of the learning rate; cosine ends at zero with the run.
        warmup: steps until the peak.
        restart_steps: length of the first cosine of warm restarts (T_0).
        restart_factor: how much longer each following cosine is (T_mult).
        clip: largest norm of the gradient.
        ema: share of the running average of the weights kept per step; 0: no average.
        vision_layers: last layers of the vision trunk that learn; none: all.
        language_layers: last layers of the policy's own BERT that learn; none: all.
        freeze_batch_norm: keep statistics, scales and shifts of batch norm as they are.
        bert: name in the local cache of Hugging Face, or folder, for models with a BERT.
        imagenet: file of weights for a ResNet; empty: those in the cache of torch.hub, if any.
        precision: of the forward pass: no (32 bit), bf16 or fp16 by autocast.
        device: auto takes a GPU where there is one.
        seed: of the weights, of dropout and of the randomisation.
        workers: processes that prepare batches ahead; 0: none.
        log_steps: steps between entries of the learning curves.
        checkpoint_steps: steps between checkpoints.
        checkpoint_epochs: passes over the data between checkpoints.
        validation_steps: steps between validations.
        validation_batches: batches of one validation, at most.
        save_seconds: wall time after which the state is saved for resuming.
        loss: what is taught.
    """

    steps: Annotated[int | None, Range(1)] = None
    epochs: Annotated[int | None, Range(1)] = None
    batch: Annotated[int, Range(1)] = 16
    pieces: Annotated[int, Range(1)] = 1
    learning_rate: Annotated[float, Range(0)] = 1e-4
    weight_decay: Annotated[float, Range(0)] = 0.01
    schedule: Literal['constant', 'cosine', 'warm_restarts'] = 'cosine'
    warmup: Annotated[int, Range(0)] = 0
    restart_steps: Annotated[int, Range(1)] = 1000
    restart_factor: Annotated[int, Range(1)] = 2
    clip: Annotated[float, Range(1e-6)] = 1.0
    ema: Annotated[float, Range(0, 0.99999)] = 0.0
    vision_layers: Annotated[int | None, Range(0)] = None
    language_layers: Annotated[int | None, Range(0)] = 0
    freeze_batch_norm: bool = False
    bert: str = 'bert-base-uncased'
    imagenet: str = ''
    precision: Literal['no', 'bf16', 'fp16'] = 'no'
    device: Literal['auto', 'cpu'] = 'auto'
    seed: Annotated[int, Range(0)] = 0
    workers: Annotated[int, Range(0)] = 0
    log_steps: Annotated[int, Range(1)] = 100
    checkpoint_steps: Annotated[int | None, Range(1)] = None
    checkpoint_epochs: Annotated[int | None, Range(1)] = None
    validation_steps: Annotated[int, Range(1)] = 1000
    validation_batches: Annotated[int, Range(1)] = 200
    save_seconds: Annotated[float, Range(1)] = 120.0
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ConfigError: if a value is out of range, or neither steps nor epochs are given.
        """
        check(self)
        if self.steps is None and self.epochs is None:
            raise ConfigError('neither steps nor epochs: expected at least one of them')


@dataclass(frozen=True)
class IntentConfig:
    """How to teach which sentences are goals, motions or nothing, apart from all else.

    Attributes:
        steps: optimiser steps.
        batch: sentences per step.
        learning_rate: peak of AdamW's.
        weight_decay: of AdamW.
        ema: share of the running average of the weights kept per step.
        noise: deviation of the noise on the words' embeddings.
        smoothing: of the labels.
        seed: of the weights, the draws and the noise.
    """

    steps: Annotated[int, Range(1)] = 3_000
    batch: Annotated[int, Range(1)] = 128
    learning_rate: Annotated[float, Range(0)] = 2e-3
    weight_decay: Annotated[float, Range(0)] = 0.02
    ema: Annotated[float, Range(0, 0.99999)] = 0.998
    noise: Annotated[float, Range(0)] = 0.3
    smoothing: Annotated[float, Range(0, 0.5)] = 0.05
    seed: Annotated[int, Range(0)] = 0

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class SimConfig:
    """How much the simulator's expert shows.

    Attributes:
        frames: pictures from sampled poses.
        sayings: sentences for every motion, every colour and noun, and every relation.
        nonsense: sentences to be refused; repeats count once.
        rounds: steps at which the policy drives and its frames join the others (DAgger).
        episodes: driven in each round.
        on_policy_share: of each batch's pictures, from the first round on.
        instructions: for every picture.
        intents: how refusing is taught.
    """

    frames: Annotated[int, Range(1)] = 44_000
    sayings: Annotated[int, Range(1)] = 160
    nonsense: Annotated[int, Range(1)] = 16_000
    rounds: Annotated[tuple[int, ...], Range(1)] = (2_500, 5_000)
    episodes: Annotated[int, Range(1)] = 200
    on_policy_share: Annotated[float, Range(0, 0.95)] = 0.35
    instructions: Annotated[int, Range(1)] = 4
    intents: IntentConfig = field(default_factory=IntentConfig)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class DataConfig:
    """What is learned from.

    Attributes:
        kind: sim draws from the simulator's expert without end; recorded reads a data set, whose
            format is found out: JSON records, LeRobotDataset v3 or RLDS.
        path: file or folder of the data set.
        camera: which of its pictures; empty: the first.
        fps: frames per second, where the format does not say (JSON, RLDS).
        mode: how a picture is brought to the model's size.
        axes: actions to learn; empty: those of the data set. One that it lacks is refused.
        action_scale: SI value of ±1 for each axis; empty: of the data set's statistics.
        gripper: what 1 means of a gripper, where the format does not say (RLDS, LeRobot).
        representation: what the actions mean.
        step_dt: s between the steps of a chunk; none: the data set's own frames.
        validation: share of the episodes kept for validation.
        skip_bad: leave out bad records, count and list them, instead of stopping at the first.
        cache: keep resized frames on disk, so that each picture is decoded once ever.
        derived: folder for what is computed from the data set; empty: `<path>.vla` beside it.
        sim: of kind sim.
    """

    kind: Literal['sim', 'recorded']
    path: str = ''
    camera: str = ''
    fps: Annotated[float | None, Range(0.01)] = None
    mode: Literal['stretch', 'pad', 'crop'] = 'stretch'
    axes: tuple[str, ...] = ()
    action_scale: Annotated[tuple[float, ...], Range(1e-9)] = ()
    gripper: Literal['', 'closed', 'open'] = ''
    representation: Literal['VELOCITY', 'DELTA', 'RELATIVE', 'ABSOLUTE'] = 'VELOCITY'
    step_dt: Annotated[float | None, Range(0.001)] = None
    validation: Annotated[float, Range(0, 0.9)] = 0.1
    skip_bad: bool = False
    cache: bool = True
    derived: str = ''
    sim: SimConfig = field(default_factory=SimConfig)

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ConfigError: if a value is out of range, or the path is missing or too much.
        """
        check(self)
        if (self.kind == 'recorded') != bool(self.path):
            raise ConfigError(
                f'path is {self.path!r} and kind {self.kind}: '
                'expected a path for recorded data, and only for these'
            )


@dataclass(frozen=True)
class Experiment:
    """Everything that decides what comes out.

    Attributes:
        data: what is learned from.
        model: the network.
        randomise: how much pictures vary; without this section not at all.
        train: how to train.
    """

    data: DataConfig
    train: TrainConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    randomise: Randomisation = field(default_factory=lambda: Randomisation(real_ratio=1.0))


def load_experiment(path: Path) -> Experiment:
    """Read an experiment; `scale: full` or `compact` in section `model` stands for all its sizes.

    Raises:
        ConfigError: if the file is no YAML, or a key or value is not allowed.
    """
    values = load_yaml(path)
    model = values.get('model', {})
    if isinstance(model, dict) and 'scale' in model:
        sizes = {name: value for name, value in model.items() if name != 'scale'}
        if model['scale'] not in _SCALES:
            raise ConfigError(
                f'{path.name}: model: scale is {model["scale"]!r}: expected one of {list(_SCALES)}'
            )
        values = values | {'model': plain(_SCALES[model['scale']]()) | sizes}
    return build(Experiment, values, path.name)


def save_experiment(experiment: Experiment, folder: Path) -> None:
    """Write an experiment, all its values spelt out, into a run's folder."""
    text = yaml.safe_dump(plain(experiment), sort_keys=False)
    draft = folder / f'{FILE_NAME}.draft'
    draft.write_text(text, encoding='utf-8')
    draft.replace(folder / FILE_NAME)


def same(experiment: Experiment, before: dict[str, Any], where: Path) -> None:
    """Make sure that a run goes on with the experiment that it began with.

    Args:
        experiment: of now.
        before: of then, as by `vla_learning.structure.plain`.
        where: the run's folder.

    Raises:
        ConfigError: naming the first value that differs and would change the outcome.
    """
    then, now = dict(leaves(before)), dict(leaves(plain(experiment)))
    # A name that only one of them has belongs to another version of this program.
    for name in sorted((set(then) & set(now)) - set(_FREE)):
        if then[name] != now[name]:
            raise ConfigError(
                f'{where} holds another experiment: {name} was {then[name]} and is '
                f'{now[name]}: expected the same, or another --run folder'
            )
