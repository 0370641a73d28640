"""What the evaluation asks for: which text in which layout, and what counts as success.

Every task follows from category, first seed and number alone: a run of 10 episodes is the start of
a run of 100, whatever machine or number of jobs does it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
import math
import random

import numpy as np

from vla_core.errors import ConfigError
from vla_learning.sim.judging import (
    JUDGING_MOTIONS,
    JUDGING_NONSENSE,
    judging_relations,
    JUDGING_STOP_TEMPLATES,
    JUDGING_TEMPLATES,
)
from vla_learning.sim.nonsense import EVALUATION_NONSENSE
from vla_learning.sim.posing import ask
from vla_learning.sim.relations import (
    draw_relation,
    held_out_phrases,
    Relation,
    RELATION_KINDS,
)
from vla_learning.sim.wording import (
    fill,
    held_out_goals,
    HELD_OUT_MOTIONS,
    HELD_OUT_STOP_TEMPLATES,
    HELD_OUT_TEMPLATES,
    MOTIONS,
    NOUNS,
    TRAIN_MOTIONS,
    TRAIN_TEMPLATES,
)
from vla_sim.geometry import Plan
from vla_sim.layout import ARENA_HALF_WIDTH, Layout, sample_layout

GO_TO, RELATIONS, MOTION = 'go_to', 'relations', 'motion'
SWAPPED, BLIND = 'swapped', 'blind'
HELD_OUT_WORDINGS, NONSENSE = 'held_out_wordings', 'nonsense'
HELD_OUT_RELATIONS = 'held_out_stops_and_relations'
#: First layouts that are for choosing and for judging; those below are for training. Sentences
#: whose understanding alone is judged have the same tiers.
CHOOSING, JUDGING = 500_000, 1_000_000
#: Layouts that are looked through for a task of RELATIONS, at most.
LOOKED_THROUGH = 160
#: Categories in which it is enough to understand.
SAID = (HELD_OUT_WORDINGS, HELD_OUT_RELATIONS, NONSENSE)
#: Categories in which the robot drives.
DRIVEN = (GO_TO, RELATIONS, MOTION, SWAPPED, BLIND)
#: Every so-manieth colour and noun is said in a template. Colours follow one another, so that the
#: stride must share no factor with their number: else some are never said.
WORDING_STRIDE = 5
#: m of free floor before and behind the robot where it is told to move or turn.
_RUNWAY = 1.3
_RUNWAY_GAP = 0.10
_WALL_GAP = 0.4


@dataclass(frozen=True)
class Task:
    """One episode.

    Attributes:
        category: one of DRIVEN.
        seed: of the layout.
        text: what is said.
        held_out: whether the wording was kept from training.
        target: index of the object that counts; -1 for motions.
        motion: one of MOTIONS; empty for goals.
        relation: one of RELATION_KINDS, for goals that are named by one.
        start: x, y, yaw; None: the layout's own.
    """

    category: str
    seed: int
    text: str
    held_out: bool
    target: int = -1
    motion: str = ''
    relation: str = ''
    start: tuple[float, float, float] | None = None

    @property
    def layout(self) -> Layout:
        """Where things stand."""
        return sample_layout(self.seed)


@dataclass(frozen=True)
class Sentence:
    """What is said to see whether it is understood.

    Attributes:
        category: one of SAID.
        wording: template or phrase; its sentences are understood together or not at all.
        text: what is said.
    """

    category: str
    wording: str
    text: str


def purpose_of(first: int, last: int) -> str:
    """Say what layouts are for.

    Raises:
        ConfigError: if they are partly for one purpose and partly for another.
    """
    tiers = (
        (CHOOSING, 'layouts for training: figures flatter a policy that was trained on them'),
        (JUDGING, 'layouts for choosing'),
        (math.inf, 'layouts for judging releases'),
    )
    one, other = (next(text for end, text in tiers if seed < end) for seed in (first, last))
    if one != other:
        raise ConfigError(
            f'layouts {first} to about {last}: expected all below {CHOOSING} (training), below '
            f'{JUDGING} (choosing), or from there on (judging)'
        )
    return one


def task(category: str, first_seed: int, number: int) -> Task:
    """Make the episode of a category that has this number, from 0."""
    if category == RELATIONS:
        return _relation(first_seed, number)
    seed = first_seed + number
    draw = random.Random(f'{category} {seed}')
    if category == MOTION:
        motion = MOTIONS[number % len(MOTIONS)]
        held_out = (number + number // len(MOTIONS)) % 2 == 1
        text = draw.choice((HELD_OUT_MOTIONS if held_out else TRAIN_MOTIONS)[motion])
        start = _runway(sample_layout(seed).plan, draw)
        return Task(category, seed, text, held_out, motion=motion, start=start)
    layout = sample_layout(seed)
    named = layout.target
    if category == SWAPPED:
        named = draw.choice([i for i in range(len(layout.objects)) if i != layout.target])
    held_out = number % 2 == 1
    template = draw.choice(HELD_OUT_TEMPLATES if held_out else TRAIN_TEMPLATES)
    item = layout.objects[named]
    text = fill(template, item.colour, draw.choice(NOUNS[item.shape]))
    return Task(category, seed, text, held_out, layout.target)


def sentences(category: str, first_seed: int) -> list[Sentence]:
    """Return what is said in one of SAID; layouts for judging have wordings of their own."""
    judging = first_seed >= JUDGING
    if category == NONSENSE:
        said = _each(JUDGING_NONSENSE if judging else EVALUATION_NONSENSE)
    elif category == HELD_OUT_RELATIONS:
        said = _goals(JUDGING_STOP_TEMPLATES if judging else HELD_OUT_STOP_TEMPLATES)
        said |= judging_relations() if judging else _held_out_relations()
    else:
        motions = JUDGING_MOTIONS if judging else HELD_OUT_MOTIONS
        said = _each(text for texts in motions.values() for text in texts)
        said |= _goals(JUDGING_TEMPLATES if judging else HELD_OUT_TEMPLATES)
    return [Sentence(category, wording, text) for wording in said for text in said[wording]]


def motion_fulfilled(motion: str, forward: float, sideways: float, turn: float) -> bool:
    """Judge 3 s of a motion.

    Args:
        motion: one of MOTIONS.
        forward: m along the heading of the start.
        sideways: m across it.
        turn: rad, counter-clockwise.
    """
    if motion in ('move forward', 'move back'):
        way = forward if motion == 'move forward' else -forward
        return way >= 0.5 and abs(turn) <= math.radians(10.0)
    angle = turn if motion == 'turn left' else -turn
    return angle >= math.radians(30.0) and math.hypot(forward, sideways) <= 0.15


def _each(texts: Iterable[str]) -> dict[str, list[str]]:
    return {text: [text] for text in texts}


def _goals(templates: Iterable[str]) -> dict[str, list[str]]:
    texts = {one: [saying.text for saying in held_out_goals((one,))] for one in templates}
    return {one: said[::WORDING_STRIDE] for one, said in texts.items()}


def _held_out_relations() -> dict[str, list[str]]:
    return {phrase: [text for text, _ in said] for phrase, said in held_out_phrases().items()}


def _relation(first_seed: int, number: int) -> Task:
    """Make a task of the kinds in turn, on the next layout where its kind can be asked about.

    Each kind looks through layouts of its own, so that no two tasks share one.
    """
    turn, kind = divmod(number, len(RELATION_KINDS))
    asked = _Asked.of(first_seed + kind, RELATION_KINDS[kind])
    seed, relation, target = asked[turn]
    held_out = turn % 2 == 1
    text = draw_relation(relation, held_out, random.Random(f'{relation.kind} {seed}'))
    return Task(RELATIONS, seed, text, held_out, target, relation=relation.kind)


class _Asked:
    """Questions of one kind from a seed on, looked for as far as they are needed."""

    def __init__(self, questions: Iterator[tuple[int, Relation, int]]) -> None:
        self._questions = questions
        self._found: list[tuple[int, Relation, int]] = []

    @classmethod
    @cache
    def of(cls, first_seed: int, kind: str) -> _Asked:
        return cls(ask(count(first_seed, len(RELATION_KINDS)), kind))

    def __getitem__(self, number: int) -> tuple[int, Relation, int]:
        while len(self._found) <= number:
            self._found.append(next(self._questions))
        return self._found[number]


def _runway(plan: Plan, draw: random.Random) -> tuple[float, float, float]:
    """Find a pose with free floor before and behind it."""
    limit = ARENA_HALF_WIDTH - _WALL_GAP
    along = np.linspace(-_RUNWAY, _RUNWAY, 27)
    while True:
        x, y = draw.uniform(-limit, limit), draw.uniform(-limit, limit)
        yaw = draw.uniform(-math.pi, math.pi)
        way = np.stack([x + along * math.cos(yaw), y + along * math.sin(yaw)], axis=-1)
        if np.abs(way).max() <= limit and plan.gaps(way).min() >= _RUNWAY_GAP:
            return x, y, yaw
