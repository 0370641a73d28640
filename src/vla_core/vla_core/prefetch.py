"""When the next inference must begin so that its chunk comes in time."""

from collections import deque
import math

from vla_core.player import ROUNDING

#: Newest latencies that count; the largest of them is what the next one is expected to be.
MEMORY = 10


class Prefetch:
    """Choose the frames that are inferred, by the latency that was measured.

    Latencies are those of chunks that were sent. The warm-up of a policy makes none, so it is in
    none of them.
    """

    def __init__(self, replan_after: float) -> None:
        """Replace every chunk when it has been played up to this age.

        Args:
            replan_after: s after the chunk's frame, >= 0; 0.0: as soon as there is a newer frame.
        """
        self._replan_after = replan_after
        self._latencies: deque[float] = deque(maxlen=MEMORY)
        self._chosen_ns: int | None = None
        self._newest_ns: int | None = None

    @property
    def latency(self) -> float:
        """S from a frame to its chunk, as expected of the next one; 0 before the first one."""
        return max(self._latencies, default=0.0)

    def record(self, latency: float) -> None:
        """Note the s from a frame's stamp until its chunk was sent."""
        if math.isfinite(latency):
            self._latencies.append(max(0.0, latency))

    def restart(self) -> None:
        """Choose the next frame, whatever it is: there is no chunk to play, or not for long."""
        self._chosen_ns = None

    def wants(self, stamp_ns: int, busy: bool = False) -> bool:
        """Say whether the frame of this stamp is to be inferred.

        It is if the next frame, which comes after the same pause as this one, would be too late.
        None is while another one is inferred: it would only grow old in waiting, where the next
        one is fresh, and the pause is time for whoever shares the processor.

        Args:
            stamp_ns: of the frame.
            busy: whether the policy has something to do.
        """
        pause = 0.0 if self._newest_ns is None else (stamp_ns - self._newest_ns) * 1e-9
        self._newest_ns = stamp_ns
        if busy:
            return False
        if self._chosen_ns is not None:
            played = (stamp_ns - self._chosen_ns) * 1e-9
            # A stamp that goes back says nothing about the age of the chunk.
            if played >= 0.0 and played + pause + self.latency <= self._replan_after + ROUNDING:
                return False
        self._chosen_ns = stamp_ns
        return True
