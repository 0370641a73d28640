"""Malformed messages on every topic of the gate, one kind at a time, to the process that it is.

The robot stands. Whatever comes, the process lives, goes on stepping and commands zeros; each case
says what else must come of it. What it does to a moving robot is the last test.
"""

from collections.abc import Callable, Iterator
import copy
from functools import reduce
import math
import os
from pathlib import Path
import subprocess
import sys
import time
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import serialize_message
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from vla_core.gate.causes import MOVING, State
from vla_core.gate.hearing import LONGEST_TEXT
from vla_core.gate.limits import holds, Limits
from vla_core.robot import load_robot
from vla_core.types import NATIVE_AXES, NATIVE_UNITS
from vla_interfaces.msg import (
    ActionChunk,
    Cause,
    Decision,
    Heartbeat,
    Instruction,
    SafetyEvent,
    StopRequest,
)
from vla_ros import qos
from vla_ros.clock import STEADY
from vla_ros.conversion import to_time, twist_from_msg
from vla_ros.domains import process_domain

DOMAIN = process_domain()
#: As `main`, but without its claim on the machine: tests run beside other work.
PROGRAM = """
import sys
from vla_ros.running import run
from vla_safety.gate_node import GateNode
sys.exit(run(GateNode))
"""
ROBOT = """
simulated: true
self_arm: false
estop: none
odom: required
discovery: LOCALHOST
axes:
  linear.x: {max_speed: 0.6, max_accel: 1.0, max_decel: 1.0}
  angular.z: {max_speed: 1.2, max_accel: 3.0, max_decel: 3.0}
"""
ZONES = """
scan: {frame_id: scanner, x: 0.0, y: 0.0, yaw: 0.0, field_of_view: 6.2}
zones:
  stop: {front: 0.4, rear: 0.4, left: 0.4, right: 0.4}
geofence: {points: [[-2.0, -2.0], [2.0, -2.0], [2.0, 2.0], [-2.0, 2.0]]}
"""
KINDS = {
    'odom': Odometry,
    'vla/heartbeat': Heartbeat,
    'vla/action_chunk': ActionChunk,
    'vla/instruction': Instruction,
    'command': String,
    'cmd_vel_human': Twist,
    'safety/estop': Bool,
    'safety/request': StopRequest,
}
#: What a rejected message of a topic is called in the gate's events.
NAMES = {
    'odom': 'odom',
    'vla/heartbeat': 'beat',
    'vla/action_chunk': 'chunk',
    'cmd_vel_human': 'human',
    'scan': 'scan',
}
SPEED = 0.3  # m/s, what the policy wants
PATIENCE = 30.0  # s, after which a test has failed


