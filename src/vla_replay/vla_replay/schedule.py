"""What a recording feeds the graph at each tick of the lock-step clock.

The tick's stamp takes the place of every stamp, and the recorded one is kept aside: nodes in
lock-step know only whole ticks, people know a frame by its own stamp.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
import heapq
import itertools
import statistics
from typing import Any

from vla_core.image import BYTES_PER_PIXEL
from vla_replay.bag.reader import BagReader, Message, Topic
from vla_replay.bag.types import types_of
from vla_replay.errors import BagError
from vla_replay.goals import unheard_texts
from vla_replay.recording.choice import COMPRESSED, IMAGE
from vla_replay.stamps import stamp_of
from vla_replay.trace import TICK

#: ns between two ticks.
TICK_NS = round(TICK * 1e9)
#: ns by which messages of a recording may be out of the order of their stamps.
_SLACK = 1_000_000_000
#: ns without a message that are still played: a clock was set, or two drives were put together.
_LONGEST_GAP = 60_000_000_000
#: Frames from which the time between stamp and recording is learned.
_SAMPLE = 100
ODOM = 'odom'
#: In the name of frames that a camera node has scaled already.
_SCALED = 'vla/image'
COMMAND = 'command'
ODOMETRY, STRING = 'nav_msgs/msg/Odometry', 'std_msgs/msg/String'
RECORD = 'vla_interfaces/msg/Instruction'


@dataclass(frozen=True)
class Sources:
    """Topics of the recording that take the place of the robot.

    Attributes:
        frames: raw or compressed frames, or images that the camera node has scaled already.
        odom: odometry.
        command: texts.
        records: what became of texts; tells those that are on no topic.
    """

    frames: Topic
    odom: Topic
    command: Topic | None
    records: Topic | None = None

    @property
    def topics(self) -> tuple[Topic, ...]:
        """What is read."""
        every = (self.frames, self.odom, self.command, self.records)
        return tuple(one for one in every if one is not None)

    @property
    def entry(self) -> str:
        """Topic of the graph at which the frames come in."""
        if self.frames.type == COMPRESSED:
            return 'camera/color/image_raw/compressed'
        return 'vla/image/front' if self.scaled else 'camera/color/image_raw'

    @property
    def scaled(self) -> bool:
        """Whether the frames went through a camera node before they were recorded."""
        return self.frames.type == IMAGE and self.frames.name.endswith('vla/image/front')


@dataclass(frozen=True)
class Frame:
    """A frame, and the stamp that it was recorded with, ns."""

    stamp_ns: int
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Tick:
    """What goes out before the clock shows this tick.

    Attributes:
        texts: messages for `command`.
        odom: the newest odometry up to now.
        frame: the newest frame since the last tick.
        skipped: frames between it and the last tick, which no tick is left for.
    """

    texts: tuple[bytes, ...]
    odom: bytes = field(repr=False)
    frame: Frame | None
    skipped: int


def find_frames(topics: Collection[Topic], camera: str = '') -> Topic:
    """Choose the frames to play.

    Args:
        topics: of the recording.
        camera: topic of the frames; empty: the only camera there is, raw before scaled for the
            policy, and both before compressed; of a topic and its /compressed that with more
            messages.

    Raises:
        BagError: if there are none, or it is not clear which ones are meant.
    """
    images = [topic for topic in topics if topic.type in (IMAGE, COMPRESSED)]
    if camera:
        found = [topic for topic in images if topic.name.strip('/') == camera.strip('/')]
    else:
        images = _fuller(images)
        kinds = ((IMAGE, False), (IMAGE, True), (COMPRESSED, False), (COMPRESSED, True))
        sorts = (
            [one for one in images if (one.type, _SCALED in one.name) == kind] for kind in kinds
        )
        found = next((sort for sort in sorts if sort), [])
    if len(found) != 1:
        names = [topic.name for topic in found or images] or 'none'
        wanted = camera or 'a camera'
        raise BagError(f'frames of {wanted}: found {names}: expected one topic; name it (camera)')
    return found[0]


def _fuller(images: Collection[Topic]) -> list[Topic]:
    """Return topics of frames; of a raw one and its compressed twin that with more messages.

    A recorder that makes JPEG keeps a picture raw that it cannot read.
    """
    by_name = {topic.name: topic for topic in images}
    emptier = set()
    for topic in images:
        twin = by_name.get(f'{topic.name}/compressed')
        if topic.type == IMAGE and twin is not None:
            emptier.add(topic.name if topic.count < twin.count else twin.name)
    return [topic for topic in images if topic.name not in emptier]


def playable(bag: BagReader, camera: str = '') -> tuple[Topic, ...]:
    """Return the topics among which frames are looked for.

    Raw images that are no colour, such as depth, are none that a policy sees.

    Args:
        bag: the recording.
        camera: topic of the frames; it is among them whatever it holds.
    """
    topics = tuple(bag.topics.values())
    named = camera.strip('/')
    found = tuple(one for one in topics if one.name.strip('/') == named or _is_seen(bag, one))
    # Of depth alone the error names the topic.
    return found if any(one.type in (IMAGE, COMPRESSED) for one in found) else topics


def _is_seen(bag: BagReader, topic: Topic) -> bool:
    first = next(iter(bag.messages({topic.name})), None) if topic.type == IMAGE else None
    if first is None:
        return True
    try:
        message: Any = types_of(topic).deserialize_cdr(first.data, topic.type)
        return message.encoding in BYTES_PER_PIXEL
    except Exception:  # whatever rosbags makes of bytes: who reads the frames says what is wrong
        return True


def find_sources(topics: Collection[Topic], camera: str = '') -> Sources:
    """Choose what to play.

    Args:
        topics: of the recording.
        camera: topic of the frames, see find_frames.

    Raises:
        BagError: if frames or odometry are missing, or it is not clear which ones are meant.
    """
    frames = find_frames(topics, camera)
    odom = [topic for topic in topics if topic.type == ODOMETRY]
    odom = [topic for topic in odom if _last(topic) == ODOM] or odom
    if len(odom) != 1:
        found = [topic.name for topic in odom] or 'none'
        raise BagError(f'odometry: found {found}: expected one topic of {ODOMETRY}')
    texts = _one_or_none(
        'texts', [one for one in topics if one.type == STRING and _last(one) == COMMAND]
    )
    records = _one_or_none('records of texts', [one for one in topics if one.type == RECORD])
    return Sources(frames, odom[0], texts, records)


def _one_or_none(what: str, found: list[Topic]) -> Topic | None:
    if len(found) > 1:
        raise BagError(f'{what}: found {[topic.name for topic in found]}: expected one topic')
    return found[0] if found else None


def ticks(
    bag: BagReader, sources: Sources, start: float = 0.0, stop: float | None = None
) -> Iterator[Tick]:
    """Cut a recording into ticks, from its first frame on.

    The newest text before the part comes with its first tick: it still holds.

    Args:
        bag: the recording.
        sources: what of it to play.
        start: s after the beginning of the recording.
        stop: s after the beginning; None: to its end.

    Raises:
        BagError: if a stamp is out of order by more than 1 s, nothing comes for 60 s, or there is
            no frame or odometry.
    """
    begin, end = _part(bag, start, stop)
    delay = _delay(bag, sources)
    seen = bag.messages({sources.frames.name, sources.odom.name}, begin, end)
    texts = texts_of(bag, sources)
    before = [one.data for one in texts if one.stamp_ns < begin][-1:]
    said = [one for one in texts if begin <= one.stamp_ns and (end is None or one.stamp_ns < end)]
    messages = heapq.merge(seen, said, key=lambda message: message.stamp_ns)
    yield from _cut(_in_order(messages, sources, delay), sources, before)


def texts_of(bag: BagReader, sources: Sources) -> list[Message]:
    """Return all that the policy was told, std_msgs/String, in the order of arrival.

    Raises:
        BagError: if a record is malformed.
    """
    heard = [] if sources.command is None else bag.messages({sources.command.name})
    unheard = [] if sources.records is None else unheard_texts(bag, sources.records)
    return list(heapq.merge(heard, unheard, key=lambda message: message.stamp_ns))


def frame_span(
    bag: BagReader, frames: Topic, start: float = 0.0, stop: float | None = None
) -> tuple[int, int]:
    """Return the stamps, ns, of the first and the last frame of a part.

    Args:
        bag: the recording.
        frames: topic of the frames.
        start: s after the beginning of the recording.
        stop: s after the beginning; None: to its end.

    Raises:
        BagError: if there is no frame.
    """
    stamps = [
        stamp_of(message.data) for message in bag.messages({frames.name}, *_part(bag, start, stop))
    ]
    if not stamps:
        raise BagError(f'{frames.name}: no frame in this part of the recording')
    return min(stamps), max(stamps)


def _part(bag: BagReader, start: float, stop: float | None) -> tuple[int, int | None]:
    end = None if stop is None else bag.start_ns + round(stop * 1e9)
    return bag.start_ns + round(start * 1e9), end


def _delay(bag: BagReader, sources: Sources) -> int:
    """Return ns from a frame's stamp to its recording: texts have no stamp of their own."""
    frames = itertools.islice(bag.messages({sources.frames.name}), _SAMPLE)
    delays = [message.stamp_ns - stamp_of(message.data) for message in frames]
    if not delays:
        raise BagError(f'{sources.frames.name}: no frame in the recording')
    return round(statistics.median(delays))


