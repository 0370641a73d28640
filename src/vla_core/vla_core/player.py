"""Chunk player: which row of which chunk is due now.

Times are seconds on the gate's own time line. Zero-order hold: a row is the velocity *during* its
step, so holding it makes the robot cover exactly the distance that was meant. The policy process
sends rows at the rate of the gate (vla_core.execution), so that nothing is left to interpolate.
"""

from collections import deque
from dataclasses import dataclass
import math
from typing import Generic, TypeVar

RowT = TypeVar('RowT')
#: s; a stamp that is due exactly now must not be missed by the rounding of a sum of floats.
ROUNDING = 1e-6
#: Chunks that may wait to be ready: one per 0.02 s step of the gate for its longest
#: `lockstep_latency`, 1 s, both ends counted. Were there fewer, none would wait for long enough.
MOST_WAITING = 51


@dataclass(frozen=True, slots=True)
class Playback(Generic[RowT]):
    """A chunk ready to be played.

    Attributes:
        rows: H commands.
        start: s, when row 0 is due.
        step_dt: s between rows.
        until: s, when it must not be played any more.
        ready: s, before which it must not be played; -inf: at once.
        chunk_sequence: for the record.
    """

    rows: tuple[RowT, ...]
    start: float
    step_dt: float
    until: float
    ready: float = -math.inf
    chunk_sequence: int = 0

    def index(self, now: float) -> int | None:
        """Return the row that is due, or None past the end; before the start row 0 is due."""
        if not now < self.until - ROUNDING:
            return None
        step = math.floor((now - self.start + ROUNDING) / self.step_dt)
        return max(0, step) if step < len(self.rows) else None


class ChunkPlayer(Generic[RowT]):
    """Play the newest chunk that is ready: skip to now, splice over the older one."""

    def __init__(self) -> None:
        """Start with nothing to play."""
        self._current: Playback[RowT] | None = None
        self._waiting: deque[Playback[RowT]] = deque(maxlen=MOST_WAITING)

    def offer(self, playback: Playback[RowT]) -> None:
        """Take a newer chunk."""
        self._waiting.append(playback)

    def clear(self) -> None:
        """Forget every chunk."""
        self._current = None
        self._waiting.clear()

    def due(self, now: float) -> tuple[int, RowT, Playback[RowT]] | None:
        """Return step, row and chunk to play now, or None if nothing is playable."""
        while self._waiting and now >= self._waiting[0].ready - ROUNDING:
            self._current = self._waiting.popleft()
        if self._current is None:
            return None
        index = self._current.index(now)
        return None if index is None else (index, self._current.rows[index], self._current)
