"""How long each cause outlives its reason, so that noise at a border is one cause and not many.

How long a reason must last before it is a cause is the age in its detector (gate.config). An
emergency has neither span: it is there in the step that sees it, and it latches.
"""

from collections.abc import Iterable

from vla_core.gate.causes import Cause

#: s; two heartbeats or three chunks in time are needed to say that the policy is back.
_POLICY_BACK = 0.10
#: s; two scans of a slow scanner.
_AROUND_FREE = 0.50
CLEAR_AFTER = {
    Cause.HEARTBEAT_LATE: _POLICY_BACK,
    Cause.BUSY_TOO_LONG: _POLICY_BACK,
    Cause.CHUNK_LAPSED: _POLICY_BACK,
    Cause.BREACHED: _AROUND_FREE,
    Cause.ZONE_SLOW: _AROUND_FREE,
    Cause.FENCE_NEAR: _AROUND_FREE,
}


class Debounce:
    """Remember causes for CLEAR_AFTER."""

    def __init__(self) -> None:
        """Start without any."""
        self._seen: dict[Cause, float] = {}

    def settle(self, causes: Iterable[Cause], now: float) -> frozenset[Cause]:
        """Return the causes seen now, and those that are not over yet."""
        active = set(causes)
        for cause in active & CLEAR_AFTER.keys():
            self._seen[cause] = now
        for cause in [old for old in self._seen if old not in active]:
            if now - self._seen[cause] < CLEAR_AFTER[cause]:
                active.add(cause)
            else:
                del self._seen[cause]
        return frozenset(active)
