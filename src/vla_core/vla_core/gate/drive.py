"""From the velocity that is wanted to the one that is published."""

from vla_core.gate.causes import Cause, State
from vla_core.gate.config import ARMING_SHARE, ARMING_SPAN, REQUESTED_SCALE
from vla_core.gate.limits import approach, clamp, Limits, Vector, ZERO
from vla_core.gate.pace import Pace
from vla_core.gate.surroundings import Surroundings


class Drive:
    """Limits, ramp, scale and acceleration; remembers what was published."""

    def __init__(self, limits: Limits, around: Surroundings, speed_scale: float) -> None:
        """Start at rest.

        Args:
            limits: of the robot.
            around: fence and zones.
            speed_scale: factor on every speed, whatever happens.
        """
        self.published: Vector = ZERO
        self.pace = Pace()
        self._limits = limits
        self._around = around
        self._speed_scale = speed_scale

    def allow(
        self,
        wanted: Vector,
        state: State,
        since: float,
        causes: frozenset[Cause],
        now: float,
        dt: float,
    ) -> tuple[Vector, float]:
        """Return what limits, fence and zones allow of a velocity, and the scale in it.

        Args:
            wanted: by policy or person.
            state: present state.
            since: s, when it was entered.
            causes: active.
            now: s.
            dt: s since the step before.
        """
        ramp = 1.0
        if state is State.ARMING:
            # Below zero, where time went back, it would turn the velocity around.
            ramp = ARMING_SHARE * min(1.0, max(0.0, (now - since) / ARMING_SPAN))
        limited = clamp(wanted, self._limits.speed, ramp)
        if state is State.MANUAL:
            limited = self._around.escape(limited)
        slower = self._around.scales(causes, limited, now)
        if Cause.SLOW_REQUESTED in causes:
            slower[Cause.SLOW_REQUESTED] = REQUESTED_SCALE
        scale = self._speed_scale * self.pace.step(now, dt, slower)
        if Cause.BREACHED in causes and state is not State.MANUAL:
            return ZERO, 0.0
        return tuple(value * scale for value in limited), scale

    def publish(self, allowed: Vector, state: State, dt: float) -> Vector:
        """Return the velocity to publish, within acceleration and deceleration."""
        if state in (State.ARMING, State.ACTIVE, State.MANUAL):
            return approach(self.published, allowed, self._limits, dt)
        if state in (State.HOLD, State.CONTROLLED_STOP):
            return approach(self.published, ZERO, self._limits, dt)
        return ZERO
