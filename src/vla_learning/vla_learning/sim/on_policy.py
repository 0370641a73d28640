"""Frames of a policy's own episodes, to be labelled by the expert (DAgger)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, cycle, islice
from pathlib import Path
import random

import numpy as np
from tqdm import tqdm

from vla_core.policy import Policy
from vla_learning.sim.closed_loop import Driver
from vla_learning.sim.frames import write_shard
from vla_learning.sim.posing import ask
from vla_learning.sim.relations import draw_relation, RELATION_KINDS
from vla_learning.sim.wording import fill, NOUNS, TRAIN_TEMPLATES
from vla_sim.layout import sample_layout


def collect_on_policy(
    policy: Policy,
    folder: Path,
    first_seed: int,
    episodes: int,
    limit: float = 25.0,
    every: int = 2,
) -> None:
    """Drive the policy on training layouts and keep what it saw, one shard per call.

    The expert labels the poses when the shard is loaded (https://arxiv.org/abs/1011.0686). Every
    other episode asks for a relation, for which what happens to be in the picture on the way
    matters more than any pose drawn at random.

    Args:
        policy: who drives.
        folder: the shard to write.
        first_seed: of layouts below 500 000; about six times as many are looked through.
        episodes: how many.
        limit: s per episode.
        every: keep one of so many frames.
    """
    driver = Driver(policy)
    kept: list[tuple[int, tuple[float, float, float], np.ndarray]] = []
    asked = islice(_episodes(first_seed), episodes)
    for seed, text in tqdm(asked, 'on-policy', episodes, unit='episode', mininterval=5):
        frames: list[tuple[int, tuple[float, float, float], np.ndarray]] = []
        driver.goal(
            sample_layout(seed),
            text,
            limit,
            lambda pose, image, seed=seed, frames=frames: frames.append((seed, pose, image)),
        )
        kept.extend(frames[::every])
    driver.close()
    seeds_of, poses, images = zip(*kept, strict=True)
    write_shard(folder, np.array(seeds_of), np.array(poses), np.stack(images))


def _episodes(first_seed: int) -> Iterator[tuple[int, str]]:
    """Yield layouts and instructions: an object of it, a relation, and so on."""
    seeds = count(first_seed)
    for kind in cycle(RELATION_KINDS):
        seed = next(seeds)
        draw = random.Random(seed)
        item = draw.choice(sample_layout(seed).objects)
        yield seed, fill(draw.choice(TRAIN_TEMPLATES), item.colour, draw.choice(NOUNS[item.shape]))
        seed, relation, _ = next(ask(seeds, kind))
        yield seed, draw_relation(relation, False, random.Random(seed))
