"""Drive episodes without ROS: to choose between checkpoints, and to collect DAgger's frames.

Not the evaluation that counts (`make evaluate` runs the real graph): no gate and no messages, and
one frame per 0.1 s, but the same layouts, camera, physics, acceleration limits and success test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
import logging
import math
from pathlib import Path
import random

import numpy as np
from tqdm import tqdm

from vla_core.preprocess import resize
from vla_core.types import Observation
from vla_inference.onnx_policy import OnnxPolicy
from vla_learning.sim.frames import SLOT, write_shard
from vla_learning.sim.wording import (
    fill,
    HELD_OUT_MOTIONS,
    HELD_OUT_TEMPLATES,
    NOUNS,
    TRAIN_MOTIONS,
    TRAIN_TEMPLATES,
)
from vla_learning.training.trainer import ANGULAR, LINEAR
from vla_sim.arena import Arena
from vla_sim.layout import Layout, sample_layout

LOG = logging.getLogger(__name__)
SUCCESS_GAP = 0.35
_TICK = 0.02
_TICKS_PER_FRAME = 5
_LINEAR_ACCELERATION = 1.0
_ANGULAR_ACCELERATION = 3.0
# At rest for this long with the termination head high: done (docs/explanation/way-of-a-frame.md).
_REST = 0.5
_GOAL_LIMIT = 60.0
_MOTION_TIME = 3.0
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
        speed = turn_rate = 0.0
        while arena.sim_time < limit:
            image = resize(arena.render(), SLOT)
            if record is not None:
                record(arena.pose, image)
            prediction = self._policy.infer(
                Observation({SLOT.name: image}, round(1e9 * arena.sim_time)), language
            )
            done = prediction.done > 0.5
            wanted = np.zeros(2) if done else prediction.actions[0, [LINEAR, ANGULAR]]
            for _ in range(_TICKS_PER_FRAME):
                speed += float(np.clip(wanted[0] - speed, *_span(_LINEAR_ACCELERATION)))
                turn_rate += float(np.clip(wanted[1] - turn_rate, *_span(_ANGULAR_ACCELERATION)))
                arena.command(speed, turn_rate)
                arena.advance(_TICK)
            yield done


def _span(acceleration: float) -> tuple[float, float]:
    return -acceleration * _TICK, acceleration * _TICK


def choose(
    policy: OnnxPolicy, seeds: Iterable[int], swapped: bool = False, blind: bool = False
) -> dict[str, tuple[int, int]]:
    """Count successes of "go to" and of motions on the layouts of `seeds`.

    Half of the wordings were never trained on. `swapped` names another object and scores the
    layout's target, `blind` takes the words away.

    Returns:
        Category to (successes, episodes).
    """
    driver = Driver(policy, blind)
    counts = {name: [0, 0] for name in ('go_to', 'wrong_object', 'timeout', 'motion')}
    times = []

    def count(name: str, success: bool) -> None:
        counts[name][0] += success
        counts[name][1] += 1

    for seed in tqdm(list(seeds), desc='driving', unit='episode', mininterval=5):
        draw = random.Random(seed)
        layout = sample_layout(seed)
        named = layout.target
        if swapped:
            named = draw.choice([i for i in range(len(layout.objects)) if i != layout.target])
        item = layout.objects[named]
        templates = draw.choice((TRAIN_TEMPLATES, HELD_OUT_TEMPLATES))
        noun = draw.choice(NOUNS[item.shape])
        text = fill(draw.choice(templates), item.colour, noun)
        ending = driver.goal(layout, text)
        success = ending.reached(layout.target)
        count('go_to', success)
        wrong = ending.finished and not success and ending.gaps[ending.nearest] <= SUCCESS_GAP
        count('wrong_object', wrong)
        count('timeout', not ending.finished)
        times.append(ending.seconds)
        if not success:
            gaps = ' '.join(f'{gap:.2f}' for gap in ending.gaps)
            LOG.info(
                'seed %d: %r, %.0f s, %s, gap %.2f of [%s]',
                *(seed, text, ending.seconds, 'done' if ending.finished else 'not done'),
                *(ending.gaps[layout.target], gaps),
            )
        motion = draw.choice(list(TRAIN_MOTIONS))
        words = draw.choice(draw.choice((TRAIN_MOTIONS, HELD_OUT_MOTIONS))[motion])
        along, drift, turn = driver.motion(layout, words)
        obeyed = {
            'move forward': along >= 0.5 and abs(turn) <= math.radians(10),
            'move back': along <= -0.5 and abs(turn) <= math.radians(10),
            'turn left': turn >= math.radians(30) and drift <= 0.15,
            'turn right': turn <= -math.radians(30) and drift <= 0.15,
        }[motion]
        count('motion', obeyed)
        if not obeyed:
            LOG.info('seed %d: %r: %.2f m, %.2f m, %.2f rad', seed, words, along, drift, turn)
    driver.close()
    LOG.info('median time %.1f s', float(np.median(times)))
    return {name: (value[0], value[1]) for name, value in counts.items()}


def collect_on_policy(
    policy: OnnxPolicy, folder: Path, seeds: Iterable[int], limit: float = 25.0, every: int = 2
) -> None:
    """Drive the policy on training layouts and keep what it saw, one shard per call (DAgger).

    The expert labels the poses when the shard is loaded (https://arxiv.org/abs/1011.0686).

    Args:
        policy: who drives.
        folder: the shard to write; nothing is done if it exists.
        seeds: of layouts below 500 000.
        limit: s per episode.
        every: keep one of so many frames.
    """
    if folder.exists():
        return
    driver = Driver(policy)
    kept: list[tuple[int, tuple[float, float, float], np.ndarray]] = []
    for seed in tqdm(list(seeds), desc='on-policy', unit='episode', mininterval=5):
        draw = random.Random(seed)
        layout = sample_layout(seed)
        item = draw.choice(layout.objects)
        text = fill(draw.choice(TRAIN_TEMPLATES), item.colour, draw.choice(NOUNS[item.shape]))
        frames: list[tuple[int, tuple[float, float, float], np.ndarray]] = []
        driver.goal(
            layout,
            text,
            limit,
            lambda pose, image, seed=seed, frames=frames: frames.append((seed, pose, image)),
        )
        kept.extend(frames[::every])
    driver.close()
    seeds_of, poses, images = zip(*kept, strict=True)
    write_shard(folder, np.array(seeds_of), np.array(poses), np.stack(images))
