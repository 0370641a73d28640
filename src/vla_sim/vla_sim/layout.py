"""Layout distribution v1: what stands where, how it looks, where the robot starts.

Frozen: figures of different checkpoints compare only as long as a seed means the same layout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import math
from typing import TypeVar

import numpy as np

from vla_sim import robot
from vla_sim.errors import SimulationError
from vla_sim.geometry import BALL, BOX, CYLINDER, Plan, SHAPES, wrap

LAYOUT_VERSION = 1

T = TypeVar('T')

COLOURS: dict[str, tuple[float, float, float]] = {
    'red': (0.86, 0.05, 0.07),
    'green': (0.08, 0.62, 0.14),
    'blue': (0.06, 0.22, 0.90),
    'yellow': (0.95, 0.86, 0.06),
    'purple': (0.52, 0.10, 0.72),
    'orange': (1.00, 0.42, 0.02),
}

ARENA_HALF_WIDTH = 3.5
MAX_OBJECTS = 6
MIN_SEPARATION = 1.0
SIZES = {BOX: 0.32, BALL: 0.20, CYLINDER: 0.13}
CYLINDER_HEIGHT = 0.50
SIZE_JITTER = 0.10

_OBJECT_TO_WALL = 0.9
_START_TO_WALL = 0.6
_START_GAP = 0.35
_START_DISTANCE = (1.0, 4.0)
_OUT_OF_VIEW = 0.4
_SEEN = 0.6

FLOOR_COLOURS = (
    (0.62, 0.62, 0.62),
    (0.45, 0.45, 0.47),
    (0.66, 0.61, 0.54),
    (0.50, 0.46, 0.42),
    (0.56, 0.60, 0.62),
)
WALL_COLOURS = (
    (0.82, 0.82, 0.82),
    (0.76, 0.74, 0.70),
    (0.66, 0.69, 0.72),
    (0.55, 0.55, 0.55),
    (0.78, 0.76, 0.78),
)
FLOOR_TEXTURES = ('plain', 'checker', 'speckle')
WALL_TEXTURES = ('plain', 'panel', 'speckle')


@dataclass(frozen=True)
class SceneObject:
    """One object on the floor.

    Args:
        colour: A key of COLOURS.
        shape: One of SHAPES.
        x: Metres in the arena.
        y: Metres in the arena.
        yaw: Radians; matters for boxes.
        size: Edge of a box, radius of a ball or a cylinder, metres.
    """

    colour: str
    shape: str
    x: float
    y: float
    yaw: float
    size: float

    @property
    def name(self) -> str:
        """Words for the object, such as 'red ball'."""
        return f'{self.colour} {self.shape}'

    @property
    def height(self) -> float:
        """Metres from the floor to the top."""
        if self.shape == CYLINDER:
            return CYLINDER_HEIGHT * self.size / SIZES[CYLINDER]
        return self.size * (2 if self.shape == BALL else 1)


@dataclass(frozen=True)
class Appearance:
    """Looks that carry no meaning: floor, walls and light.

    Args:
        floor_colour: RGB, 0..1.
        floor_texture: One of FLOOR_TEXTURES.
        wall_colour: RGB, 0..1.
        wall_texture: One of WALL_TEXTURES.
        light_direction: Unit vector along which the light falls.
        light_brightness: Share of the directional light, 0..1.
        ambient_brightness: Share of the light that comes from everywhere, 0..1.
        light_colour: RGB factors near 1, warm to cool.
    """

    floor_colour: tuple[float, float, float]
    floor_texture: str
    wall_colour: tuple[float, float, float]
    wall_texture: str
    light_direction: tuple[float, float, float]
    light_brightness: float
    ambient_brightness: float
    light_colour: tuple[float, float, float]


@dataclass(frozen=True)
class Layout:
    """One episode's world.

    Args:
        seed: The seed it was sampled from.
        objects: 4 to 6 objects, no two alike.
        target: Index of the object to drive to.
        start: x, y, yaw of the robot, metres and radians.
        appearance: Looks of the arena.
    """

    seed: int
    objects: tuple[SceneObject, ...]
    target: int
    start: tuple[float, float, float]
    appearance: Appearance

    @property
    def plan(self) -> Plan:
        """The objects as arrays."""
        return Plan(
            [item.shape for item in self.objects],
            [item.x for item in self.objects],
            [item.y for item in self.objects],
            [item.yaw for item in self.objects],
            [item.size for item in self.objects],
            [item.height for item in self.objects],
        )

    def find(self, colour: str, shape: str) -> int | None:
        """Return the index of the object so named, None if there is no such object."""
        for index, item in enumerate(self.objects):
            if (item.colour, item.shape) == (colour, shape):
                return index
        return None


class _Draw:
    """Draws that use only uniform doubles: the part of numpy's streams that never changed."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.Generator(np.random.PCG64(seed)).random

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(self._random())

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self._random() * len(items))]

    def chance(self, probability: float) -> bool:
        return float(self._random()) < probability


