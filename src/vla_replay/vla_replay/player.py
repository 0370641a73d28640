"""The command `vla play`: a recording into a running graph, in its own time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
import heapq
import itertools
import math
import time
from typing import Any

from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
import numpy as np
import rclpy
from rclpy.clock import Clock
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.signals import SignalHandlerOptions
from rich.console import Console
from rosbags.interfaces import QosReliability
from rosgraph_msgs.msg import Clock as ClockMsg
from std_msgs.msg import String

from vla_cli.graph import use_profile
from vla_core.errors import ConfigError
from vla_replay.bag.clock_set import refuse_clock_set
from vla_replay.bag.latched import latched_before
from vla_replay.bag.reader import BagReader, Message, Topic
from vla_replay.bag.types import require_installed
from vla_replay.errors import BagError
from vla_replay.goals import unheard_texts
from vla_replay.message_types import message_class
from vla_replay.options import Play
from vla_replay.pacing import chosen, Due, fresh, has_header, pace
from vla_replay.schedule import COMPRESSED, IMAGE, ODOMETRY, RECORD, STRING
from vla_replay.stamps import restamped
from vla_ros import qos
from vla_ros.conversion import to_ns, to_time

#: s for subscribers to appear: what nobody hears yet would be lost.
_PATIENCE = 20.0
#: s for all of them to match after the first frame's has.
_GRACE = 0.5
#: s between two /clock.
_CLOCK_PERIOD = 0.01
_STAND_PERIOD = 0.04
_DEPTH = 50
#: Messages whose lateness is known; with --loop there is no end to them.
_MOST_KNOWN = 100_000
_TRANSFORMS = 'tf2_msgs/msg/TFMessage'


def play(options: Play) -> int:
    """Play a recording; return 0 at its end.

    Raises:
        BagError: if the recording or a topic is not as it should be.
        ConfigError: if an option is wrong.
    """
    _check(options)
    console = Console()
    use_profile()
    with BagReader(options.bag) as bag, _node(options.namespace) as node:
        refuse_clock_set(bag)
        _check_start(options, bag)
        topics = chosen(bag.topics, options.topics)
        publishers = _publishers(node, topics, _remaps(options.remap, topics), console)
        told = node.create_publisher(String, 'command', qos.COMMAND)
        clock = node.create_publisher(ClockMsg, '/clock', _DEPTH) if options.sim_time else None
        _wait_for_listeners(publishers.values(), console)
        late = Lateness()
        try:
            _play(bag, options, publishers, told, clock, late)
        finally:
            console.print(str(late))
    return 0


class Lateness:
    """By how much messages were late: all are counted, of the newest ones it is known."""

    def __init__(self) -> None:
        """Begin with none."""
        self.count = 0
        self._newest: deque[float] = deque(maxlen=_MOST_KNOWN)

    def add(self, seconds: float) -> None:
        """Count a message."""
        self.count += 1
        self._newest.append(seconds)

    def __str__(self) -> str:
        """Say it in one line."""
        if not self._newest:
            return 'no message'
        p50, p99 = np.quantile(self._newest, (0.5, 0.99)) * 1e3
        return f'{self.count} messages; late by {p50:.2f} ms p50, {p99:.2f} ms p99'


def _play(
    bag: BagReader,
    options: Play,
    publishers: Mapping[str, Any],
    told: Any,
    clock: Any,
    late: Lateness,
) -> None:
    """Send every message when it is due."""
    renewals = {
        name: _renewal(bag.topics[name]) if clock is None else _as_it_is for name in publishers
    }
    begin = bag.start_ns + round(options.start * 1e9)
    end = None if options.stop is None else bag.start_ns + round(options.stop * 1e9)
    names, texts = set(publishers), []
    if options.instruction:
        names -= {name for name in names if name.endswith('/command')}
    # A robot must not be told anything that is then not shown to it.
    if next(iter(bag.messages(names, begin, end)), None) is None:
        raise BagError(f'{options.bag}: no message of {sorted(names)} in this part')
    if options.instruction:
        told.publish(String(data=options.instruction))
    elif not options.topics:
        texts = texts_beside(bag, names, begin, end)
    senders = {text.topic: told for text in texts} | dict(publishers)
    renewals = dict.fromkeys(senders, _as_it_is) | renewals
    rounds = None if options.loop else 1

    def messages() -> Iterator[Message]:
        return heapq.merge(texts, bag.messages(names, begin, end), key=_stamp)

    dues = pace(messages, options.rate, rounds)
    # To open a bag takes a while, in which a standing robot must not fall silent.
    first = next(dues)
    for held in latched_before(bag, names, begin):
        due = Due(0.0, begin, held.topic, held.data)
        now_ns = Clock().now().nanoseconds
        publishers[due.topic].publish(renewals[due.topic](due, now_ns, options.rate))
    if options.prelude > 0.0:
        _stand(bag, options, publishers)
    began, began_ns = time.monotonic(), Clock().now().nanoseconds
    ticked = -math.inf
    for due in itertools.chain((first,), dues):
        left = began + due.at - time.monotonic()
        if left > 0.0:
            time.sleep(left)
        if clock is not None and due.at - ticked >= _CLOCK_PERIOD:
            clock.publish(ClockMsg(clock=to_time(due.stamp_ns)))
            ticked = due.at
        senders[due.topic].publish(renewals[due.topic](due, began_ns, options.rate))
        late.add(time.monotonic() - began - due.at)


def texts_beside(
    bag: BagReader, names: set[str], begin_ns: int, end_ns: int | None
) -> list[Message]:
    """Return what a robot was told on no topic of texts, and the newest text before a part.

    Nothing of the first where several policies kept records: it is not clear who was told.

    Args:
        bag: the recording.
        names: of the topics that are played: nothing is told before their first message, for a
            recorder hears what is latched up to a second before a robot's odometry.
        begin_ns: beginning of the part.
        end_ns: its end; None: of the recording.

    Raises:
        BagError: if a record is malformed.
    """
    topics = bag.topics.values()
    records = [one for one in topics if one.type == RECORD]
    unheard = list(unheard_texts(bag, records[0])) if len(records) == 1 else []
    heard = {one.name for one in topics if one.type == STRING and one.name.endswith('/command')}
    earlier = [*bag.messages(heard, end_ns=begin_ns), *unheard]
    earlier = sorted((one for one in earlier if one.stamp_ns < begin_ns), key=_stamp)
    last = math.inf if end_ns is None else end_ns
    during = [one for one in unheard if begin_ns <= one.stamp_ns < last]
    moving = {name for name in names if not bag.topics[name].latched}
    first_ns = next((one.stamp_ns for one in bag.messages(moving, begin_ns, end_ns)), begin_ns)
    told = (*earlier[-1:], *during)
    return [replace(one, stamp_ns=max(one.stamp_ns, first_ns)) for one in told]


def _stamp(message: Message) -> int:
    return message.stamp_ns


def _renewal(topic: Topic) -> Callable[[Due, int, float], bytes]:
    """Return what makes a message of a topic look as if it were taken now."""
    if topic.type == _TRANSFORMS:
        return fresh_transforms
    return fresh if has_header(topic) else _as_it_is


def _as_it_is(due: Due, began_ns: int, rate: float) -> bytes:
    return due.data


def fresh_transforms(due: Due, began_ns: int, rate: float) -> bytes:
    """Do what `fresh` does to every header in a TFMessage; one without a stamp stays so.

    Raises:
        BagError: if it is no TFMessage.
    """
    try:
        msg = deserialize_message(due.data, message_class(_TRANSFORMS))
    except Exception as error:  # rclpy's C code raises what it likes
        raise BagError(f'{due.topic}: message of {len(due.data)} bytes: {error}') from None
    for transform in msg.transforms:
        stamp = to_ns(transform.header.stamp)
        if stamp:
            delay = (due.stamp_ns - stamp) / rate
            fresh_ns = began_ns + round(due.at * 1e9 - delay)
            transform.header.stamp = to_time(max(0, fresh_ns))
    return bytes(serialize_message(msg))


def _stand(bag: BagReader, options: Play, publishers: Mapping[str, Any]) -> None:
    """Send the first frame and the first odometry again and again: the robot before its drive."""
    begin = bag.start_ns + round(options.start * 1e9)
    first = {}
    for name in publishers:
        if bag.topics[name].type in (IMAGE, COMPRESSED, ODOMETRY):
            message = next(iter(bag.messages({name}, begin)), None)
            if message is not None:
                first[name] = message.data
    for name in first:
        if bag.topics[name].type == ODOMETRY:
            still = deserialize_message(first[name], Odometry)
            still.twist.twist = Twist()
            first[name] = serialize_message(still)
    for _ in range(round(options.prelude / _STAND_PERIOD)):
        now_ns = Clock().now().nanoseconds
        for name, data in first.items():
            publishers[name].publish(restamped(data, now_ns))
        time.sleep(_STAND_PERIOD)


def _check(options: Play) -> None:
    if not 0.01 <= options.rate <= 100.0:
        raise ConfigError(f'rate is {options.rate}: expected 0.01 to 100')
    if not 0.0 <= options.start < math.inf:
        raise ConfigError(f'start is {options.start}: expected a finite number >= 0')
    if not 0.0 <= options.prelude <= 60.0:
        raise ConfigError(f'prelude is {options.prelude}: expected 0 to 60 s')
    if options.prelude > 0.0 and options.sim_time:
        raise ConfigError(
            f'prelude is {options.prelude} with sim_time: expected one of them, because the clock '
            'of the recording stands still before it begins'
        )
    if options.stop is not None and not options.start < options.stop < math.inf:
        raise ConfigError(
            f'stop is {options.stop}: expected a finite number above start, {options.start}'
        )


def _check_start(options: Play, bag: BagReader) -> None:
    duration = (bag.end_ns - bag.start_ns) * 1e-9
    if options.start >= duration:
        raise ConfigError(
            f'start is {options.start}: expected less than {duration:.3f} s, the duration of '
            f'{options.bag}'
        )


@contextmanager
def _node(namespace: str) -> Iterator[Node]:
    # Ctrl-C must end the play between two messages, not the context below it.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = Node('play', namespace=namespace)
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def _remaps(pairs: tuple[str, ...], topics: Mapping[str, Topic]) -> dict[str, str]:
    """Return name in the recording -> name in the graph, below the namespace."""
    names = {name: name.lstrip('/') for name in topics}
    for pair in pairs:
        before, separator, after = pair.partition(':=')
        before = f'/{before.strip("/")}'
        if not separator or not after or before not in names:
            raise ConfigError(
                f'remap {pair!r}: expected FROM:=TO with FROM one of {sorted(names)}'
            )
        names[before] = after
    return names


def _publishers(
    node: Node, topics: Mapping[str, Topic], names: Mapping[str, str], console: Console
) -> dict[str, Any]:
    publishers = {}
    for name, topic in topics.items():
        try:
            kind = message_class(topic.type)
        except (ImportError, AttributeError):
            console.print(f'{name} is left out: {topic.type} is not installed here', markup=False)
            continue
        try:
            require_installed(topic)
        except BagError as error:
            console.print(f'left out: {error}', markup=False)
            continue
        publishers[name] = node.create_publisher(kind, names[name], _profile(topic))
    if not publishers:
        raise BagError(
            f'none of {sorted(topics)} can be played: their types are not those installed here'
        )
    return publishers


def _profile(topic: Topic) -> QoSProfile:
    best_effort = bool(topic.qos) and all(
        one.reliability is QosReliability.BEST_EFFORT for one in topic.qos
    )
    return QoSProfile(
        depth=_DEPTH,
        reliability=(ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE),
        durability=(
            DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE
        ),
    )


def _wait_for_listeners(publishers: Any, console: Console) -> None:
    publishers = list(publishers)
    end = time.monotonic() + _PATIENCE
    with console.status('waiting for somebody who listens'):
        while not any(publisher.get_subscription_count() for publisher in publishers):
            if time.monotonic() > end:
                console.print(f'nobody listens after {_PATIENCE:g} s; playing all the same')
                return
            time.sleep(0.05)
        time.sleep(_GRACE)
