"""What the fence and the zones say at one moment: causes, scales, and where a person may drive."""

import math

from vla_core.errors import ObservationError
from vla_core.gate.breach import Breach
from vla_core.gate.causes import Cause, MOVING, State
from vla_core.gate.config import ESCAPE_SPEED, FREEZE_TIMEOUT, STAMP_AHEAD
from vla_core.gate.fence import Fence
from vla_core.gate.limits import Limits, Vector
from vla_core.gate.messages import Odom, Scan
from vla_core.gate.zones import Zones
from vla_core.robot import RobotConfig


class Surroundings:
    """Fence and zones of a robot; silent where its file has neither section."""

    def __init__(self, robot: RobotConfig, limits: Limits) -> None:
        """Start without a pose and without a scan: both borders count as breached."""
        self.fence = Fence(robot.fence) if robot.fence else None
        self.zones = Zones(robot.zones, limits) if robot.zones else None
        self._timeout = robot.scan.timeout if robot.scan else math.inf
        self._fence_breach = Breach(Cause.GEOFENCE)
        self._stop_breach = Breach(Cause.ZONE_STOP)
        self._scan_at = -math.inf
        self._scan_invalid = False
        self._changed_at = -math.inf
        self._signature = 0

    def odom(self, odom: Odom) -> None:
        """Take a pose.

        Raises:
            ObservationError: if the fence cannot use it.
        """
        if self.fence is not None:
            self.fence.take(odom)

    def scan(self, scan: Scan, now: float) -> None:
        """Take a scan.

        Raises:
            ObservationError: if its stamp is not finite, or too far ahead.
        """
        if not -math.inf < scan.at <= now + STAMP_AHEAD:
            raise ObservationError(
                f'scan {now - scan.at:.3f} s old: expected a stamp at most {STAMP_AHEAD} s ahead'
            )
        if self.zones is None or scan.at < self._scan_at:
            return
        self._scan_invalid = False
        self._scan_at = min(now, scan.at)
        # A scanner that sees nothing sends the same picture for ever.
        if scan.signature != self._signature or not scan.signature:
            self._changed_at, self._signature = now, scan.signature
        self.zones.take(scan.points, self._scan_at)

    def void_scan(self) -> None:
        """Note that a scan was not valid; the last good one goes on ageing."""
        self._scan_invalid = True

    def scan_age(self, now: float) -> float:
        """Return s; inf: never heard."""
        return now - self._scan_at

    def unchanged_age(self, now: float) -> float:
        """Return s for which the scans have shown one picture."""
        return now - self._changed_at

    def causes(self, state: State, still: bool, moving_span: float, now: float) -> list[Cause]:
        """Return what the surroundings cause now; NONE among it means nothing.

        Args:
            state: present state.
            still: the robot is.
            moving_span: s for which the robot has been moving; 0: it is not.
            now: s.
        """
        resting = still or state not in MOVING
        causes = []
        if self.fence is not None:
            causes.append(self._fence_breach.judge(self.fence.breached, resting))
            if self.fence.near:
                causes.append(Cause.FENCE_NEAR)
        if self.zones is not None:
            if self.zones.stop is not None:
                causes.append(self._stop_breach.judge(self.zones.stop.breached, resting))
            if self.zones.slow is not None and self.zones.slow.breached:
                causes.append(Cause.ZONE_SLOW)
            causes.append(self._scan_cause(moving_span, now))
        return causes

    def _scan_cause(self, moving_span: float, now: float) -> Cause:
        if not self.scan_age(now) < self._timeout:
            return Cause.SCAN_INVALID if self._scan_invalid else Cause.SCAN_LOST
        if min(moving_span, self.unchanged_age(now)) >= FREEZE_TIMEOUT:
            return Cause.SCAN_FROZEN
        return Cause.NONE

    def scales(self, causes: frozenset[Cause], velocity: Vector, now: float) -> dict[Cause, float]:
        """Return the scale of speed that each cause allows.

        Args:
            causes: active.
            velocity: that is wanted, within the limits.
            now: s.
        """
        scales = {}
        if self.fence is not None and Cause.FENCE_NEAR in causes:
            scales[Cause.FENCE_NEAR] = self.fence.config.slow_scale
        if self.zones is not None:
            if self.zones.slow is not None and Cause.ZONE_SLOW in causes:
                scales[Cause.ZONE_SLOW] = self.zones.slow.speed_scale
            if self.zones.approach is not None:
                scales[Cause.ZONE_APPROACH] = self.zones.approach.scale(velocity, now)
        return scales

    def escape(self, velocity: Vector) -> Vector:
        """Return what of a person's velocity makes every breach smaller, slowly."""
        free = velocity
        if self.fence is not None and self.fence.breached:
            free = self.fence.escape(free)
        if self.zones is not None and self.zones.stop is not None and self.zones.stop.breached:
            free = self.zones.stop.escape(free)
        if free is velocity:
            return velocity
        speed = math.hypot(*free[:3])
        ratio = min(1.0, ESCAPE_SPEED / speed) if speed > 0.0 else 1.0
        return tuple(value * ratio for value in free)
