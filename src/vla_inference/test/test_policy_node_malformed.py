"""Malformed messages on every topic of the policy node, while it follows an instruction.

Whatever comes, the node lives, sends no number that is not finite, and obeys the next good
message; each case says what else must come of it.
"""

import array
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
import math
from pathlib import Path
import time
from typing import Any

from builtin_interfaces.msg import Time
from nav_msgs.msg import Odometry
import numpy as np
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import String

from vla_inference import loading
from vla_inference.policy_node import PolicyNode
from vla_interfaces.msg import ActionChunk, Heartbeat, Instruction
from vla_ros import qos
from vla_ros.conversion import to_time
from vla_ros.in_turn import in_turn_executor

ROBOT = str(Path(__file__).parents[3] / 'config' / 'robots' / 'sim.yaml')
WIDTH, HEIGHT = 192, 96
STEP = 3 * WIDTH
PATIENCE = 20.0  # s, after which a test has failed


class Stage:
    """The node with a policy that drives, and a probe that plays camera, base and person."""

    def __init__(self, context: Any) -> None:
        values = {'robot': ROBOT, 'checkpoint': 'fake'}
        self.node = PolicyNode(
            context=context,
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
        )
        self.probe = probe = Node('probe', context=context)
        self.chunks: list[ActionChunk] = []
        self.records: list[Instruction] = []
        self.beats: list[Heartbeat] = []
        for kind, topic, heard, profile in (
            (ActionChunk, 'vla/action_chunk', self.chunks, qos.chunk(False, 0.6)),
            (Instruction, 'vla/instruction', self.records, qos.INSTRUCTION),
            (Heartbeat, 'vla/heartbeat', self.beats, qos.HEARTBEAT),
        ):
            probe.create_subscription(kind, topic, heard.append, profile)
        self._publishers = {
            topic: probe.create_publisher(kind, topic, profile)
            for topic, kind, profile in (
                ('command', String, qos.COMMAND),
                ('odom', Odometry, qos.ODOM),
                ('vla/image/front', Image, qos.SENSOR),
            )
        }
        self._executor = in_turn_executor(context)
        self._executor.add_node(self.node)
        self._executor.add_node(probe)

    def start(self) -> None:
        """Configure, activate, and wait until the policy drives."""
        self.node.start()
        for publisher in self._publishers.values():
            self.until(publisher.get_subscription_count, publisher.topic_name)
        for topic in ('vla/action_chunk', 'vla/instruction', 'vla/heartbeat'):
            self.until(lambda topic=topic: self.node.count_subscribers(topic), topic)
        self.publish('command', String(data='go'))
        self.until(self.drives, 'driving', self.look)

    def close(self) -> None:
        self.node.close()
        self._executor.shutdown()
        self.probe.destroy_node()
        self.node.destroy_node()

    def until(
        self, condition: Callable[[], Any], what: str, again: Callable[[], None] | None = None
    ) -> None:
        """Spin until something is true; do something `again` every 50 ms until then."""
        end, due = time.monotonic() + PATIENCE, 0.0
        while not condition():
            now = time.monotonic()
            assert now < end, f'waited in vain for: {what}'
            if again is not None and now >= due:
                again()
                due = now + 0.05
            try:
                self._executor.spin_once(timeout_sec=0.02)
            except Exception as error:  # as vla_ros.running does
                self.node.failed(error)

    def publish(self, topic: str, msg: Any) -> None:
        """Publish a message, or bytes that are none."""
        self._publishers[topic].publish(msg)

    def good(self, topic: str) -> Any:
        """Return a message with which nothing is wrong."""
        now = self.probe.get_clock().now().to_msg()
        if topic == 'command':
            return String(data='go on')
        if topic == 'odom':
            msg = Odometry()
            msg.twist.twist.linear.x = 0.1
        else:
            msg = Image(encoding='rgb8', width=WIDTH, height=HEIGHT, step=STEP)
            msg.data = array.array('B', bytes([90]) * (STEP * HEIGHT))
        msg.header.stamp = now
        return msg

    def changed(self, topic: str, changes: dict[str, Any]) -> Any:
        """Return a good message with other values; a path names a field, a function gets now."""
        msg = self.good(topic)
        for path, value in changes.items():
            *owners, name = path.split('.')
            if callable(value):
                value = value(self.probe.get_clock().now().nanoseconds)
            setattr(reduce(getattr, owners, msg), name, value)
        return msg

    def look(self) -> None:
        """Publish good odometry, and a good frame."""
        self.publish('odom', self.good('odom'))
        self.publish('vla/image/front', self.good('vla/image/front'))

    def drives(self) -> bool:
        """Say whether the newest chunk moves the robot."""
        return bool(self.chunks) and any(self.chunks[-1].data)

    def errors(self) -> int:
        """Return the count of a heartbeat that is sent from now on."""
        del self.beats[:]
        # The first may have been on its way.
        self.until(lambda: len(self.beats) >= 2, 'heartbeats')
        return self.beats[-1].errors_total

    def refused(self, topic: str, msg: Any, text: str) -> Heartbeat:
        """Publish, again if it is lost, until a heartbeat counts it; return that heartbeat."""
        before = self.errors()

        def counted() -> list[Heartbeat]:
            return [beat for beat in self.beats if beat.errors_total > before]

        self.until(counted, text, lambda: self.publish(topic, msg))
        assert text in counted()[0].detail
        return counted()[0]

    def goes_on(self) -> None:
        """Expect a chunk that moves the robot of the next good frame, and nothing but numbers."""
        newest = self.good('vla/image/front').header.stamp

        def driven() -> bool:
            stamp = self.chunks[-1].observation_stamp if self.chunks else Time()
            return self.drives() and (stamp.sec, stamp.nanosec) > (newest.sec, newest.nanosec)

        self.until(driven, 'a chunk', self.look)
        assert all(math.isfinite(number) for chunk in self.chunks for number in chunk.data)