def _in_order(
    messages: Iterable[Message], sources: Sources, delay: int
) -> Iterator[tuple[int, Message]]:
    """Sort by stamp what was recorded in the order of arrival."""
    waiting: list[tuple[int, int, Message]] = []
    latest = None
    for number, message in enumerate(messages):
        arrived = message.stamp_ns - delay
        seen = message.topic in (sources.frames.name, sources.odom.name)
        stamp = stamp_of(message.data) if seen else arrived
        if not abs(stamp - arrived) <= _SLACK:
            raise BagError(
                f'{message.topic}: stamp {stamp / 1e9:.3f} s of a message that was recorded at '
                f'{message.stamp_ns / 1e9:.3f} s: expected at most {_SLACK / 1e9:g} s away from '
                f"the frames' usual delay of {delay / 1e9:.3f} s"
            )
        heapq.heappush(waiting, (stamp, number, message))
        latest = arrived if latest is None else max(latest, arrived)
        while waiting and waiting[0][0] <= latest - _SLACK:
            yield heapq.heappop(waiting)[::2]
    while waiting:
        yield heapq.heappop(waiting)[::2]


def _cut(
    messages: Iterable[tuple[int, Message]], sources: Sources, before: Iterable[bytes]
) -> Iterator[Tick]:
    """Give each tick what has happened since the one before; the first one the texts `before`."""
    odom = frame = first = None
    texts = list(before)
    due = skipped = last = 0
    for stamp, message in messages:
        if first is not None and stamp - last > _LONGEST_GAP:
            raise BagError(
                f'nothing for {(stamp - last) / 1e9:.1f} s, {(last - first) / 1e9:.3f} s after '
                f'the first frame: expected at most {_LONGEST_GAP / 1e9:g} s; was a clock set? '
                'Take a part without it (vla bag trim)'
            )
        last = stamp
        while first is not None and odom is not None and stamp > due:
            yield Tick(tuple(texts), odom, frame, skipped)
            texts.clear()
            frame, skipped, due = None, 0, due + TICK_NS
        if message.topic == sources.odom.name:
            odom = message.data
        elif message.topic == sources.frames.name:
            if first is None:
                first = due = stamp
            skipped += frame is not None
            frame = Frame(stamp_of(message.data), message.data)
        else:
            texts.append(message.data)
    if first is None:
        raise BagError(f'{sources.frames.name}: no frame in this part of the recording')
    if odom is None:
        raise BagError(f'{sources.odom.name}: no odometry in this part of the recording')
    yield Tick(tuple(texts), odom, frame, skipped)


def _last(topic: Topic) -> str:
    return topic.name.rsplit('/', 1)[-1]
