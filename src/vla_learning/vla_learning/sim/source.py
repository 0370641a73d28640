"""The simulator's expert as a source without end: pictures, instructions, what it does then.

Everything is drawn from a generator that is seeded by the step, so that a resumed run sees the
same batches as an uninterrupted one, and processes share out one and the same batch.

Shape legend: B images, K instructions per image, N = B * K, H horizon, D axes, G tokens, T words,
L objects of a layout, R relations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from vla_core.types import NATIVE_AXES
from vla_learning.data.batch import Batch, Features, Scene
from vla_learning.sim.frames import ANGULAR, Frames, HORIZON, LINEAR
from vla_learning.sim.referents import refer_all, SEARCH, UNCLEAR
from vla_learning.sim.relations import RELATION_KINDS, RELATIONS, SIDES
from vla_learning.sim.sentences import FIRST_RELATION, NONSENSE, Sentences
from vla_learning.sim.views import grid_of, KINDS
from vla_learning.sim.wording import MOTIONS
from vla_sim.expert import MOTIONS as MOTION_SPEEDS
from vla_sim.expert import SEARCH_TURN_RATE

# Shares of instructions: an object in sight, one of the layout, one that is nowhere, a motion.
_SHARES = (0.62, 0.14, 0.12, 0.12)
# Of those that are no motions: relations, in pictures that put one to the test and in others.
_RELATIONS = (0.6, 0.15)
# How much the relations of a picture count: to be told apart; plain; nothing fits; too close.
_CONTESTED, _PLAIN, _SEARCH, _UNCLEAR = 0.70, 0.20, 0.10, 0.0
# Sides are the hardest to learn and the rarest in pictures: how much each kind counts, and how
# much oftener pictures are drawn that put a side, or any relation, to the test.
_KIND_SHARES = {kind: 0.3 if kind in SIDES else 0.2 for kind in RELATION_KINDS}
_SIDE_TESTED, _TESTED = 4.0, 2.0
_MIRROR = np.array([RELATIONS.index(relation.mirrored) for relation in RELATIONS])


class _Drawn(NamedTuple):
    """What is asked for in a batch, and what it means; all of it [N] but `flip`."""

    row: np.ndarray
    object: np.ndarray
    anchor: np.ndarray
    meaning: np.ndarray
    sentence: np.ndarray
    flip: np.ndarray


class SimSource:
    """A `vla_learning.data.batch.Source` without end.

    Args:
        frames: labelled pictures.
        sentences: embedded sentences.
        weights: [N of frames], how often each picture is drawn relative to the others; those that
            put a relation to the test count more.
        images: B of a batch, of all processes together.
        instructions: K.
        seed: of everything that is drawn.
    """

    def __init__(
        self,
        frames: Frames,
        sentences: Sentences,
        weights: np.ndarray,
        images: int = 64,
        instructions: int = 4,
        seed: int = 0,
    ) -> None:
        self._frames = frames
        self._sentences = sentences
        self._images, self._instructions, self._seed = images, instructions, seed
        present = np.zeros((len(frames), len(KINDS)), bool)
        for slot in range(frames.kinds.shape[1]):
            there = np.flatnonzero(frames.kinds[:, slot] >= 0)
            present[there, frames.kinds[there, slot]] = True
        self._absent = ~present
        self._answers = refer_all(frames.view)
        tested = self._answers.contested & (self._answers.object >= 0)
        self._tested = tested.any(axis=1)
        side = tested[:, [relation.kind in SIDES for relation in RELATIONS]].any(axis=1)
        drawn = weights * np.select([side, self._tested], [_SIDE_TESTED, _TESTED], 1.0)
        self._cumulative = np.cumsum(drawn) / np.sum(drawn)

    @property
    def samples(self) -> None:
        """There is no epoch."""
        return None

    def batch(self, step: int, part: int = 0, parts: int = 1) -> Batch:
        """Draw the batch of `step`, or the share of one process of several."""
        random = np.random.default_rng((self._seed, step))
        drawn = self._draw(random)
        tables = draw_light(random, self._images)
        share = np.arange(self._images * part // parts, self._images * (part + 1) // parts)
        each = (share[:, None] * self._instructions + np.arange(self._instructions)).ravel()
        drawn = _Drawn(*(value[each] for value in drawn[:-1]), drawn.flip[share])
        return Batch(
            image=torch.from_numpy(self._pictures(drawn, tables[share])),
            text=tuple(self._sentences.texts[drawn.sentence].tolist()),
            actions=torch.from_numpy(self._actions(drawn)),
            valid=torch.ones(len(each), HORIZON, len(NATIVE_AXES), dtype=torch.bool),
            rows=torch.from_numpy(drawn.row[:: self._instructions]),
            features=self._features(drawn.sentence),
            scene=self._scene(drawn),
        )

    def _draw(self, random: np.random.Generator) -> _Drawn:
        frames, count = self._frames, self._instructions
        picture = np.searchsorted(self._cumulative, random.random(self._images))
        row = np.repeat(picture.clip(max=len(frames) - 1), count)
        slot, meaning = self._choose(random, row)
        anchor = np.full(len(row), -1)
        flip = random.random(self._images) < 0.5

        wanted = np.where(self._tested[row], *_RELATIONS)
        motion = (slot < 0) & (meaning >= len(KINDS))
        asked = np.flatnonzero((random.random(len(row)) < wanted) & ~motion)
        relation = self._choose_relation(random, row[asked])
        # Left is right in a mirror.
        mirrored = np.where(np.repeat(flip, count)[asked], _MIRROR[relation], relation)
        slot[asked] = np.maximum(self._answers.object[row[asked], relation], SEARCH)
        anchor[asked] = self._answers.anchor[row[asked], relation]
        meaning[asked] = FIRST_RELATION + mirrored
        return _Drawn(row, slot, anchor, meaning, self._sentences.draw(random, meaning), flip)

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

    def _choose_relation(self, random: np.random.Generator, row: np.ndarray) -> np.ndarray:
        """Choose a relation for each picture, those first that put it to the test."""
        answer, contested = self._answers.object[row], self._answers.contested[row]
        kinds = np.array([relation.kind for relation in RELATIONS])
        classes = np.select([answer == UNCLEAR, answer == SEARCH, contested], [3, 2, 0], default=1)
        weight = np.zeros(answer.shape)
        for number, share in enumerate((_CONTESTED, _PLAIN, _SEARCH, _UNCLEAR)):
            for kind, kind_share in _KIND_SHARES.items():
                chosen = (classes == number) & (kinds == kind)
                each = share * kind_share / np.maximum(chosen.sum(axis=1, keepdims=True), 1)
                weight += each * chosen
        total = np.cumsum(weight, axis=1)
        point = random.random((len(row), 1)) * total[:, -1:]
        return (total <= point).sum(axis=1).clip(max=len(RELATIONS) - 1)

    def _features(self, sentence: np.ndarray) -> Features:
        return Features(*map(torch.from_numpy, self._sentences.gather(sentence)))

    def _pictures(self, drawn: _Drawn, tables: np.ndarray) -> np.ndarray:
        image = self._frames.images[drawn.row[:: self._instructions]]
        image[drawn.flip] = image[drawn.flip, :, ::-1]
        return shine(image, tables)

    def _actions(self, drawn: _Drawn) -> np.ndarray:
        frames, named = self._frames, drawn.object >= 0
        pick = np.maximum(drawn.object, 0)
        wanted = np.zeros((len(drawn.row), HORIZON, 2), np.float32)
        wanted[..., 1] = SEARCH_TURN_RATE
        wanted[named] = frames.actions[drawn.row[named], pick[named]]
        for number, name in enumerate(MOTIONS):
            wanted[drawn.meaning == len(KINDS) + number] = MOTION_SPEEDS[name]
        # Mirrored pictures are as good, except that what is searched is searched to the left.
        driven = named & ~frames.searched[drawn.row, pick]
        turned = np.repeat(drawn.flip, self._instructions) & driven
        wanted[turned, :, 1] *= -1
        actions = np.zeros((len(wanted), HORIZON, len(NATIVE_AXES)), np.float32)
        actions[..., (LINEAR, ANGULAR)] = wanted
        return actions

    def _scene(self, drawn: _Drawn) -> Scene:
        frames, row, seen = self._frames, drawn.row, self._seen(drawn)
        pick = np.maximum(drawn.object, 0)
        flip = np.repeat(drawn.flip, self._instructions)
        place = np.where(seen[:, None], frames.place[row, pick], 0).astype(np.float32)
        place[flip, 0] *= -1
        motion = (drawn.meaning >= len(KINDS)) & (drawn.meaning < NONSENSE)
        # The first look is for the anchor, or for the thing itself where there is none.
        first = np.where(drawn.anchor >= 0, drawn.anchor, pick)
        return Scene(
            done=torch.from_numpy((drawn.object >= 0) & frames.done[row, pick]),
            motion=torch.from_numpy(motion),
            seen=torch.from_numpy(seen),
            place=torch.from_numpy(place),
            mask=torch.from_numpy(self._mask(row, pick, seen, flip)),
            first=torch.from_numpy(self._mask(row, first, seen | (drawn.anchor >= 0), flip)),
        )

    def _seen(self, drawn: _Drawn) -> np.ndarray:
        named = drawn.object >= 0
        return named & self._frames.seen[drawn.row, np.maximum(drawn.object, 0)]

    def _mask(
        self, row: np.ndarray, slot: np.ndarray, seen: np.ndarray, flip: np.ndarray
    ) -> np.ndarray:
        mask = np.where(seen[:, None], self._frames.mask[row, slot], 0).astype(np.float32)
        mask = mask.reshape(-1, *grid_of(self._frames.slot))
        mask[flip] = mask[flip, :, ::-1]
        return mask.reshape(len(row), -1)


def draw_light(random: np.random.Generator, count: int) -> np.ndarray:
    """Draw how the light of pictures varies: uint8 [B, 3, 256]; hue hardly, it is the label."""

    def draw(low: float, high: float, channels: int = 1) -> np.ndarray:
        return random.uniform(low, high, (count, channels, 1))

    level = np.linspace(0, 1, 256) ** draw(0.85, 1.18)
    level = level * draw(0.8, 1.2) * draw(0.96, 1.04, 3) + draw(-0.04, 0.04)
    return np.rint(255 * level.clip(0, 1)).astype(np.uint8)


def shine(image: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Apply tables uint8 [B, 3, 256] to pictures uint8 [B, h, w, 3]."""
    result = np.empty_like(image)
    for picture, source, table in zip(result, image, tables, strict=True):
        for channel in range(3):
            np.take(table[channel], source[..., channel], out=picture[..., channel], mode='clip')
    return result
