"""`vla-learn choose`: measure a policy on layouts kept for choosing, without ROS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
import logging
import math
import random

import numpy as np
from tqdm import tqdm

from vla_core.policy import Policy
from vla_core.types import Intent
from vla_learning.evaluation.tasks import motion_fulfilled
from vla_learning.sim.closed_loop import Driver, SUCCESS_GAP
from vla_learning.sim.nonsense import EVALUATION_NONSENSE
from vla_learning.sim.posing import ask, obstructed
from vla_learning.sim.relations import draw_relation, held_out_relations, RELATION_KINDS
from vla_learning.sim.wording import (
    fill,
    HELD_OUT_MOTIONS,
    held_out_sayings,
    HELD_OUT_STOP_TEMPLATES,
    HELD_OUT_TEMPLATES,
    NOUNS,
    STOP_TEMPLATES,
    TRAIN_MOTIONS,
    TRAIN_TEMPLATES,
)
from vla_sim.layout import sample_layout

LOG = logging.getLogger(__name__)
CHOOSING_SEEDS = 500_000
#: m to another object below which the robot touched it.
_TOUCH = 0.005

Count = tuple[int, int]


@dataclass(frozen=True)
class Errand:
    """One episode: a layout, what is said, and the object that counts."""

    seed: int
    text: str
    target: int


def go_to(first_seed: int) -> Iterator[Errand]:
    """Name the layout's target; half of the wordings were never trained on."""
    yield from _named(first_seed, (TRAIN_TEMPLATES, HELD_OUT_TEMPLATES))


def swapped(first_seed: int) -> Iterator[Errand]:
    """Name another object and score the layout's target."""
    for seed in count(first_seed):
        draw, layout = random.Random(seed), sample_layout(seed)
        named = draw.choice([i for i in range(len(layout.objects)) if i != layout.target])
        item = layout.objects[named]
        template = draw.choice(draw.choice((TRAIN_TEMPLATES, HELD_OUT_TEMPLATES)))
        text = fill(template, item.colour, draw.choice(NOUNS[item.shape]))
        yield Errand(seed, text, layout.target)


def stopping(first_seed: int) -> Iterator[Errand]:
    """Say in words that the robot is to stop there."""
    yield from _named(first_seed, (STOP_TEMPLATES, HELD_OUT_STOP_TEMPLATES))


def obstacles(first_seed: int) -> Iterator[Errand]:
    """Name the target where something else stands on the straight way to it."""
    for errand in go_to(first_seed):
        if obstructed(sample_layout(errand.seed)):
            yield errand


def relations(kind: str) -> Callable[[int], Iterator[Errand]]:
    """Make the category of one kind of relation; every other wording was never trained on."""

    def errands(first_seed: int) -> Iterator[Errand]:
        for number, (seed, relation, target) in enumerate(ask(count(first_seed), kind)):
            text = draw_relation(relation, number % 2 == 1, random.Random(seed))
            yield Errand(seed, text, target)

    return errands


#: Category -> errands from a seed on.
CATEGORIES: dict[str, Callable[[int], Iterator[Errand]]] = {
    'go_to': go_to,
    'stop': stopping,
    'obstacles': obstacles,
    'swapped': swapped,
    **{kind: relations(kind) for kind in RELATION_KINDS},
}
MOTION = 'motion'


def choose(
    policy: Policy, categories: list[str], first_seed: int, episodes: int, blind: bool = False
) -> dict[str, Count]:
    """Count successes of episodes.

    Args:
        policy: who drives.
        categories: of CATEGORIES, and MOTION.
        first_seed: of the layouts.
        episodes: of each category.
        blind: take the words away.

    Returns:
        Category -> successes, episodes; and what else happened in those of a category.
    """
    driver = Driver(policy, blind)
    counts: dict[str, list[int]] = {}

    def note(name: str, happened: bool) -> None:
        count_of = counts.setdefault(name, [0, 0])
        count_of[0] += happened
        count_of[1] += 1

    for category in categories:
        if category == MOTION:
            for seed in tqdm(range(first_seed, first_seed + episodes), category, mininterval=5):
                note(category, _move(driver, seed))
            continue
        errands = CATEGORIES[category](first_seed)
        for _ in tqdm(range(episodes), category, mininterval=5):
            for name, happened in _run(driver, category, next(errands)).items():
                note(name, happened)
    driver.close()
    return {name: (value[0], value[1]) for name, value in counts.items()}


def refusals(policy: Policy) -> dict[str, Count]:
    """Count held-out instructions that are misunderstood and listed nonsense that is obeyed."""
    wanted = {
        saying.text: Intent.MOTION if saying.motion else Intent.GOAL
        for saying in held_out_sayings()
    }
    related = dict.fromkeys((text for text, _ in held_out_relations()), Intent.GOAL)
    nonsense = dict.fromkeys(EVALUATION_NONSENSE, Intent.REFUSED)
    counts = {}
    for name, texts in (
        ('held_out_misread', wanted),
        ('held_out_relations_misread', related),
        ('nonsense_obeyed', nonsense),
    ):
        wrong = [text for text, intent in texts.items() if policy.encode(text).intent != intent]
        LOG.info('%s: %s', name, wrong)
        counts[name] = (len(wrong), len(texts))
    return counts


def _named(
    first_seed: int, templates: tuple[tuple[str, ...], tuple[str, ...]]
) -> Iterator[Errand]:
    for seed in count(first_seed):
        draw, layout = random.Random(seed), sample_layout(seed)
        item = layout.objects[layout.target]
        template = draw.choice(draw.choice(templates))
        text = fill(template, item.colour, draw.choice(NOUNS[item.shape]))
        yield Errand(seed, text, layout.target)


def _run(driver: Driver, category: str, errand: Errand) -> dict[str, bool]:
    """Drive one errand; returns what happened, by name."""
    layout = sample_layout(errand.seed)
    poses: list[tuple[float, float, float]] = []
    ending = driver.goal(layout, errand.text, record=lambda pose, image: poses.append(pose))
    success = ending.reached(errand.target)
    near = ending.finished and ending.gaps[ending.nearest] <= SUCCESS_GAP
    gaps = layout.plan.gaps(np.array(poses)[:, :2])
    others = np.arange(gaps.shape[1]) != errand.target
    happened = {
        category: success,
        f'{category}: another object': near and not success,
        f'{category}: never done': not ending.finished,
        f'{category}: touched something': bool(gaps[:, others].min() < _TOUCH),
    }
    if not success:
        LOG.info(
            '%s, seed %d: %r, %.0f s, %s, gap %.2f of %s',
            *(category, errand.seed, errand.text, ending.seconds),
            'done' if ending.finished else 'not done',
            ending.gaps[errand.target],
            ' '.join(f'{gap:.2f}' for gap in ending.gaps),
        )
    return happened


def _move(driver: Driver, seed: int) -> bool:
    draw = random.Random(seed)
    motion = draw.choice(list(TRAIN_MOTIONS))
    words = draw.choice(draw.choice((TRAIN_MOTIONS, HELD_OUT_MOTIONS))[motion])
    along, drift, turn = driver.motion(sample_layout(seed), words)
    sideways = math.sqrt(max(drift**2 - along**2, 0.0))
    obeyed = motion_fulfilled(motion, along, sideways, turn)
    if not obeyed:
        LOG.info('seed %d: %r: %.2f m, %.2f m, %.2f rad', seed, words, along, drift, turn)
    return obeyed
