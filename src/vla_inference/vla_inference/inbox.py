"""What the policy node hears, handed to the pilot."""

from collections.abc import Callable
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import Image
from std_msgs.msg import String

from vla_core.image import decode_raw
from vla_core.session import Source
from vla_core.types import PolicySpec
from vla_inference.pilot import Pilot
from vla_ros import qos
from vla_ros.conversion import to_ns

Guard = Callable[[Callable[..., Any]], Callable[..., Any]]


class Inbox:
    """Texts and odometry from the start, images while a policy is configured."""

    def __init__(self, node: LifecycleNode, pilot: Pilot, lockstep: bool, guard: Guard) -> None:
        """Listen to `command` and `odom`; every callback goes through `guard`."""
        self._node = node
        self._pilot = pilot
        self._lockstep = lockstep
        self._guard = guard
        self._images: list[Any] = []
        node.create_subscription(String, 'command', guard(self._on_text), qos.COMMAND)
        node.create_subscription(Odometry, 'odom', guard(self._on_odometry), qos.odom(lockstep))

    def open(self, spec: PolicySpec) -> None:
        """Listen to every camera slot that the policy asks for."""
        for slot in spec.cameras:
            self._images.append(
                self._node.create_subscription(
                    Image,
                    f'vla/image/{slot.name}',
                    self._guard(self._image_taker(slot.name)),
                    qos.image(self._lockstep),
                )
            )

    def close(self) -> None:
        """Listen to no camera any more."""
        while self._images:
            self._node.destroy_subscription(self._images.pop())

    def _on_text(self, msg: String, info: dict[str, int]) -> None:
        self._pilot.hear(msg.data, Source.TOPIC, info['source_timestamp'])

    def _on_odometry(self, msg: Odometry) -> None:
        twist = msg.twist.twist
        self._pilot.odometry(to_ns(msg.header.stamp), twist.linear.x, twist.angular.z)

    def _image_taker(self, slot: str) -> Callable[[Image], None]:
        def take(msg: Image) -> None:
            pixels = decode_raw(msg.data, msg.encoding, msg.width, msg.height, msg.step)
            self._pilot.image(slot, pixels, to_ns(msg.header.stamp))

        return take
