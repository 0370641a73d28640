"""Read a LeRobotDataset of version 3: Parquet tables, pictures inside them or as video.

Written from files that the library `lerobot` 0.4.4 made; the tests read such files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
from pyarrow import parquet

from vla_learning.data.episodes import axis_names, check_finite, Episode, Recording
from vla_learning.data.errors import DataError, Problems
from vla_learning.data.lerobot_tables import (
    ACTION,
    file_name,
    inside_or_error,
    line,
    names,
    read_episodes,
    READ_ERRORS,
    read_info,
    read_ours,
    read_tasks,
    STATE,
    Tables,
    width,
)
from vla_learning.data.video import VideoFile

#: Video files kept open.
_OPEN_VIDEOS = 8


class LeRobotRecording(Recording):
    """Episodes of a folder with meta/info.json.

    Args:
        path: the folder.
        problems: where bad episodes and frames are noted.

    Raises:
        DataError: if the folder is no LeRobotDataset v3, or something in it is bad and not to be
            skipped.
    """

    def __init__(self, path: Path, problems: Problems) -> None:
        self._info = info = read_info(path)
        features = info['features']
        self._keys = {
            key.removeprefix('observation.images.'): key
            for key, feature in features.items()
            if feature['dtype'] in ('image', 'video')
        }
        tasks = read_tasks(path / 'meta/tasks.parquet')
        axes = axis_names(width(info, ACTION), names(info, ACTION))
        state_names = axis_names(width(info, STATE), names(info, STATE))
        tables = Tables(path, info, problems)
        episodes = []
        self._rows: list[tuple[str, int]] = []  # data file, and first row therein, per episode
        self._meta: list[dict[str, Any]] = []
        times = [np.empty(0)]
        for meta in read_episodes(path, int(info.get('total_episodes', -1)), problems):
            part = tables.episode(meta)
            if part is None:
                continue
            index = f'episode {meta["episode_index"]}'
            where = (part.file, f'{index} frame {{}}', problems)
            good = check_finite('action', part.action, axes, *where)
            good &= check_finite('state', part.state, state_names, *where)
            self._rows.append((part.file, part.first))
            self._meta.append(meta)
            times.append(part.time)
            good &= _check_tasks(part.task, tasks, *where)
            text = tuple(tasks.get(task, '') for task in part.task.tolist())
            episodes.append(Episode(index, part.action, text, good, part.state))
        self._times = np.concatenate(times)
        self._drop_handles()
        files = sorted(file for file in path.rglob('*') if file.is_file())
        super().__init__(
            path,
            files,
            tuple(self._keys),
            axes,
            state_names,
            float(info['fps']),
            episodes,
            problems,
        )
        numbers = [int(meta['episode_index']) for meta in self._meta]
        self.drives, self.one_gripper = read_ours(path, numbers)

    def fetch(self, row: int, camera: str) -> bytes | np.ndarray:
        """Return the bytes of a frame's picture, of a video's its pixels."""
        if self._info['features'][self._keys[camera]]['dtype'] == 'video':
            return self._video_frame(row, camera)
        episode, frame = self.episode_of(row)
        file, first = self._rows[episode]
        try:
            data = self._column(file, first + frame, self._keys[camera])
        except READ_ERRORS as error:
            raise self.bad(row, camera, line(error), 'a picture in Parquet') from error
        if data is None:
            raise self.bad(row, camera, 'missing', 'the bytes of a picture')
        return data

    def place(self, row: int) -> tuple[str, str]:
        """Say which frame of which episode a frame is."""
        episode, frame = self.episode_of(row)
        return self._rows[episode][0], f'{self.names[episode]} frame {frame}'

    def _video_frame(self, row: int, camera: str) -> np.ndarray:
        key, meta = self._keys[camera], self._meta[self.episode_of(row)[0]]
        try:
            file = file_name(
                self._info['video_path'],
                video_key=key,
                chunk_index=meta[f'videos/{key}/chunk_index'],
                file_index=meta[f'videos/{key}/file_index'],
            )
            time = meta[f'videos/{key}/from_timestamp'] + self._times[row]
            return self._video(file).picture(time)
        except (av.FFmpegError, LookupError, DataError, *READ_ERRORS) as error:
            raise self.bad(row, camera, line(error), 'a picture in a video') from error

    def _video(self, name: str) -> VideoFile:
        if name not in self._videos or not self._videos[name].usable():
            if len(self._videos) >= _OPEN_VIDEOS:
                self._videos.clear()
            self._videos[name] = VideoFile(
                inside_or_error(self.path, name), 0.4 / self._info['fps']
            )
        return self._videos[name]

    def _column(self, name: str, row: int, key: str) -> bytes | None:
        """Return the bytes of one picture; its row group stays in memory for the next."""
        if (name, key) != self._group_of or not self._group_first <= row < self._group_end:
            with parquet.ParquetFile(inside_or_error(self.path, name)) as file:
                counts = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
                ends = np.cumsum(counts)
                number = int(np.searchsorted(ends, row, 'right'))
                self._group = file.read_row_group(number, [key]).column(key)
            self._group_of = (name, key)
            self._group_first, self._group_end = int(ends[number]) - counts[number], ends[number]
        return self._group[row - self._group_first].as_py()['bytes']

    def _drop_handles(self) -> None:
        self._videos: dict[str, VideoFile] = {}
        self._group: Any = None
        self._group_of, self._group_first, self._group_end = ('', ''), 0, 0

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is open or only remembered."""
        state = self.__dict__.copy()
        for name in ('_videos', '_group', '_group_of', '_group_first', '_group_end'):
            del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._drop_handles()


def _check_tasks(
    numbers: np.ndarray, tasks: dict[int, str], file: str, index: str, problems: Problems
) -> np.ndarray:
    """Note every frame whose task is not in the table; return bool [T], the frames that are fine.

    Args:
        numbers: int64 [T].
        tasks: instruction by number.
        file: for the message.
        index: for the message, with `{}` where the frame's number goes.
        problems: where they are noted.
    """
    known = np.array([number in tasks for number in numbers.tolist()])
    for frame in np.flatnonzero(~known).tolist():
        expected = f'one of the {len(tasks)} of meta/tasks.parquet'
        problems.add(file, index.format(frame), 'task_index', numbers[frame], expected)
    return known
