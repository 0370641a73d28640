"""Does the policy listen? The same picture, other words (docs/explanation/grounding-score.md).

Three questions: does another instruction change the action, more than another wording of the same
one does (score)? Does it change the way the expert's does (direction)? Does the robot stand still
when nothing sensible is said?

Shape legend: n answers to one picture, D axes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vla_learning.answers import Answers, Kind
from vla_learning.bootstrap import by_group, Estimate, mean, Measure, ratio

#: Native units: smaller changes of an action are no changes. It makes the score of a policy that
#: never reacts 1 (not 0/0) and that of one that never minds the wording finite.
RESOLUTION = 1e-3
#: The expert's actions for two instructions differ if they are as far apart as this.
CONTRAST = 0.2
#: Slower than this in every axis that moves the robot is standing still.
STILL = 0.05
#: A policy hears something if even the lower end of its score's interval is above this.
HEARD = 1.1
#: Of two directions a coin finds the right one so often.
CHANCE = 0.5

IGNORES = 'ignores language'
WRONG = 'reacts to language, but not in the right direction'
OPPOSITE = 'reacts to language in the wrong direction'
REACTS = 'reacts to language (right direction unknown)'
FOLLOWS = 'follows language'


def measures(answers: Answers) -> dict[str, Measure]:
    """Return score, direction accuracy (also by what differs), and what is done about nonsense.

    `direction` is missing where no right action is known, `direction, ...` where nothing is named.
    """
    said = answers.rows(answers.kind == Kind.INSTRUCTION)
    result = {'score': _score(said), **_directions(said)}
    result['understood'] = mean(said.group, ~said.refused, 1, rate=True)
    for kind, name in ((Kind.EMPTY, 'still_empty'), (Kind.NONSENSE, 'still_nonsense')):
        other = answers.rows(answers.kind == kind)
        if len(other):
            still = (np.abs(other.behaviour) < STILL).all(axis=-1)
            result[name] = mean(other.group, still, 1, rate=True)
    return result


def verdict(score: Estimate, direction: Estimate | None) -> str:
    """Say in words what the figures say."""
    # Not above, rather than below: no interval at all is no evidence of listening.
    if not score.low > HEARD:
        return IGNORES
    if direction is None or np.isnan(direction.value):
        return REACTS
    if direction.high < CHANCE:
        return OPPOSITE
    return FOLLOWS if direction.low > CHANCE else WRONG


def _score(said: Answers) -> Measure:
    """Mean squared distance between answers to different instructions, over that to wordings."""
    rows, groups = [], []
    axes = said.axes if len(said.axes) else slice(None)
    for scene in _scenes(said):
        action = scene.behaviour[:, axes]
        square = ((action[:, None] - action[None]) ** 2).sum(axis=-1)
        once = np.triu(np.ones_like(square, bool), 1)
        same = scene.meaning[:, None] == scene.meaning[None]
        between, within = square[once & ~same], square[once & same]
        rows.append((between.sum(), len(between), within.sum(), len(within)))
        groups.append(scene.group[0])
    sums = by_group(np.array(groups), np.array(rows, np.float64))
    return Measure(sums, _score_of, 1)


def _score_of(sums: np.ndarray) -> np.ndarray:
    between, within = ratio(sums[..., :2]), ratio(sums[..., 2:])
    return (between + RESOLUTION**2) / (within + RESOLUTION**2)


def _directions(said: Answers) -> dict[str, Measure]:
    """Share of pairs of instructions between which the action changes as the expert's does."""
    counts: dict[str, list[tuple[int, float, float]]] = {}
    for scene in _scenes(said.rows(said.valid[:, 0].any(axis=-1))):
        known = scene.valid[:, 0] & scene.moving
        target = np.where(known, scene.target[:, 0], 0.0).astype(np.float64)
        action = np.where(scene.valid[:, 0], scene.behaviour, 0.0).astype(np.float64)
        wanted = target[:, None] - target[None]
        found = action[:, None] - action[None]
        right = np.where(
            np.linalg.norm(found, axis=-1) < RESOLUTION,
            0.0,
            np.sign((wanted * found).sum(axis=-1)),
        )
        differ = np.triu(scene.meaning[:, None] != scene.meaning[None], 1)
        differ &= np.linalg.norm(wanted, axis=-1) >= CONTRAST
        group = int(scene.group[0])
        for one, other in np.argwhere(differ):
            hit = (right[one, other] + 1) / 2
            counts.setdefault('direction', []).append((group, hit, 1.0))
            aspect = _aspect(str(scene.topic[one]), str(scene.topic[other]))
            if aspect:
                counts.setdefault(f'direction, {aspect}', []).append((group, hit, 1.0))
    result = {}
    for name in sorted(counts):
        table = np.array(counts[name])
        result[name] = Measure(by_group(table[:, 0], table[:, 1:]), ratio, 1, rate=True)
    return result


def _aspect(one: str, other: str) -> str:
    """Say what differs between "red ball" and "red box"; empty where things have no two words."""
    (colour, _, shape), (other_colour, _, other_shape) = one.partition(' '), other.partition(' ')
    if not shape or not other_shape:
        return ''
    if colour == other_colour:
        return 'only the shape differs'
    return 'only the colour differs' if shape == other_shape else 'both differ'


def _scenes(answers: Answers) -> Iterator[Answers]:
    """Split answers by picture."""
    order = np.argsort(answers.scene, kind='stable')
    for rows in np.split(order, np.flatnonzero(np.diff(answers.scene[order])) + 1):
        if len(rows):
            yield answers.rows(rows)
