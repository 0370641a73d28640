"""The recorder in a graph: what it hears, what triggers it, what it says."""

from collections.abc import Callable, Iterator
import errno
import os
from pathlib import Path
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import pytest
from rcl_interfaces.msg import Log
import rclpy
from rclpy._rclpy_pybind11 import RCLError
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from std_srvs.srv import Trigger
import yaml

from vla_core.errors import ConfigError
from vla_core.gate.causes import State
from vla_interfaces.msg import ActionChunk, Heartbeat, SafetyState
from vla_replay.bag.reader import BagReader
from vla_replay.bag.stream import Stream
from vla_replay.bag.types import Types
from vla_replay.errors import BagError
from vla_replay.recorder_node import RecorderNode
from vla_ros import qos
from vla_ros.domains import process_domain

DOMAIN = process_domain()
PICTURE = Image(height=48, width=64, encoding='rgb8', step=192, data=bytes(48 * 192))


class Bench:
    """One recorder and a peer that publishes."""

    def __init__(self, context: Context, folder: Path, **parameters: Any) -> None:
        values = {'folder': str(folder), 'name': 'bag'} | parameters
        self._options = {
            'context': context,
            'namespace': '/one',
            'parameter_overrides': [Parameter(name, value=one) for name, one in values.items()],
        }
        self.folder = folder
        self.peer = Node('peer', context=context, namespace='/one')
        self.reports: list[DiagnosticStatus] = []
        self.peer.create_subscription(
            DiagnosticArray, '/diagnostics', lambda msg: self.reports.extend(msg.status), 10
        )
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.peer)
        self.recorder: RecorderNode | None = None

    def start(self) -> None:
        self.recorder = RecorderNode(**self._options)
        self._executor.add_node(self.recorder)

    def until(self, condition: Callable[[], bool], timeout: float = 20.0) -> bool:
        end = time.monotonic() + timeout
        while not condition() and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)
        return condition()

    def say(self, kind: type, topic: str, messages: list[Any], profile: Any = 10) -> None:
        """Publish as soon as the recorder hears the topic, and wait until it has taken it all."""
        publisher = self.peer.create_publisher(kind, topic, profile)
        assert self.until(lambda: publisher.get_subscription_count() > 0)
        for message in messages:
            publisher.publish(message)
            self._executor.spin_once(timeout_sec=0.02)
        self.until(lambda: False, 0.5)

    def end(self) -> None:
        """End the recorder as a signal would."""
        if self.recorder is not None:
            recorder, self.recorder = self.recorder, None
            self._executor.remove_node(recorder)
            recorder.close()
            recorder.destroy_node()

    def close(self) -> None:
        self.end()
        self._executor.shutdown()
        self.peer.destroy_node()


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    yield context
    rclpy.try_shutdown(context=context)