class World:
    """A gate process, and one node that is everybody else: base, scanner, policy, person."""

    def __init__(self, context: Context, name: str, folder: Path, zones: bool) -> None:
        """Start the gate; with `zones` it has those, a fence, and hears stamped people."""
        robot = folder / f'{name}.yaml'
        robot.write_text(ROBOT + ZONES if zones else ROBOT)
        self.limits = Limits.of(load_robot(robot))
        self.node = Node('world', context=context, namespace=name)
        kinds = KINDS | ({'scan': LaserScan, 'cmd_vel_human': TwistStamped} if zones else {})
        self._kinds = kinds
        self._publishers = {
            topic: self.node.create_publisher(
                kind, topic, qos.INSTRUCTION if kind is Instruction else 10
            )
            for topic, kind in kinds.items()
        }
        self.commands: list[Twist] = []
        self.decisions: list[Decision] = []
        self.events: list[SafetyEvent] = []
        for kind, topic, heard in (
            (Twist, 'cmd_vel', self.commands),
            (Decision, 'safety/decision', self.decisions),
            (SafetyEvent, 'safety/events', self.events),
        ):
            self.node.create_subscription(kind, topic, heard.append, 100)
        self.run = 1
        self.policy_lives, self.answer = True, ''
        self._sequence = 0
        self.node.create_timer(0.05, self._live, clock=STEADY)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)
        self._log = folder / f'{name}.log'
        parameters = {'robot': robot, 'enable_stamped_cmd_vel_human': str(zones).lower()}
        arguments = ['-r', f'__ns:=/{name}']
        for key, value in parameters.items():
            arguments += ['-p', f'{key}:={value}']
        with self._log.open('w') as log:
            self.process = subprocess.Popen(
                [sys.executable, '-c', PROGRAM, '--ros-args', *arguments],
                env=dict(os.environ),
                stderr=log,
            )

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=10.0)
        finally:
            self.process.kill()
            self._executor.shutdown()
            self.node.destroy_node()
        assert self.process.returncode == 0, self._log.read_text()

    def _live(self) -> None:
        for topic in ('odom', 'scan'):
            if topic in self._kinds:
                self._publishers[topic].publish(self.good(topic))
        if self.policy_lives:
            for topic in ('vla/heartbeat', 'vla/action_chunk'):
                self._publishers[topic].publish(self.good(topic))

    def good(self, topic: str) -> Any:
        """Return a message with which nothing is wrong."""
        now = self.node.get_clock().now().to_msg()
        msg = self._kinds[topic]()
        if hasattr(msg, 'header'):
            msg.header.stamp = now
        if topic == 'odom':
            msg.header.frame_id = 'odom'
            # A copy: what is heard is judged, what is sent may be spoiled.
            msg.twist.twist = copy.deepcopy(self.commands[-1]) if self.commands else Twist()
        elif topic == 'scan':
            msg.header.frame_id = 'scanner'
            msg.angle_max, msg.angle_increment = math.radians(359.0), math.radians(1.0)
            msg.range_min, msg.range_max, msg.ranges = 0.1, 10.0, [1.5] * 360
            # A real one never repeats to the bit.
            msg.ranges[0] += self._sequence % 100 * 1e-3
        elif topic == 'vla/heartbeat':
            msg.node, msg.policy_run, msg.state = 'policy', self.run, Heartbeat.STATE_WAITING
        elif topic == 'vla/action_chunk':
            self._sequence += 1
            msg.observation_stamp = now
            msg.step_dt, msg.horizon, msg.sequence = 0.1, 8, self._sequence
            msg.names, msg.units = list(NATIVE_AXES), list(NATIVE_UNITS)
            msg.data = [SPEED, *[0.0] * 6] * 8
            msg.status, msg.policy_run = ActionChunk.STATUS_RUNNING, self.run
            msg.instruction_id = 1
        elif topic == 'vla/instruction':
            msg.policy_run, msg.id, msg.text = self.run, 1, 'go'
        elif topic == 'safety/request':
            msg.level, msg.source, msg.reason = StopRequest.ESTOP, 'test', 'because'
        return msg

    def changed(self, topic: str, changes: dict[str, Any]) -> Any:
        """Return a good message with other values; a path names a field, a function gets now."""
        msg = self.good(topic)
        for path, value in changes.items():
            *owners, name = path.split('.')
            if callable(value):
                value = value(self.node.get_clock().now().nanoseconds)
            setattr(reduce(getattr, owners, msg), name, value)
        return msg

    def publish(self, topic: str, msg: Any) -> None:
        """Publish a message, or bytes that are none."""
        self._publishers[topic].publish(msg)

    def until(
        self, condition: Callable[[], Any], what: str, again: Callable[[], None] | None = None
    ) -> None:
        """Spin until something is true; do something `again` every half a second until then."""
        end, due = time.monotonic() + PATIENCE, 0.0
        while not condition():
            now = time.monotonic()
            assert self.process.poll() is None, f'the gate ended: {self._log.read_text()}'
            assert now < end, f'never: {what}; the gate last said {self.answer!r}'
            if again is not None and now >= due:
                again()
                due = now + 0.5
            self._executor.spin_once(timeout_sec=0.02)

    def steps(self, count: int) -> None:
        """Wait for so many further steps of the gate: it takes what has arrived before each."""
        begun = len(self.decisions)
        self.until(lambda: len(self.decisions) >= begun + count, 'further steps')

    @property
    def last(self) -> Decision:
        return self.decisions[-1] if self.decisions else Decision()

    @property
    def follows(self) -> bool:
        """Whether the policy would move the robot if somebody armed it."""
        return self.last.wanted.linear.x == SPEED

    @property
    def waits(self) -> bool:
        """Whether the gate does not do what fresh chunks say: somebody said stop."""
        return self.last.wanted == Twist() and self.last.observation_age < 0.3

    def call(self, name: str) -> bool:
        client = self.node.create_client(Trigger, f'safety/{name}')
        self.until(client.service_is_ready, f'service {name}')
        future = client.call_async(Trigger.Request())
        self.until(future.done, f'answer of {name}')
        self.node.destroy_client(client)
        self.answer = future.result().message
        return future.result().success

    def rest(self) -> None:
        """Bring the gate to STOPPED, with everybody alive, and forget what was commanded."""
        for publisher in self._publishers.values():
            self.until(publisher.get_subscription_count, f'a reader of {publisher.topic_name}')
        self.policy_lives = True
        self.until(lambda: self.last.state not in (State.INIT, State.MANUAL), 'a start')
        while self.last.state == State.ESTOP:
            if not self.call('reset'):
                self.steps(10)
        self.until(lambda: self.last.state == State.STOPPED and self.follows, 'STOPPED')
        for heard in (self.commands, self.decisions[:-1], self.events):
            del heard[:]

    def check(self, moves: bool = False) -> None:
        """Compare what was commanded since `rest` with the limits, and with standing still."""
        self.steps(3)
        assert self.commands
        for twist in self.commands:
            assert holds(twist_from_msg(twist), self.limits), twist
            assert moves or twist == Twist()
        for decision in self.decisions:
            assert decision.state in MOVING or decision.published == Twist(), decision.state
        for event in self.events:
            assert len(event.text) <= LONGEST_TEXT
            assert event.text.isprintable(), event.text


