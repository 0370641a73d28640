"""Layouts v1 for special questions: a relation has one answer there, or something is in the way.

Nothing is placed: layouts are looked through in the order of their seeds, and those that fit are
taken. Free of torch, for the evaluation uses it too.
"""

from __future__ import annotations

from collections.abc import Iterator
import random

import numpy as np

from vla_learning.sim.referents import refer, UNCLEAR
from vla_learning.sim.relations import Relation, RELATIONS
from vla_learning.sim.views import look, View
from vla_sim import robot
from vla_sim.expert import Expert
from vla_sim.layout import Layout, sample_layout

_STEP, _LIMIT = 0.1, 60.0
#: m between the robot's side and an object that it passes closely.
_PASSING = 0.05


def route(layout: Layout, target: int) -> np.ndarray:
    """Roll the expert out from the layout's start to an object, as an ideal unicycle.

    Returns:
        [P, 3] poses every 0.1 s, up to its arrival or one minute.
    """
    expert = Expert(layout)
    pose, poses = np.array(layout.start), []
    for _ in range(round(_LIMIT / _STEP)):
        poses.append(pose)
        speed, turn_rate, done = expert.act(tuple(pose), target)
        if done:
            break
        middle = pose[2] + turn_rate * _STEP / 2
        advance = speed * np.array([np.cos(middle), np.sin(middle)])
        pose = pose + _STEP * np.array([*advance, turn_rate])
    return np.array(poses)


def question(layout: Layout, kind: str, draw: random.Random) -> tuple[Relation, int] | None:
    """Draw a relation of one kind that can be asked about at the layout's start.

    Several things in the picture are of the kind that is meant, exactly one fits, with a margin,
    and no picture on the expert's way to it says that another one does.

    Returns:
        Relation, and the object that it means; None if there is no such relation.
    """
    now, _ = look(layout, np.array([layout.start]))
    ways: dict[int, View] = {}
    relations = [relation for relation in RELATIONS if relation.kind == kind]
    for relation in draw.sample(relations, len(relations)):
        answer = refer(relation, now)
        target = int(answer.object[0])
        if target < 0 or not answer.contested[0]:
            continue
        if target not in ways:
            ways[target], _ = look(layout, route(layout, target))
        if np.isin(refer(relation, ways[target]).object, (target, UNCLEAR)).all():
            return relation, target
    return None


def ask(seeds: Iterator[int], kind: str) -> Iterator[tuple[int, Relation, int]]:
    """Look through layouts for questions of one kind, at most one in each.

    Yields:
        Seed of a layout, relation, and the object that it means.
    """
    for seed in seeds:
        found = question(sample_layout(seed), kind, random.Random(f'{kind} {seed}'))
        if found:
            yield (seed, *found)


def obstructed(layout: Layout) -> bool:
    """Say whether something stands on the straight way from the start to the target in sight."""
    target = layout.objects[layout.target]
    start = np.array(layout.start[:2])
    way = np.array([target.x, target.y]) - start
    length = float(np.hypot(*way))
    along = way / length
    plan = layout.plan
    offset = plan.centre - start
    forward, aside = offset @ along, np.abs(offset @ np.array([-along[1], along[0]]))
    near = aside < plan.outer_radius + robot.FOOTPRINT_RADIUS + _PASSING
    between = (forward > 0) & (forward < length - plan.outer_radius[layout.target])
    others = np.arange(len(layout.objects)) != layout.target
    seen = plan.visible_fraction(np.array([layout.start]), np.array([layout.target]))[0]
    return bool((near & between & others).any() and seen > 0)
