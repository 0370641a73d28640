"""Odometry: pose and twist are the same wheels, whatever the robot itself does."""

import itertools
import math

from builtin_interfaces.msg import Time
import pytest

from vla_sim import messages
from vla_sim.arena import Arena
from vla_sim.layout import sample_layout
from vla_sim.model import TIMESTEP


def drive(start, speed, turn_rate, seconds):
    """Drive; return how odom's pose moved, odom's twist summed up, how the robot itself moved."""
    arena = Arena()
    arena.reset(sample_layout(0))
    arena.place(*start)
    arena.command(speed, turn_rate)
    poses, twists, truth = [arena.odometry], [], arena.pose
    for _ in range(round(seconds / TIMESTEP)):
        arena.advance(TIMESTEP)
        message = messages.odometry(arena, Time())
        position, turned = message.pose.pose.position, message.pose.pose.orientation
        poses.append((position.x, position.y, 2 * math.atan2(turned.z, turned.w)))
        twists.append((message.twist.twist.linear.x, message.twist.twist.angular.z))
    steps = list(itertools.pairwise(poses))
    moved = (
        sum(math.dist(new[:2], old[:2]) for old, new in steps),
        sum(math.remainder(new[2] - old[2], math.tau) for old, new in steps),
    )
    summed = tuple(sum(values) * TIMESTEP for values in zip(*twists, strict=True))
    return moved, summed, math.dist(arena.pose[:2], truth[:2])


@pytest.mark.parametrize('command', [(0.3, 0.0), (0.2, 0.5), (0.0, 1.2), (0.0, -1.2)])
def test_twist_summed_up_is_how_the_pose_moved(command):
    moved, summed, _ = drive((0.0, 0.0, 0.0), *command, seconds=2.0)
    assert summed == pytest.approx(moved, abs=1e-6)
    assert moved == pytest.approx([2.0 * value for value in command], rel=0.02, abs=1e-3)


def test_wheels_that_spin_at_a_wall_are_motion_in_pose_and_twist():
    moved, summed, truly = drive((3.3, 0.0, 0.0), 0.1, 0.0, seconds=4.0)
    assert truly < 0.05
    assert moved[0] > 0.15
    assert summed == pytest.approx(moved, abs=1e-6)


def test_twist_at_rest_is_still():
    moved, summed, _ = drive((0.0, 0.0, 0.0), 0.0, 0.0, seconds=1.0)
    assert (*moved, *summed) == pytest.approx((0.0,) * 4, abs=1e-6)
