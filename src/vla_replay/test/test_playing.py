"""What `vla play` sends, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import time

from geometry_msgs.msg import TransformStamped
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import String

from vla_cli.main import main
from vla_core.session import Fate, Source
from vla_interfaces.msg import Instruction
from vla_replay.bag.latched import latched_before
from vla_replay.bag.reader import BagReader
from vla_replay.bag.tools import trim
from vla_replay.bag.writer import BagWriter
from vla_replay.errors import BagError
from vla_replay.listening import qos_of
from vla_replay.message_types import message_class
from vla_replay.pacing import Due
from vla_replay.player import (
    _MOST_KNOWN,
    fresh_transforms,
    Lateness,
    texts_beside,
)
from vla_ros.conversion import to_ns, to_time
from vla_ros.domains import process_domain

MS = 10**6
BEGIN = 1_700_000_000 * 10**9
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
TFMessage = message_class('tf2_msgs/msg/TFMessage')


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """A latched text every 0.5 s, in between one that is not, for 2 s."""
    with BagWriter(tmp_path / 'bag') as writer:
        writer.add_topic('/map', 'std_msgs/msg/String', [qos_of(LATCHED)])
        writer.add_topic('/text', 'std_msgs/msg/String')
        for number in range(4):
            for topic, at in (('/map', 500 * number), ('/text', 500 * number + 250)):
                data = serialize_message(String(data=f'{topic} {number}'))
                writer.write(topic, BEGIN + at * MS, data)
    return tmp_path / 'bag'


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (('--stop', 'inf'), 'stop is inf: expected a finite number'),
        (('--start', '-1'), 'start is -1.0'),
        (('--start', 'nan'), 'start is nan'),
        (('--start', '1e9'), 'start is 1000000000.0: expected less than 1.750 s, the duration'),
        (('--prelude', '2', '--sim-time'), 'prelude is 2.0 with sim_time'),
    ],
)
def test_wrong_options_are_one_line(bag: Path, options: tuple[str, ...], said: str, capsys):
    assert main(['play', str(bag), *options]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count('\n') == 1


def test_what_latched_topics_said_before_a_part_still_holds(bag: Path):
    with BagReader(bag) as reader:
        begin = reader.start_ns + 1200 * MS
        (held,) = latched_before(reader, {'/map', '/text'}, begin)
        assert (held.stamp_ns, held.topic) == (begin, '/map')
        assert deserialize_message(held.data, String).data == '/map 2'
        assert latched_before(reader, {'/map', '/text'}, reader.start_ns) == []
        assert latched_before(reader, {'/text'}, begin) == []


def test_a_part_has_the_fixed_transforms_of_every_publisher(tmp_path: Path):
    with BagWriter(tmp_path / 'bag') as writer:
        writer.add_topic('/tf_static', 'tf2_msgs/msg/TFMessage', [qos_of(LATCHED)])
        for at, frame in enumerate(('camera', 'lidar', 'camera')):
            transform = TransformStamped(child_frame_id=frame)
            transform.transform.translation.x = float(at)
            data = serialize_message(TFMessage(transforms=[transform]))
            writer.write('/tf_static', BEGIN + at * MS, data)
        writer.write('/tf_static', BEGIN + 2000 * MS, serialize_message(TFMessage()))
    trim(tmp_path / 'bag', tmp_path / 'piece', 1.0)
    with BagReader(tmp_path / 'bag') as whole, BagReader(tmp_path / 'piece') as piece:
        begin = whole.start_ns + 1000 * MS
        held = latched_before(whole, {'/tf_static'}, begin)
        assert list(piece.messages())[:-1] == held
    found = [deserialize_message(one.data, TFMessage).transforms[0] for one in held]
    assert [(one.child_frame_id, one.transform.translation.x) for one in found] == [
        ('lidar', 1.0),
        ('camera', 2.0),
    ]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Heard]:
    """Return what is played below /one, in the domain of this process."""
    domain = process_domain()
    monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    node = Node('listener', context=context, namespace='/one')
    texts: list[str] = []
    for name in ('map', 'text', 'command'):
        node.create_subscription(String, name, lambda msg: texts.append(msg.data), 10)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    yield _Heard(executor, texts)
    executor.shutdown()
    rclpy.try_shutdown(context=context)


class _Heard(list[str]):
    def __init__(self, executor: SingleThreadedExecutor, texts: list[str]) -> None:
        self._executor, self._texts = executor, texts

    def all(self, count: int, patience: float = 20.0) -> list[str]:
        end = time.monotonic() + patience
        while len(self._texts) < count and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.1)
        return self._texts


def test_a_part_is_played_behind_what_still_holds(bag: Path, heard: _Heard, capsys):
    part = ('--start', '1.2', '--rate', '4', '--namespace', 'one')
    assert main(['play', str(bag), *part]) == 0
    assert heard.all(4) == ['/map 2', '/text 2', '/map 3', '/text 3']
    assert '3 messages; late by' in capsys.readouterr().out


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A goal that is followed when the recording begins, a text, a goal, and the text again."""
    run = {'policy_run': 7}
    with BagWriter(tmp_path / 'told') as writer:
        writer.add_topic('/command', 'std_msgs/msg/String')
        writer.add_topic('/other', 'std_msgs/msg/String')
        writer.add_topic('/vla/instruction', 'vla_interfaces/msg/Instruction')

        def record(at: int, number: int, text: str, source: Source, since: int = 0) -> None:
            msg = Instruction(id=number, text=text, source=source, status=Fate.RUNNING, **run)
            msg.header.stamp = to_time(BEGIN + (at + since) * MS)
            writer.write('/vla/instruction', BEGIN + at * MS, serialize_message(msg))

        def text(at: int, text: str) -> None:
            writer.write('/command', BEGIN + at * MS, serialize_message(String(data=text)))

        record(0, 1, 'turn left', Source.TOPIC, since=-9000)
        writer.write('/other', BEGIN + 200 * MS, serialize_message(String(data='other')))
        text(300, 'turn right')
        record(310, 2, 'turn right', Source.TOPIC)
        record(600, 3, 'go to the red box', Source.ACTION)
        record(800, 3, 'go to the red box', Source.ACTION)
        text(900, 'turn right')
        record(910, 4, 'turn right', Source.TOPIC)
    return tmp_path / 'told'


