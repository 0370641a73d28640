"""What a relation means in a picture: which object, as far as the picture can tell.

The policy sees one frame and remembers nothing, so the answer may depend on the picture alone; it
is the same rule for training and for judging. See docs/explanation/relations.md.

Shape legend: N pictures, K objects (padded), R relations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vla_learning.sim.relations import LEFT, NEAREST, Relation, RELATIONS, SIDES
from vla_learning.sim.views import KINDS, SEEN_PIXELS, View

#: Answers beside the index of an object: nothing fits, so search; too close to call.
SEARCH, UNCLEAR = -1, -2
# Between these an object may or may not be noticed.
_DOUBTFUL_PIXELS = 12
# rad that must lie between the anchor and whatever could be meant.
_SIDE_MARGIN = 0.08
# rad by which the best must beat the next best.
_NEXT_MARGIN = 0.12
_NEARER, _TALLER = 1.25, 1.1
# From the surface's gap to the distance that a picture shows, roughly.
_REACH = 0.35


class Answers(NamedTuple):
    """What relations mean: [N] for one of them, [N, R] for all.

    Attributes:
        object: int8, index of an object, SEARCH or UNCLEAR.
        contested: bool, several objects in the picture are of the kind that is meant, and the
            anchor is seen if there is one: only the relation tells them apart.
        anchor: int8, index of the anchor in the picture; -1: none.
    """

    object: np.ndarray
    contested: np.ndarray
    anchor: np.ndarray


def refer(relation: Relation, view: View) -> Answers:
    """Say what a relation means in N pictures."""
    row = np.arange(len(view.kinds))
    wanted = _matches(view.kinds, relation.colour, relation.shape)
    seen = view.pixels >= SEEN_PIXELS
    doubtful = (view.pixels > 0) & (view.pixels < _DOUBTFUL_PIXELS)
    unclear = (wanted & doubtful).any(axis=1)
    anchor = np.full(len(row), -1, np.int8)
    if relation.kind in SIDES:
        anchors = _matches(view.kinds, *relation.anchor)
        wanted &= ~anchors
        unclear |= (anchors & doubtful).any(axis=1)
        anchored = (anchors & seen).any(axis=1)
        anchor[anchored] = anchors.argmax(axis=1)[anchored]
        sign = 1 if relation.kind == LEFT else -1
        side = sign * (view.bearing - view.bearing[row, anchors.argmax(axis=1)][:, None])
        candidates = wanted & seen
        unclear |= anchored & (candidates & (np.abs(side) < _SIDE_MARGIN)).any(axis=1)
        # Without its anchor in the picture, what is ahead was meant: it is being driven to.
        fits = candidates & ((side > 0) | ~anchored[:, None])
        cost = np.where(anchored[:, None], side, np.abs(view.bearing))
        first, second = _two_smallest(np.where(fits, cost, np.inf))
        unclear |= np.isfinite(second) & (second < first + _NEXT_MARGIN)
    else:
        fits = candidates = wanted & seen
        if relation.kind == NEAREST:
            cost, ratio = view.gap + _REACH, _NEARER
        else:
            cost, ratio = 1 / np.maximum(view.height, 1e-3), _TALLER
        first, second = _two_smallest(np.where(fits, cost, np.inf))
        unclear |= np.isfinite(second) & (second < ratio * first)
    best = np.where(fits, cost, np.inf).argmin(axis=1)
    answer = np.where(unclear, UNCLEAR, np.where(fits.any(axis=1), best, SEARCH))
    contested = candidates.sum(axis=1) > 1
    if relation.anchor:
        contested &= anchor >= 0
    return Answers(answer.astype(np.int8), contested, anchor)


def refer_all(view: View) -> Answers:
    """Say what every relation means in N pictures."""
    answers = [refer(relation, view) for relation in RELATIONS]
    return Answers(*(np.stack(part, axis=1) for part in zip(*answers, strict=True)))


def _matches(kinds: np.ndarray, colour: str, shape: str) -> np.ndarray:
    """Tell which objects are of a colour and a shape; an empty one matches all."""
    chosen = [colour in ('', c) and shape in ('', s) for c, s in KINDS]
    # The last entry answers for index -1.
    return np.array([*chosen, False])[kinds]


def _two_smallest(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and the next of every row."""
    ordered = np.sort(cost, axis=1)
    return ordered[:, 0], ordered[:, 1]
