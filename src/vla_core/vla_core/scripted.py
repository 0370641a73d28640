"""A policy without learning, for bring-up and tests: colour blobs, outlines, a word list.

Only for the simulated robot: it knows the colours, sizes and camera of that world, sees no
obstacle and parses words. The learned policy does none of this. `vla_inference` refuses it on real
robots.
"""

from dataclasses import dataclass, field
import math
from pathlib import Path
from typing import cast

import numpy as np

from vla_core.policy import native_spec
from vla_core.types import Intent, Language, Observation, Prediction

#: Upper end of each colour's hue, degrees; the rest is red again.
_HUES = {'red': 12, 'orange': 39, 'yellow': 90, 'green': 178, 'blue': 255, 'purple': 320}
_MIN_SATURATION = 0.5
_MIN_CHROMA = 24
_COLOURS = tuple(_HUES)
_SHAPES = {
    'box': 'box',
    'cube': 'box',
    'ball': 'ball',
    'sphere': 'ball',
    'cylinder': 'cylinder',
    'pillar': 'cylinder',
}
_GOAL_WORDS = frozenset({'go', 'drive', 'move', 'head', 'navigate', 'find', 'approach', 'reach'})
_FILLERS = frozenset({'to', 'toward', 'towards', 'the', 'a', 'an', 'please', 'now', 'up', 'over'})
_MOTION_WORDS = frozenset({'go', 'drive', 'move', 'turn', 'rotate'})
#: Direction -> m/s, rad/s.
_MOTIONS = {
    'forward': (0.3, 0.0),
    'forwards': (0.3, 0.0),
    'ahead': (0.3, 0.0),
    'back': (-0.3, 0.0),
    'backward': (-0.3, 0.0),
    'backwards': (-0.3, 0.0),
    'left': (0.0, 0.6),
    'right': (0.0, -0.6),
}

#: Camera of the simulated robot after cropping 640x480 (80 degrees wide) to 192x96: px, m.
_FOCAL = 96 / math.tan(math.radians(40.0))
_HORIZON = 48
_CAMERA_TO_FRONT = 0.10
#: m: width of what the camera sees of each shape.
_WIDTHS = {'box': 0.35, 'ball': 0.40, 'cylinder': 0.26}
_SEARCH_TURN_RATE = 0.7
_CRUISE_SPEED = 0.45
_DONE_GAP = 0.27
_STOP_GAP = 0.22
_DONE_BEARING = 0.45


@dataclass(frozen=True)
class Blob:
    """Neighbouring columns of one colour; px, edges inclusive."""

    left: int
    right: int
    top: int
    bottom: int
    area: int
    frame: tuple[int, int] = field(repr=False)

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left + 1

    @property
    def cut(self) -> bool:
        """Whether the picture's lower edge hides part of it: its shape cannot be judged then."""
        return self.bottom == self.frame[0] - 1

    @property
    def bearing(self) -> float:
        """rad, positive to the left."""
        centre = (self.left + self.right) / 2
        return math.atan((self.frame[1] / 2 - 0.5 - centre) / _FOCAL)

    @property
    def shape(self) -> str:
        """Best guess from the outline."""
        height = self.bottom - self.top + 1
        if self.width / height < 0.72:
            return 'cylinder'
        return 'ball' if self.area / (self.width * height) < 0.86 else 'box'

    def continues(self, last: 'Blob') -> bool:
        """Say whether it is where, and about as wide as, a blob of the frame before."""
        overlap = min(self.right, last.right) - max(self.left, last.left)
        return overlap > 0 and self.width <= 1.5 * last.width

    def gap(self, shape: str) -> float:
        """Estimate m from the robot's front to the surface of an object of this shape."""
        size = _WIDTHS[shape]
        if shape == 'box':
            surface = _FOCAL * size / self.width
        else:
            half_angle = math.atan(self.width / 2 / _FOCAL)
            surface = size / 2 / math.sin(half_angle) - size / 2
        return surface - _CAMERA_TO_FRONT


