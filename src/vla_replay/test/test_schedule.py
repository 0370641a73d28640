"""What of a recording goes out at which tick."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
import struct

from hypothesis import given
from hypothesis import strategies as st
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import String

from vla_core.session import Fate, Source
from vla_interfaces.msg import Instruction
from vla_replay.bag.topics import Message, Topic
from vla_replay.errors import BagError
from vla_replay.schedule import (
    find_frames,
    find_sources,
    frame_span,
    RECORD,
    Sources,
    Tick,
    TICK_NS,
    ticks,
)
from vla_ros.conversion import to_time

IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
ODOMETRY, STRING = 'nav_msgs/msg/Odometry', 'std_msgs/msg/String'
BEGIN = 1_700_000_000 * 10**9
MS = 10**6

FRAMES, ODOM = Topic('/camera', IMAGE), Topic('/odom', ODOMETRY)
TEXTS = Topic('/command', STRING)
SOURCES = Sources(FRAMES, ODOM, TEXTS)


def stamped(name: str, stamp_ns: int, delay: int = 0) -> Message:
    body = struct.pack('<iI', *divmod(stamp_ns, 10**9))
    return Message(name, stamp_ns + delay, b'\x00\x01\x00\x00' + body)


class Bag:
    """A recording in memory, as far as a schedule needs one."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._all = sorted(messages, key=lambda message: message.stamp_ns)
        self.start_ns = self._all[0].stamp_ns

    def messages(self, topics, start_ns=None, end_ns=None) -> Iterator[Message]:
        for message in self._all:
            late = start_ns is None or message.stamp_ns >= start_ns
            if message.topic in topics and late and (end_ns is None or message.stamp_ns < end_ns):
                yield message


def cut(messages: Sequence[Message], **part: float) -> list[Tick]:
    return list(ticks(Bag(messages), SOURCES, **part))


offsets = st.lists(st.integers(0, 3_000 * MS), min_size=1, max_size=60, unique=True)


@given(frames=offsets, odom=offsets, delay=st.integers(0, 200 * MS))
def test_every_frame_goes_out_once_and_never_before_its_time(
    frames: list[int], odom: list[int], delay: int
):
    schedule = cut(
        [stamped('/camera', BEGIN + at, delay) for at in frames]
        + [stamped('/odom', BEGIN + at, delay) for at in odom]
    )
    sent = [tick.frame.stamp_ns for tick in schedule if tick.frame]
    assert sent == sorted(sent)
    assert set(sent) <= {BEGIN + at for at in frames}
    assert len(sent) + sum(tick.skipped for tick in schedule) == len(frames)
    assert sent[-1] == BEGIN + max(frames)
    begin = BEGIN + min(frames)
    for number, tick in enumerate(schedule):
        if tick.frame and min(odom) <= min(frames):
            assert 0 <= begin + number * TICK_NS - tick.frame.stamp_ns < TICK_NS


@given(texts=st.lists(st.integers(0, 1_900 * MS), max_size=8), delay=st.integers(0, 100 * MS))
def test_texts_keep_their_order_and_none_is_lost(texts: list[int], delay: int):
    frames = [stamped('/camera', BEGIN + at * 40 * MS, delay) for at in range(50)]
    odom = [stamped('/odom', BEGIN + at * 20 * MS, delay) for at in range(100)]
    said = [
        Message('/command', BEGIN + at + delay, str(number).encode())
        for number, at in enumerate(sorted(texts))
    ]
    schedule = cut([*frames, *odom, *said])
    heard = [(number, text) for number, tick in enumerate(schedule) for text in tick.texts]
    assert [text for _, text in heard] == [str(number).encode() for number in range(len(texts))]
    for (number, _), at in zip(heard, sorted(texts), strict=True):
        assert 0 <= number * TICK_NS - at < TICK_NS


