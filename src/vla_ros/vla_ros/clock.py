"""The one clock object of a process (docs/explanation/way-of-a-frame.md)."""

from collections.abc import Callable
import time

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMsg

from vla_core.errors import ConfigError
from vla_ros import qos
from vla_ros.conversion import to_ns
from vla_ros.parameters import check_clock

#: What the parameter `clock` may be.
KINDS = ('steady', 'lockstep')
#: Of every timer that must run while /clock stands still.
STEADY = Clock(clock_type=ClockType.STEADY_TIME)


class ProcessClock:
    """Tells the time in which ages are judged, and the ROS time of stamps.

    `steady`: ages by the monotonic clock; stamps by the node's ROS clock.
    `lockstep`: both are the simulated time of the newest tick.
    """

    def __init__(
        self, node: Node, kind: str, on_tick: Callable[[int], None] | None = None
    ) -> None:
        """Follow the clock of `kind`; in lock-step call `on_tick(stamp_ns)` for every /clock.

        Raises:
            ConfigError: if `kind` is unknown, or lock-step comes without use_sim_time.
        """
        if kind not in KINDS:
            raise ConfigError(f'clock {kind!r}: expected one of {KINDS}')
        check_clock(node, kind)
        self.lockstep = kind == 'lockstep'
        self._node = node
        self._tick_ns = 0
        self._on_tick = on_tick
        if self.lockstep:
            node.create_subscription(ClockMsg, '/clock', self._tick, qos.EVERY)

    def now(self) -> float:
        """Return s on the clock that judges ages."""
        return self._tick_ns * 1e-9 if self.lockstep else time.monotonic()

    def stamp_ns(self) -> int:
        """Return ROS time, ns."""
        if self.lockstep:
            return self._tick_ns
        stamp: int = self._node.get_clock().now().nanoseconds
        return stamp

    def stamp_age(self, stamp_ns: int) -> float:
        """Return s since a stamp; negative for a stamp in the future."""
        return (self.stamp_ns() - stamp_ns) * 1e-9

    def _tick(self, msg: ClockMsg) -> None:
        self._tick_ns = to_ns(msg.clock)
        if self._on_tick is not None:
            self._on_tick(self._tick_ns)
