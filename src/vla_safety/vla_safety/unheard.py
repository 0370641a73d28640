"""Publishers that the gate does not hear: of another type, or less reliable than it asks for.

The middleware tells nobody but a log: a joystick or a stop word would go nowhere in silence.
"""

from collections.abc import Iterable

from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from rclpy.subscription import Subscription


class Unheard:
    """Compare who publishes on a topic with whom its subscriptions have met."""

    def __init__(self, node: Node, subscriptions: Iterable[Subscription]) -> None:
        """Remember the subscriptions, several of a topic together.

        Args:
            node: theirs.
            subscriptions: each topic's most tolerant one last.
        """
        self._node = node
        self._topics: dict[str, list[Subscription]] = {}
        for one in subscriptions:
            self._topics.setdefault(one.topic_name, []).append(one)
        self._before: set[str] = set()

    def look(self) -> tuple[str, ...]:
        """Return a line for each topic with such a publisher now and at the look before.

        One that has only just come is known a little before it is met.
        """
        missing = {topic: self._missing(topic) for topic in self._topics}
        found = {topic for topic, number in missing.items() if number > 0}
        lasting = sorted(found & self._before)
        self._before = found
        return tuple(self._line(topic, missing[topic]) for topic in lasting)

    def _missing(self, topic: str) -> int:
        met = max(one.get_publisher_count() for one in self._topics[topic])
        return int(self._node.count_publishers(topic)) - int(met)

    def _line(self, topic: str, number: int) -> str:
        wanted = self._topics[topic][-1]
        reliable = wanted.qos_profile.reliability == ReliabilityPolicy.RELIABLE
        kind = wanted.msg_type
        package = kind.__module__.partition('.')[0]
        return (
            f'{topic}: not heard from {number} of its publishers: expected '
            f'{package}/msg/{kind.__name__}{", reliable" if reliable else ""}'
        )
