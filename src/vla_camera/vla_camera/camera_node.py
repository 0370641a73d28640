"""Camera node: the driver's frames at the size and mode that the checkpoint asks for."""

import array
from collections.abc import Callable
from copy import copy
import math
import sys
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from vla_camera.calibration import read_calibration, scaled_info
from vla_camera.contract import find_robot, find_slot
from vla_camera.decoding import choose_decoder
from vla_core.camera import CameraConfig, check_frame_id, FrameGate
from vla_core.errors import ConfigError, ObservationError
from vla_core.image import decode_compressed
from vla_ros import qos
from vla_ros.clock import ProcessClock
from vla_ros.conversion import to_ns
from vla_ros.guard import guarded
from vla_ros.heartbeat import HeartbeatPublisher, Vitals
from vla_ros.parameters import declare
from vla_ros.running import events_executor, run


class CameraNode(Node):
    """Convert, resize and pass on every usable frame; drop and count the others."""

    def __init__(self, **options: Any) -> None:
        """Read the slot from the checkpoint and connect."""
        super().__init__('camera', **options)
        self._config = declare(self, CameraConfig)
        self._time = ProcessClock(self, self._config.clock)
        self._slot = find_slot(self._config)
        robot = find_robot(self._config)
        self._frames = FrameGate(self._config, self._slot, robot.max_observation_age)
        self._decode = choose_decoder()
        self._calibration: CameraInfo | None = None
        topic = f'vla/image/{self._slot.name}'
        frame_qos = qos.image(self._time.lockstep)
        self._images = self.create_publisher(Image, topic, frame_qos)
        self._infos = self.create_publisher(CameraInfo, f'{topic}/camera_info', frame_qos)
        self._heartbeat = HeartbeatPublisher(self, 'camera', self._vitals, self._slot.name)
        if self._config.transport == 'raw':
            self._listen(Image, 'camera/color/image_raw', self._on_image, frame_qos)
        else:
            name = 'camera/color/image_raw/compressed'
            self._listen(CompressedImage, name, self._on_compressed, frame_qos)
        self._listen(CameraInfo, 'camera/color/camera_info', self._on_info, qos.SENSOR)

    def failed(self, error: Exception) -> None:
        """Count an error of a callback, or one that no callback's guard has seen."""
        self._frames.count(error)

    def _listen(self, kind: type, topic: str, callback: Callable[..., None], profile: Any) -> None:
        try:
            self.create_subscription(
                kind,
                topic,
                guarded(self, callback, self.failed),
                copy(profile),  # rclpy writes an override into the profile that it was given
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
        except RuntimeError as error:  # rclpy has no other for a value that it does not know
            name = self.resolve_topic_name(topic)
            raise ConfigError(
                f'{self.get_fully_qualified_name()}: {name}: {error}: expected one that ROS 2 has'
            ) from error

    def _on_image(self, msg: Image) -> None:
        self._forward(msg.header, lambda: self._decode(msg))

    def _on_compressed(self, msg: CompressedImage) -> None:
        self._forward(msg.header, lambda: decode_compressed(msg.data))

    def _on_info(self, msg: CameraInfo) -> None:
        try:
            self._calibration = read_calibration(msg, self._slot)
        except ObservationError as error:
            self._frames.count(error, in_a_row=False)  # No picture is the worse for it.
            self._warn('camera_info', error)

    def _forward(self, header: Header, decode: Callable[[], np.ndarray]) -> None:
        def look() -> np.ndarray:
            check_frame_id(header.frame_id)
            return decode()

        time = self._time
        age = math.nan if time.lockstep else time.stamp_age(to_ns(header.stamp))
        try:
            pixels, size, thawed = self._frames.admit(look, age, time.now())
        except ObservationError as error:
            self._warn(f'frame of {header.frame_id[:40]!r}', error)
            return
        height, width = pixels.shape[:2]
        msg = Image(header=header, width=width, height=height, encoding='rgb8', step=3 * width)
        msg.data = array.array('B', pixels.tobytes())
        self._images.publish(msg)
        self._infos.publish(scaled_info(header, size, self._slot, self._calibration))
        if thawed:
            self._heartbeat.beat()  # A moving robot must not be stopped for a picture of the past.

    def _warn(self, what: str, error: ObservationError) -> None:
        self.get_logger().warning(f'dropped {what}: {error}', throttle_duration_sec=5.0)

    def _vitals(self) -> Vitals:
        frames = self._frames
        return Vitals(
            progress=frames.progress,
            errors_total=frames.errors_total,
            consecutive_errors=frames.consecutive_errors,
            unchanged_age=frames.unchanged_age,
            detail=frames.detail,
        )


def main() -> None:
    """Run the node until a signal."""
    sys.exit(run(CameraNode, frames=True, make_executor=events_executor))
