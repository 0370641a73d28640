"""Where messages go: into a bag at once, or into a ring that becomes a bag when asked.

Both run in the one thread that writes; time is injected. A disk that refuses costs messages, which
are counted, never the process.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
import shutil
from typing import Protocol

from vla_replay.bag.clock_set import CLOCK_SET, Jump
from vla_replay.bag.topics import Message, Topic
from vla_replay.bag.writer import BagWriter
from vla_replay.errors import BagError
from vla_replay.recording.ring import Ring

#: s until a disk that refused, or was full, is tried again.
RETRY = 5.0
#: s between two looks at the free space, and two notes of what was dropped.
CHECK = 1.0
#: Reasons that one bag names.
_MOST_REASONS = 10
#: Facts about what a bag does not hold.
DROPPED, LOST = 'dropped_messages', 'lost_on_disk'

MakeWriter = Callable[[Path], BagWriter]


@dataclass
class Status:
    """How a recorder does.

    Attributes:
        written: messages in bags.
        bags: finished or in progress, the newest last.
        lost: messages that a refusing disk cost.
        error: what is wrong now; empty: nothing.
    """

    written: int = 0
    bags: list[Path] = field(default_factory=list)
    lost: int = 0
    error: str = ''


class Recorder(Protocol):
    """What the writing thread drives."""

    status: Status

    def declare(self, topic: Topic) -> None:
        """Make a topic known before its first message."""

    def add(self, message: Message, now: float) -> None:
        """Take a message."""

    def attach(self, name: str, data: bytes) -> None:
        """Store a file beside the messages."""

    def note(self, key: str, value: str) -> None:
        """Store a fact about the recording."""

    def clock_set(self, jump: Jump, now: float) -> None:
        """Note that the clock that gives the stamps was set."""

    def trigger(self, reason: str, now: float, *, often: bool = False) -> None:
        """Ask for the last seconds; `often`: unless they are in a bag already."""

    def poll(self, now: float) -> None:
        """Do what time alone makes due."""

    def close(self) -> None:
        """Finish everything."""


class Continuous:
    """Writes everything into one bag."""

    def __init__(
        self, path: Path, make: MakeWriter, free: Callable[[], int], reserve: int
    ) -> None:
        """Make the bag.

        Args:
            path: of the bag.
            make: begins a bag.
            free: bytes that the disk has left.
            reserve: bytes that must stay free.

        Raises:
            BagError: if it cannot be made.
        """
        self._writer = make(path)
        self._free, self._reserve = free, reserve
        self._topics: dict[str, Topic] = {}
        self._refused: dict[str, int] = {}
        self._jumps: list[Jump] = []
        self._retry_at = self._check_at = float('-inf')
        self._blocked = False
        self.status = Status(bags=[path])

    def declare(self, topic: Topic) -> None:
        """Make a topic known."""
        self._topics[topic.name] = topic

    def add(self, message: Message, now: float) -> None:
        """Write a message, or count it as lost."""
        if self._blocked:
            self._refused[message.topic] = self._refused.get(message.topic, 0) + 1
            return
        try:
            _write(self._writer, message, self._topics)
            self.status.written += 1
            self.status.error = ''
        except BagError as error:
            self._refuse(error, now)

    def attach(self, name: str, data: bytes) -> None:
        """Store a file beside the messages."""
        self._try(lambda: self._writer.attach(name, data))

    def note(self, key: str, value: str) -> None:
        """Store a fact."""
        self._try(lambda: self._writer.set_custom(key, value))

    def clock_set(self, jump: Jump, now: float) -> None:
        """Note it in the bag."""
        self._jumps.append(jump)
        self.note(CLOCK_SET, '; '.join(map(str, self._jumps)))

    def trigger(self, reason: str, now: float, *, often: bool = False) -> None:
        """Everything is written anyway."""

    def poll(self, now: float) -> None:
        """Look after what waits, and once a second after the disk."""
        if not self._blocked:
            try:
                self._writer.poll()
            except BagError as error:
                self._refuse(error, now)
        if now < self._check_at:
            return
        self._check_at = now + CHECK
        lost = self._lost()
        self.status.lost = sum(lost.values())
        if now < self._retry_at:
            return
        try:
            free = self._free()
            if free < self._reserve:
                self._writer.finish_file()
                raise BagError(
                    f'{free // 1_000_000} MB are free: expected {self._reserve // 1_000_000} MB'
                )
            self._blocked = False
            if lost:
                self._writer.set_custom(LOST, words(lost))
        except BagError as error:
            self._refuse(error, now)

    def close(self) -> None:
        """Finish the bag."""
        lost = self._lost()
        self.status.lost = sum(lost.values())
        if lost:
            self._try(lambda: self._writer.set_custom(LOST, words(lost)))
        self._try(self._writer.close)
        self.status.lost = sum(self._lost().values())

    def _lost(self) -> dict[str, int]:
        lost = dict(self._refused)
        for topic, count in self._writer.lost.items():
            lost[topic] = lost.get(topic, 0) + count
        return lost

    def _refuse(self, error: BagError, now: float) -> None:
        self._blocked = True
        self._retry_at = now + RETRY
        self.status.error = str(error)

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BagError as error:
            self.status.error = str(error)


class OnDemand:
    """Keeps a ring; a trigger makes a bag of it, and of some seconds that follow."""

    def __init__(
        self,
        path: Callable[[], Path],
        make: MakeWriter,
        seconds: float,
        after: float,
        max_bytes: int,
    ) -> None:
        """Begin with nothing.

        Args:
            path: names a new bag.
            make: begins a bag.
            seconds: kept before a trigger.
            after: s that follow it.
            max_bytes: of the ring.
        """
        self._path, self._make = path, make
        self._seconds, self._after = seconds, after
        self._topics: dict[str, Topic] = {}
        self._ring = Ring(seconds + after, max_bytes, lambda name: self._topics[name])
        self._files: dict[str, bytes] = {}
        self._facts: dict[str, str] = {}
        # Of the clock, and when.
        self._jumps: list[tuple[float, Jump]] = []
        self._reasons: list[str] = []
        self._due = float('inf')
        # Until when the newest bag holds the last seconds.
        self._free_at = float('-inf')
        # What a disk refused: it is tried again until there is something newer.
        self._unsaved: tuple[list[Message], dict[str, str]] | None = None
        self._retry_at = float('-inf')
        self.status = Status()

    def declare(self, topic: Topic) -> None:
        """Make a topic known."""
        self._topics[topic.name] = topic

    def add(self, message: Message, now: float) -> None:
        """Keep a message."""
        self._ring.add(message, now)

    def attach(self, name: str, data: bytes) -> None:
        """Store a file beside the messages of every bag."""
        self._files[name] = data

    def note(self, key: str, value: str) -> None:
        """Store a fact in every bag."""
        self._facts[key] = value

    def clock_set(self, jump: Jump, now: float) -> None:
        """Note it in every bag that may hold messages from before."""
        self._jumps.append((now, jump))

    def trigger(self, reason: str, now: float, *, often: bool = False) -> None:
        """Save the ring when `after` s have followed; what triggers meanwhile joins in.

        Args:
            reason: named in the bag.
            now: s.
            often: the reason may come every second; it makes no second bag of the same seconds.
        """
        if not self._reasons:
            if often and now < self._free_at:
                return
            self._due = now + self._after
            self._free_at = self._due + self._seconds
        if reason not in self._reasons and len(self._reasons) < _MOST_REASONS:
            self._reasons.append(reason)

    def poll(self, now: float) -> None:
        """Write what is due."""
        # Messages may have waited in the queue: twice the time that the ring keeps is enough.
        begin = now - 2 * (self._seconds + self._after)
        self._jumps = [(at, jump) for at, jump in self._jumps if at >= begin]
        if now >= self._due:
            self._freeze()
        if self._unsaved and now >= self._retry_at:
            self._save(now)

    def close(self) -> None:
        """Write what was asked for, at once."""
        if self._reasons:
            self._freeze()
        if self._unsaved:
            self._save(0.0)

    def _freeze(self) -> None:
        if self._unsaved:
            self.status.lost += len(self._unsaved[0])
        facts = self._facts | {'trigger': '; '.join(self._reasons)}
        if self._jumps:
            facts[CLOCK_SET] = '; '.join(str(jump) for _, jump in self._jumps)
        self._unsaved = self._ring.contents(), facts
        self._reasons, self._due, self._retry_at = [], float('inf'), float('-inf')

    def _save(self, now: float) -> None:
        messages, facts = self._unsaved or ([], {})
        path = self._path()
        try:
            writer = self._make(path)
        except BagError as error:  # among others, because that bag is there: it stays as it is
            self._refuse(error, now)
            return
        try:
            with writer:
                for key, value in facts.items():
                    writer.set_custom(key, value)
                for name, data in self._files.items():
                    writer.attach(name, data)
                for message in messages:
                    _write(writer, message, self._topics)
        except BagError as error:
            shutil.rmtree(path, ignore_errors=True)
            self._refuse(error, now)
            return
        self.status.bags.append(path)
        self.status.written += len(messages)
        self.status.error = ''
        self._unsaved = None

    def _refuse(self, error: BagError, now: float) -> None:
        self.status.error = str(error)
        self._retry_at = now + RETRY


def words(counts: dict[str, int]) -> str:
    """Return counts by topic as a fact."""
    return ', '.join(f'{topic} {count}' for topic, count in sorted(counts.items()))


def _write(writer: BagWriter, message: Message, topics: dict[str, Topic]) -> None:
    topic = topics[message.topic]
    writer.add_topic(
        topic.name,
        topic.type,
        topic.qos,
        definition=topic.definition,
        type_hash=topic.type_hash,
    )
    writer.write(message.topic, message.stamp_ns, message.data)
