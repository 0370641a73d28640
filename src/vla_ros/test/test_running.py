"""Guarded callbacks, heartbeats and an orderly exit."""

import os
import signal
import subprocess
import sys

import pytest
from rclpy.node import Node
from std_msgs.msg import String

from vla_interfaces.msg import Heartbeat
from vla_ros import qos
from vla_ros.domains import process_domain
from vla_ros.guard import guarded
from vla_ros.heartbeat import Activity, HeartbeatPublisher, Vitals
from vla_ros.in_turn import in_turn_executor

FRAGILE = """
import sys
from rclpy.node import Node
from vla_ros.in_turn import in_turn_executor
from vla_ros.running import events_executor, run

class Fragile(Node):
    def __init__(self):
        super().__init__('fragile')
        self.count = 0
        self.create_timer(0.01, self.tick)
    def tick(self):
        self.count += 1
        raise ValueError(f'tick {self.count}')
    def failed(self, error):
        print(error, flush=True)

executor = events_executor if sys.argv[1] == 'events' else in_turn_executor
sys.exit(run(Fragile, args=[], make_executor=executor))
"""
PROGRAM = """
import sys
from rclpy.node import Node
from rclpy.qos_overriding_options import QoSOverridingOptions
from std_msgs.msg import String
from vla_core.errors import ConfigError
from vla_ros.running import run

class Example(Node):
    def __init__(self):
        super().__init__('example')
        options = QoSOverridingOptions.with_default_policies()
        self.create_subscription(String, 'text', print, 5, qos_overriding_options=options)
        print('ready', flush=True)
    def close(self):
        assert self.context.ok()
        print('last words', flush=True)

def fail():
    raise ConfigError('parameter speed is 0')

sys.exit(run(fail if sys.argv[1:] == ['fail'] else Example, args=sys.argv[1:]))
"""
LOADING = """
import sys, time
from rclpy.node import Node
from vla_ros.running import run

class Loading(Node):
    def __init__(self):
        super().__init__('loading')
        print('loading', flush=True)
        try:
            time.sleep(60.0)
        except Exception:
            print('caught', flush=True)

status = run(Loading, args=[])
import rclpy
assert not rclpy.ok()
sys.exit(status)
"""


def _spin(executor, condition):
    for _ in range(200):
        executor.spin_once(timeout_sec=0.05)
        if condition():
            return True
    return False


def test_raising_callback_is_counted_and_the_node_lives(context):
    """One bad message does not end a node."""
    node, errors, heard = Node('example', context=context), [], []

    def fragile(msg):
        heard.append(msg.data)
        raise ValueError('bad')

    node.create_subscription(String, 'text', guarded(node, fragile, errors.append), 10)
    publisher = node.create_publisher(String, 'text', 10)
    executor = in_turn_executor(context)
    executor.add_node(node)
    assert _spin(executor, lambda: publisher.get_subscription_count() == 1)
    for text in ('one', 'two'):
        publisher.publish(String(data=text))
    assert _spin(executor, lambda: len(errors) == 2)
    assert heard == ['one', 'two']
    executor.shutdown()
    node.destroy_node()


def test_heartbeat_carries_the_vitals(context):
    """What the node says of itself arrives, in a run that names the process."""
    node, beats = Node('example', context=context), []
    node.create_subscription(Heartbeat, 'vla/heartbeat', beats.append, qos.HEARTBEAT)
    HeartbeatPublisher(
        node, 'camera', lambda: Vitals(Activity.BUSY, 0.5, 3, 2, 1, detail='x' * 999), 'front'
    )
    executor = in_turn_executor(context)
    executor.add_node(node)
    assert _spin(executor, lambda: len(beats) >= 3)
    beat = beats[0]
    assert (beat.node, beat.slot, beat.state, beat.progress) == ('camera', 'front', 2, 3)
    assert len(beat.detail) == 200
    assert len({beat.policy_run for beat in beats}) == 1
    executor.shutdown()
    node.destroy_node()


def _start(*args, program=PROGRAM):
    environment = {
        **os.environ,
        'ROS_DOMAIN_ID': str(process_domain()),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
    }
    return subprocess.Popen(
        [sys.executable, '-c', program, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_signals_end_the_process_while_it_can_still_publish():
    """SIGINT and SIGTERM alike: close() runs in a valid context, exit status 0."""
    for number in (signal.SIGINT, signal.SIGTERM):
        process = _start()
        assert process.stdout.readline() == 'ready\n'
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)
        assert (output, process.returncode) == ('last words\n', 0), errors


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_process_that_still_loads(number):
    """What takes minutes to load need not be killed: no traceback, no context left, status 0."""
    process = _start(program=LOADING)
    assert process.stdout.readline() == 'loading\n'
    process.send_signal(number)
    output, errors = process.communicate(timeout=20)
    assert (output, errors, process.returncode) == ('', '', 0)


def test_bad_configuration_exits_with_its_message():
    """A node that cannot do its job says why and leaves."""
    process = _start('fail')
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert errors == 'error: parameter speed is 0\n'


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (('--log-level', 'loud'), 'loud'),
        (('-r', 'x:='), 'x:='),
        (('--params-file', '/nowhere.yaml'), '/nowhere.yaml'),
        (('--bar',), '--bar'),
        (('-p', 'use_sim_time:=maybe'), 'maybe'),
        (('-p', 'qos_overrides./txet.subscription.depth:=3'), '/example: unknown parameter'),
    ],
)
def test_what_ros_cannot_read_is_one_line(arguments, said):
    """ROS's own log line may stand before it."""
    process = _start('--ros-args', *arguments)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert 'Traceback' not in errors
    last = errors.splitlines()[-1]
    assert last.startswith('error: ')
    assert said in last


@pytest.mark.parametrize('executor', ['turns', 'events'])
def test_error_outside_every_guard_is_reported_and_the_process_lives(executor):
    """Nothing that a message can cause ends a node."""
    process = _start(executor, program=FRAGILE)
    assert [process.stdout.readline() for _ in range(3)] == ['tick 1\n', 'tick 2\n', 'tick 3\n']
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert 'ValueError: tick 1' in errors
