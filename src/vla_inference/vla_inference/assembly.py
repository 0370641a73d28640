"""Frames and odometry in, what the policy sees together out, in the order in which it happened."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vla_core.errors import ObservationError

#: Frames that may wait for their odometry or their siblings in lock-step; more means a lost hop.
MAX_WAITING = 256
#: s of images of one slot, when steady, without one set of all: longer means that none will come.
LONGEST_APART = 1.0
_APART_NS = round(1e9 * LONGEST_APART)


class FramesApart(ObservationError):
    """Images come, but not of all slots together.

    It is counted, but not as one of the errors in a row that latch an emergency stop: without
    chunks the robot does not move, and one camera of several may start later.
    """


@dataclass(frozen=True)
class Odometry:
    """What the robot really does: m/s, rad/s."""

    stamp_ns: int
    speed: float
    turn_rate: float


@dataclass(frozen=True)
class Frames:
    """One image per slot, seen together; `stamp_ns` is that of the oldest."""

    stamp_ns: int
    images: dict[str, np.ndarray]


class Assembler:
    """Collects what belongs together.

    Steady: the newest image of each slot, as soon as their stamps match; odometry passes through.
    Lock-step: every frame whose stamp all slots and the odometry have reached, in order, after the
    odometry up to it.
    """

    def __init__(self, slots: Sequence[str], lockstep: bool, tolerance: float = 0.02) -> None:
        """Expect one image of each of `slots`; stamps may differ by `tolerance` s when steady."""
        self._slots = tuple(slots)
        self._lockstep = lockstep
        self._tolerance_ns = round(tolerance * 1e9)
        self._newest: dict[str, tuple[int, np.ndarray]] = {}
        self._apart_since: dict[str, int] = {}
        self._waiting: dict[int, dict[str, np.ndarray]] = {}
        self._odometry: deque[Odometry] = deque()
        self._odometry_ns = -1

    def image(self, slot: str, image: np.ndarray, stamp_ns: int) -> list[Odometry | Frames]:
        """Take an image in; return what is due.

        Raises:
            FramesApart: if this slot's images found no company for LONGEST_APART, when steady;
                once in that time.
            ObservationError: if too many frames wait for what never comes, in lock-step.
        """
        if self._lockstep:
            self._waiting.setdefault(stamp_ns, {})[slot] = image
            if len(self._waiting) > MAX_WAITING:
                raise ObservationError(
                    f'{len(self._waiting)} frames wait for odometry of {min(self._waiting)} ns or '
                    f'for images of all of {list(self._slots)}'
                )
            return self._due()
        self._newest[slot] = (stamp_ns, image)
        stamps = [stamp for stamp, _ in self._newest.values()]
        if len(stamps) < len(self._slots) or max(stamps) - min(stamps) > self._tolerance_ns:
            self._check_apart(slot, stamp_ns)
            return []
        images = {name: newest for name, (_, newest) in self._newest.items()}
        self._newest.clear()
        self._apart_since.clear()
        return [Frames(min(stamps), images)]

    def odometry(self, sample: Odometry) -> list[Odometry | Frames]:
        """Take odometry in; return what is due."""
        if not self._lockstep:
            return [sample]
        self._odometry.append(sample)
        self._odometry_ns = max(self._odometry_ns, sample.stamp_ns)
        return self._due()

    def _check_apart(self, slot: str, stamp_ns: int) -> None:
        if stamp_ns - self._apart_since.setdefault(slot, stamp_ns) < _APART_NS:
            return
        self._apart_since.clear()
        missing = [name for name in self._slots if name not in self._newest]
        if missing:
            raise FramesApart(
                f'{LONGEST_APART:g} s of images of {slot}, none of {missing}: expected all of '
                f'{list(self._slots)} together'
            )
        newest = {name: stamp for name, (stamp, _) in self._newest.items()}
        behind = {name: (max(newest.values()) - newest[name]) * 1e-9 for name in self._slots}
        late = ', '.join(f'{name} by {seconds:.3f} s' for name, seconds in behind.items())
        raise FramesApart(
            f'images do not come together, the newest are behind: {late}: expected at most '
            f'slot_tolerance, {self._tolerance_ns * 1e-9:g} s'
        )

    def _due(self) -> list[Odometry | Frames]:
        due: list[Odometry | Frames] = []
        for stamp_ns in sorted(self._waiting):
            images = self._waiting[stamp_ns]
            if stamp_ns > self._odometry_ns or len(images) < len(self._slots):
                break
            while self._odometry and self._odometry[0].stamp_ns <= stamp_ns:
                due.append(self._odometry.popleft())
            due.append(Frames(stamp_ns, self._waiting.pop(stamp_ns)))
        return due
