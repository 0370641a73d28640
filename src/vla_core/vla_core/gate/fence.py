"""The geofence: a polygon in odom's frame."""

import math

from vla_core.errors import ObservationError
from vla_core.gate.limits import Vector
from vla_core.gate.messages import Odom
from vla_core.surroundings import FenceConfig, Point

#: m; hysteresis of both borders: further than any pose jitters at rest.
RELEASE = 0.05


def nearest(point: Point, start: Point, end: Point) -> Point:
    """Return the point of an edge that is nearest to a point."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    share = ((point[0] - start[0]) * dx + (point[1] - start[1]) * dy) / (dx * dx + dy * dy)
    share = min(1.0, max(0.0, share))
    return (start[0] + share * dx, start[1] + share * dy)


class Fence:
    """Where the robot is in relation to its fence; outside until a pose says otherwise."""

    def __init__(self, config: FenceConfig) -> None:
        """Start without a pose."""
        self.config = config
        corners = config.points
        self._edges = [
            (start, end)
            for start, end in zip(corners, corners[1:] + corners[:1], strict=True)
            if start != end
        ]
        self.breached = True
        self.near = True
        #: m to the fence, negative outside; NaN: no pose yet.
        self.inside = math.nan
        # From the robot to the nearest point of the fence, in the robot's frame.
        self._outward: Point = (0.0, 0.0)

    def take(self, odom: Odom) -> None:
        """Take a pose.

        Raises:
            ObservationError: if it is not finite, or in another frame.
        """
        if odom.frame_id != self.config.frame_id:
            raise ObservationError(
                f'odom in frame {odom.frame_id!r}: the geofence expects {self.config.frame_id!r}'
            )
        if not all(map(math.isfinite, odom.pose)):
            raise ObservationError(f'pose {odom.pose} in odom: the geofence expects finite ones')
        x, y, yaw = odom.pose
        goal = min(
            (nearest((x, y), *edge) for edge in self._edges),
            key=lambda found: math.hypot(found[0] - x, found[1] - y),
        )
        dx, dy = goal[0] - x, goal[1] - y
        inside = self._holds(x, y)
        self.inside = math.hypot(dx, dy) * (1.0 if inside else -1.0)
        self.breached = not self.inside > (RELEASE if self.breached else 0.0)
        border = self.config.slow_within + (RELEASE if self.near else 0.0)
        self.near = not self.inside > border
        cos, sin = math.cos(yaw), math.sin(yaw)
        self._outward = (cos * dx + sin * dy, cos * dy - sin * dx)

    def _holds(self, x: float, y: float) -> bool:
        """Count the edges to the right: https://wrf.ecse.rpi.edu/Research/Short_Notes/pnpoly.html."""
        inside = False
        for (ax, ay), (bx, by) in self._edges:
            if (ay > y) != (by > y) and x < (bx - ax) * (y - ay) / (by - ay) + ax:
                inside = not inside
        return inside

    def escape(self, velocity: Vector) -> Vector:
        """Return what of a velocity leads back inside: linear if it comes nearer, and turning."""
        x, y, _, roll, pitch, turn = velocity
        # Still inside within the hysteresis, away from the fence is back.
        back = x * self._outward[0] + y * self._outward[1]
        if self.inside >= 0.0:
            back = -back
        if not back > 0.0:
            return (0.0, 0.0, 0.0, roll, pitch, turn)
        return (x, y, 0.0, roll, pitch, turn)
