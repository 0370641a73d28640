"""A camera node, and somebody to talk to it, in a context of their own."""

from collections.abc import Callable, Iterator
import time
from typing import Any

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

from vla_camera.camera_node import CameraNode
from vla_interfaces.msg import Heartbeat

DOMAIN = 46


class Bench:
    """One camera node between a publisher of anything and subscriptions to what comes out."""

    def __init__(self, context: Context, **parameters: Any) -> None:
        self._context = context
        values = {'checkpoint': 'hold', 'robot': 'sim'} | parameters
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
        self._publishers: dict[str, Any] = {}

    def hear(self, kind: type, topic: str, callback: Callable[[Any], None], profile: Any) -> None:
        self.peer.create_subscription(kind, topic, callback, profile)

    def say(self, topic: str, msg: Any) -> None:
        """Publish once the camera listens."""
        if topic not in self._publishers:
            self._publishers[topic] = self.peer.create_publisher(type(msg), topic, 10)
        publisher = self._publishers[topic]
        assert self.until(lambda: publisher.get_subscription_count() > 0), f'nobody hears {topic}'
        publisher.publish(msg)

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
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    """Make benches on a domain of their own, heard by nobody outside this machine."""
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    context = Context()
    rclpy.init(args=[], context=context, domain_id=DOMAIN)
    made: list[Bench] = []

    def make(**parameters: Any) -> Bench:
        made.append(Bench(context, **parameters))
        return made[-1]

    yield make
    for one in made:
        one.close()
    rclpy.try_shutdown(context=context)
