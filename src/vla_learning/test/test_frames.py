from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('tqdm', reason='comes with the train extra')

from vla_core.errors import ConfigError
from vla_learning.model.config import ModelConfig
from vla_learning.sim import frames
from vla_learning.sim.frames import (
    collect,
    HORIZON,
    label,
    load,
    render_shard,
    sample_pose,
    SHARD_FRAMES,
    shards_of,
)
from vla_learning.sim.views import grid_of, KINDS, look, SLOT, slot_of, token_masks
from vla_sim.arena import Arena
from vla_sim.expert import Expert, SEARCH_TURN_RATE
from vla_sim.layout import sample_layout

LARGE = replace(SLOT, width=448, height=224)


@pytest.fixture(scope='module')
def shard(tmp_path_factory):
    folder = tmp_path_factory.mktemp('frames') / 'shard_0000'
    render_shard(folder, 30, frames=10)
    return folder


def test_poses_are_inside_and_touch_nothing():
    random = np.random.default_rng(0)
    layout = sample_layout(7)
    poses = np.array([sample_pose(random, layout) for _ in range(300)])
    assert np.abs(poses[:, :2]).max() < 3.5
    assert layout.plan.gaps(poses[:, :2]).min() >= 0.0


@pytest.mark.parametrize('slot', [SLOT, LARGE], ids=lambda slot: f'{slot.width}x{slot.height}')
def test_masks_agree_with_a_segmentation_render(slot):
    grid = grid_of(slot)
    arena, random = Arena(), np.random.default_rng(1)
    overlap = []
    for seed in range(6):
        layout = sample_layout(seed)
        arena.reset(layout)
        pose = sample_pose(random, layout)
        arena.place(*pose)
        # The slot's crop: the middle 320 of 480 rows.
        truth = arena.segmentation()[80:400].repeat(21, axis=0).repeat(21, axis=1)
        masks = token_masks(layout, np.array([pose]), slot)[0].reshape(-1, *grid)
        for item in range(len(layout.objects)):
            cells = (truth == item).reshape(grid[0], 6720 // grid[0], grid[1], -1).mean((1, 3))
            seen = masks[item] / (32 * 8)
            if cells.sum() > 0.1:
                overlap.append(np.minimum(cells, seen).sum() / np.maximum(cells, seen).sum())
    arena.close()
    assert len(overlap) >= 4
    assert np.mean(overlap) > 0.6


def test_labels_are_the_experts(shard):
    frames = load([shard])
    seeds, poses = np.load(shard / 'seeds.npy'), np.load(shard / 'poses.npy')
    assert len(frames) == 10
    assert frames.images[np.array([0, 9])].shape == (2, SLOT.height, SLOT.width, 3)
    for row in (0, 5, 9):
        layout = sample_layout(int(seeds[row]))
        for item, thing in enumerate(layout.objects):
            assert KINDS[frames.kinds[row, item]] == (thing.colour, thing.shape)
            commands, done = Expert(layout).chunk(tuple(poses[row]), item, HORIZON, 0.1)
            np.testing.assert_allclose(frames.actions[row, item], commands, atol=1e-3)
            assert frames.done[row, item] == done
        assert (frames.kinds[row, len(layout.objects) :] == -1).all()


def test_what_is_in_sight_does_not_depend_on_the_size_of_the_picture():
    random, near = np.random.default_rng(3), []
    for seed in range(20):
        layout = sample_layout(seed)
        poses = np.array([sample_pose(random, layout) for _ in range(20)])
        small, large = (look(layout, poses, slot)[0].pixels for slot in (SLOT, LARGE))
        near.append(np.abs(small - large) <= np.maximum(4.0, 0.25 * np.maximum(small, large)))
    assert np.mean(near) > 0.98


def test_a_picture_narrower_than_the_cameras_is_refused():
    assert slot_of(ModelConfig(height=128, width=256)) == replace(SLOT, width=256, height=128)
    with pytest.raises(ConfigError, match=r'picture 96x96: the simulated camera is 640x480'):
        slot_of(ModelConfig(height=96, width=96))


def test_shards_of_larger_pictures_say_their_size(tmp_path):
    render_shard(tmp_path / 'shard_0000', 30, frames=2, slot=LARGE)
    frames = load([tmp_path / 'shard_0000'])
    assert (frames.slot, frames.images[np.array([1])].shape) == (LARGE, (1, 224, 448, 3))
    assert frames.mask.shape[-1] == 7 * 56


def test_unseen_objects_have_no_mask():
    layout = sample_layout(11)
    x, y, _ = layout.start
    target = layout.objects[layout.target]
    away = np.arctan2(y - target.y, x - target.x)
    labels = label(layout, np.array([[x, y, away]]))
    assert not labels['seen'][0, layout.target]
    assert labels['mask'][0, layout.target].sum() == 0


def test_what_is_searched_is_what_the_expert_turns_for_at_that_pose():
    random, both = np.random.default_rng(0), 0
    for seed in range(40):
        layout = sample_layout(seed)
        count = len(layout.objects)
        poses = np.array([sample_pose(random, layout) for _ in range(4)])
        labels = label(layout, poses)
        for item in range(count):
            commands, _ = Expert(layout).act_batch(poses, np.full(4, item))
            expected = (commands == (0.0, SEARCH_TURN_RATE)).all(axis=1)
            np.testing.assert_array_equal(labels['searched'][:, item], expected)
        assert not labels['searched'][:, count:].any()
        both += (labels['searched'] & labels['seen']).sum()
    assert both  # a few pixels in the picture are no reason to drive


def test_shards_are_equal_and_kept(shard, tmp_path):
    render_shard(tmp_path / 'again', 30, frames=10)
    for name in ('seeds', 'poses', 'images'):
        one, other = (np.load(folder / f'{name}.npy') for folder in (shard, tmp_path / 'again'))
        np.testing.assert_array_equal(one, other)


def test_collecting_again_renders_nothing(tmp_path, monkeypatch):
    render_shard(tmp_path / 'shard_0000', 0, frames=1)
    monkeypatch.setattr(
        frames, 'ProcessPoolExecutor', lambda *job, **more: pytest.fail('rendered')
    )
    collect(tmp_path, 1)


@pytest.mark.parametrize(('length', 'slot'), [(2, SLOT), (5, SLOT), (3, LARGE)])
def test_a_shard_of_another_length_or_size_is_rendered_again(tmp_path, length, slot):
    render_shard(tmp_path / 'shard_0000', 0, frames=length, slot=slot)
    load(shards_of(tmp_path, 3))
    collect(tmp_path, 3, processes=1)
    found = load(shards_of(tmp_path, 3))
    assert (len(found), len(found.kinds), found.slot) == (3, 3, SLOT)
    assert [path.name for path in tmp_path.iterdir()] == ['shard_0000']


def test_only_the_shards_of_so_many_frames_are_named(tmp_path):
    names = [shard.name for shard in shards_of(tmp_path, 2 * SHARD_FRAMES + 1)]
    assert names == ['shard_0000', 'shard_0001', 'shard_0002']
    assert shards_of(tmp_path, SHARD_FRAMES) == [tmp_path / 'shard_0000']