@pytest.fixture(scope='module')
def context() -> Iterator[Context]:
    """Yield a context for all tests here: a gate is started once, or twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
        patch.setenv('ROS_DOMAIN_ID', str(DOMAIN))
        context = Context()
        rclpy.init(args=[], context=context, domain_id=DOMAIN)
        yield context
        rclpy.try_shutdown(context=context)


@pytest.fixture(scope='module')
def plain(context, tmp_path_factory) -> Iterator[World]:
    world = World(context, 'plain', tmp_path_factory.mktemp('plain'), zones=False)
    yield world
    world.close()


@pytest.fixture(scope='module')
def zoned(context, tmp_path_factory) -> Iterator[World]:
    world = World(context, 'zoned', tmp_path_factory.mktemp('zoned'), zones=True)
    yield world
    world.close()


def later(seconds: float) -> Callable[[int], Time]:
    """Return what makes a stamp by so much later than now."""
    return lambda now: to_time(now + round(seconds * 1e9))


HOUR = 3600.0
NAN, INF = math.nan, math.inf
HUGE = 'x' * 1_000_000
CONTROL = 'linear.x\x07\x1b[2J'
#: Topic, message, and a part of what the gate says to it.
REFUSED = [
    ('odom', {'twist.twist.linear.x': NAN}, 'expected finite numbers'),
    ('odom', {'twist.twist.angular.z': -INF}, 'expected finite numbers'),
    ('odom', {'header.stamp': later(HOUR)}, 'a stamp at most 0.05 s ahead'),
    ('odom', {'header.stamp': Time()}, 'odom: stamp 0: expected the ROS time'),
    ('vla/heartbeat', {'node': HUGE}, '1000000 characters: expected at most 64'),
    ('vla/heartbeat', {'node': 'camera', 'slot': HUGE}, '1000000 characters: expected at most 64'),
    ('vla/heartbeat', {'node': 'x' * 65}, '65 characters: expected at most 64'),
    ('vla/heartbeat', {'node': 'camera\x1b[2J'}, 'expected at most 64, all printable'),
    ('vla/heartbeat', {'node': 'camera', 'slot': 'a\nb'}, 'expected at most 64, all printable'),
    ('vla/heartbeat', {'state_age': NAN}, 'state_age nan: expected finite, >= 0'),
    ('vla/heartbeat', {'unchanged_age': -1.0}, 'unchanged_age -1.0: expected finite, >= 0'),
    ('cmd_vel_human', {'linear.x': NAN}, 'expected finite numbers'),
    ('cmd_vel_human', {'linear.x': INF}, 'expected finite numbers'),
    ('cmd_vel_human', {'linear.y': NAN}, 'expected finite numbers'),
    ('cmd_vel_human', {'linear.y': -INF}, 'expected finite numbers'),
    ('cmd_vel_human', {'angular.z': NAN}, 'expected finite numbers'),
    ('cmd_vel_human', {'angular.z': INF}, 'expected finite numbers'),
    ('vla/action_chunk', {'header.stamp': later(HOUR)}, 's ahead: expected at most 0.05 s'),
    ('vla/action_chunk', {'observation_stamp': later(HOUR)}, 's ahead: expected at most 0.05'),
    ('vla/action_chunk', {'sequence': 0}, 'sequence 0: expected more than'),
    ('vla/action_chunk', {'names': [CONTROL, *NATIVE_AXES[1:]]}, "expected 'linear.x'"),
    ('vla/action_chunk', {'names': [HUGE, *NATIVE_AXES[1:]]}, "names ('xxxxx"),
    ('vla/action_chunk', {'data': [0.1] * 64}, '64 numbers, horizon 8, 7 names'),
    ('vla/action_chunk', {'data': [0.1] * 5000}, '5000 numbers: expected at most 4096'),
    ('vla/action_chunk', {'data': []}, '0 numbers, horizon 8, 7 names'),
    ('vla/action_chunk', {'data': [NAN] * 56}, 'linear.x] is nan: expected a finite number'),
    ('vla/action_chunk', {'data': [*[0.0] * 55, INF]}, 'gripper] is inf: expected a finite'),
]
#: The same of the gate with zones, a fence and stamped people.
REFUSED_THERE = [
    ('odom', {'pose.pose.position.x': INF}, 'the geofence expects finite ones'),
    ('odom', {'header.frame_id': 'map\x07'}, "odom in frame 'map\\x07': the geofence expects"),
    ('odom', {'header.frame_id': HUGE}, "odom in frame 'xxxxx"),
    ('cmd_vel_human', {'twist.linear.x': NAN}, 'expected finite numbers'),
    ('cmd_vel_human', {'header.stamp': later(HOUR), 'twist.linear.x': 0.2}, 's ahead: expected'),
    ('scan', {'header.stamp': later(HOUR)}, 'expected a stamp at most 0.05 s ahead'),
    ('scan', {'header.stamp': Time()}, 'scan: stamp 0: expected the ROS time'),
    ('scan', {'header.frame_id': 'laser\x07'}, "scan in frame 'laser\\x07': expected 'scanner'"),
    ('scan', {'header.frame_id': HUGE}, "scan in frame 'xxxxx"),
    ('scan', {'angle_min': NAN}, 'expected finite ones and an increment that is not 0'),
    ('scan', {'ranges': [NAN] * 360}, 'expected at most max_invalid'),
    ('scan', {'ranges': []}, 'scan of 0 rays: expected 2 to 10000'),
]
#: Topic and message that say nothing: too old, or odd where nobody looks.
UNHEARD = [
    ('odom', {'header.stamp': later(-HOUR)}),
    ('odom', {'header.frame_id': HUGE}),
    ('odom', {'pose.pose.position.x': INF}),
    ('vla/heartbeat', {'header.stamp': Time(), 'detail': HUGE, 'warning': CONTROL}),
    ('vla/heartbeat', {'node': ''}),
]
UNHEARD_THERE = [
    ('cmd_vel_human', {'header.stamp': later(-HOUR), 'twist.linear.x': 0.2}),
    ('scan', {'header.stamp': later(-HOUR)}),
]


def describe(value: Any) -> str | None:
    """Name a message by what is changed in it, in a test's id."""
    return ','.join(value) if isinstance(value, dict) else None


