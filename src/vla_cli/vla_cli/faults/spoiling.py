"""Spoiled messages: what the man in the middle passes on instead, and what a false policy says."""

from __future__ import annotations

import array
from collections import deque
from collections.abc import Callable, Sequence
import itertools
import math
from typing import Any, TypeVar

from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image

from vla_core.gate.limits import Vector
from vla_core.robot import AXES
from vla_interfaces.msg import ActionChunk
from vla_ros.conversion import to_ns, to_time

Message = TypeVar('Message', Image, Odometry)
#: What becomes of a message: those that are passed on in its place.
Spoiler = Callable[[Message], Sequence[Message]]
#: Takes the data of the newest frame, gives a spoiler; another process may have to make it.
Maker = Callable[[Any], Spoiler[Image]]

_HOUR = 3600


def pass_on(msg: Any) -> Sequence[Any]:
    """Change nothing."""
    return (msg,)


def drop(msg: Any) -> Sequence[Any]:
    """Lose it."""
    return ()


def ten_times(msg: Any) -> Sequence[Any]:
    """Say everything ten times."""
    return (msg,) * 10


def always(spoiler: Spoiler[Image], picture: Any) -> Spoiler[Image]:
    """Return a spoiler that needs no memory."""
    return spoiler


def freeze(picture: Any) -> Spoiler[Image]:
    """Return what shows one picture, the data of an image, for ever, with the stamps of now."""

    def spoil(msg: Image) -> Sequence[Image]:
        msg.data = picture
        return (msg,)

    return spoil


def delay(seconds: float, picture: Any) -> Spoiler[Image]:
    """Return what holds every frame back until a later one is so many s younger."""
    waiting: deque[Image] = deque()

    def spoil(msg: Image) -> Sequence[Image]:
        waiting.append(msg)
        due = to_ns(msg.header.stamp) - round(seconds * 1e9)
        passed = []
        while waiting and to_ns(waiting[0].header.stamp) <= due:
            passed.append(waiting.popleft())
        return passed

    return spoil


def blacken(msg: Image) -> Sequence[Image]:
    """Show nothing."""
    msg.data = array.array('B', bytes(len(msg.data)))
    return (msg,)


def corrupt(picture: Any) -> Spoiler[Image]:
    """Return what makes each frame malformed, in another way than the one before."""
    ways = itertools.cycle(
        (
            {'encoding': 'mono16'},
            {'encoding': 'no such encoding'},
            {'width': 2**31, 'height': 2**31},
            {'width': 0, 'height': 0},
            {'step': 1},
            {'data': array.array('B', bytes(1000))},
        )
    )

    def spoil(msg: Image) -> Sequence[Image]:
        for field, value in next(ways).items():
            setattr(msg, field, value)
        return (msg,)

    return spoil


def without_number(msg: Odometry) -> Sequence[Odometry]:
    """Say that the speed is not a number."""
    msg.twist.twist.linear.x = math.nan
    return (msg,)


def onward(chunk: ActionChunk, now_ns: int) -> ActionChunk:
    """Turn a chunk into the next one, which says the same as of now."""
    chunk.sequence += 1
    chunk.header.stamp = to_time(now_ns)
    chunk.observation_stamp = to_time(now_ns)
    return chunk


def with_nan(chunk: ActionChunk) -> ActionChunk:
    """Let the first number be NaN."""
    chunk.data = array.array('d', [math.nan, *chunk.data[1:]])
    return chunk


def due_in_an_hour(chunk: ActionChunk) -> ActionChunk:
    """Let the plan begin later."""
    chunk.header.stamp.sec += _HOUR
    return chunk


def asking_for(velocity: Vector) -> Callable[[ActionChunk], ActionChunk]:
    """Return what asks for this velocity of the six axes all along."""
    wanted = dict(zip(AXES, velocity, strict=True))

    def spoil(chunk: ActionChunk) -> ActionChunk:
        row = [wanted.get(name, 0.0) for name in chunk.names]
        chunk.data = array.array('d', row * chunk.horizon)
        return chunk

    return spoil
