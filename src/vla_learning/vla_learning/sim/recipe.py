"""The recipe of the demo policy: collect, train, drive, train on, export.

Every stage is seeded and keeps its result in the run folder, so the command can be interrupted
and given again.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
import hashlib
import logging
from pathlib import Path
import shutil
import tempfile

from accelerate import PartialState
import numpy as np

from vla_core.errors import ConfigError
from vla_core.policy import native_spec
from vla_core.types import CameraSlot, NATIVE_AXES
from vla_inference.onnx_policy import OnnxPolicy
from vla_learning.envelope import measure
from vla_learning.experiment import (
    DataConfig,
    Experiment,
    IntentConfig,
    same,
    SimConfig,
    TrainConfig,
)
from vla_learning.export import export
from vla_learning.model import ModelConfig
from vla_learning.sim.frames import collect, FRAMES_PER_LAYOUT, HORIZON, load, shards_of
from vla_learning.sim.intents import teach_intents
from vla_learning.sim.on_policy import collect_on_policy
from vla_learning.sim.sentences import Sentences, training_sentences
from vla_learning.sim.source import SimSource
from vla_learning.sim.views import slot_of
from vla_learning.training.provenance import provenance
from vla_learning.training.state import read_state
from vla_learning.training.trainer import on_cpu, Trainer
from vla_sim.layout import LAYOUT_VERSION

LOG = logging.getLogger(__name__)
# Training layouts are below 500 000; frames use the first ones, on-policy episodes these. About
# six are looked through for each episode; so many are set aside.
_ON_POLICY_SEEDS, _END = 400_000, 500_000
_LAYOUTS_PER_EPISODE = 10
#: Pictures in which motions are tried.
SHOWN = 16
#: Minutes become seconds: everything runs, nothing is learned.
SMOKE = Experiment(
    data=DataConfig(
        kind='sim',
        sim=SimConfig(
            frames=60,
            sayings=2,
            nonsense=60,
            rounds=(2,),
            episodes=2,
            instructions=2,
            intents=IntentConfig(steps=4, batch=8),
        ),
    ),
    model=ModelConfig(tokens=32, channels=(8, 16, 16), hidden=32),
    train=TrainConfig(steps=4, batch=4, ema=0.998, device='cpu'),
)


def scaled(experiment: Experiment, frames: int | None, steps: int | None) -> Experiment:
    """Return an experiment with so many pictures and steps; the rounds move along.

    Raises:
        ConfigError: if a number is out of range, or a round would come before the first step.
    """
    sim, train = experiment.data.sim, experiment.train
    if frames is not None:
        sim = replace(sim, frames=frames)
    if steps is not None:
        whole, train = train.steps or steps, replace(train, steps=steps)
        rounds = tuple(step * steps // whole for step in sim.rounds)
        if 0 in rounds:
            raise ConfigError(
                f'steps is {steps}: expected at least {-(-whole // min(sim.rounds))}, so that '
                f'none of the rounds {list(sim.rounds)} of {whole} steps comes before the first'
            )
        sim = replace(sim, rounds=rounds)
    return replace(experiment, data=replace(experiment.data, sim=sim), train=train)


def follow(recipe: Experiment, run: Path, checkpoint: Path) -> None:
    """Run the whole recipe in `run` and write the exported policy to `checkpoint`.

    Of several processes the first one collects and drives; the others find what it made.

    Raises:
        ConfigError: if the simulator cannot teach such a network, or has not enough layouts, or
            the folder holds another experiment.
        CheckpointError: if the folder's state cannot be read.
    """
    check(recipe)
    begun = _is_begun(recipe, run)
    processes = PartialState(cpu=on_cpu(recipe.train))
    with processes.main_process_first():
        if not begun:
            # Rounds of a policy whose state is gone.
            shutil.rmtree(run / 'on_policy', ignore_errors=True)
        (run / 'on_policy').mkdir(parents=True, exist_ok=True)
        collect(run / 'frames', recipe.data.sim.frames, slot_of(recipe.model))
        sentences = _sentences(recipe, run)
    for number, step in enumerate(recipe.data.sim.rounds):
        trainer = _trainer(recipe, run, sentences)
        if trainer.step <= step:
            trainer.run(step)
            with processes.main_process_first():
                _drive(recipe, run, number, trainer, sentences)
    trainer = _trainer(recipe, run, sentences)
    trainer.run()
    if processes.is_main_process:
        publish(recipe, run, trainer, sentences, checkpoint)


def check(recipe: Experiment) -> None:
    """Refuse at once what would fail after hours of rendering.

    Raises:
        ConfigError: if the simulator cannot teach such a network, or has not enough layouts.
    """
    teaches = {
        'trunk': 'compact',  # whose tokens the masks of objects are made for
        'encoder': 'minilm',  # which embeds the sentences beforehand
        'words': ModelConfig.words,
        'horizon': HORIZON,
        'axes': len(NATIVE_AXES),
    }
    for name, expected in teaches.items():
        if (found := getattr(recipe.model, name)) != expected:
            raise ConfigError(f'model {name} {found!r}: the simulator teaches {expected!r}')
    if recipe.train.checkpoint_steps is not None:
        raise ConfigError(
            f'train.checkpoint_steps {recipe.train.checkpoint_steps}: what the simulator teaches '
            'is exported at the end, or by vla-learn demo --export-only: expected none'
        )
    sim = recipe.data.sim
    most = FRAMES_PER_LAYOUT * _ON_POLICY_SEEDS
    if sim.frames > most:
        raise ConfigError(f'data.sim frames {sim.frames}: expected at most {most}')
    most = (_END - _ON_POLICY_SEEDS) // _LAYOUTS_PER_EPISODE
    if len(sim.rounds) * sim.episodes > most:
        raise ConfigError(
            f'data.sim {len(sim.rounds)} rounds of {sim.episodes} episodes: expected at most '
            f'{most} episodes together: layouts from {_END} on are not to train on'
        )


def export_run(recipe: Experiment, run: Path, checkpoint: Path) -> None:
    """Export a run's latest weights, finished or not.

    Raises:
        ConfigError: if the folder holds no run, or another experiment's.
        CheckpointError: if its state cannot be read.
    """
    if not _is_begun(recipe, run):
        raise ConfigError(f'{run} holds no run: expected one that has trained')
    sentences = _sentences(recipe, run)
    publish(recipe, run, _trainer(recipe, run, sentences), sentences, checkpoint)


def publish(
    recipe: Experiment, run: Path, trainer: Trainer, sentences: Sentences, checkpoint: Path
) -> None:
    """Teach what to refuse, and export the running average, with how it all came about."""
    known = {
        'layout_version': LAYOUT_VERSION,
        'on_policy_frames': _count(run / 'on_policy'),
        'sampled_frames': recipe.data.sim.frames,
        'sentences': len(sentences.lengths),
    }
    known = provenance(recipe, trainer.step, PartialState().num_processes) | known
    origin = sample_origin(LAYOUT_VERSION, known['sampled_frames'], known['on_policy_frames'])
    spec = replace(native_spec('demo'), cameras=(slot_of(recipe.model),))
    envelope = measure(open_source(recipe, run, sentences), spec, origin)
    spec = replace(spec, envelope=envelope)
    policy = deepcopy(trainer.average).cpu()
    images = load(_sampled(recipe, run)).images[np.arange(min(SHOWN, recipe.data.sim.frames))]
    refused = teach_intents(policy, sentences, images, recipe.data.sim.intents)
    known['refused_motions'] = len(refused)
    parity = export(policy, sentences, checkpoint, spec, known)
    LOG.info('%s: largest difference from torch %.1e', checkpoint, max(parity.values()))


def open_source(recipe: Experiment, run: Path, sentences: Sentences) -> SimSource:
    """Load all frames of a run; those from driving get their share of the draws."""
    driven = sorted((run / 'on_policy').glob('round_*[0-9]'))
    frames = load(_sampled(recipe, run) + driven)
    weights = np.ones(len(frames))
    fresh = _count(run / 'on_policy')
    if fresh:
        share = recipe.data.sim.on_policy_share
        weights[-fresh:] = share / (1 - share) * (len(frames) - fresh) / fresh
    train = recipe.train
    return SimSource(
        frames, sentences, weights, train.batch, recipe.data.sim.instructions, train.seed
    )


def open_sample(folder: Path, frames: int, slot: CameraSlot) -> SimSource:
    """Render the first pictures that every run of the recipe learns from, to measure them.

    Args:
        folder: for the pictures.
        frames: how many.
        slot: their size.
    """
    collect(folder / 'frames', frames, slot)
    # What is asked for matters, not in which words.
    sentences = training_sentences(folder / 'sentences.npz', 1, 1, 0)
    return SimSource(load(shards_of(folder / 'frames', frames)), sentences, np.ones(frames))


def sample_origin(layout_version: int, frames: int, driven: int = 0) -> str:
    """Say what pictures of the simulator are, for a person who reads an envelope.

    Raises:
        ConfigError: if these layouts cannot be made any more.
    """
    if layout_version != LAYOUT_VERSION:
        raise ConfigError(f'layout version {layout_version}: expected {LAYOUT_VERSION}')
    more = f' and {driven} frames of driving' if driven else ''
    return f'{frames} sampled poses{more} in layouts for training, light varied, expert labels'


def _is_begun(recipe: Experiment, run: Path) -> bool:
    """Say whether the folder holds a run, which must be of this recipe."""
    state = read_state(run)
    if state is not None:
        same(recipe, state['experiment'], run)
    return state is not None


def _trainer(recipe: Experiment, run: Path, sentences: Sentences) -> Trainer:
    # Rounds of driving are added on the way; what they are follows from the rest.
    data = {'sha256': _digest(_sampled(recipe, run))}
    return Trainer(recipe, open_source(recipe, run, sentences), run, data=data)


def _drive(
    recipe: Experiment, run: Path, number: int, trainer: Trainer, sentences: Sentences
) -> None:
    """Let the policy drive, and keep what it sees as a round of its own, unless there is one."""
    target = run / 'on_policy' / f'round_{number}'
    if target.exists():
        return
    episodes = recipe.data.sim.episodes
    first = _ON_POLICY_SEEDS + number * _LAYOUTS_PER_EPISODE * episodes
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / 'draft'
        spec = replace(native_spec('draft'), cameras=(slot_of(recipe.model),))
        export(trainer.average, sentences, draft, spec, {})
        policy = OnnxPolicy(draft)
        collect_on_policy(policy, target, first, episodes)
        policy.close()


def _sentences(recipe: Experiment, run: Path) -> Sentences:
    cache = run / 'sentences.npz'
    sim = recipe.data.sim
    return training_sentences(cache, sim.sayings, sim.nonsense, recipe.train.seed)


def _sampled(recipe: Experiment, run: Path) -> list[Path]:
    return shards_of(run / 'frames', recipe.data.sim.frames)


def _count(folder: Path) -> int:
    return sum(len(np.load(path)) for path in folder.glob('*[0-9]/seeds.npy'))


def _digest(shards: Iterable[Path]) -> str:
    """Hash which poses in which layouts the pictures are of."""
    found = hashlib.sha256()
    for shard in shards:
        for name in ('seeds', 'poses'):
            found.update(np.load(shard / f'{name}.npy').tobytes())
    return found.hexdigest()
