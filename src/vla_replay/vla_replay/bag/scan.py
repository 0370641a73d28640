"""Read an MCAP file record by record, up to where it is torn; no index is needed.

A recorder that is killed leaves a file without index, whose last record may be cut in two. After a
power failure the end may be zeros. Records: https://mcap.dev/spec
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
import heapq
from io import BytesIO
import mmap
from pathlib import Path
import struct
from types import TracebackType
from typing import Any
import zlib

import lz4.frame
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Attachment, Channel, Chunk, Header, Metadata, Schema
import zstandard

from vla_replay.bag.topics import Message
from vla_replay.errors import BagError

MAGIC = b'\x89MCAP0\r\n'
_HEAD = struct.Struct('<BQ')
_MESSAGE = struct.Struct('<HIQQ')
_KNOWN = frozenset(int(code) for code in Opcode)
#: A chunk: times, size and checksum; its compression, a text; its records, bytes. A text or bytes
#: have their length before them: uint32, uint64.
_CHUNK_HEAD, _TEXT, _BYTES = struct.Struct('<QQQI'), struct.Struct('<I'), struct.Struct('<Q')
#: An index of messages: its channel, and the length of the entries behind it.
_INDEX_HEAD = struct.Struct('<HI')
#: Bytes that one chunk or message may unfold to: far above what any recorder makes.
LARGEST = 1 << 30

Buffer = bytes | mmap.mmap


@dataclass
class Piece:
    """A chunk with messages, or one message that lies outside of chunks.

    Attributes:
        offset: of its content in the file.
        length: of its content.
        chunk: whether it is a chunk.
        first_ns: earliest stamp in it.
        last_ns: latest stamp in it.
    """

    offset: int
    length: int
    chunk: bool
    first_ns: int
    last_ns: int


@dataclass
class Scan:
    """What an MCAP file holds.

    Attributes:
        path: of the file.
        channels: by id.
        schemas: by id.
        counts: channel id -> messages.
        pieces: where the messages are.
        attachments: name -> content.
        metadata: name -> content of the last record of that name.
        end: bytes that could be read.
        size: bytes of the file.
        problem: what is wrong at `end`; empty: nothing.
        skipped: stretches of the file that were left out.
    """

    path: Path
    channels: dict[int, Channel] = field(default_factory=dict)
    schemas: dict[int, Schema] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)
    attachments: dict[str, bytes] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    end: int = 0
    size: int = 0
    problem: str = ''
    skipped: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Open the file; an empty one has nothing in it."""
        self._stream = self.path.open('rb')
        self.size = self.path.stat().st_size
        self._data: Buffer = b''
        # Up to here every record is as long as its own content says; behind DATA_END is the index.
        self._sure = 0
        self._indexed = False
        if self.size:
            self._data = mmap.mmap(self._stream.fileno(), 0, access=mmap.ACCESS_READ)

    def close(self) -> None:
        """Close the file."""
        if isinstance(self._data, mmap.mmap):
            self._data.close()
        self._stream.close()

    def __enter__(self) -> 'Scan':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def read(self, mend: bool = False, alone: bool = True) -> None:
        """Read what is there.

        Args:
            mend: go on behind a damaged place, with the next chunk that is whole. The length of a
                record has no checksum: what a wrong one jumped over is looked through again.
            alone: whether it is all of a bag. Another file of one may be zeros from its beginning
                on, after a power failure: then it is torn, with nothing in it.

        Raises:
            BagError: if it is no MCAP file of ROS 2.
        """
        beginning = self._data[: len(MAGIC)]
        self.end = self._sure = min(self.size, len(MAGIC))
        self.problem = 'no index'
        if beginning != MAGIC[: len(beginning)]:
            self.end = 0
            self.problem = f'begins with {bytes(beginning)!r}: expected MCAP'
            self._sure = 0
            if not (mend and self._resume()):
                if alone:
                    raise BagError(f'{self.path}: {self.problem}')
                self.skipped.append((0, self.size))
                return
        while self.end < self.size:
            try:
                done = self._record(mend)
            except BagError:
                raise
            except Exception as error:  # mcap, zstandard and lz4 raise a dozen kinds on damage
                if not (mend and self._resume()):
                    self.problem = f'{type(error).__name__}: {error}'.splitlines()[0][:120]
                    if not self._indexed:
                        self.skipped.append((self._sure, self.size))
                    return
            else:
                if done:
                    self.problem = ''
                    return

    def messages(
        self, channels: dict[int, str], start_ns: int | None, end_ns: int | None
    ) -> Iterator[Message]:
        """Yield messages by stamp.

        Args:
            channels: id -> name of the topic, those that are wanted.
            start_ns: earliest stamp; None: any.
            end_ns: stamp before which they end; None: any.
        """
        waiting: list[tuple[int, int, int, bytes]] = []
        number = 0
        for piece in sorted(self.pieces, key=lambda one: one.first_ns):
            if start_ns is not None and piece.last_ns < start_ns:
                continue
            if end_ns is not None and piece.first_ns >= end_ns:
                break
            while waiting and waiting[0][0] < piece.first_ns:
                stamp, _, channel, data = heapq.heappop(waiting)
                yield Message(channels[channel], stamp, data)
            for channel, stamp, data in self._messages(piece):
                late = end_ns is not None and stamp >= end_ns
                early = start_ns is not None and stamp < start_ns
                if channel in channels and not late and not early:
                    heapq.heappush(waiting, (stamp, number, channel, data))
                    number += 1
        while waiting:
            stamp, _, channel, data = heapq.heappop(waiting)
            yield Message(channels[channel], stamp, data)

    def _record(self, mend: bool) -> bool:
        """Read the record at `end`; return whether it is the last one."""
        code, length = _HEAD.unpack_from(self._data, self.end)
        begin = self.end + _HEAD.size
        if begin + length > self.size:
            raise ValueError(f'a record of {length} bytes where {self.size - begin} are left')
        if mend and code in (Opcode.CHUNK, Opcode.DATA_END) and self.end > self._sure:
            raise ValueError('a record before it has no length that is sure')
        told = None
        if code == Opcode.CHUNK:
            self._chunk(begin, length)
        elif code == Opcode.MESSAGE:
            channel, stamp, _ = _message(self._data, begin, length)
            self._count(channel)
            self.pieces.append(Piece(begin, length, False, stamp, stamp))
            told = length  # nothing in it says otherwise
        elif code == Opcode.MESSAGE_INDEX:
            _, entries = _INDEX_HEAD.unpack_from(self._data, begin)
            told = _INDEX_HEAD.size + entries
            if told != length:
                raise ValueError(f'an index of {length} bytes: expected {told}')
        elif code == Opcode.FOOTER:
            if self._data[begin + length : begin + length + len(MAGIC)] != MAGIC:
                raise ValueError('no magic behind the footer')
        elif code in _KNOWN:
            told = self._other(code, self._data[begin : begin + length], mend)
        elif code < 0x80:
            raise ValueError(f'record of kind {code}')
        if self.end == self._sure and told == length:
            self._sure = begin + length
            self._indexed |= code == Opcode.DATA_END
        self.end = begin + length
        return bool(code == Opcode.FOOTER)

    def _other(self, code: int, body: bytes, mend: bool = False) -> int:
        """Read a record that is no message; return how long it is by its own content."""
        stream = _stream(body)
        if code == Opcode.HEADER:
            profile = Header.read(stream).profile
            if profile != 'ros2':
                if not mend:
                    raise BagError(f'{self.path}: MCAP of profile {profile!r}: expected ros2')
                # One wrong bit is no reason: what its messages are, their channels say as well.
                self.skipped.append((self.end, self.end + _HEAD.size + len(body)))
        elif code == Opcode.SCHEMA:
            schema = Schema.read(stream)
            self.schemas.setdefault(schema.id, schema)
        elif code == Opcode.CHANNEL:
            channel = Channel.read(stream)
            self.channels.setdefault(channel.id, channel)
        elif code == Opcode.ATTACHMENT:
            if zlib.crc32(body[:-4]) != int.from_bytes(body[-4:], 'little') != 0:
                raise ValueError('checksum of an attachment')
            attachment = Attachment.read(stream)
            self.attachments[attachment.name] = attachment.data
        elif code == Opcode.METADATA:
            record = Metadata.read(stream)
            self.metadata[record.name] = record.metadata
        elif code == Opcode.DATA_END:
            stream.read4()  # its checksum
        return int(stream.count)

    def _chunk(self, begin: int, length: int) -> None:
        if length != _chunk_length(self._data, begin):
            raise ValueError(f'a chunk of {length} bytes, unlike its content')
        counts: dict[int, int] = {}
        stamps = []
        for code, body in _unfold(self._data[begin : begin + length]):
            if code == Opcode.MESSAGE:
                channel, stamp, _ = _message(body, 0, len(body))
                counts[channel] = counts.get(channel, 0) + 1
                stamps.append(stamp)
            elif code in (Opcode.SCHEMA, Opcode.CHANNEL):
                self._other(code, body)
        for channel, count in counts.items():
            self._count(channel, count)
        if stamps:
            self.pieces.append(Piece(begin, length, True, min(stamps), max(stamps)))
        self._sure = begin + length

    def _count(self, channel: int, count: int = 1) -> None:
        self.counts[channel] = self.counts.get(channel, 0) + count

    def _messages(self, piece: Piece) -> Iterator[tuple[int, int, bytes]]:
        if not piece.chunk:
            yield _message(self._data, piece.offset, piece.length)
            return
        for code, body in _unfold(self._data[piece.offset : piece.offset + piece.length]):
            if code == Opcode.MESSAGE:
                yield _message(body, 0, len(body))

    def _resume(self) -> bool:
        """Read the next whole chunk behind what is sure, and count what is left out before it.

        Returns:
            Whether there is one.
        """
        sure = self._sure
        found = self._next_chunk(sure)
        while found is not None and not self._take(found):
            found = self._next_chunk(found + 1)
        if found is None:
            return False
        # Behind it is what a wrong length took for messages.
        wrong = [one for one in self.pieces if one.offset > found and not one.chunk]
        for piece in wrong:
            self.pieces.remove(piece)
            self._count(_message(self._data, piece.offset, piece.length)[0], -1)
        self.skipped.append((sure, found))
        self.end = self._sure
        return True

    def _take(self, at: int) -> bool:
        """Read the chunk that begins there; say whether its records could be read, too."""
        begin = at + _HEAD.size
        try:
            self._chunk(begin, _chunk_length(self._data, begin))
        except Exception:  # without a checksum anything may be in it
            return False
        return True

    def _next_chunk(self, begin: int) -> int | None:
        """Return where the next whole chunk begins, be the length before it right or wrong."""
        code = bytes([Opcode.CHUNK])
        at = self._data.find(code, begin)
        while at >= 0:
            content = at + _HEAD.size
            with suppress(struct.error):  # what is no chunk points behind the end of the file
                end = content + _chunk_length(self._data, content)
                if end <= self.size and _whole(self._data[content:end]):
                    return at
            at = self._data.find(code, at + 1)
        return None


