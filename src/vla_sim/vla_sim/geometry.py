"""Plan-view geometry of objects, vectorised over robot poses: gaps and visibility.

Shape legend: N poses, K objects of the layout, R rays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_sim import robot

BOX, BALL, CYLINDER = 'box', 'ball', 'cylinder'
SHAPES = (BOX, BALL, CYLINDER)

_RAYS = np.linspace(-0.9, 0.9, 9)
_EDGE_OF_VIEW = robot.HORIZONTAL_FOV / 2
# Mean silhouette of a square over all directions, as a radius: 2 * side / pi.
_BOX_SILHOUETTE = 2 / np.pi


def wrap(angle: np.ndarray | float) -> np.ndarray | float:
    """Map an angle to [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


class Plan:
    """The objects of one layout, as arrays.

    Args:
        shapes: Shape names, K of them.
        x: [K], metres.
        y: [K], metres.
        yaw: [K], radians.
        size: [K], edge of a box, radius of a ball or a cylinder, metres.
        height: [K], metres.
    """

    def __init__(
        self,
        shapes: Sequence[str],
        x: Sequence[float],
        y: Sequence[float],
        yaw: Sequence[float],
        size: Sequence[float],
        height: Sequence[float],
    ) -> None:
        self.shapes = tuple(shapes)
        self.centre = np.stack([np.asarray(x, float), np.asarray(y, float)], axis=-1)
        self.yaw = np.asarray(yaw, float)
        self.size = np.asarray(size, float)
        self.height = np.asarray(height, float)
        self.is_box = np.array([shape == BOX for shape in self.shapes], bool)
        self.silhouette = np.where(self.is_box, _BOX_SILHOUETTE, 1.0) * self.size
        self.outer_radius = np.where(self.is_box, np.sqrt(0.5), 1.0) * self.size

    def gaps(self, position: np.ndarray) -> np.ndarray:
        """Distances between the robot's footprint and every object's surface.

        Args:
            position: [N, 2], metres.

        Returns:
            [N, K] metres; negative where the discs overlap.
        """
        offset = position[:, None, :] - self.centre
        round_gap = np.hypot(offset[..., 0], offset[..., 1]) - self.size
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        local_x = np.abs(cos * offset[..., 0] + sin * offset[..., 1]) - self.size / 2
        local_y = np.abs(-sin * offset[..., 0] + cos * offset[..., 1]) - self.size / 2
        outside = np.hypot(np.maximum(local_x, 0), np.maximum(local_y, 0))
        box_gap = outside + np.minimum(np.maximum(local_x, local_y), 0)
        return np.where(self.is_box, box_gap, round_gap) - robot.FOOTPRINT_RADIUS

    def visible_fraction(
        self, poses: np.ndarray, targets: np.ndarray, over_the_top: bool = True
    ) -> np.ndarray:
        """Say how much of the targets' width the camera sees; see `sight`.

        Returns:
            [N] in 0..1.
        """
        return self.sight(poses, targets, over_the_top)[0]

    def sight(
        self, poses: np.ndarray, targets: np.ndarray, over_the_top: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """Say how much of the targets' width the camera sees, past nearer objects, and where.

        Args:
            poses: [N, 3], x, y, yaw of the robot.
            targets: [N], indices of objects.
            over_the_top: Whether a target counts that rises above the object in front of it.

        Returns:
            [N] fraction in 0..1, and [N] angle from the middle of the target to the middle of
            its uncovered part, radians.
        """
        heading = np.stack([np.cos(poses[:, 2]), np.sin(poses[:, 2])], axis=-1)
        offset = self.centre - (poses[:, :2] + robot.CAMERA_FORWARD * heading)[:, None, :]
        distance = np.maximum(np.hypot(offset[..., 0], offset[..., 1]), 1e-6)
        bearing = np.arctan2(offset[..., 1], offset[..., 0])
        half_width = np.arcsin(np.minimum(self.silhouette / distance, 1.0))
        slope = (self.height - robot.CAMERA_HEIGHT) / distance

        row = np.arange(len(poses))
        spread = _RAYS * half_width[row, targets][:, None]
        ray = bearing[row, targets][:, None] + spread
        in_view = np.abs(wrap(ray - poses[:, 2][:, None])) < _EDGE_OF_VIEW
        covered = (
            (np.abs(wrap(ray[:, :, None] - bearing[:, None, :])) < half_width[:, None, :])
            & (distance < distance[row, targets][:, None])[:, None, :]
            & ((slope > slope[row, targets][:, None]) | (not over_the_top))[:, None, :]
        ).any(axis=-1)
        uncovered = np.maximum((~covered).sum(axis=-1), 1)
        aim = np.where(covered, 0.0, spread).sum(axis=-1) / uncovered
        return (in_view & ~covered).mean(axis=-1), aim