@pytest.fixture
def make_stage(context, fake, monkeypatch):
    monkeypatch.setattr(loading, 'load_policy', lambda *_: fake)
    stages = []

    def make() -> Stage:
        stages.append(Stage(context))
        stages[-1].start()
        return stages[-1]

    yield make
    fake.hang.set()
    for stage in stages:
        stage.close()


@pytest.fixture
def stage(make_stage) -> Stage:
    return make_stage()


@pytest.fixture
def feeling(make_stage, fake) -> Stage:
    """A stage whose policy is told how fast the robot is."""
    fake.spec = replace(fake.spec, state_names=('odom.v', 'odom.w'))
    return make_stage()


def later(seconds: float) -> Callable[[int], Time]:
    """Return what makes a stamp by so much later than now."""
    return lambda now: to_time(now + round(seconds * 1e9))


HOUR = 3600.0
HUGE = 'x' * 1_000_000
NO_UTF8 = serialize_message(String(data='?? go')).replace(b'??', b'\xff\xfe')
#: What is wrong with a frame, and a part of what the node says to it.
BAD_FRAMES = [
    ({'header.stamp': later(HOUR)}, 's ahead: expected at most 0.05 s'),
    ({'step': STEP - 1}, 'step 575: expected at least 576'),
    ({'step': 4_294_967_295}, 'bytes of data: expected step 4294967295'),
    ({'width': 0, 'height': 0, 'step': 0, 'data': array.array('B')}, 'image of 0x0: expected'),
    ({'width': 0, 'height': 0}, 'image of 0x0: expected sides'),
    ({'width': 100_000, 'height': 100_000}, 'image of 100000x100000: expected sides'),
    ({'data': array.array('B', bytes(1000))}, '1000 bytes of data: expected'),
    ({'encoding': '16UC1', 'step': 2 * WIDTH}, "encoding '16UC1': expected one of"),
    ({'encoding': 'rgb8\x1b[2J'}, "encoding 'rgb8\\x1b[2J': expected one of"),
    ({'encoding': HUGE}, "encoding 'xxxxx"),
]
#: Frames that are as good as their stamp: how old is too old, the gate says.
ODD_FRAMES = [
    {'header.stamp': Time()},
    {'header.stamp': later(-HOUR)},
    {'header.stamp': later(-0.2)},
    {'header.frame_id': HUGE},
    {'header.frame_id': 'camera\x1b[2J', 'is_bigendian': 255},
]
BAD_ODOMETRY = [
    {'twist.twist.angular.z': math.nan},
    {'twist.twist.angular.z': -math.inf},
    {'twist.twist.linear.x': math.nan},
    {'twist.twist.linear.x': math.inf},
]
#: Odometry counts from its arrival, and for its speed alone.
ODD_ODOMETRY = [
    {'header.stamp': Time()},
    {'header.stamp': later(HOUR)},
    {'header.stamp': later(-HOUR)},
    {'header.frame_id': HUGE, 'child_frame_id': '\x1b[2J'},
    {'pose.pose.position.x': math.nan, 'twist.twist.linear.y': math.inf},
]


