"""A camera that shows recorded frames, and the odometry of a robot that stands."""

from __future__ import annotations

import struct
import threading
import time

from nav_msgs.msg import Odometry
import numpy as np
from rclpy.node import Node
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from vla_ros import qos
from vla_ros.conversion import to_time

#: Of camera and odometry, Hz; a camera's period is a multiple of the other's.
FRAME_RATE, ODOMETRY_RATE = 25, 50
#: Where a stamp's seconds and nanoseconds are in a serialised message (CDR, little endian).
_STAMP = struct.Struct('<iI')
_STAMP_AT = 4


class Feed:
    """Publishes frames and odometry on a thread of its own, until it is stopped.

    Each frame tells its place in the list by its first number, for those who lose its stamp.
    """

    def __init__(self, node: Node, pictures: list[np.ndarray], camera: str) -> None:
        """Offer the topics.

        Args:
            node: to publish with.
            pictures: at most 256, uint8 [height, width, 3].
            camera: topic of the frames.
        """
        #: place -> ns, when that frame was last taken.
        self.stamps: dict[int, int] = {}
        self.sent = 0
        self._frames = [bytearray(_serialised(one, place)) for place, one in enumerate(pictures)]
        self._images = node.create_publisher(Image, camera, qos.SENSOR)
        self._odometry = node.create_publisher(Odometry, 'odom', qos.VELOCITY)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name='feed', daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        turn = 0
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + 1.0 / ODOMETRY_RATE, time.monotonic())
            odometry = Odometry(child_frame_id='base_link')
            odometry.header.frame_id = 'odom'
            odometry.header.stamp = to_time(time.time_ns())
            self._odometry.publish(odometry)
            if turn % (ODOMETRY_RATE // FRAME_RATE) == 0:
                self._show()
            turn += 1

    def _show(self) -> None:
        place = self.sent % len(self._frames)
        frame = self._frames[place]
        stamp_ns = time.time_ns()
        _STAMP.pack_into(frame, _STAMP_AT, *divmod(stamp_ns, 10**9))
        self.stamps[place] = stamp_ns
        self.sent += 1
        self._images.publish(bytes(frame))


def _serialised(picture: np.ndarray, place: int) -> bytes:
    numbered = picture.copy()
    numbered[0, 0, 0] = place
    height, width = picture.shape[:2]
    msg = Image(height=height, width=width, encoding='rgb8', step=3 * width)
    msg.header.frame_id = 'camera'
    msg.data = numbered.tobytes()
    return bytes(serialize_message(msg))
