"""Stop, slow and approach zones around the base, from the points of a laser scan."""

from dataclasses import dataclass
import math

import numpy as np

from vla_core.gate.limits import Limits, Vector, ZERO
from vla_core.robot import RobotConfig
from vla_core.surroundings import Box, SlowBox, ZonesConfig

#: m; a zone that is breached is this much larger, so that noise at its border does not free it.
RELEASE = 0.05
#: m before the stop zone at which a thing counts as reached: more than a scanner's noise.
STANDOFF = 0.02
#: s; an older scan is lost (vla_core.surroundings: scan.timeout).
LONGEST_AGE = 0.5
#: m; what is nearer still counts as this far away: the time to reach it stays a number.
SMALLEST_GAP = 1e-6
#: Out of a box: to the front, the rear, the left, the right.
_NORMALS = np.array([(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)])


@dataclass(frozen=True, slots=True)
class Hit:
    """The point that is deepest in a zone, as the side that it is behind.

    Attributes:
        side: front, rear, left or right; empty: no point is in the zone.
        distance: m from the base's origin in that direction.
        limit: m, that side of the zone.
    """

    side: str = ''
    distance: float = math.nan
    limit: float = math.nan


def in_box(points: np.ndarray, box: Box, margin: float) -> np.ndarray:
    """Return which of [N, 2] points are inside a box that is larger by `margin` on every side."""
    x, y = points[:, 0], points[:, 1]
    return np.asarray(
        (x <= box.front + margin)
        & (x >= -box.rear - margin)
        & (y <= box.left + margin)
        & (y >= -box.right - margin)
    )


def outwards(points: np.ndarray, box: Box) -> np.ndarray:
    """Return for points [N, 2] in a box the way out of the side that each is least deep behind."""
    x, y = points[:, 0], points[:, 1]
    depths = np.stack([box.front - x, box.rear + x, box.left - y, box.right + y], axis=1)
    return np.asarray(_NORMALS[depths.argmin(axis=1)])


class Zone:
    """One box: breached or not, with hysteresis; breached until a scan says otherwise."""

    def __init__(self, box: Box, min_points: int) -> None:
        """Start without a scan."""
        self.box = box
        self._min_points = min_points
        self.breached = True
        self.points = np.zeros((0, 2))
        self._outwards = np.zeros((0, 2))
        self.hit = Hit()

    def take(self, points: np.ndarray) -> None:
        """Take the points of a scan."""
        self.points = points[in_box(points, self.box, RELEASE if self.breached else 0.0)]
        self.breached = len(self.points) >= self._min_points
        self._outwards = outwards(self.points, self.box)
        self.hit = self._deepest() if self.breached else Hit()

    def escape(self, velocity: Vector) -> Vector:
        """Return a velocity if it leads away from everything in the zone, without turning.

        Turning about the origin moves no corner away from all that may be in the way.
        """
        x, y = velocity[:2]
        if not len(self.points) or not float((self.points @ (x, y)).max()) < 0.0:
            return ZERO
        # Nor deeper behind the side through which it came.
        if float((self._outwards @ (x, y)).max()) > 0.0:
            return ZERO
        return (x, y, 0.0, 0.0, 0.0, 0.0)

    def _deepest(self) -> Hit:
        box = self.box
        away = {'front': (0, 1.0), 'rear': (0, -1.0), 'left': (1, 1.0), 'right': (1, -1.0)}
        gaps = [
            (getattr(box, side) - sign * self.points[:, axis], side)
            for side, (axis, sign) in away.items()
        ]
        # The side through which a point came is the one that it is least deep behind.
        depths = np.min([gap for gap, _ in gaps], axis=0)
        index = int(np.argmax(depths))
        side = min(gaps, key=lambda entry: float(entry[0][index]))[1]
        axis, sign = away[side]
        return Hit(side, sign * float(self.points[index, axis]), getattr(box, side))


class SlowZone(Zone):
    """A zone that slows."""

    def __init__(self, box: SlowBox, min_points: int) -> None:
        """Start without a scan."""
        super().__init__(box, min_points)
        self.speed_scale = box.speed_scale


