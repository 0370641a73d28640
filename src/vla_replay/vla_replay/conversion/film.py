"""`vla bag to-video`: what the camera saw, what was asked for, and what was done about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
import math

import numpy as np
from PIL import Image, ImageDraw

from vla_core.errors import ObservationError
from vla_core.gate.causes import Cause, State
from vla_replay.bag.reader import BagReader
from vla_replay.conversion.alignment import refuse_gap, Segment, Series
from vla_replay.conversion.drive import COMMAND_AGE, Drive
from vla_replay.errors import BagError
from vla_replay.options import ToVideo

#: Pixels: of the strip below the picture, of the smallest film.
_STRIP, _WIDTH = 72, 480
#: m/s and rad/s at which an arrow reaches its full length of pixels.
_FULL_SPEED, _FULL_TURN, _ARROW = 0.6, 1.2, 56
_WANTED, _DONE, _TEXT = (216, 160, 64), (96, 200, 120), (235, 235, 235)


def to_video(options: ToVideo) -> int:
    """Write the film; return the number of its pictures.

    Raises:
        BagError: if the film exists or cannot be written, the bag has no frames, none of them can
            be decoded, or none comes for LONGEST_GAP.
    """
    if options.dest.exists():
        raise BagError(f'{options.dest} exists: expected a new file')
    try:
        from vla_learning.data.video import write_video
    except ImportError as error:
        raise BagError(f'{error}: films need what make setup-train installs') from None
    if not 0.0 < options.fps < math.inf:
        raise BagError(f'fps is {options.fps}: expected a positive number')
    with BagReader(options.bag) as bag:
        drive = Drive(bag, options.camera)
        film = Film(drive)
        # The encoder opens the file with the first picture, and there may be none.
        draft = options.dest.with_name(f'.{options.dest.stem}.draft.mp4')
        try:
            options.dest.parent.mkdir(parents=True, exist_ok=True)
            count = write_video(draft, film.pictures(options.fps), options.fps)
            if not count:
                raise BagError(f'{options.bag}: no frame that can be decoded')
            draft.rename(options.dest)
        except OSError as error:
            raise BagError(f'{options.dest}: {error}: expected a film that can be written') from (
                error
            )
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
    return count


class Film:
    """Pictures of a drive at an even rate, with what is known of each moment."""

    def __init__(self, drive: Drive) -> None:
        """Read everything but the pictures."""
        self._drive = drive
        self._segments = _segments_or_none(drive)
        rows = list(decisions(drive))
        self._states = [label for _, label, _, _ in rows]
        self._wanted = Series.of(((stamp, wanted) for stamp, _, wanted, _ in rows), 2)
        self._done = Series.of(((stamp, done) for stamp, _, _, done in rows), 2)

    def pictures(self, fps: float) -> Iterator[np.ndarray]:
        """Yield uint8 [H, W, 3], even sides; a frame stays until the next one comes.

        Raises:
            BagError: if none comes for LONGEST_GAP.
        """
        refuse_gap(self._drive.stamps, self._drive.stamps)
        due = None
        shown: np.ndarray | None = None
        for stamp, decode, _ in self._drive.pictures():
            while due is not None and shown is not None and stamp > due:
                yield shown
                due += round(1e9 / fps)
            try:
                shown = self._drawn(decode(), stamp)
            except ObservationError:
                continue
            due = stamp if due is None else due
        if shown is not None:
            yield shown

    def _drawn(self, pixels: np.ndarray, stamp: int) -> np.ndarray:
        picture = Image.fromarray(pixels)
        scale = max(1, math.ceil(_WIDTH / picture.width))
        size = (picture.width * scale // 2 * 2, picture.height * scale // 2 * 2)
        picture = picture.resize(size, Image.Resampling.BILINEAR)
        canvas = Image.new('RGB', (size[0], size[1] + _STRIP))
        canvas.paste(picture, (0, 0))
        pen = ImageDraw.Draw(canvas)
        text = next((one.text for one in self._segments if one.begin_ns <= stamp < one.end_ns), '')
        seconds = (stamp - int(self._drive.stamps[0])) / 1e9
        pen.text((8, size[1] + 6), f'{seconds:6.2f} s   {text or "-"}', fill=_TEXT)
        index = int(np.searchsorted(self._done.stamps, stamp, side='right')) - 1
        if index >= 0:
            (wanted,) = self._wanted.at(np.array([stamp]), COMMAND_AGE)
            (done,) = self._done.at(np.array([stamp]), COMMAND_AGE)
            pen.text((8, size[1] + 24), self._states[index], fill=_TEXT)
            numbers = f'wanted {wanted[0]:+.2f} m/s {wanted[1]:+.2f} rad/s'
            pen.text((8, size[1] + 38), numbers, fill=_WANTED)
            numbers = f'done   {done[0]:+.2f} m/s {done[1]:+.2f} rad/s'
            pen.text((8, size[1] + 52), numbers, fill=_DONE)
            foot = (size[0] - 90, size[1] + _STRIP - 8)
            _arrow(pen, foot, wanted, _WANTED, 5)
            _arrow(pen, foot, done, _DONE, 2)
        return np.asarray(canvas)


def decisions(
    drive: Drive,
) -> Iterator[tuple[int, str, tuple[float, float], tuple[float, float]]]:
    """Yield stamp, ns, state and cause, and m/s, rad/s before and after the gate."""
    topic = drive.decisions()
    for stamp, msg in [] if topic is None else drive.messages(topic):
        cause = Cause(msg.cause)
        label = State(msg.state).name + ('' if cause is Cause.NONE else f' {cause.name}')
        wanted = (msg.wanted.linear.x, msg.wanted.angular.z)
        yield stamp, label, wanted, (msg.published.linear.x, msg.published.angular.z)


def _segments_or_none(drive: Drive) -> list[Segment]:
    try:
        return drive.segments()
    except BagError:
        return []  # a film needs no instruction


def _arrow(
    pen: ImageDraw.ImageDraw,
    foot: tuple[int, int],
    velocity: np.ndarray,
    colour: tuple[int, int, int],
    width: int,
) -> None:
    """Draw where a velocity leads: up is ahead, a turn to the left leans to the left."""
    if not np.isfinite(velocity).all():
        return
    ahead = float(np.clip(velocity[0] / _FULL_SPEED, -1.0, 1.0)) * _ARROW
    left = float(np.clip(velocity[1] / _FULL_TURN, -1.0, 1.0)) * _ARROW
    pen.line((*foot, foot[0] - left, foot[1] - ahead), fill=colour, width=width)
    pen.ellipse((foot[0] - 3, foot[1] - 3, foot[0] + 3, foot[1] + 3), outline=colour)