def refuse(world: World, topic: str, changes: dict[str, Any], text: str) -> None:
    world.rest()
    total = world.last.errors_total
    world.until(
        lambda: any(
            event.kind == SafetyEvent.KIND_REJECTED
            and event.axis == NAMES[topic]
            and text in event.text
            for event in world.events
        ),
        f'{topic}: {text}',
        lambda: world.publish(topic, world.changed(topic, changes)),
    )
    world.until(lambda: world.last.errors_total > total, 'a count')
    assert world.last.state == State.STOPPED
    world.check()


def ignore(world: World, topic: str, changes: dict[str, Any]) -> None:
    world.rest()
    total = world.last.errors_total
    for _ in range(3):
        world.publish(topic, world.changed(topic, changes))
        world.steps(3)
    assert (world.last.state, world.last.errors_total) == (State.STOPPED, total)
    world.check()


@pytest.mark.parametrize(('topic', 'changes', 'text'), REFUSED, ids=describe)
def test_message_is_refused_and_counted(plain, topic, changes, text):
    refuse(plain, topic, changes, text)


@pytest.mark.parametrize(('topic', 'changes', 'text'), REFUSED_THERE, ids=describe)
def test_message_is_refused_and_counted_with_zones_and_fence(zoned, topic, changes, text):
    refuse(zoned, topic, changes, text)


