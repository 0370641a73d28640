"""Pictures of episodes: a map with the robot's path beside what its camera saw.

`python -m vla_sim.picture OUT.png` draws an episode of the scripted expert.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vla_sim import robot
from vla_sim.arena import Arena
from vla_sim.expert import Expert
from vla_sim.geometry import BOX
from vla_sim.layout import ARENA_HALF_WIDTH, COLOURS, Layout, sample_layout

MAP_SIZE = 720
_OVERSAMPLING = 2
_FRAMES = 4
_FRAME_SIZE = (240, 180)
_LINE = 28
_PERIOD = 0.04
_FRAME_EVERY = 10
_TIME_LIMIT = 60.0

_GROUND, _WALL, _INK, _PATH, _MARK = '#f4f2ee', '#8a8780', '#222222', '#0b7285', '#e8590c'


@dataclass
class Record:
    """What one episode looked like.

    Args:
        layout: Where things stood.
        poses: x, y, yaw of the robot, in order.
        frames: Seconds and picture, uint8 [480, 640, 3], in order.
    """

    layout: Layout
    poses: list[tuple[float, float, float]] = field(default_factory=list)
    frames: list[tuple[float, np.ndarray]] = field(default_factory=list)


def draw_map(
    layout: Layout, poses: Sequence[tuple[float, float, float]], size: int = MAP_SIZE
) -> Image.Image:
    """Draw the arena from above, x to the right, with the robot's path and the target marked.

    Args:
        layout: Where things stand.
        poses: x, y, yaw of the robot, in order; the first and the last are drawn as the robot.
        size: Edge of the picture, pixels.
    """
    large = size * _OVERSAMPLING
    scale = large / (2 * ARENA_HALF_WIDTH + 0.3)
    image = Image.new('RGB', (large, large), _WALL)
    draw = ImageDraw.Draw(image)

    def at(x: float, y: float) -> tuple[float, float]:
        return large / 2 + scale * x, large / 2 - scale * y

    def disc(x: float, y: float, radius: float, **style: object) -> None:
        centre_x, centre_y = at(x, y)
        reach = scale * radius
        box = (centre_x - reach, centre_y - reach, centre_x + reach, centre_y + reach)
        draw.ellipse(box, **style)

    corners = (at(-ARENA_HALF_WIDTH, ARENA_HALF_WIDTH), at(ARENA_HALF_WIDTH, -ARENA_HALF_WIDTH))
    draw.rectangle(corners, fill=_GROUND)
    target = layout.objects[layout.target]
    disc(target.x, target.y, 0.42, outline=_MARK, width=large // 180)
    for item in layout.objects:
        colour = tuple(round(255 * part) for part in COLOURS[item.colour])
        if item.shape == BOX:
            reach = item.size / math.sqrt(2)
            angles = [item.yaw + math.pi / 4 + corner * math.pi / 2 for corner in range(4)]
            points = [
                at(item.x + reach * math.cos(angle), item.y + reach * math.sin(angle))
                for angle in angles
            ]
            draw.polygon(points, fill=colour, outline=_INK)
        else:
            disc(item.x, item.y, item.size, fill=colour, outline=_INK)
        label = at(item.x, item.y - 0.30)
        draw.text(label, item.shape, fill=_INK, font=_font(large // 55), anchor='mt')
    if len(poses) > 1:
        draw.line([at(x, y) for x, y, _ in poses], fill=_PATH, width=large // 150, joint='curve')
    for x, y, yaw in (*poses[:1], *poses[-1:]):
        radius = robot.FOOTPRINT_RADIUS
        disc(x, y, radius, outline=_PATH, width=large // 250)
        tip = at(x + radius * math.cos(yaw), y + radius * math.sin(yaw))
        draw.line([at(x, y), tip], fill=_PATH, width=large // 200)
    return image.resize((size, size), Image.Resampling.LANCZOS)


def draw_episode(record: Record, caption: str) -> Image.Image:
    """Draw the map, four of the camera's frames in order, and a caption below."""
    width, height = _FRAME_SIZE
    picture = Image.new('RGB', (MAP_SIZE + width, MAP_SIZE + _LINE), 'white')
    picture.paste(draw_map(record.layout, record.poses), (0, 0))
    draw = ImageDraw.Draw(picture)
    chosen = np.linspace(0, len(record.frames) - 1, min(_FRAMES, len(record.frames))).round()
    for row, index in enumerate(chosen.astype(int)):
        seconds, frame = record.frames[index]
        small = Image.fromarray(frame).resize((width, height), Image.Resampling.BOX)
        picture.paste(small, (MAP_SIZE, row * height))
        draw.text((MAP_SIZE + 6, row * height + 4), f'{seconds:.1f} s', fill=_INK, font=_font(15))
    draw.text((8, MAP_SIZE + 4), caption, fill=_INK, font=_font(17))
    return picture


def record_expert(arena: Arena, layout: Layout) -> Record:
    """Let the scripted expert drive to the layout's target."""
    arena.reset(layout)
    expert, record = Expert(layout), Record(layout)
    done, step = False, 0
    while not done and arena.sim_time < _TIME_LIMIT:
        speed, turn_rate, done = expert.act(arena.pose, layout.target)
        record.poses.append(arena.pose)
        if done or step % _FRAME_EVERY == 0:
            record.frames.append((arena.sim_time, arena.render()))
        arena.command(speed, turn_rate)
        arena.advance(_PERIOD)
        step += 1
    return record


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw an episode of the scripted expert."""
    parser = argparse.ArgumentParser(prog='python -m vla_sim.picture', description=main.__doc__)
    parser.add_argument('out', type=Path, help='PNG file to write')
    parser.add_argument('--seed', type=int, default=1_000_002, help='layout (default %(default)s)')
    given = parser.parse_args(arguments)
    arena = Arena()
    record = record_expert(arena, sample_layout(given.seed))
    target = record.layout.objects[record.layout.target]
    caption = (
        f'scripted expert, "go to the {target.name}": gap {arena.gap(record.layout.target):.2f} m '
        f'after {arena.sim_time:.0f} s (layout {given.seed})'
    )
    arena.close()
    draw_episode(record, caption).save(given.out)


if __name__ == '__main__':
    main()
