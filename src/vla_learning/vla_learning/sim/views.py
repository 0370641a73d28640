"""What the camera shows of a layout, by geometry: which objects, where, and how much of each.

Shape legend: N pictures, K objects (MAX_OBJECTS, padded), G tokens of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vla_core.errors import ConfigError
from vla_core.types import CameraSlot
from vla_learning.model.config import ModelConfig, TOKEN
from vla_sim import robot
from vla_sim.geometry import SHAPES, wrap
from vla_sim.layout import COLOURS, Layout, MAX_OBJECTS

#: The demo's picture, and the one in whose pixels a `View` counts whatever a network looks at.
SLOT = CameraSlot('front', 192, 96, 'crop')
KINDS = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)
#: So many pixels of an object make it seen.
SEEN_PIXELS = 6


@dataclass(frozen=True)
class View:
    """What N pictures show of their objects.

    Attributes:
        kinds: int [N, K], index into KINDS; -1: no object.
        pixels: [N, K], of a picture of SLOT's size.
        bearing: [N, K] rad, positive to the left.
        gap: [N, K] m.
        height: [N, K] m.
    """

    kinds: np.ndarray
    pixels: np.ndarray
    bearing: np.ndarray
    gap: np.ndarray
    height: np.ndarray


def slot_of(model: ModelConfig) -> CameraSlot:
    """Return the picture that a network of this size gets of the simulated robot's camera.

    Raises:
        ConfigError: if it is narrower than the camera's own, so that a crop would cut its sides.
    """
    if model.width * robot.IMAGE_HEIGHT < model.height * robot.IMAGE_WIDTH:
        raise ConfigError(
            f'model picture {model.width}x{model.height}: the simulated camera is '
            f'{robot.IMAGE_WIDTH}x{robot.IMAGE_HEIGHT}: expected one that is no narrower'
        )
    return replace(SLOT, width=model.width, height=model.height)


def grid_of(slot: CameraSlot) -> tuple[int, int]:
    """Return rows and columns of the vision tokens of a picture."""
    return slot.height // TOKEN[0], slot.width // TOKEN[1]


def token_masks(layout: Layout, poses: np.ndarray, slot: CameraSlot = SLOT) -> np.ndarray:
    """Count the pixels of every object in every vision token.

    Objects are painted as upright rectangles, far ones first: close enough to supervise
    attention, and far cheaper than a segmentation render.

    Args:
        layout: what stands where.
        poses: [N, 3].
        slot: the picture.

    Returns:
        uint8 [N, K, G].
    """
    plan = layout.plan
    # Pixels per unit of tan(angle); the crop keeps the camera's full width.
    focal = robot.FOCAL_LENGTH * slot.width / robot.IMAGE_WIDTH
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
    columns = np.clip(np.rint(slot.width / 2 - focal * np.stack([left, right])), 0, slot.width)
    rows = np.clip(np.rint(slot.height / 2 - focal * np.stack([top, bottom])), 0, slot.height)
    columns, rows = columns.astype(int), rows.astype(int)

    grid, (tall, wide) = grid_of(slot), TOKEN
    token = (np.arange(slot.height)[:, None] // tall) * grid[1] + np.arange(slot.width) // wide
    cells = grid[0] * grid[1]
    masks = np.zeros((len(poses), MAX_OBJECTS, cells), np.uint8)
    for frame in range(len(poses)):
        owner = np.zeros((slot.height, slot.width), np.int64)
        for item in np.argsort(-distance[frame]):
            if abs(bearing[frame, item]) < 1.4:
                owner[
                    rows[0, frame, item] : rows[1, frame, item],
                    columns[0, frame, item] : columns[1, frame, item],
                ] = item + 1
        count = np.bincount((owner * cells + token).ravel(), minlength=(MAX_OBJECTS + 1) * cells)
        masks[frame] = np.minimum(count.reshape(-1, cells)[1:], 255)
    return masks


def counted(masks: np.ndarray, slot: CameraSlot) -> np.ndarray:
    """Bring `token_masks` of a picture to what a `View` counts in: [N, K]."""
    area = slot.width * slot.height / (SLOT.width * SLOT.height)
    return masks.sum(axis=-1, dtype=np.int32) / area


def look(layout: Layout, poses: np.ndarray, slot: CameraSlot = SLOT) -> tuple[View, np.ndarray]:
    """Say what the camera shows of a layout at poses [N, 3]; also `token_masks`."""
    plan, count = layout.plan, len(layout.objects)
    masks = token_masks(layout, poses, slot)
    offset = plan.centre[None] - poses[:, None, :2]
    bearing = wrap(np.arctan2(offset[..., 1], offset[..., 0]) - poses[:, 2][:, None])
    kinds = np.full((len(poses), MAX_OBJECTS), -1, np.int8)
    kinds[:, :count] = [KINDS.index((item.colour, item.shape)) for item in layout.objects]

    def padded(values: np.ndarray) -> np.ndarray:
        result = np.zeros(kinds.shape)
        result[:, :count] = values
        return result

    gaps = plan.gaps(poses[:, :2])
    pixels = counted(masks, slot)
    return View(kinds, pixels, padded(bearing), padded(gaps), padded(plan.height)), masks
