"""Two robots in two namespaces, started by vla_up: neither touches the other, no trace is left."""

from collections.abc import Callable, Iterator
from pathlib import Path
import signal
import subprocess
import sys
import time

import psutil
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from vla_core.gate.causes import State
from vla_interfaces.msg import SafetyState
from vla_ros import qos
from vla_ros.domains import process_domain

DOMAIN = str(process_domain())
PATIENCE = 90.0
NODES = {'gate', 'monitor', 'camera', 'policy'}
# Only one has a simulator: nothing here depends on a machine that is fast enough for two.
ROBOTS = {'left': 'true', 'right': 'false'}
# What ROS itself names absolutely, and the one topic that every diagnostics tool expects.
ABSOLUTE = {'/rosout', '/parameter_events', '/diagnostics'}


class Watcher:
    """Sees both robots."""

    def __init__(self, node: Node, executor: SingleThreadedExecutor) -> None:
        self.node = node
        self.states: dict[str, list[SafetyState]] = {name: [] for name in ROBOTS}
        self._executor = executor
        for name, states in self.states.items():
            node.create_subscription(
                SafetyState, f'/{name}/safety/state', states.append, qos.STATE
            )

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f'never: {what}'
            self._executor.spin_once(timeout_sec=0.1)


@pytest.fixture
def watcher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watcher]:
    monkeypatch.setenv('ROS_DOMAIN_ID', DOMAIN)
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    context = rclpy.Context()
    rclpy.init(context=context, args=[])
    node = rclpy.create_node('watcher', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    yield Watcher(node, executor)
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown(context=context)


@pytest.fixture
def robots(watcher: Watcher, tmp_path: Path) -> Iterator[dict[str, subprocess.Popen]]:
    started = {}
    for name, sim in ROBOTS.items():
        command = [sys.executable, '-m', 'vla_cli.up', '--builtin', 'robot.launch.xml']
        with (tmp_path / f'{name}.log').open('wb') as log:
            started[name] = subprocess.Popen(
                [*command, 'policy:=hold', f'namespace:={name}', f'sim:={sim}'],
                stdout=log,
                stderr=log,
            )
    yield started
    for process in started.values():
        process.send_signal(signal.SIGINT)
    for process in started.values():
        process.wait(PATIENCE)


def test_two_robots_do_not_touch_each_other(
    watcher: Watcher, robots: dict[str, subprocess.Popen]
) -> None:
    node = watcher.node
    expected = {(name, f'/{robot}') for robot in robots for name in NODES} | {('sim', '/left')}
    watcher.until(
        lambda: expected <= set(node.get_node_names_and_namespaces()), f'nodes {expected}'
    )
    watcher.until(lambda: all(watcher.states.values()), 'both gates tell their state')

    def topics() -> set[str]:
        return {name for name, _ in node.get_topic_names_and_types()}

    offered = {'/left/cmd_vel', '/right/cmd_vel', '/left/odom', '/left/tf'}
    # A node is known by another message than what it offers.
    watcher.until(lambda: offered <= topics(), f'topics {offered}')
    assert not [t for t in topics() - ABSOLUTE if not t.startswith(('/left/', '/right/'))]

    # A person stops one: the other takes no notice.
    client = node.create_client(Trigger, '/left/safety/trigger_estop')
    watcher.until(client.service_is_ready, 'the service is offered')
    client.call_async(Trigger.Request())
    watcher.until(lambda: watcher.states['left'][-1].state == State.ESTOP, 'left is stopped')
    told = len(watcher.states['right'])
    watcher.until(lambda: len(watcher.states['right']) > told + 1, 'right goes on')
    assert State.ESTOP not in {state.state for state in watcher.states['right']}

    # A gate that dies takes its own graph with it, and only that.
    processes = psutil.Process(robots['left'].pid).children(recursive=True)
    (gate,) = (p for p in processes if any('/vla_safety/gate' in word for word in p.cmdline()))
    gate.kill()
    assert robots['left'].wait(PATIENCE) == 1
    assert not psutil.wait_procs(processes, PATIENCE)[1]
    assert robots['right'].poll() is None
