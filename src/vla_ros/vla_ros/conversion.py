"""Messages to values of vla_core and back; everything foreign is checked on the way in."""

import array
import math

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, Twist
import numpy as np

from vla_core.errors import ActionRejected
from vla_core.types import ActionChunk, Representation, Status
from vla_interfaces.msg import ActionChunk as ActionChunkMsg

#: Largest horizon x width that is even looked at: far above any policy, far below a flood.
MAX_CHUNK_NUMBERS = 4096
AXES = ('linear.x', 'linear.y', 'linear.z', 'angular.x', 'angular.y', 'angular.z')


def to_ns(stamp: Time) -> int:
    """Return a stamp as whole nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def to_time(stamp_ns: int) -> Time:
    """Return whole nanoseconds as a stamp."""
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def chunk_to_msg(chunk: ActionChunk) -> ActionChunkMsg:
    """Return the message of a chunk."""
    msg = ActionChunkMsg(
        observation_stamp=to_time(chunk.observation_stamp_ns),
        step_dt=chunk.step_dt,
        sequence=chunk.sequence,
        horizon=chunk.horizon,
        names=list(chunk.names),
        units=list(chunk.units),
        representation=int(chunk.representation),
        data=array.array('d', np.ascontiguousarray(chunk.data, dtype=np.float64).tobytes()),
        status=int(chunk.status),
        policy_run=chunk.policy_run,
        instruction_id=chunk.instruction_id,
        model_id=chunk.model_id,
        model_sha256=chunk.model_sha256,
        inference_seconds=chunk.inference_seconds,
    )
    if chunk.predicted is not None:
        predicted = np.ascontiguousarray(chunk.predicted, dtype=np.float64)
        msg.predicted = array.array('d', predicted.tobytes())
    msg.header.stamp = to_time(chunk.stamp_ns)
    msg.header.frame_id = chunk.frame_id
    return msg


def chunk_from_msg(msg: ActionChunkMsg) -> ActionChunk:
    """Return the chunk of a message, without `predicted`: no gate plays it.

    Raises:
        ActionRejected: if lengths disagree, an enumeration is unknown, or a number is not finite.
    """
    width = len(msg.names)
    if len(msg.data) > MAX_CHUNK_NUMBERS:
        raise ActionRejected(
            f'chunk of {len(msg.data)} numbers: expected at most {MAX_CHUNK_NUMBERS}'
        )
    if msg.horizon < 1 or len(msg.data) != msg.horizon * width:
        raise ActionRejected(
            f'chunk of {len(msg.data)} numbers, horizon {msg.horizon}, {width} names: '
            'expected horizon x names, at least one'
        )
    try:
        status, representation = Status(msg.status), Representation(msg.representation)
    except ValueError as error:
        raise ActionRejected(f'chunk: {error}: expected a known number') from error
    return ActionChunk(
        stamp_ns=to_ns(msg.header.stamp),
        observation_stamp_ns=to_ns(msg.observation_stamp),
        step_dt=msg.step_dt,
        sequence=msg.sequence,
        names=tuple(msg.names),
        units=tuple(msg.units),
        data=np.array(msg.data, dtype=np.float64).reshape(msg.horizon, width),
        status=status,
        policy_run=msg.policy_run,
        instruction_id=msg.instruction_id,
        representation=representation,
        frame_id=msg.header.frame_id,
        model_id=msg.model_id,
        model_sha256=msg.model_sha256,
        inference_seconds=msg.inference_seconds,
    )


def answer_from_msg(msg: ActionChunkMsg) -> np.ndarray | None:
    """Return what the policy answered, float64 [steps, D]; None: it was not asked.

    Raises:
        ActionRejected: if it is no whole number of steps, too long, or not finite.
    """
    count, width = len(msg.predicted), len(msg.names)
    if not count:
        return None
    if not width or count % width or count > MAX_CHUNK_NUMBERS:
        raise ActionRejected(
            f'predicted has {count} numbers: expected a multiple of {width}, the names, and at '
            f'most {MAX_CHUNK_NUMBERS}'
        )
    answer = np.array(msg.predicted, dtype=np.float64).reshape(-1, width)
    if not np.isfinite(answer).all():
        raise ActionRejected('predicted has numbers that are not finite: expected finite ones')
    return answer


def twist_to_msg(velocity: tuple[float, ...]) -> Twist:
    """Return six velocities (linear x y z m/s, angular x y z rad/s) as a Twist."""
    msg = Twist()
    msg.linear.x, msg.linear.y, msg.linear.z = velocity[:3]
    msg.angular.x, msg.angular.y, msg.angular.z = velocity[3:]
    return msg


def twist_from_msg(msg: Twist) -> tuple[float, float, float, float, float, float]:
    """Return the six velocities of a Twist, unchecked: the receiver judges finiteness."""
    linear, angular = msg.linear, msg.angular
    return linear.x, linear.y, linear.z, angular.x, angular.y, angular.z


def pose_from_msg(msg: Pose) -> tuple[float, float, float]:
    """Return x, y (m) and yaw (rad); NaN for the yaw of a quaternion that is no rotation."""
    q = msg.orientation
    norm = math.hypot(q.w, q.x, q.y, q.z)
    # Many bases leave it at zero; rounding keeps a real one well within this.
    if not abs(norm - 1.0) < 0.1:
        return msg.position.x, msg.position.y, math.nan
    yaw = math.atan2(2.0 * (q.w * q.z + q.x * q.y), 1.0 - 2.0 * (q.y * q.y + q.z * q.z))
    return msg.position.x, msg.position.y, yaw
