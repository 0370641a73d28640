"""The 20 Hz sign of life of every node."""

from collections.abc import Callable
from dataclasses import dataclass
import enum
import time

from rclpy.node import Node

from vla_interfaces.msg import Heartbeat
from vla_ros import qos
from vla_ros.clock import STEADY

PERIOD = 0.05
#: Names this run of this process (`policy_run`).
RUN = time.time_ns()


class Activity(enum.IntEnum):
    """What a node is doing; the numbers of Heartbeat.STATE_*."""

    IDLE = 0
    WAITING = 1
    BUSY = 2


@dataclass(frozen=True)
class Vitals:
    """What a heartbeat says beyond "I live"; spans in seconds on the node's monotonic clock."""

    state: Activity = Activity.WAITING
    state_age: float = 0.0
    progress: int = 0
    errors_total: int = 0
    consecutive_errors: int = 0
    unchanged_age: float = 0.0
    detail: str = ''
    warning: str = ''


class HeartbeatPublisher:
    """Publishes `vla/heartbeat` by a steady timer, whatever /clock does."""

    def __init__(
        self, node: Node, name: str, vitals: Callable[[], Vitals], slot: str = ''
    ) -> None:
        """Ask `vitals` for the content of every beat; it must return at once."""
        self._node = node
        self._name = name
        self._slot = slot
        self._vitals = vitals
        self._publisher = node.create_publisher(Heartbeat, 'vla/heartbeat', qos.HEARTBEAT)
        self._timer = node.create_timer(PERIOD, self.beat, clock=STEADY)

    def beat(self) -> None:
        """Publish one heartbeat now."""
        vitals = self._vitals()
        msg = Heartbeat(
            node=self._name,
            slot=self._slot,
            policy_run=RUN,
            state=int(vitals.state),
            state_age=vitals.state_age,
            progress=vitals.progress,
            errors_total=vitals.errors_total,
            consecutive_errors=vitals.consecutive_errors,
            unchanged_age=vitals.unchanged_age,
            detail=vitals.detail[:200],
            warning=vitals.warning[:200],
        )
        msg.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(msg)
