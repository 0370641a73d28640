"""Shadows: regions with soft edges in which less light is left.

A shadow is what straight edges cut off: a half plane (a wall, the edge of a roof), a strip (a
post, a frame of a window) or a polygon (a box, a table). Its signed distance field is cut at the
level that gives the wanted area, and a smooth step across that level is the soft edge. Nothing is
known of the depth of the scene, so a shadow runs straight across the edges of things.

Shape legend: N pictures, S pictures with a shadow, E = 4 edges.
"""

from __future__ import annotations

from collections.abc import Callable
import math
from typing import NamedTuple

import torch
from torch import Tensor

_EDGES = 4
#: Every so many pixels are enough to find the level of an area.
_COARSE = 4
#: Corners are rounded over this share of an edge's width.
_ROUND = 0.25


class Shadows(NamedTuple):
    """One shadow per picture; lengths in shorter sides of the picture, from its centre.

    Attributes:
        angle: float [N, E], rad, where the edges' normals point, x right and y down.
        reach: float [N, E], distance of the edges from `centre`, up to a common amount.
        centre: float [N, 2], x and y.
        intensity: float [N], share of the light that is left.
        area: float [N], share of the picture inside.
        softness: float [N], width of the edge.
    """

    angle: Tensor
    reach: Tensor
    centre: Tensor
    intensity: Tensor
    area: Tensor
    softness: Tensor


def draw_outlines(
    uniform: Callable[..., Tensor],
    intensity: tuple[float, float],
    area: tuple[float, float],
    softness: tuple[float, float],
) -> Shadows:
    """Draw N shadows, a third each half planes, strips and polygons.

    Args:
        uniform: (low, high, *shape) -> numbers [N, *shape].
        intensity: range.
        area: range.
        softness: range.
    """
    kind = uniform(0, 3)[:, None]
    first = uniform(-math.pi, math.pi)[:, None]
    corner = torch.arange(_EDGES) * (2 * math.pi / _EDGES)
    strip = math.pi * (torch.arange(_EDGES) % 2)
    polygon = corner + uniform(-0.5, 0.5, _EDGES)
    turned = torch.where(kind < 1, 0.0, torch.where(kind < 2, strip, polygon))
    return Shadows(
        angle=first + turned,
        reach=torch.where(kind < 2, 0.0, uniform(-0.3, 0.3, _EDGES)),
        centre=uniform(-0.5, 0.5, 2),
        intensity=uniform(*intensity),
        area=uniform(*area),
        softness=uniform(*softness),
    )


def cover(shadows: Shadows, height: int, width: int) -> Tensor:
    """Return how much of each pixel's light a shadow takes, float [S, height, width] in 0..1."""
    device = shadows.angle.device
    short = min(height, width)
    x = (torch.arange(width, device=device) - (width - 1) / 2) / short
    y = (torch.arange(height, device=device) - (height - 1) / 2) / short
    unit = _ROUND * shadows.softness[:, None]
    x = (x - shadows.centre[:, :1]) / unit
    y = (y - shadows.centre[:, 1:]) / unit
    field = None
    for edge in range(_EDGES):
        angle, reach = shadows.angle[:, edge, None], shadows.reach[:, edge, None] / unit
        across = (angle.cos() * x - reach)[:, None, :] + (angle.sin() * y)[:, :, None]
        # A maximum, but smooth. Equal edges raise it everywhere alike, which the level undoes.
        field = across if field is None else torch.logaddexp(field, across, out=field)
    levels = field[:, ::_COARSE, ::_COARSE].flatten(1).sort(dim=1).values
    place = (shadows.area * levels.shape[1]).long().clamp(max=levels.shape[1] - 1)
    level = levels.gather(1, place[:, None])[:, :, None]
    inside = ((level - field) * _ROUND + 0.5).clamp_(0, 1)
    # A smooth step: no line where the edge begins.
    return inside * inside * (3 - 2 * inside)


def darken(pixels: Tensor, cast: Tensor, shadows: Shadows) -> None:
    """Cast shadows in place.

    Args:
        pixels: float [N, 3, h, w].
        cast: bool [N], which pictures get theirs.
        shadows: of all N.
    """
    rows = torch.nonzero(cast)[:, 0]
    if not len(rows):
        return
    chosen = Shadows(*(value[rows] for value in shadows))
    light = 1 - (1 - chosen.intensity)[:, None, None] * cover(chosen, *pixels.shape[2:])
    pixels[rows] *= light[:, None]