def find_blobs(image: np.ndarray, colour: str) -> list[Blob]:
    """Find what has this colour.

    Args:
        image: uint8 [h, w, 3], RGB.
        colour: one of the six of the simulated world.
    """
    pixels = image.astype(np.int16)
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    brightest = pixels.max(axis=2)
    chroma = brightest - pixels.min(axis=2)
    vivid = (chroma >= _MIN_CHROMA) & (chroma >= _MIN_SATURATION * brightest)
    scale = 60.0 / np.maximum(chroma, 1)
    hue = np.select(
        [brightest == red, brightest == green],
        [(green - blue) * scale % 360.0, (blue - red) * scale + 120.0],
        (red - green) * scale + 240.0,
    )
    index = np.searchsorted(list(_HUES.values()), hue) % len(_HUES)
    mask = vivid & (index == _COLOURS.index(colour))
    occupied = np.flatnonzero(mask.sum(axis=0) >= 2)
    if occupied.size == 0:
        return []
    blobs = []
    for run in np.split(occupied, np.flatnonzero(np.diff(occupied) > 2) + 1):
        part = mask[:, run[0] : run[-1] + 1]
        rows = np.flatnonzero(part.any(axis=1))
        if part.sum() >= 8:
            area = int(part.sum())
            edges = (int(run[0]), int(run[-1]), int(rows[0]), int(rows[-1]))
            blobs.append(Blob(*edges, area, (mask.shape[0], mask.shape[1])))
    return blobs


def parse(text: str) -> tuple[Intent, object]:
    """Understand `go to the <colour> <shape>` and `move forward`; everything else is refused.

    Returns:
        GOAL with (colour, shape), MOTION with (m/s, rad/s), or REFUSED with None.
    """
    words = [word.strip('.,!?') for word in text.casefold().split()]
    words = [word for word in words if word and word not in _FILLERS]
    if len(words) == 3 and words[0] in _GOAL_WORDS:
        colour, shape = words[1], _SHAPES.get(words[2])
        if colour in _COLOURS and shape is not None:
            return Intent.GOAL, (colour, shape)
    if len(words) == 2 and words[0] in _MOTION_WORDS and words[1] in _MOTIONS:
        return Intent.MOTION, _MOTIONS[words[1]]
    return Intent.REFUSED, None


class ScriptedPolicy:
    """Drive straight to what looks like the named object; turn left until there is one."""

    def __init__(self) -> None:
        """Know the simulated robot's contract; there is nothing to load."""
        self.spec = native_spec('scripted')
        self._language: Language | None = None
        self._followed: Blob | None = None

    def encode(self, text: str) -> Language:
        """Parse the text."""
        intent, features = parse(text)
        return Language(text, intent, features)

    def infer(self, observation: Observation, language: Language) -> Prediction:
        """Say the same velocity for the whole horizon."""
        observation.check(self.spec)
        if language is not self._language:
            self._language, self._followed = language, None
        done = 0.0
        if language.intent is Intent.REFUSED:
            speed = turn_rate = 0.0
        elif language.intent is Intent.MOTION:
            speed, turn_rate = cast('tuple[float, float]', language.features)
        else:
            colour, shape = cast('tuple[str, str]', language.features)
            speed, turn_rate, done = self._approach(observation.images['front'], colour, shape)
        actions = np.zeros((self.spec.horizon, len(self.spec.action_names)))
        actions[:, self.spec.action_names.index('linear.x')] = speed
        actions[:, self.spec.action_names.index('angular.z')] = turn_rate
        return Prediction(actions / np.array(self.spec.action_scale), done)

    def close(self) -> None:
        """Nothing to release."""

    def _approach(self, image: np.ndarray, colour: str, shape: str) -> tuple[float, float, float]:
        """Return m/s, rad/s and the probability of having arrived."""
        target = self._choose(find_blobs(image, colour), shape)
        self._followed = target
        if target is None:
            return 0.0, _SEARCH_TURN_RATE, 0.0
        bearing, gap = target.bearing, target.gap(shape)
        if gap <= _DONE_GAP and abs(bearing) <= _DONE_BEARING:
            return 0.0, 0.0, 1.0
        speed = min(max(0.1 + 1.2 * (gap - _STOP_GAP), 0.0), _CRUISE_SPEED)
        speed *= max(1.0 - abs(bearing) / 0.7, 0.0)
        return speed, min(max(2.2 * bearing, -1.0), 1.0), 0.0

    def _choose(self, blobs: list[Blob], shape: str) -> Blob | None:
        """Take the blob that was followed and is now cut, else the largest of the right shape."""
        last = self._followed
        if last is not None:
            followed = [blob for blob in blobs if blob.cut and blob.continues(last)]
            if followed:
                return followed[0]
        fitting = [blob for blob in blobs if not blob.cut and blob.shape == shape]
        return max(fitting, key=lambda blob: blob.area, default=None)


def create_scripted(checkpoint: Path | None, device: str) -> ScriptedPolicy:
    """Make the policy for the entry point `scripted`; it has no weights and needs no device."""
    return ScriptedPolicy()
