"""The one way from a camera's pixels to a policy's input.

Camera node, simulator stream, dataset conversion and evaluation call `resize`, so that what a
policy is trained on and what it sees on the robot are equal to the bit. Pillow's BOX filter is
the mean of the pixels that fall into each target pixel, in integer arithmetic: the same bytes on
every machine.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from vla_core.errors import ObservationError
from vla_core.types import CameraSlot

#: px; larger numbers are no camera's, and could overflow when they are scaled.
MAX_INTRINSIC = 1e9


class _Placement(NamedTuple):
    """Where pixels come from and go to: source rectangle, size it is scaled to, target corner."""

    left: int
    top: int
    width: int
    height: int
    scaled_width: int
    scaled_height: int
    target_left: int
    target_top: int


def resize(image: np.ndarray, slot: CameraSlot) -> np.ndarray:
    """Bring an image to the slot's size in the slot's mode.

    `stretch` changes the aspect ratio, `crop` first cuts the centre to the slot's aspect ratio,
    `pad` keeps everything and adds black borders.

    Args:
        image: uint8 [height, width, 3].
        slot: size and mode to bring it to.

    Returns:
        uint8 [slot.height, slot.width, 3], an array of its own.

    Raises:
        ObservationError: if the image is not uint8 [height >= 1, width >= 1, 3].
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ObservationError(
            f'image of {image.dtype} {image.shape}: expected uint8 [height, width, 3]'
        )
    place = _place(image.shape[1], image.shape[0], slot)
    cut = image[
        place.top : place.top + place.height,
        place.left : place.left + place.width,
    ]
    scaled = np.array(
        Image.fromarray(np.ascontiguousarray(cut)).resize(
            (place.scaled_width, place.scaled_height), Image.Resampling.BOX
        )
    )
    if slot.mode != 'pad':
        return scaled
    padded = np.zeros((slot.height, slot.width, 3), np.uint8)
    padded[
        place.target_top : place.target_top + place.scaled_height,
        place.target_left : place.target_left + place.scaled_width,
    ] = scaled
    return padded


def scale_intrinsics(
    k: Sequence[float], width: int, height: int, slot: CameraSlot
) -> tuple[float, ...]:
    """Say which intrinsics the image has after `resize`.

    Pixel centres are at integer coordinates (the convention of CameraInfo and OpenCV), so a
    coordinate u maps to (u + 0.5 - left) * scale - 0.5 + target_left.

    Args:
        k: row-major 3x3 camera matrix, or 3x4 projection matrix; px.
        width: px, of the image before `resize`.
        height: px, of the image before `resize`.
        slot: size and mode of the image after it.

    Returns:
        The matrix for the resized image, as many numbers as came in.

    Raises:
        ObservationError: if `k` has not 9 or 12 numbers within MAX_INTRINSIC, or a side is below
            1.
    """
    matrix = np.asarray(k, dtype=np.float64)
    # NaN fails the comparison too.
    if matrix.shape not in ((9,), (12,)) or not (np.abs(matrix) <= MAX_INTRINSIC).all():
        raise ObservationError(
            f'camera matrix {list(k)}: expected 9 or 12 finite numbers up to {MAX_INTRINSIC:g}'
        )
    if width < 1 or height < 1:
        raise ObservationError(f'camera of {width}x{height} pixels: expected at least 1x1')
    place = _place(width, height, slot)
    scale_x = place.scaled_width / place.width
    scale_y = place.scaled_height / place.height
    shift_x = (0.5 - place.left) * scale_x - 0.5 + place.target_left
    shift_y = (0.5 - place.top) * scale_y - 0.5 + place.target_top
    row_x, row_y, row_w = matrix.reshape(3, -1)
    return tuple(
        np.concatenate(
            (scale_x * row_x + shift_x * row_w, scale_y * row_y + shift_y * row_w, row_w)
        ).tolist()
    )


def _place(width: int, height: int, slot: CameraSlot) -> _Placement:
    """Lay a width x height image into a slot, in whole pixels."""
    if slot.mode == 'stretch':
        return _Placement(0, 0, width, height, slot.width, slot.height, 0, 0)
    if slot.mode == 'crop':
        across, down = _fit(slot.width, slot.height, width, height)
        left, top = (width - across) // 2, (height - down) // 2
        return _Placement(left, top, across, down, slot.width, slot.height, 0, 0)
    across, down = _fit(width, height, slot.width, slot.height)
    left, top = (slot.width - across) // 2, (slot.height - down) // 2
    return _Placement(0, 0, width, height, across, down, left, top)


def _fit(width: int, height: int, room_width: int, room_height: int) -> tuple[int, int]:
    """Largest size of aspect width:height inside the room, rounded half up, at least 1x1.

    Integer arithmetic: a float would round differently where a side falls on a half pixel.
    """
    if room_width * height <= room_height * width:
        return room_width, max(1, (2 * room_width * height + width) // (2 * width))
    return max(1, (2 * room_height * width + height) // (2 * height)), room_height
