"""`vla bag to-dataset`: drives become a LeRobotDataset v3 for vla-learn and lerobot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
import io
from pathlib import Path
import shutil
import tempfile
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from vla_core.errors import ObservationError
from vla_core.types import NATIVE_AXES
from vla_replay.bag.reader import BagReader
from vla_replay.conversion.alignment import choose_frames, Segment, Series
from vla_replay.conversion.drive import COMMAND_AGE, Drive, ODOM_AGE, STATE_NAMES
from vla_replay.errors import BagError
from vla_replay.options import ToDataset

if TYPE_CHECKING:
    from vla_learning.data.lerobot_write import LeRobotWriter

#: How a demonstration may have ended that is worth learning from; empty: nobody has said.
_GOOD = ('', 'DONE', 'success')
#: Name of the pictures in the data set: the slot that policies know.
_CAMERA = 'front'


@dataclass
class Tally:
    """What became of the drives.

    Attributes:
        episodes: written.
        frames: written.
        left_out: reason -> how many.
    """

    episodes: int = 0
    frames: int = 0
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, reason: str, count: int = 1) -> None:
        """Count what is not in the data set."""
        self.left_out[reason] = self.left_out.get(reason, 0) + count


def to_dataset(options: ToDataset, note: Callable[[str], None]) -> Tally:
    """Write a data set; the folder appears when it is complete.

    Args:
        options: which bags, and how.
        note: takes what a person should know.

    Returns:
        What is in it and what is not.

    Raises:
        BagError: if the folder exists, a bag lacks what is needed, or nothing is left.
    """
    if options.dest.exists():
        raise BagError(f'{options.dest} exists: expected a new folder')
    try:
        from vla_learning.data.lerobot_write import LeRobotWriter
    except ImportError as error:
        raise BagError(f'{error}: data sets need what make setup-train installs') from None
    options.dest.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f'.{options.dest.name}.', dir=options.dest.parent))
    tally = Tally()
    writer: LeRobotWriter | None = None
    try:
        for path in options.bags:
            with BagReader(path) as bag:
                for problem in bag.problems:
                    note(f'{path}: {problem}')
                drive = Drive(bag, options.camera)
                for episode in _episodes(drive, options, tally):
                    if writer is None:
                        size = _size(episode.pictures[0])
                        writer = LeRobotWriter(
                            draft,
                            options.fps,
                            NATIVE_AXES,
                            STATE_NAMES,
                            {_CAMERA: size},
                            options.video,
                        )
                    writer.add(
                        episode.actions,
                        episode.state,
                        [episode.text] * len(episode.actions),
                        {_CAMERA: episode.pictures},
                    )
                    tally.episodes += 1
                    tally.frames += len(episode.actions)
        if writer is None:
            raise BagError(f'no episode in {list(map(str, options.bags))}: {_why(tally.left_out)}')
        writer.finish()
        draft.chmod(0o755)  # mkdtemp's folders are the owner's alone
        draft.rename(options.dest)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return tally


@dataclass(frozen=True)
class _Episode:
    text: str
    actions: np.ndarray
    state: np.ndarray
    pictures: list[bytes]


def _episodes(drive: Drive, options: ToDataset, tally: Tally) -> list[_Episode]:
    actions, odometry = drive.actions(options.actions), drive.odometry()
    chosen: list[tuple[Segment, np.ndarray]] = []
    for segment in drive.segments(options.instruction):
        if segment.end not in _GOOD and not options.failures:
            tally.leave_out(f'episode that ended {segment.end}')
            continue
        runs = choose_frames(drive.stamps, segment, options.fps)
        if not runs:
            tally.leave_out('episode without a frame')
        chosen += [(segment, run) for run in runs]
    wanted = {int(drive.stamps[index]) for _, run in chosen for index in run}
    pictures = _pictures(drive, wanted, tally)
    episodes = []
    for segment, run in chosen:
        episodes += _cut(segment, drive.stamps[run], actions, odometry, pictures, tally)
    long = [episode for episode in episodes if len(episode.actions) >= options.shortest]
    if len(long) < len(episodes):
        tally.leave_out(f'episode below {options.shortest} frames', len(episodes) - len(long))
    return long


def _cut(
    segment: Segment,
    stamps: np.ndarray,
    actions: Series,
    odometry: Series,
    pictures: Mapping[int, bytes],
    tally: Tally,
) -> list[_Episode]:
    """Return the usable frames of a run; what interrupts it begins an episode of its own."""
    moves = actions.at(stamps, COMMAND_AGE)
    state = odometry.at(stamps, ODOM_AGE) if len(odometry.stamps) else np.zeros((len(stamps), 2))
    there = np.array([int(stamp) in pictures for stamp in stamps])
    fine = there & np.isfinite(moves).all(axis=1) & np.isfinite(state).all(axis=1)
    for reason, bad in (
        ('frame without a command', there & ~np.isfinite(moves).all(axis=1)),
        ('frame without odometry', there & ~np.isfinite(state).all(axis=1)),
    ):
        if bad.any():
            tally.leave_out(reason, int(bad.sum()))
    pieces = np.split(np.arange(len(stamps)), np.flatnonzero(~fine))
    runs = [piece[1:] if number else piece for number, piece in enumerate(pieces)]
    return [
        _Episode(
            segment.text,
            moves[run].astype(np.float32),
            state[run].astype(np.float32),
            [pictures[int(stamp)] for stamp in stamps[run]],
        )
        for run in runs
        if len(run)
    ]


def _pictures(drive: Drive, wanted: set[int], tally: Tally) -> dict[int, bytes]:
    """Return the chosen frames as RGB image files; JPEG and PNG stay as they are."""
    from vla_learning.data.video import encode_png

    found: dict[int, bytes] = {}
    for stamp, decode, coded in drive.pictures():
        if stamp not in wanted:
            continue
        try:
            pixels = decode()
        except ObservationError as error:
            tally.leave_out(f'frame that cannot be decoded: {error}')
            continue
        found[stamp] = coded if _is_rgb(coded) else encode_png(pixels)
    return found


def _is_rgb(coded: bytes) -> bool:
    if not coded:
        return False
    with Image.open(io.BytesIO(coded)) as picture:
        return picture.mode == 'RGB'


def _size(coded: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(coded)) as picture:
        return picture.height, picture.width


def _why(left_out: Mapping[str, int]) -> str:
    return ', '.join(f'{count} times {reason}' for reason, count in left_out.items()) or 'empty'
