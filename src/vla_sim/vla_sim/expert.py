"""The scripted expert: ground truth in, velocity out.

Memoryless on purpose: it labels frames for a policy that sees one frame, so what it does may
depend only on where the robot stands. Hence an unseen target is always searched to the left.

Shape legend: N poses, K objects, C candidate headings, H chunk steps.
"""

from __future__ import annotations

import numpy as np

from vla_sim import robot
from vla_sim.geometry import wrap
from vla_sim.layout import Layout

MOTIONS: dict[str, tuple[float, float]] = {
    'move forward': (0.3, 0.0),
    'move back': (-0.3, 0.0),
    'turn left': (0.0, 0.6),
    'turn right': (0.0, -0.6),
    'stop': (0.0, 0.0),
}
SEARCH_TURN_RATE = 0.7
DONE_GAP = 0.27

_CRUISE_SPEED = 0.45
_STOP_GAP = 0.22
_DONE_BEARING = 0.45
_VISIBLE = 0.2
_APPROACH_GAIN = 1.2
_CREEP_SPEED = 0.10
_TURN_GAIN = 2.2
_TURN_LIMIT = 1.0
# Above this heading error the robot turns in place.
_DRIVE_CONE = 0.7
_CLEARANCE = robot.FOOTPRINT_RADIUS + 0.13
# The target must stay in view while the robot goes around something.
_LARGEST_DETOUR = 0.5


class Expert:
    """Drive to objects of one layout.

    Args:
        layout: Where things stand.
    """

    def __init__(self, layout: Layout) -> None:
        self._plan = layout.plan

    def act(self, pose: tuple[float, float, float], target: int) -> tuple[float, float, bool]:
        """Choose the velocity for one pose.

        Args:
            pose: x, y in metres, yaw in radians.
            target: Index of the object to drive to.

        Returns:
            Forward speed in m/s, turn rate in rad/s, and whether the robot has arrived.
        """
        command, done = self.act_batch(np.array([pose], float), np.array([target]))
        return float(command[0, 0]), float(command[0, 1]), bool(done[0])

    def chunk(
        self, pose: tuple[float, float, float], target: int, horizon: int, step_dt: float
    ) -> tuple[np.ndarray, bool]:
        """Roll the expert out without physics; see `chunk_batch`.

        Returns:
            [H, 2] velocities, and whether the robot has arrived at the first step.
        """
        commands, done = self.chunk_batch(
            np.array([pose], float), np.array([target]), horizon, step_dt
        )
        return commands[0], bool(done[0])

    def chunk_batch(
        self, poses: np.ndarray, targets: np.ndarray, horizon: int, step_dt: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Roll the expert out from many poses at once, as an ideal unicycle.

        Args:
            poses: [N, 3], x, y, yaw.
            targets: [N], indices of objects.
            horizon: Steps per chunk.
            step_dt: Seconds per step.

        Returns:
            [N, H, 2] forward speed and turn rate, and [N] whether the robot has arrived at the
            first step.
        """
        poses = np.array(poses, float)
        commands = np.empty((len(poses), horizon, 2))
        arrived = np.zeros(len(poses), bool)
        for step in range(horizon):
            commands[:, step], done = self.act_batch(poses, targets)
            if step == 0:
                arrived = done
            advance, turn = commands[:, step].T * step_dt
            middle = poses[:, 2] + turn / 2
            poses += np.stack([advance * np.cos(middle), advance * np.sin(middle), turn], axis=-1)
        return commands, arrived

    def act_batch(self, poses: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Choose velocities for many poses.

        Args:
            poses: [N, 3], x, y, yaw.
            targets: [N], indices of objects.

        Returns:
            [N, 2] forward speed and turn rate, and [N] whether the robot has arrived.
        """
        row = np.arange(len(poses))
        offset = self._plan.centre[targets] - poses[:, :2]
        direction = np.arctan2(offset[:, 1], offset[:, 0])
        bearing = wrap(direction - poses[:, 2])
        gap = self._plan.gaps(poses[:, :2])[row, targets]
        fraction, aim = self._plan.sight(poses, targets)
        seen = fraction >= _VISIBLE
        done = (gap <= DONE_GAP) & (np.abs(bearing) <= _DONE_BEARING) & seen

        error = wrap(direction + self._detour(poses, targets, direction, aim, gap) - poses[:, 2])
        speed = np.clip(
            _CREEP_SPEED + _APPROACH_GAIN * (gap - _STOP_GAP), 0.0, _CRUISE_SPEED
        ) * np.clip(1 - np.abs(error) / _DRIVE_CONE, 0.0, 1.0)
        speed = np.where(gap > DONE_GAP, speed, 0.0)
        turn = np.clip(_TURN_GAIN * error, -_TURN_LIMIT, _TURN_LIMIT)
        command = np.stack([speed, turn], axis=-1)
        command = np.where(seen[:, None], command, (0.0, SEARCH_TURN_RATE))
        return np.where(done[:, None], 0.0, command), done

    def _detour(
        self,
        poses: np.ndarray,
        targets: np.ndarray,
        direction: np.ndarray,
        aim: np.ndarray,
        gap: np.ndarray,
    ) -> np.ndarray:
        """Find the smallest turn away from what is seen of the target that passes all obstacles.

        Candidates are the target's direction and the two tangents of every obstacle's disc,
        grown by the clearance.

        Args:
            poses: [N, 3].
            targets: [N].
            direction: [N], world direction to the target.
            aim: [N], from there to its uncovered part: the side on which to pass an obstacle.
            gap: [N], gap to the target.

        Returns:
            [N] radians, to be added to the direction.
        """
        offset = self._plan.centre - poses[:, None, :2]
        distance = np.hypot(offset[..., 0], offset[..., 1])
        relative = wrap(np.arctan2(offset[..., 1], offset[..., 0]) - direction[:, None])
        count = len(self._plan.shapes)
        # Beyond the place where the robot will stop, nothing is in its way.
        path = gap + robot.FOOTPRINT_RADIUS
        obstacle = (np.arange(count) != targets[:, None]) & (
            distance - self._plan.outer_radius < path[:, None]
        )
        grown = self._plan.outer_radius + _CLEARANCE
        # Within the grown disc the tangent is taken from its rim: go sideways.
        half_width = np.arcsin(np.minimum(grown / distance, 1.0))

        tangents = np.concatenate([relative - half_width, relative + half_width], axis=1)
        candidates = np.concatenate([np.zeros((len(poses), 1)), tangents], axis=1)
        candidates = wrap(candidates)
        usable = np.concatenate([np.ones((len(poses), 1), bool), obstacle, obstacle], axis=1)
        inside = half_width[:, None, :] - np.abs(
            wrap(candidates[:, :, None] - relative[:, None, :])
        )
        depth = np.where(obstacle[:, None, :], np.maximum(inside - 1e-6, 0.0), 0.0).max(axis=-1)
        cost = np.abs(candidates - 3 * aim[:, None]) + 10.0 * depth + np.where(usable, 0.0, 1e3)
        best = candidates[np.arange(len(poses)), cost.argmin(axis=1)]
        return np.clip(best, -_LARGEST_DETOUR, _LARGEST_DETOUR)
