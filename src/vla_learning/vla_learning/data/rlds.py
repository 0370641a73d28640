"""RLDS episodes in TFRecord files, as Bridge and the Open X-Embodiment data sets are published.

One record is one episode: a `tf.train.Example` whose features `steps/...` hold the values of all
T steps one after the other. features.json says their shapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import json
import logging
from pathlib import Path
import re
from typing import Any

import numpy as np

from vla_learning.data.episodes import axis_names, check_finite, Episode, Recording
from vla_learning.data.errors import DataError, Problems
from vla_learning.data.tfrecord import FormatError, parse_example, read_records, Values

#: Where data sets keep the instruction; Bridge uses the first, RT-1 the second.
LANGUAGE = ('language_instruction', 'observation/natural_language_instruction')

#: TFDS names files `<data set>-<split>.tfrecord-00000-of-00001`.
_SPLIT = re.compile(r'-(\w+)\.tfrecord-\d+-of-\d+$')
_TRAIN = 'train'
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Layout:
    """What features.json says of a step: sizes of action and state, cameras, language's name."""

    action: int
    state: int
    cameras: tuple[str, ...]
    language: str

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the state vector, which the format does not say."""
        return tuple(f'state_{n}' for n in range(self.state))


class RldsRecording(Recording):
    """Episodes of a folder with features.json and *.tfrecord-* files.

    Of several splits in one folder `train` is read, and nothing else.

    Args:
        path: the folder.
        problems: where bad episodes and frames are noted.
        fps: frames per second; the format does not say.

    Raises:
        DataError: if the folder is no such data set or has several splits without `train`, or an
            episode is bad and not skipped.
    """

    # It is open in some (BridgeData), closed in others (DROID).
    one_gripper = ''

    def __init__(self, path: Path, problems: Problems, fps: float | None = None) -> None:
        layout = _read_layout(path / 'features.json')
        self._camera = {name: n for n, name in enumerate(layout.cameras)}
        self._shards = _shards(path, problems)
        self._where: list[tuple[int, int]] = []
        spans: list[np.ndarray] = []
        episodes: list[Episode] = []
        axes = axis_names(layout.action)
        lengths = _lengths(path / 'dataset_info.json')
        for shard, file in enumerate(self._shards):
            count = 0
            for number, content, start in _read_shard(file, problems):
                count += 1
                found = _parse(content, layout, file.name, f'episode {number}', problems)
                if found is None:
                    continue
                episodes.append(
                    _episode(
                        found, content, layout, axes, file.name, f'episode {number}', problems
                    )
                )
                self._where.append((shard, number))
                pictures = [found[f'observation/{c}'].spans for c in layout.cameras]
                spans.append(np.stack(pictures, 1) + np.array([start, 0]))
            wanted = lengths.get(file.name, count)
            if count != wanted:
                problems.add(file.name, '', '', f'{count} episodes', f'{wanted}')
        self._spans = np.concatenate(spans) if spans else np.empty((0, 0, 2), np.int64)
        super().__init__(
            path,
            (path / 'features.json', *self._shards),
            layout.cameras,
            axes,
            layout.state_names,
            fps,
            episodes,
            problems,
        )

    def fetch(self, row: int, camera: str) -> bytes:
        """Return the bytes of a step's picture."""
        offset, length = map(int, self._spans[row, self._camera[camera]])
        shard, _ = self._where[self.episode_of(row)[0]]
        try:
            with self._shards[shard].open('rb') as stream:
                stream.seek(offset)
                return stream.read(length)
        except OSError as error:
            raise self.bad(row, camera, error.strerror, 'a picture') from error

    def place(self, row: int) -> tuple[str, str]:
        """Say which step of which episode a frame is."""
        episode, frame = self.episode_of(row)
        shard, number = self._where[episode]
        return self._shards[shard].name, f'episode {number} frame {frame}'


def _read_layout(path: Path) -> _Layout:
    try:
        steps = json.loads(path.read_text('utf-8'))['featuresDict']['features']['steps']
        step = _flat(steps['sequence']['feature'])
        cameras = tuple(
            sorted(
                name.removeprefix('observation/')
                for name, feature in step.items()
                if name.startswith('observation/') and 'image' in feature
            )
        )
        language = next((name for name in LANGUAGE if name in step), None)
        action = _size(step['action'])
        state = _size(step['observation/state']) if 'observation/state' in step else 0
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f'{path.name}: {error}: expected the features of a data set') from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(
            f'{path.name}: {error!r}: expected steps with a vector `action` and `observation`'
        ) from error
    if not cameras:
        raise DataError(f'{path.name}: no picture in steps/observation: expected at least one')
    if language is None:
        raise DataError(f'{path.name}: no instruction in steps: expected one of {LANGUAGE}')
    return _Layout(action, state, cameras, language)


def _flat(feature: dict[str, Any], prefix: str = '') -> dict[str, dict[str, Any]]:
    """Return the leaves of a tree of features by their path."""
    if 'featuresDict' not in feature:
        return {prefix: feature}
    return {
        name: leaf
        for key, inner in feature['featuresDict']['features'].items()
        for name, leaf in _flat(inner, f'{prefix}/{key}' if prefix else key).items()
    }


