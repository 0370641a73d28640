"""Write a LeRobotDataset of version 3 that the library `lerobot` opens.

Shape legend: T frames of an episode, D axes, S size of the state vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
import pyarrow as pa
from pyarrow import parquet

from vla_learning.data.episodes import CLOSED, GRIPPER
from vla_learning.data.errors import DataError
from vla_learning.data.lerobot_tables import ACTION, DRIVES, OURS, STATE
from vla_learning.data.statistics import Accumulator
from vla_learning.data.video import check_video_sizes, write_video

VERSION = 'v3.0'
_PATTERN = 'chunk-{chunk_index:03d}/file-{file_index:03d}'
#: Limits that the format states: files of a folder, and MB after which a new file begins.
_CHUNK, _DATA_MB, _VIDEO_MB = 1000, 100, 200
_QUANTILES = {'q01': 0.01, 'q10': 0.1, 'q50': 0.5, 'q90': 0.9, 'q99': 0.99}
#: For the statistics of pictures: this many of an episode, every so many-th pixel.
_STATISTICS_PICTURES, _STATISTICS_STRIDE = 16, 4
_SCALARS = {
    'timestamp': pa.float32(),
    'frame_index': pa.int64(),
    'episode_index': pa.int64(),
    'index': pa.int64(),
    'task_index': pa.int64(),
}


class LeRobotWriter:
    """Writes episodes one after the other; nothing is a data set before `finish`.

    A gripper in it is 0 open to 1 closed, as everywhere here.

    Args:
        folder: an empty folder.
        fps: frames per second.
        axes: D names of the action.
        state_names: S names of the state vector; may be empty.
        cameras: (height, width) by name.
        video: pictures as H.264 video, small but lossy, instead of image files inside the table.

    Raises:
        DataError: if there are no frames per second, or a video would have an odd side.
    """

    def __init__(
        self,
        folder: Path,
        fps: float,
        axes: Sequence[str],
        state_names: Sequence[str],
        cameras: Mapping[str, tuple[int, int]],
        video: bool = False,
    ) -> None:
        if not fps > 0:
            raise DataError(f'{fps} frames per second: expected more than 0')
        if video:
            check_video_sizes(cameras)
        self._folder = folder
        self._fps = fps
        self._names = {ACTION: list(axes)} | ({STATE: list(state_names)} if state_names else {})
        self._cameras = {f'observation.images.{name}': size for name, size in cameras.items()}
        self._video = video
        self._tasks: dict[str, int] = {}
        self._rows: list[dict[str, Any]] = []
        self._drives: list[str] = []
        self._frames = 0
        self._file, self._bytes = 0, 0
        self._writer: parquet.ParquetWriter | None = None
        self._totals: dict[str, Accumulator] = {}

    def add(
        self,
        actions: np.ndarray,
        state: np.ndarray,
        texts: Sequence[str],
        pictures: Mapping[str, Sequence[bytes]],
        drive: str = '',
    ) -> None:
        """Write one episode.

        Args:
            actions: float [T, D].
            state: float [T, S].
            texts: T instructions.
            pictures: T RGB pictures by camera, each the bytes of an image file.
            drive: name of what the episode is a piece of; empty: of nothing. Pieces of one are
                not parted when some are kept back for validation.

        Raises:
            DataError: if a picture has not its camera's size.
        """
        episode, count = len(self._rows), len(texts)
        for text in texts:
            self._tasks.setdefault(text, len(self._tasks))
        frame = np.arange(count)
        columns: dict[str, np.ndarray] = {
            ACTION: actions.astype(np.float32),
            'timestamp': (frame / self._fps).astype(np.float32),
            'frame_index': frame,
            'episode_index': np.full(count, episode),
            'index': self._frames + frame,
            'task_index': np.array([self._tasks[text] for text in texts]),
        }
        if STATE in self._names:
            columns[STATE] = state.astype(np.float32)
        coded = {key: pictures[key.removeprefix('observation.images.')] for key in self._cameras}
        self._check_sizes(coded)
        self._write_table(columns, {} if self._video else coded)
        row: dict[str, Any] = {
            'episode_index': episode,
            'tasks': list(dict.fromkeys(texts)),
            'length': count,
            'data/chunk_index': self._file // _CHUNK,
            'data/file_index': self._file % _CHUNK,
            'dataset_from_index': self._frames,
            'dataset_to_index': self._frames + count,
        }
        if self._video:
            row |= self._write_videos(episode, coded)
        row |= self._statistics(columns, coded)
        self._rows.append(row | {'meta/episodes/chunk_index': 0, 'meta/episodes/file_index': 0})
        self._drives.append(drive or f'episode {episode}')
        self._frames += count

    def finish(self) -> None:
        """Close the tables and write meta/.

        Raises:
            DataError: if there was no episode.
        """
        if self._writer is None:
            raise DataError('no episode to write: expected at least one')
        self._writer.close()
        meta = self._folder / 'meta'
        episodes = meta / f'episodes/{_PATTERN.format(chunk_index=0, file_index=0)}.parquet'
        episodes.parent.mkdir(parents=True)
        parquet.write_table(pa.Table.from_pylist(self._rows), episodes)
        parquet.write_table(_tasks_table(self._tasks), meta / 'tasks.parquet')
        totals = {key: _summary(total, 'image' in key) for key, total in self._totals.items()}
        ours = {DRIVES: self._drives, GRIPPER: CLOSED}
        for name, value in (('info', self._info()), ('stats', totals), (OURS, ours)):
            (meta / f'{name}.json').write_text(json.dumps(value, indent=4), 'utf-8')

    def _check_sizes(self, pictures: Mapping[str, Sequence[bytes]]) -> None:
        for key, coded in pictures.items():
            for frame, data in enumerate(coded):
                with Image.open(io.BytesIO(data)) as picture:
                    found = (picture.height, picture.width)
                if found != self._cameras[key]:
                    raise DataError(
                        f'{key}: frame {frame} is a picture of {found}: '
                        f'expected {self._cameras[key]}'
                    )

    def _write_table(
        self, columns: Mapping[str, np.ndarray], pictures: Mapping[str, Sequence[bytes]]
    ) -> None:
        arrays: dict[str, pa.Array] = {
            key: pa.array(
                [{'bytes': data, 'path': f'frame-{n:06d}'} for n, data in enumerate(coded)],
                pa.struct({'bytes': pa.binary(), 'path': pa.string()}),
            )
            for key, coded in pictures.items()
        }
        for key in (*self._names, *_SCALARS):
            values = columns[key]
            if key in _SCALARS or values.shape[1] == 1:  # the format has no lists of length 1
                arrays[key] = pa.array(values.reshape(-1), _SCALARS.get(key, pa.float32()))
            else:
                arrays[key] = pa.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1])
        table = pa.table(arrays)
        if self._writer is not None and self._bytes + table.nbytes > _DATA_MB << 20:
            self._writer.close()
            self._writer, self._file, self._bytes = None, self._file + 1, 0
        if self._writer is None:
            path = self._folder / f'data/{_place(self._file)}.parquet'
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = parquet.ParquetWriter(path, table.schema, use_dictionary=False)
        self._writer.write_table(table)  # a row group of its own: read alone
        self._bytes += table.nbytes

    def _write_videos(
        self, episode: int, pictures: Mapping[str, Sequence[bytes]]
    ) -> dict[str, Any]:
        """Write a video per camera, a file per episode, and return where they are."""
        row: dict[str, Any] = {}
        for key, coded in pictures.items():
            path = self._folder / f'videos/{key}/{_place(episode)}.mp4'
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, _decoded(coded), self._fps)
            row |= {
                f'videos/{key}/chunk_index': episode // _CHUNK,
                f'videos/{key}/file_index': episode % _CHUNK,
                f'videos/{key}/from_timestamp': 0.0,
                f'videos/{key}/to_timestamp': len(coded) / self._fps,
            }
        return row

    def _statistics(
        self, columns: Mapping[str, np.ndarray], pictures: Mapping[str, Sequence[bytes]]
    ) -> dict[str, Any]:
        """Add the episode to the totals; return its own statistics as columns."""
        values = {key: column.reshape(len(column), -1) for key, column in columns.items()}
        for key, coded in pictures.items():
            chosen = np.linspace(0, len(coded) - 1, min(len(coded), _STATISTICS_PICTURES))
            sample = _decoded([coded[int(n)] for n in chosen])
            stride = slice(None, None, _STATISTICS_STRIDE)
            values[key] = np.concatenate([p[stride, stride].reshape(-1, 3) / 255 for p in sample])
        row: dict[str, Any] = {}
        for key, rows in values.items():
            axes = [str(n) for n in range(rows.shape[1])]
            own = Accumulator(axes)
            for accumulator in (own, self._totals.setdefault(key, Accumulator(axes))):
                accumulator.add(rows)
            row |= {f'stats/{key}/{k}': v for k, v in _summary(own, key in self._cameras).items()}
        return row

    def _info(self) -> dict[str, Any]:
        whole = float(self._fps).is_integer()
        features: dict[str, Any] = {
            key: {
                'dtype': 'video' if self._video else 'image',
                'shape': [*size, 3],
                'names': ['height', 'width', 'channels'],
            }
            for key, size in self._cameras.items()
        }
        for key, names in self._names.items():
            features[key] = {'dtype': 'float32', 'shape': [len(names)], 'names': names}
        for key, kind in _SCALARS.items():
            features[key] = {'dtype': _NUMPY[kind], 'shape': [1], 'names': None}
        return {
            'codebase_version': VERSION,
            'robot_type': None,
            'total_episodes': len(self._rows),
            'total_frames': self._frames,
            'total_tasks': len(self._tasks),
            'chunks_size': _CHUNK,
            'data_files_size_in_mb': _DATA_MB,
            'video_files_size_in_mb': _VIDEO_MB,
            'fps': int(self._fps) if whole else self._fps,
            'splits': {'train': f'0:{len(self._rows)}'},
            'data_path': f'data/{_PATTERN}.parquet',
            'video_path': f'videos/{{video_key}}/{_PATTERN}.mp4' if self._video else None,
            'features': features,
        }


_NUMPY = {pa.float32(): 'float32', pa.int64(): 'int64'}


def _decoded(coded: Iterable[bytes]) -> Iterable[np.ndarray]:
    for data in coded:
        with Image.open(io.BytesIO(data)) as picture:
            yield np.array(picture.convert('RGB'))


def _place(number: int) -> str:
    return _PATTERN.format(chunk_index=number // _CHUNK, file_index=number % _CHUNK)


def _summary(total: Accumulator, picture: bool) -> dict[str, Any]:
    """Return statistics in the format's shape: a list per axis; for pictures [3, 1, 1]."""
    whole = total.finish()
    found = {name: np.array(getattr(whole, name)) for name in ('min', 'max', 'mean', 'std')}
    found |= zip(_QUANTILES, total.quantiles(tuple(_QUANTILES.values())), strict=True)
    shape = (-1, 1, 1) if picture else (-1,)
    values = {name: value.reshape(shape).tolist() for name, value in found.items()}
    return values | {'count': [whole.count]}


def _tasks_table(tasks: Mapping[str, int]) -> pa.Table:
    """Make the table that pandas reads as: index = instruction, column = task_index."""
    index = '__index_level_0__'
    number, text = (
        {'name': name, 'field_name': field, 'pandas_type': kind, 'numpy_type': raw}
        for name, field, kind, raw in (
            ('task_index', 'task_index', 'int64', 'int64'),
            (None, index, 'unicode', 'object'),
        )
    )
    description = {
        'index_columns': [index],
        'column_indexes': [],
        'columns': [number | {'metadata': None}, text | {'metadata': None}],
        'pandas_version': '2.0.0',
    }
    table = pa.table({'task_index': list(tasks.values()), index: list(tasks)})
    return table.replace_schema_metadata({'pandas': json.dumps(description)})
