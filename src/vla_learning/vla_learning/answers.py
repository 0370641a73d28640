"""What a policy answered: one row per picture and sentence, and everything is measured on it.

Shape legend: N answers, H horizon, D axes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
import enum
import hashlib
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile
import zlib

import numpy as np

from vla_core.errors import VlaError
from vla_core.session import DONE_THRESHOLD

FILE_NAME = 'answers.npz'
#: What zipfile and NumPy raise on bytes that were changed.
_DAMAGED = (
    *(OSError, ValueError, TypeError, EOFError, MemoryError, RuntimeError),
    *(BadZipFile, zlib.error, TokenError),
)


class EvaluationError(VlaError):
    """An evaluation cannot be made, read or compared."""


class Kind(enum.IntEnum):
    """What a sentence is."""

    INSTRUCTION = 0
    EMPTY = 1
    NONSENSE = 2


@dataclass(frozen=True)
class Answers:
    """Answers of one policy.

    Attributes:
        group: int64 [N], layout or recording; what is drawn again by the bootstrap.
        scene: int64 [N], picture.
        kind: int8 [N], a Kind.
        meaning: int64 [N], number of the instruction in its scene; its wordings share it.
        topic: str [N], what the instruction names; empty if that is not known.
        text: str [N].
        predicted: float32 [N, H, D], native, clipped to [-1, 1] as on the robot.
        done: float32 [N], probability that the instruction is fulfilled.
        refused: bool [N], the policy does not take it for an instruction.
        target: float32 [N, H, D], native; 0 where it is not known.
        valid: bool [N, H, D], where it is known.
        moving: bool [N, D], axes that move the robot. A gripper does not: it holds still when the
            robot does, wherever it is, and its 0 is half closed.
        seconds: float64 [N], time of the inference.
    """

    group: np.ndarray
    scene: np.ndarray
    kind: np.ndarray
    meaning: np.ndarray
    topic: np.ndarray
    text: np.ndarray
    predicted: np.ndarray
    done: np.ndarray
    refused: np.ndarray
    target: np.ndarray
    valid: np.ndarray
    moving: np.ndarray
    seconds: np.ndarray

    def __len__(self) -> int:
        return len(self.group)

    @property
    def axes(self) -> np.ndarray:
        """Axes that are known of any answer, as numbers."""
        return np.flatnonzero(self.valid.any(axis=(0, 1)))

    @property
    def behaviour(self) -> np.ndarray:
        """How the robot would move next: [N, D]; not at all where it refuses or has arrived."""
        still = self.refused | (self.done > DONE_THRESHOLD)
        return np.where(still[:, None] | ~self.moving, 0.0, self.predicted[:, 0])

    def rows(self, keep: np.ndarray) -> Answers:
        """Return some of the answers."""
        return Answers(**{field.name: getattr(self, field.name)[keep] for field in fields(self)})

    def questions(self) -> str:
        """Return a hash of what was asked and which action was expected, of any horizon."""
        digest = hashlib.sha256()
        for name in ('group', 'scene', 'kind', 'meaning'):
            digest.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        for column in (self.target, self.valid):
            digest.update(np.ascontiguousarray(column[:, 0]).tobytes())
        digest.update('\n'.join(self.text.tolist()).encode())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write the answers into a folder."""
        np.savez_compressed(folder / FILE_NAME, **vars(self))


def join(rows: Iterable[Mapping[str, Any]]) -> Answers:
    """Make answers of rows.

    Raises:
        EvaluationError: if there are none.
    """
    listed = list(rows)
    if not listed:
        raise EvaluationError('no answers: expected at least one picture with one instruction')
    types = {
        **dict.fromkeys(('group', 'scene', 'meaning'), np.int64),
        **dict.fromkeys(('predicted', 'done', 'target'), np.float32),
        **dict.fromkeys(('refused', 'valid', 'moving'), np.bool_),
        **dict.fromkeys(('topic', 'text'), np.str_),
        'kind': np.int8,
        'seconds': np.float64,
    }
    return Answers(
        **{name: np.array([row[name] for row in listed], kind) for name, kind in types.items()}
    )


def load(folder: Path) -> Answers:
    """Read answers back.

    Raises:
        EvaluationError: if the file is missing, damaged or of another version.
    """
    path = folder / FILE_NAME
    try:
        with np.load(path, allow_pickle=False) as arrays:
            answers = Answers(**{name: arrays[name] for name in arrays.files})
    except _DAMAGED as error:
        raise EvaluationError(
            f'{path}: {error}: expected the answers of `vla-learn evaluate`'
        ) from error
    lengths = {name: len(column) for name, column in vars(answers).items()}
    if len(set(lengths.values())) != 1:
        raise EvaluationError(f'{path}: columns of {lengths} rows: expected equally many')
    return answers
