"""Whatever a message holds: it is converted, or rejected by an error of ours.

FUZZ=100000 in the environment tries harder than `make test` does.
"""

import array
import os

from hypothesis import example, given, settings
from hypothesis import strategies as st
import numpy as np

from vla_core.errors import ActionRejected
from vla_core.types import NATIVE_AXES, NATIVE_UNITS
from vla_interfaces.msg import ActionChunk
from vla_ros.conversion import chunk_from_msg, MAX_CHUNK_NUMBERS, to_ns, to_time

FUZZ = settings(max_examples=int(os.environ.get('FUZZ', '100')))
FLOATS = st.floats(allow_subnormal=True)
NAMES = st.lists(st.sampled_from(NATIVE_AXES) | st.text(max_size=5), max_size=9)
STAMPS = st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**32 - 1))


@st.composite
def messages(draw) -> ActionChunk:
    """Mostly almost right: the interesting mistakes are single ones."""
    msg = ActionChunk(
        step_dt=0.1,
        horizon=2,
        sequence=draw(st.integers(0, 2**64 - 1)),
        names=list(NATIVE_AXES),
        units=list(NATIVE_UNITS),
        data=array.array('d', draw(st.lists(FLOATS, min_size=14, max_size=14))),
        status=1,
        policy_run=draw(st.integers(0, 2**64 - 1)),
    )
    for name, values in draw(
        st.fixed_dictionaries(
            {},
            optional={
                'step_dt': FLOATS,
                'horizon': st.integers(0, 2**16 - 1),
                'names': NAMES,
                'units': NAMES,
                'data': st.lists(FLOATS, max_size=30).map(lambda data: array.array('d', data)),
                'status': st.integers(0, 255),
                'representation': st.integers(0, 255),
                'inference_seconds': FLOATS,
                'model_id': st.text(max_size=5),
            },
        )
    ).items():
        setattr(msg, name, values)
    for stamp in (msg.header.stamp, msg.observation_stamp):
        stamp.sec, stamp.nanosec = draw(STAMPS)
    return msg


@FUZZ
@given(msg=messages())
@example(msg=ActionChunk())
@example(msg=ActionChunk(horizon=65535))
@example(msg=ActionChunk(horizon=1, names=['a'] * 9, data=array.array('d', [0.0] * 9)))
@example(msg=ActionChunk(data=array.array('d', bytes(8 * (MAX_CHUNK_NUMBERS + 1)))))
def test_any_chunk_is_sound_or_rejected(msg):
    try:
        chunk = chunk_from_msg(msg)
    except ActionRejected as error:
        reason = str(error)
    else:
        assert chunk.data.shape == (msg.horizon, len(msg.names))
        assert np.isfinite(chunk.data).all()
        assert 0.001 <= chunk.step_dt <= 10.0
        return
    assert 0 < len(reason) < 2000


@FUZZ
@given(stamp=STAMPS)
def test_any_stamp_is_a_whole_number(stamp):
    sec, nanosec = stamp
    time = to_time(0)
    time.sec, time.nanosec = sec, nanosec
    ns = to_ns(time)
    assert ns == sec * 10**9 + nanosec
    if -(2**31) <= ns // 10**9 < 2**31:
        assert to_ns(to_time(ns)) == ns
