"""Write bags that survive the end of their writer: whole but for the last moment."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
import os
from pathlib import Path
import time
from types import TracebackType
from typing import cast, IO

from mcap.writer import CompressionType, Writer
from rosbags.interfaces import Qos

from vla_replay.bag import metadata
from vla_replay.bag.metadata import Part, qos_text
from vla_replay.bag.stream import Stream
from vla_replay.bag.topics import Topic
from vla_replay.bag.types import IDL, Types
from vla_replay.errors import BagError

#: Name of the MCAP metadata record that holds `custom` while there is no metadata.yaml.
CUSTOM = 'vla'
#: s between two writes to the disk: of the second that a crash may cost, the rest is for a busy
#: machine and a slow disk.
FLUSH_PERIOD = 0.25
#: Bytes that are compressed together.
_CHUNK = 1 << 20
_LIBRARY = 'vla_replay'
#: Largest stamp, ns: tools keep them signed.
_LATEST = (1 << 63) - 1


class BagWriter:
    """Writes a folder that `ros2 bag`, Foxglove and Lichtblick open: MCAP and metadata.yaml.

    Every quarter of a second a chunk is handed to the system, where a `kill -9` does not reach it,
    and a thread calls fdatasync, so that a power failure costs no more than the last second. When
    the disk refuses, the file in progress is cut back to its last whole chunk, and the next
    message begins another one.

    Attributes:
        folder: of the bag.
    """

    def __init__(
        self,
        folder: Path,
        *,
        custom: Mapping[str, str] | None = None,
        compress: bool = True,
        split_bytes: int | None = None,
        split_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the folder; the first file comes with the first message.

        Args:
            folder: must not exist; the files are named after it, NAME_0.mcap and so on.
            custom: facts about the bag, `custom_data` of metadata.yaml.
            compress: compress chunks with zstd.
            split_bytes: about how large a file may become; None: as large as it will.
            split_seconds: between the first and the last message of a file; None: any.
            clock: s, for the pace of the disk.

        Raises:
            BagError: if the folder exists or cannot be made.
        """
        self.folder = folder
        self._offered: dict[str, int] = {}
        self._custom = dict(custom or {})
        self._compression = CompressionType.ZSTD if compress else CompressionType.NONE
        self._split_bytes, self._split_seconds = split_bytes, split_seconds
        self._clock = clock
        self._types = Types()
        self._topics: dict[str, Topic] = {}
        self._parts: list[Part] = []
        self._file: _File | None = None
        self._closed = False
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise BagError(f'{folder}: {error.strerror}: expected a new folder') from error

    @property
    def lost(self) -> dict[str, int]:
        """Topic -> messages that a refusing disk cost."""
        parts = [*self._parts, self._file.part] if self._file else self._parts
        kept = {topic: sum(part.counts.get(topic, 0) for part in parts) for topic in self._offered}
        lost = {topic: count - kept[topic] for topic, count in self._offered.items()}
        return {topic: count for topic, count in lost.items() if count}

    @property
    def size(self) -> int:
        """Bytes of the file in progress."""
        return self._file.stream.size if self._file else 0

    def add_topic(
        self,
        name: str,
        type: str,  # noqa: A002
        qos: Collection[Qos] = (),
        *,
        definition: str | None = None,
        type_hash: str | None = None,
    ) -> None:
        """Make a topic known; the same one a second time is nothing.

        Args:
            name: with its leading slash.
            type: for example `std_msgs/msg/String`.
            qos: profiles of the publishers.
            definition: of the type; empty: unknown; None: as rosbags or an installed package has
                it.
            type_hash: of the type; None: of that definition.

        Raises:
            BagError: if the type is not known, or the topic has another one.
        """
        known = self._topics.get(name)
        if known is not None:
            if known.type != type:
                raise BagError(f'topic {name} of type {type}: expected {known.type} as before')
            return
        if definition is None:
            definition = self._types.definition(type)
            type_hash = type_hash or self._types.type_hash(type)
        self._topics[name] = Topic(name, type, 0, tuple(qos), type_hash or '', definition)

    def write(self, topic: str, stamp_ns: int, data: bytes) -> None:
        """Write one message.

        Args:
            topic: made known before.
            stamp_ns: when it was received, ns since 1970.
            data: complete CDR.

        Raises:
            BagError: if the topic is not known, the stamp is impossible, or the disk refuses.
        """
        known = self._topics.get(topic)
        if known is None:
            raise BagError(f'topic {topic}: expected one of {sorted(self._topics)}')
        if not 0 <= stamp_ns <= _LATEST:
            raise BagError(f'{topic}: stamp {stamp_ns} ns: expected 0 to {_LATEST}')
        self._offered[topic] = self._offered.get(topic, 0) + 1
        with self._guarded():
            file = self._file
            if file is None or self._full(file, stamp_ns):
                file = self._next()
            file.write(known, stamp_ns, data)
            if self._clock() >= file.due:
                file.flush(self._clock)

    def attach(self, name: str, data: bytes) -> None:
        """Store a file beside the messages.

        Raises:
            BagError: if the disk refuses.
        """
        with self._guarded():
            (self._file or self._next()).attach(name, data)

    def set_custom(self, key: str, value: str) -> None:
        """Add a fact about the bag, or replace it.

        Raises:
            BagError: if the disk refuses.
        """
        if self._custom.get(key) != value:
            self._custom[key] = value
            with self._guarded():
                if self._file:
                    self._file.note(self._custom)

    def poll(self) -> None:
        """Bring to the disk what is due; `write` does so by itself while messages come.

        Raises:
            BagError: if the disk refuses.
        """
        with self._guarded():
            file = self._file
            if file and file.part.total > file.saved.total and self._clock() >= file.due:
                file.flush(self._clock)

    def flush(self) -> None:
        """Bring everything to the disk now.

        Raises:
            BagError: if the disk refuses.
        """
        with self._guarded():
            if self._file:
                self._file.flush(self._clock)

    def finish_file(self) -> None:
        """Write the index of the file in progress; the next message begins another one.

        Raises:
            BagError: if the disk refuses.
        """
        with self._guarded():
            self._finish()

    def close(self) -> None:
        """Write the index and metadata.yaml; a second time is nothing.

        Raises:
            BagError: if the disk refuses; what is there can be read without both.
        """
        if self._closed:
            return
        self._closed = True
        with self._guarded():
            self._finish()
            metadata.write(self.folder, self._parts, self._topics.values(), self._custom)

    def __enter__(self) -> 'BagWriter':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _full(self, file: '_File', stamp_ns: int) -> bool:
        if not file.part.total:
            return False
        if self._split_bytes is not None and file.stream.size >= self._split_bytes:
            return True
        span = (stamp_ns - file.part.first_ns) * 1e-9
        return self._split_seconds is not None and span >= self._split_seconds

    def _next(self) -> '_File':
        self._finish()
        path = self.folder / f'{self.folder.name}_{len(self._parts)}.mcap'
        self._file = _File(path, self._compression, self._custom, self._clock)
        return self._file

    def _finish(self) -> None:
        if self._file:
            self._file.finish(self._clock)
            self._parts.append(self._file.part)
            self._file = None

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._abandon()
            raise BagError(f'{self.folder}: {error.strerror}: the last messages are lost') from (
                error
            )

    def _abandon(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        file.stream.cut()
        file.stream.close()
        if file.saved.total:
            self._parts.append(file.saved)
        else:
            with suppress(OSError):
                file.path.unlink()


class _File:
    """One MCAP file in progress."""

    def __init__(
        self,
        path: Path,
        compression: CompressionType,
        custom: Mapping[str, str],
        clock: Callable[[], float],
    ) -> None:
        self.path = path
        self.part = Part(path.name)
        self.saved = Part(path.name)
        self._channels: dict[str, int] = {}
        self._schemas: dict[tuple[str, str], int] = {}
        self.stream = Stream(path)
        try:
            output = cast(IO[bytes], self.stream)
            self._writer = Writer(output, chunk_size=_CHUNK, compression=compression)
            self._writer.start('ros2', _LIBRARY)
            self.note(custom)
            self.flush(clock)
            _sync_folder(path.parent)
        except OSError:
            self.stream.close()
            path.unlink(missing_ok=True)
            raise

    def write(self, topic: Topic, stamp_ns: int, data: bytes) -> None:
        channel = self._channels.get(topic.name) or self._register(topic)
        part = self.part
        if not part.total:
            part.first_ns = part.last_ns = stamp_ns
        part.first_ns = min(part.first_ns, stamp_ns)
        part.last_ns = max(part.last_ns, stamp_ns)
        part.counts[topic.name] = part.counts.get(topic.name, 0) + 1
        self._writer.add_message(channel, stamp_ns, data, stamp_ns, part.counts[topic.name])

    def attach(self, name: str, data: bytes) -> None:
        now = time.time_ns()
        self._writer.add_attachment(now, now, name, 'application/octet-stream', data)

    def note(self, custom: Mapping[str, str]) -> None:
        if custom:
            self._writer.add_metadata(CUSTOM, dict(custom))

    def flush(self, clock: Callable[[], float]) -> None:
        self._writer.flush()
        self.stream.mark()
        self.saved = copy(self.part)
        self.saved.counts = dict(self.part.counts)
        self.due = clock() + FLUSH_PERIOD

    def finish(self, clock: Callable[[], float]) -> None:
        # The messages first: should there be no room for the index, they stay.
        self.flush(clock)
        self._writer.finish()
        self.stream.sync()
        self.stream.close()

    def _register(self, topic: Topic) -> int:
        key = topic.type, topic.definition
        if key not in self._schemas:
            encoding = 'ros2idl' if topic.definition.startswith(IDL) else 'ros2msg'
            self._schemas[key] = self._writer.register_schema(
                topic.type, encoding if topic.definition else '', topic.definition.encode()
            )
        facts = {'offered_qos_profiles': qos_text(topic.qos), 'topic_type_hash': topic.type_hash}
        channel = self._writer.register_channel(topic.name, 'cdr', self._schemas[key], facts)
        self._channels[topic.name] = channel
        return channel


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
