"""The recipe of the demo policy: collect, train, drive, train on, export.

Every stage is seeded and keeps its result in the run folder, so the command can be interrupted
and given again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
import logging
from pathlib import Path
import platform
import shutil
import subprocess
import tempfile

import numpy as np
import torch

from vla_core.types import Intent
from vla_inference.onnx_policy import OnnxPolicy
from vla_learning.export import export
from vla_learning.model import ModelConfig
from vla_learning.sim.batches import Sampler
from vla_learning.sim.closed_loop import choose, collect_on_policy
from vla_learning.sim.frames import collect, load
from vla_learning.sim.nonsense import EVALUATION_NONSENSE
from vla_learning.sim.sentences import Sentences, training_sentences
from vla_learning.sim.wording import held_out_sayings
from vla_learning.training.trainer import TrainConfig, Trainer
from vla_sim.layout import LAYOUT_VERSION

LOG = logging.getLogger(__name__)
# Training layouts are below 500 000; frames use the first ones, on-policy episodes these.
_ON_POLICY_SEEDS = 400_000
CHOOSING_SEEDS = 500_000


@dataclass(frozen=True)
class Recipe:
    """How much of everything.

    Attributes:
        frames: pictures from sampled poses.
        sayings: sentences for every motion, and for every colour and noun.
        nonsense: sentences to be refused; repeats count once.
        rounds: steps at which the policy drives and its frames join the others (DAgger).
        episodes: driven in each round.
        on_policy_share: of each batch's pictures, from the first round on.
        model: sizes of the network.
        train: how to train.
    """

    frames: int = 44_000
    sayings: int = 160
    nonsense: int = 8_000
    rounds: tuple[int, ...] = (2_000,)
    episodes: int = 150
    on_policy_share: float = 0.25
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


#: Minutes become seconds: everything runs, nothing is learned.
SMOKE = Recipe(
    frames=60,
    sayings=2,
    nonsense=60,
    rounds=(2,),
    episodes=1,
    model=ModelConfig(tokens=32, channels=(8, 16, 16), hidden=32),
    train=TrainConfig(steps=4, images=4, instructions=2, intents=12, warmup=1),
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
    trainer = Trainer(recipe.model, recipe.train, run)
    sampler = _sampler(recipe, run, sentences)
    for number, step in enumerate(recipe.rounds):
        trainer.run(sampler, step)
        first = _ON_POLICY_SEEDS + number * recipe.episodes
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder) / 'draft'
            export(trainer.average, sentences, draft, 'draft', {})
            policy = OnnxPolicy(draft)
            collect_on_policy(
                policy,
                run / 'on_policy' / f'round_{number}',
                range(first, first + recipe.episodes),
            )
            policy.close()
        sampler = _sampler(recipe, run, sentences)
    trainer.run(sampler, recipe.train.steps)
    return publish(recipe, run, trainer, sentences, checkpoint)


def export_run(recipe: Recipe, run: Path, checkpoint: Path) -> dict[str, float]:
    """Export a run's latest checkpoint, finished or not."""
    sentences = _sentences(recipe, run)
    return publish(recipe, run, Trainer(recipe.model, recipe.train, run), sentences, checkpoint)


def publish(
    recipe: Recipe, run: Path, trainer: Trainer, sentences: Sentences, checkpoint: Path
) -> dict[str, float]:
    """Export the running average of the weights, with what is known of how they came about."""
    provenance = {
        'revision': _revision(),
        'recipe': _plain(asdict(recipe)),
        'step': trainer.step,
        'layout_version': LAYOUT_VERSION,
        'on_policy_frames': _count(run / 'on_policy'),
        'sampled_frames': _count(run / 'frames'),
        'sentences': len(sentences.lengths),
        'torch': str(torch.__version__),
        'python': platform.python_version(),
    }
    return export(trainer.average, sentences, checkpoint, 'demo', provenance)


def refusals(policy: OnnxPolicy) -> dict[str, list[str]]:
    """List held-out instructions that are misunderstood and listed nonsense that is obeyed."""
    misread = [
        saying.text
        for saying in held_out_sayings()
        if policy.encode(saying.text).intent != (Intent.MOTION if saying.motion else Intent.GOAL)
    ]
    obeyed = [text for text in EVALUATION_NONSENSE if policy.encode(text).intent != Intent.REFUSED]
    return {'misread': misread, 'obeyed': obeyed}


def judge(policy: OnnxPolicy, seeds: range, swapped: bool, blind: bool) -> dict[str, object]:
    """Measure a policy on layouts for choosing, without ROS."""
    language = refusals(policy)
    for kind, texts in language.items():
        LOG.info('%s: %s', kind, texts)
    counts: dict[str, object] = dict(choose(policy, seeds, swapped, blind))
    counts['held_out_misread'] = (len(language['misread']), len(list(held_out_sayings())))
    counts['nonsense_obeyed'] = (len(language['obeyed']), len(EVALUATION_NONSENSE))
    return counts


def _sentences(recipe: Recipe, run: Path) -> Sentences:
    cache = run / 'sentences.npz'
    return training_sentences(cache, recipe.sayings, recipe.nonsense, recipe.train.seed)


def _sampler(recipe: Recipe, run: Path, sentences: Sentences) -> Sampler:
    """Load all frames; those from driving get their share of the draws."""
    sampled = sorted((run / 'frames').glob('shard_*[0-9]'))
    driven = sorted((run / 'on_policy').glob('round_*[0-9]'))
    frames = load(sampled + driven)
    weights = np.ones(len(frames))
    fresh = _count(run / 'on_policy')
    if fresh:
        share = recipe.on_policy_share
        weights[-fresh:] = share / (1 - share) * (len(frames) - fresh) / fresh
    return Sampler(frames, sentences, weights)


def _count(folder: Path) -> int:
    return sum(len(np.load(path)) for path in folder.glob('*[0-9]/seeds.npy'))


def _plain(value: object) -> object:
    """Turn tuples into lists, which YAML knows."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _revision() -> str:
    """Git revision, marked if files of this package differ from it; empty outside of git."""
    git = shutil.which('git')
    if git is None:
        return ''

    def ask(*arguments: str) -> str:
        here = Path(__file__).resolve().parents[1]
        command = [git, *arguments]
        result = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
        return result.stdout.strip()

    return ask('rev-parse', '--short=12', 'HEAD') + ('-dirty' if ask('status', '-s', '.') else '')
