"""When each message of a recording goes out, and with which stamp. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
import re

from vla_replay.bag.topics import Message, Topic
from vla_replay.errors import BagError
from vla_replay.stamps import restamped, stamp_of

#: What this workspace's own nodes, and every node, publish: never played unless it is named.
_OWN = re.compile(
    r'(^|/)(vla/.*|safety/(decision|state|events|request)|cmd_vel|gripper_command|diagnostics|'
    r'rosout|parameter_events|clock|sim/.*)$'
)
_COMMENT = re.compile(r'#.*')
_HEADER = re.compile(r'std_msgs/(msg/)?Header\s')


@dataclass(frozen=True)
class Due:
    """One message on its way.

    Attributes:
        at: s after the beginning of the play.
        stamp_ns: when it was recorded.
        topic: name in the recording.
        data: complete CDR.
    """

    at: float
    stamp_ns: int
    topic: str
    data: bytes = field(repr=False)


def chosen(topics: Mapping[str, Topic], names: Iterable[str]) -> dict[str, Topic]:
    """Choose the topics to play.

    Args:
        topics: of the recording.
        names: what was asked for; empty: whatever a robot, its sensors and people send.

    Raises:
        BagError: if one is not in the recording, or none is left.
    """
    asked = {f'/{name.strip("/")}' for name in names}
    missing = sorted(asked - set(topics))
    if missing:
        raise BagError(f'topic {missing[0]}: expected some of {sorted(topics)}')
    found = (
        {name: topics[name] for name in asked}
        if asked
        else {name: topic for name, topic in topics.items() if not _OWN.search(name)}
    )
    if not found:
        raise BagError(f'nothing to play among {sorted(topics)}; name topics with --topics')
    return dict(sorted(found.items()))


def has_header(topic: Topic) -> bool:
    """Whether its messages begin with a std_msgs/Header, by the definition in the recording."""
    lines = (_COMMENT.sub('', line).strip() for line in topic.definition.splitlines())
    first = next((line for line in lines if line and '=' not in line), '')
    return _HEADER.match(first) is not None


def pace(
    messages: Callable[[], Iterable[Message]], rate: float, rounds: int | None = 1
) -> Iterator[Due]:
    """Space messages as they were recorded, at another rate.

    Args:
        messages: begins anew with each call.
        rate: times the recorded speed, > 0.
        rounds: how often; None: for ever.
    """
    begin, played = 0.0, 0
    while rounds is None or played < rounds:
        first, at, before = None, begin, begin
        for message in messages():
            if first is None:
                first = message.stamp_ns
            before, at = at, begin + (message.stamp_ns - first) / 1e9 / rate
            yield Due(at, message.stamp_ns, message.topic, message.data)
        if first is None:
            return
        # The next round comes as long after the last message as that came after the one before.
        begin, played = at + (at - before), played + 1


def fresh(due: Due, began_ns: int, rate: float) -> bytes:
    """Return a message that begins with a header as if it were taken now.

    Its stamp keeps its distance from the moment of recording, at the rate of the play.

    Args:
        due: the message.
        began_ns: ROS time at which the play began.
        rate: times the recorded speed.

    Raises:
        BagError: if the message has no header.
    """
    delay = (due.stamp_ns - stamp_of(due.data)) / rate
    return restamped(due.data, began_ns + round(due.at * 1e9 - delay))
