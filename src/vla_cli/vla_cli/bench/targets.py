"""Every type that a node subscribes to, where it is heard, and a message to begin with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import math
import random
from typing import Any

from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan
from std_msgs.msg import Bool, String

from vla_interfaces.msg import (
    ActionChunk,
    Decision,
    Heartbeat,
    Instruction,
    SafetyEvent,
    StopRequest,
)
from vla_ros import qos


@dataclass(frozen=True)
class Target:
    """One subscribed type.

    Attributes:
        kind: of message.
        topic: where it is heard.
        template: a message to spoil until one is heard on the topic.
        profile: of the publisher.
        rate: messages per second that its nodes can take.
        name: of its row; the type's by default.
    """

    kind: type
    topic: str
    template: Callable[[], Any] | None = None
    profile: Any = 10
    rate: float = 100.0
    name: str = ''

    def message(self) -> Any:
        """Return what is spoiled while nothing is heard."""
        return self.template() if self.template else self.kind()


def _twist() -> Twist:
    twist = Twist()
    twist.linear.x = 0.1
    return twist


def round_wall() -> LaserScan:
    """A scan of a round wall, never twice the same."""
    rays = 360
    step = 2.0 * math.pi / rays
    msg = LaserScan(
        angle_max=step * (rays - 1),
        angle_increment=step,
        range_min=0.1,
        range_max=10.0,
        ranges=[2.0 + random.uniform(0.0, 0.01) for _ in range(rays)],
    )
    msg.header.frame_id = 'scanner'
    return msg


TARGETS = (
    # Between two true ones: five bad ones in a row latch.
    Target(ActionChunk, 'vla/action_chunk', rate=25.0),
    Target(Heartbeat, 'vla/heartbeat'),
    Target(Instruction, 'vla/instruction', profile=qos.INSTRUCTION),
    Target(String, 'command', lambda: String(data='turn left')),
    Target(Odometry, 'odom'),
    Target(LaserScan, 'scan', round_wall),
    Target(Twist, 'cmd_vel_human', _twist),
    Target(Bool, 'safety/estop', lambda: Bool(data=True)),
    Target(StopRequest, 'safety/request'),
    Target(Image, 'camera/color/image_raw', rate=30.0),
    Target(Image, 'vla/image/front', rate=50.0, name='Image_for_policy'),
    Target(CameraInfo, 'camera/color/camera_info'),
    Target(Decision, 'safety/decision'),
    Target(SafetyEvent, 'safety/events'),
)
#: Heard by a camera with another transport, so in a graph of its own, in which nothing drives.
COMPRESSED = Target(
    CompressedImage,
    'camera/color/image_raw/compressed',
    lambda: CompressedImage(format='jpeg', data=bytes.fromhex('ffd8ffe000104a464946')),
)


def stamped(msg: Any, node: Node) -> Any:
    """Stamp a message, if it has a stamp, so that it is not refused for its age alone."""
    now = node.get_clock().now().to_msg()
    if hasattr(msg, 'header'):
        msg.header.stamp = now
    if hasattr(msg, 'observation_stamp'):
        msg.observation_stamp = now
    return msg
