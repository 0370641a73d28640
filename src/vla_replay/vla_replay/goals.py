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
    followed when the recording began, which the latched record tells.

    Args:
        bag: the recording.
        records: its topic `vla/instruction`.

    Raises:
        BagError: if a record is malformed.
    """
    known: set[tuple[int, int]] = set()
    for message in bag.messages({records.name}):
        try:
            record = deserialize_message(message.data, Instruction)
        except Exception as error:  # rclpy's C code raises what it likes
            size = len(message.data)
            raise BagError(f'{records.name}: message of {size} bytes: {error}') from None
        key = (record.policy_run, record.id)
        if not record.id or key in known:
            continue
        known.add(key)
        if to_ns(record.header.stamp) < bag.start_ns:
            told = record.status == Fate.RUNNING
        else:
            told = record.source == Source.ACTION
        if told:
            data = serialize_message(String(data=record.text))
            yield Message(records.name, message.stamp_ns, data)
