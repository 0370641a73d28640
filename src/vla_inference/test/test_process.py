"""The executable as a process: it starts, maps no torch, ends in order, names what is wrong."""

import os
from pathlib import Path
import signal
import subprocess
import sys

import pytest

from vla_ros.domains import process_domain

SIM = str(Path(__file__).parents[3] / 'config' / 'robots' / 'sim.yaml')
DEMO = str(Path(__file__).parents[2] / 'vla_bringup' / 'checkpoints' / 'demo')
REAL = str(Path(__file__).parents[3] / 'config' / 'robots' / 'turtlebot3.yaml')
MAIN = 'from vla_inference.policy_node import main; main()'
#: Imports fail as if torch were not installed, and everything that the demo's policy needs works.
WITHOUT_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('torch', 'transformers'):
            raise ImportError(f'{name} was imported')

sys.meta_path.insert(0, NoTorch())
import vla_inference.policy_node
import vla_inference.onnx_policy
assert 'torch' not in sys.modules
"""


def environment():
    domain = {'ROS_DOMAIN_ID': str(process_domain())}
    return {**os.environ, **domain, 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}


def command(**parameters):
    arguments = [part for name, value in parameters.items() for part in ('-p', f'{name}:={value}')]
    return [sys.executable, '-c', MAIN, '--ros-args', *arguments]


def run(arguments):
    return subprocess.run(
        arguments, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ('checkpoint', 'number'),
    [('hold', signal.SIGINT), (DEMO, signal.SIGTERM)],
    ids=['hold', 'demo'],
)
def test_starts_without_torch_and_ends_in_order(checkpoint, number):
    process = subprocess.Popen(
        command(robot=SIM, checkpoint=checkpoint),
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if 'is ready' in line:
                break
        assert lines
        assert 'is ready' in lines[-1], lines
        mapped = Path(f'/proc/{process.pid}/maps').read_text()
        assert 'libtorch' not in mapped
        assert 'mujoco' not in mapped
        process.send_signal(number)
        _, rest = process.communicate(timeout=30)
        assert process.returncode == 0, rest
        assert 'Traceback' not in rest
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ('parameters', 'said'),
    [
        ({'robot': SIM, 'checkpoint': 'nobody'}, ['nobody', 'hold']),
        ({'robot': REAL, 'checkpoint': 'scripted'}, ['scripted', 'turtlebot3']),
        ({'robot': SIM, 'checkpoint': 'hold', 'speed': '3'}, ['speed', 'checkpoint']),
    ],
    ids=['unknown policy', 'wrong robot', 'unknown key'],
)
def test_refuses_to_start_with_one_line(parameters, said):
    done = run(command(**parameters))
    assert done.returncode == 2
    assert 'Traceback' not in done.stderr
    error = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
    assert len(error) == 1
    assert all(word in error[0] for word in said), error


def test_node_and_exported_policies_import_without_torch():
    done = run([sys.executable, '-c', WITHOUT_TORCH])
    assert done.returncode == 0, done.stderr
