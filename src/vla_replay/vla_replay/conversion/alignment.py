"""What belonged together in a drive: frames, commands, odometry and instructions by time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
import math

import numpy as np

from vla_core.session import Fate
from vla_replay.errors import BagError

_SECOND = 1e9
#: Of a frame's time, the share by which the frame that is taken for it may be older.
_LATE = 1.5


@dataclass(frozen=True)
class Series:
    """Values that hold until the next one.

    Attributes:
        stamps: int64 [N], ns, not decreasing.
        values: float64 [N, D].
    """

    stamps: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, samples: Iterable[tuple[int, Sequence[float]]], width: int) -> Series:
        """Sort samples of stamp and D = `width` values."""
        ordered = sorted(samples, key=lambda sample: sample[0])
        return cls(
            np.array([stamp for stamp, _ in ordered], dtype=np.int64),
            np.array([values for _, values in ordered], dtype=float).reshape(-1, width),
        )

    def at(self, stamps: np.ndarray, max_age: float) -> np.ndarray:
        """Return what held at these moments.

        Args:
            stamps: int64 [M], ns.
            max_age: s; an older value holds no longer.

        Returns:
            float64 [M, D]; NaN where nothing held.
        """
        result = np.full((len(stamps), self.values.shape[1]), np.nan)
        if not len(self.stamps):
            return result
        index = np.searchsorted(self.stamps, stamps, side='right') - 1
        there = index >= 0
        age = np.where(there, stamps - self.stamps[np.maximum(index, 0)], 0) / _SECOND
        there &= age <= max_age
        result[there] = self.values[index[there]]
        return result


@dataclass(frozen=True)
class Segment:
    """A time in which one instruction was obeyed: an episode.

    Attributes:
        text: the instruction.
        begin_ns: its first moment.
        end_ns: the moment of its end, itself no part of it.
        end: how it ended, a name of Fate; empty: nobody has said.
    """

    text: str
    begin_ns: int
    end_ns: int
    end: str


@dataclass(frozen=True)
class Said:
    """One record of an instruction, or one text that somebody sent."""

    stamp_ns: int
    number: int
    text: str
    fate: Fate


def segments(records: Iterable[Said], end_ns: int) -> list[Segment]:
    """Cut a drive where an instruction begins and where it ends.

    Args:
        records: of vla/instruction, in order; the first RUNNING of a number begins a segment.
        end_ns: of the drive, where what still runs is cut off.
    """
    found: list[Segment] = []
    running: Said | None = None
    for record in records:
        if running is not None and record.number == running.number:
            if record.fate is Fate.RUNNING:
                continue
            found.append(
                Segment(running.text, running.stamp_ns, record.stamp_ns, record.fate.name)
            )
            running = None
        elif record.fate is Fate.RUNNING:
            if running is not None:
                found.append(Segment(running.text, running.stamp_ns, record.stamp_ns, 'REPLACED'))
            running = record
    if running is not None:
        found.append(Segment(running.text, running.stamp_ns, end_ns, ''))
    return [segment for segment in found if segment.end_ns > segment.begin_ns]


def choose_frames(stamps: np.ndarray, segment: Segment, fps: float) -> list[np.ndarray]:
    """Choose frames of a segment at an even rate.

    Args:
        stamps: int64 [N], of every frame of the drive, ns, increasing.
        segment: part of the drive.
        fps: frames per second.

    Returns:
        Indices of frames, int64 [T], for every run without a gap: a moment for which the newest
        frame is older than 1.5 times the spacing ends one.

    Raises:
        BagError: if fps is not a positive number.
    """
    if not 0.0 < fps < math.inf:
        raise BagError(f'fps is {fps}: expected a positive number')
    inside = np.flatnonzero((stamps >= segment.begin_ns) & (stamps < segment.end_ns))
    if not len(inside):
        return []
    spacing = _SECOND / fps
    first = stamps[inside[0]]
    count = int((segment.end_ns - first) // spacing) + 1
    moments = first + np.round(np.arange(count) * spacing).astype(np.int64)
    moments = moments[moments < segment.end_ns]
    index = np.searchsorted(stamps[inside], moments, side='right') - 1
    old = moments - stamps[inside][index] > _LATE * spacing
    pieces = np.split(index, np.flatnonzero(old))
    runs = [piece[1:] if number else piece for number, piece in enumerate(pieces)]
    return [inside[run] for run in runs if len(run)]
