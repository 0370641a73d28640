"""Gate and monitor as processes: an emergency stop and a killed gate are on file."""

from collections.abc import Callable, Iterator
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
from PIL import Image
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from vla_cli.black_box import show
from vla_core.black_box.record import read, Recording
from vla_core.gate.causes import State
from vla_interfaces.msg import Decision
from vla_ros import qos
from vla_ros.clock import STEADY
from vla_ros.domains import own_domain

# A person drives: of all inputs hers bears the longest silence of a busy machine, 0.5 s.
ROBOT = """
simulated: true
estop: none
odom: none
discovery: LOCALHOST
axes:
  linear.x: {max_speed: 0.6, max_accel: 1.0, max_decel: 1.0}
  angular.z: {max_speed: 1.2, max_accel: 3.0, max_decel: 3.0}
"""
PROGRAM = 'from {0} import main; main()'


class World:
    """A person who drives ahead to the left, a button, and the two processes."""

    def __init__(self, context: Context, domain: int, folder: Path) -> None:
        self.folder = folder / 'made by it'
        self.decision, self.held = Decision(), 0
        self.node = node = Node('world', context=context)
        self.button = node.create_publisher(Bool, 'safety/estop', 10)
        self._person = node.create_publisher(Twist, 'cmd_vel_human', 1)
        node.create_subscription(Decision, 'safety/decision', self._on_decision, qos.DECISION)
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        node.create_timer(0.05, self._drive, clock=STEADY)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(node)
        robot = folder / 'robot.yaml'
        robot.write_text(ROBOT)
        environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain)}
        self.gate, self.monitor = (
            subprocess.Popen(
                [sys.executable, '-c', PROGRAM.format(module), '--ros-args', *parameters],
                env=environment,
            )
            for module, *parameters in (
                ('vla_safety.gate_node', '-p', f'robot:={robot}'),
                (
                    *('vla_monitor.monitor_node', '-p', f'robot:={robot}'),
                    *('-p', f'black_box_folder:={self.folder}'),
                ),
            )
        )

    def until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + 60.0
        while not condition():
            assert time.monotonic() < end, f'never: {what}; {State(self.decision.state).name}'
            self._executor.spin_once(timeout_sec=0.05)

    def until_fast(self) -> None:
        self.until(
            lambda: (
                self.decision.state == State.MANUAL and self.decision.published.linear.x > 0.35
            ),
            'full speed',
        )

    def reset(self) -> None:
        client = self.node.create_client(Trigger, 'safety/reset')
        self.until(client.service_is_ready, 'reset is there')
        while self.decision.state == State.ESTOP:
            future = client.call_async(Trigger.Request())
            self.until(future.done, 'answer of reset')
            # Refused while the robot is not still: once more in a moment.
            self._executor.spin_once(timeout_sec=0.2)

    def file(self, ready: Callable[[Recording], bool]) -> Path:
        """Wait for a file of the black box."""
        seen: dict[Path, int] = {}
        found: list[Path] = []

        def look() -> bool:
            for path in self.folder.glob('robot-*Z.jsonl'):
                size = path.stat().st_size
                if seen.get(path) != size and ready(read(path)):
                    found.append(path)
                seen[path] = size
            return bool(found)

        self.until(look, 'a file')
        return found[0]

    def close(self) -> None:
        for process in (self.gate, self.monitor):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in (self.gate, self.monitor):
            process.wait(30.0)
        self._executor.shutdown()
        self.node.destroy_node()

    def _on_decision(self, msg: Decision) -> None:
        self.decision = msg

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            values = {pair.key: pair.value for pair in status.values}
            self.held = int(values.get('lines in memory', self.held))

    def _drive(self) -> None:
        command = Twist()
        # Whoever was stopped must let go before he drives on.
        if self.decision.state in (State.STOPPED, State.MANUAL):
            command.linear.x, command.angular.z = 0.4, 0.3
        self._person.publish(command)


@pytest.fixture(scope='module')
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with own_domain() as domain:
        context = Context()
        rclpy.init(args=[], context=context, domain_id=domain)
        world = World(context, domain, tmp_path_factory.mktemp('black_box'))
        yield world
        world.close()
        rclpy.try_shutdown(context=context)


def test_drive_into_an_emergency_stop_is_on_file_and_can_be_drawn(world, capsys):
    world.until(lambda: world.held > 0, 'the monitor hears the gate')
    world.until_fast()
    world.button.publish(Bool(data=True))
    world.until(lambda: world.decision.state == State.ESTOP, 'ESTOP')
    # The second writing, with what followed.
    path = world.file(lambda box: box.steps[-1].stamp_ns > box.header.stamp_ns + 500_000_000)
    box = read(path)
    assert box.torn == ''
    assert box.header.trigger == 'ESTOP: ESTOP_INPUT'
    assert box.header.limits['linear.x']['max_speed'] == 0.6
    assert any(step.published[0] > 0.35 for step in box.steps)
    after = [step for step in box.steps if step.stamp_ns >= box.header.stamp_ns]
    assert {step.state for step in after} == {'ESTOP'}
    assert all(step.published == (0.0,) * 6 for step in after)
    assert any(note.to_state == 'ESTOP' and note.cause == 'ESTOP_INPUT' for note in box.notes)

    picture = path.with_name('picture.png')
    assert show(path, picture) == 0
    assert 'ESTOP_INPUT' in capsys.readouterr().out
    with Image.open(picture) as image:
        assert image.width > 1000
        assert image.height > 700
        assert len(image.convert('RGB').getcolors(1 << 24)) > 100


def test_killed_gate_is_on_file(world):
    world.button.publish(Bool(data=False))
    world.reset()
    world.until_fast()
    world.gate.kill()
    box = read(world.file(lambda box: box.header.trigger.startswith('SILENT')))
    assert 'in MANUAL' in box.header.trigger
    assert box.steps[-1].published[0] > 0.3
