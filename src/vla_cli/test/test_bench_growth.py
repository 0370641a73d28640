"""Start, memory and growth: what the rows say, and the picture."""

import importlib.util
import os
import subprocess
import sys
import time

from PIL import Image
import psutil
import pytest

from vla_cli.bench import child, growth, startup
from vla_cli.bench.compare import CompareError, read
from vla_cli.bench.growth_picture import draw_growth, points, stop_of
from vla_cli.bench.report import Row, write
from vla_cli.bench.startup import Start
from vla_cli.graph import GraphError
from vla_core.errors import VlaError


def test_start_of_a_process_is_read_from_the_kernel():
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    with subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']) as process:
        try:
            started = startup.since_boot(process.pid)
            after = time.clock_gettime(time.CLOCK_BOOTTIME)
        finally:
            process.kill()
    assert before - 0.011 <= started <= after


def test_peak_is_not_below_what_is_held():
    held = psutil.Process().memory_info().rss / 1e6
    assert startup.peak_mb(os.getpid()) >= 0.99 * held


def test_imports_are_timed_in_a_fresh_interpreter():
    assert len(startup.import_seconds('gate', 1)) == 1


def test_import_that_fails_is_reported(monkeypatch):
    monkeypatch.setattr(child.sys, 'executable', '/bin/false')
    with pytest.raises(VlaError, match=r'import vla_safety\.gate_node ended with 1'):
        startup.import_seconds('gate', 1)


def test_rows_of_start_and_memory_are_told_apart_and_the_policy_has_a_limit():
    starts = {
        'gate': [Start(1.0, 80.0, 50.0, 40.0, 81.0)],
        'policy': [Start(2.0, 150.0, 100.0, 90.0, 160.0), Start(3.0, 201.0, 110.0, 95.0, 210.0)],
    }
    imports = {'gate': [0.1], 'policy': [0.2, 0.4]}
    classes = dict.fromkeys(starts, 'other')
    rows = {row.name: row for row in startup.rows(starts, imports, classes, {'child': 300})}
    assert list(rows) == ['startup_gate', 'memory_gate', 'startup_policy', 'memory_policy']
    assert rows['startup_policy'].samples == [2.0, 3.0]
    assert rows['startup_policy'].notes['imports alone, s'] == 0.3
    compiles = 'PYTHONDONTWRITEBYTECODE' in rows['startup_policy'].notes
    assert compiles == sys.dont_write_bytecode
    memory = rows['memory_policy']
    assert memory.samples == [150.0, 201.0]
    assert memory.verdicts() == {'max': False}
    assert memory.notes == {'PSS': 105.0, 'USS': 92.5, 'peak': 210.0, 'child': 300}
    assert rows['memory_gate'].verdicts() == {}
    assert 'child' not in rows['memory_gate'].notes


def test_child_that_folds_is_measured_only_where_there_is_one():
    assert startup._folding_peak('hold') == 'none'
    assert startup._folding_peak('demo') > 100.0


@pytest.mark.parametrize('number', growth.CAMERAS)
def test_cameras_are_each_brought_to_size(monkeypatch, number):
    sized = []
    resize = growth.resize
    monkeypatch.setattr(growth, 'resize', lambda *given: sized.append(1) or resize(*given))
    row = growth.camera_row(number, 3)
    assert row.name == f'growth_cameras_{number}'
    assert len(row.samples) == 3
    assert len(sized) % number == 0
    assert len(sized) >= 3 * number


@pytest.mark.parametrize('horizon', growth.HORIZONS)
def test_chunk_of_any_horizon_drives_the_gate(horizon):
    execution, step = growth.horizon_rows(horizon, 20)
    assert (len(execution.samples), len(step.samples)) == (20, 20)
    assert step.notes['state'] == 'ACTIVE'


def test_inference_by_pixels_is_left_out_by_name_without_torch(monkeypatch):
    monkeypatch.setattr(growth.importlib.util, 'find_spec', lambda name: None)
    rows = growth.inference_rows(3)
    assert [row.name for row in rows] == [f'growth_pixels_{n}_inference' for n in growth.PIXELS]
    assert all('torch is missing' in row.words() for row in rows)


@pytest.mark.skipif(not importlib.util.find_spec('torch'), reason='torch is missing')
def test_inference_by_pixels_is_measured_in_turns():
    pixels = pytest.importorskip('vla_learning.benchmark.pixels')
    rows = pixels.measure(3, (32, 64))
    assert [row['name'] for row in rows] == [
        'growth_pixels_32_inference',
        'growth_pixels_64_inference',
    ]
    assert [len(Row(**row).samples) for row in rows] == [3, 3]


@pytest.fixture
def quick(monkeypatch):
    """Leave the robots alone in a growth of which the rest is quick."""
    monkeypatch.setattr(growth, 'inference_rows', lambda count: [])
    monkeypatch.setattr(growth, 'camera_row', lambda n, _: Row(f'growth_cameras_{n}', 'ms', [1.0]))


def test_number_of_robots_at_which_it_stops_is_a_row(quick, monkeypatch, tmp_path):
    def robots(number, *_):
        if number == 2:
            raise GraphError('not in 60 s: gate ACTIVE')
        notes = {'frames per s of each': 30.0}
        notes |= {f'{name}, % CPU each': 10.0 for name in growth.NODES}
        return [Row(f'growth_robots_{number}_camera_to_cmd_vel', 'ms', [20.0], notes=notes)]

    monkeypatch.setattr(growth, 'robot_rows', robots)
    write(growth.growth('hold', 3, tmp_path), {'POLICY': 'hold'}, tmp_path / 'bench.json')
    recorded = read(tmp_path / 'bench.json')
    assert stop_of(recorded, 'robots') == (2, 'not in 60 s: gate ACTIVE')
    assert [n for n, _ in points(recorded, 'robots', 'camera_to_cmd_vel')] == [1]
    assert [n for n, _ in points(recorded, 'cameras', '')] == list(growth.CAMERAS)
    assert [n for n, _ in points(recorded, 'horizon', 'gate_step')] == list(growth.HORIZONS)
    picture = tmp_path / 'growth.png'
    assert draw_growth(tmp_path / 'bench.json', picture) == 0
    with Image.open(picture) as image:
        assert image.width > 800


def test_file_without_growth_is_refused(tmp_path):
    write([Row('gate_step', 'ms', [1.0])], {'POLICY': 'hold'}, tmp_path / 'bench.json')
    with pytest.raises(CompareError, match='no row of growth'):
        draw_growth(tmp_path / 'bench.json', tmp_path / 'growth.png')


@pytest.mark.slow
def test_two_robots_drive_beside_each_other(tmp_path):
    rows = growth.robot_rows(2, 'scripted', 5, tmp_path)
    assert [row.name for row in rows] == [
        'growth_robots_2_camera_to_cmd_vel',
        'growth_robots_2_gate_late',
    ]
    assert len(rows[0].samples) >= 10
    assert min(rows[1].samples) >= 0.0
    assert rows[0].notes['frames per s of each'] > 0.0
