"""Pictures of an evaluation: where the policy looked, and where it drove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
import math
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

from vla_core.types import CameraSlot
from vla_learning.answers import Kind
from vla_learning.asking import Asked, Listener
from vla_learning.drives import Drive
from vla_learning.questions import Question, Scene
from vla_sim.layout import sample_layout
from vla_sim.picture import draw_map

#: Scenes that are shown, instructions of each, and pixels of a picture's longer side.
_SCENES, _INSTRUCTIONS, _SIDE = 6, 3, 384
_MAP = 300
#: Opacity of the strongest attention.
_OPACITY = 0.6


@dataclass(frozen=True)
class Overlay:
    """A frame with what was said, where the policy looked, and what it did.

    Attributes:
        scene: number of the picture.
        text: what was said.
        picture: the frame with the attention on it; the plain frame if the policy has none.
        nothing: share of the attention on "nothing of it in sight"; None: no such entry.
        action: native, [D], what the robot would do.
        target: native, [D]; None where it is not known.
        attention: float32 [heads, tokens] as the policy gave it; None if it gave none.
    """

    scene: int
    text: str
    picture: Image.Image
    nothing: float | None
    action: np.ndarray
    target: np.ndarray | None
    attention: np.ndarray | None


def overlays(listener: Listener, asked: Asked) -> list[Overlay]:
    """Ask again about the scenes in which the right answers differ most, and look at attention."""
    result = []
    for number in _choose(asked.scenes):
        scene = asked.scenes[number]
        for question in _varied(scene):
            answer = listener.ask(scene, question, number)
            attention = getattr(listener.policy, 'attention', None)
            slot = listener.policy.spec.cameras[0]
            heat, nothing = _heat(attention, slot)
            still = answer['refused'] or answer['done'] > 0.5
            result.append(
                Overlay(
                    scene=number,
                    text=question.text,
                    picture=blend(scene.image, heat),
                    nothing=nothing,
                    action=np.zeros_like(question.target[0]) if still else answer['predicted'][0],
                    target=question.target[0] if question.valid[0].any() else None,
                    attention=attention if heat is not None else None,
                )
            )
    return result


def grid(tokens: int, slot: CameraSlot) -> tuple[int, int] | None:
    """Rows and columns of so many vision tokens; None if there is no such grid.

    The compact network's tokens stand for 32 x 8 pixels (height, width), those of a ResNet for
    equal parts of the picture.
    """
    rows, columns = slot.height // 32, slot.width // 8
    if rows * columns == tokens:
        return rows, columns
    side = math.isqrt(tokens)
    return (side, side) if side * side == tokens > 0 else None


def blend(image: np.ndarray, heat: np.ndarray | None) -> Image.Image:
    """Lay attention [rows, columns] over a frame uint8 [h, w, 3], enlarged."""
    scale = max(1, round(_SIDE / max(image.shape[:2])))
    size = image.shape[1] * scale, image.shape[0] * scale
    frame = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
    if heat is None or heat.max() <= 0:
        return frame
    strength = Image.fromarray((heat / heat.max()).astype(np.float32))
    strength = np.clip(np.asarray(strength.resize(size, Image.Resampling.BICUBIC)), 0.0, 1.0)
    colour = 255 * mpl.colormaps['inferno'](strength)[..., :3]
    # Where nobody looked, the frame is darker, so that the rest stands out on any scene.
    base = np.asarray(frame, np.float32) * (0.7 + 0.3 * strength[..., None])
    alpha = _OPACITY * strength[..., None] ** 1.5
    return Image.fromarray((base * (1 - alpha) + colour * alpha).astype(np.uint8))


def save_attention(path: Path, shown: Sequence[Overlay]) -> None:
    """Write the attention of the frames shown, [n, heads, tokens], beside what was said."""
    looked = [overlay for overlay in shown if overlay.attention is not None]
    np.savez_compressed(
        path,
        scene=np.array([overlay.scene for overlay in looked], np.int64),
        text=np.array([overlay.text for overlay in looked], np.str_),
        attention=np.array([overlay.attention for overlay in looked], np.float32),
    )


def path_picture(drive: Drive) -> Image.Image:
    """Draw a drive from above."""
    layout = replace(sample_layout(drive.seed), target=drive.target)
    return draw_map(layout, drive.poses, _MAP)


def _heat(
    attention: np.ndarray | None, slot: CameraSlot
) -> tuple[np.ndarray | None, float | None]:
    """Average the heads of [heads, G] or [heads, 1 + G], whose entry 0 means "nothing"."""
    if attention is None or attention.ndim != 2 or attention.size == 0:
        return None, None
    mean = np.asarray(attention, np.float64).mean(axis=0)
    for first in (1, 0):
        shape = grid(len(mean) - first, slot)
        if shape is not None:
            return mean[first:].reshape(shape), float(mean[0]) if first else None
    return None, None


def _choose(scenes: Sequence[Scene]) -> list[int]:
    """Number the scenes that are shown; where no right answers differ, spread over all."""
    contrasts = [_contrast(scene) for scene in scenes]
    if not any(contrasts):
        spread = np.linspace(0, len(scenes) - 1, min(_SCENES, len(scenes))).round()
        return spread.astype(int).tolist()
    order = sorted(range(len(scenes)), key=lambda number: (-contrasts[number], number))
    return sorted(order[:_SCENES])


def _contrast(scene: Scene) -> float:
    """How far the right answers of a scene are apart; 0 where fewer than two are known."""
    targets = [q.target[0] for q in scene.questions if q.valid[0].any()]
    return float(np.ptp(np.array(targets), axis=0).max()) if len(targets) > 1 else 0.0


def _varied(scene: Scene) -> list[Question]:
    """One wording each of the instructions whose right answers are furthest apart."""
    first: dict[int, Question] = {}
    for question in scene.questions:
        if question.kind is Kind.INSTRUCTION:
            first.setdefault(question.meaning, question)
    ordered = sorted(first.values(), key=lambda q: float(q.target[0].sum()))
    if len(ordered) <= _INSTRUCTIONS:
        return ordered
    chosen = np.linspace(0, len(ordered) - 1, _INSTRUCTIONS).round().astype(int)
    return [ordered[index] for index in chosen]
