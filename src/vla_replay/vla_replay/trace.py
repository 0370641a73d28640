"""What a graph did with a recording: every chunk by its frame, every decision by its tick.

Shape legend: C chunks, H steps of a chunk, D axes of the policy, T ticks.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
from dataclasses import dataclass
import json
from pathlib import Path
import zipfile

import numpy as np

from vla_core.robot import AXES
from vla_replay.errors import BagError

#: Of the file.
VERSION = 2
#: s between two decisions of a graph in lock-step.
TICK = 0.02


@dataclass(frozen=True)
class Chunks:
    """Every chunk.

    Attributes:
        names: D axes.
        units: D units, SI.
        texts: instructions; the first one is empty and means none.
        frame: int64 [C], recorded stamp of the frame behind each one, ns, increasing.
        text: int64 [C], which instruction it obeys.
        status: uint8 [C], ActionChunk.STATUS_*.
        data: float64 [C, H, D], what the policy answered, before it was spliced.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    texts: tuple[str, ...]
    frame: np.ndarray
    text: np.ndarray
    status: np.ndarray
    data: np.ndarray


@dataclass(frozen=True)
class Decisions:
    """The gate's last word on every tick.

    Attributes:
        state: uint8 [T], SafetyState.STATE_*.
        cause: uint8 [T], Cause.*.
        frame: int64 [T], recorded stamp of the frame behind the newest chunk, ns; 0: none.
        step: int64 [T], step of the chunk that is played; -1: none.
        wanted: float64 [T, 6], before any limit.
        allowed: float64 [T, 6], what the limits allow.
        published: float64 [T, 6], what went out.
        gripper: float64 [T], 0 open to 1 closed; NaN: the robot has none.
    """

    state: np.ndarray
    cause: np.ndarray
    frame: np.ndarray
    step: np.ndarray
    wanted: np.ndarray
    allowed: np.ndarray
    published: np.ndarray
    gripper: np.ndarray

    def track(self) -> np.ndarray:
        """Return where these commands alone would lead: x, y, yaw, float64 [T, 3]."""
        turn = np.cumsum(self.published[:, 5]) * TICK
        yaw = np.concatenate(([0.0], turn[:-1])) if len(turn) else turn
        forward, left = self.published[:, 0] * TICK, self.published[:, 1] * TICK
        x = np.cumsum(np.cos(yaw) * forward - np.sin(yaw) * left)
        y = np.cumsum(np.sin(yaw) * forward + np.cos(yaw) * left)
        return np.stack((x, y, turn), axis=1)


@dataclass(frozen=True)
class Trace:
    """What a graph did.

    Attributes:
        facts: what it was: the recording, the policy and its hash, the robot, the version.
        chunks: what the policy sent.
        decisions: what the gate did; None for a drive that was not in lock-step.
    """

    facts: Mapping[str, str]
    chunks: Chunks
    decisions: Decisions | None = None


def save(trace: Trace, path: Path) -> None:
    """Write a golden file: arrays of numpy, nothing that could run.

    Raises:
        BagError: if the trace has no decisions.
        OSError: if it cannot be written.
    """
    if trace.decisions is None:
        raise BagError('trace without decisions: expected one of a graph in lock-step')
    chunks = dataclasses.asdict(trace.chunks)
    words = {name: chunks.pop(name) for name in ('names', 'units', 'texts')}
    header = json.dumps({'version': VERSION, 'facts': dict(trace.facts), **words})
    arrays = {f'chunks_{name}': array for name, array in chunks.items()}
    arrays |= {
        f'decisions_{name}': array for name, array in dataclasses.asdict(trace.decisions).items()
    }
    with path.open('wb') as file:
        np.savez_compressed(file, header=np.frombuffer(header.encode(), dtype=np.uint8), **arrays)


def load(path: Path) -> Trace:
    """Read a golden file.

    Raises:
        BagError: if it is none, or of another version.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop('header').tobytes())
        if header['version'] != VERSION:
            raise BagError(
                f'{path}: version {header["version"]!r}: expected {VERSION}; make it anew with '
                'vla replay bless'
            )
        chunks = Chunks(
            *(tuple(map(str, header[name])) for name in ('names', 'units', 'texts')),
            *_columns(arrays, Chunks, 'chunks', skip=3),
        )
        decisions = Decisions(*_columns(arrays, Decisions, 'decisions'))
        trace = Trace({str(k): str(v) for k, v in header['facts'].items()}, chunks, decisions)
        _check(trace)
    except FileNotFoundError:
        raise BagError(f'{path}: no such file; make it with vla replay bless') from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise BagError(
            f'{path}: {type(error).__name__}: {error}: expected a golden file of vla replay bless'
        ) from None
    return trace


def _columns(
    arrays: Mapping[str, np.ndarray], kind: type, prefix: str, skip: int = 0
) -> list[np.ndarray]:
    return [arrays[f'{prefix}_{field.name}'] for field in dataclasses.fields(kind)[skip:]]


def _check(trace: Trace) -> None:
    chunks, decisions = trace.chunks, trace.decisions
    count = len(chunks.frame)
    shapes = [chunks.text.shape, chunks.status.shape, chunks.data.shape[::2]]
    if shapes != [(count,), (count,), (count, len(chunks.names))] or chunks.data.ndim != 3:
        raise ValueError(f'chunks of shapes {shapes} for {count} frames')
    if len(chunks.units) != len(chunks.names) or not (np.diff(chunks.frame) > 0).all():
        raise ValueError('units or order of the frames')
    if count and not 0 <= chunks.text.min() <= chunks.text.max() < len(chunks.texts):
        raise ValueError('numbers of instructions')
    if decisions is not None:
        rows = len(decisions.state)
        for field in dataclasses.fields(Decisions):
            array = getattr(decisions, field.name)
            if array.shape not in ((rows,), (rows, len(AXES))):
                raise ValueError(f'decisions.{field.name} of shape {array.shape}')
