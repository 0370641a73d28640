"""Stamps of serialised messages."""

from hypothesis import given
from hypothesis import strategies as st
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage

from vla_replay.errors import BagError
from vla_replay.stamps import restamped, stamp_of
from vla_ros.conversion import to_ns, to_time

STAMPS = st.integers(0, (1 << 31) * 10**9 - 1)


def message(stamp_ns: int) -> CompressedImage:
    msg = CompressedImage(format='jpeg', data=bytes(range(200)))
    msg.header.stamp, msg.header.frame_id = to_time(stamp_ns), 'camera'
    return msg


@given(before=STAMPS, after=STAMPS)
def test_only_the_stamp_changes(before: int, after: int):
    data = serialize_message(message(before))
    assert stamp_of(data) == before
    changed = deserialize_message(restamped(data, after), CompressedImage)
    assert to_ns(changed.header.stamp) == after
    changed.header.stamp = to_time(before)
    assert changed == message(before)


@pytest.mark.parametrize('stamp_ns', [-(1 << 31) * 10**9 - 1, (1 << 31) * 10**9])
def test_a_stamp_that_no_message_holds_is_named(stamp_ns: int):
    with pytest.raises(BagError, match='s: expected seconds that fit into 32 bits'):
        restamped(serialize_message(message(0)), stamp_ns)


def test_big_endian_is_read_as_such():
    data = b'\x00\x00\x00\x00' + (5).to_bytes(4, 'big') + (7).to_bytes(4, 'big') + b'rest'
    assert stamp_of(data) == 5_000_000_007
    assert stamp_of(restamped(data, 9_000_000_001)) == 9_000_000_001
    assert restamped(data, 9_000_000_001).endswith(b'rest')


@pytest.mark.parametrize(
    'data', [b'', b'\x00\x01\x00\x00', b'\x00\x07' + bytes(20), b'{"a": 1}' * 4]
)
def test_what_is_no_message_is_refused(data: bytes):
    with pytest.raises(BagError, match='expected CDR with a header'):
        stamp_of(data)
