"""The man in the middle of the camera: a process of its own, as a camera driver is.

Whole frames travel through shared memory, where a camera node that hangs may hold up who sends to
it (docs/decisions/0008): that must not be the process that passes on the odometry.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
import signal
import time
from typing import Any

import rclpy
from sensor_msgs.msg import Image

from vla_cli.faults.spoiling import Maker, pass_on, Spoiler
from vla_cli.graph import GraphError
from vla_ros import qos
from vla_ros.in_turn import in_turn_executor

#: s between two looks for an order.
_LOOK = 0.01
#: s for an answer: an importing process on a busy machine, or one that is held up for a while.
_PATIENCE = 30.0
_FRAMES = 30


class Relay:
    """Passes frames on, or what is made of them."""

    def __init__(self, domain_id: int) -> None:
        """Start the process."""
        # A fork would share the middleware's threads and locks.
        spawn = get_context('spawn')
        self._orders, theirs = spawn.Pipe()
        self._process = spawn.Process(target=main, args=(theirs, domain_id), daemon=True)
        self._process.start()
        theirs.close()

    def spoil(self, make: Maker | None) -> int:
        """Spoil every frame from now on, or none; return ROS time of that, ns.

        Raises:
            GraphError: if the process does not answer.
        """
        return int(self._ask((_Camera.spoil.__name__, make)))

    def frame_rate(self) -> float:
        """Return the frames per s that arrive, lately; 0: unknown.

        Raises:
            GraphError: if the process does not answer.
        """
        return float(self._ask((_Camera.frame_rate.__name__,)))

    def close(self) -> None:
        """End the process."""
        self._orders.close()
        self._process.join(_PATIENCE)
        self._process.kill()

    def _ask(self, order: tuple[Any, ...]) -> Any:
        try:
            self._orders.send(order)
            if self._orders.poll(_PATIENCE):
                return self._orders.recv()
        except (EOFError, OSError) as error:
            raise GraphError(f'the relay of frames has ended: {error}') from error
        raise GraphError(f'no answer of the relay of frames in {_PATIENCE:g} s')


class _Camera:
    """What the process does."""

    def __init__(self, node: Any) -> None:
        self._spoiler: Spoiler[Image] = pass_on
        self._picture: Any = None
        self._times: deque[float] = deque(maxlen=_FRAMES)
        self._out = node.create_publisher(Image, 'camera/color/image_raw', qos.SENSOR)
        node.create_subscription(Image, 'faults/image_raw', self._on_image, qos.SENSOR)

    def spoil(self, make: Maker | None) -> int:
        self._spoiler = pass_on if make is None else make(self._picture)
        return time.time_ns()

    def frame_rate(self) -> float:
        times = self._times
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0

    def _on_image(self, msg: Image) -> None:
        self._times.append(time.monotonic())
        self._picture = msg.data
        for passed in self._spoiler(msg):
            self._out.publish(passed)


def main(orders: Connection, domain_id: int) -> None:
    """Obey until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    context = rclpy.Context()
    rclpy.init(context=context, args=[], domain_id=domain_id)
    node = rclpy.create_node('relay', context=context)
    camera = _Camera(node)
    known: dict[str, Callable[..., Any]] = {
        order.__name__: order for order in (camera.spoil, camera.frame_rate)
    }
    executor = in_turn_executor(context)
    executor.add_node(node)
    try:
        while True:
            executor.spin_once(timeout_sec=_LOOK)
            while orders.poll():
                name, *arguments = orders.recv()
                orders.send(known[name](*arguments))
    except (EOFError, OSError):
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown(context=context)