@pytest.mark.parametrize(
    ('options', 'texts'),
    [
        ((), ['turn left', 'turn right', 'go to the red box', 'turn right']),
        (('--start', '0.4'), ['turn right', 'go to the red box', 'turn right']),
        (('--start', '0.7'), ['go to the red box', 'turn right']),
        (('--stop', '0.5'), ['turn left', 'turn right']),
        (('--topics', 'command'), ['turn right', 'turn right']),
        (('--instruction', 'turn around'), ['turn around']),
    ],
)
def test_all_that_the_robot_was_told_is_told_again(
    told: Path, heard: _Heard, options: tuple[str, ...], texts: list[str]
):
    assert main(['play', str(told), '--rate', '4', '--namespace', 'one', *options]) == 0
    assert heard.all(len(texts) + 1, patience=1.0) == texts


@pytest.mark.parametrize(
    ('part', 'said'),
    [
        (('--start', '1e9'), 'start is 1000000000.0: expected less than 0.910 s'),
        (('--start', '0.905'), 'no message of'),
        (('--start', '0.905', '--instruction', 'turn around'), 'no message of'),
    ],
)
def test_a_robot_that_is_shown_nothing_is_told_nothing(
    told: Path, heard: _Heard, part: tuple[str, ...], said: str, capsys
):
    assert main(['play', str(told), '--namespace', 'one', *part]) == 1
    assert said in capsys.readouterr().err
    assert heard.all(1, patience=1.0) == []


def test_goals_of_two_robots_are_not_told_to_one(told: Path):
    with BagWriter(told.with_name('two')) as writer:
        for name in ('/r1/vla/instruction', '/r2/vla/instruction'):
            writer.add_topic(name, 'vla_interfaces/msg/Instruction')
            msg = Instruction(id=1, text='turn left', source=Source.ACTION, policy_run=7)
            writer.write(name, BEGIN, serialize_message(msg))
    with BagReader(told.with_name('two')) as reader:
        assert texts_beside(reader, set(), BEGIN, None) == []


def test_nothing_is_told_before_the_robot_moves(told: Path):
    with BagReader(told) as reader:
        texts = texts_beside(reader, {'/other'}, BEGIN, None)
        assert [(one.stamp_ns - BEGIN) // MS for one in texts] == [200, 600]
        (text, _) = texts_beside(reader, {'/other', '/command'}, BEGIN + 400 * MS, None)
        assert (text.stamp_ns - BEGIN) // MS == 900


def test_ctrl_c_in_a_loop_tells_how_late_it_was(
    bag: Path, heard: _Heard, monkeypatch: pytest.MonkeyPatch, capsys
):
    add = Lateness.add

    def then_interrupt(lateness: Lateness, seconds: float) -> None:
        add(lateness, seconds)
        if lateness.count == 10:
            raise KeyboardInterrupt

    monkeypatch.setattr(Lateness, 'add', then_interrupt)
    loop = ('--loop', '--rate', '20', '--namespace', 'one')
    assert main(['play', str(bag), *loop]) == 130
    assert '10 messages; late by' in capsys.readouterr().out


def test_lateness_is_bounded_and_counts_everything():
    late = Lateness()
    assert str(late) == 'no message'
    for _ in range(_MOST_KNOWN + 50):
        late.add(0.002)
    assert str(late) == f'{_MOST_KNOWN + 50} messages; late by 2.00 ms p50, 2.00 ms p99'
    assert len(late._newest) == _MOST_KNOWN


def test_every_transform_keeps_its_distance_from_the_recording():
    stamps = [BEGIN - 40 * MS, 0, BEGIN + 20 * MS]
    msg = TFMessage(transforms=[TransformStamped() for _ in stamps])
    for transform, stamp in zip(msg.transforms, stamps, strict=True):
        transform.header.stamp = to_time(stamp)
    due = Due(1.0, BEGIN, '/tf', serialize_message(msg))
    now = BEGIN + 10**15
    found = deserialize_message(fresh_transforms(due, now, 2.0), TFMessage).transforms
    at = now + 1000 * MS
    assert [to_ns(one.header.stamp) for one in found] == [at - 20 * MS, 0, at + 10 * MS]
    with pytest.raises(BagError, match='/tf: message of 6 bytes'):
        fresh_transforms(Due(0.0, BEGIN, '/tf', b'\0\1\0\0\xff\xff'), now, 1.0)
