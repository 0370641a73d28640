"""A recording: every column of every frame in memory, pictures read when they are asked for.

Shape legend: F frames, E episodes, T frames of one episode, D axes, S size of the state vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
import io
from pathlib import Path

import numpy as np
from PIL import Image

from vla_core.types import NATIVE_AXES, POSITION
from vla_learning.data.errors import DataError, Problem, Problems

#: The axis that is a position, and what its 1 means here and may mean elsewhere.
GRIPPER, CLOSED, OPEN = 'gripper', 'closed', 'open'

#: Of pictures; Pillow's other decoders are not for files from elsewhere.
_FORMATS = ('PNG', 'JPEG', 'WEBP', 'BMP')


@dataclass(frozen=True)
class Episode:
    """One run, without its pictures.

    Attributes:
        name: which one it is in its data set, for people.
        actions: float32 [T, D]; rows that are not good may hold anything.
        text: T instructions; empty where nobody wrote one.
        good: bool [T], False for frames that are left out.
        state: float32 [T, S].
    """

    name: str
    actions: np.ndarray
    text: tuple[str, ...]
    good: np.ndarray
    state: np.ndarray


class Recording(ABC):
    """Episodes of one data set, frame after frame. Can be sent to other processes.

    Args:
        path: file or folder of the data set.
        files: every file that belongs to it.
        cameras: names of the pictures that every frame has.
        axes: D names of the action.
        state_names: S names of the state vector.
        fps: frames per second; None where the format does not say.
        episodes: E of them, in order.
        problems: what was left out so far.

    Raises:
        DataError: if there is no frame: it shows the first problems.

    Attributes:
        actions: float32 [F, D].
        state: float32 [F, S].
        texts: distinct instructions.
        text: int64 [F], which of them.
        good: bool [F].
        first: int64 [E + 1], frame with which each episode begins; at the end F.
        names: E names.
        one_gripper: what 1 means of a gripper, `closed` or `open`; empty: nobody says.
        drives: E names of what an episode is a piece of; its own, where it is one of nothing.
    """

    one_gripper = CLOSED

    def __init__(
        self,
        path: Path,
        files: Sequence[Path],
        cameras: Sequence[str],
        axes: Sequence[str],
        state_names: Sequence[str],
        fps: float | None,
        episodes: Sequence[Episode],
        problems: Problems,
    ) -> None:
        self.path = path
        self.files = tuple(files)
        self.cameras = tuple(cameras)
        self.axes = tuple(axes)
        self.state_names = tuple(state_names)
        self.fps = fps
        self.problems = problems
        self.names = tuple(episode.name for episode in episodes)
        self.drives = self.names
        self.first = np.cumsum([0, *(len(episode.text) for episode in episodes)])
        if not self.first[-1]:
            raise problems.all_bad(path.name)
        self.actions = np.concatenate([episode.actions for episode in episodes])
        self.state = np.concatenate([episode.state for episode in episodes])
        self.good = np.concatenate([episode.good for episode in episodes])
        texts: dict[str, int] = {}
        self.text = np.array(
            [texts.setdefault(text, len(texts)) for episode in episodes for text in episode.text]
        )
        self.texts = tuple(texts)

    def turn_gripper(self, one: str) -> None:
        """Bring a gripper to what it is everywhere here, 0 open to 1 closed, if there is one.

        Args:
            one: what its 1 means in the data set, `closed` or `open`; empty: what that says.

        Raises:
            DataError: if neither the data set nor the caller says it, or they do not agree.
        """
        said = self.one_gripper
        if GRIPPER not in self.axes:
            return
        if not one and not said:
            raise DataError(
                f'{self.path.name} does not say what 1 means of its gripper: expected gripper '
                f'(data.gripper), {CLOSED} or {OPEN}'
            )
        if one and said and one != said:
            raise DataError(
                f'gripper {one!r}: {self.path.name} says that 1 is a gripper that is {said}: '
                f'expected {said}, or nothing'
            )
        if (one or said) == CLOSED:
            return
        for values, names in ((self.actions, self.axes), (self.state, self.state_names)):
            if GRIPPER in names:
                column = names.index(GRIPPER)
                values[:, column] = 1.0 - values[:, column]

    @property
    def frames(self) -> int:
        """Number of frames, F."""
        return len(self.text)

    def episode_of(self, row: int) -> tuple[int, int]:
        """Return the episode that a frame belongs to, and its number therein."""
        episode = int(np.searchsorted(self.first, row, 'right')) - 1
        return episode, row - int(self.first[episode])

    @abstractmethod
    def fetch(self, row: int, camera: str) -> bytes | np.ndarray:
        """Return a frame's picture as it is stored.

        Returns:
            The bytes of an image file (PNG, JPEG, ...), or of a video's frame its pixels.

        Raises:
            DataError: if it cannot be read.
        """

    @abstractmethod
    def place(self, row: int) -> tuple[str, str]:
        """Say in which file, and where in it, a frame is."""

    def image(self, row: int, camera: str) -> np.ndarray:
        """Return a frame's picture, uint8 [height, width, 3].

        Raises:
            DataError: if it cannot be read or decoded.
        """
        return self.pixels(row, camera, self.fetch(row, camera))

    def pixels(self, row: int, camera: str, data: bytes | np.ndarray) -> np.ndarray:
        """Decode what `fetch` gave; unlike it, safe in several threads at once.

        Raises:
            DataError: if it is no picture.
        """
        if isinstance(data, np.ndarray):
            return data
        try:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
                return np.array(picture.convert('RGB'))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            found = f'undecodable ({len(data)} bytes)'
            raise self.bad(row, camera, found, 'a picture') from error

    def bad(self, row: int, field: str, found: object, expected: str) -> DataError:
        """Return the error for a field of a frame."""
        file, index = self.place(row)
        return DataError(Problem(file, index, field, str(found), expected))


def check_finite(
    name: str,
    values: np.ndarray,
    axes: Sequence[str],
    file: str,
    index: str,
    problems: Problems,
) -> np.ndarray:
    """Note every number that is not finite; return bool [T], the frames that are fine.

    Args:
        name: of the vector, for the message.
        values: float [T, D].
        axes: D names.
        file: for the message.
        index: for the message, with `{}` where the frame's number goes.
        problems: where they are noted.
    """
    finite = np.isfinite(values)
    for frame, axis in zip(*np.nonzero(~finite), strict=True):
        found, field = values[frame, axis], f'{name}[{axes[axis]}]'
        problems.add(file, index.format(frame), field, found, 'a finite number')
    return finite.all(axis=1)


def unit_of(axis: str, representation: str = 'VELOCITY') -> str:
    """SI unit of an axis, by the names of the native ones; empty for an axis of another name."""
    per = '/s' if representation == 'VELOCITY' else ''
    units = {'linear': f'm{per}', 'angular': f'rad{per}', GRIPPER: POSITION}
    return units.get(axis.partition('.')[0], '')


def axis_names(size: int, names: Sequence[str] | None = None) -> tuple[str, ...]:
    """Name axes: as the data set does, else as the seven native ones, else by number."""
    if names and len(names) == size and len(set(names)) == size:
        return tuple(names)
    return NATIVE_AXES if size == len(NATIVE_AXES) else tuple(f'axis_{n}' for n in range(size))
