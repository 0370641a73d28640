"""The recorder without ROS: bounded, counting, and never ended by a disk."""

import errno
import io
import os
from pathlib import Path
import threading

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
from PIL import Image
import pytest
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.typesys import get_typestore, Stores

from vla_core.parameters import build
from vla_replay.bag.clock_set import Jump, refuse_clock_set
from vla_replay.bag.reader import BagReader
from vla_replay.bag.stream import Stream
from vla_replay.bag.topics import Message, Topic
from vla_replay.bag.writer import BagWriter
from vla_replay.errors import BagError
from vla_replay.recording.choice import Choice, COMPRESSED, IMAGE
from vla_replay.recording.config import RecorderConfig
from vla_replay.recording.making import make_recorder
from vla_replay.recording.pictures import Pictures
from vla_replay.recording.queue import LARGE, OVERHEAD, Queue
from vla_replay.recording.recorders import CHECK, Continuous, OnDemand, RETRY
from vla_replay.recording.ring import Ring
from vla_replay.recording.thread import WritingThread

TEXT = 'std_msgs/msg/String'
SECOND = 1_000_000_000
FOREVER = QosTime(9223372036, 854775807)
LATCHED = Qos(
    QosHistory.UNKNOWN,
    0,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    FOREVER,
    FOREVER,
    QosLiveliness.AUTOMATIC,
    FOREVER,
    False,
)


def message(number: int, topic: str = '/text', size: int = 100) -> Message:
    """Return the message of a second."""
    return Message(topic, number * SECOND, b'\0\1\0\0' + bytes(size))


def read(path: Path) -> list[Message]:
    with BagReader(path) as bag:
        return list(bag.messages())


# The queue


@given(st.lists(st.integers(0, 2 * LARGE)), st.integers(0, 5 * LARGE))
def test_queue_is_bounded_and_nothing_is_lost_uncounted(sizes, bound):
    queue = Queue(bound)
    for number, size in enumerate(sizes):
        queue.put(Message('/text', number, bytes(size)))
        assert queue.held <= bound
    queue.close()
    taken = []
    while (item := queue.take(0.0)) is not None:
        taken.append(item)
    assert queue.held == 0
    assert queue.ended
    assert len(taken) + queue.dropped.get('/text', 0) == len(sizes)
    assert [one.stamp_ns for one in taken] == sorted(one.stamp_ns for one in taken)


def test_pictures_leave_room_for_decisions():
    queue = Queue(10 * LARGE)
    for number in range(20):
        queue.put(message(number, '/image', LARGE))
    queue.put(message(20, '/decision'))
    assert queue.dropped == {'/image': 20 - 7}


def test_work_is_done_in_its_turn():
    queue, done = Queue(1000), []
    queue.put(message(1))
    queue.call(lambda: done.append('work'))
    queue.put(message(2))
    first, work, second = (queue.take(0.0) for _ in range(3))
    work()
    assert (first, done, second) == (message(1), ['work'], message(2))


def test_a_closed_queue_accepts_nothing():
    queue = Queue(1000)
    queue.close()
    queue.put(message(1))
    queue.call(pytest.fail)
    assert queue.take(0.0) is None
    assert queue.dropped == {'/text': 1}


# The ring


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 500))), st.integers(1, 3000))
def test_ring_holds_the_newest_within_both_bounds(steps, bound):
    ring, stamp, added = Ring(10.0, bound), 0, []
    for step, size in steps:
        stamp += step
        added.append(message(stamp, size=size))
        ring.add(added[-1], float(stamp))
    kept = ring.contents()
    assert kept == added[len(added) - len(kept) :]
    assert ring.held <= bound
    assert all(one.stamp_ns >= (stamp - 10) * SECOND for one in kept)
    # What is missing would not fit, or is too old.
    if len(kept) < len(added):
        size = sum(len(one.data) + OVERHEAD for one in added[len(added) - len(kept) - 1 :])
        assert size > bound or added[-len(kept) - 1].stamp_ns < (stamp - 10) * SECOND