@pytest.mark.parametrize(('topic', 'changes'), UNHEARD, ids=describe)
def test_message_says_nothing(plain, topic, changes):
    ignore(plain, topic, changes)


@pytest.mark.parametrize(('topic', 'changes'), UNHEARD_THERE, ids=describe)
def test_message_says_nothing_with_zones_and_fence(zoned, topic, changes):
    ignore(zoned, topic, changes)


@pytest.mark.parametrize(
    ('changes', 'wanted'),
    [
        ({'header.stamp': Time(), 'observation_stamp': Time()}, 0.0),
        ({'header.stamp': Time()}, 0.0),
        ({'header.stamp': later(-HOUR), 'observation_stamp': later(-HOUR)}, 0.0),
        ({'observation_stamp': later(-HOUR)}, 0.0),
        ({'header.stamp': later(-0.2), 'observation_stamp': later(-0.2)}, SPEED),
        ({'model_id': HUGE, 'model_sha256': CONTROL, 'header.frame_id': HUGE}, SPEED),
    ],
    ids=['stamp 0', 'start 0', 'an hour old', 'an hour old frame', 'going back', 'megabyte'],
)
def test_chunk_is_the_newest_and_played_only_while_it_is_fresh(plain, changes, wanted):
    """Which sequence is newest, not which stamp; how old it is, by its stamps."""
    plain.rest()
    total = plain.last.errors_total
    plain.policy_lives = False
    plain.steps(2)
    sent = []

    def send():
        sent.append(plain.changed('vla/action_chunk', changes))
        plain.publish('vla/action_chunk', sent[-1])

    def played():
        sequences = {msg.sequence for msg in sent}
        return [
            decision.wanted.linear.x
            for decision in plain.decisions
            if decision.sequence in sequences
        ]

    plain.until(lambda: wanted in played(), 'the chunk', send)
    plain.steps(3)
    assert set(played()) <= {0.0, wanted}
    assert plain.last.errors_total == total
    plain.check()


def invalid_utf8() -> bytes:
    return serialize_message(String(data='stop')).replace(b'stop', b'\xff\xfe\xc3\x28')


