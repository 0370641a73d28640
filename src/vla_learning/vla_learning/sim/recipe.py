"""The recipe of the demo policy: collect, train, drive, train on, export.

Every stage is seeded and keeps its result in the run folder, so the command can be interrupted
and given again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
import tempfile

import numpy as np

from vla_inference.onnx_policy import OnnxPolicy
from vla_learning.experiment import DataConfig, Experiment, LossConfig, TrainConfig
from vla_learning.export import export
from vla_learning.model import ModelConfig
from vla_learning.sim.frames import collect, load
from vla_learning.sim.on_policy import collect_on_policy
from vla_learning.sim.sentences import Sentences, training_sentences
from vla_learning.sim.source import SimSource
from vla_learning.structure import plain
from vla_learning.training.provenance import provenance
from vla_learning.training.trainer import Trainer
from vla_sim.layout import LAYOUT_VERSION

# Training layouts are below 500 000; frames use the first ones, on-policy episodes these.
_ON_POLICY_SEEDS = 400_000
#: The scene's teachers, and an action loss in which only the two axes of the robot matter much.
LOSS = LossConfig(
    kind='smooth_l1',
    beta=0.05,
    axis_weights=(3.0, 0.2, 0.2, 0.2, 0.2, 2.0, 0.2),
    # Step 0 is played most, for every frame brings a new chunk.
    fading=0.5,
    action=4.0,
)


@dataclass(frozen=True)
class Recipe:
    """How much of everything.

    Attributes:
        frames: pictures from sampled poses.
        sayings: sentences for every motion, every colour and noun, and every relation.
        nonsense: sentences to be refused; repeats count once.
        rounds: steps at which the policy drives and its frames join the others (DAgger).
        episodes: driven in each round.
        on_policy_share: of each batch's pictures, from the first round on.
        instructions: for every picture.
        model: sizes of the network.
        train: how to train.
    """

    frames: int = 44_000
    sayings: int = 160
    nonsense: int = 8_000
    rounds: tuple[int, ...] = (2_500, 5_000)
    episodes: int = 200
    on_policy_share: float = 0.35
    instructions: int = 4
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            steps=8_000,
            batch=64,
            learning_rate=1.5e-3,
            weight_decay=0.02,
            warmup=200,
            ema=0.998,
            precision='bf16',
            device='cpu',
            loss=LOSS,
        )
    )

    @property
    def experiment(self) -> Experiment:
        """What the trainer is asked for."""
        return Experiment(data=DataConfig(kind='sim'), model=self.model, train=self.train)

    def scaled(self, frames: int | None, steps: int | None) -> Recipe:
        """Return the recipe with so many pictures and steps; the rounds move along."""
        chosen = self if frames is None else replace(self, frames=frames)
        if steps is None:
            return chosen
        rounds = tuple(step * steps // (self.train.steps or steps) for step in self.rounds)
        return replace(chosen, rounds=rounds, train=replace(self.train, steps=steps))


#: Minutes become seconds: everything runs, nothing is learned.
SMOKE = Recipe(
    frames=60,
    sayings=2,
    nonsense=60,
    rounds=(2,),
    episodes=2,
    instructions=2,
    model=ModelConfig(tokens=32, channels=(8, 16, 16), hidden=32),
    train=TrainConfig(steps=4, batch=4, ema=0.998, device='cpu', loss=LOSS),
)


def follow(recipe: Recipe, run: Path, checkpoint: Path) -> dict[str, float]:
    """Run the whole recipe in `run` and write the exported policy to `checkpoint`.

    Returns:
        Parity of the export, see `vla_learning.export.export`.
    """
    run.mkdir(parents=True, exist_ok=True)
    (run / 'on_policy').mkdir(exist_ok=True)
    collect(run / 'frames', recipe.frames)
    sentences = _sentences(recipe, run)
    for number, step in enumerate(recipe.rounds):
        trainer = _trainer(recipe, run, sentences)
        if trainer.step <= step:
            trainer.run(step)
            _drive(recipe, run, number, trainer, sentences)
    trainer = _trainer(recipe, run, sentences)
    trainer.run()
    return publish(recipe, run, trainer, sentences, checkpoint)


def export_run(recipe: Recipe, run: Path, checkpoint: Path) -> dict[str, float]:
    """Export a run's latest checkpoint, finished or not."""
    sentences = _sentences(recipe, run)
    trainer = _trainer(recipe, run, sentences)
    return publish(recipe, run, trainer, sentences, checkpoint)


def publish(
    recipe: Recipe, run: Path, trainer: Trainer, sentences: Sentences, checkpoint: Path
) -> dict[str, float]:
    """Export the running average of the weights, with what is known of how they came about."""
    known = {
        'recipe': plain(recipe),
        'layout_version': LAYOUT_VERSION,
        'on_policy_frames': _count(run / 'on_policy'),
        'sampled_frames': _count(run / 'frames'),
        'sentences': len(sentences.lengths),
    }
    known = provenance(recipe.experiment, trainer.step, 1) | known
    return export(trainer.average, sentences, checkpoint, 'demo', known)


def open_source(recipe: Recipe, run: Path, sentences: Sentences) -> SimSource:
    """Load all frames of a run; those from driving get their share of the draws."""
    sampled = sorted((run / 'frames').glob('shard_*[0-9]'))
    driven = sorted((run / 'on_policy').glob('round_*[0-9]'))
    frames = load(sampled + driven)
    weights = np.ones(len(frames))
    fresh = _count(run / 'on_policy')
    if fresh:
        share = recipe.on_policy_share
        weights[-fresh:] = share / (1 - share) * (len(frames) - fresh) / fresh
    train = recipe.train
    return SimSource(frames, sentences, weights, train.batch, recipe.instructions, train.seed)


def _trainer(recipe: Recipe, run: Path, sentences: Sentences) -> Trainer:
    return Trainer(recipe.experiment, open_source(recipe, run, sentences), run)


def _drive(recipe: Recipe, run: Path, number: int, trainer: Trainer, sentences: Sentences) -> None:
    """Let the policy drive, and keep what it sees as a round of its own."""
    first = _ON_POLICY_SEEDS + number * 10 * recipe.episodes
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / 'draft'
        export(trainer.average, sentences, draft, 'draft', {})
        policy = OnnxPolicy(draft)
        target = run / 'on_policy' / f'round_{number}'
        collect_on_policy(policy, target, first, recipe.episodes)
        policy.close()


def _sentences(recipe: Recipe, run: Path) -> Sentences:
    cache = run / 'sentences.npz'
    return training_sentences(cache, recipe.sayings, recipe.nonsense, recipe.train.seed)


def _count(folder: Path) -> int:
    return sum(len(np.load(path)) for path in folder.glob('*[0-9]/seeds.npy'))