def describe(value: Any) -> str | None:
    """Name a message by what is changed in it, in a test's id."""
    return ','.join(value) if isinstance(value, dict) else None


@pytest.mark.parametrize(('changes', 'text'), BAD_FRAMES, ids=describe)
def test_bad_frame_is_counted_and_gives_no_chunk(stage, changes, text):
    msg = stage.changed('vla/image/front', changes)
    assert stage.refused('vla/image/front', msg, text).consecutive_errors >= 1
    stage.goes_on()
    assert all(chunk.observation_stamp != msg.header.stamp for chunk in stage.chunks)


@pytest.mark.parametrize('changes', ODD_FRAMES, ids=describe)
def test_chunk_of_an_odd_frame_has_its_stamp_and_a_later_sequence(stage, changes):
    before, errors = stage.chunks[-1], stage.errors()
    msg = stage.changed('vla/image/front', changes)

    def answered():
        return [c for c in stage.chunks if c.observation_stamp == msg.header.stamp]

    stage.until(answered, 'its chunk', lambda: stage.publish('vla/image/front', msg))
    chunk = answered()[0]
    assert chunk.sequence > before.sequence
    assert chunk.status == ActionChunk.STATUS_RUNNING
    assert (chunk.horizon, chunk.header.frame_id) == (len(chunk.data) // 7, 'base_link')
    stage.goes_on()
    assert stage.errors() == errors


@pytest.mark.parametrize('changes', BAD_ODOMETRY, ids=describe)
def test_bad_odometry_is_counted_and_no_policy_sees_it(feeling, fake, changes):
    feeling.refused('odom', feeling.changed('odom', changes), 'expected finite ones')
    feeling.goes_on()
    assert all(np.isfinite(observation.state).all() for observation, _ in fake.seen)


@pytest.mark.parametrize('changes', ODD_ODOMETRY, ids=describe)
def test_odd_odometry_is_taken_for_its_speed(feeling, fake, changes):
    # No good one is sent meanwhile: a speed that nothing else has.
    msg = feeling.changed('odom', changes | {'twist.twist.linear.x': 0.25})

    def look():
        feeling.publish('odom', msg)
        feeling.publish('vla/image/front', feeling.good('vla/image/front'))

    feeling.until(lambda: fake.seen[-1][0].state.tolist() == [0.25, 0.0], 'that speed', look)
    feeling.goes_on()


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        (HUGE, 'instruction of 1000000 characters: expected at most 512'),
        ('stop ' * 200_000, 'instruction of 1000000 characters: expected at most 512'),
        ('\x01\x1b\x07\x7f', 'instruction is empty'),
        (NO_UTF8, 'instruction has bytes that are no text: expected UTF-8'),
    ],
    ids=['megabyte', 'megabyte of stops', 'control', 'no UTF-8'],
)
def test_text_that_is_none_is_counted_and_the_old_one_is_followed(stage, text, reason):
    msg = text if isinstance(text, bytes) else String(data=text)
    beat = stage.refused('command', msg, reason)
    # No text may bring the gate to an emergency stop.
    assert beat.consecutive_errors == 0
    stage.until(lambda: stage.records[-1].status == Instruction.STATUS_MALFORMED, 'a record')
    assert stage.records[-1].id == 0
    stage.goes_on()
    assert stage.chunks[-1].instruction_id == 1


def test_odd_text_is_followed_by_what_can_be_seen_of_it(stage):
    text = 'go to [2J the box'
    stage.publish('command', String(data='go\x07 to \x1b[2J\nthe box'))
    stage.until(lambda: stage.records[-1].status == Instruction.STATUS_RUNNING, 'a record')
    stage.until(lambda: stage.records[-1].text == text, 'its text')
    stage.goes_on()
    assert stage.errors() == 0


@pytest.mark.parametrize('topic', ['vla/image/front', 'odom', 'command'])
def test_bytes_that_are_no_message_never_reach_the_node(stage, topic):
    """Fast DDS drops them; should they get through, `run` hands them to the node, which counts."""
    records = len(stage.records)
    data = serialize_message(stage.good(topic))
    for cut in (4, len(data) // 2):
        stage.publish(topic, data[:cut])
        assert stage.errors() == 0
    stage.goes_on()
    assert len(stage.records) == records
