"""Chunks and decisions, as messages, become a trace; a recorded drive does as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from rclpy.serialization import deserialize_message

from vla_interfaces.msg import ActionChunk, Decision, Instruction
from vla_replay.bag.reader import BagReader
from vla_replay.bag.types import require_installed
from vla_replay.errors import BagError
from vla_replay.trace import Chunks, Decisions, Trace
from vla_ros.conversion import to_ns, twist_from_msg

_CHUNK = 'vla_interfaces/msg/ActionChunk'
#: Largest stamp, ns.
_LATEST = (1 << 63) - 1
_RECORD = 'vla_interfaces/msg/Instruction'


def gather(
    messages: Iterable[ActionChunk], recorded: Mapping[int, int], texts: Mapping[int, str]
) -> Chunks:
    """Put what the policy answered into arrays, the last one for each frame; zeros: not asked.

    What the gate plays is spliced into the command of the moment, and moments differ in a live
    drive; the answer to a frame does not.

    Args:
        messages: in the order of arrival, of one policy.
        recorded: stamp of the frame in the graph -> its recorded stamp, ns; others are left out.
        texts: instruction id -> text.

    Raises:
        BagError: if there is none, the policy was never asked, so that any policy would do the
            same, or it changed its axes or its horizon.
    """
    newest = {
        recorded[to_ns(msg.observation_stamp)]: msg
        for msg in messages
        if to_ns(msg.observation_stamp) in recorded
    }
    frames = sorted(newest)
    chunks = [newest[frame] for frame in frames]
    if not any(len(msg.predicted) for msg in chunks):
        raise BagError(
            f'{len(chunks)} chunks, none of them an answer of the policy: expected a text before '
            'or in the part that is played, or --instruction'
        )
    axes = {(tuple(msg.names), tuple(msg.units)) for msg in chunks}
    sizes = {len(msg.predicted) for msg in chunks} - {0}
    if len(axes) != 1 or len(sizes) > 1:
        raise BagError(
            f'chunks of {len(axes)} kinds (axes, units) and {len(sizes)} sizes: expected one'
        )
    ((names, units),) = axes
    (size,) = sizes
    data = [msg.predicted if len(msg.predicted) else np.zeros(size) for msg in chunks]
    said = ('', *sorted(set(texts.values()) - {''}))
    return Chunks(
        names=names,
        units=units,
        texts=said,
        frame=np.array(frames, dtype=np.int64),
        text=np.array([said.index(texts.get(msg.instruction_id, '')) for msg in chunks]),
        status=np.array([msg.status for msg in chunks], dtype=np.uint8),
        data=np.array(data).reshape(len(chunks), -1, len(names)),
    )


def decisions_of(decisions: Sequence[Decision], recorded: Mapping[int, int]) -> Decisions:
    """Put the decisions of ticks into arrays.

    Args:
        decisions: one for each tick.
        recorded: stamp of a frame in the graph -> its recorded stamp, ns; others become 0.
    """

    def velocities(name: str) -> np.ndarray:
        return np.array([twist_from_msg(getattr(msg, name)) for msg in decisions])

    return Decisions(
        state=np.array([msg.state for msg in decisions], dtype=np.uint8),
        cause=np.array([msg.cause for msg in decisions], dtype=np.uint8),
        frame=np.array([recorded.get(to_ns(msg.observation_stamp), 0) for msg in decisions]),
        step=np.array([msg.step_index for msg in decisions], dtype=np.int64),
        wanted=velocities('wanted'),
        allowed=velocities('allowed'),
        published=velocities('published'),
        gripper=np.array([msg.gripper for msg in decisions], dtype=float),
    )


def recorded_trace(
    bag: BagReader, facts: Mapping[str, str], first_ns: int = 0, last_ns: int = _LATEST
) -> Trace:
    """Return the chunks that a recording holds: what the policy did in the live drive.

    Args:
        bag: the recording.
        facts: about the trace.
        first_ns: stamp of the first frame that counts.
        last_ns: stamp of the last one.

    Raises:
        BagError: if there are none for these frames, of another definition, or from more than one
            run of a policy.
    """
    kinds = {_CHUNK: ActionChunk, _RECORD: Instruction}
    found = [topic for topic in bag.topics.values() if topic.type in kinds]
    for topic in found:
        require_installed(topic)
    topics = {topic.name: topic.type for topic in found}
    if _CHUNK not in topics.values():
        raise BagError(f'no {_CHUNK} in the recording: expected it, or --golden FILE')
    chunks: list[ActionChunk] = []
    said: dict[tuple[int, int], str] = {}
    for message in bag.messages(topics):
        msg = deserialize_message(message.data, kinds[topics[message.topic]])
        if isinstance(msg, ActionChunk):
            if first_ns <= to_ns(msg.observation_stamp) <= last_ns:
                chunks.append(msg)
        elif msg.id:
            said[msg.policy_run, msg.id] = msg.text
    runs = {msg.policy_run for msg in chunks}
    if len(runs) != 1:
        raise BagError(f'chunks of {len(runs)} runs of a policy for these frames: expected one')
    texts = {number: text for (run, number), text in said.items() if run in runs}
    stamps = [to_ns(msg.observation_stamp) for msg in chunks]
    return Trace(facts, gather(chunks, dict(zip(stamps, stamps, strict=True)), texts))
