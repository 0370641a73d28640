"""What one training step sees, whatever it was read from.

Shape legend: B pictures, K instructions per picture, N = B * K, T words, E width of the frozen
encoder, H horizon, D axes, G vision tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor


class Features(NamedTuple):
    """Token embeddings of N instructions, as a frozen language encoder gives them.

    Attributes:
        tokens: float [N, T, E].
        padding: bool [N, T], True where there is no word.
    """

    tokens: Tensor
    padding: Tensor


class Scene(NamedTuple):
    """What a simulator knows about the named object: extra teachers beside the action.

    Attributes:
        done: bool [N], the instruction is fulfilled.
        motion: bool [N], the instruction names no object at all.
        seen: bool [N], the named object is in the picture.
        place: float [N, 2], its bearing in radians and its gap in metres.
        mask: float [N, G], its pixels in each vision token.
        first: float [N, G], likewise of what must be found first: in "the ball left of the red
            box" the box, else the object itself.
    """

    done: Tensor
    motion: Tensor
    seen: Tensor
    place: Tensor
    mask: Tensor
    first: Tensor


@dataclass(frozen=True)
class Batch:
    """One step's data.

    Attributes:
        image: uint8 [B, h, w, 3].
        text: N instructions; picture b has those from b * K to (b + 1) * K.
        actions: float [N, H, D] in native units, [-1, 1].
        valid: bool [N, H, D], False where the recording ended or an axis is not taught.
        rows: int64 [B], where each picture stands in its source, for error messages.
        features: of `text`, where the source has them already; else the trainer encodes `text`.
        scene: teachers of the simulator, or None.
    """

    image: Tensor
    text: tuple[str, ...]
    actions: Tensor
    valid: Tensor
    rows: Tensor
    features: Features | None = None
    scene: Scene | None = None


class Source(Protocol):
    """Where batches come from.

    A batch depends on nothing but the step (and the source's own seed), so that a resumed run and
    one that is spread over processes see the same data as an uninterrupted one.
    """

    @property
    def samples(self) -> int | None:
        """Pictures of one epoch; None for an endless stream."""
        ...

    def batch(self, step: int, part: int = 0, parts: int = 1) -> Batch:
        """Return the batch of `step`, or of it the share of process `part` of `parts`.

        Of B pictures a share has those from B * part // parts to B * (part + 1) // parts: what is
        drawn for each picture elsewhere (`vla_learning.randomise`) then meets the same picture.
        """
        ...