def test_odometry_of_a_tick_is_the_newest_before_it():
    frames = [stamped('/camera', BEGIN + at * 40 * MS) for at in range(3)]
    odom = [stamped('/odom', BEGIN + at * 30 * MS) for at in range(4)]
    found = [struct.unpack_from('<iI', tick.odom, 4)[1] // MS for tick in cut([*frames, *odom])]
    assert found[:5] == [0, 0, 30, 60, 60]


def test_a_part_begins_with_its_first_frame():
    messages = [stamped('/odom', BEGIN + at * 20 * MS) for at in range(200)]
    messages += [stamped('/camera', BEGIN + at * 40 * MS) for at in range(100)]
    schedule = cut(messages, start=1.0, stop=2.0)
    assert schedule[0].frame is not None
    assert schedule[0].frame.stamp_ns == BEGIN + 1000 * MS
    assert sum(tick.frame is not None for tick in schedule) == 25


def test_a_part_begins_with_the_newest_text_before_it():
    messages = [stamped('/odom', BEGIN + at * 20 * MS) for at in range(200)]
    messages += [stamped('/camera', BEGIN + at * 40 * MS) for at in range(100)]
    messages += [Message('/command', BEGIN + at * MS, b'%d' % at) for at in (0, 500, 1500)]
    schedule = cut(messages, start=1.0, stop=2.0)
    said = [(number, text) for number, tick in enumerate(schedule) for text in tick.texts]
    assert said == [(0, b'500'), (25, b'1500')]
    assert cut(messages)[0].texts == (b'0',)


def test_the_frames_of_a_part_have_a_first_and_a_last_one():
    bag = Bag([stamped('/camera', BEGIN + at * 40 * MS, 10 * MS) for at in range(100)])
    assert frame_span(bag, FRAMES) == (BEGIN, BEGIN + 99 * 40 * MS)
    assert frame_span(bag, FRAMES, 1.0, 2.0) == (BEGIN + 1000 * MS, BEGIN + 1960 * MS)
    with pytest.raises(BagError, match='/camera: no frame in this part'):
        frame_span(bag, FRAMES, 60.0)


def test_a_stamp_of_another_clock_is_refused():
    messages = [stamped('/camera', BEGIN + at * 40 * MS) for at in range(50)]
    messages.append(Message('/odom', BEGIN + 500 * MS, stamped('/odom', 5 * 10**9).data))
    with pytest.raises(BagError, match=r'/odom: stamp 5\.000 s'):
        cut(messages)


def test_a_clock_that_was_set_is_named_and_plays_nothing_for_ever():
    times = [*range(0, 2000, 20), *range(3_600_000, 3_601_000, 20)]
    messages = [stamped(name, BEGIN + at * MS) for at in times for name in ('/camera', '/odom')]
    with pytest.raises(BagError, match=r'nothing for 3598\.0 s, 1\.980 s after .*vla bag trim'):
        cut(messages)


def test_missing_frames_and_odometry_are_named():
    with pytest.raises(BagError, match='/camera: no frame'):
        cut([stamped('/odom', BEGIN)])
    with pytest.raises(BagError, match='/odom: no odometry'):
        cut([stamped('/camera', BEGIN)])


def test_sources_are_found_by_type_and_name():
    scaled, small = Topic('/r1/vla/image/front', IMAGE), Topic('/c/compressed', COMPRESSED)
    found = find_sources([FRAMES, scaled, small, ODOM, TEXTS, Topic('/text', STRING)])
    assert (found.frames, found.command, found.entry) == (FRAMES, TEXTS, 'camera/color/image_raw')
    assert find_sources([scaled, small, ODOM]).entry == 'vla/image/front'
    twins = [Topic('/vla/image/front/compressed', COMPRESSED), small, ODOM]
    assert find_sources(twins).frames == small
    found = find_sources([small, ODOM])
    assert (found.entry, found.command) == ('camera/color/image_raw/compressed', None)
    assert find_sources([FRAMES, scaled, ODOM], 'r1/vla/image/front').frames == scaled


def test_one_raw_frame_beside_many_compressed_ones_is_no_camera():
    few, many = Topic('/c', IMAGE, 1), Topic('/c/compressed', COMPRESSED, 1000)
    assert find_frames([few, many]) == many
    assert find_frames([few, many], 'c') == few
    assert find_frames([replace(few, count=1000), many]).type == IMAGE
    assert find_frames([replace(few, count=2000), many]).type == IMAGE


@pytest.mark.parametrize(
    ('topics', 'camera', 'said'),
    [
        ([ODOM], '', 'of a camera: found none'),
        ([FRAMES, Topic('/other', IMAGE), ODOM], '', 'name it'),
        ([FRAMES, ODOM], '/elsewhere', '/elsewhere'),
        ([FRAMES], '', 'nav_msgs/msg/Odometry'),
        ([FRAMES, Topic('/a/odometry', ODOMETRY), Topic('/b/odometry', ODOMETRY)], '', '/a/odom'),
        ([FRAMES, ODOM, TEXTS, Topic('/r/command', STRING)], '', '/r/command'),
    ],
)
def test_what_is_not_clear_is_refused(topics: list[Topic], camera: str, said: str):
    with pytest.raises(BagError, match=said):
        find_sources(topics, camera)


RECORDS = Topic('/vla/instruction', RECORD)
PICTURES = [stamped('/camera', BEGIN + at * 40 * MS) for at in range(50)]
PICTURES += [stamped('/odom', BEGIN + at * 20 * MS) for at in range(100)]


def text(at: int, said: str) -> Message:
    return Message('/command', BEGIN + at * MS, serialize_message(String(data=said)))


def record(at: int, number: int, said: str, **fields: int) -> Message:
    """A record that is heard `at` ms after the beginning; `taken`: ms, if it is older."""
    msg = Instruction(policy_run=fields.get('run', 1), id=number, text=said)
    msg.source = int(fields.get('source', Source.ACTION))
    msg.status = int(fields.get('status', Fate.RUNNING))
    msg.header.stamp = to_time(BEGIN + fields.get('taken', at) * MS)
    return Message('/vla/instruction', BEGIN + at * MS, serialize_message(msg))


def told(*messages: Message, **part: float) -> list[tuple[int, str]]:
    """Return tick and text of everything that is said again."""
    sources = Sources(FRAMES, ODOM, TEXTS, RECORDS)
    schedule = ticks(Bag([*PICTURES, *messages]), sources, **part)
    return [
        (number, deserialize_message(data, String).data)
        for number, tick in enumerate(schedule)
        for data in tick.texts
    ]


def test_a_goal_is_told_when_it_was_accepted_and_its_cancellation_stops():
    found = told(
        record(200, 1, 'go to the red box'),
        record(900, 1, 'go to the red box', status=Fate.STOPPED),
        record(900, 2, 'stop', status=Fate.IDLE),
        record(1200, 3, 'sing', status=Fate.REFUSED),
    )
    assert found == [(10, 'go to the red box'), (45, 'stop'), (60, 'sing')]


def test_a_text_on_its_topic_is_told_once_beside_the_goals():
    found = told(
        text(200, 'turn left'),
        record(201, 1, 'turn left', source=Source.TOPIC),
        record(400, 2, 'turn right'),
        record(600, 0, '', status=Fate.MALFORMED),
    )
    assert found == [(10, 'turn left'), (20, 'turn right')]


@pytest.mark.parametrize('source', Source)
@pytest.mark.parametrize(('status', 'holds'), [(Fate.RUNNING, True), (Fate.DONE, False)])
def test_what_was_followed_when_the_recording_began_holds(source, status, holds):
    found = told(record(0, 7, 'turn left', source=source, status=status, taken=-30_000))
    assert found == ([(0, 'turn left')] if holds else [])
    # The latched record again, for a subscriber that came later.
    again = record(500, 7, 'turn left', source=source, taken=-30_000)
    assert told(record(0, 7, 'x', source=source, status=status, taken=-30_000), again) == (
        [(0, 'x')] if holds else []
    )


@pytest.mark.parametrize(
    ('newest', 'holds'),
    [
        ([], True),
        ([(7, Fate.DONE)], False),
        ([(8, Fate.REFUSED)], False),
        ([(0, Fate.MALFORMED)], True),
        ([(6, Fate.REPLACED)], True),
    ],
)
def test_what_was_over_when_the_recording_began_is_not_told_again(newest, holds):
    latched = [(6, Fate.RUNNING), (7, Fate.RUNNING), *newest]
    records = [
        record(0, number, f'text {number}', status=status, taken=-30_000)
        for number, status in latched
    ]
    found = told(*records, record(600, 9, 'turn right'))
    assert found == [*([(0, 'text 7')] if holds else []), (30, 'turn right')]


def test_a_part_begins_with_the_newest_text_of_either_kind():
    messages = (text(100, 'turn left'), record(300, 2, 'turn right'), record(1500, 3, 'go'))
    assert told(*messages, start=1.0) == [(0, 'turn right'), (25, 'go')]
    assert told(*messages, start=0.2, stop=1.0) == [(0, 'turn left'), (5, 'turn right')]


def test_another_run_of_the_policy_counts_anew():
    assert told(record(200, 1, 'turn left'), record(800, 1, 'turn right', run=2)) == [
        (10, 'turn left'),
        (40, 'turn right'),
    ]


def test_a_malformed_record_is_named():
    with pytest.raises(BagError, match='/vla/instruction: message of 3 bytes'):
        told(Message('/vla/instruction', BEGIN, b'\0\1\0'))


def test_records_of_two_robots_are_not_guessed_at():
    twin = Topic('/r2/vla/instruction', RECORD)
    assert find_sources([FRAMES, ODOM, RECORDS]).records == RECORDS
    with pytest.raises(BagError, match=r'records of texts: found .*/r2/vla/instruction'):
        find_sources([FRAMES, ODOM, RECORDS, twin])
