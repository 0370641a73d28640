"""What belonged together in a drive: frames, commands, odometry and instructions by time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
import math

import numpy as np

from vla_core.session import Fate
from vla_replay.errors import BagError

_SECOND = 1e9
#: End of an episode that was cut off: nobody has said how it went.
UNFINISHED = 'UNFINISHED'
#: s without a frame from which on nothing is put in between: a clock was set, or the drive ended.
LONGEST_GAP = 60.0
#: Of a frame's time, the share by which the frame that is taken for it may be older.
LATE = 1.5
#: Most frames per second that are taken of one that the camera took: a camera of 30 Hz on a busy
#: machine has intervals whose median is a few percent longer.
_REPEATED = 1.1


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
        end: how it ended, a name of Fate, a person's label or UNFINISHED; empty: nobody judges.
    """

    text: str
    begin_ns: int
    end_ns: int
    end: str


@dataclass(frozen=True)
class Said:
    """One record of an instruction, or one text that somebody sent.

    Attributes:
        stamp_ns: when it was said.
        number: of the instruction, within a run.
        text: the instruction.
        fate: what became of it.
        run: of the policy; numbers begin anew in each.
    """

    stamp_ns: int
    number: int
    text: str
    fate: Fate
    run: int = 0


def segments(records: Iterable[Said], end_ns: int) -> list[Segment]:
    """Cut a drive where an instruction begins and where it ends.

    Args:
        records: of vla/instruction, in order; the first RUNNING of a number begins a segment, and
            another run of the policy ends it.
        end_ns: of the drive, where what still runs is cut off.
    """
    found: list[Segment] = []
    running: Said | None = None

    def end(stamp_ns: int, how: str) -> None:
        if running is not None:
            found.append(Segment(running.text, running.stamp_ns, stamp_ns, how))

    for record in records:
        if running is not None and record.run != running.run:
            end(record.stamp_ns, UNFINISHED)
            running = None
        if running is not None and record.number == running.number:
            if record.fate is Fate.RUNNING:
                continue
            end(record.stamp_ns, record.fate.name)
            running = None
        elif record.fate is Fate.RUNNING:
            end(record.stamp_ns, Fate.REPLACED.name)
            running = record
    end(end_ns, UNFINISHED)
    return [segment for segment in found if segment.end_ns > segment.begin_ns]


def choose_frames(
    stamps: np.ndarray, segment: Segment, fps: float, usable: np.ndarray | None = None
) -> list[np.ndarray]:
    """Choose frames of a segment at an even rate.

    Args:
        stamps: int64 [N], of every frame of the drive, ns, increasing.
        segment: part of the drive.
        fps: frames per second.
        usable: bool [N], which of them may be chosen; None: all.

    Returns:
        Indices of frames, int64 [T], for every run without a gap: a moment for which the newest
        frame is older than 1.5 times the spacing ends one.

    Raises:
        BagError: if fps is not a positive number or above the camera's rate, or there is no frame
            for more than LONGEST_GAP in the segment.
    """
    if not 0.0 < fps < math.inf:
        raise BagError(f'fps is {fps}: expected a positive number')
    inside = np.flatnonzero((stamps >= segment.begin_ns) & (stamps < segment.end_ns))
    if not len(inside):
        return []
    refuse_gap(stamps[inside], stamps)
    _refuse_repeats((stamps, stamps[inside]), fps)
    if usable is not None:
        inside = inside[usable[inside]]
        if not len(inside):
            return []
    spacing = _SECOND / fps
    first = stamps[inside[0]]
    # Behind the last frame no moment has one that is new enough.
    end = min(segment.end_ns, int(stamps[inside[-1]] + math.ceil(2 * spacing)))
    count = int((end - first) // spacing) + 1
    moments = first + np.round(np.arange(count) * spacing).astype(np.int64)
    moments = moments[moments < end]
    index = np.searchsorted(stamps[inside], moments, side='right') - 1
    old = moments - stamps[inside][index] > LATE * spacing
    pieces = np.split(index, np.flatnonzero(old))
    runs = [piece[1:] if number else piece for number, piece in enumerate(pieces)]
    return [inside[run] for run in runs if len(run)]


def _refuse_repeats(spans: Iterable[np.ndarray], fps: float) -> None:
    """Refuse a rate at which pictures would come again as if nothing had moved.

    Args:
        spans: int64 [N], stamps of the whole drive and of the segment: it may have idled in one.
        fps: frames per second.
    """
    # The median: pauses and lost frames make no slower camera.
    gaps = [float(np.median(np.diff(stamps))) for stamps in spans if len(stamps) > 1]
    usual = min(gaps, default=0.0) / _SECOND
    if usual * fps > _REPEATED:
        raise BagError(
            f'the camera took {1 / usual:.1f} frames per second: expected fps of at most that, '
            f'not {fps:g}'
        )


def refuse_gap(stamps: np.ndarray, drive: np.ndarray) -> None:
    """Refuse frames between which nothing is known for more than LONGEST_GAP.

    Args:
        stamps: int64 [N], of frames, ns, increasing.
        drive: int64 [M], of every frame of the drive, to say where the gap is.

    Raises:
        BagError: if there is such a gap: it says where, and what to do.
    """
    gaps = np.diff(stamps) / _SECOND
    if len(gaps) and not gaps.max() <= LONGEST_GAP:
        place = int(np.argmax(gaps))
        after = (stamps[place] - drive[0]) / _SECOND
        raise BagError(
            f'no frame for {gaps[place]:.1f} s, {after:.3f} s after the first one: expected at '
            f'most {LONGEST_GAP:g} s; was a clock set? Take a part without it (vla bag trim)'
        )
