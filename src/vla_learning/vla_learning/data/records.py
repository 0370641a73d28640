"""JSON records {image_path, language_instruction, action}, one frame each.

Records that follow each other with the same optional `episode` form an episode, in time order; a
record without it is an episode of its own. One whose `episode` cannot be told is bad, and stays in
the run that it interrupts: the halves of a run must not become two, of which training gets one and
validation the other.
"""

from __future__ import annotations

from collections import Counter
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from vla_learning.data.episodes import axis_names, check_finite, Episode, Recording
from vla_learning.data.errors import DataError, inside, Problems

CAMERA = 'image'
_BLANK: dict[str, Any] = {'image_path': '', 'language_instruction': '', 'action': []}


class JsonRecording(Recording):
    """Records of one JSON file; pictures lie in its folder or below.

    Args:
        path: file with a list of records.
        problems: where bad records are noted.
        fps: frames per second; the format does not say.

    Raises:
        DataError: if the file is not a list of records, or a record is bad and not to be skipped.
    """

    def __init__(self, path: Path, problems: Problems, fps: float | None = None) -> None:
        records = _load(path)
        form = _usual_form(records)
        axes = form if isinstance(form, tuple) else axis_names(form)
        self._pictures: list[str] = []
        self._numbers: list[int] = []
        episodes = []
        names = _episodes(records)
        _refuse_pieces(path, names)
        runs = itertools.groupby(enumerate(records), lambda numbered: names[numbered[0]])
        for name, run in runs:
            numbered = list(run)
            actions = [_check(path, number, record, form, problems) for number, record in numbered]
            good = np.array([action is not None for action in actions])
            if not good.any():
                continue
            # A bad record in the middle keeps its place: later ones stay at their time.
            kept = [
                record if fine else _BLANK
                for (_, record), fine in zip(numbered, good, strict=True)
            ]
            blank = np.zeros(len(axes), np.float32)
            self._numbers += [number for number, _ in numbered]
            self._pictures += [record['image_path'] for record in kept]
            episodes.append(
                Episode(
                    name=str(name),
                    actions=np.stack([blank if row is None else row for row in actions]),
                    text=tuple(record['language_instruction'] for record in kept),
                    good=good,
                    state=np.zeros((len(kept), 0), np.float32),
                )
            )
        pictures = sorted({name for name in self._pictures if name})
        files = (path, *(path.parent / name for name in pictures))
        super().__init__(path, files, (CAMERA,), axes, (), fps, episodes, problems)

    def fetch(self, row: int, camera: str) -> bytes:
        """Return the bytes of a record's picture."""
        try:
            return (self.path.parent / self._pictures[row]).read_bytes()
        except OSError as error:
            raise self.bad(row, 'image_path', error.strerror, 'a picture') from error

    def place(self, row: int) -> tuple[str, str]:
        """Say which record a frame is."""
        return self.path.name, f'record {self._numbers[row]}'


def _load(path: Path) -> list[Any]:
    try:
        records = json.loads(path.read_text('utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f'{path.name}: {error}: expected a list of records') from error
    if not isinstance(records, list):
        raise DataError(f'{path.name} is a {type(records).__name__}: expected a list of records')
    return records


def _usual_form(records: list[Any]) -> int | tuple[str, ...]:
    """Return what most actions are: so many numbers, or numbers by these names.

    Of equally frequent forms the first.
    """
    forms = Counter(
        tuple(action) if isinstance(action, dict) else len(action)
        for record in records
        if isinstance(record, dict)
        and isinstance(action := record.get('action'), list | dict)
        and action
    )
    return forms.most_common(1)[0][0] if forms else 0


def _episodes(records: list[Any]) -> list[int | str]:
    """Name the episode of each record."""
    names: list[int | str] = []
    run = None
    for number, record in enumerate(records):
        if isinstance(record, dict) and _is_episode(record.get('episode')):
            run = record.get('episode')
        names.append(f'record {number}' if run is None else run)
    return [int(name) if isinstance(name, float) else name for name in names]


def _refuse_pieces(path: Path, names: list[int | str]) -> None:
    """Refuse an episode in pieces: training would get some of them and validation the others."""
    ended: set[int | str] = set()
    for number, (before, name) in enumerate(itertools.pairwise(names), 1):
        if name != before:
            ended.add(before)
        if name in ended:
            raise DataError(
                f'{path.name}: record {number}: episode {name!r} comes again: expected the '
                'records of an episode one after the other'
            )


def _is_episode(value: Any) -> bool:
    """Say whether a value names an episode, or says that there is none."""
    if isinstance(value, float):
        return value.is_integer()
    return value is None or (isinstance(value, int | str) and not isinstance(value, bool))


def _check(
    path: Path, number: int, record: Any, form: int | tuple[str, ...], problems: Problems
) -> np.ndarray | None:
    """Note what is wrong with a record; return its action if it can be used."""
    index = f'record {number}'
    if not isinstance(record, dict):
        problems.add(path.name, index, '', repr(record)[:80], f'an object with {sorted(_BLANK)}')
        return None
    missing = sorted(set(_BLANK) - set(record))
    if missing:
        problems.add(path.name, index, missing[0], 'missing', f'an object with {sorted(_BLANK)}')
        return None
    text, picture, action = (
        record[key] for key in ('language_instruction', 'image_path', 'action')
    )
    if not _is_text(text):
        problems.add(path.name, index, 'language_instruction', repr(text)[:80], 'a text')
        return None
    image = inside(path.parent, picture) if isinstance(picture, str) else None
    if image is None:
        problems.add(
            path.name, index, 'image_path', repr(picture)[:80], 'a path inside the data folder'
        )
        return None
    if not _is_file(image):
        problems.add(path.name, index, 'image_path', f'{picture!r} (no such file)', 'a picture')
        return None
    if not _is_episode(record.get('episode')):
        found = repr(record['episode'])[:80]
        problems.add(path.name, index, 'episode', found, 'a whole number or a text')
        return None
    return _read_action(path, index, action, form, problems)


def _read_action(
    path: Path, index: str, action: Any, form: int | tuple[str, ...], problems: Problems
) -> np.ndarray | None:
    """Return an action as float32 [D]; None, noted, if it has not the usual form."""
    if isinstance(form, tuple):
        axes, expected = form, f'numbers by name: {", ".join(form)}'
        values = [action.get(axis) for axis in axes] if isinstance(action, dict) else None
        found = repr(action)[:80]
        if values is not None and len(action) != len(axes):
            values = None
    else:
        axes, expected = axis_names(form), f'{form or "some"} numbers'
        values = action if isinstance(action, list) and len(action) == form > 0 else None
        found = f'{len(action)} numbers' if isinstance(action, list) else repr(action)[:80]
    if values is None or not all(type(value) in (int, float) for value in values):
        found = found if values is None else repr(action)[:80]
        problems.add(path.name, index, 'action', found, expected)
        return None
    try:
        with np.errstate(over='ignore'):
            numbers = np.array(values, np.float64).astype(np.float32)
    except OverflowError:
        problems.add(path.name, index, 'action', 'beyond any float', expected)
        return None
    fine = check_finite('action', numbers[None], axes, path.name, index, problems)
    return numbers if fine[0] else None


def _is_text(value: Any) -> bool:
    """Say whether a value is a text with something in it; half of a surrogate pair is none."""
    try:
        return isinstance(value, str) and bool(value.strip().encode('utf-8'))
    except UnicodeEncodeError:
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False
