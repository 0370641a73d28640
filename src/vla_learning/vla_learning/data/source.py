"""Batches from a recording: the same ones for the same step, however training is spread out.

Shape legend: B frames of a batch, F frames, H horizon, D axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from vla_core.preprocess import resize
from vla_core.types import CameraSlot, from_si, PolicySpec
from vla_learning.data.batch import Batch
from vla_learning.data.derived import Derived
from vla_learning.data.episodes import GRIPPER, Recording, unit_of
from vla_learning.data.errors import DataError
from vla_learning.data.formats import open_recording
from vla_learning.data.statistics import Statistics

Split = Literal['train', 'validation', 'all']


@dataclass(frozen=True)
class Recorded:
    """A data set and how it is read.

    Attributes:
        path: `x.json`, a LeRobotDataset v3, or a folder of RLDS episodes.
        camera: which picture of the data set; empty for its first.
        fps: frames per second, where the format does not say (JSON, RLDS).
        validation_share: of the episodes, kept back from training.
        seed: of the split and of the order of the frames.
        skip_bad: leave bad records out, count and list them, instead of stopping at the first.
        cache: keep resized frames on disk, so that each picture is decoded once ever.
        derived: folder for what is computed from the data set; else `<path>.vla` beside it.
        gripper: what 1 means of a gripper in it, `closed` or `open`, where the format does not
            say (RLDS, LeRobot).
    """

    path: Path
    camera: str = ''
    fps: float | None = None
    validation_share: float = 0.1
    seed: int = 0
    skip_bad: bool = False
    cache: bool = True
    derived: Path | None = None
    gripper: str = ''


@dataclass(frozen=True)
class View:
    """What a policy wants of a frame.

    Attributes:
        slot: size and mode of the picture.
        horizon: H, steps of a chunk.
        step_dt: s between steps; None for the recording's own frames.
        axes: D names; empty for the recording's own. An axis that the recording lacks is not
            taught: its `valid` is False.
        action_scale: D values of ±1, as in a checkpoint; empty for the data set's own.
        action_units: D units, as in a checkpoint; empty for those of the axes' names.
    """

    slot: CameraSlot
    horizon: int
    step_dt: float | None = None
    axes: tuple[str, ...] = ()
    action_scale: tuple[float, ...] = ()
    action_units: tuple[str, ...] = ()

    @classmethod
    def of(cls, spec: PolicySpec) -> View:
        """Return what a policy with this contract wants."""
        return cls(
            *(spec.cameras[0], spec.horizon, spec.step_dt),
            *(spec.action_names, spec.action_scale, spec.action_units),
        )


class RecordedSource:
    """A `Source` that reads a recording. Can be sent to other processes.

    Args:
        spec: the data set.
        view: what the policy wants of it.
        batch_size: frames of a step, of all processes together.
        split: which episodes; `train` in a new random order each epoch, without the last frames
            that fill no batch; the others in order, the last batch smaller.

    Raises:
        DataError: if the data set cannot be used, or has nothing for this split.

    Attributes:
        recording: the data set.
        statistics: of its actions, all splits together.
        sha256: of its content, hex.
        axes: D names.
        action_scale: D values of ±1.
        rows: int64, frames of the split.
        clipped: number of good frames' actions beyond ±1, in all splits; they count as ±1.
        report: list of the records left out; None if none.
    """

    def __init__(
        self, spec: Recorded, view: View, batch_size: int, split: Split = 'train'
    ) -> None:
        if batch_size < 1:
            raise DataError(f'batch of {batch_size}: expected at least 1')
        self.recording = recording = open_recording(spec.path, spec.skip_bad, spec.fps)
        if GRIPPER in (view.axes or recording.axes):
            recording.turn_gripper(spec.gripper)
        self.camera = spec.camera or recording.cameras[0]
        if self.camera not in recording.cameras:
            raise DataError(
                f'{spec.path.name}: camera {self.camera!r}: expected one of {recording.cameras}'
            )
        derived = Derived(recording, spec.derived)
        self._slot = view.slot
        self._frames: np.ndarray | None = None
        self._frames_file: Path | None = None
        if spec.cache:
            self._frames_file = derived.frames(recording, self.camera, view.slot)
        elif spec.skip_bad:
            derived.check_pictures(recording, self.camera)
        self.statistics = derived.statistics(recording)
        self.sha256 = derived.sha256
        self.report = derived.report(recording)
        self.axes = view.axes or recording.axes
        self.action_scale = view.action_scale or _scales(self.axes, self.statistics)
        self._taught, self._actions, self.clipped = _native(
            recording,
            self.axes,
            self.action_scale,
            view.action_units or tuple(unit_of(axis) for axis in self.axes),
        )
        self._ahead = _steps_ahead(view, recording)
        self.rows = split_rows(recording, split, spec.validation_share, spec.seed)
        if not len(self.rows):
            drives = len(set(recording.drives))
            raise DataError(
                f'{spec.path.name}: no frame with an instruction for {split}, of {drives} '
                'episodes or drives, which go to training or validation as a whole: expected at '
                'least 1; more of them, or a validation share of 0'
            )
        self._shuffled = split == 'train'
        self._seed = spec.seed
        self._epoch, self._order = -1, self.rows
        self._batch_size = min(batch_size, len(self.rows))

    @property
    def untaught(self) -> tuple[str, ...]:
        """Axes that the data set lacks."""
        return tuple(axis for axis, is_ in zip(self.axes, self._taught, strict=True) if not is_)

    @property
    def samples(self) -> int:
        """Frames of one epoch."""
        return len(self.rows)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one epoch."""
        whole, rest = divmod(len(self.rows), self._batch_size)
        return whole + (rest > 0 and not self._shuffled)

    def batch(self, step: int, part: int = 0, parts: int = 1) -> Batch:
        """Return the batch of a step, or the share of one process of several.

        Raises:
            DataError: if a picture cannot be read.
        """
        rows = self.step_rows(step)
        rows = rows[len(rows) * part // parts : len(rows) * (part + 1) // parts]
        actions, valid = self._chunks(rows)
        return Batch(
            image=torch.from_numpy(self._pictures(rows)),
            text=tuple(self.recording.texts[text] for text in self.recording.text[rows]),
            actions=torch.from_numpy(actions),
            valid=torch.from_numpy(valid),
            rows=torch.from_numpy(rows),
        )

    def step_rows(self, step: int) -> np.ndarray:
        """Return the frames of a step, int64 [B]."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._shuffled and epoch != self._epoch:
            order = np.random.default_rng((self._seed, epoch)).permutation(len(self.rows))
            self._epoch, self._order = epoch, self.rows[order]
        return self._order[place * self._batch_size : (place + 1) * self._batch_size]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the memory map, which would travel as a copy of all pictures."""
        return self.__dict__ | {'_frames': None}

    def _pictures(self, rows: np.ndarray) -> np.ndarray:
        if self._frames_file is not None:
            if self._frames is None:
                self._frames = np.load(self._frames_file, mmap_mode='r')
            return np.asarray(self._frames[rows])
        pictures = [
            resize(self.recording.image(row, self.camera), self._slot) for row in rows.tolist()
        ]
        shape = (len(rows), self._slot.height, self._slot.width, 3)
        return np.array(pictures, np.uint8).reshape(shape)

    def _chunks(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return actions float32 [B, H, D] and which of them are taught, bool [B, H, D]."""
        first = self.recording.first
        ends = first[np.searchsorted(first, rows, 'right')][:, None]
        targets = rows[:, None] + self._ahead
        there = targets < ends
        targets = np.minimum(targets, ends - 1)
        # What was done once the next thing had been said answers that, not this.
        text = self.recording.text
        valid = there & self.recording.good[targets] & (text[targets] == text[rows][:, None])
        return self._actions[targets], valid[..., None] & self._taught


def open_source(
    spec: Recorded, view: View, batch_size: int, split: Split = 'train'
) -> RecordedSource:
    """Open a data set as a source of batches (see RecordedSource)."""
    return RecordedSource(spec, view, batch_size, split)


def split_rows(recording: Recording, split: Split, share: float, seed: int) -> np.ndarray:
    """Return the good frames with an instruction of a split, int64, in order.

    Whole drives go to one side, so that no validation frame has a neighbour in training.
    """
    if not 0 <= share < 1:
        raise DataError(f'validation_share {share}: expected 0 to below 1')
    drives = {drive: number for number, drive in enumerate(dict.fromkeys(recording.drives))}
    count = len(drives)
    kept_back = min(count - 1, max(1, round(share * count))) if share else 0
    order = np.random.default_rng((seed, count)).permutation(count)
    validation = np.zeros(count, bool)
    validation[order[:kept_back]] = True
    validation = validation[[drives[drive] for drive in recording.drives]]
    everything = np.ones(len(validation), bool)
    chosen = {'train': ~validation, 'validation': validation, 'all': everything}[split]
    labelled = np.array([bool(text.strip()) for text in recording.texts])
    usable = recording.good & labelled[recording.text]
    return np.flatnonzero(usable & np.repeat(chosen, np.diff(recording.first)))


def _scales(axes: tuple[str, ...], statistics: Statistics) -> tuple[float, ...]:
    known = dict(zip(statistics.axes, statistics.action_scale, strict=True))
    return tuple(known.get(axis, 1.0) for axis in axes)


def _native(
    recording: Recording,
    axes: tuple[str, ...],
    scales: tuple[float, ...],
    units: tuple[str, ...],
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return which axes are taught, bool [D]; native actions, float32 [F, D]; clipped frames."""
    place = {axis: n for n, axis in enumerate(recording.axes)}
    taught = np.array([axis in place for axis in axes])
    if not taught.any():
        raise DataError(f'{recording.path.name}: axes {recording.axes}: expected some of {axes}')
    if len(scales) != len(axes):
        raise DataError(f'action_scale of {len(scales)}: expected one for each of {axes}')
    actions = np.zeros((recording.frames, len(axes)), np.float32)
    for n, (axis, scale, unit) in enumerate(zip(axes, scales, units, strict=True)):
        if axis in place:
            actions[:, n] = from_si(recording.actions[:, place[axis]], scale, unit)
    actions[~recording.good] = 0
    beyond = (np.abs(actions) > 1).any(1)
    return taught, np.clip(actions, -1, 1), int(beyond.sum())


def _steps_ahead(view: View, recording: Recording) -> np.ndarray:
    """Return how many frames after the observation each step of a chunk is due, int64 [H]."""
    steps = np.arange(view.horizon)
    if view.step_dt is None:
        return steps
    if not view.step_dt > 0:
        raise DataError(f'step_dt {view.step_dt}: expected more than 0 s')
    if recording.fps is None:
        raise DataError(
            f'{recording.path.name} does not say its frames per second: expected fps (data.fps)'
        )
    # An action holds until the next frame; the small term keeps 9 * 0.3 s * 10 Hz at frame 27.
    return np.floor(steps * view.step_dt * recording.fps + 1e-6).astype(np.int64)
