"""Raw subscriptions to every topic that is chosen, as soon as it has a publisher."""

from dataclasses import replace
from typing import Any

from rclpy._rclpy_pybind11 import RCLError
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.subscription import Subscription
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)

from vla_replay.bag.topics import Message, Topic
from vla_replay.bag.types import hash_of, Types
from vla_replay.errors import BagError
from vla_replay.message_types import message_class
from vla_replay.recording.choice import Choice, COMPRESSED
from vla_replay.recording.queue import Queue
from vla_replay.recording.recorders import Recorder

#: Messages that may wait in the middleware while this process is held up.
_DEPTH = 100
_SECOND = 1_000_000_000


class Listening:
    """Hears topics as bytes and hands them to the queue.

    Attributes:
        jpeg: topics whose pictures are to become JPEG.
        lost: messages that the middleware reports as lost.
    """

    def __init__(self, node: Node, choice: Choice, queue: Queue, recorder: Recorder) -> None:
        """Hear nothing yet."""
        self._node, self._choice, self._queue, self._recorder = node, choice, queue, recorder
        self._types = Types()
        self._heard: dict[str, tuple[QoSProfile, Subscription]] = {}
        # Type and hash with which each topic was first heard: a bag knows one of each.
        self._known: dict[str, tuple[str, str]] = {}
        self._unknown: set[str] = set()
        self._mixed: set[str] = set()
        self.jpeg: set[str] = set()
        self.lost: dict[str, int] = {}

    def look(self) -> None:
        """Hear what is new in the graph, and anew what is offered otherwise than before."""
        names = [name for name, _ in self._node.get_topic_names_and_types()]
        found = {name: self._node.get_publishers_info_by_topic(name) for name in names}
        # Of publishers alone: who only listens, perhaps to another type, decides about nothing.
        offered = {name: publishers for name, publishers in found.items() if publishers}
        kinds = {name: {one.topic_type for one in them} for name, them in offered.items()}
        mixed = {name for name, types in kinds.items() if len(types) > 1}
        chosen = self._choice.of(kinds)
        for name in (mixed - self._mixed) & self._choice.wanted(mixed):
            self._leave(name, f'its publishers offer {sorted(kinds[name])}')
        for name in set(self._heard) & set(offered) - set(chosen) - mixed:
            self._leave(name, f'{name}/compressed takes its place')
        self._mixed = mixed
        for name in set(chosen) - self._unknown:
            try:
                self._hear(name, chosen[name], offered[name])
            # RCLError: among others, the permissions of a secured graph.
            except (BagError, ImportError, AttributeError, RCLError) as error:
                self._unknown.add(name)
                self._leave(name, str(error))

    def _hear(self, name: str, kind: str, publishers: list[Any]) -> None:
        told = {str(one.topic_type_hash) for one in publishers}
        told = {one for one in told if one.startswith('RIHS01_')}
        known = self._known.get(name)
        if known is None:
            known = kind, min(told, default='') or self._types.type_hash(kind)
        if kind != known[0] or not told <= {known[1]}:
            raise BagError(f'{kind} {sorted(told)} is offered, expected {" ".join(known)} alone')
        self._known[name] = known
        profile = _matching([one.qos_profile for one in publishers])
        before = self._heard.get(name)
        if before is not None:
            if before[0] == profile:
                return
            self._node.destroy_subscription(self._heard.pop(name)[1])
        qos = tuple(dict.fromkeys(qos_of(one.qos_profile) for one in publishers))
        self._declare(Topic(name, kind, 0, qos, known[1], self._types.definition(kind)))
        self._heard[name] = profile, self._subscribe(name, kind, profile)

    def _leave(self, name: str, why: str) -> None:
        if name in self._heard:
            self._node.destroy_subscription(self._heard.pop(name)[1])
        self._node.get_logger().warning(f'{name} is not recorded: {why}')

    def close(self) -> None:
        """Hear nothing any more."""
        for _, subscription in self._heard.values():
            self._node.destroy_subscription(subscription)
        self._heard.clear()

    def _declare(self, topic: Topic) -> None:
        installed = self._types.type_hash(topic.type)
        # Where rosbags takes a hash for another one, as of every type with a char, it is not said.
        if topic.type_hash != installed and hash_of(topic.type, topic.definition):
            topic = replace(topic, definition='')
            self._node.get_logger().warning(
                f'{topic.name} is recorded without a definition: its {topic.type} is '
                f'{topic.type_hash}, expected {installed} as installed here'
            )
        topics = [topic]
        if self._choice.jpeg(topic.name, topic.type):
            twin = f'{topic.name}/compressed'
            hash_ = self._types.type_hash(COMPRESSED)
            definition = self._types.definition(COMPRESSED)
            # Another type under that name, before or after, must not end up in the same topic.
            kind, _ = self._known.setdefault(twin, (COMPRESSED, hash_))
            if kind == COMPRESSED:
                self.jpeg.add(topic.name)
                topics.append(Topic(twin, COMPRESSED, 0, topic.qos, hash_, definition))
            else:
                self._node.get_logger().warning(f'{topic.name} stays raw: {twin} is {kind}')
        for one in topics:
            self._queue.call(lambda one=one: self._recorder.declare(one))

    def _subscribe(self, name: str, kind: str, profile: QoSProfile) -> Subscription:
        def heard(data: bytes, info: dict[str, int]) -> None:
            self._queue.put(Message(name, info['received_timestamp'], data))

        def lost(event: Any) -> None:
            self.lost[name] = self.lost.get(name, 0) + event.total_count_change

        callbacks = SubscriptionEventCallbacks(message_lost=lost)
        return self._node.create_subscription(
            message_class(kind), name, heard, profile, raw=True, event_callbacks=callbacks
        )


def _matching(offered: list[QoSProfile]) -> QoSProfile:
    """Return the profile that matches every publisher and loses the least."""
    reliable = all(one.reliability is ReliabilityPolicy.RELIABLE for one in offered)
    latched = all(one.durability is DurabilityPolicy.TRANSIENT_LOCAL for one in offered)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=_DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def qos_of(profile: QoSProfile) -> Qos:
    """Return a profile as bags keep it."""

    def word(policy: Any, kind: Any) -> Any:
        return kind.__members__.get(policy.name, kind.UNKNOWN)

    def span(duration: Any) -> QosTime:
        return QosTime(*divmod(duration.nanoseconds, _SECOND))

    return Qos(
        word(HistoryPolicy(profile.history), QosHistory),
        profile.depth,
        word(ReliabilityPolicy(profile.reliability), QosReliability),
        word(DurabilityPolicy(profile.durability), QosDurability),
        span(profile.deadline),
        span(profile.lifespan),
        word(LivelinessPolicy(profile.liveliness), QosLiveliness),
        span(profile.liveliness_lease_duration),
        profile.avoid_ros_namespace_conventions,
    )
