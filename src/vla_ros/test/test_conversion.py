"""Chunks survive the trip to the bit; malformed messages are refused."""

import array
from dataclasses import replace
import math

from geometry_msgs.msg import Pose, Quaternion
from hypothesis import example, given
from hypothesis import strategies as st
import numpy as np
import pytest

from vla_core.errors import ActionRejected
from vla_core.types import ActionChunk, Representation, Status
from vla_ros.conversion import (
    answer_from_msg,
    chunk_from_msg,
    chunk_to_msg,
    pose_from_msg,
    to_ns,
    to_time,
    twist_from_msg,
    twist_to_msg,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def _chunk(data):
    return ActionChunk(
        stamp_ns=1_790_000_000_123_456_789,
        observation_stamp_ns=1_790_000_000_123_456_788,
        step_dt=0.1,
        sequence=7,
        names=('linear.x', 'angular.z'),
        units=('m/s', 'rad/s'),
        data=data,
        status=Status.RUNNING,
        policy_run=2**63 + 5,
        instruction_id=3,
        representation=Representation.DELTA,
        frame_id='tool',
        model_id='demo',
        model_sha256='ab',
        inference_seconds=0.004,
    )


@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=20))
def test_chunk_round_trip_is_exact(rows):
    """Nothing changes on the way."""
    chunk = _chunk(np.array(rows, dtype=np.float64))
    back = chunk_from_msg(chunk_to_msg(chunk))
    assert back.data.tobytes() == chunk.data.tobytes()
    assert vars(back) | {'data': None} == vars(chunk) | {'data': None}


@pytest.mark.parametrize(
    'change',
    [
        {'horizon': 0},
        {'horizon': 3},
        {'names': ['linear.x']},
        {'names': []},
        {'units': ['m/s']},
        {'names': ['linear.x', 'linear.x']},
        {'data': array.array('d', [math.nan] * 4)},
        {'data': array.array('d', [math.inf, 0.0, 0.0, 0.0])},
        {'data': array.array('d')},
        {'data': array.array('d', [0.0] * 100_000), 'horizon': 50_000},
        {'status': 99},
        {'representation': 99},
        {'step_dt': 0.0},
        {'step_dt': math.nan},
    ],
    ids=','.join,
)
def test_malformed_message_is_refused(change):
    """Every rule of the wire has its own error."""
    msg = chunk_to_msg(_chunk(np.zeros((2, 2))))
    for name, value in change.items():
        setattr(msg, name, value)
    with pytest.raises(ActionRejected):
        chunk_from_msg(msg)


def test_answer_of_the_policy_is_read_apart():
    chunk = _chunk(np.zeros((3, 2)))
    assert answer_from_msg(chunk_to_msg(chunk)) is None
    answer = np.array([[0.1, -0.2], [0.3, 0.4]])
    np.testing.assert_array_equal(
        answer_from_msg(chunk_to_msg(replace(chunk, predicted=answer))), answer
    )


@pytest.mark.parametrize(
    ('numbers', 'text'),
    [([0.0] * 3, 'multiple of 2'), ([0.0, math.nan], 'not finite'), ([0.0] * 200_002, 'at most')],
)
def test_malformed_answer_is_refused(numbers, text):
    msg = chunk_to_msg(_chunk(np.zeros((3, 2))))
    msg.predicted = array.array('d', numbers)
    with pytest.raises(ActionRejected, match=text):
        answer_from_msg(msg)


@given(st.integers(min_value=0, max_value=2**31 * 10**9 - 1))
def test_stamps_are_exact(stamp_ns):
    """A stamp names a frame, so no nanosecond may be lost."""
    assert to_ns(to_time(stamp_ns)) == stamp_ns


def test_twist_round_trip():
    """Six velocities keep their places."""
    velocity = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    assert twist_from_msg(twist_to_msg(velocity)) == velocity


@given(yaw=st.floats(-3.14, 3.14), roll=st.floats(-1.5, 1.5))
@example(yaw=0.7, roll=0.4)
def test_pose_has_the_yaw_of_its_quaternion(yaw, roll):
    pose = Pose()
    pose.orientation = Quaternion(
        w=math.cos(yaw / 2.0) * math.cos(roll / 2.0),
        x=math.cos(yaw / 2.0) * math.sin(roll / 2.0),
        y=math.sin(yaw / 2.0) * math.sin(roll / 2.0),
        z=math.sin(yaw / 2.0) * math.cos(roll / 2.0),
    )
    pose.position.x, pose.position.y = 1.0, -2.0
    assert pose_from_msg(pose) == pytest.approx((1.0, -2.0, yaw), abs=1e-9)


@pytest.mark.parametrize('w', [0.0, 0.8, 1.2, math.nan, math.inf])
def test_quaternion_that_is_no_rotation_has_no_yaw(w):
    x, y, yaw = pose_from_msg(Pose(orientation=Quaternion(w=w)))
    assert (x, y) == (0.0, 0.0)
    assert math.isnan(yaw)