@pytest.fixture
def make(context: Context, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    benches = []

    def make_bench(**parameters: Any) -> Bench:
        benches.append(Bench(context, tmp_path / 'bags', **parameters))
        return benches[-1]

    yield make_bench
    for bench in benches:
        bench.close()


@pytest.fixture
def stranger(context: Context) -> Iterator[Node]:
    """A node in a context of its own: one participant knows a topic by one type only."""
    other = Context()
    rclpy.init(context=other, domain_id=DOMAIN)
    node = Node('stranger', context=other)
    yield node
    node.destroy_node()
    rclpy.try_shutdown(context=other)


def test_topics_old_and_new_are_recorded_as_they_are(make):
    bench = make()
    latched = bench.peer.create_publisher(String, 'description', qos.STATE)
    latched.publish(String(data='a robot'))
    bench.start()
    texts = [String(data=str(number)) for number in range(20)]
    # These topics appear when the recorder runs already.
    bench.say(String, 'text', texts)
    bench.say(Heartbeat, 'vla/heartbeat', [Heartbeat(node='gate')], qos.HEARTBEAT)
    bench.end()
    with BagReader(bench.folder / 'bag') as bag:
        found = [(one.topic, one.data) for one in bag.messages(['/one/text', '/one/description'])]
        assert found[0] == ('/one/description', serialize_message(String(data='a robot')))
        assert [data for _, data in found[1:]] == [serialize_message(one) for one in texts]
        topic = bag.topic('/one/vla/heartbeat', 'vla_interfaces/msg/Heartbeat')
        assert topic.type_hash == Types().type_hash('vla_interfaces/msg/Heartbeat')
        assert not topic.latched
        assert bag.topics['/one/description'].latched
        stamps = [one.stamp_ns for one in bag.messages()]
        assert abs(stamps[-1] - time.time_ns()) < 60e9


def test_pictures_become_jpeg_and_best_effort_is_heard(make):
    bench = make()
    bench.start()
    bench.say(Image, 'camera', [PICTURE], qos_profile_sensor_data)
    bench.end()
    with BagReader(bench.folder / 'bag') as bag:
        assert '/one/camera' not in bag.topics or bag.topics['/one/camera'].count == 0
        (found,) = bag.messages(['/one/camera/compressed'])
        assert b'\xff\xd8\xff' in found.data


def test_pictures_stay_raw_where_that_is_asked_for(make):
    bench = make(keep_raw='camera')
    bench.start()
    bench.say(Image, 'camera', [PICTURE], qos_profile_sensor_data)
    bench.end()
    with BagReader(bench.folder / 'bag') as bag:
        (found,) = bag.messages(['/one/camera'])
        assert deserialize_message(found.data, Image) == PICTURE


def test_the_bag_says_what_was_running(make):
    bench = make()
    bench.peer.declare_parameter('max_speed', 0.3)
    bench.start()
    bench.say(ActionChunk, 'vla/action_chunk', [ActionChunk(model_id='m', model_sha256='ab' * 32)])
    assert bench.until(lambda: bool(bench.reports))
    bench.end()
    with BagReader(bench.folder / 'bag') as bag:
        assert (bag.custom['model_id'], bag.custom['model_sha256']) == ('m', 'ab' * 32)
        assert bag.custom['namespace'] == '/one'
        assert len(bag.custom['git_revision'].rstrip('+')) == 40
        parameters = yaml.safe_load(bag.attachments['parameters/one/peer.yaml'])
        assert parameters['/one/peer']['ros__parameters']['max_speed'] == 0.3
    report = bench.reports[-1]
    assert (report.name, report.level) == ('/recorder', DiagnosticStatus.OK)
    assert report.message.endswith('/bag')


def test_topics_are_chosen_by_pattern(make):
    bench = make(topics='te*', exclude='text2')
    bench.start()
    other = bench.peer.create_publisher(String, 'text2', 10)
    bench.say(String, 'text', [String(data='one')])
    assert other.get_subscription_count() == 0
    bench.end()
    with BagReader(bench.folder / 'bag') as bag:
        assert set(bag.topics) == {'/one/text'}


def test_a_publisher_that_offers_less_is_heard_too(make):
    bench = make()
    bench.start()
    bench.say(String, 'text', [String(data='reliable')])
    bench.say(String, 'text', [String(data='best effort')], qos_profile_sensor_data)
    bench.end()
    with BagReader(bench.folder / 'bag') as bag:
        texts = [deserialize_message(one.data, String).data for one in bag.messages(['/one/text'])]
        assert texts == ['reliable', 'best effort']


def test_who_only_listens_decides_about_nothing(make, stranger):
    """A viewer that waits for compressed pictures, a listener that is wrong about a type."""
    bench = make()
    stranger.create_subscription(CompressedImage, '/one/camera/compressed', print, 10)
    stranger.create_subscription(Heartbeat, '/one/text', print, 10)
    bench.start()
    bench.say(Image, 'camera', [PICTURE])
    bench.say(String, 'text', [String(data='one')])
    bench.end()
    with BagReader(bench.folder / 'bag') as bag:
        assert bag.topics['/one/camera/compressed'].count == 1
        assert bag.topics['/one/text'].count == 1


def test_no_picture_is_recorded_twice_when_the_camera_compresses_it_too(make):
    bench = make()
    bench.start()
    bench.say(Image, 'camera', [PICTURE])
    compressed = bench.peer.create_publisher(CompressedImage, 'camera/compressed', 10)
    raw = bench.peer.create_publisher(Image, 'camera', 10)
    assert bench.until(lambda: compressed.get_subscription_count() > 0)
    assert bench.until(lambda: raw.get_subscription_count() == 0)
    raw.publish(PICTURE)
    compressed.publish(CompressedImage(format='jpeg'))
    bench.until(lambda: False, 0.5)
    bench.end()
    with BagReader(bench.folder / 'bag') as bag:
        assert bag.topics['/one/camera/compressed'].count == 2
        assert '/one/camera' not in bag.topics


@pytest.mark.parametrize('text_first', [False, True])
def test_a_text_under_the_name_of_the_jpeg_pictures_costs_no_picture(make, stranger, text_first):
    bench = make()
    text = stranger.create_publisher(String, '/one/camera/compressed', 10) if text_first else None
    bench.start()
    if text is not None:
        assert bench.until(lambda: text.get_subscription_count() > 0)
    bench.say(Image, 'camera', [PICTURE])
    if text is None:
        text = stranger.create_publisher(String, '/one/camera/compressed', 10)
        bench.until(lambda: False, 1.5)
    text.publish(String(data='no picture'))
    bench.say(Image, 'camera', [PICTURE])
    bench.end()
    with BagReader(bench.folder / 'bag') as bag:
        pictures = '/one/camera' if text_first else '/one/camera/compressed'
        assert bag.topics[pictures].count == 2
        texts = bag.topics['/one/camera/compressed'].count
        assert texts == (1 if text_first else 2)


def test_a_topic_whose_type_changes_costs_no_other_message(make, stranger):
    bench = make(topics='text other /rosout')
    bench.start()
    publisher = bench.peer.create_publisher(String, 'text', 10)
    bench.say(String, 'other', [String(data='one')])
    assert bench.until(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(String(data='as before'))
    bench.until(lambda: False, 0.5)
    changed = stranger.create_publisher(Heartbeat, '/one/text', qos_profile_sensor_data)
    assert bench.until(lambda: publisher.get_subscription_count() == 0)
    bench.peer.destroy_publisher(publisher)
    bench.until(lambda: False, 2.5)
    assert changed.get_subscription_count() == 0
    bench.say(String, 'other', [String(data='two')])
    bench.end()
    with BagReader(bench.folder / 'bag') as bag:
        assert bag.topics['/one/text'].count == 1
        assert bag.topics['/one/other'].count == 2
        told = [deserialize_message(one.data, Log).msg for one in bag.messages(['/rosout'])]
    told = [one for one in told if one.startswith('/one/text is not recorded: ')]
    assert "its publishers offer ['std_msgs/msg/String', 'vla_interfaces/msg/Heartb" in told[0]
    assert 'is offered, expected std_msgs/msg/String RIHS01_' in told[1]
    assert len(told) == 2


def test_a_topic_that_may_not_be_heard_is_left_out(make, monkeypatch):
    """A secured graph refuses endpoints that its policy does not name."""
    allowed = Node.create_subscription

    def create(node: Node, kind: type, topic: str, *rest: Any, **more: Any) -> Any:
        if topic == '/one/secret':
            raise RCLError('not allowed')
        return allowed(node, kind, topic, *rest, **more)

    def refuse(*_: Any) -> None:
        raise RCLError('not allowed')

    monkeypatch.setattr(Node, 'create_subscription', create)
    monkeypatch.setattr(RecorderNode, 'create_client', refuse)
    bench = make()
    bench.start()
    bench.peer.create_publisher(String, 'secret', 10)
    bench.say(String, 'text', [String(data='open')])
    bench.end()
    with BagReader(bench.folder / 'bag') as bag:
        assert '/one/text' in bag.topics
        assert '/one/secret' not in bag.topics
        assert bag.attachments == {}
        (warning,) = (
            log.msg
            for message in bag.messages(['/rosout'])
            if 'secret' in (log := deserialize_message(message.data, Log)).msg
        )
    assert warning == '/one/secret is not recorded: not allowed'


def ring(make, **parameters: Any) -> Bench:
    bench = make(mode='ring', after_seconds=0.0, **parameters)
    bench.start()
    bench.say(String, 'text', [String(data=str(number)) for number in range(5)])
    return bench


def triggers(bench: Bench) -> list[str]:
    found = []
    for path in sorted(bench.folder.iterdir()):
        with BagReader(path) as bag:
            assert len(list(bag.messages(['/one/text']))) == 5
            found.append(bag.custom['trigger'])
    return found


def test_a_service_has_the_last_seconds_written(make):
    bench = ring(make)
    client = bench.peer.create_client(Trigger, 'recorder/save')
    assert bench.until(client.service_is_ready)
    future = client.call_async(Trigger.Request())
    assert bench.until(future.done)
    assert future.result().success
    bench.end()
    assert triggers(bench) == ['asked for']


def test_nothing_is_said_to_be_written_while_the_disk_refuses(make, monkeypatch):
    bench = ring(make)
    client = bench.peer.create_client(Trigger, 'recorder/save')
    assert bench.until(client.service_is_ready)

    def ask() -> Trigger.Response:
        future = client.call_async(Trigger.Request())
        assert bench.until(future.done)
        return future.result()

    assert ask().message == f'asked for; due in 0 s in {bench.folder}'
    status = bench.recorder._recorder.status
    assert bench.until(lambda: len(status.bags) == 1)
    monkeypatch.setattr(Stream, 'write', _refuse)
    ask()
    assert bench.until(lambda: 'No space left' in status.error)
    answer = ask()
    assert not answer.success
    assert answer.message.startswith('asked for, and not written while the disk refuses: ')
    recorder = bench.recorder
    bench.end()
    assert 'No space left' in recorder.error


def _refuse(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_emergency_stop_has_the_last_seconds_written(make):
    bench = ring(make)
    states = [State.ESTOP, State.STOPPED, State.ACTIVE, State.ESTOP, State.ESTOP]
    bench.say(
        SafetyState, 'safety/state', [SafetyState(state=int(one)) for one in states], qos.STATE
    )
    bench.end()
    # A gate that was found latched has no past here, and a latched one stays so.
    assert triggers(bench) == ['ESTOP']


def test_a_warning_triggers_only_where_it_is_asked_for(make):
    for wanted in (False, True):
        bench = ring(make, on_warn=wanted, name=f'warn{wanted}')
        bench.peer.get_logger().warning('slow')
        bench.until(lambda: False, 1.0)
        bench.end()
        found = triggers(bench) if bench.folder.is_dir() else []
        assert found == (['one.peer: slow'] if wanted else [])


def test_a_bag_that_is_there_already_is_not_touched(make):
    bench = make()
    (bench.folder / 'bag').mkdir(parents=True)
    with pytest.raises(BagError, match='File exists: expected a new folder'):
        bench.start()


def test_a_wrong_parameter_is_named(make):
    with pytest.raises(ConfigError, match=r'ring_seconds is 0\.0: expected'):
        make(ring_seconds=0.0).start()