def test_ring_keeps_what_a_latched_topic_said_last():
    ring = Ring(
        10.0, 1 << 20, lambda name: Topic(name, TEXT, qos=(LATCHED,) * (name == '/latched'))
    )
    ring.add(message(0, '/latched', 1), 0.0)
    ring.add(message(1, '/latched', 2), 1.0)
    for number in range(2, 30):
        ring.add(message(number), float(number))
    first, second, *rest = ring.contents()
    assert first == Message('/latched', 19 * SECOND, message(1, '/latched', 2).data)
    assert second == message(19)
    assert len(rest) == 10


def test_ring_keeps_the_transforms_of_every_publisher():
    kind = 'tf2_msgs/msg/TFMessage'
    ring = Ring(10.0, 1 << 20, lambda name: Topic(name, kind, qos=(LATCHED,)))
    sent = [transforms('camera', 'lidar'), transforms('base'), transforms('lidar')]
    for number, data in enumerate([transforms('base'), *sent]):
        ring.add(Message('/tf_static', number * SECOND, data), float(number))
    ring.add(message(30, '/tf_static'), 30.0)
    assert [one.data for one in ring.contents()[:-1]] == sent


def transforms(*children: str) -> bytes:
    """Return a TFMessage in the order of its fields: header, child frame, transform."""
    kinds = STORE.types
    time = kinds['builtin_interfaces/msg/Time'](0, 0)
    header = kinds['std_msgs/msg/Header'](time, 'world')
    pose = kinds['geometry_msgs/msg/Transform'](
        kinds['geometry_msgs/msg/Vector3'](0.0, 0.0, 0.0),
        kinds['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 1.0),
    )
    make = kinds['geometry_msgs/msg/TransformStamped']
    msg = kinds['tf2_msgs/msg/TFMessage']([make(header, child, pose) for child in children])
    return bytes(STORE.serialize_cdr(msg, 'tf2_msgs/msg/TFMessage'))


def test_ring_holds_the_last_seconds_whatever_is_done_to_the_clock():
    ring = Ring(10.0, 1 << 20)
    for number in range(100):
        ring.add(message(1000 + number), float(number))
    for number in range(100, 200):
        # An hour back, then a day ahead.
        stamp = number if number < 150 else 90_000 + number
        ring.add(message(stamp), float(number))
        assert len(ring.contents()) == 11
    assert ring.contents()[0] == message(90_000 + 189)


# Into a bag at once


class Disk:
    """A disk that can be nearly full, and one that refuses every byte."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free, self.refuses, self.now = 1000, False, 0.0
        write = Stream.write

        def or_refuse(stream: Stream, data: bytes) -> int:
            if self.refuses:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(stream, data)

        monkeypatch.setattr(Stream, 'write', or_refuse)

    def make(self, path: Path) -> BagWriter:
        return BagWriter(path, clock=lambda: self.now)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def continuous(tmp_path: Path, disk: Disk) -> Continuous:
    recorder = Continuous(tmp_path / 'bag', disk.make, lambda: disk.free, reserve=500)
    recorder.declare(Topic('/text', TEXT))
    recorder.poll(0.0)
    return recorder


def test_everything_is_in_the_bag_with_its_facts(tmp_path: Path, disk):
    recorder = continuous(tmp_path, disk)
    recorder.attach('parameters/gate.yaml', b'gate: {}')
    recorder.note('robot', 'sim')
    sent = [message(number) for number in range(10)]
    for one in sent:
        recorder.add(one, one.stamp_ns * 1e-9)
    recorder.close()
    assert recorder.status.written == 10
    assert recorder.status.error == ''
    with BagReader(tmp_path / 'bag') as bag:
        assert list(bag.messages()) == sent
        assert bag.custom == {'robot': 'sim'}
        assert bag.attachments == {'parameters/gate.yaml': b'gate: {}'}


@pytest.mark.parametrize('how', ['full', 'refuses'])
def test_a_disk_without_room_costs_messages_and_recording_goes_on(tmp_path: Path, disk, how):
    recorder = continuous(tmp_path, disk)
    for number in range(60):
        disk.free = 100 if how == 'full' and 10 <= number < 20 else 1000
        disk.refuses = how == 'refuses' and 10 <= number < 20
        disk.now = float(number)
        recorder.add(message(number), float(number))
        recorder.poll(float(number))
        if number == 15:
            expected = 'expected 0 MB' if how == 'full' else 'No space left'
            assert expected in recorder.status.error
    assert recorder.status.error == ''
    recorder.close()
    found = read(tmp_path / 'bag')
    assert [one.stamp_ns // SECOND for one in found if one.stamp_ns < 10 * SECOND] == [*range(10)]
    # The disk is tried again every RETRY s, and looked at every CHECK s.
    assert 60 - 10 - RETRY - 2 * CHECK - 1 <= len(found) <= 51
    assert recorder.status.lost == 60 - len(found)
    with BagReader(tmp_path / 'bag') as bag:
        # A file that a disk refused in the middle has no index; one that it had no room for has.
        assert bag.torn is (how == 'refuses')
        assert bag.custom == {'lost_on_disk': f'/text {60 - len(found)}'}


def test_what_a_disk_cost_is_in_the_bag_before_its_end_and_at_its_end(tmp_path: Path, disk):
    recorder = continuous(tmp_path, disk)
    recorder.add(message(0), 0.0)
    for free, begin in ((100, 10), (1000, 20), (100, 30)):
        disk.free = free
        recorder.poll(float(begin))
        for number in range(begin, begin + 5):
            recorder.add(message(number), float(number))
        if free == 1000:
            with BagReader(tmp_path / 'bag') as bag:
                assert bag.custom == {'lost_on_disk': '/text 5'}
    recorder.close()
    with BagReader(tmp_path / 'bag') as bag:
        assert bag.custom == {'lost_on_disk': '/text 10'}


def test_what_a_disk_refuses_at_the_end_is_counted(tmp_path: Path, disk):
    recorder = continuous(tmp_path, disk)
    recorder.add(message(0), 0.0)
    recorder.add(message(1), 0.1)
    disk.refuses = True
    recorder.close()
    assert 'No space left' in recorder.status.error
    assert recorder.status.lost == 2


def test_a_disk_that_takes_some_of_it_gets_the_rest_as_well(tmp_path: Path, monkeypatch):
    write = os.write
    stream = Stream(tmp_path / 'stream')
    with monkeypatch.context() as patch:
        patch.setattr(os, 'write', lambda file, data: write(file, data[:3]))
        stream.write(b'abcdefgh')
    stream.close()
    assert (tmp_path / 'stream').read_bytes() == b'abcdefgh'
    assert stream.size == 8


def test_a_disk_that_fails_behind_the_last_message_is_no_success(
    tmp_path: Path, disk, monkeypatch
):
    """The failure comes in the background, and the system tells it once."""
    sync, failures = os.fdatasync, [OSError(errno.EIO, os.strerror(errno.EIO))]

    def once(file: int) -> None:
        if threading.current_thread().name == 'sync' and failures:
            raise failures.pop()
        sync(file)

    stream = Stream(tmp_path / 'stream')
    monkeypatch.setattr(os, 'fdatasync', once)
    stream.write(b'x')
    stream.mark()
    for work in (stream.sync, lambda: stream.write(b'y')):
        with pytest.raises(OSError, match='Input/output error'):
            work()
    stream.close()
    monkeypatch.undo()
    recorder = continuous(tmp_path, disk)
    recorder.add(message(1), 1.0)
    monkeypatch.setattr(Stream, 'sync', lambda stream: _fail(errno.EIO))
    recorder.close()
    assert 'Input/output error: the last messages are lost' in recorder.status.error


def _fail(number: int) -> None:
    raise OSError(number, os.strerror(number))


def test_a_recorder_that_cannot_finish_says_so(tmp_path: Path, disk, monkeypatch):
    def fail(_: BagWriter) -> None:
        raise ZeroDivisionError('of an index')

    recorder, queue = continuous(tmp_path, disk), Queue(1 << 20)
    monkeypatch.setattr(BagWriter, 'close', fail)
    WritingThread(queue, recorder, lambda one: one).close()
    assert recorder.status.error == 'ZeroDivisionError: of an index'


def test_a_full_disk_is_not_littered_with_files(tmp_path: Path, disk):
    recorder = continuous(tmp_path, disk)
    disk.free = 0
    for number in range(200):
        recorder.add(message(number), float(number))
        recorder.poll(float(number))
    assert len(list((tmp_path / 'bag').iterdir())) <= 1


# On demand


def on_demand(tmp_path: Path, disk: Disk, **options) -> OnDemand:
    names = iter(tmp_path / f'bag-{number}' for number in range(100))
    values = {'seconds': 10.0, 'after': 2.0, 'max_bytes': 1 << 20} | options
    recorder = OnDemand(lambda: next(names), disk.make, **values)
    recorder.declare(Topic('/text', TEXT, qos=(LATCHED,)))
    return recorder


def play(recorder: OnDemand, begin: int, end: int) -> None:
    for number in range(begin, end):
        recorder.add(message(number), float(number))
        recorder.poll(float(number))


def test_a_trigger_saves_what_was_before_and_what_follows(tmp_path: Path, disk):
    recorder = on_demand(tmp_path, disk)
    recorder.attach('parameters/gate.yaml', b'gate: {}')
    recorder.note('robot', 'sim')
    play(recorder, 0, 30)
    assert list(tmp_path.iterdir()) == []
    recorder.trigger('ESTOP', 29.0)
    play(recorder, 30, 40)
    assert recorder.status.bags == [tmp_path / 'bag-0']
    with BagReader(tmp_path / 'bag-0') as bag:
        stamps = [one.stamp_ns // SECOND for one in bag.messages()]
        # Twelve seconds, and before them what the latched topic had said.
        assert stamps == [19, *range(19, 32)]
        assert bag.custom == {'robot': 'sim', 'trigger': 'ESTOP'}
        assert bag.attachments == {'parameters/gate.yaml': b'gate: {}'}


def test_triggers_that_come_together_make_one_bag(tmp_path: Path, disk):
    recorder = on_demand(tmp_path, disk)
    play(recorder, 0, 30)
    recorder.trigger('ESTOP', 29.0)
    recorder.trigger('gate: late', 30.0, often=True)
    play(recorder, 30, 60)
    with BagReader(recorder.status.bags[0]) as bag:
        assert bag.custom['trigger'] == 'ESTOP; gate: late'
    assert len(recorder.status.bags) == 1


def test_a_reason_that_comes_every_second_makes_no_second_bag_of_the_same_time(tmp_path, disk):
    recorder = on_demand(tmp_path, disk)
    for number in range(60):
        recorder.trigger('camera: slow', float(number), often=True)
        play(recorder, number, number + 1)
    assert 4 <= len(recorder.status.bags) <= 5
    recorder.trigger('ESTOP', 60.0)
    recorder.close()
    with BagReader(recorder.status.bags[-1]) as bag:
        assert 'ESTOP' in bag.custom['trigger']


def test_what_was_asked_for_is_written_at_the_end(tmp_path: Path, disk):
    recorder = on_demand(tmp_path, disk)
    play(recorder, 0, 5)
    recorder.trigger('asked for', 4.5)
    recorder.close()
    assert len(read(tmp_path / 'bag-0')) == 5


def test_a_bag_that_is_there_already_is_not_removed(tmp_path: Path, disk):
    (tmp_path / 'bag-0').mkdir()
    (tmp_path / 'bag-0' / 'mine').write_text('kept')
    recorder = on_demand(tmp_path, disk)
    play(recorder, 0, 30)
    recorder.trigger('ESTOP', 29.0)
    play(recorder, 30, 33)
    assert 'bag-0: File exists: expected a new folder' in recorder.status.error
    assert (tmp_path / 'bag-0' / 'mine').read_text() == 'kept'
    play(recorder, 33, 50)
    assert recorder.status.bags == [tmp_path / 'bag-1']


def test_without_a_trigger_nothing_is_written(tmp_path: Path, disk):
    recorder = on_demand(tmp_path, disk)
    play(recorder, 0, 100)
    recorder.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_disk_refused_is_tried_again(tmp_path: Path, disk):
    recorder = on_demand(tmp_path, disk)
    disk.refuses = True
    play(recorder, 0, 30)
    recorder.trigger('ESTOP', 29.0)
    play(recorder, 30, 50)
    assert 'No space left' in recorder.status.error
    assert list(tmp_path.iterdir()) == []
    disk.refuses = False
    play(recorder, 50, 60)
    assert recorder.status.error == ''
    (bag,) = recorder.status.bags
    # The seconds around the trigger, not those of the day on which there was room.
    assert read(bag)[-1].stamp_ns == 31 * SECOND
    assert recorder.status.lost == 0


def test_what_a_newer_trigger_takes_the_place_of_is_counted(tmp_path: Path, disk):
    recorder = on_demand(tmp_path, disk)
    disk.refuses = True
    play(recorder, 0, 30)
    recorder.trigger('one', 29.0)
    play(recorder, 30, 50)
    recorder.trigger('two', 49.0)
    play(recorder, 50, 60)
    # Those of the first: twelve seconds, and what the latched topic had said before them.
    assert recorder.status.lost == 14


# The thread


def test_what_waits_is_written_before_the_thread_ends(tmp_path: Path, disk):
    recorder, queue = continuous(tmp_path, disk), Queue(1 << 20)
    thread = WritingThread(queue, recorder, lambda one: one)
    for number in range(1000):
        queue.put(message(number))
    thread.close()
    assert len(read(tmp_path / 'bag')) == 1000


def test_what_was_dropped_is_in_the_bag_before_its_end_and_at_its_end(tmp_path: Path, disk):
    now, told = [0.0], []
    recorder, queue = continuous(tmp_path, disk), Queue(2000)
    thread = WritingThread(
        queue, recorder, lambda one: one, lambda: now[0], lambda: round(now[0] * SECOND)
    )

    def overrun() -> None:
        # In the thread that takes: meanwhile nothing is taken.
        for number in range(100):
            queue.put(message(number))

    def pass_() -> None:
        now[0] += CHECK

    def look() -> None:
        with BagReader(tmp_path / 'bag') as bag:
            told.append(bag.custom['dropped_messages'])

    # The last time no second passes.
    for work in (overrun, pass_, look, overrun):
        done = threading.Event()
        queue.call(work)
        queue.call(done.set)
        done.wait()
    thread.close()
    with BagReader(tmp_path / 'bag') as bag:
        kept = len(list(bag.messages()))
        assert kept < 20
        assert told == [f'/text {100 - kept // 2}']
        assert bag.custom['dropped_messages'] == f'/text {200 - kept}'


def test_one_bad_message_does_not_end_a_recording(tmp_path: Path, disk):
    def convert(one: Message) -> Message:
        if one.stamp_ns == 5 * SECOND:
            raise ZeroDivisionError
        return one

    recorder, queue = continuous(tmp_path, disk), Queue(1 << 20)
    thread = WritingThread(queue, recorder, convert)
    for number in range(10):
        queue.put(message(number))
    thread.close()
    assert len(read(tmp_path / 'bag')) == 9


@pytest.mark.parametrize('by', [-0.3, -50.0, 0.5, 3600.0, 0.05, 0.0])
def test_a_clock_that_is_set_is_a_fact_of_the_bag(tmp_path: Path, disk, by):
    now = [100.0, 2000.0]
    recorder, queue = continuous(tmp_path, disk), Queue(1 << 20)
    thread = WritingThread(
        queue, recorder, lambda one: one, lambda: now[0], lambda: round(now[1] * SECOND)
    )

    def pass_(seconds: float, jump: float = 0.0) -> None:
        now[0] += seconds
        now[1] += seconds + jump

    for seconds, jump in ((10.0, 0.0), (0.2, by), (10.0, 0.0)):
        queue.call(lambda seconds=seconds, jump=jump: pass_(seconds, jump))
        queue.put(message(2000))
    thread.close()
    with BagReader(tmp_path / 'bag') as bag:
        told = bag.custom.get('clock_set', '')
        if abs(by) < 0.1:
            assert not told
            return
        assert told == f'from 2010.200 s to {2010.0 + by:.3f} s'
        with pytest.raises(
            BagError, match=f'bag: clock_set: .* was set {told}: expected a bag of'
        ):
            refuse_clock_set(bag)


def test_a_ring_forgets_with_its_messages_that_the_clock_was_set(tmp_path: Path, disk):
    recorder = on_demand(tmp_path, disk)
    play(recorder, 0, 20)
    recorder.clock_set(Jump(20 * SECOND, 10 * SECOND), 20.0)
    for begin, told in ((20, True), (60, False)):
        play(recorder, begin, begin + 5)
        recorder.trigger('asked for', begin + 5.0)
        play(recorder, begin + 5, begin + 40)
        with BagReader(recorder.status.bags[-1]) as bag:
            assert ('clock_set' in bag.custom) is told


# Pictures


STORE = get_typestore(Stores.ROS2_JAZZY)


def image(pixels: np.ndarray, encoding: str, **header) -> bytes:
    stamp = STORE.types['builtin_interfaces/msg/Time'](7, 8)
    values = {
        'header': STORE.types['std_msgs/msg/Header'](stamp, 'camera'),
        'height': pixels.shape[0],
        'width': pixels.shape[1],
        'encoding': encoding,
        'is_bigendian': 0,
        'step': pixels.shape[1] * pixels.shape[2],
        'data': pixels.ravel(),
    } | header
    return bytes(STORE.serialize_cdr(STORE.types[IMAGE](**values), IMAGE))


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8'])
def test_a_picture_becomes_jpeg_with_its_header(encoding):
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[..., 0 if encoding == 'rgb8' else 2] = 200
    done = Pictures(90).convert(Message('/camera', 5, image(pixels, encoding)))
    assert (done.topic, done.stamp_ns) == ('/camera/compressed', 5)
    found = STORE.deserialize_cdr(done.data, COMPRESSED)
    assert (found.header.stamp.sec, found.header.frame_id) == (7, 'camera')
    assert found.format.startswith('rgb8; jpeg')
    seen = np.asarray(Image.open(io.BytesIO(found.data.tobytes()))).astype(int)
    assert np.abs(seen - [200, 0, 0]).max() < 5


@pytest.mark.parametrize(
    ('encoding', 'header', 'said'),
    [
        ('16UC1', {}, 'encoding'),
        ('rgb8', {'width': 1000}, 'step'),
        ('rgb8', {'height': 0}, 'sides'),
    ],
)
def test_a_picture_that_is_not_understood_stays_raw(encoding, header, said):
    pictures = Pictures(90)
    sent = Message('/camera', 5, image(np.zeros((4, 4, 3), np.uint8), encoding, **header))
    assert pictures.convert(sent) == sent
    assert said in pictures.refused['/camera']
    good = Message('/camera', 6, image(np.zeros((4, 4, 3), np.uint8), 'rgb8'))
    assert pictures.convert(good).topic == '/camera/compressed'
    assert not pictures.refused


@given(st.binary(max_size=100))
def test_a_broken_picture_stays_as_it_came(data):
    sent = Message('/camera', 5, data)
    assert Pictures(90).convert(sent) == sent


# The choice of topics


GRAPH = {
    '/camera/image_raw': [IMAGE],
    '/camera/image_raw/compressed': [COMPRESSED],
    '/vla/image/front': [IMAGE],
    '/odom': ['nav_msgs/msg/Odometry'],
    '/follow/_action/status': ['action_msgs/msg/GoalStatusArray'],
    '/torn': [TEXT, IMAGE],
}


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        ({}, {'/camera/image_raw/compressed', '/vla/image/front', '/odom'}),
        ({'images': 'raw'}, set(GRAPH) - {'/follow/_action/status', '/torn'}),
        ({'topics': 'odom /vla/*'}, {'/odom', '/vla/image/front'}),
        ({'exclude': '/vla/* /camera/*/compressed'}, {'/camera/image_raw', '/odom'}),
    ],
)
def test_topics_are_chosen_by_name_and_use(values, expected):
    choice = Choice(build(RecorderConfig, values, 'test'))
    assert set(choice.of(GRAPH)) == expected


def test_names_without_a_slash_belong_to_the_robot():
    choice = Choice(build(RecorderConfig, {'topics': 'odom', 'keep_raw': 'image'}, 'test'), '/one')
    assert choice.of({'/one/odom': [TEXT], '/two/odom': [TEXT]}) == {'/one/odom': TEXT}
    assert not choice.jpeg('/one/image', IMAGE)
    assert choice.jpeg('/two/image', IMAGE)


# From parameters


def test_a_recorder_is_as_its_parameters_want_it(tmp_path: Path):
    config = build(RecorderConfig, {'name': 'drive'}, 'test')
    recorder = make_recorder(config, tmp_path / 'new')
    assert isinstance(recorder, Continuous)
    recorder.close()
    assert read(tmp_path / 'new' / 'drive') == []
    with pytest.raises(BagError, match='drive: File exists: expected a new folder'):
        make_recorder(config, tmp_path / 'new')
    ring = make_recorder(build(RecorderConfig, {'mode': 'ring'}, 'test'), tmp_path)
    assert isinstance(ring, OnDemand)