def _chunk_length(data: Buffer, begin: int) -> int:
    """Return the length of a chunk by its own content."""
    at = begin + _CHUNK_HEAD.size
    at += _TEXT.size + _TEXT.unpack_from(data, at)[0]
    return int(at + _BYTES.size + _BYTES.unpack_from(data, at)[0] - begin)


def _stream(body: bytes) -> ReadDataStream:
    return ReadDataStream(BytesIO(body))


def _message(data: Any, begin: int, length: int) -> tuple[int, int, bytes]:
    channel, _, stamp, _ = _MESSAGE.unpack_from(data, begin)
    return channel, stamp, data[begin + _MESSAGE.size : begin + length]


def _whole(body: bytes) -> bool:
    try:
        return sum(1 for _ in _unfold(body)) > 0
    except Exception:  # what is no chunk fails in many ways
        return False


def unpacked(data: bytes, most: int) -> bytes:
    """Unfold zstd data, before whose own word on their size no memory is taken.

    Raises:
        ValueError: if they are of more bytes than `most`.
        zstandard.ZstdError: if they are damaged, or of more bytes and do not say so.
    """
    told = zstandard.frame_content_size(data)  # -1: they do not say
    if told > most:
        raise ValueError(f'zstd data of {told} bytes: expected at most {most}')
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=most)


def _unfold(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the records of a chunk, whose checksum is compared first.

    Raises:
        ValueError: if it is not whole.
    """
    chunk = Chunk.read(_stream(body))
    size = chunk.uncompressed_size
    if size > LARGEST:
        raise ValueError(f'a chunk of {size} bytes: expected at most {LARGEST}')
    if chunk.compression == 'zstd':
        content = unpacked(chunk.data, size)
    elif chunk.compression == 'lz4':
        content = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=size + 1)
    elif chunk.compression == '':
        content = chunk.data
    else:
        raise ValueError(f'compression {chunk.compression!r}: expected zstd, lz4 or none')
    if len(content) != size:
        raise ValueError(f'a chunk of {len(content)} bytes: expected {size}')
    if chunk.uncompressed_crc and zlib.crc32(content) != chunk.uncompressed_crc:
        raise ValueError('checksum of a chunk')
    at = 0
    while at < size:
        code, length = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        if at + length > size:
            raise ValueError(f'a record of {length} bytes where {size - at} are left')
        yield code, content[at : at + length]
        at += length
