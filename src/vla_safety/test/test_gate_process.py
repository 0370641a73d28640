"""The gate as a process of its own: what it maps, how it ends, what it refuses."""

import os
from pathlib import Path
import signal
import subprocess
import sys
import time

from geometry_msgs.msg import Twist
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

ROBOTS = Path(__file__).parents[3] / 'config' / 'robots'
HEAVY = ('torch', 'cv2', 'opencv', 'mujoco', 'onnxruntime', 'tensorflow')
PROGRAM = 'from vla_safety.gate_node import main; main()'


@pytest.fixture
def start(context):
    """Start a gate process in the domain of the test; ends it if the test does not."""
    processes = []

    def run(*parameters: str) -> subprocess.Popen[str]:
        arguments = [part for parameter in parameters for part in ('-p', parameter)]
        process = subprocess.Popen(
            [sys.executable, '-c', PROGRAM, '--ros-args', *arguments],
            env=dict(os.environ),
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()


class _Ears:
    def __init__(self, context):
        self.node = Node('ears', context=context)
        self.speeds = []
        self.node.create_subscription(Twist, 'cmd_vel', self.speeds.append, 50)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)

    def until(self, condition, process, seconds=60.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end
            assert process.poll() is None, process.stderr.read()
            self._executor.spin_once(timeout_sec=0.05)

    def drain(self):
        for _ in range(20):
            self._executor.spin_once(timeout_sec=0.02)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM], ids=['SIGINT', 'SIGTERM'])
def test_process_is_small_and_ends_with_zeros(context, start, number):
    ears = _Ears(context)
    process = start(f'robot:={ROBOTS / "sim.yaml"}')
    ears.until(lambda: len(ears.speeds) > 10, process)
    maps = Path(f'/proc/{process.pid}/maps').read_text().lower()
    assert 'libpython' in maps or 'python' in maps
    assert not [name for name in HEAVY if name in maps]
    ears.speeds.clear()
    asked = time.monotonic()
    process.send_signal(number)
    assert process.wait(30) == 0
    # Half a second of zeros every 20 ms; a busy machine may manage fewer.
    assert time.monotonic() - asked >= 0.5
    ears.drain()
    assert len(ears.speeds) >= 5
    assert all(speed == Twist() for speed in ears.speeds)
    ears.node.destroy_node()


def test_gate_imports_nothing_heavy():
    code = 'import sys, vla_safety.gate_node; print(*sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    loaded = {name.split('.')[0] for name in done.stdout.split()}
    assert 'vla_core' in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize(
    ('parameters', 'parts'),
    [
        (('robot:=nobody',), ('robot', 'nobody')),
        (('robot:={sim}', 'max_speed:=9.0'), ('max_speed', 'unknown')),
        (('robot:={sim}', 'speed_scale:=2.0'), ('speed_scale', '2.0', '[0.05, 1]')),
        (('robot:={turtlebot3}', 'clock:=lockstep', 'use_sim_time:=true'), ('lockstep', 'real')),
    ],
)
def test_bad_start_is_refused_with_one_line_and_a_status(start, parameters, parts):
    names = {path.stem: path for path in ROBOTS.glob('*.yaml')}
    process = start(*(parameter.format(**names) for parameter in parameters))
    assert process.wait(60) == 2
    lines = process.stderr.read().splitlines()
    assert len([line for line in lines if line.startswith('error: ')]) == 1
    for part in parts:
        assert part in lines[-1]
