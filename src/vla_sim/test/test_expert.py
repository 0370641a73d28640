"""The scripted expert reaches what it is sent to."""

import numpy as np
import pytest

from vla_sim.arena import Arena
from vla_sim.env import SUCCESS_GAP
from vla_sim.expert import DONE_GAP, Expert, SEARCH_TURN_RATE
from vla_sim.layout import sample_layout

PERIOD = 0.04


def _drive(arena, layout, target):
    """Return seconds until done, whether anything was touched, and the changes of turn."""
    arena.reset(layout)
    expert, touched, swings, last = Expert(layout), False, 0, 0.0
    while arena.sim_time < 60:
        speed, turn_rate, done = expert.act(arena.pose, target)
        if done:
            break
        swings += turn_rate * last < -0.1
        last = turn_rate
        arena.command(speed, turn_rate)
        arena.advance(PERIOD)
        touched |= arena.in_contact()
    arena.command(0.0, 0.0)
    arena.advance(0.5)
    return arena.sim_time, touched, swings


@pytest.mark.parametrize('seed', range(30))
def test_expert_stops_in_front_of_the_target(seed):
    arena, layout = Arena(), sample_layout(seed)
    seconds, touched, swings = _drive(arena, layout, layout.target)
    assert seconds < 30
    assert not touched
    assert swings <= 2
    assert 0.15 < arena.gap(layout.target) <= SUCCESS_GAP


def test_hundred_layouts():
    arena, gaps = Arena(), []
    for seed in range(500_000, 500_100):
        layout = sample_layout(seed)
        _, touched, _ = _drive(arena, layout, layout.target)
        gaps.append(np.inf if touched else arena.gap(layout.target))
    assert np.sum(np.array(gaps) <= SUCCESS_GAP) >= 99


def test_unseen_target_is_searched_to_the_left():
    layout = sample_layout(0)
    item = layout.objects[layout.target]
    behind = (layout.start[0], layout.start[1], layout.start[2] + np.pi)
    facing = np.arctan2(item.y - behind[1], item.x - behind[0])
    away = (behind[0], behind[1], facing + np.pi)
    assert Expert(layout).act(away, layout.target) == (0.0, SEARCH_TURN_RATE, False)


def test_near_target_is_done_only_when_faced():
    layout = sample_layout(2)
    item = layout.objects[layout.target]
    distance = item.size + 0.16 + DONE_GAP - 0.03
    pose = (item.x - distance, item.y, 0.0)
    assert Expert(layout).act(pose, layout.target) == (0.0, 0.0, True)
    assert not Expert(layout).act((*pose[:2], np.pi), layout.target)[2]


def test_batch_equals_single_and_chunk_begins_with_act():
    layout = sample_layout(4)
    expert, random = Expert(layout), np.random.default_rng(0)
    poses = random.uniform((-3, -3, -np.pi), (3, 3, np.pi), (40, 3))
    targets = random.integers(0, len(layout.objects), 40)
    chunks, arrived = expert.chunk_batch(poses, targets, 8, 0.1)
    assert chunks.shape == (40, 8, 2)
    for index, (pose, target) in enumerate(zip(poses, targets, strict=True)):
        chunk, done = expert.chunk(tuple(pose), int(target), 8, 0.1)
        assert np.allclose(chunk, chunks[index], atol=1e-12)
        assert done == arrived[index]
        speed, turn_rate, _ = expert.act(tuple(pose), int(target))
        assert tuple(chunk[0]) == pytest.approx((speed, turn_rate), abs=1e-12)


def test_velocities_stay_within_what_the_robot_can_do():
    random = np.random.default_rng(1)
    for seed in range(20):
        layout = sample_layout(seed)
        poses = random.uniform((-3.3, -3.3, -np.pi), (3.3, 3.3, np.pi), (200, 3))
        targets = random.integers(0, len(layout.objects), 200)
        command, done = Expert(layout).act_batch(poses, targets)
        assert (command[:, 0] >= 0).all()
        assert (command[:, 0] <= 0.5).all()
        assert (np.abs(command[:, 1]) <= 1.0).all()
        assert (command[done] == 0).all()
