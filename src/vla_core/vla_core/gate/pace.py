"""The first rung of the ladder: a speed_scale that falls at once and rises late and slowly."""

from collections.abc import Mapping
import math

from vla_core.gate.causes import Cause

#: s for which everything must allow more before the scale rises.
RISE_AFTER = 0.5
#: 1/s.
RISE_RATE = 0.5
#: What "more" is: below it the scale stays where noise has brought it.
HYSTERESIS = 0.05


class Pace:
    """Scale in [0, 1], and why it is not 1.

    After a fall it does not rise for RISE_AFTER, and not at all while what allows it varies by
    less than HYSTERESIS: whatever the noise, it turns at most twice in that time.
    """

    def __init__(self) -> None:
        """Start at full speed."""
        self.scale = 1.0
        self.cause = Cause.NONE
        self._held_at = -math.inf
        self._rising = False

    def step(self, now: float, dt: float, allowed: Mapping[Cause, float]) -> float:
        """Return the scale for the causes that are active.

        Args:
            now: s.
            dt: s since the step before.
            allowed: cause -> scale in [0, 1] that it allows.
        """
        cause = min(allowed, key=lambda known: allowed[known], default=Cause.NONE)
        target = allowed.get(cause, 1.0)
        if target <= self.scale:
            self.scale, self.cause = target, cause
            self._held_at, self._rising = now, False
        elif not self._rising:
            if target < min(1.0, self.scale + HYSTERESIS):
                self._held_at = now
            self._rising = now - self._held_at >= RISE_AFTER
        if self._rising:
            self.scale = min(target, self.scale + RISE_RATE * dt)
        if self.scale == 1.0:
            self.cause = Cause.NONE
        return self.scale
