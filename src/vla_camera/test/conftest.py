"""A camera node, and somebody to talk to it, in a context of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path
import time
from typing import Any

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from vla_camera.camera_node import CameraNode
from vla_interfaces.msg import Heartbeat
from vla_ros.domains import process_domain

DOMAIN = process_domain()
#: Patient with old stamps: a busy machine may take a second for one frame.
ROBOT = """
simulated: true
estop: none
odom: required
discovery: LOCALHOST
max_observation_age: 2.0
axes:
  linear.x: {max_speed: 0.5, max_accel: 1.0, max_decel: 1.0}
"""


class Bench:
    """One camera node between a publisher of anything and subscriptions to what comes out."""

    def __init__(self, context: Context, **parameters: Any) -> None:
        values = {'checkpoint': 'hold'} | parameters
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.camera = CameraNode(context=context, parameter_overrides=overrides)
        self.peer = Node('peer', context=context)
        self.images: list[Image] = []
        self.infos: list[CameraInfo] = []
        self.beat = Heartbeat()
        self._executor = SingleThreadedExecutor(context=context)
        for node in (self.camera, self.peer):
            self._executor.add_node(node)
        out = qos_profile_sensor_data
        self.hear(Image, 'vla/image/front', self.images.append, out)
        self.hear(CameraInfo, 'vla/image/front/camera_info', self.infos.append, out)
        self.hear(Heartbeat, 'vla/heartbeat', self._on_beat, 5)
        raw = values.get('transport', 'raw') == 'raw'
        frames = 'camera/color/image_raw' if raw else 'camera/color/image_raw/compressed'
        self._publishers = {
            'camera/color/camera_info': self.peer.create_publisher(
                CameraInfo, 'camera/color/camera_info', 10
            ),
            frames: self.peer.create_publisher(Image if raw else CompressedImage, frames, 10),
        }
        # Before a frame is stamped: discovery on a busy machine takes longer than a frame may.
        everybody = self._publishers.values()
        assert self.until(lambda: all(one.get_subscription_count() for one in everybody))

    def hear(self, kind: type, topic: str, callback: Callable[[Any], None], profile: Any) -> None:
        self.peer.create_subscription(kind, topic, callback, profile)

    def say(self, topic: str, msg: Any) -> None:
        """Publish to the camera."""
        self._publishers[topic].publish(msg)

    def until(self, condition: Callable[[], bool], timeout: float = 10.0) -> bool:
        """Spin until the condition holds; return whether it came to hold in time."""
        end = time.monotonic() + timeout
        while not condition() and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)
        return condition()

    def refused(self, topic: str, msg: Any) -> Heartbeat:
        """Publish what must be dropped; return the heartbeat that counted it."""
        before = self.beat.errors_total
        self.say(topic, msg)
        assert self.until(lambda: self.beat.errors_total > before), (before, self.beat.detail)
        return self.beat

    def close(self) -> None:
        self._executor.shutdown()
        self.camera.destroy_node()
        self.peer.destroy_node()

    def _on_beat(self, msg: Heartbeat) -> None:
        if msg.node == 'camera':
            self.beat = msg


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Make benches on a domain of their own, heard by nobody outside this machine."""
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    robot = tmp_path / 'robot.yaml'
    robot.write_text(ROBOT)
    context = Context()
    rclpy.init(args=[], context=context, domain_id=DOMAIN)
    made: list[Bench] = []

    def make(**parameters: Any) -> Bench:
        made.append(Bench(context, **({'robot': str(robot)} | parameters)))
        return made[-1]

    yield make
    for one in made:
        one.close()
    rclpy.try_shutdown(context=context)
