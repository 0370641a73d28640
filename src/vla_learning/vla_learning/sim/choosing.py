"""`vla-learn choose`: measure a policy on layouts kept for choosing, without ROS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count, islice
import logging
import math
import random

import numpy as np
from tqdm import tqdm

from vla_core.policy import Policy
from vla_core.types import Intent
from vla_learning.evaluation.tasks import (
    GO_TO,
    MOTION,
    motion_fulfilled,
    RELATIONS,
    SWAPPED,
    Task,
    task,
)
from vla_learning.sim.closed_loop import Driver
from vla_learning.sim.nonsense import EVALUATION_NONSENSE
from vla_learning.sim.posing import obstructed
from vla_learning.sim.relations import held_out_relations, RELATION_KINDS
from vla_learning.sim.wording import (
    fill,
    held_out_sayings,
    HELD_OUT_STOP_TEMPLATES,
    NOUNS,
    STOP_TEMPLATES,
)

LOG = logging.getLogger(__name__)
#: m to another object below which the robot touched it.
_TOUCH = 0.005

Count = tuple[int, int]


def tasks(category: str, first: int = 0, step: int = 1) -> Callable[[int], Iterator[Task]]:
    """Take the tasks of `make evaluate` from number `first` on, one of each `step`."""
    return lambda first_seed: (task(category, first_seed, number) for number in count(first, step))


go_to = tasks(GO_TO)


def stopping(first_seed: int) -> Iterator[Task]:
    """Say in words that the robot is to stop there."""
    for asked in go_to(first_seed):
        draw, item = random.Random(f'stop {asked.seed}'), asked.layout.objects[asked.target]
        template = draw.choice(HELD_OUT_STOP_TEMPLATES if asked.held_out else STOP_TEMPLATES)
        yield replace(asked, text=fill(template, item.colour, draw.choice(NOUNS[item.shape])))


def obstacles(first_seed: int) -> Iterator[Task]:
    """Name the target where something else stands on the straight way to it."""
    return (asked for asked in go_to(first_seed) if obstructed(asked.layout))


#: Category -> tasks from a seed on.
CATEGORIES: dict[str, Callable[[int], Iterator[Task]]] = {
    GO_TO: go_to,
    'stop': stopping,
    'obstacles': obstacles,
    SWAPPED: tasks(SWAPPED),
    # Those of RELATIONS ask about one kind after the other.
    **{
        kind: tasks(RELATIONS, first, len(RELATION_KINDS))
        for first, kind in enumerate(RELATION_KINDS)
    },
}


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
            for number in tqdm(range(episodes), category, mininterval=5):
                note(category, _move(driver, task(MOTION, first_seed, number)))
            continue
        asked = islice(CATEGORIES[category](first_seed), episodes)
        for one in tqdm(asked, category, episodes, mininterval=5):
            for name, happened in _run(driver, category, one).items():
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


def _run(driver: Driver, category: str, asked: Task) -> dict[str, bool]:
    """Drive to an object; returns what happened, by name."""
    layout = asked.layout
    poses: list[tuple[float, float, float]] = []
    ending = driver.goal(layout, asked.text, record=lambda pose, image: poses.append(pose))
    success = ending.reached(asked.target, driver.blind or category == SWAPPED)
    gaps = layout.plan.gaps(np.array(poses)[:, :2])
    others = np.arange(gaps.shape[1]) != asked.target
    happened = {
        category: success,
        f'{category}: another object': ending.elsewhere(asked.target),
        f'{category}: never done': not ending.finished,
        f'{category}: touched something': bool(gaps[:, others].min() < _TOUCH),
    }
    if not success:
        LOG.info(
            '%s, seed %d: %r, %.0f s, %s, gap %.2f of %s',
            *(category, asked.seed, asked.text, ending.seconds),
            'done' if ending.finished else 'not done',
            ending.gaps[asked.target],
            ' '.join(f'{gap:.2f}' for gap in ending.gaps),
        )
    return happened


def _move(driver: Driver, asked: Task) -> bool:
    along, drift, turn = driver.motion(asked.layout, asked.text, asked.start)
    sideways = math.sqrt(max(drift**2 - along**2, 0.0))
    obeyed = motion_fulfilled(asked.motion, along, sideways, turn)
    if not obeyed:
        numbers = (along, drift, turn)
        LOG.info('seed %d: %r: %.2f m, %.2f m, %.2f rad', asked.seed, asked.text, *numbers)
    return obeyed
