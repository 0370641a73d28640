"""What the camera shows of a layout, by geometry: which objects, where, and how much of each.

Shape legend: N pictures, K objects (MAX_OBJECTS, padded), G tokens of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_core.types import CameraSlot
from vla_sim import robot
from vla_sim.geometry import SHAPES, wrap
from vla_sim.layout import COLOURS, Layout, MAX_OBJECTS

SLOT = CameraSlot('front', 192, 96, 'crop')
#: Rows and columns of vision tokens; a token stands for 32 x 8 pixels (height, width).
GRID = (3, 24)
KINDS = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)
#: So many pixels of an object make it seen.
SEEN_PIXELS = 6

# Pixels of the slot's picture per unit of tan(angle); the crop keeps the camera's full width.
_FOCAL = robot.FOCAL_LENGTH * SLOT.width / robot.IMAGE_WIDTH


@dataclass(frozen=True)
class View:
    """What N pictures show of their objects.

    Attributes:
        kinds: int [N, K], index into KINDS; -1: no object.
        pixels: int [N, K].
        bearing: [N, K] rad, positive to the left.
        gap: [N, K] m.
        height: [N, K] m.
    """

    kinds: np.ndarray
    pixels: np.ndarray
    bearing: np.ndarray
    gap: np.ndarray
    height: np.ndarray


def token_masks(layout: Layout, poses: np.ndarray) -> np.ndarray:
    """Count the pixels of every object in every vision token.

    Objects are painted as upright rectangles, far ones first: close enough to supervise
    attention, and far cheaper than a segmentation render.

    Args:
        layout: what stands where.
        poses: [N, 3].

    Returns:
        uint8 [N, K, G].
    """
    plan = layout.plan
    heading = poses[:, 2][:, None]
    eye = (
        poses[:, None, :2]
        + robot.CAMERA_FORWARD
        * np.concatenate([np.cos(heading), np.sin(heading)], axis=1)[:, None, :]
    )
    offset = plan.centre - eye
    distance = np.maximum(np.hypot(offset[..., 0], offset[..., 1]), 1e-3)
    bearing = wrap(np.arctan2(offset[..., 1], offset[..., 0]) - heading)
    half = np.arcsin(np.minimum(plan.silhouette / distance, 0.98))
    left, right = (np.tan(np.clip(bearing + side * half, -1.4, 1.4)) for side in (1, -1))
    near = np.maximum(distance - 0.7 * plan.silhouette, 0.05)
    top = (plan.height - robot.CAMERA_HEIGHT) / near
    bottom = -robot.CAMERA_HEIGHT / near
    columns = np.clip(np.rint(SLOT.width / 2 - _FOCAL * np.stack([left, right])), 0, SLOT.width)
    rows = np.clip(np.rint(SLOT.height / 2 - _FOCAL * np.stack([top, bottom])), 0, SLOT.height)
    columns, rows = columns.astype(int), rows.astype(int)

    tall, wide = SLOT.height // GRID[0], SLOT.width // GRID[1]
    token = (np.arange(SLOT.height)[:, None] // tall) * GRID[1] + np.arange(SLOT.width) // wide
    cells = GRID[0] * GRID[1]
    masks = np.zeros((len(poses), MAX_OBJECTS, cells), np.uint8)
    for frame in range(len(poses)):
        owner = np.zeros((SLOT.height, SLOT.width), np.int64)
        for item in np.argsort(-distance[frame]):
            if abs(bearing[frame, item]) < 1.4:
                owner[
                    rows[0, frame, item] : rows[1, frame, item],
                    columns[0, frame, item] : columns[1, frame, item],
                ] = item + 1
        count = np.bincount((owner * cells + token).ravel(), minlength=(MAX_OBJECTS + 1) * cells)
        masks[frame] = np.minimum(count.reshape(-1, cells)[1:], 255)
    return masks


def look(layout: Layout, poses: np.ndarray) -> tuple[View, np.ndarray]:
    """Say what the camera shows of a layout at poses [N, 3]; also `token_masks`."""
    plan, count = layout.plan, len(layout.objects)
    masks = token_masks(layout, poses)
    offset = plan.centre[None] - poses[:, None, :2]
    bearing = wrap(np.arctan2(offset[..., 1], offset[..., 0]) - poses[:, 2][:, None])
    kinds = np.full((len(poses), MAX_OBJECTS), -1, np.int8)
    kinds[:, :count] = [KINDS.index((item.colour, item.shape)) for item in layout.objects]

    def padded(values: np.ndarray) -> np.ndarray:
        result = np.zeros(kinds.shape)
        result[:, :count] = values
        return result

    gaps = plan.gaps(poses[:, :2])
    pixels = masks.sum(axis=-1, dtype=np.int32)
    return View(kinds, pixels, padded(bearing), padded(gaps), padded(plan.height)), masks
