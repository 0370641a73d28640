"""Messages that no node should get, thousands of each type, while the robot moves.

Counted for every message: processes that died, and commands that were not finite, beyond a limit,
or other than zero in a state in which nothing may move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, ExitStack
from dataclasses import dataclass, field
import math
import os
from pathlib import Path
import random
import sys
import time
from typing import Any

from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
import psutil
from rclpy._rclpy_pybind11 import RCLError
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan
from std_msgs.msg import Bool, String

from vla_cli.bench.graphs import NODES
from vla_cli.bench.load import class_of
from vla_cli.bench.report import Row
from vla_cli.bench.spoiling import garble, spoil
from vla_cli.graph import GraphError, Parameters
from vla_cli.live import live_graph, LiveGraph
from vla_core.gate.causes import MOVING, State
from vla_core.gate.limits import holds, Limits
from vla_core.robot import load_robot
from vla_interfaces.msg import (
    ActionChunk,
    Decision,
    Heartbeat,
    Instruction,
    SafetyEvent,
    StopRequest,
)
from vla_ros import qos
from vla_ros.clock import STEADY
from vla_ros.conversion import twist_from_msg
from vla_ros.files import robot_path

#: Added to the simulated robot, so that the gate listens to scans too.
_SECTIONS = """
scan: {frame_id: scanner, x: 0.0, y: 0.0, yaw: 0.0, field_of_view: 6.2}
zones:
  stop: {front: 0.2, rear: 0.2, left: 0.2, right: 0.2}
  slow: {front: 0.5, rear: 0.5, left: 0.5, right: 0.5, speed_scale: 0.5}
