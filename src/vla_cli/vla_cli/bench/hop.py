"""One hop through the middleware: a message goes to another process and comes back.

python -m vla_cli.bench.hop ping KIND COUNT prints JSON: milliseconds of one hop each, and lost.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from functools import partial
import json
import os
import subprocess
import sys
import time
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from vla_cli.graph import use_profile
from vla_core.errors import VlaError
from vla_core.types import NATIVE_AXES, NATIVE_UNITS
from vla_interfaces.msg import ActionChunk
from vla_ros import qos
from vla_ros.domains import ALONE, own_domain
from vla_ros.in_turn import in_turn_executor
from vla_ros.transport import keep_off_shared_memory

KINDS = ('chunk', 'picture')
#: Steps of a chunk at the gate's rate, and of the policy's own answer in it.
_STEPS, _ANSWER = 31, 8
_VALIDITY = 0.6
_WARM_UP = 20
#: s after which a message counts as lost; s for the other process to appear and to end.
_LOST, _PATIENCE = 1.0, 60.0


def round_trips(kind: str, count: int) -> tuple[list[float], int]:
    """Send so many messages to another process and back.

    Args:
        kind: `chunk`: by UDP alone, as gate, policy and monitor talk; `picture`: raw 640x480 RGB
            through shared memory, as a camera driver talks to its camera node.
        count: messages that must come back.

    Returns:
        ms of half of each round trip, and how many messages were lost.

    Raises:
        VlaError: if a process fails.
    """
    use_profile()
    with own_domain() as domain_id:
        environment = {
            **os.environ,
            **ALONE,
            'ROS_DOMAIN_ID': str(domain_id),
        }
        command = [sys.executable, '-m', __name__]
        with subprocess.Popen([*command, 'echo', kind], env=environment) as echo:
            try:
                done = subprocess.run(
                    [*command, 'ping', kind, str(count)],
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=False,
                )
            finally:
                echo.kill()
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise VlaError(f'hop of a {kind} ended with {done.returncode}: {last}')
    found = json.loads(done.stdout)
    return found['milliseconds'], found['lost']


def _message(kind: str) -> tuple[type, Any, QoSProfile]:
    if kind == 'picture':
        pixels = array.array('B', bytes(range(256)) * (640 * 480 * 3 // 256))
        return (
            Image,
            Image(height=480, width=640, encoding='rgb8', step=1920, data=pixels),
            (qos.image(lockstep=False)),
        )
    chunk = ActionChunk(
        step_dt=0.02,
        horizon=_STEPS,
        names=list(NATIVE_AXES),
        units=list(NATIVE_UNITS),
        data=array.array('d', [0.1] * (_STEPS * len(NATIVE_AXES))),
        predicted=array.array('d', [0.1] * (_ANSWER * len(NATIVE_AXES))),
        model_id='demo',
        model_sha256=64 * '0',
    )
    return ActionChunk, chunk, qos.chunk(lockstep=False, validity=_VALIDITY)


def _join(
    name: str, kind: str, hears: str, says: str, take: Callable[[Any, Any], None]
) -> tuple[SingleThreadedExecutor, Any, Any]:
    """Return an executor, a publisher, and its message; `take` gets publisher and message."""
    if kind == 'chunk':
        keep_off_shared_memory()
    rclpy.init(args=[])
    node = rclpy.create_node(name)
    message_type, message, profile = _message(kind)
    publisher = node.create_publisher(message_type, says, profile)
    node.create_subscription(message_type, hears, partial(take, publisher), profile)
    executor = in_turn_executor()
    executor.add_node(node)
    return executor, publisher, message


def _echo(kind: str) -> None:
    """Send everything back; ends with whoever started it."""
    executor, *_ = _join(
        'echo', kind, 'there', 'back', lambda publisher, message: publisher.publish(message)
    )
    parent = os.getppid()
    while os.getppid() == parent:
        executor.spin_once(timeout_sec=0.5)


def _ping(kind: str, count: int) -> dict[str, Any]:
    """Send one message after the other.

    Raises:
        VlaError: if the other process does not appear, or nothing comes back.
    """
    arrived: list[int] = []
    executor, publisher, message = _join(
        'ping', kind, 'back', 'there', lambda _, back: arrived.append(back.header.stamp.nanosec)
    )
    samples: list[float] = []
    lost = number = 0
    end = time.monotonic() + _PATIENCE
    while len(samples) < _WARM_UP + count:
        if not samples and time.monotonic() > end:
            raise VlaError(f'no {kind} came back in {_PATIENCE:g} s')
        number += 1
        message.header.stamp.nanosec = number
        began = time.perf_counter()
        publisher.publish(message)
        while number not in arrived and time.perf_counter() - began < _LOST:
            executor.spin_once(timeout_sec=_LOST)
        taken = time.perf_counter() - began
        if number in arrived:
            samples.append(0.5e3 * taken)
        elif samples:
            lost += 1
            if lost > count:
                raise VlaError(f'{lost} of {number} {kind}s were lost')
        arrived.clear()
    return {'milliseconds': samples[_WARM_UP:], 'lost': lost}


if __name__ == '__main__':
    if sys.argv[1] == 'echo':
        _echo(sys.argv[2])
    else:
        print(json.dumps(_ping(sys.argv[2], int(sys.argv[3]))))
