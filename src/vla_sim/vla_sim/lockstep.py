"""The simulator of a graph that runs in lock-step (vla_ros.lockstep)."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, Image

from vla_interfaces.msg import Decision
from vla_ros import qos
from vla_ros.lockstep import LockstepClock, TICK
from vla_sim import messages
from vla_sim.arena import Arena
from vla_sim.layout import Layout

#: The camera runs at 25 Hz.
TICKS_PER_FRAME = 2


class LockstepDriver(LockstepClock):
    """Simulator and clock of one graph whose processes run with `clock: lockstep`.

    Attributes:
        arena: what is simulated.
    """

    def __init__(self, arena: Arena, domain_id: int | None = None) -> None:
        """Join the graph's domain.

        Args:
            arena: what is simulated; the caller keeps it, and with it the ground truth.
            domain_id: of the graph; None: that of the environment.
        """
        super().__init__('sim', {'camera/color/image_raw': 1}, domain_id)
        self.arena = arena
        node = self.node
        self._odometry = node.create_publisher(Odometry, 'odom', qos.EVERY)
        self._images = node.create_publisher(Image, 'camera/color/image_raw', qos.EVERY)
        self._infos = node.create_publisher(CameraInfo, 'camera/color/camera_info', qos.EVERY)

    def reset(self, layout: Layout, start: tuple[float, float, float] | None = None) -> None:
        """Put the robot into a layout, at rest at its start or at another pose; time goes on."""
        self.arena.reset(layout)
        if start is not None:
            self.arena.place(*start)

    def tick(self, count: int = 1) -> Decision:
        """Let ticks pass; return the decision on the last one.

        Raises:
            LockstepError: if a hop is silent for 5 s of wall time.
        """
        for _ in range(count):
            twist = self.step(self._sense).published
            self.arena.command(twist.linear.x, twist.angular.z)
            self.arena.advance(TICK)
        return self.decision

    def _sense(self, stamp: Time) -> bool:
        self._odometry.publish(messages.odometry(self.arena, stamp))
        if self.tick_number % TICKS_PER_FRAME:
            return False
        self._infos.publish(messages.camera_info(stamp))
        self._images.publish(messages.image(self.arena.render(), stamp))
        return True
