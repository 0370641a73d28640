"""What latched topics said last, which their subscribers would have."""

from collections.abc import Collection
from functools import lru_cache

from rosbags.typesys import get_typestore, Stores
from rosbags.typesys.store import Typestore

from vla_replay.bag.reader import BagReader
from vla_replay.bag.topics import Message, Topic

_TRANSFORMS = 'tf2_msgs/msg/TFMessage'


class Latched:
    """Keeps the newest message of each topic; of transforms, that of each child frame.

    `/tf_static` has several publishers, and none of them says what the others say.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        # Of topic and child frame, in the order of arrival.
        self._newest: dict[tuple[str, str], Message] = {}

    def add(self, message: Message, topic: Topic) -> None:
        """Take a message of a topic, behind all that came before it."""
        parts = _children(message.data) if topic.type == _TRANSFORMS else ('',)
        for part in parts:
            self._newest.pop((message.topic, part), None)
            self._newest[message.topic, part] = message

    def messages(self) -> list[Message]:
        """Return what still holds, in the order of arrival."""
        return list({id(one): one for one in self._newest.values()}.values())


def latched_before(bag: BagReader, names: Collection[str], begin_ns: int) -> list[Message]:
    """Return what latched topics said last before a moment, with its stamp: it holds then, too.

    Args:
        bag: the recording.
        names: of topics.
        begin_ns: the moment.
    """
    topics = {name: bag.topics[name] for name in names if name in bag.topics}
    topics = {name: topic for name, topic in topics.items() if topic.latched}
    kept = Latched()
    for message in bag.messages(topics, end_ns=begin_ns) if topics else ():
        kept.add(message, topics[message.topic])
    return [Message(one.topic, begin_ns, one.data) for one in kept.messages()]


def _children(data: bytes) -> tuple[str, ...]:
    """Return the child frames in a TFMessage; one that cannot be read counts by its topic."""
    try:
        found = _types().deserialize_cdr(data, _TRANSFORMS)
        return tuple(one.child_frame_id for one in found.transforms)
    except Exception:  # whatever rosbags makes of bytes that are no message
        return ('',)


@lru_cache(maxsize=1)
def _types() -> Typestore:
    return get_typestore(Stores.ROS2_JAZZY)