"""
#: Nodes whose heartbeats count errors, beside the gate's own count.
_COUNTING = ('policy', 'camera', 'monitor')
#: A run of the policy later than the true one ends the true one for good, and is no accident.
_KEPT = frozenset({'policy_run'})
_SCAN_PERIOD = 0.1
#: s for the robot to move again; then the graph is started anew, and that is counted.
_PATIENCE = 15.0
#: s after the last message of a round in which its effect is seen.
_SETTLE = 0.3
#: s; "turn left" must outlast the attack.
_LONG = 600.0
#: Messages between two looks whether a person should help the robot to move again.
_ROUND = 100
#: Every so manieth round sends broken bytes instead of odd values.
_KINDS = 4
_ATTEMPTS = 100


@dataclass(frozen=True)
class Target:
    """One subscribed type.

    Attributes:
        kind: of message.
        topic: where it is heard.
        template: a message to spoil until one is heard on the topic.
        profile: of the publisher.
        rate: messages per second that its nodes can take.
        name: of its row; the type's by default.
    """

    kind: type
    topic: str
    template: Callable[[], Any] | None = None
    profile: Any = 10
    rate: float = 100.0
    name: str = ''

    def message(self) -> Any:
        """Return what is spoiled while nothing is heard."""
        return self.template() if self.template else self.kind()


def _twist() -> Twist:
    twist = Twist()
    twist.linear.x = 0.1
    return twist


def _scan() -> LaserScan:
    """A scan of a round wall, never twice the same."""
    rays = 360
    step = 2.0 * math.pi / rays
    msg = LaserScan(
        angle_max=step * (rays - 1),
        angle_increment=step,
        range_min=0.1,
        range_max=10.0,
        ranges=[2.0 + random.uniform(0.0, 0.01) for _ in range(rays)],
    )
    msg.header.frame_id = 'scanner'
    return msg


TARGETS = (
    # Between two true ones: five bad ones in a row latch.
    Target(ActionChunk, 'vla/action_chunk', rate=25.0),
    Target(Heartbeat, 'vla/heartbeat'),
    Target(Instruction, 'vla/instruction', profile=qos.INSTRUCTION),
    Target(String, 'command', lambda: String(data='turn left')),
    Target(Odometry, 'odom'),
    Target(LaserScan, 'scan', _scan),
    Target(Twist, 'cmd_vel_human', _twist),
    Target(Bool, 'safety/estop', lambda: Bool(data=True)),
    Target(StopRequest, 'safety/request'),
    Target(Image, 'camera/color/image_raw', rate=30.0),
    Target(Image, 'vla/image/front', rate=50.0, name='Image_for_policy'),
    Target(CameraInfo, 'camera/color/camera_info'),
    Target(Decision, 'safety/decision'),
    Target(SafetyEvent, 'safety/events'),
)
#: Heard by a camera with another transport, so in a graph of its own, in which nothing drives.
COMPRESSED = Target(
    CompressedImage,
    'camera/color/image_raw/compressed',
    lambda: CompressedImage(format='jpeg', data=bytes.fromhex('ffd8ffe000104a464946')),
)


@dataclass
class Count:
    """What came of the messages of one type."""

    violations: list[float] = field(default_factory=list)
    moving: int = 0
    died: int = 0
    unbounded: int = 0
    unarmed: int = 0
    commands: int = 0
    errors: int = 0
    restarts: int = 0

    @property
    def bad(self) -> int:
        """All violations."""
        return self.died + self.unbounded + self.unarmed

    def row(self, target: Target, scheduling: str) -> Row:
        """Return the row of a type."""
        notes = {
            'topic': target.topic,
            'processes that died': self.died,
            'commands not finite or over a limit': self.unbounded,
            'commands other than zero where nothing may move': self.unarmed,
            'commands': self.commands,
            'sent while the robot moved': f'{self.moving} of {len(self.violations)}',
            'errors that gate, policy, camera and monitor counted': self.errors,
            'graphs started anew': self.restarts,
        }
        name = f'malformed_{target.name or target.kind.__name__}'
        samples, limits = self.violations, {'max': 0.0}
        return Row(name, 'violations', samples, {}, notes, limits, scheduling=scheduling)


class Victim:
    """The graph under attack, and the person who sets the robot going again."""

    def __init__(self, folder: Path, policy: str, parameters: Parameters) -> None:
        """Prepare; entering starts the graph.

        Args:
            folder: for the robot file and what the graph says.
            policy: checkpoint or built-in policy that drives.
            parameters: node -> parameter -> value.
        """
        self._file = folder / 'malformed_robot.yaml'
        self._file.write_text(robot_path('sim').read_text() + _SECTIONS)
        self._limits = Limits.of(load_robot(self._file))
        self._log = folder / 'malformed.log'
        self._arguments = {'robot': str(self._file.resolve()), 'sim': 'true'}
        self._arguments |= {'policy': policy, 'policy_respawns': '-1'}
        self._parameters = parameters
        self._stack = ExitStack()

    def __enter__(self) -> Victim:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stack.close()

    def start(self) -> None:
        """Start the graph, a second time if need be."""
        self._stack.close()
        graph = live_graph(self._log, self._arguments, self._parameters)
        self.live = live = self._stack.enter_context(graph)
        node = live.node
        self._button = node.create_publisher(Bool, 'safety/estop', 10)
        self._texts = node.create_publisher(String, 'command', qos.COMMAND)
        self._scans = node.create_publisher(LaserScan, 'scan', qos.SENSOR)
        node.create_timer(_SCAN_PERIOD, self._scan, clock=STEADY)
        live.until(lambda: live.state.state != State.INIT, 'the gate has heard everything')
        self._pids = self._processes()

    def listen(self, seconds: float) -> None:
        """Hear what is said; what is no message for the nodes is none here either."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0.0:
            try:
                self.live.spin_once(left)
            except Exception:  # noqa: S112
                continue

    @property
    def moves(self) -> bool:
        """Whether the robot is commanded to move."""
        twists = self.live.twists
        return bool(twists) and any(twist_from_msg(twists[-1][1]))

    def set_going(self) -> bool:
        """Release, reset, arm, instruct, as often as need be; return whether it moves."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            self._button.publish(Bool(data=False))
            self.listen(0.3)
            if self.moves:
                return True
            state = self.live.state
            if state.state == State.ESTOP:
                self.live.call('safety/reset')
            elif state.state == State.STOPPED and state.ready_to_arm:
                self.live.call('safety/arm')
            elif state.state == State.ACTIVE:
                self._texts.publish(String(data='turn left'))
        return False

    def died(self) -> int:
        """Return how many nodes have ended since the last call.

        Raises:
            GraphError: if the whole graph has.
        """
        self.live.graph.check()
        before, self._pids = self._pids, self._processes()
        return len(before - self._pids)

    def errors(self) -> int:
        """Return the errors that the nodes have counted so far."""
        beats = self.live.heartbeats
        nodes = sum(beats[name].errors_total for name in _COUNTING if name in beats)
        return int(self.live.state.errors_total + nodes)

    def judge(self, count: Count, decisions: bool) -> None:
        """Count what was commanded since the last call, and what should not have been.

        Args:
            count: takes it.
            decisions: whether what is heard on safety/decision is the gate's alone.
        """
        live = self.live
        count.commands += len(live.twists)
        count.unbounded += sum(
            not holds(twist_from_msg(twist), self._limits) for _, twist in live.twists
        )
        if decisions:
            count.unarmed += sum(
                decision.state not in MOVING and any(twist_from_msg(decision.published))
                for decision in live.decisions
            )
        last = live.twists[-1:]
        live.forget()
        live.twists += last

    def _processes(self) -> set[int]:
        children = psutil.Process(self.live.graph.pid).children(recursive=True)
        return {
            child.pid
            for child in children
            if any(Path(word).name in NODES for word in child.cmdline()[:2])
        }

    def _scan(self) -> None:
        self._scans.publish(_now(_scan(), self.live))


def malformed(count: int, policy: str, folder: Path) -> list[Row]:
    """Send `count` malformed messages of every type to a graph that drives."""
    folder.mkdir(parents=True, exist_ok=True)
    driving = Victim(folder, policy, {'policy': {'motion_timeout': _LONG}})
    other = Victim(folder, policy, {'camera': {'transport': 'compressed'}})
    with _silent(folder / 'malformed_watcher.log'):
        with driving:
            rows = [_attack(driving, target, count) for target in TARGETS]
        with other:
            rows.append(_attack(other, COMPRESSED, count))
    return rows


def _attack(victim: Victim, target: Target, count: int) -> Row:
    chance = random.Random(target.topic)
    found = Count()
    scheduling = class_of(victim.live.process('gate').pid)
    size = min(_ROUND, -(-count // _KINDS))
    for number in range(-(-count // size)):
        # Bytes that are no message latch the emergency stop at once: they keep to themselves.
        damage = garble if number % _KINDS == _KINDS - 1 else spoil
        try:
            _round(victim, target, chance, damage, found, min(size, count - number * size))
        except GraphError:
            # The gate has ended, and the graph with it.
            found.died += 1
            found.violations.append(1.0)
            found.restarts += 1
            victim.start()
    return found.row(target, scheduling)


def _round(
    victim: Victim,
    target: Target,
    chance: random.Random,
    damage: Callable[[Any, random.Random, frozenset[str]], Any],
    found: Count,
    count: int,
) -> None:
    """Set the robot going, and send messages.

    Raises:
        GraphError: if the gate ends.
    """
    if target is not COMPRESSED and not victim.moves and not victim.set_going():
        found.restarts += 1
        victim.start()
        victim.set_going()
    node = victim.live.node
    heard: list[Any] = [target.message()]
    publisher = node.create_publisher(target.kind, target.topic, target.profile)
    ear = node.create_subscription(target.kind, target.topic, heard.append, qos.SENSOR)
    victim.listen(_SETTLE)
    victim.judge(Count(), decisions=False)
    errors = victim.errors()
    for _ in range(count):
        bad = found.bad
        good = _now(heard[-1], victim.live)
        del heard[:-1]
        _publish(publisher, lambda good=good: damage(good, chance, _KEPT))
        victim.listen(1.0 / target.rate)
        found.moving += victim.moves
        victim.judge(found, decisions=target.kind is not Decision)
        found.violations.append(float(found.bad - bad))
    node.destroy_subscription(ear)
    node.destroy_publisher(publisher)
    # The last ones are on their way, and the true heartbeats follow.
    victim.listen(_SETTLE)
    bad = found.bad
    found.died += victim.died()
    victim.judge(found, decisions=target.kind is not Decision)
    found.violations[-1] += found.bad - bad
    found.errors += max(0, victim.errors() - errors)


def _publish(publisher: Publisher, make: Callable[[], Any]) -> None:
    """Publish a message, malformed in a way that the middleware is willing to carry."""
    for _ in range(_ATTEMPTS):
        try:
            publisher.publish(make())
        except RCLError:  # longer than any message of a type of fixed size
            continue
        return
    raise GraphError(f'{publisher.topic_name}: the middleware carries nothing that is malformed')


@contextmanager
def _silent(file: Path) -> Iterator[None]:
    """Let the middleware of this process complain into a file: it hears it all too."""
    sys.stderr.flush()
    screen = os.dup(2)
    with file.open('ab') as output:
        os.dup2(output.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(screen, 2)
        os.close(screen)


def _now(msg: Any, live: LiveGraph) -> Any:
    """Stamp a message, if it has a stamp, so that it is not refused for its age alone."""
    now = live.node.get_clock().now().to_msg()
    if hasattr(msg, 'header'):
        msg.header.stamp = now
    if hasattr(msg, 'observation_stamp'):
        msg.observation_stamp = now
    return msg
