"""A bag read for people and for learning: its frames, commands, odometry and instructions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
import itertools
import math
from typing import Any

import numpy as np

from vla_core.gate.causes import State
from vla_core.image import decode_compressed, decode_raw
from vla_core.resample import to_velocities, velocity_units
from vla_core.session import Fate
from vla_core.text import is_stop_word
from vla_core.types import NATIVE_AXES, PolicySpec
from vla_replay.bag.clock_set import refuse_clock_set
from vla_replay.bag.reader import BagReader, Topic
from vla_replay.bag.topics import INSTRUCTION, LABEL
from vla_replay.bag.types import types_of
from vla_replay.conversion.alignment import Said, Segment, segments, Series, UNFINISHED
from vla_replay.errors import BagError
from vla_replay.schedule import (
    COMMAND,
    COMPRESSED,
    find_frames,
    IMAGE,
    ODOM,
    ODOMETRY,
    playable,
)
from vla_replay.stamps import stamp_of
from vla_ros.files import find_spec

TWIST, STAMPED = 'geometry_msgs/msg/Twist', 'geometry_msgs/msg/TwistStamped'
CHUNK, RECORD = 'vla_interfaces/msg/ActionChunk', 'vla_interfaces/msg/Instruction'
DECISION = 'vla_interfaces/msg/Decision'
STRING = 'std_msgs/msg/String'
FLOAT, GRIPPER = 'std_msgs/msg/Float64', 'gripper_command'
#: Source of actions: what the policy answered to a frame.
CHUNKS = 'chunks'
#: ns from the stamp of a frame to its recording, from which on their clocks are not the same one.
_SAME_CLOCK = 1_000_000_000
#: Fields without which a message cannot be used; `predicted` of a chunk has an error of its own.
_NEEDED = {
    TWIST: ('linear', 'angular'),
    STAMPED: ('header', 'twist'),
    ODOMETRY: ('header', 'twist'),
    IMAGE: ('header', 'encoding', 'width', 'height', 'step', 'data'),
    COMPRESSED: ('header', 'data'),
    CHUNK: ('header', 'observation_stamp', 'names', 'model_id'),
    RECORD: ('header', 'id', 'text', 'status'),
    STRING: ('data',),
    FLOAT: ('data',),
    DECISION: ('header', 'state', 'cause', 'wanted', 'published'),
}
#: States of the gate in which what it publishes is what policy or person want, within limits.
_OBEYING = (State.ACTIVE, State.MANUAL)
#: States into which a person's silence leads, and zeros are silence.
_STANDING = (State.CONTROLLED_STOP, State.STOPPED)
#: s for which a command holds: a base stops by itself after that.
COMMAND_AGE, ODOM_AGE = 0.5, 0.5
STATE_NAMES = ('odom.v', 'odom.w')


class Drive:
    """One bag.

    Attributes:
        frames: topic of its frames.
        stamps: int64 [N], of the frames, ns, increasing.
    """

    def __init__(self, bag: BagReader, camera: str = '', beside: str = '') -> None:
        """Read everything but the pictures.

        Args:
            bag: the recording.
            camera: topic of the frames; empty: the only one there is.
            beside: topic in the namespace of the robot that drove; empty or CHUNKS: its frames.

        Raises:
            BagError: if frames are missing, it is not clear which ones are meant, the clocks of
                their stamps and of the recorder drift apart, or one was set.
        """
        refuse_clock_set(bag)
        self._bag = bag
        self._types: dict[str, Callable[[bytes], Any]] = {}
        self.frames = find_frames(playable(bag, camera), camera)
        self._beside = self.frames.name if beside in ('', CHUNKS) else beside
        read = [(one.stamp_ns, stamp_of(one.data)) for one in bag.messages({self.frames.name})]
        recorded, stamps = np.array(read, dtype=np.int64).reshape(-1, 2).T
        self.stamps = np.unique(stamps)
        self._ahead = self._clocks_apart(recorded - stamps)

    def actions(self, source: str, policy: str = '') -> Series:
        """Return velocities, gripper last, D = 7, SI.

        Args:
            source: CHUNKS for the policy's first step for every frame; else a topic of
                Twist or TwistStamped.
            policy: of CHUNKS: checkpoint or built-in policy, which says what its answers mean.

        Raises:
            BagError: if the bag has no such topic, or another policy answered.
            VlaError: if there is no such checkpoint, or its answers are no velocities and cannot
                be made some.
        """
        if source == CHUNKS:
            return self._chunks(find_spec(policy))
        topic = self._topic(source, (TWIST, STAMPED))
        samples = []
        for stamp, msg in self.messages(topic):
            twist = msg.twist if topic.type == STAMPED else msg
            samples.append((stamp, (*_axes(twist), 0.0)))
        velocities = Series.of(samples, len(NATIVE_AXES))
        gripper = self.gripper()
        if len(gripper.stamps):
            # A position, unlike a velocity, holds until there is another one.
            velocities.values[:, -1:] = gripper.at(velocities.stamps, math.inf)
        return velocities

    def gripper(self) -> Series:
        """Return what the gripper was told, 0 open to 1 closed; empty: nothing in the bag."""
        decisions = self.decisions()
        told: list[tuple[int, tuple[float]]] = []
        if decisions is not None:
            # Decisions of older gates have no such field.
            grips = (
                (at, getattr(msg, 'gripper', math.nan)) for at, msg in self.messages(decisions)
            )
            told = [(at, (float(grip),)) for at, grip in grips if not math.isnan(grip)]
        topic = None if told else self._nearest(FLOAT, GRIPPER)
        if topic is not None:
            told = [(at, (float(msg.data),)) for at, msg in self.messages(topic)]
        return Series.of(told, 1)

    def odometry(self) -> Series:
        """Return m/s ahead and rad/s; empty where the bag has none."""
        topic = self._nearest(ODOMETRY, ODOM) or self._nearest(ODOMETRY)
        samples = (
            (stamp_of(data), (msg.twist.twist.linear.x, msg.twist.twist.angular.z))
            for data, msg in ([] if topic is None else self._raw(topic))
        )
        return Series.of(samples, len(STATE_NAMES))

    def obedience(self) -> Series:
        """Return two truths of every decision, 1.0 or 0.0; empty where the bag has no gate.

        The first: the gate publishes what policy or person want, within limits. The second: it
        stands as a person wants it to. Who sends zeros is taken for gone after half a second,
        and the robot is stopped for good; but nothing has changed for who wanted it to stand.
        """
        topic = self.decisions()
        samples, rests = [], False
        for stamp, msg in [] if topic is None else self.messages(topic):
            if msg.state == State.MANUAL:
                rests = not any(_axes(msg.wanted))
            elif msg.state not in _STANDING:
                rests = False
            samples.append((stamp, (float(msg.state in _OBEYING), float(rests))))
        return Series.of(samples, 2)

    def decisions(self) -> Topic | None:
        """Return the topic of the gate's decisions; None: the bag has none.

        Raises:
            BagError: if it is not clear which gate is that of this robot.
        """
        return self._nearest(DECISION)

    def segments(self, instruction: str = '') -> list[Segment]:
        """Return the episodes of the drive.

        Args:
            instruction: said for all of it; empty: what the bag says.

        Raises:
            BagError: if the bag says nothing of instructions.
        """
        end = int(self.stamps[-1]) + 1 if len(self.stamps) else 0
        shown = self._bag.custom.get(INSTRUCTION, '')
        text = instruction or shown
        if text:
            # A demonstration gets its label at its end: without one it was cut off.
            label = self._bag.custom.get(LABEL, UNFINISHED if shown else '')
            return [Segment(text, int(self.stamps[0]), end, label)] if len(self.stamps) else []
        for kind, name, read in ((RECORD, '', self._records), (STRING, COMMAND, self._texts)):
            topic = self._nearest(kind, name)
            # A part of a drive keeps the topics of the whole, empty ones too.
            if topic is not None and topic.count:
                said = sorted(read(topic), key=lambda one: one.stamp_ns)
                found = segments(said, end)
                # What became of a plain text nobody has said.
                return found if kind == RECORD else [replace(one, end='') for one in found]
        raise BagError(
            f'{self._bag.path}: no vla/instruction and no command in it: name the instruction'
        )

    def pictures(self) -> Iterator[tuple[int, Callable[[], np.ndarray], bytes]]:
        """Yield of every frame its stamp, ns, its RGB pixels when asked for, and its JPEG or PNG.

        The last is empty for raw frames. ObservationError comes out of what cannot be decoded.
        """
        compressed = self.frames.type == COMPRESSED
        for data, msg in self._raw(self.frames):

            def decode(msg: Any = msg) -> np.ndarray:
                if compressed:
                    return decode_compressed(msg.data.tobytes())
                data = msg.data.tobytes()
                return decode_raw(data, msg.encoding, msg.width, msg.height, msg.step)

            yield stamp_of(data), decode, msg.data.tobytes() if compressed else b''

    def _chunks(self, spec: PolicySpec) -> Series:
        velocity_units(spec)
        topic = self._nearest(CHUNK)
        if topic is None:
            raise BagError(f'{self._bag.path}: no {CHUNK} in it: name a topic of velocities')
        samples = []
        for _, msg in self.messages(topic):
            if not hasattr(msg, 'predicted'):
                raise BagError(
                    f'{self._bag.path}: its chunks do not say what the policy answered, as those '
                    'of newer recordings do: name a topic of velocities'
                )
            if not len(msg.predicted):
                continue
            if (msg.model_id, tuple(msg.names)) != (spec.model_id, spec.action_names):
                raise BagError(
                    f'{self._bag.path}: {msg.model_id!r} answered, {list(msg.names)}: expected '
                    f'its checkpoint as policy, not {spec.model_id!r}, {list(spec.action_names)}, '
                    'for what its answers mean'
                )
            # In the policy's own representation, which may be metres per step.
            row = np.asarray(msg.predicted[: len(msg.names)], dtype=np.float64)[None]
            velocities = to_velocities(row, spec, spec.step_dt)[0]
            first = dict(zip(msg.names, velocities.tolist(), strict=True))
            stamp = msg.observation_stamp.sec * 10**9 + msg.observation_stamp.nanosec
            samples.append((stamp, [first.get(axis, 0.0) for axis in NATIVE_AXES]))
        return Series.of(samples, len(NATIVE_AXES))

    def _records(self, topic: Topic) -> Iterator[Said]:
        for stamp, msg in self.messages(topic):
            if msg.id:
                run = int(getattr(msg, 'policy_run', 0))
                yield Said(stamp, int(msg.id), msg.text, Fate(msg.status), run)

    def _texts(self, topic: Topic) -> Iterator[Said]:
        for number, (stamp, msg) in enumerate(self.messages(topic), 1):
            stopped = is_stop_word(msg.data)
            # A stop word ends what runs: it is told of the text before it.
            yield Said(
                stamp, number - stopped, msg.data, Fate.STOPPED if stopped else Fate.RUNNING
            )

    def _nearest(self, kind: str, name: str = '') -> Topic | None:
        """Return the topic of a type that belongs to this robot; None: the bag has none.

        Of several it is the one that shares the most of the robot's namespace and leaves it the
        least.

        Args:
            kind: the type.
            name: last part of the topic's name; empty: any.

        Raises:
            BagError: if several are as near as each other.
        """
        found = [
            topic
            for topic in self._bag.topics.values()
            if topic.type == kind and (not name or topic.name.endswith(f'/{name}'))
        ]
        distances = [_distance(topic.name, self._beside) for topic in found]
        nearest = [
            topic
            for topic, distance in zip(found, distances, strict=True)
            if distance == min(distances)
        ]
        if len(nearest) > 1:
            raise BagError(
                f'{self._bag.path}: {kind}: found {[topic.name for topic in nearest]}: expected '
                f'one in the namespace of {self._beside}; leave the others out (vla bag trim '
                '--topics)'
            )
        return nearest[0] if nearest else None

    def _topic(self, name: str, kinds: tuple[str, ...]) -> Topic:
        topic = self._bag.topics.get(f'/{name.strip("/")}')
        if topic is None or topic.type not in kinds:
            found = {one.name: one.type for one in self._bag.topics.values()}
            raise BagError(f'{self._bag.path}: {name} of {" or ".join(kinds)}: found {found}')
        return topic

    def messages(self, topic: Topic) -> Iterator[tuple[int, Any]]:
        """Yield when each message was made, ns, as well as its header or the recorder knows."""
        stamped = topic.type in (STAMPED, RECORD, CHUNK, DECISION)
        read = self._reader(topic)
        for message in self._bag.messages({topic.name}):
            stamp = stamp_of(message.data) if stamped else message.stamp_ns - self._ahead
            yield stamp, read(message.data)

    def _clocks_apart(self, delays: np.ndarray) -> int:
        """Return ns by which the recorder's clock is ahead of the one that stamps frames.

        It is 0 where frames are recorded soon after they were taken. Simulated time, or a drive
        that was recorded while it was played back, has another clock.
        """
        usual = int(np.median(delays)) if len(delays) else 0
        if abs(usual) <= _SAME_CLOCK:
            return 0
        if not np.abs(delays - usual).max() <= _SAME_CLOCK:
            raise BagError(
                f'{self._bag.path}: {self.frames.name} was recorded {delays.min() / 1e9:.3f} to '
                f'{delays.max() / 1e9:.3f} s after its stamps: expected one clock, or two at a '
                f'distance that stays within {_SAME_CLOCK / 1e9:g} s'
            )
        return usual

    def _raw(self, topic: Topic) -> Iterator[tuple[bytes, Any]]:
        read = self._reader(topic)
        for message in self._bag.messages({topic.name}):
            yield message.data, read(message.data)

    def _reader(self, topic: Topic) -> Callable[[bytes], Any]:
        """Return what reads a message by the definition in its bag, older ones too."""
        if topic.name not in self._types:
            store = types_of(topic)
            there = {name for name, _ in store.fielddefs[topic.type][1]}
            missing = sorted(set(_NEEDED.get(topic.type, ())) - there)
            if missing:
                raise BagError(
                    f'{self._bag.path}: {topic.name} was recorded with another {topic.type}: '
                    f'expected its fields {missing}'
                )

            def read(data: bytes) -> Any:
                try:
                    return store.deserialize_cdr(data, topic.type)
                except Exception as error:  # whatever rosbags makes of bytes that are no message
                    raise BagError(
                        f'{topic.name}: message of {len(data)} bytes: {error}: expected '
                        f'{topic.type}'
                    ) from None

            self._types[topic.name] = read
        return self._types[topic.name]


def _axes(twist: Any) -> tuple[float, ...]:
    """Return the six axes of a Twist, linear ones first."""
    parts = (twist.linear, twist.angular)
    return tuple(float(value) for part in parts for value in (part.x, part.y, part.z))


def _distance(name: str, beside: str) -> tuple[int, int]:
    """Return how far a topic is from another one: parts of the namespace not shared by both."""
    there, here = (one.strip('/').split('/')[:-1] for one in (name, beside))
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(there, here, strict=False))
    shared = len(list(pairs))
    return -shared, len(there) - shared
