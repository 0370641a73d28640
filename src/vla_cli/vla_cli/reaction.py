"""What a robot did after something broke, read from a record of its velocity. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
import itertools
import math

#: m/s by which a command must fall to be slower: policies waver by half of it.
SLOWER = 0.02
#: s after a fault, and speed, m/s.
Point = tuple[float, float]


@dataclass(frozen=True)
class Reaction:
    """When the robot slowed down and when it stood, s after the fault; inf: never."""

    start: float
    zero: float


def react(points: Iterable[Point], speed: float, still: float = 0.0) -> Reaction:
    """Find the first clearly smaller speed, and the first that is zero.

    Args:
        points: in order; what came before the fault is left out of account.
        speed: m/s, steadily driven before it.
        still: m/s, up to which the robot counts as standing.
    """
    start = math.inf
    for at, now in points:
        if at < 0.0:
            continue
        if start == math.inf and now < speed - SLOWER:
            start = at
        if abs(now) <= still:
            return Reaction(start, at)
    return Reaction(start, math.inf)


def travelled(points: Iterable[Point], speed: float) -> float:
    """Integrate the speed from the fault on (trapezoids); return m.

    Args:
        points: in order; what came before the fault is left out of account.
        speed: m/s at the fault, so that a stop before the first point has its way too.
    """
    after = [(0.0, speed), *(point for point in points if point[0] >= 0.0)]
    return sum(
        (later[0] - sooner[0]) * (abs(later[1]) + abs(sooner[1])) / 2.0
        for sooner, later in itertools.pairwise(after)
    )
