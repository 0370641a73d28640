"""Notices when the clock that gives the stamps is set, by one that cannot be."""

from collections.abc import Callable

from vla_replay.bag.clock_set import Jump

#: s by which a clock is not disciplined, but set.
_SET = 0.1
#: s within which both clocks are read, and how often that is tried.
_AT_ONCE, _TRIES = 0.01, 5


class Clocks:
    """Compares two clocks, again and again."""

    def __init__(self, steady: Callable[[], float], wall: Callable[[], int]) -> None:
        """Read both for the first time.

        Args:
            steady: monotonic, s.
            wall: gives the stamps, ns.
        """
        self._steady, self._wall = steady, wall
        self._at, self._stamp = self._read()

    def look(self) -> Jump | None:
        """Return by what the wall clock was set since the last look; None: it was not."""
        at, stamp = self._read()
        passed = round((at - self._at) * 1e9)
        jump = Jump(self._stamp + passed, stamp - passed)
        was_set = abs(stamp - jump.before_ns) > _SET * 1e9
        self._at, self._stamp = at, stamp
        return jump if was_set else None

    def _read(self) -> tuple[float, int]:
        """Return both times: whoever is held up between the two readings reads again."""
        for _ in range(_TRIES):
            at, stamp = self._steady(), self._wall()
            if self._steady() - at < _AT_ONCE:
                break
        return at, stamp
