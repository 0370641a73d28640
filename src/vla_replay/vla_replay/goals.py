"""Texts that are on no topic of a recording: goals, and what was told before it began.

The policy records both on `vla/instruction`.
"""

from __future__ import annotations

from collections.abc import Iterator

from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import String

from vla_core.session import Fate, Source
from vla_interfaces.msg import Instruction
from vla_replay.bag.reader import BagReader, Message, Topic
from vla_replay.errors import BagError
from vla_ros.conversion import to_ns


def unheard_texts(bag: BagReader, records: Topic) -> Iterator[Message]:
    """Yield as messages of `command` what the policy was told otherwise, when it took it in.

    That is every goal, also the "stop" of one that was cancelled, and the text that was being
    followed when the recording began, which the latched records tell.

    Args:
        bag: the recording.
        records: its topic `vla/instruction`.

    Raises:
        BagError: if a record is malformed.
    """
    known: set[tuple[int, int]] = set()
    followed: tuple[tuple[int, int], Message] | None = None
    for message in bag.messages({records.name}):
        record = _record(message)
        key = (record.policy_run, record.id)
        if not record.id:
            continue
        text = Message(records.name, message.stamp_ns, serialize_message(String(data=record.text)))
        if to_ns(record.header.stamp) < bag.start_ns:
            if record.status == Fate.RUNNING:
                followed = followed if key in known else (key, text)
            elif record.status == Fate.REFUSED or (followed and followed[0] == key):
                followed = None
            known.add(key)
            continue
        if followed is not None:
            yield followed[1]
            followed = None
        if key not in known and record.source == Source.ACTION:
            yield text
        known.add(key)
    if followed is not None:
        yield followed[1]


def _record(message: Message) -> Instruction:
    """Return a record.

    Raises:
        BagError: if it is malformed.
    """
    try:
        return deserialize_message(message.data, Instruction)
    except Exception as error:  # rclpy's C code raises what it likes
        size = len(message.data)
        raise BagError(f'{message.topic}: message of {size} bytes: {error}') from None