def _size(feature: dict[str, Any]) -> int:
    (size,) = feature['tensor']['shape']['dimensions']
    return int(size)


def _shards(path: Path, problems: Problems) -> tuple[Path, ...]:
    """List the files of records; note those that their own numbering says are missing."""
    shards = tuple(sorted(path.glob('*.tfrecord*')))
    if not shards:
        raise DataError(f'{path.name}: no *.tfrecord* file: expected at least one')
    shards = _one_split(path, shards)
    there = {shard.name for shard in shards}
    for stem, total in {_numbering(name) for name in there}:
        for name in (f'{stem}-{n:05d}-of-{total:05d}' for n in range(total)):
            if name not in there:
                problems.add(name, '', '', 'missing', f'{total} files')
    return shards


def _one_split(path: Path, shards: tuple[Path, ...]) -> tuple[Path, ...]:
    """Keep the split to train on: the publisher's other ones are there to judge with.

    Raises:
        DataError: if there are several, and none is `train`.
    """
    splits = sorted({found[1] for shard in shards if (found := _SPLIT.search(shard.name))})
    if len(splits) < 2:
        return shards
    if _TRAIN not in splits:
        raise DataError(
            f'{path.name}: splits {", ".join(splits)}: expected one, or one of the name {_TRAIN} '
            '(for another one give a folder with links to features.json, dataset_info.json and '
            'the files of that split)'
        )
    others = ', '.join(split for split in splits if split != _TRAIN)
    LOG.warning('%s: split %s is read, left out: %s', path.name, _TRAIN, others)
    return tuple(shard for shard in shards if f'-{_TRAIN}.tfrecord-' in shard.name)


def _lengths(path: Path) -> dict[str, int]:
    """Return how many episodes each file has by dataset_info.json, where there is one.

    A file that was cut off between two records can be told by this alone.
    """
    if not path.is_file():
        return {}
    try:
        info = json.loads(path.read_text('utf-8'))
        return {
            f'{info["name"]}-{split["name"]}.tfrecord-{n:05d}-of-{len(lengths):05d}': int(length)
            for split in info['splits']
            for lengths in (split['shardLengths'],)
            for n, length in enumerate(lengths)
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f'{path.name}: {error!r}: expected splits with shardLengths') from error


def _numbering(name: str) -> tuple[str, int]:
    """Split `x-00003-of-00010` into x and 10; a file without a number is one of none."""
    stem, _, total = name.rpartition('-of-')
    return (stem.rpartition('-')[0], int(total)) if total.isdecimal() else (name, 0)


def _read_shard(file: Path, problems: Problems) -> Iterator[tuple[int, memoryview, int]]:
    """Yield the episodes of a file up to the first place that cannot be read."""
    try:
        yield from read_records(file)
    except FormatError as error:
        problems.add(file.name, error.where, '', error.found, error.expected)
    except OSError as error:
        problems.add(file.name, '', '', error.strerror, 'a readable file')


def _parse(
    content: memoryview, layout: _Layout, file: str, index: str, problems: Problems
) -> dict[str, Values] | None:
    """Return the features of an episode's steps; None where they do not fit together."""
    try:
        features = parse_example(content)
    except FormatError as error:
        problems.add(file, index, '', error.found, error.expected)
        return None
    found = {name.removeprefix('steps/'): values for name, values in features.items()}
    first = found.get(f'observation/{layout.cameras[0]}')
    steps = len(first.spans) if first else 0
    shapes = dict.fromkeys((f'observation/{c}' for c in layout.cameras), ('bytes', steps))
    shapes |= {layout.language: ('bytes', steps), 'action': ('float', steps * layout.action)}
    if layout.state:
        shapes['observation/state'] = ('float', steps * layout.state)
    for name, (kind, count) in shapes.items():
        values = found.get(name)
        size = 0 if values is None else len(values.spans) + len(values.numbers)
        if values is None or values.kind != kind or size != count or not steps:
            what = 'missing' if values is None else f'{size} of kind {values.kind}'
            problems.add(
                file, index, f'steps/{name}', what, f'{count} of kind {kind} in {steps} steps'
            )
            return None
    return found


def _episode(
    found: dict[str, Values],
    content: memoryview,
    layout: _Layout,
    axes: tuple[str, ...],
    file: str,
    index: str,
    problems: Problems,
) -> Episode:
    steps = len(found[layout.language].spans)
    actions = found['action'].numbers.reshape(steps, layout.action)
    where = (file, f'{index} frame {{}}', problems)
    good = check_finite('action', actions, axes, *where)
    state = np.zeros((steps, 0), np.float32)
    if layout.state:
        state = found['observation/state'].numbers.reshape(steps, layout.state)
        good &= check_finite('state', state, layout.state_names, *where)
    spans = found[layout.language].spans.tolist()
    text = [bytes(content[low : low + size]).decode('utf-8', 'replace') for low, size in spans]
    return Episode(f'{file} {index}', actions, tuple(text), good, state)
