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

from vla_core.errors import ObservationError, VlaError
from vla_core.types import NATIVE_AXES
from vla_replay.bag.reader import BagReader
from vla_replay.bag.topics import INSTRUCTION, LABEL
from vla_replay.conversion.alignment import choose_frames, LATE, Segment, Series
from vla_replay.conversion.drive import CHUNKS, COMMAND_AGE, Drive, ODOM_AGE, STATE_NAMES
from vla_replay.errors import BagError
from vla_replay.options import ToDataset
from vla_replay.schedule import COMPRESSED, IMAGE

if TYPE_CHECKING:
    from vla_learning.data.lerobot_write import LeRobotWriter

#: How a demonstration may have ended that is worth learning from; empty: nobody has said.
_GOOD = ('', 'DONE', 'success')
#: s by which frames of several cameras may differ that make one observation (`slot_tolerance`).
SET_AGE = 0.02
#: s for which a robot that stands at the end is shown, once the gate has stopped it.
LONGEST_REST = 3.0
#: Name of the pictures in the data set: the slot that policies know.
_CAMERA = 'front'


@dataclass
class Tally:
    """What became of the drives.

    Attributes:
        episodes: written.
        frames: written.
        left_out: reason -> how many.
        odometry: whether the episodes have any, else their state is zeros; None: no episode yet.
    """

    episodes: int = 0
    frames: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    odometry: bool | None = None

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
        BagError: if the folder exists or cannot be made or written, a bag lacks what is needed,
            only some of the bags have odometry, or nothing is left.
    """
    if options.dest.exists():
        raise BagError(f'{options.dest} exists: expected a new folder')
    try:
        from vla_learning.data.lerobot_write import LeRobotWriter
    except ImportError as error:
        raise BagError(f'{error}: data sets need what make setup-train installs') from None
    draft = _draft(options.dest)
    tally = Tally()
    writer: LeRobotWriter | None = None
    try:
        for path in options.bags:
            for episode in _read(path, options, tally, note):
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
                try:
                    writer.add(
                        episode.actions,
                        episode.state,
                        [episode.text] * len(episode.actions),
                        {_CAMERA: episode.pictures},
                        f'{path.name} {episode.began_ns}',
                    )
                except VlaError as error:
                    raise BagError(f'{path}: {error}') from error
                tally.episodes += 1
                tally.frames += len(episode.actions)
        if writer is None:
            raise BagError(f'no episode in {list(map(str, options.bags))}: {_why(tally.left_out)}')
        writer.finish()
        draft.chmod(0o755)  # mkdtemp's folders are the owner's alone
        draft.rename(options.dest)
    except OSError as error:
        raise BagError(f'{options.dest}: {error}: expected a folder that can be written') from (
            error
        )
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return tally


def _draft(dest: Path) -> Path:
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f'.{dest.name}.', dir=dest.parent))
    except OSError as error:
        raise BagError(f'{dest}: {error.strerror}: expected a folder that can be made') from error


def _read(
    path: Path, options: ToDataset, tally: Tally, note: Callable[[str], None]
) -> list[_Episode]:
    """Return the episodes of a bag.

    Raises:
        BagError: if it lacks what is needed: it names the bag.
    """
    try:
        with BagReader(path) as bag:
            for problem in bag.problems:
                note(f'{path}: {problem}')
            if {INSTRUCTION, LABEL} & set(bag.custom) and not _has_frames(bag):
                # One demonstration of many whose camera was silent.
                tally.leave_out('bag without a frame')
                note(f'{path}: no frame in it: left out')
                return []
            drive = Drive(bag, options.camera, options.actions)
            held = _Held(
                drive.actions(options.actions, options.policy),
                drive.odometry(),
                drive.obedience(),
            )
            episodes = _episodes(drive, held, options, tally)
            if episodes:
                _take_odometry(path, len(held.odometry.stamps) > 0, tally)
                count = sum(len(episode.actions) for episode in episodes)
                if not tally.odometry:
                    note(f'{path}: no odometry in it: the state of its {count} frames is zeros')
                if options.actions != CHUNKS and not len(drive.gripper().stamps):
                    note(f'{path}: no gripper in it: it is 0, open, in its {count} frames')
            return episodes
    except BagError as error:
        text = str(error)
        raise BagError(text if text.startswith(str(path)) else f'{path}: {text}') from error


def _has_frames(bag: BagReader) -> bool:
    return any(one.count for one in bag.topics.values() if one.type in (IMAGE, COMPRESSED))


def _take_odometry(path: Path, there: bool, tally: Tally) -> None:
    """Note whether a bag has odometry; refuse one that differs in that from those before it."""
    if tally.odometry is None:
        tally.odometry = there
    if there is not tally.odometry:
        here, before = ('some', 'none') if there else ('none', 'some')
        raise BagError(
            f'{path}: odometry: {here}, and {before} in the bags before it: expected all or none '
            'of the bags of a data set to have it'
        )


@dataclass(frozen=True)
class _Held:
    """What held while frames were taken.

    Attributes:
        actions: velocities, gripper last, D = 7.
        odometry: m/s, rad/s; empty: the bag has none.
        gate: whether it obeyed, whether it stood as a person wanted; empty: the bag has no gate.
    """

    actions: Series
    odometry: Series
    gate: Series

    def intervened(self, stamps: np.ndarray, segment: Segment) -> np.ndarray:
        """Say for which frames, bool [T], the gate obeyed neither policy nor person.

        Where a person stands at the end of a segment, that is what he shows; a pause on the way
        is nothing, nor is what comes long after the end.

        Args:
            stamps: int64 [T], ns.
            segment: in which they are.
        """
        if not len(self.gate.stamps):
            return np.zeros(len(stamps), dtype=bool)
        obeyed, rests = self.gate.at(stamps, COMMAND_AGE).T
        told = self.actions.stamps
        inside = (told >= segment.begin_ns) & (told < segment.end_ns)
        moving = told[inside & np.nan_to_num(self.actions.values[:, :-1]).any(axis=1)]
        stood = (stamps - moving[-1]) * 1e-9 if len(moving) else np.zeros(len(stamps))
        return ~((obeyed == 1.0) | ((stood > 0.0) & (stood <= LONGEST_REST) & (rests == 1.0)))


@dataclass(frozen=True)
class _Episode:
    began_ns: int
    text: str
    actions: np.ndarray
    state: np.ndarray
    pictures: list[bytes]


def _episodes(drive: Drive, held: _Held, options: ToDataset, tally: Tally) -> list[_Episode]:
    chosen: list[tuple[Segment, np.ndarray]] = []
    usable = np.ones(len(drive.stamps), dtype=bool)
    if options.actions == CHUNKS:
        usable = _answered(drive.stamps, held.actions, options.fps)
    for segment in drive.segments(options.instruction):
        if segment.end not in _GOOD and not options.failures:
            tally.leave_out(f'episode that ended {segment.end}')
            continue
        runs = choose_frames(drive.stamps, segment, options.fps, usable)
        inside = (drive.stamps >= segment.begin_ns) & (drive.stamps < segment.end_ns)
        if (inside & ~usable).any():
            tally.leave_out('frame that the policy did not answer', int((inside & ~usable).sum()))
        if not runs:
            tally.leave_out('episode without a frame')
        chosen += [(segment, run) for run in runs]
    wanted = {int(drive.stamps[index]) for _, run in chosen for index in run}
    pictures = _pictures(drive, wanted, tally)
    episodes = []
    for segment, run in chosen:
        episodes += _cut(segment, drive.stamps[run], held, pictures, tally)
    long = [episode for episode in episodes if len(episode.actions) >= options.shortest]
    if len(long) < len(episodes):
        tally.leave_out(f'episode below {options.shortest} frames', len(episodes) - len(long))
    return long


def _answered(stamps: np.ndarray, answers: Series, fps: float) -> np.ndarray:
    """Return which frames the policy answered, bool [N].

    A busy policy skips frames: what it answered to an earlier one is no answer to these. Of
    several cameras an answer has the stamp of the frame that came first.

    Raises:
        BagError: if they are too few for `fps`.
    """
    others = np.setdiff1d(answers.stamps, stamps)
    beside = Series(others, np.zeros((len(others), 1))).at(stamps, SET_AGE)
    answered = np.isin(stamps, answers.stamps) | np.isfinite(beside[:, 0])
    gap = 1e-9 * float(np.median(np.diff(stamps[answered]))) if answered.sum() > 1 else 0.0
    if gap * fps > LATE:
        raise BagError(
            f'the policy answered {1 / gap:.1f} frames per second: expected '
            f'fps of at most that, not {fps:g}, or actions of a topic'
        )
    return answered


def _cut(
    segment: Segment,
    stamps: np.ndarray,
    held: _Held,
    pictures: Mapping[int, bytes],
    tally: Tally,
) -> list[_Episode]:
    """Return the usable frames of a run; what interrupts it begins an episode of its own."""
    moves = held.actions.at(stamps, COMMAND_AGE)
    state = np.zeros((len(stamps), len(STATE_NAMES)))
    if len(held.odometry.stamps):
        state = held.odometry.at(stamps, ODOM_AGE)
    fine = np.array([int(stamp) in pictures for stamp in stamps])
    intervened = held.intervened(stamps, segment)
    for reason, bad in (
        ('frame at which the gate let nobody drive', intervened),
        ('frame without a command', ~np.isfinite(moves).all(axis=1)),
        ('frame without odometry', ~np.isfinite(state).all(axis=1)),
    ):
        if (fine & bad).any():
            tally.leave_out(reason, int((fine & bad).sum()))
        fine &= ~bad
    pieces = np.split(np.arange(len(stamps)), np.flatnonzero(~fine))
    runs, begun = [], False
    for number, piece in enumerate(pieces):
        if number and intervened[piece[0]]:
            begun = False
        run = piece[1:] if number else piece
        # Whoever was driving goes on behind a frame that is broken, but begins behind the gate.
        run = run if begun else _from_first_movement(run, moves, tally)
        begun |= len(run) > 0
        runs.append(run)
    return [
        _Episode(
            segment.begin_ns,
            segment.text,
            moves[run].astype(np.float32),
            state[run].astype(np.float32),
            [pictures[int(stamp)] for stamp in stamps[run]],
        )
        for run in runs
        if len(run)
    ]


def _from_first_movement(run: np.ndarray, moves: np.ndarray, tally: Tally) -> np.ndarray:
    """Return a run, int64 [T], without what comes before the first command that does something.

    A person who has not begun yet shows nothing, least of all that the answer is to stand still.
    """
    same_gripper = moves[run, -1] == moves[run[:1], -1]
    rests = ~moves[run, :-1].any(axis=1) & same_gripper
    count = len(run) if rests.all() else int(np.argmin(rests))
    if count:
        tally.leave_out('frame at rest before the first movement', count)
    return run[count:]


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
