"""What every variant is shown: the same frames with the same instructions.

Shape legend: N frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vla_core.errors import ConfigError
from vla_core.types import Observation, PolicySpec
from vla_learning.answers import Kind
from vla_learning.questions import recorded, Scene, simulated

#: Layouts of the simulator that calibrate are those for training; those that measure are not.
_CALIBRATING = 0
_PER_LAYOUT = 4
#: Frames from which the ranges of int8 are taken.
CALIBRATION = 100


@dataclass(frozen=True)
class Probe:
    """Frames and instructions.

    Attributes:
        images: uint8 [N, h, w, 3].
        texts: one for each.
        source: what they are, for a person.
        scenes: the same pictures with all questions, for the grounding score; may be empty.
    """

    images: np.ndarray
    texts: tuple[str, ...]
    source: str
    scenes: tuple[Scene, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.images)

    def observation(self, number: int, slot: str) -> Observation:
        """Return a frame for a policy; beyond the last it starts again."""
        return Observation({slot: self.images[number % len(self)]}, number)

    def text(self, number: int) -> str:
        """Return the instruction of a frame."""
        return self.texts[number % len(self)]

    def save(self, file: Path) -> None:
        """Write frames and instructions for another process."""
        np.savez(file, images=self.images, texts=np.array(self.texts), source=self.source)

    @classmethod
    def load(cls, file: Path) -> Probe:
        """Read what `save` wrote."""
        with np.load(file, allow_pickle=False) as arrays:
            texts = tuple(map(str, arrays['texts']))
            return cls(arrays['images'], texts, str(arrays['source']))


def from_simulator(spec: PolicySpec, frames: int, seed: int) -> tuple[Probe, Probe]:
    """Take frames from layouts never trained on; returns what measures and what calibrates.

    Raises:
        EvaluationError: if the policy cannot drive the simulated robot.
    """

    def take(first: int, count: int) -> list[Scene]:
        layouts = -(-count // _PER_LAYOUT)
        return list(simulated(spec, range(first, first + layouts), _PER_LAYOUT))[:count]

    source = f'{frames} frames of layouts {seed} to {seed - 1 + -(-frames // _PER_LAYOUT)}'
    return _probe(take(seed, frames), source), _probe(take(_CALIBRATING, CALIBRATION), source)


def from_recordings(
    spec: PolicySpec, data: Path, frames: int, seed: int, fps: float | None, camera: str
) -> tuple[Probe, Probe]:
    """Take frames of recordings; returns what measures and, of other frames, what calibrates.

    Raises:
        ConfigError: if there are too few frames for both.
        DataError: if the recordings cannot be read.
    """
    from vla_learning.data.source import Recorded, RecordedSource, View

    split = Recorded(data, camera, fps, validation_share=0.0, seed=seed, cache=False)
    source = RecordedSource(split, View.of(spec), 1, 'all')
    scenes = list(recorded(spec, source, frames + CALIBRATION, seed))
    if len(scenes) < frames + CALIBRATION:
        raise ConfigError(
            f'{data.name}: {len(scenes)} frames: expected {frames} to measure on and '
            f'{CALIBRATION} others to calibrate with; or fewer (--frames)'
        )
    order = np.random.default_rng(seed).permutation(len(scenes))
    shuffled = [scenes[number] for number in order]
    text = f'{frames} frames of {data.name}'
    return _probe(shuffled[:frames], text), _probe(shuffled[frames:], text)


def _probe(scenes: Sequence[Scene], source: str) -> Probe:
    """Say one of the instructions that fit to each picture."""
    texts = []
    for number, scene in enumerate(scenes):
        said = [q.text for q in scene.questions if q.kind is Kind.INSTRUCTION]
        texts.append(said[number % len(said)])
    images = np.stack([scene.image for scene in scenes])
    return Probe(images, tuple(texts), source, tuple(scenes))
