"""Drive episodes without ROS: to choose between checkpoints, and to collect frames for DAgger.

Not the evaluation that counts (`make evaluate` runs the real graph): no gate and no messages, and
one frame per 0.1 s, but the same layouts, camera, physics, acceleration limits and success test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
import math

import numpy as np

from vla_core.preprocess import resize
from vla_core.types import Intent, Observation
from vla_inference.onnx_policy import OnnxPolicy
from vla_sim.arena import Arena
from vla_sim.layout import Layout

SUCCESS_GAP = 0.35
_TICK = 0.02
_TICKS_PER_FRAME = 5
_LINEAR_ACCELERATION = 1.0
_ANGULAR_ACCELERATION = 3.0
# At rest for this long with the termination head high: done (docs/explanation/way-of-a-frame.md).
_REST = 0.5
_GOAL_LIMIT = 60.0
_MOTION_TIME = 3.0
# Of motions, by the default of the policy node's `motion_timeout`.
_MOTION_LIMIT = 10.0
# What a frame is handed to: pose and the slot's picture.
Recorder = Callable[[tuple[float, float, float], np.ndarray], None]


@dataclass(frozen=True)
class Ending:
    """How an episode ended.

    Attributes:
        finished: whether the policy said that it was done, and came to rest.
        seconds: simulated time it took.
        nearest: index of the object with the smallest gap.
        gaps: m, to every object.
    """

    finished: bool
    seconds: float
    nearest: int
    gaps: tuple[float, ...]

    def reached(self, target: int) -> bool:
        """Say whether the robot rests near the object."""
        return self.finished and self.gaps[target] <= SUCCESS_GAP


class Driver:
    """One arena and one policy."""

    def __init__(self, policy: OnnxPolicy, blind: bool = False) -> None:
        self._policy = policy
        self._blind = blind
        self._arena = Arena()

    def close(self) -> None:
        """Free the renderer."""
        self._arena.close()

    def goal(
        self,
        layout: Layout,
        text: str,
        limit: float = _GOAL_LIMIT,
        record: Recorder | None = None,
    ) -> Ending:
        """Drive from the layout's start until done or `limit` seconds have passed."""
        self._arena.reset(layout)
        rest = 0.0
        for done in self._steps(text, limit, record):
            speed, turn_rate = self._arena.velocity
            still = done and abs(speed) < 0.02 and abs(turn_rate) < 0.05
            rest = rest + _TICK * _TICKS_PER_FRAME if still else 0.0
            if rest >= _REST:
                break
        gaps = tuple(self._arena.gap(index) for index in range(len(layout.objects)))
        nearest = int(np.argmin(gaps))
        return Ending(rest >= _REST, self._arena.sim_time, nearest, gaps)

    def motion(self, layout: Layout, text: str) -> tuple[float, float, float]:
        """Obey a motion for 3 s: metres along the start heading, drift, turn in radians."""
        self._arena.reset(layout)
        x, y, yaw = self._arena.pose
        for _ in self._steps(text, _MOTION_TIME, None):
            pass
        end_x, end_y, end_yaw = self._arena.pose
        along = (end_x - x) * math.cos(yaw) + (end_y - y) * math.sin(yaw)
        return along, math.hypot(end_x - x, end_y - y), math.remainder(end_yaw - yaw, math.tau)

    def _steps(self, text: str, limit: float, record: Recorder | None) -> Iterable[bool]:
        """Advance frame by frame; yields whether the policy says that it is done."""
        arena = self._arena
        language = self._policy.encode(text)
        if self._blind:
            language = self._policy.ablate(language)
        spec = self._policy.spec
        slot = spec.cameras[0]
        # As the robot does: what is refused moves nothing, and a motion is over after a while.
        if language.intent is Intent.REFUSED and not self._blind:
            if record is not None:
                record(arena.pose, resize(arena.render(), slot))
            return
        if language.intent is Intent.MOTION:
            limit = min(limit, _MOTION_LIMIT)
        axes = [spec.action_names.index(name) for name in ('linear.x', 'angular.z')]
        scale = np.array(spec.action_scale)[axes]
        speed = turn_rate = 0.0
        while arena.sim_time < limit:
            image = resize(arena.render(), slot)
            if record is not None:
                record(arena.pose, image)
            prediction = self._policy.infer(
                Observation({slot.name: image}, round(1e9 * arena.sim_time)), language
            )
            done = prediction.done > 0.5
            wanted = np.zeros(2) if done else scale * prediction.actions[0, axes]
            for _ in range(_TICKS_PER_FRAME):
                speed += float(np.clip(wanted[0] - speed, *_span(_LINEAR_ACCELERATION)))
                turn_rate += float(np.clip(wanted[1] - turn_rate, *_span(_ANGULAR_ACCELERATION)))
                arena.command(speed, turn_rate)
                arena.advance(_TICK)
            yield done


def _span(acceleration: float) -> tuple[float, float]:
    return -acceleration * _TICK, acceleration * _TICK
