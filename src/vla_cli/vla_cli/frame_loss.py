"""Counts the raw frames that reach another process: `python -m vla_cli.frame_loss`.

A raw 640x480 frame outgrows the default shared-memory segment of Fast DDS: it is cut up, and half
of such frames are lost.
"""

from __future__ import annotations

import array
import os
import subprocess
import sys
import time

from sensor_msgs.msg import Image

from vla_cli.connection import connect
from vla_ros import qos

FRAMES = 60
_PERIOD = 1.0 / 30.0
_WIDTH, _HEIGHT = 640, 480
_DISCOVERY_TIMEOUT = 15.0
# The sender is done when nothing has come for this long, s.
_SILENCE = 1.0


def send() -> int:
    """Send FRAMES frames to a receiver of our own; print how many were sent and arrived."""
    topic = f'vla_doctor_{os.getpid()}/frames'
    command = [sys.executable, '-m', 'vla_cli.frame_loss', topic]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as receiver,
        connect('') as connection,
    ):
        publisher = connection.node.create_publisher(Image, topic, qos.SENSOR)
        found = connection.wait(lambda: publisher.get_subscription_count() > 0, _DISCOVERY_TIMEOUT)
        if not found:
            receiver.kill()
            sys.exit('two processes on this machine do not discover each other')
        pixels = array.array('B', bytes(_WIDTH * _HEIGHT * 3))
        frame = Image(height=_HEIGHT, width=_WIDTH, encoding='rgb8', step=_WIDTH * 3, data=pixels)
        for _ in range(FRAMES):
            publisher.publish(frame)
            time.sleep(_PERIOD)
        arrived, _ = receiver.communicate(timeout=_DISCOVERY_TIMEOUT)
    print(FRAMES, int(arrived))
    return 0


def receive(topic: str) -> int:
    """Print how many frames arrive until the sender falls silent."""
    arrivals: list[float] = []
    with connect('') as connection:
        connection.node.create_subscription(
            Image, topic, lambda _: arrivals.append(time.monotonic()), qos.SENSOR
        )
        if connection.wait(lambda: bool(arrivals), _DISCOVERY_TIMEOUT):
            connection.wait(lambda: time.monotonic() - arrivals[-1] > _SILENCE)
    print(len(arrivals))
    return 0


if __name__ == '__main__':
    sys.exit(receive(sys.argv[1]) if len(sys.argv) > 1 else send())
