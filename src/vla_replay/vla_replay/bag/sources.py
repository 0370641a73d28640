"""Where the messages of a bag come from: from rosbags, or from a scan where it is torn."""

from collections.abc import Collection, Iterator
from copy import copy
import heapq
from pathlib import Path
import struct
from typing import Any, Protocol
import zlib

from mcap.reader import make_reader
from rosbags.interfaces import Connection, ConnectionExtRosbag2
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.metadata import parse_qos
from rosbags.rosbag2.reader import DirectoryReader
import zstandard

from vla_replay.bag.scan import LARGEST, MAGIC, Scan, unpacked
from vla_replay.bag.topics import Message, Topic, ZSTD_MAGIC
from vla_replay.bag.writer import CUSTOM
from vla_replay.errors import BagError

_FOOTER = struct.Struct('<BQQQI')


class Source(Protocol):
    """Part of a bag.

    Attributes:
        topics: what it holds; a topic may come several times.
        start_ns: stamp of the first message.
        end_ns: just behind the last one; equal: there is none.
        custom: facts that the recorder noted.
        attachments: name -> content.
        problem: why it is torn; empty: it is whole.
    """

    topics: list[Topic]
    start_ns: int
    end_ns: int
    custom: dict[str, str]
    attachments: dict[str, bytes]
    problem: str

    def messages(
        self, topics: Collection[str], start_ns: int | None, end_ns: int | None
    ) -> Iterator[Message]:
        """Yield messages of these topics by stamp, from `start_ns` until before `end_ns`."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...


class Whole:
    """A bag, or one file of it, that rosbags opens."""

    problem = ''

    def __init__(self, path: Path) -> None:
        """Open it.

        Args:
            path: folder with metadata.yaml, or one file.

        Raises:
            Exception: whatever rosbags, SQLite or YAML raise.
        """
        self._reader = Reader(path)
        self._reader.open()
        try:
            files = sorted(path.glob('*.mcap')) if path.is_dir() else [path]
            self._mcap_facts([file for file in files if file.suffix == '.mcap'])
            self.topics = [self._topic(one) for one in self._reader.connections]
            self.custom |= facts(self._reader.storage.metadata.custom)
        except BaseException:
            self.close()
            raise
        empty = not self._reader.message_count
        self.start_ns = 0 if empty else self._reader.start_time
        self.end_ns = 0 if empty else self._reader.end_time

    def messages(
        self, topics: Collection[str], start_ns: int | None, end_ns: int | None
    ) -> Iterator[Message]:
        """Yield messages of these topics by stamp, whatever the order of the files."""
        wanted = [one for one in self._reader.connections if one.topic in topics]
        if not wanted:
            return
        streams = [one.messages(wanted, start_ns, end_ns) for one in self._files()]
        for connection, stamp, data in heapq.merge(*streams, key=lambda found: found[1]):
            # A file that is read without its metadata.yaml is not known to be compressed.
            yield plain(Message(connection.topic, stamp, bytes(data)))

    def close(self) -> None:
        """Close the files."""
        self._reader.close()

    def _files(self) -> list[Any]:
        """Return a reader of each file: rosbags reads one file after the other."""
        storage = self._reader.storage
        if not isinstance(storage, DirectoryReader):
            return [storage]
        files = [copy(storage) for _ in storage.storages]
        for file, inner in zip(files, storage.storages, strict=True):
            file.storages = [inner]
        return files

    def _topic(self, found: Connection) -> Topic:
        told = found.ext
        if not isinstance(told, ConnectionExtRosbag2) or told.serialization_format != 'cdr':
            raise BagError(f'topic {found.topic} is encoded as {told}: expected cdr')
        return Topic(
            found.topic,
            found.msgtype,
            found.msgcount,
            tuple(told.offered_qos_profiles),
            found.digest or self._hashes.get(found.topic, ''),
            self._definitions.get(found.topic) or found.msgdef.data,
        )

    def _mcap_facts(self, files: list[Path]) -> None:
        """Take what rosbags does not read, or only once for all topics of a type."""
        self._hashes: dict[str, str] = {}
        self._definitions: dict[str, str] = {}
        self.custom: dict[str, str] = {}
        self.attachments: dict[str, bytes] = {}
        for file in files:
            with file.open('rb') as stream:
                reader = make_reader(stream)
                summary = reader.get_summary()
                for channel in summary.channels.values() if summary else ():
                    self._hashes[channel.topic] = channel.metadata.get('topic_type_hash', '')
                    schema = summary.schemas.get(channel.schema_id)
                    self._definitions[channel.topic] = schema.data.decode() if schema else ''
                for attachment in reader.iter_attachments():
                    self.attachments[attachment.name] = attachment.data
                for record in reader.iter_metadata():
                    if record.name == CUSTOM:
                        self.custom |= record.metadata


class Torn:
    """An MCAP file without index."""

    def __init__(self, path: Path, alone: bool = True) -> None:
        """Read it once, from its beginning to where it is torn.

        Args:
            path: of the file.
            alone: whether it is all of the bag.

        Raises:
            BagError: if it is no MCAP file of ROS 2.
            OSError: if it cannot be read.
        """
        self._scan = Scan(path)
        try:
            self._scan.read(alone=alone)
            scan = self._scan
            self.topics = [topic_of(scan, number) for number in scan.channels]
        except BaseException:
            self.close()
            raise
        self.start_ns = min((piece.first_ns for piece in scan.pieces), default=0)
        self.end_ns = max((piece.last_ns + 1 for piece in scan.pieces), default=0)
        self.custom = scan.metadata.get(CUSTOM, {})
        self.attachments = scan.attachments
        self.problem = (
            f'{path.name} is torn: {scan.problem or "damaged index"} '
            f'after {scan.end} of {scan.size} bytes'
        )

    def messages(
        self, topics: Collection[str], start_ns: int | None, end_ns: int | None
    ) -> Iterator[Message]:
        """Yield messages of these topics by stamp."""
        names = {number: one.topic for number, one in self._scan.channels.items()}
        wanted = {number: name for number, name in names.items() if name in topics}
        for message in self._scan.messages(wanted, start_ns, end_ns):
            yield plain(message)

    def close(self) -> None:
        """Close the file."""
        self._scan.close()


def facts(told: Any) -> dict[str, str]:
    """Return what `custom_data` says; what is no plain value is left out."""
    # A text of YAML may stand for gigabytes by its aliases: nothing nested is ever written out.
    plain = (str, int, float, bool)
    content = told.items() if isinstance(told, dict) else ()
    return {str(key): str(value) for key, value in content if isinstance(value, plain)}


def topic_of(scan: Scan, number: int) -> Topic:
    """Return the topic of a channel.

    Raises:
        BagError: if its messages are no CDR.
    """
    channel = scan.channels[number]
    if channel.message_encoding != 'cdr':
        raise BagError(f'topic {channel.topic} is {channel.message_encoding!r}: expected cdr')
    schema = scan.schemas.get(channel.schema_id)
    return Topic(
        channel.topic,
        schema.name if schema else '',
        scan.counts.get(number, 0),
        tuple(parse_qos(channel.metadata.get('offered_qos_profiles', ''))),
        channel.metadata.get('topic_type_hash', ''),
        schema.data.decode() if schema else '',
    )


def plain(message: Message) -> Message:
    """Return the message, unfolded if it is compressed by itself; no CDR begins like that.

    Raises:
        BagError: if it is damaged, or unfolds to more than LARGEST.
    """
    if not message.data.startswith(ZSTD_MAGIC):
        return message
    try:
        return Message(message.topic, message.stamp_ns, unpacked(message.data, LARGEST))
    except (ValueError, zstandard.ZstdError) as error:
        raise BagError(f'message of {message.topic} at {message.stamp_ns} ns: {error}') from error


def whole(path: Path) -> bool:
    """Say whether an MCAP file ends as it should, its index unharmed."""
    size = path.stat().st_size
    tail = _FOOTER.size + len(MAGIC)
    if size < tail:
        return False
    with path.open('rb') as stream:
        stream.seek(size - tail)
        end = stream.read(tail)
        _, _, begin, _, checksum = _FOOTER.unpack_from(end)
        if end[-len(MAGIC) :] != MAGIC or begin > size - tail:
            return False
        if not checksum or not begin:
            return True
        stream.seek(begin)
        # All of the index, and of the footer what comes before the checksum.
        return bool(zlib.crc32(stream.read(size - begin - len(MAGIC) - 4)) == checksum)
