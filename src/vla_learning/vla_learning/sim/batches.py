"""Batches: pictures, several instructions for each, and what the expert does about them.

Everything is drawn from a generator that is seeded by the step, so that a resumed run sees the
same batches as an uninterrupted one.

Shape legend: B images, K instructions per image, N = B * K, H horizon, G tokens, T words.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vla_learning.sim.frames import Frames, GRID, HORIZON, KINDS
from vla_learning.sim.sentences import NONSENSE, Sentences
from vla_learning.sim.wording import MOTIONS
from vla_sim.expert import MOTIONS as MOTION_SPEEDS
from vla_sim.expert import SEARCH_TURN_RATE

# Shares of instructions: an object in sight, one of the layout, one that is nowhere, a motion.
_SHARES = (0.62, 0.14, 0.12, 0.12)


class Batch(NamedTuple):
    """One step's data; `actions` in m/s and rad/s, forward speed and turn rate only."""

    image: Tensor
    embeddings: Tensor
    padding: Tensor
    actions: Tensor
    done: Tensor
    seen: Tensor
    motion: Tensor
    place: Tensor
    mask: Tensor


class Sampler:
    """Draws batches from frames and sentences.

    Args:
        frames: labelled pictures.
        sentences: embedded sentences.
        weights: [N of frames], how often each picture is drawn relative to the others.
    """

    def __init__(self, frames: Frames, sentences: Sentences, weights: np.ndarray) -> None:
        self._frames = frames
        self._sentences = sentences
        self._cumulative = np.cumsum(weights) / np.sum(weights)
        present = np.zeros((len(frames), len(KINDS)), bool)
        for slot in range(frames.kinds.shape[1]):
            there = np.flatnonzero(frames.kinds[:, slot] >= 0)
            present[there, frames.kinds[there, slot]] = True
        self._absent = ~present

    def batch(self, random: np.random.Generator, images: int, instructions: int) -> Batch:
        """Draw `images` pictures with `instructions` sentences each."""
        frames = self._frames
        row = np.searchsorted(self._cumulative, random.random(images)).clip(max=len(frames) - 1)
        row = np.repeat(row, instructions)
        slot, meanings = self._choose(random, row)
        named = slot >= 0
        pick = np.maximum(slot, 0)
        motion = ~named & (meanings >= len(KINDS))

        actions = np.zeros((len(row), HORIZON, 2), np.float32)
        actions[..., 1] = SEARCH_TURN_RATE
        actions[named] = frames.actions[row[named], pick[named]]
        for number, name in enumerate(MOTIONS):
            actions[meanings == len(KINDS) + number] = MOTION_SPEEDS[name]
        seen = named & frames.seen[row, pick]
        mask = np.where(seen[:, None], frames.mask[row, pick], 0).astype(np.float32)
        place = np.where(seen[:, None], frames.place[row, pick], 0).astype(np.float32)
        image = frames.images[row[::instructions]]

        # Mirrored pictures are as good, except that an unseen object is searched to the left.
        flip = random.random(images) < 0.5
        image[flip] = image[flip, :, ::-1]
        each = np.repeat(flip, instructions)
        actions[each & seen, :, 1] *= -1
        place[each, 0] *= -1
        mask = mask.reshape(-1, *GRID)
        mask[each] = mask[each, :, ::-1]

        embeddings, padding = self._sentences.gather(self._sentences.draw(random, meanings))
        arrays = (
            augment(image, random),
            embeddings,
            padding,
            actions,
            named & frames.done[row, pick],
            seen,
        )
        return Batch(*map(torch.from_numpy, (*arrays, motion, place, mask.reshape(len(row), -1))))

    def _choose(
        self, random: np.random.Generator, row: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Choose what is asked for: object slot (-1: none of this layout) and meaning."""
        frames = self._frames
        style = np.searchsorted(np.cumsum(_SHARES), random.random(len(row))).clip(max=3)
        there = frames.kinds[row] >= 0
        wanted = np.where((style == 0)[:, None], frames.seen[row], there)
        wanted = np.where(wanted.any(axis=1, keepdims=True), wanted, there)
        slot = (wanted * random.random(wanted.shape)).argmax(axis=1)
        absent = (self._absent[row] * random.random((len(row), len(KINDS)))).argmax(axis=1)
        motions = len(KINDS) + random.integers(len(MOTIONS), size=len(row))
        meanings = frames.kinds[row, slot].astype(int)
        meanings = np.where(style == 2, absent, np.where(style == 3, motions, meanings))
        return np.where(style < 2, slot, -1), meanings

    def intents(self, random: np.random.Generator, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw embeddings, padding and intents; a third each refused, goal and motion."""
        intent = random.integers(3, size=count)
        goals = random.integers(len(KINDS), size=count)
        motions = len(KINDS) + random.integers(len(MOTIONS), size=count)
        meanings = np.choose(intent, (np.full(count, NONSENSE), goals, motions))
        embeddings, padding = self._sentences.gather(self._sentences.draw(random, meanings))
        return torch.from_numpy(embeddings), torch.from_numpy(padding), torch.from_numpy(intent)


def augment(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Vary the light of pictures uint8 [B, h, w, 3]; hue hardly, for colours are the labels."""
    count = len(image)

    def draw(low: float, high: float, channels: int = 1) -> np.ndarray:
        return random.uniform(low, high, (count, channels, 1))

    level = np.linspace(0, 1, 256) ** draw(0.85, 1.18)
    level = level * draw(0.8, 1.2) * draw(0.96, 1.04, 3) + draw(-0.04, 0.04)
    table = np.rint(255 * level.clip(0, 1)).astype(np.uint8)
    result = np.empty_like(image)
    for picture, source, tables in zip(result, image, table, strict=True):
        for channel in range(3):
            np.take(tables[channel], source[..., channel], out=picture[..., channel], mode='clip')
    return result
