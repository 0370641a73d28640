"""Physics and camera of the arena."""

import hashlib
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from vla_sim import robot
from vla_sim.arena import Arena
from vla_sim.errors import SimulationError
from vla_sim.layout import sample_layout


@pytest.fixture(scope='module')
def arena():
    arena = Arena()
    yield arena
    arena.close()


def _face(arena, index):
    item, (x, y, _) = arena.layout.objects[index], arena.layout.start
    arena.place(x, y, math.atan2(item.y - y, item.x - x))


@pytest.mark.parametrize(
    ('speed', 'turn_rate'),
    [(0.5, 0.0), (0.1, 0.0), (-0.3, 0.0), (0.0, 1.2), (0.0, -0.6), (0.3, 0.5)],
)
def test_robot_tracks_commands_within_five_percent(arena, speed, turn_rate):
    arena.reset(sample_layout(3))
    arena.command(speed, turn_rate)
    arena.advance(0.5)
    assert arena.velocity == pytest.approx((speed, turn_rate), rel=0.05, abs=0.002)
    arena.command(0.0, 0.0)
    arena.advance(0.5)
    assert arena.velocity == pytest.approx((0.0, 0.0), abs=1e-3)


def test_odometry_counts_what_the_robot_drives(arena):
    arena.reset(sample_layout(3))
    assert arena.odometry == pytest.approx(arena.pose)
    arena.command(0.2, 0.4)
    arena.advance(2.0)
    assert math.dist(arena.pose[:2], arena.layout.start[:2]) > 0.2
    assert arena.odometry[:2] == pytest.approx(arena.pose[:2], abs=0.01)
    assert math.remainder(arena.pose[2] - arena.odometry[2], math.tau) == pytest.approx(
        0, abs=0.02
    )


def test_equal_inputs_give_equal_bits(arena):
    def run():
        arena.reset(sample_layout(11))
        arena.command(0.3, -0.4)
        arena.advance(1.0)
        return arena.pose, arena.velocity, arena.odometry, arena.render().tobytes()

    first = run()
    arena.reset(sample_layout(12))
    arena.command(0.5, 1.0)
    arena.advance(0.3)
    assert run() == first


@pytest.mark.parametrize('seed', range(5))
def test_driving_into_an_object_ends_at_its_surface(arena, seed):
    layout = sample_layout(seed)
    arena.reset(layout)
    _face(arena, layout.target)
    assert not arena.in_contact()
    arena.command(0.3, 0.0)
    for _ in range(1000):
        arena.advance(0.02)
        if arena.in_contact():
            break
    assert arena.in_contact()
    assert arena.gap(layout.target) == pytest.approx(0.0, abs=0.01)


def test_walls_hold_the_robot(arena):
    arena.reset(sample_layout(0))
    arena.place(3.0, 3.0, 0.0)
    arena.command(0.5, 0.0)
    arena.advance(2.0)
    assert arena.in_contact()
    assert arena.pose[0] == pytest.approx(3.5 - robot.FOOTPRINT_RADIUS, abs=0.01)


@pytest.mark.parametrize('seed', range(6))
def test_camera_sees_the_object_in_its_colour_where_geometry_says(arena, seed):
    layout = sample_layout(seed)
    arena.reset(layout)
    _face(arena, layout.target)
    picture, labels = arena.render(), arena.segmentation()
    assert picture.shape == (480, 640, 3)
    assert picture.dtype == np.uint8
    assert labels.shape == (480, 640)
    assert set(np.unique(labels)) <= {-1, *range(len(layout.objects))}
    rows, columns = np.nonzero(labels == layout.target)
    assert columns.mean() == pytest.approx(319.5, abs=12)
    item = layout.objects[layout.target]
    distance = math.dist(layout.start[:2], (item.x, item.y)) - robot.CAMERA_FORWARD
    bottom = 239.5 + robot.FOCAL_LENGTH * robot.CAMERA_HEIGHT / distance
    assert rows.max() == pytest.approx(bottom, abs=0.35 * (bottom - 239.5) + 2)
    red, green, blue = picture[rows, columns].mean(axis=0)
    assert {
        'red': red > 3 * green and red > 3 * blue,
        'green': green > 2 * red and green > 2 * blue,
        'blue': blue > 2 * red and blue > 2 * green,
        'yellow': red > 3 * blue and 0.75 < green / red < 1.1,
        'purple': blue > 3 * green and 0.5 < red / blue < 1.0,
        'orange': red > 3 * blue and 0.3 < green / red < 0.6,
    }[item.colour]


def test_refusals_name_what_was_wrong(arena):
    arena.reset(sample_layout(0))
    with pytest.raises(SimulationError, match='nan'):
        arena.command(math.nan, 0.0)
    with pytest.raises(SimulationError, match=r'0\.007'):
        arena.advance(0.007)
    with pytest.raises(SimulationError, match='99'):
        arena.gap(99)
    with pytest.raises(SimulationError, match='reset'):
        assert Arena().layout


def _in_new_process(program, **environment):
    return subprocess.run(
        [sys.executable, '-c', program],
        env={name: value for name, value in (os.environ | environment).items() if value},
        capture_output=True,
        text=True,
        check=False,
    )


PROGRAM = """
from vla_sim.arena import Arena
from vla_sim.layout import sample_layout
import hashlib
arena = Arena()
arena.reset(sample_layout(5))
arena.advance(0.1)
print(arena.sim_time)
print(hashlib.sha256(arena.render().tobytes()).hexdigest())
"""
THREADS = """
import pathlib
names = [file.read_text() for file in pathlib.Path('/proc/self/task').glob('*/comm')]
print(sum(name.startswith('llvmpipe') for name in names))
"""


@pytest.mark.parametrize('threads', [0, 2])
def test_pixels_are_the_same_in_every_process_and_with_any_threads(arena, threads):
    arena.reset(sample_layout(5))
    arena.advance(0.1)
    chosen = f'from vla_sim.graphics import draw_with\ndraw_with({threads})\n'
    result = _in_new_process(chosen + PROGRAM + THREADS, LP_NUM_THREADS=None)
    assert result.returncode == 0, result.stderr
    *_, pixels, drawing = result.stdout.split()
    if os.environ.get('MUJOCO_GL') == 'osmesa':  # A GPU draws without them.
        assert int(drawing) == threads
    assert pixels == hashlib.sha256(arena.render().tobytes()).hexdigest()


def test_without_a_display_library_physics_works_and_rendering_names_the_remedy():
    result = _in_new_process(PROGRAM, MUJOCO_GL='disable')
    assert result.stdout.split() == ['0.1']
    assert 'SimulationError' in result.stderr
    assert 'apt-get install libosmesa6' in result.stderr


def test_an_unusable_backend_of_the_user_is_named():
    result = _in_new_process(PROGRAM, MUJOCO_GL='nonsense')
    assert result.returncode != 0
    assert 'nonsense' in result.stderr
    assert 'osmesa' in result.stderr
