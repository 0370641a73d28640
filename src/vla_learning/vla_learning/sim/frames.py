"""Training frames: pictures from sampled poses, and the expert's labels for every object.

The policy sees one frame and remembers nothing, so training needs states, not trajectories: poses
are drawn at random around the objects of random layouts, and one picture is labelled for every
object of its layout as if that one had been named.

Frames lie in shards, folders of plain .npy files. A shard is written under another name and then
renamed, so an interrupted run continues where it was. One of another length, or with pictures of
another size, is rendered again.

Shape legend: N frames, K objects (MAX_OBJECTS, padded), H horizon, G tokens of the grid.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
import math
import multiprocessing
from pathlib import Path
import shutil

import numpy as np
from tqdm import tqdm

from vla_core.preprocess import resize
from vla_core.types import CameraSlot, NATIVE_AXES
from vla_learning.sim.views import counted, look, SEEN_PIXELS, SLOT, View
from vla_sim import robot
from vla_sim.arena import Arena
from vla_sim.expert import Expert, SEARCH_TURN_RATE
from vla_sim.geometry import wrap
from vla_sim.layout import ARENA_HALF_WIDTH, Layout, MAX_OBJECTS, sample_layout

#: Places of the two taught axes, forward speed and turn rate, among the native ones.
LINEAR, ANGULAR = NATIVE_AXES.index('linear.x'), NATIVE_AXES.index('angular.z')
HORIZON = 8
STEP_DT = 0.1
FRAMES_PER_LAYOUT = 4
SHARD_FRAMES = 2000

_WALL_MARGIN = robot.FOOTPRINT_RADIUS + 0.02


class Pictures:
    """Pictures of shards, left on disk until they are asked for; pickled as paths.

    Args:
        shards: folders, each with `images.npy`.
    """

    def __init__(self, shards: Iterable[Path]) -> None:
        self._paths = [shard / 'images.npy' for shard in shards]
        self._maps: list[np.ndarray] = []
        ends = np.cumsum([len(np.load(path, mmap_mode='r')) for path in self._paths])
        self._ends = np.asarray(ends, int)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        if not self._maps:
            self._maps = [np.load(path, mmap_mode='r') for path in self._paths]
        shard = np.searchsorted(self._ends, rows, side='right')
        first = np.concatenate([[0], self._ends[:-1]])
        pairs = zip(shard, rows - first[shard], strict=True)
        return np.stack([self._maps[number][row] for number, row in pairs])

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), '_maps': []}


@dataclass(frozen=True)
class Frames:
    """Labelled frames.

    Attributes:
        images: uint8 [N, height, width, 3].
        kinds: int8 [N, K], index into KINDS, -1 where the layout has fewer objects.
        actions: float16 [N, K, H, 2], m/s and rad/s.
        done: bool [N, K].
        seen: bool [N, K], whether a few pixels of the object are in the picture.
        searched: bool [N, K], whether the expert turns to look for the object: by its own rule, so
            that a few pixels in sight may be searched and a covered object driven to.
        place: float16 [N, K, 2], bearing in radians and gap in metres.
        height: float16 [N, K], m.
        mask: uint8 [N, K, G], pixels of the object in each token, at most 255.
        slot: the picture's size.
    """

    images: np.ndarray | Pictures
    kinds: np.ndarray
    actions: np.ndarray
    done: np.ndarray
    seen: np.ndarray
    searched: np.ndarray
    place: np.ndarray
    height: np.ndarray
    mask: np.ndarray
    slot: CameraSlot = SLOT

    @property
    def view(self) -> View:
        """What the pictures show of the objects."""
        pixels = counted(self.mask, self.slot)
        bearing, gap = np.moveaxis(self.place.astype(np.float32), -1, 0)
        return View(self.kinds, pixels, bearing, gap, self.height.astype(np.float32))

    def __len__(self) -> int:
        return len(self.images)


def sample_pose(random: np.random.Generator, layout: Layout) -> tuple[float, float, float]:
    """Draw a pose: anywhere, facing an object from afar, or close in front of one."""
    limit = ARENA_HALF_WIDTH - _WALL_MARGIN
    plan = layout.plan
    while True:
        item = layout.objects[random.integers(len(layout.objects))]
        style = random.random()
        if style < 0.65:
            x, y = random.uniform(-limit, limit, 2)
            spread = math.inf if style < 0.30 else 0.35
        else:
            reach = item.size + robot.FOOTPRINT_RADIUS + math.exp(random.uniform(-3.5, 0.3))
            around = random.uniform(-math.pi, math.pi)
            x, y = item.x + reach * math.cos(around), item.y + reach * math.sin(around)
            spread = 0.3
        if max(abs(x), abs(y)) > limit or plan.gaps(np.array([[x, y]])).min() < 0.0:
            continue
        if spread == math.inf:
            yaw = random.uniform(-math.pi, math.pi)
        else:
            yaw = math.atan2(item.y - y, item.x - x) + random.normal(0.0, spread)
        return float(x), float(y), float(wrap(yaw))


def label(layout: Layout, poses: np.ndarray, slot: CameraSlot = SLOT) -> dict[str, np.ndarray]:
    """Label poses of one layout for all of its objects; keys and shapes as in `Frames`."""
    frames, count = len(poses), len(layout.objects)
    every_pose = np.repeat(poses, count, axis=0)
    every_target = np.tile(np.arange(count), frames)
    commands, done = Expert(layout).chunk_batch(every_pose, every_target, HORIZON, STEP_DT)
    picture, masks = look(layout, poses, slot)
    result = {
        'kinds': picture.kinds,
        'actions': np.zeros((frames, MAX_OBJECTS, HORIZON, 2), np.float16),
        'done': np.zeros((frames, MAX_OBJECTS), bool),
        'seen': picture.pixels >= SEEN_PIXELS,
        'searched': np.zeros((frames, MAX_OBJECTS), bool),
        'place': np.stack([picture.bearing, picture.gap], axis=-1).astype(np.float16),
        'height': picture.height.astype(np.float16),
        'mask': masks,
    }
    result['actions'][:, :count] = commands.reshape(frames, count, HORIZON, 2)
    result['done'][:, :count] = done.reshape(frames, count)
    # No other command is exactly this one; before rounding to float16.
    searched = (commands[:, 0] == (0.0, SEARCH_TURN_RATE)).all(axis=-1)
    result['searched'][:, :count] = searched.reshape(frames, count)
    return result


def write_shard(folder: Path, seeds: np.ndarray, poses: np.ndarray, images: np.ndarray) -> None:
    """Write one shard, in place of any there: layout seeds [N], poses [N, 3] and images."""
    draft = folder.with_name(folder.name + '.draft')
    shutil.rmtree(draft, ignore_errors=True)
    if folder.exists():
        # Gone at once, lest an interruption leaves half of it.
        folder.rename(draft)
        shutil.rmtree(draft)
    draft.mkdir(parents=True)
    for name, array in (('seeds', seeds), ('poses', poses), ('images', images)):
        np.save(draft / f'{name}.npy', array)
    draft.rename(folder)


def render_shard(
    folder: Path, first_layout: int, frames: int = SHARD_FRAMES, slot: CameraSlot = SLOT
) -> None:
    """Render one shard from layouts `first_layout`, `first_layout` + 1, ..."""
    random = np.random.default_rng(first_layout)
    seeds = first_layout + np.arange(frames) // FRAMES_PER_LAYOUT
    poses = np.zeros((frames, 3))
    images = np.zeros((frames, slot.height, slot.width, 3), np.uint8)
    arena = Arena()
    try:
        for index, seed in enumerate(seeds):
            if index % FRAMES_PER_LAYOUT == 0:
                layout = sample_layout(int(seed))
                arena.reset(layout)
            poses[index] = sample_pose(random, layout)
            arena.place(*poses[index])
            images[index] = resize(arena.render(), slot)
    finally:
        arena.close()
    write_shard(folder, seeds, poses, images)


def shards_of(folder: Path, frames: int) -> list[Path]:
    """Say where `collect` puts so many frames; there may be more shards beside them."""
    return [folder / f'shard_{index:04d}' for index in range(math.ceil(frames / SHARD_FRAMES))]


def collect(folder: Path, frames: int, slot: CameraSlot = SLOT, processes: int = 2) -> None:
    """Render `frames` into shards of `folder`; those that are there as they should be are kept."""
    missing = []
    firsts = range(0, frames, SHARD_FRAMES)
    for first, shard in zip(firsts, shards_of(folder, frames), strict=True):
        length = min(SHARD_FRAMES, frames - first)
        if not _holds(shard, length, slot):
            missing.append((shard, first // FRAMES_PER_LAYOUT, length, slot))
    if not missing:
        return
    _labels.cache_clear()
    # Not forked: an OpenGL context does not survive a fork.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        jobs = [pool.submit(render_shard, *job) for job in missing]
        for job in tqdm(jobs, desc='rendering', unit=f'{SHARD_FRAMES} frames'):
            job.result()


def _holds(shard: Path, frames: int, slot: CameraSlot) -> bool:
    images = shard / 'images.npy'
    wanted = (frames, slot.height, slot.width, 3)
    return images.exists() and np.load(images, mmap_mode='r').shape == wanted


def load(shards: Iterable[Path]) -> Frames:
    """Label shards of equal pictures with the expert; the pictures stay on disk."""
    shards = list(shards)
    _, height, width, _ = np.load(shards[0] / 'images.npy', mmap_mode='r').shape
    slot = replace(SLOT, width=width, height=height)
    labels = [_labels(shard, slot) for shard in tqdm(shards, desc='labelling', unit='shard')]
    return Frames(images=Pictures(shards), **_join(labels), slot=slot)


@cache
def _labels(shard: Path, slot: CameraSlot) -> dict[str, np.ndarray]:
    """Label a shard; a recipe loads the same ones again after each round of driving."""
    seeds, poses = np.load(shard / 'seeds.npy'), np.load(shard / 'poses.npy')
    # Frames of one layout lie side by side.
    groups = np.split(np.arange(len(seeds)), np.flatnonzero(np.diff(seeds)) + 1)
    layouts = [sample_layout(int(seeds[rows[0]])) for rows in groups]
    return _join(
        [label(layout, poses[rows], slot) for layout, rows in zip(layouts, groups, strict=True)]
    )


def _join(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
