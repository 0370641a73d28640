"""Feed a recording to a graph in lock-step, and note everything that comes of it."""

from __future__ import annotations

from collections.abc import Iterable
import itertools
import time

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from vla_core.gate.causes import State
from vla_interfaces.msg import ActionChunk, Decision, Heartbeat
from vla_replay.errors import BagError
from vla_replay.messages import decisions_of, gather
from vla_replay.schedule import COMPRESSED, Frame, Sources, Tick
from vla_replay.stamps import restamped
from vla_replay.trace import Chunks, Decisions
from vla_ros import qos
from vla_ros.conversion import to_ns
from vla_ros.lockstep import LockstepClock, LockstepError

#: Ticks with the first frame, at rest, in which the gate arms itself; every recording begins at
#: the same tick, because numbers depend on it.
PRELUDE = 250
#: Ticks between two frames of the prelude.
_TICKS_PER_FRAME = 2
#: s of wall time after which a node's count of errors tells that it dropped the frame.
_DROPPED = 0.3


class ReplayDriver(LockstepClock):
    """Camera, base and person of a graph, all from a recording.

    Attributes:
        skipped: frames that shared a tick with a newer one and were not sent.
        dropped: recorded stamps of frames that the graph refused, ns.
        seconds: wall time of each tick.
    """

    def __init__(self, sources: Sources, domain_id: int | None = None) -> None:
        """Join the graph's domain.

        Args:
            sources: topics of the recording.
            domain_id: of the graph; None: that of the environment.
        """
        super().__init__('replay', {sources.entry: 1}, domain_id)
        self.skipped = 0
        self.dropped: list[int] = []
        self.seconds: list[float] = []
        node = self.node
        kind = CompressedImage if sources.frames.type == COMPRESSED else Image
        self._images = node.create_publisher(kind, sources.entry, qos.EVERY)
        self._odometry = node.create_publisher(Odometry, 'odom', qos.EVERY)
        node.create_subscription(ActionChunk, 'vla/action_chunk', self._on_chunk, qos.EVERY)
        node.create_subscription(Heartbeat, 'vla/heartbeat', self._on_heartbeat, qos.HEARTBEAT)
        #: s from a frame to its chunk, as far as this process sees it.
        self.to_chunk: list[float] = []
        self._chunks: list[ActionChunk] = []
        self._errors: dict[str, int] = {}
        #: Stamp of a tick -> recorded stamp of its frame, ns.
        self._recorded: dict[int, int] = {}
        self._sent_at = 0.0
        self._errors_before = 0

    def run(self, ticks: Iterable[Tick], instruction: str) -> tuple[Chunks, Decisions]:
        """Play a recording.

        Args:
            ticks: of the recording; the first one has a frame.
            instruction: said at its beginning in place of the recorded texts; empty: those.

        Returns:
            What the graph did, from the first frame of the recording on.

        Raises:
            LockstepError: if a hop is missing, or the gate does not arm itself.
            BagError: if a message is malformed.
        """
        ticks = iter(ticks)
        first = next(ticks)
        self._prelude(first)
        if instruction:
            self.say(instruction)
        decisions = []
        for tick in itertools.chain((first,), ticks):
            began = time.monotonic()
            self.skipped += tick.skipped
            for text in () if instruction else tick.texts:
                self._hear(text)
            decisions.append(self._play(tick.odom, tick.frame))
            self.seconds.append(time.monotonic() - began)
        texts = {number: record.text for number, record in self.records.items()}
        return (
            gather(self._chunks, self._recorded, texts),
            decisions_of(decisions, self._recorded),
        )

    @property
    def model(self) -> str:
        """Name and hash of the policy's checkpoint."""
        newest = self._chunks[-1]
        return f'{newest.model_id} {newest.model_sha256}'

    @property
    def inference(self) -> list[float]:
        """S that the policy spent on each frame of the recording."""
        return [msg.inference_seconds for msg in self._chunks]

    def frame_lost(self) -> bool:
        """Whether a node has counted an error since the frame that nobody has answered."""
        waited = time.monotonic() - self._sent_at
        return waited >= _DROPPED and sum(self._errors.values()) > self._errors_before

    def _prelude(self, first: Tick) -> None:
        if first.frame is None:
            raise BagError('schedule begins without a frame')
        still = _deserialised(first.odom, Odometry, 'odom')
        still.twist.twist = Twist()
        odom = serialize_message(still)
        for number in range(PRELUDE):
            self._play(odom, None if number % _TICKS_PER_FRAME else first.frame)
        if self.decision.state != State.ACTIVE:
            raise LockstepError(
                f'gate is {State(self.decision.state).name} after {self.time:g} s with the first '
                f'frame: expected ACTIVE; {self.arm()[1]}'
            )
        self._chunks.clear()
        self.to_chunk.clear()
        self._recorded.clear()

    def _play(self, odom: bytes, frame: Frame | None) -> Decision:
        def send(stamp: Time) -> bool:
            tick_ns = to_ns(stamp)
            self._odometry.publish(restamped(odom, tick_ns))
            if frame is None:
                return False
            self._recorded[tick_ns] = frame.stamp_ns
            self._errors_before = sum(self._errors.values())
            self._sent_at = time.monotonic()
            self._images.publish(restamped(frame.data, tick_ns))
            return True

        decision = self.step(send)
        if frame is not None:
            newest = self.tick_ns
            if to_ns(decision.observation_stamp) < newest:
                self.dropped.append(frame.stamp_ns)
            else:
                # The gate has heard this chunk; here it may come a little later.
                self.wait_for(
                    lambda: (
                        bool(self._chunks) and to_ns(self._chunks[-1].observation_stamp) >= newest
                    ),
                    lambda: f'tick {self.tick_number}: its chunk has not come here (policy)',
                )
        return decision

    def _hear(self, data: bytes) -> None:
        """Pass a recorded text on; a malformed one gets no id."""
        text = _deserialised(data, String, 'command').data
        newest, malformed = self.decision.instruction_id, len(self.malformed)
        self.send(text)
        self.wait_for(
            lambda: self.decision.instruction_id > newest or len(self.malformed) > malformed,
            lambda: f'text {text[:40]!r}: neither taken in nor refused (policy)',
        )

    def _on_chunk(self, msg: ActionChunk) -> None:
        self._chunks.append(msg)
        self.to_chunk.append(time.monotonic() - self._sent_at)

    def _on_heartbeat(self, msg: Heartbeat) -> None:
        self._errors[msg.node] = msg.errors_total


def _deserialised(data: bytes, kind: type, topic: str) -> Odometry | String:
    try:
        return deserialize_message(data, kind)
    except Exception as error:  # rclpy's C code raises what it likes
        raise BagError(f'{topic}: message of {len(data)} bytes: {error}') from None
