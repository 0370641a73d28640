"""What the policy node publishes, as messages."""

import hashlib
from typing import Any

from rclpy.lifecycle import LifecycleNode

from vla_core.session import Record
from vla_core.types import ActionChunk, PolicySpec
from vla_core.worker import Activity as WorkerActivity
from vla_inference.pilot import Pilot
from vla_interfaces.msg import ActionChunk as ActionChunkMsg
from vla_interfaces.msg import Instruction
from vla_ros import qos
from vla_ros.clock import ProcessClock
from vla_ros.conversion import chunk_to_msg, to_time
from vla_ros.heartbeat import Activity, RUN, Vitals


class Outbox:
    """Sink of a pilot (vla_inference.pilot.Sink)."""

    def __init__(self, node: LifecycleNode, time: ProcessClock) -> None:
        """Offer `vla/instruction` on `node`; `open` offers the chunks."""
        self._node = node
        self._time = time
        # Not managed: what becomes of a text is told in every state of the life cycle.
        self._records = node.create_publisher(Instruction, 'vla/instruction', qos.INSTRUCTION)
        self._chunks: Any = None

    def open(self, spec: PolicySpec, longest_age: float) -> None:
        """Offer `vla/action_chunk`; robot and policy say up to which age (s) a chunk is of use."""
        validity = min(spec.max_observation_age, longest_age)
        self._chunks = self._node.create_lifecycle_publisher(
            ActionChunkMsg, 'vla/action_chunk', qos.chunk(self._time.lockstep, validity)
        )

    def close(self) -> None:
        """Withdraw `vla/action_chunk`."""
        self._node.destroy_lifecycle_publisher(self._chunks)

    def record(self, record: Record) -> None:
        """Publish what became of a text."""
        msg = Instruction(
            source_stamp=record.source_stamp,
            policy_run=RUN,
            id=record.id,
            text=record.text,
            source=int(record.source),
            status=int(record.fate),
            reason=record.reason,
        )
        msg.header.stamp = to_time(self._time.stamp_ns())
        self._records.publish(msg)
        # Who reads logs learns which text it was only if he knows the text.
        digest = hashlib.sha256(record.text.encode(errors='replace')).hexdigest()[:12]
        self._node.get_logger().info(f'instruction {record.id} {record.fate.name} sha256 {digest}')

    def chunk(self, chunk: ActionChunk) -> None:
        """Publish actions."""
        self._chunks.publish(chunk_to_msg(chunk))

    def report(self, text: str, severe: bool) -> None:
        """Log a failure."""
        if severe:
            self._node.get_logger().error(text)
        else:
            self._node.get_logger().warning(text, throttle_duration_sec=5.0)


def vitals(pilot: Pilot) -> Vitals:
    """Return what the heartbeat says: the worker's own state, not that of this thread."""
    activity, engaged, age = pilot.state()
    state = Activity.WAITING if engaged else Activity.IDLE
    if activity is WorkerActivity.BUSY:
        state = Activity.BUSY
    tally = pilot.tally
    return Vitals(
        state=state,
        state_age=age,
        progress=pilot.progress,
        errors_total=tally.total,
        consecutive_errors=tally.consecutive,
        detail=tally.detail,
        warning=pilot.warning,
    )
