"""Tables of a LeRobotDataset v3: meta/info.json, tasks, episodes, columns of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import json
from pathlib import Path
import re
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from vla_learning.data.episodes import CLOSED, GRIPPER, OPEN
from vla_learning.data.errors import DataError, inside, Problems

ACTION = 'action'
STATE = 'observation.state'
#: File of ours in meta/, for what the format does not know: of what drive each episode is a piece,
#: and what 1 means of a gripper.
OURS, DRIVES = 'vla', 'drives'
#: What pyarrow and reading a table with unexpected content raise.
READ_ERRORS = (pa.ArrowException, OSError, KeyError, ValueError, TypeError)


_EPISODE = frozenset({'episode_index', 'length', 'data/chunk_index', 'data/file_index'})
_FIELD = re.compile(r'\{(\w+)(?::0?(\d{1,2})d)?\}')


@dataclass(frozen=True)
class Part:
    """The columns of one episode of T frames.

    Attributes:
        file: in which they are, relative to the data set.
        first: row of the file with which they begin.
        action: float32 [T, D].
        state: float32 [T, S].
        time: float64 [T], s since the episode's beginning.
        task: int64 [T].
    """

    file: str
    first: int
    action: np.ndarray
    state: np.ndarray
    time: np.ndarray
    task: np.ndarray


class Tables:
    """Frames of the data files, one file in memory at a time.

    Args:
        path: folder of the data set.
        info: content of meta/info.json.
        problems: where files and episodes that cannot be used are noted.
    """

    def __init__(self, path: Path, info: dict[str, Any], problems: Problems) -> None:
        self._path = path
        self._info = info
        self._problems = problems
        self._sizes = {key: width(info, key) for key in (ACTION, STATE)}
        self._file = ''
        self._table: pa.Table | None = None
        self._episode: np.ndarray = np.empty(0, np.int64)

    def episode(self, meta: dict[str, Any]) -> Part | None:
        """Return the columns of an episode; None where it is left out.

        Args:
            meta: its row of the table of episodes.
        """
        index = f'episode {meta.get("episode_index")}'
        try:
            file = file_name(
                self._info['data_path'],
                chunk_index=meta['data/chunk_index'],
                file_index=meta['data/file_index'],
            )
        except (DataError, KeyError) as error:
            self._problems.add('meta/episodes', index, '', line(error), 'a chunk and a file index')
            return None
        if file != self._file:
            self._load(file)
        if self._table is None:
            return None
        rows = np.flatnonzero(self._episode == meta['episode_index'])
        if len(rows) != meta['length'] or not len(rows) or rows[-1] - rows[0] >= len(rows):
            expected = f'{meta["length"]} rows in a piece'
            self._problems.add(file, index, '', f'{len(rows)} rows', expected)
            return None
        return self._columns(file, index, self._table.slice(rows[0], len(rows)), int(rows[0]))

    def _load(self, file: str) -> None:
        """Make a file the one in memory, or note why that cannot be."""
        self._file, self._table = file, None
        columns = ['timestamp', 'frame_index', 'episode_index', 'task_index']
        columns += [key for key, size in self._sizes.items() if size]
        try:
            table = parquet.read_table(inside_or_error(self._path, file), columns=columns)
            missing = sorted(set(columns) - set(table.column_names))
            if missing:
                self._problems.add(file, '', missing[0], 'missing', 'a column')
                return
            self._episode = table.column('episode_index').to_numpy()
            self._table = table
        except READ_ERRORS as error:
            self._problems.add(file, '', '', f'unreadable ({line(error)})', 'a Parquet file')

    def _columns(self, file: str, index: str, table: pa.Table, first: int) -> Part | None:
        number = table.column('frame_index').to_numpy()
        wrong = np.flatnonzero(number != np.arange(len(table)))
        if len(wrong):
            what = f'{number[wrong[0]]} in row {wrong[0]} of it'
            expected = f'0 to {len(table) - 1} in order'
            self._problems.add(file, index, 'frame_index', what, expected)
            return None
        vectors = {}
        for key, size in self._sizes.items():
            column = table.column(key).combine_chunks() if size else pa.array([], pa.float32())
            listed = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
            fixed = pa.types.is_fixed_size_list(column.type)
            values = column.flatten() if listed or fixed else column
            if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
                self._problems.add(file, index, key, f'of type {values.type}', 'numbers')
                return None
            uneven = listed and len(column.value_lengths().unique()) > 1
            if len(values) != size * len(table) or values.null_count or uneven:
                found = f'{len(values) - values.null_count} numbers in {len(table)} frames'
                self._problems.add(file, index, key, found, f'{size} in each')
                return None
            numbers = values.to_numpy(zero_copy_only=False).astype(np.float32)
            vectors[key] = numbers.reshape(len(table), size)
        return Part(
            file=file,
            first=first,
            action=vectors[ACTION],
            state=vectors[STATE],
            time=table.column('timestamp').to_numpy().astype(np.float64),
            task=table.column('task_index').to_numpy(),
        )


def read_ours(path: Path, episodes: Sequence[int]) -> tuple[tuple[str, ...], str]:
    """Return of what each episode is a piece, and what 1 means of a gripper, by meta/vla.json.

    Without that file an episode is a piece of nothing, and of the gripper nothing is said.

    Args:
        path: folder of the data set.
        episodes: numbers of E episodes.

    Returns:
        E names; `closed` or `open`, or nothing.

    Raises:
        DataError: if the file does not say both.
    """
    where = f'meta/{OURS}.json'
    try:
        content = json.loads((path / where).read_text('utf-8'))
        drives, one = content[DRIVES], content[GRIPPER]
        if type(drives) is not list or one not in (CLOSED, OPEN):
            raise ValueError(f'{DRIVES} {str(drives)[:40]}, {GRIPPER} {one!r}')
        return tuple(str(drives[number]) for number in episodes), one
    except FileNotFoundError:
        return tuple(f'episode {number}' for number in episodes), ''
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(
            f'{where}: {line(error)}: expected {DRIVES}, a name for each episode, and {GRIPPER}, '
            f'{CLOSED} or {OPEN}'
        ) from error


def read_info(path: Path) -> dict[str, Any]:
    """Read and check meta/info.json.

    Raises:
        DataError: if it is missing, of another version, or without an action or a picture.
    """
    where = 'meta/info.json'
    try:
        info = json.loads((path / where).read_text('utf-8'))
        version, features = info['codebase_version'], info['features']
        if not version.startswith('v3.'):
            raise DataError(
                f"{where}: codebase_version is {version!r}: expected 'v3.0' "
                '(lerobot converts older ones: lerobot.datasets.v30.convert_dataset_v21_to_v30)'
            )
        kinds = {feature['dtype'] for feature in features.values()}
        sizes = [features[key]['shape'] for key in (ACTION, STATE) if key in (ACTION, *features)]
        usable = float(info['fps']) > 0 and int(info['total_episodes']) >= 0
        usable &= all(len(size) == 1 and int(size[0]) > 0 for size in sizes)
        pattern = info['data_path'] and ('video' not in kinds or info['video_path'])
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(f'{where}: {line(error)}: expected a LeRobotDataset v3') from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f'{where}: {error!r}: expected fps, features, data_path') from error
    if not usable or not pattern:
        raise DataError(
            f'{where}: expected fps > 0, a count of episodes, vectors as action and state, '
            'and the paths of the files'
        )
    if not {'image', 'video'} & kinds:
        raise DataError(f'{where}: features {sorted(features)}: expected an image or a video')
    return info


def read_tasks(path: Path) -> dict[int, str]:
    """Return the instructions by number."""
    try:
        table = parquet.read_table(path)
        (name,) = (name for name in table.column_names if name != 'task_index')
        numbers, texts = table.column('task_index').to_pylist(), table.column(name).to_pylist()
    except READ_ERRORS as error:
        raise DataError(f'meta/{path.name}: {line(error)}: expected the table of tasks') from error
    return {number: text for number, text in zip(numbers, texts, strict=True) if text is not None}


def read_episodes(path: Path, total: int, problems: Problems) -> list[dict[str, Any]]:
    """Return the rows of the table of episodes, in order."""
    rows: list[dict[str, Any]] = []
    for file in sorted((path / 'meta/episodes').glob('*/*.parquet')):
        try:
            names = [n for n in parquet.read_schema(file).names if not n.startswith('stats/')]
            missing = sorted(_EPISODE - set(names))
            if missing:
                raise KeyError(f'no column {missing[0]}')
            rows += parquet.read_table(file, columns=names).to_pylist()
        except READ_ERRORS as error:
            where = file.relative_to(path).as_posix()
            problems.add(where, '', '', f'unreadable ({line(error)})', 'a Parquet file')
    if len(rows) != total:
        problems.add('meta/episodes', '', '', f'{len(rows)} episodes', f'{total} as in info.json')
    return sorted(rows, key=lambda row: row['episode_index'])


def width(info: dict[str, Any], key: str) -> int:
    """Return the length of a vector feature; 0 where there is no such feature."""
    return int(info['features'][key]['shape'][0]) if key in info['features'] else 0


def names(info: dict[str, Any], key: str) -> list[str] | None:
    """Return the names of a vector feature's entries: a list, or the one list in a mapping."""
    found = info['features'].get(key, {}).get('names')
    if isinstance(found, dict) and len(found) == 1:
        (found,) = found.values()
    return [str(name) for name in found] if isinstance(found, list) else None


def file_name(pattern: str, **values: Any) -> str:
    """Fill in the name of a file: `{field}` or `{field:03d}`.

    Not str.format, which would follow whatever attributes a foreign pattern names.

    Raises:
        DataError: if the pattern names another field.
    """

    def fill(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise DataError(f'path {pattern!r}: expected fields of {sorted(values)}')
        return str(values[found[1]]).zfill(int(found[2] or 0))

    return _FIELD.sub(fill, pattern)


def inside_or_error(root: Path, name: str) -> Path:
    """Return the path of a file of the data set.

    Raises:
        DataError: if its name leads outside.
    """
    path = inside(root, name)
    if path is None:
        raise DataError(f'path {name!r}: expected one inside the data folder')
    return path


def line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return (str(error) or type(error).__name__).splitlines()[0]