class Approach:
    """How soon the stop zone would reach something, moving as wanted."""

    def __init__(self, box: Box, time: float, limits: Limits, min_points: int = 1) -> None:
        """Start without a scan: nothing is slowed by it, for a lost scan stops the robot."""
        self._box, self._min_points = box, min_points
        self.time = time
        # No point of the box is faster, so whatever is further away is not reached in `time`.
        fastest = math.hypot(*limits.speed[:2]) + limits.speed[5] * box.radius
        self.reach = fastest * (time + LONGEST_AGE) + STANDOFF
        self._rows = np.zeros((0, 3))
        self._at = math.nan
        #: s until the first point is reached at the velocity that was asked for last; inf: never.
        self.seconds = math.inf

    def take(self, points: np.ndarray, at: float) -> None:
        """Take the points of a scan that was true at `at`."""
        box = self._box
        self._at = at
        touched = np.clip(points, (-box.rear, -box.right), (box.front, box.left))
        gaps = points - touched
        distance = np.hypot(gaps[:, 0], gaps[:, 1])
        kept = distance < self.reach
        touched, gaps, distance = touched[kept], gaps[kept], distance[kept, np.newaxis]
        # What is in the box already is at its side.
        inside = distance == 0.0
        normal = np.where(inside, outwards(touched, box), gaps / np.where(inside, 1.0, distance))
        lever = touched[:, 0] * normal[:, 1] - touched[:, 1] * normal[:, 0]
        # Closing speed of the box's nearest point, over the gap: 1 / s until it is reached.
        self._rows = np.column_stack((normal, lever)) / np.maximum(
            distance - STANDOFF, SMALLEST_GAP
        )

    def scale(self, velocity: Vector, now: float) -> float:
        """Return the factor on a velocity with which nothing is reached before `time`.

        The scan is as old as it is: what it saw is nearer by now.
        """
        self.seconds = math.inf
        # Fewer points than make a breach slow nothing down either.
        place = len(self._rows) - self._min_points
        if place < 0:
            return 1.0
        rates = self._rows @ (velocity[0], velocity[1], velocity[5])
        rate = float(np.partition(rates, place)[place])
        if not rate > 0.0:
            return 1.0
        age = max(0.0, now - self._at)
        self.seconds = 1.0 / rate - age
        needed = rate * (self.time + age)
        return 1.0 / needed if needed > 1.0 else 1.0


class Zones:
    """All zones of one robot."""

    def __init__(self, config: ZonesConfig, limits: Limits) -> None:
        """Start without a scan."""
        self.stop = Zone(config.stop, config.min_points) if config.stop else None
        self.slow = SlowZone(config.slow, config.min_points) if config.slow else None
        self.approach: Approach | None = None
        if config.stop and config.approach_time:
            self.approach = Approach(config.stop, config.approach_time, limits, config.min_points)

    def take(self, points: np.ndarray, at: float) -> None:
        """Take the points of a scan that was true at `at`."""
        for zone in (self.stop, self.slow):
            if zone is not None:
                zone.take(points)
        if self.approach is not None:
            self.approach.take(points, at)


def nearest(robot: RobotConfig) -> float:
    """Return m from the scanner to the nearest side of the stop zone; inf without one."""
    if robot.zones is None or robot.zones.stop is None or robot.scan is None:
        return math.inf
    box, x, y = robot.zones.stop, robot.scan.x, robot.scan.y
    return min(box.front - x, box.rear + x, box.left - y, box.right + y)


def reach(robot: RobotConfig) -> float:
    """Return m from the scanner beyond which no zone can see anything; 0 without zones."""
    zones, scan = robot.zones, robot.scan
    if zones is None or scan is None:
        return 0.0
    radii = [box.radius for box in (zones.stop, zones.slow) if box is not None]
    if zones.stop and zones.approach_time:
        approach = Approach(zones.stop, zones.approach_time, Limits.of(robot))
        radii.append(zones.stop.radius + approach.reach)
    return max(radii) + RELEASE + math.hypot(scan.x, scan.y)
