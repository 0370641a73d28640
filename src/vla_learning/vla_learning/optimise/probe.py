"""What every variant is shown: the same frames with the same instructions.

Shape legend: N frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vla_core.types import Observation

if TYPE_CHECKING:
    from vla_learning.questions import Scene


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
