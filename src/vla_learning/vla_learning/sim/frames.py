"""Training frames: pictures from sampled poses, and the expert's labels for every object.

The policy sees one frame and remembers nothing, so training needs states, not trajectories: poses
are drawn at random around the objects of random layouts, and one picture is labelled for every
object of its layout as if that one had been named.

Frames lie in shards, folders of plain .npy files. A shard is written under another name and then
renamed, so an interrupted run continues where it was.

Shape legend: N frames, K objects (MAX_OBJECTS, padded), H horizon, G tokens of the grid.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
import math
import multiprocessing
from pathlib import Path
import shutil

import numpy as np
from tqdm import tqdm

from vla_core.preprocess import resize
from vla_core.types import CameraSlot
from vla_sim import robot
from vla_sim.arena import Arena
from vla_sim.expert import Expert
from vla_sim.geometry import SHAPES, wrap
from vla_sim.layout import ARENA_HALF_WIDTH, COLOURS, Layout, MAX_OBJECTS, sample_layout

SLOT = CameraSlot('front', 192, 96, 'crop')
HORIZON = 8
STEP_DT = 0.1
#: Rows and columns of vision tokens; a token stands for 32 x 8 pixels (height, width).
GRID = (3, 24)
KINDS = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)
FRAMES_PER_LAYOUT = 4
SHARD_FRAMES = 2000
SEEN_PIXELS = 6

_WALL_MARGIN = robot.FOOTPRINT_RADIUS + 0.02
# Pixels of the slot's picture per unit of tan(angle); the crop keeps the camera's full width.
_FOCAL = robot.FOCAL_LENGTH * SLOT.width / robot.IMAGE_WIDTH


@dataclass(frozen=True)
class Frames:
    """Labelled frames.

    Attributes:
        images: uint8 [N, 96, 192, 3].
        kinds: int8 [N, K], index into KINDS, -1 where the layout has fewer objects.
        actions: float16 [N, K, H, 2], m/s and rad/s.
        done: bool [N, K].
        seen: bool [N, K], whether a few pixels of the object are in the picture.
        place: float16 [N, K, 2], bearing in radians and gap in metres.
        mask: uint8 [N, K, G], pixels of the object in each token, at most 255.
    """

    images: np.ndarray
    kinds: np.ndarray
    actions: np.ndarray
    done: np.ndarray
    seen: np.ndarray
    place: np.ndarray
    mask: np.ndarray

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


def token_masks(layout: Layout, poses: np.ndarray) -> np.ndarray:
    """Count the pixels of every object in every vision token.

    Objects are painted as upright rectangles, far ones first: close enough to supervise
    attention, and far cheaper than a segmentation render.

    Args:
        layout: what stands where.
        poses: [N, 3].

    Returns:
        uint8 [N, K, G].
    """
    plan = layout.plan
    heading = poses[:, 2][:, None]
    eye = (
        poses[:, None, :2]
        + robot.CAMERA_FORWARD
        * np.concatenate([np.cos(heading), np.sin(heading)], axis=1)[:, None, :]
    )
    offset = plan.centre - eye
    distance = np.maximum(np.hypot(offset[..., 0], offset[..., 1]), 1e-3)
    bearing = wrap(np.arctan2(offset[..., 1], offset[..., 0]) - heading)
    half = np.arcsin(np.minimum(plan.silhouette / distance, 0.98))
    left, right = (np.tan(np.clip(bearing + side * half, -1.4, 1.4)) for side in (1, -1))
    near = np.maximum(distance - 0.7 * plan.silhouette, 0.05)
    top = (plan.height - robot.CAMERA_HEIGHT) / near
    bottom = -robot.CAMERA_HEIGHT / near
    columns = np.clip(np.rint(SLOT.width / 2 - _FOCAL * np.stack([left, right])), 0, SLOT.width)
    rows = np.clip(np.rint(SLOT.height / 2 - _FOCAL * np.stack([top, bottom])), 0, SLOT.height)
    columns, rows = columns.astype(int), rows.astype(int)

    tall, wide = SLOT.height // GRID[0], SLOT.width // GRID[1]
    token = (np.arange(SLOT.height)[:, None] // tall) * GRID[1] + np.arange(SLOT.width) // wide
    cells = GRID[0] * GRID[1]
    masks = np.zeros((len(poses), MAX_OBJECTS, cells), np.uint8)
    for frame in range(len(poses)):
        owner = np.zeros((SLOT.height, SLOT.width), np.int64)
        for item in np.argsort(-distance[frame]):
            if abs(bearing[frame, item]) < 1.4:
                owner[
                    rows[0, frame, item] : rows[1, frame, item],
                    columns[0, frame, item] : columns[1, frame, item],
                ] = item + 1
        count = np.bincount((owner * cells + token).ravel(), minlength=(MAX_OBJECTS + 1) * cells)
        masks[frame] = np.minimum(count.reshape(-1, cells)[1:], 255)
    return masks


def label(layout: Layout, poses: np.ndarray) -> dict[str, np.ndarray]:
    """Label poses of one layout for all of its objects; keys and shapes as in `Frames`."""
    frames, count = len(poses), len(layout.objects)
    plan = layout.plan
    every_pose = np.repeat(poses, count, axis=0)
    every_target = np.tile(np.arange(count), frames)
    commands, done = Expert(layout).chunk_batch(every_pose, every_target, HORIZON, STEP_DT)
    offset = plan.centre[None] - poses[:, None, :2]
    bearing = wrap(np.arctan2(offset[..., 1], offset[..., 0]) - poses[:, 2][:, None])
    masks = token_masks(layout, poses)
    place = np.stack([bearing, plan.gaps(poses[:, :2])], axis=-1)
    result = {
        'kinds': np.full((frames, MAX_OBJECTS), -1, np.int8),
        'actions': np.zeros((frames, MAX_OBJECTS, HORIZON, 2), np.float16),
        'done': np.zeros((frames, MAX_OBJECTS), bool),
        'place': np.zeros((frames, MAX_OBJECTS, 2), np.float16),
        'seen': masks.sum(axis=-1, dtype=int) >= SEEN_PIXELS,
        'mask': masks,
    }
    result['kinds'][:, :count] = [KINDS.index((o.colour, o.shape)) for o in layout.objects]
    result['actions'][:, :count] = commands.reshape(frames, count, HORIZON, 2)
    result['done'][:, :count] = done.reshape(frames, count)
    result['place'][:, :count] = place
    return result


def write_shard(folder: Path, seeds: np.ndarray, poses: np.ndarray, images: np.ndarray) -> None:
    """Write one shard: layout seeds [N], poses [N, 3] and images."""
    draft = folder.with_name(folder.name + '.draft')
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for name, array in (('seeds', seeds), ('poses', poses), ('images', images)):
        np.save(draft / f'{name}.npy', array)
    draft.rename(folder)


def render_shard(folder: Path, first_layout: int, frames: int = SHARD_FRAMES) -> None:
    """Render one shard from layouts `first_layout`, `first_layout` + 1, ..."""
    random = np.random.default_rng(first_layout)
    seeds = first_layout + np.arange(frames) // FRAMES_PER_LAYOUT
    poses = np.zeros((frames, 3))
    images = np.zeros((frames, SLOT.height, SLOT.width, 3), np.uint8)
    arena = Arena()
    try:
        for index, seed in enumerate(seeds):
            if index % FRAMES_PER_LAYOUT == 0:
                layout = sample_layout(int(seed))
                arena.reset(layout)
            poses[index] = sample_pose(random, layout)
            arena.place(*poses[index])
            images[index] = resize(arena.render(), SLOT)
    finally:
        arena.close()
    write_shard(folder, seeds, poses, images)


def collect(folder: Path, frames: int, processes: int = 2) -> None:
    """Render shards until `folder` holds `frames` of them; those that exist are kept."""
    missing = []
    for index in range(math.ceil(frames / SHARD_FRAMES)):
        shard = folder / f'shard_{index:04d}'
        if not shard.exists():
            first = index * SHARD_FRAMES
            count = min(SHARD_FRAMES, frames - first)
            missing.append((shard, first // FRAMES_PER_LAYOUT, count))
    if not missing:
        return
    # Not forked: an OpenGL context does not survive a fork.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        jobs = [pool.submit(render_shard, *job) for job in missing]
        for job in tqdm(jobs, desc='rendering', unit=f'{SHARD_FRAMES} frames'):
            job.result()


def load(shards: Iterable[Path]) -> Frames:
    """Load shards into memory and label them with the expert."""
    images, labels = [], []
    for shard in tqdm(list(shards), desc='labelling', unit='shard'):
        seeds, poses = np.load(shard / 'seeds.npy'), np.load(shard / 'poses.npy')
        images.append(np.load(shard / 'images.npy'))
        # Frames of one layout lie side by side.
        groups = np.split(np.arange(len(seeds)), np.flatnonzero(np.diff(seeds)) + 1)
        labels += [label(sample_layout(int(seeds[rows[0]])), poses[rows]) for rows in groups]
    joined = {key: np.concatenate([part[key] for part in labels]) for key in labels[0]}
    return Frames(images=np.concatenate(images), **joined)
