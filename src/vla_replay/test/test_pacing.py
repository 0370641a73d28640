"""When a recording's messages go out."""

from __future__ import annotations

import itertools
import struct

from hypothesis import given
from hypothesis import strategies as st
import pytest

from vla_replay.bag.topics import Message, Topic
from vla_replay.bag.types import Types
from vla_replay.errors import BagError
from vla_replay.pacing import chosen, fresh, has_header, pace
from vla_replay.stamps import stamp_of

MS = 10**6
BEGIN = 1_700_000_000 * 10**9


def message(at: int, delay: int = 0) -> Message:
    body = struct.pack('<iI', *divmod(BEGIN + (at - delay) * MS, 10**9))
    return Message('/camera', BEGIN + at * MS, b'\x00\x01\x00\x00' + body)


@given(times=st.lists(st.integers(0, 10_000), min_size=1, max_size=30), rate=st.floats(0.1, 50.0))
def test_distances_are_the_recorded_ones_at_another_rate(times: list[int], rate: float):
    times.sort()
    dues = list(pace(lambda: [message(at) for at in times], rate))
    assert dues[0].at == 0.0
    for due, at in zip(dues, times, strict=True):
        assert due.at == pytest.approx((at - times[0]) / 1e3 / rate, abs=1e-9)


def test_rounds_follow_each_other_without_a_pause_or_an_overlap():
    bag = [message(at) for at in (0, 40, 80)]
    found = [due.at for due in itertools.islice(pace(lambda: bag, 2.0, None), 9)]
    assert found == pytest.approx([0.02 * number for number in range(9)])
    assert list(pace(list, 1.0, None)) == []


@given(at=st.integers(0, 10_000), delay=st.integers(0, 500), rate=st.floats(0.1, 50.0))
def test_a_fresh_stamp_keeps_its_distance_from_the_recording(at: int, delay: int, rate: float):
    *_, due = pace(lambda: [message(0), message(at, delay)], rate)
    now = BEGIN + 10**15
    stamp = stamp_of(fresh(due, now, rate))
    # Since 1970 a float no longer knows single nanoseconds.
    assert stamp - now == pytest.approx((at - delay) * MS / rate, abs=2)


@pytest.mark.parametrize(
    ('kind', 'expected'),
    [
        ('sensor_msgs/msg/Image', True),
        ('nav_msgs/msg/Odometry', True),
        ('sensor_msgs/msg/CompressedImage', True),
        ('vla_interfaces/msg/ActionChunk', True),
        ('std_msgs/msg/String', False),
        ('geometry_msgs/msg/Twist', False),
        ('tf2_msgs/msg/TFMessage', False),
        ('rosgraph_msgs/msg/Clock', False),
    ],
)
def test_messages_with_a_header_are_known_by_their_definition(kind: str, expected: bool):
    assert has_header(Topic('/x', kind, definition=Types().definition(kind))) is expected


def test_what_nodes_publish_is_not_played_unless_it_is_named():
    names = ['/odom', '/camera/color/image_raw', '/command', '/safety/estop', '/cmd_vel_human']
    own = ['/cmd_vel', '/r1/cmd_vel', '/vla/action_chunk', '/vla/image/front', '/rosout']
    own += ['/safety/decision', '/safety/state', '/clock', '/diagnostics', '/sim/truth']
    topics = {name: Topic(name, 'std_msgs/msg/String') for name in (*names, *own)}
    assert set(chosen(topics, ())) == set(names)
    assert set(chosen(topics, ('vla/image/front',))) == {'/vla/image/front'}
    with pytest.raises(BagError, match='/nothing'):
        chosen(topics, ('nothing',))
    with pytest.raises(BagError, match='nothing to play'):
        chosen({name: topics[name] for name in own}, ())
