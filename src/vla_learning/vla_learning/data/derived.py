"""What is computed once from a data set and kept beside it, in `<data set>.vla/`.

Everything in that folder can be deleted at any time. Shape legend: F frames.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
import hashlib
import json
import logging
import math
import os
from pathlib import Path
import shutil
from typing import Any

import numpy as np
from tqdm import tqdm

from vla_core.manifest import sha256
from vla_core.preprocess import resize
from vla_core.types import CameraSlot
from vla_learning.data.episodes import Recording
from vla_learning.data.errors import DataError
from vla_learning.data.statistics import Accumulator, Statistics

LOG = logging.getLogger(__name__)
#: Rows of actions taken at once, and pictures under way.
_ROWS, _PIECE = 65536, 64
#: Bytes of the disk that stay free.
_SPARE = 256 << 20


class Derived:
    """The folder beside a data set.

    Args:
        recording: the data set.
        folder: instead of the one beside it.

    Attributes:
        sha256: of the names and contents of all files of the data set, hex.
    """

    def __init__(self, recording: Recording, folder: Path | None = None) -> None:
        self.folder = _writable(recording.path, folder)
        try:
            content = self._once(
                'content', _stamp(recording), lambda: {'sha256': _content(recording)}
            )
        except OSError as error:
            raise DataError(
                f'{error.filename}: {error.strerror}: expected a readable file'
            ) from error
        self.sha256: str = content['sha256']
        # Another camera's pictures may make a row bad later; each camera's own list is of these.
        self._rows = np.flatnonzero(recording.good).tolist()
        # Which rows there are is the reader's choice: the same files, read otherwise, are others.
        rows = recording.first.tobytes() + np.packbits(recording.good).tobytes()
        self._key = f'{self.sha256} {hashlib.sha256(rows).hexdigest()}'

    def statistics(self, recording: Recording) -> Statistics:
        """Return the statistics of the good frames' actions.

        Raises:
            DataError: if no frame is good: it shows the first problems.
        """
        if not recording.good.any():
            raise recording.problems.all_bad(recording.path.name)

        def compute() -> dict[str, Any]:
            accumulator = Accumulator(recording.axes)
            for begin in range(0, recording.frames, _ROWS):
                piece = slice(begin, begin + _ROWS)
                accumulator.add(recording.actions[piece][recording.good[piece]])
            return accumulator.finish().dict()

        # Of the same files, what is read decides: which rows are good, which way a gripper is.
        read = hashlib.sha256(np.packbits(recording.good).tobytes() + recording.actions.tobytes())
        key = f'{self.sha256} {read.hexdigest()}'
        return Statistics.from_dict(self._once('statistics', key, compute))

    def check_pictures(self, recording: Recording, camera: str) -> None:
        """Decode every picture once ever; frames whose picture is bad are no longer good.

        Raises:
            DataError: if a picture is bad and not to be skipped.
        """
        found = self._once(
            f'pictures-{camera}',
            self._key,
            lambda: {'bad': _decode_all(recording, camera, self._rows, lambda row, image: None)},
        )
        _leave_out(recording, found['bad'])

    def frames(self, recording: Recording, camera: str, slot: CameraSlot) -> Path:
        """Bring every frame's picture to a slot's size, decoded and resized once ever.

        Returns:
            A file for np.load: uint8 [F, slot.height, slot.width, 3]; black where a picture is
            bad.

        Raises:
            DataError: if a picture is bad and not to be skipped.
        """
        key = f'{camera} {slot.width}x{slot.height} {slot.mode}'
        name = f'frames-{hashlib.sha256(f"{self.sha256} {key}".encode()).hexdigest()[:16]}'
        path = self.folder / f'{name}.npy'

        def make() -> dict[str, Any]:
            draft = path.with_suffix(f'.{os.getpid()}.draft')
            try:
                shape = (recording.frames, slot.height, slot.width, 3)
                self._need_room(math.prod(shape))
                frames = np.lib.format.open_memmap(draft, 'w+', np.uint8, shape)

                def keep(row: int, image: np.ndarray) -> None:
                    frames[row] = resize(image, slot)

                bad = _decode_all(recording, camera, self._rows, keep)
                frames.flush()
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
            return {'bad': bad}

        found = self._once(name, f'{self._key} {key}', make, there=path.is_file())
        _leave_out(recording, found['bad'])
        return path

    def _need_room(self, size: int) -> None:
        """Ask beforehand: a full disk under a memory map kills the process without a word."""
        free = shutil.disk_usage(self.folder).free
        if free < size + _SPARE:
            raise DataError(
                f'{self.folder}: {free >> 20} MiB free: expected {(size + _SPARE) >> 20} MiB for '
                'the frames (elsewhere with `derived`, or without `cache`)'
            )

    def report(self, recording: Recording) -> Path | None:
        """Write the list of what was left out; None if that is nothing."""
        path = self.folder / 'bad_records.json'
        if not recording.problems.found:
            path.unlink(missing_ok=True)
            return None
        _write(path, recording.problems.report())
        return path

    def _once(
        self, name: str, key: str, compute: Callable[[], dict[str, Any]], there: bool = True
    ) -> dict[str, Any]:
        """Return what was computed for the same key, or compute it and keep it."""
        path = self.folder / f'{name}.json'
        if there:
            try:
                kept = json.loads(path.read_text('utf-8'))
                if kept['key'] == key:
                    return kept['value']
            except (OSError, ValueError, KeyError, TypeError):
                LOG.debug('%s: computed anew', path)
        value = compute()
        _write(path, {'key': key, 'value': value})
        return value


def _decode_all(
    recording: Recording, camera: str, rows: list[int], keep: Callable[[int, np.ndarray], None]
) -> list[Any]:
    """Decode each row's picture, in order; return (row, problem) of those that cannot be.

    Reading is one thread's work (a video has one position), decoding that of all cores.
    """
    bad: list[Any] = []

    def work(row: int, data: bytes | np.ndarray) -> None:
        keep(row, recording.pixels(row, camera, data))

    with (
        ThreadPoolExecutor() as pool,
        tqdm(total=len(rows), desc=f'{recording.path.name}: decoding', disable=None) as bar,
    ):
        for begin in range(0, len(rows), _PIECE):
            jobs = []
            for row in rows[begin : begin + _PIECE]:
                try:
                    jobs.append((row, pool.submit(work, row, recording.fetch(row, camera))))
                except DataError as error:
                    _note(recording, bad, row, error)
            for row, job in jobs:
                try:
                    job.result()
                except DataError as error:
                    _note(recording, bad, row, error)
            bar.update(len(rows[begin : begin + _PIECE]))
    return bad


def _note(recording: Recording, bad: list[Any], row: int, error: DataError) -> None:
    if not recording.problems.skip or error.problem is None:
        raise error
    bad.append((row, asdict(error.problem)))


def _leave_out(recording: Recording, bad: list[Any]) -> None:
    """Mark frames as not good and list their problems."""
    for row, problem in bad:
        if recording.good[row]:
            recording.good[row] = False
            recording.problems.add(**problem)


def _stamp(recording: Recording) -> str:
    """Hash names, sizes and times of the files: changes whenever a content hash is due."""
    digest = hashlib.sha256()
    for file in recording.files:
        status = file.stat()
        digest.update(f'{file} {status.st_size} {status.st_mtime_ns}\n'.encode())
    return digest.hexdigest()


def _content(recording: Recording) -> str:
    root = recording.path if recording.path.is_dir() else recording.path.parent
    LOG.info('%s: SHA-256 of %d files', recording.path, len(recording.files))
    digest = hashlib.sha256()
    for file in recording.files:
        digest.update(f'{file.relative_to(root).as_posix()} {sha256(file)}\n'.encode())
    return digest.hexdigest()


def _writable(path: Path, folder: Path | None) -> Path:
    """Make the folder: the one asked for, else beside the data set, else in the user's cache."""
    beside = path.resolve()
    beside = beside.with_name(f'{beside.name}.vla')
    if folder is None and not os.access(beside if beside.is_dir() else beside.parent, os.W_OK):
        mark = hashlib.sha256(str(beside).encode()).hexdigest()[:8]
        home = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
        folder = Path(home) / 'vla_learning' / f'{beside.stem}-{mark}'
    folder = folder or beside
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f'{folder}: {error.strerror}: expected a folder to write to') from error
    return folder


def _write(path: Path, value: object) -> None:
    """Write JSON so that a reader finds the old or the new, never half of it."""
    draft = path.with_suffix(f'.{os.getpid()}.draft')
    draft.write_text(json.dumps(value, indent=1), 'utf-8')
    draft.replace(path)