def sample_layout(seed: int) -> Layout:
    """Sample the layout of a seed.

    Args:
        seed: Below 500 000 for training, 500 000 to 999 999 for choosing, above 1 000 000 for
            judging.

    Raises:
        SimulationError: The seed is negative.
    """
    if seed < 0:
        raise SimulationError(f'layout seed is {seed}; expected an integer >= 0')
    draw = _Draw(seed)
    out_of_view = draw.chance(_OUT_OF_VIEW)
    while True:
        objects = _sample_objects(draw)
        target = draw.pick(range(len(objects)))
        objects = _with_look_alikes(draw, objects, target)
        appearance = _sample_appearance(draw)
        layout = Layout(seed, objects, target, (0.0, 0.0, 0.0), appearance)
        start = _sample_start(draw, layout, out_of_view)
        if start is not None:
            return Layout(seed, objects, target, start, appearance)


def _sample_objects(draw: _Draw) -> tuple[SceneObject, ...]:
    """Sample places and sizes with distinct kinds; the target's look-alikes come later."""
    kinds = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    limit = ARENA_HALF_WIDTH - _OBJECT_TO_WALL
    objects: list[SceneObject] = []
    count = draw.pick((4, 5, 6))
    while len(objects) < count:
        x, y = draw.uniform(-limit, limit), draw.uniform(-limit, limit)
        if any(math.hypot(x - other.x, y - other.y) < MIN_SEPARATION for other in objects):
            continue
        colour, shape = kinds.pop(int(draw.uniform(0, len(kinds))))
        objects.append(_scene_object(draw, colour, shape, x, y))
    return tuple(objects)


def _scene_object(draw: _Draw, colour: str, shape: str, x: float, y: float) -> SceneObject:
    size = SIZES[shape] * draw.uniform(1 - SIZE_JITTER, 1 + SIZE_JITTER)
    return SceneObject(colour, shape, x, y, draw.uniform(-math.pi, math.pi), size)


def _with_look_alikes(
    draw: _Draw, objects: tuple[SceneObject, ...], target: int
) -> tuple[SceneObject, ...]:
    """Make two others share the target's colour and its shape, unless they do already."""
    wanted = objects[target]
    result = list(objects)
    free = [index for index in range(len(objects)) if index != target]
    taken = {(item.colour, item.shape) for item in objects}

    def replace(matches: Callable[[SceneObject], bool], kinds: list[tuple[str, str]]) -> None:
        kept = next((index for index in free if matches(result[index])), None)
        if kept is not None:
            free.remove(kept)
            return
        index = free.pop(int(draw.uniform(0, len(free))))
        colour, shape = draw.pick([kind for kind in kinds if kind not in taken])
        taken.add((colour, shape))
        old = result[index]
        result[index] = _scene_object(draw, colour, shape, old.x, old.y)

    replace(
        lambda item: item.colour == wanted.colour,
        [(wanted.colour, shape) for shape in SHAPES],
    )
    replace(
        lambda item: item.shape == wanted.shape,
        [(colour, wanted.shape) for colour in COLOURS],
    )
    return tuple(result)


def _sample_appearance(draw: _Draw) -> Appearance:
    azimuth = draw.uniform(-math.pi, math.pi)
    elevation = draw.uniform(math.radians(35), math.radians(75))
    warmth = draw.uniform(-0.04, 0.04)
    ambient = draw.uniform(0.55, 0.70)
    return Appearance(
        floor_colour=draw.pick(FLOOR_COLOURS),
        floor_texture=draw.pick(FLOOR_TEXTURES),
        wall_colour=draw.pick(WALL_COLOURS),
        wall_texture=draw.pick(WALL_TEXTURES),
        light_direction=(
            math.cos(azimuth) * math.cos(elevation),
            math.sin(azimuth) * math.cos(elevation),
            -math.sin(elevation),
        ),
        light_brightness=draw.uniform(0.25, 0.40),
        ambient_brightness=ambient,
        light_colour=(1.0 + warmth, 1.0, 1.0 - warmth),
    )


def _sample_start(
    draw: _Draw, layout: Layout, out_of_view: bool
) -> tuple[float, float, float] | None:
    """Sample a start pose; None if this layout seems to have none."""
    plan = layout.plan
    target = layout.objects[layout.target]
    limit = ARENA_HALF_WIDTH - _START_TO_WALL
    for _ in range(200):
        distance, around = draw.uniform(*_START_DISTANCE), draw.uniform(-math.pi, math.pi)
        x, y = target.x + distance * math.cos(around), target.y + distance * math.sin(around)
        bearing = draw.uniform(-math.pi, math.pi)
        yaw = float(wrap(around + math.pi - bearing))
        if max(abs(x), abs(y)) > limit:
            continue
        if plan.gaps(np.array([[x, y]])).min() < _START_GAP:
            continue
        # Facing it, the target can be seen: turning in place always finds it.
        poses = np.array([[x, y, yaw], [x, y, around + math.pi]])
        seen, seen_facing = plan.visible_fraction(
            poses, np.array([layout.target] * 2), over_the_top=False
        )
        if seen_facing < _SEEN:
            continue
        behind = seen == 0 and abs(bearing) > robot.HORIZONTAL_FOV / 2
        if behind if out_of_view else seen > _SEEN:
            return x, y, yaw
    return None
