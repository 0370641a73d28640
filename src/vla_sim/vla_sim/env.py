"""The simulator as a Gymnasium environment, for training without ROS."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
from gymnasium import spaces
import numpy as np

from vla_sim import robot
from vla_sim.arena import Arena
from vla_sim.layout import ARENA_HALF_WIDTH, sample_layout

SUCCESS_GAP = 0.35
_AT_REST = 0.02


class GoToEnv(gymnasium.Env):
    """Drive to the object that `info['instruction']` names.

    The reward is 1.0 in the step in which the robot is at rest with a gap of at most 0.35 m to
    the named object, which ends the episode, and 0.0 before. `reset(seed=n)` gives layout n;
    without a seed the next layout follows.

    Args:
        period: Seconds of simulated time per step, a multiple of 5 ms.
        time_limit: Seconds of simulated time after which an episode is truncated.
    """

    metadata: ClassVar[dict[str, Any]] = {'render_modes': ['rgb_array']}
    render_mode = 'rgb_array'

    def __init__(self, period: float = 0.1, time_limit: float = 60.0) -> None:
        limit = np.array([robot.MAX_SPEED, robot.MAX_TURN_RATE], np.float32)
        edge = np.array([ARENA_HALF_WIDTH, ARENA_HALF_WIDTH, np.pi, np.inf, np.inf], np.float32)
        self.action_space = spaces.Box(-limit, limit)
        self.observation_space = spaces.Dict(
            image=spaces.Box(0, 255, (robot.IMAGE_HEIGHT, robot.IMAGE_WIDTH, 3), np.uint8),
            state=spaces.Box(-edge, edge),
        )
        self._arena = Arena()
        self._period = period
        self._time_limit = time_limit
        self._next_seed = 0

    @property
    def arena(self) -> Arena:
        """The simulator underneath, with its ground truth."""
        return self._arena

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Set up the layout of a seed.

        Raises:
            SimulationError: The seed is negative.
        """
        super().reset(seed=seed)
        layout_seed = self._next_seed if seed is None else seed
        self._arena.reset(sample_layout(layout_seed))
        self._next_seed = layout_seed + 1
        return self._observe(), self._info()

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Drive with [forward speed in m/s, turn rate in rad/s] for one period."""
        self._arena.command(float(action[0]), float(action[1]))
        self._arena.advance(self._period)
        info = self._info()
        arrived = info['gap'] <= SUCCESS_GAP and np.abs(self._arena.velocity).max() < _AT_REST
        truncated = self._arena.sim_time >= self._time_limit
        return self._observe(), float(arrived), bool(arrived), bool(truncated), info

    def render(self) -> np.ndarray:
        """Return the camera's picture, uint8 [480, 640, 3]."""
        return self._arena.render()

    def close(self) -> None:
        """Free the OpenGL context."""
        self._arena.close()

    def _observe(self) -> dict[str, np.ndarray]:
        state = np.array([*self._arena.pose, *self._arena.velocity], np.float32)
        return {'image': self._arena.render(), 'state': state}

    def _info(self) -> dict[str, Any]:
        layout = self._arena.layout
        return {
            'instruction': f'go to the {layout.objects[layout.target].name}',
            'seed': layout.seed,
            'target': layout.target,
            'gap': self._arena.gap(layout.target),
            'contact': self._arena.in_contact(),
        }
