"""Where the frames come from on which variants are compared, and others that calibrate int8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vla_core.errors import ConfigError
from vla_core.types import PolicySpec
from vla_learning.answers import Kind
from vla_learning.evaluation.tasks import CHOOSING, JUDGING
from vla_learning.optimise.probe import Probe
from vla_learning.questions import recorded, Scene, simulated

if TYPE_CHECKING:
    from vla_learning.data.source import Recorded, Split

#: Layouts of the simulator that calibrate are those for training; those that measure are not.
_CALIBRATING = 0
_PER_LAYOUT = 4
#: Share of the episodes of recordings that calibrate, and seed of that choice. Fixed, so that
#: nobody measures later on what calibrated, whatever else he draws.
_KEPT_APART, _SPLIT = 0.25, 0
#: Frames from which the ranges of int8 are taken.
CALIBRATION = 100


def take(
    spec: PolicySpec, data: Path | None, frames: int, seed: int, fps: float | None, camera: str
) -> tuple[Probe, Probe]:
    """Take frames of recordings, or of the simulator if none are given; see the two below."""
    if data is None:
        return from_simulator(spec, frames, seed)
    return from_recordings(spec, data, frames, seed, fps, camera)


def from_simulator(spec: PolicySpec, frames: int, seed: int) -> tuple[Probe, Probe]:
    """Take frames from layouts never trained on; returns what measures and what calibrates.

    Raises:
        ConfigError: if the seed is of layouts for training or for judging releases.
        EvaluationError: if the policy cannot drive the simulated robot.
    """
    last = JUDGING - -(-frames // _PER_LAYOUT)
    if not CHOOSING <= seed <= last:
        raise ConfigError(
            f'seed {seed}: expected {CHOOSING} to {last}: layouts below train, those above judge '
            'releases'
        )

    def scenes(first: int, count: int) -> list[Scene]:
        layouts = -(-count // _PER_LAYOUT)
        return list(simulated(spec, range(first, first + layouts), _PER_LAYOUT))[:count]

    source = f'{frames} frames of layouts {seed} to {seed - 1 + -(-frames // _PER_LAYOUT)}'
    return _probe(scenes(seed, frames), source), _probe(scenes(_CALIBRATING, CALIBRATION), source)


def from_recordings(
    spec: PolicySpec, data: Path, frames: int, seed: int, fps: float | None, camera: str
) -> tuple[Probe, Probe]:
    """Take frames of recordings; returns what measures and, of other episodes, what calibrates.

    Raises:
        ConfigError: if there are too few frames for both.
        DataError: if the recordings cannot be read.
    """
    text = f'{frames} frames of {data.name}'
    measured = _draw(spec, data, camera, fps, 'train', frames, seed)
    calibrating = _draw(spec, data, camera, fps, 'validation', CALIBRATION, _SPLIT)
    return _probe(measured, text), _probe(calibrating, text)


def _draw(
    spec: PolicySpec,
    data: Path,
    camera: str,
    fps: float | None,
    split: Split,
    wanted: int,
    seed: int,
) -> list[Scene]:
    """Draw frames of one side of the split, of all cameras.

    Raises:
        ConfigError: if there are too few.
    """
    from vla_learning.data.source import RecordedSource, View

    scenes = [
        scene
        for recording in cameras(data, camera, fps, _SPLIT, _KEPT_APART)
        for scene in recorded(
            spec, RecordedSource(recording, View.of(spec), 1, split), wanted, seed
        )
        # A camera that was not plugged in recorded one colour.
        if scene.image.min() < scene.image.max()
    ]
    if len(scenes) < wanted:
        use = 'calibrate with' if split == 'validation' else 'measure on'
        raise ConfigError(
            f'{data.name}: {len(scenes)} frames to {use}: expected {wanted}; a quarter of the '
            'episodes calibrates, the others measure (--frames)'
        )
    order = np.random.default_rng(seed).permutation(len(scenes))
    return [scenes[number] for number in order[:wanted]]


def cameras(
    data: Path, camera: str, fps: float | None, seed: int, kept_apart: float = 0.0
) -> list[Recorded]:
    """Return a data set as one camera sees it, or as each does if none is named.

    Args:
        data: file or folder.
        camera: its name; empty: all.
        fps: frames per second, where the data set does not say.
        seed: of the split.
        kept_apart: share of the episodes on its side `validation`.
    """
    # Needs torch, which a machine that verifies in the simulator may lack.
    from vla_learning.data.episodes import CLOSED
    from vla_learning.data.formats import open_recording
    from vla_learning.data.source import Recorded

    first = Recorded(data, camera, fps, validation_share=kept_apart, seed=seed, cache=False)
    recording = open_recording(data, fps=fps)
    if not recording.one_gripper:
        # What is compared here is one policy with itself, whichever way its gripper is.
        first = replace(first, gripper=CLOSED)
    names = [camera] if camera else recording.cameras
    return [replace(first, camera=name) for name in names]


def _probe(scenes: Sequence[Scene], source: str) -> Probe:
    """Say one instruction to each picture, in turns one that fits and others."""
    texts = []
    for number, scene in enumerate(scenes):
        said = [q.text for q in scene.questions if q.kind is Kind.INSTRUCTION]
        texts.append(said[number % len(said)])
    images = np.stack([scene.image for scene in scenes])
    return Probe(images, tuple(texts), source, tuple(scenes))