@pytest.mark.parametrize(
    ('text', 'stops'),
    [
        (String(data='stop ' * 200_000), False),
        (String(data=CONTROL), False),
        (String(), False),
        (invalid_utf8(), False),
        (String(data='\x1b St\x07op\x7f!'), True),
    ],
    ids=['megabyte', 'control', 'empty', 'no UTF-8', 'stop among control'],
)
def test_odd_text_moves_nothing_and_the_stop_word_after_it_stops(plain, text, stops):
    plain.rest()
    total = plain.last.errors_total
    plain.publish('command', text)
    plain.steps(5)
    plain.until(lambda: plain.waits if stops else plain.follows, 'stop' if stops else 'no stop')
    plain.publish('command', String(data='stop'))
    plain.until(lambda: plain.waits, 'the stop')
    assert plain.last.errors_total == total
    plain.check()
    # Another policy has stopped for nobody.
    plain.run += 1


def test_record_of_a_megabyte_is_a_record_like_any_other(plain):
    plain.rest()
    msg = plain.changed('vla/instruction', {'id': 7, 'text': HUGE, 'reason': HUGE})
    plain.publish('vla/instruction', msg)
    plain.until(lambda: plain.last.instruction_id == 7, 'the record')
    plain.until(lambda: plain.follows, 'no stop')
    plain.check()
    plain.run += 1


@pytest.mark.parametrize('topic', KINDS)
def test_bytes_that_are_no_message_never_reach_the_gate(plain, topic):
    """Fast DDS drops them; should they get through, `run` hands them to a gate that stops."""
    plain.rest()
    data = serialize_message(plain.good(topic))
    for cut in (4, len(data) // 2):
        plain.publish(topic, data[:cut])
        plain.steps(3)
    assert plain.last.state == State.STOPPED
    plain.check()


def test_stamp_0_of_a_persons_wish_is_now(zoned):
    zoned.rest()
    wish = {'header.stamp': Time(), 'twist.linear.x': 0.2}
    zoned.until(
        lambda: zoned.last.state == State.MANUAL,
        'MANUAL',
        lambda: zoned.publish('cmd_vel_human', zoned.changed('cmd_vel_human', wish)),
    )
    zoned.until(lambda: zoned.last.state == State.STOPPED, 'STOPPED')
    zoned.check(moves=True)


def test_stop_request_of_megabytes_stops(plain):
    plain.rest()
    msg = plain.changed('safety/request', {'source': CONTROL, 'reason': CONTROL + HUGE})
    plain.publish('safety/request', msg)
    plain.until(lambda: plain.last.state == State.ESTOP, 'ESTOP')
    assert plain.last.cause == Cause.ESTOP_REQUESTED
    asked = 'linear.x[2J asks for ESTOP: linear.x[2Jxxxx'
    plain.until(lambda: any(event.text.startswith(asked) for event in plain.events), 'why')
    plain.check()


def test_button_whose_bytes_were_broken_still_stops(plain):
    plain.rest()
    plain.publish('safety/estop', serialize_message(Bool(data=True))[:4])
    plain.publish('safety/estop', Bool(data=True))
    plain.until(lambda: plain.last.state == State.ESTOP, 'ESTOP')
    assert plain.last.cause == Cause.ESTOP_INPUT
    plain.publish('safety/estop', Bool(data=False))
    plain.check()


def test_all_of_it_leaves_a_moving_robot_within_its_limits(plain):
    for _ in range(5):
        plain.rest()
        plain.until(lambda: plain.call('arm') or plain.steps(10), 'armed')
        # The answer may overtake what the gate says of itself.
        plain.until(lambda: plain.last.state != State.STOPPED, 'a start')
        plain.until(
            lambda: plain.last.state == State.STOPPED or plain.last.published.linear.x == SPEED,
            'speed',
        )
        # A machine that stalls for half a second makes the gate stop, rightly: once more.
        if plain.last.state == State.ACTIVE:
            break
    assert plain.last.state == State.ACTIVE
    # A person's come last: nobody sends a good one in between, and the fifth latches.
    for topic, changes, *_ in sorted((*UNHEARD, *REFUSED), key=lambda case: 'human' in case[0]):
        plain.publish(topic, plain.changed(topic, changes))
        plain.steps(2)
    plain.check(moves=True)
    plain.call('disarm')
