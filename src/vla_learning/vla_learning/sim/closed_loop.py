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
_FRAME = _TICK * _TICKS_PER_FRAME
_LINEAR_ACCELERATION = 1.0
_ANGULAR_ACCELERATION = 3.0
# Still for this long: at rest; with the termination head high, done
# (docs/explanation/way-of-a-frame.md).
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
        at_rest: whether the robot stands still.
        finished: whether it does, and the policy said that it was done.
        seconds: simulated time it took.
        gaps: m, to every object.
    """

    at_rest: bool
    finished: bool
    seconds: float
    gaps: tuple[float, ...]

    def reached(self, target: int, control: bool = False) -> bool:
        """Say whether the robot rests near the object and is done.

        Args:
            target: index of the object.
            control: to end there is the failure, which need not be called done.
        """
        return (self.at_rest if control else self.finished) and self.gaps[target] <= SUCCESS_GAP

    def elsewhere(self, target: int) -> bool:
        """Say whether the robot rests near another object instead, done or not."""
        return self.at_rest and min(self.gaps) <= SUCCESS_GAP < self.gaps[target]


class Driver:
    """One arena and one policy.

    Attributes:
        blind: whether the words are taken away.
    """

    def __init__(self, policy: OnnxPolicy, blind: bool = False) -> None:
        self._policy = policy
        self.blind = blind
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
        # It stands there from the beginning.
        still_for, done_for = _REST, 0.0
        for done in self._steps(text, limit, record):
            speed, turn_rate = self._arena.velocity
            still = abs(speed) < 0.02 and abs(turn_rate) < 0.05
            still_for = still_for + _FRAME if still else 0.0
            done_for = done_for + _FRAME if still and done else 0.0
            if done_for >= _REST:
                break
        gaps = tuple(self._arena.gap(index) for index in range(len(layout.objects)))
        return Ending(still_for >= _REST, done_for >= _REST, self._arena.sim_time, gaps)

    def motion(
        self, layout: Layout, text: str, start: tuple[float, float, float] | None = None
    ) -> tuple[float, float, float]:
        """Obey a motion for 3 s, from the layout's start or another pose.

        Returns:
            Metres along the heading of the start, drift, turn in radians.
        """
        self._arena.reset(layout)
        if start is not None:
            self._arena.place(*start)
        x, y, yaw = self._arena.pose
        turn = 0.0
        for _ in self._steps(text, _MOTION_TIME, None):
            # More than half a turn is possible.
            turn += math.remainder(self._arena.pose[2] - yaw - turn, math.tau)
        end_x, end_y, _ = self._arena.pose
        along = (end_x - x) * math.cos(yaw) + (end_y - y) * math.sin(yaw)
        return along, math.hypot(end_x - x, end_y - y), turn

    def _steps(self, text: str, limit: float, record: Recorder | None) -> Iterable[bool]:
        """Advance frame by frame; yields whether the policy says that it is done."""
        arena = self._arena
        language = self._policy.encode(text)
        if self.blind:
            language = self._policy.ablate(language)
        spec = self._policy.spec
        slot = spec.cameras[0]
        # As the robot does: what is refused moves nothing, and a motion is over after a while.
        if language.intent is Intent.REFUSED and not self.blind:
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
