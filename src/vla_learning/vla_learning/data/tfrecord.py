"""TFRecord files and the `tf.train.Example` messages in them, without TensorFlow.

Format of the files: tensorflow/core/lib/io/record_writer.h; of the messages:
tensorflow/core/example/{example,feature}.proto. A parser of our own rather than the protobuf
library because it says where in the file each picture lies: a frame is then read without its
episode. The tests compare it with the protobuf library.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import mmap
from pathlib import Path
import struct

import google_crc32c
import numpy as np

_LENGTH = struct.Struct('<QI')
_CRC = struct.Struct('<I')
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class FormatError(Exception):
    """The bytes are no TFRecord or no Example; the message says where."""

    def __init__(self, where: str, found: str, expected: str) -> None:
        super().__init__(where, found, expected)
        self.where, self.found, self.expected = where, found, expected


@dataclass(frozen=True)
class Values:
    """One feature of an Example.

    Attributes:
        kind: `bytes`, `float` or `int`.
        numbers: float32 [N] or int64 [N]; empty where the kind is bytes.
        spans: int64 [N, 2], offset in the Example, and length, of each item of kind bytes.
    """

    kind: str
    numbers: np.ndarray
    spans: np.ndarray


def read_records(path: Path) -> Iterator[tuple[int, memoryview, int]]:
    """Read the records of a file, checksums verified.

    Yields:
        Number of the record, its content, and the content's offset in the file.

    Raises:
        FormatError: if a checksum is wrong or the file ends within a record. What comes after is
            lost, because nothing says where the next record begins.
    """
    if path.stat().st_size == 0:
        raise FormatError('', 'empty', 'a TFRecord')
    with path.open('rb') as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        offset, number = 0, 0
        while offset < len(data):
            length = _checked_length(data, offset, number)
            start = offset + _LENGTH.size
            content = data[start : start + length]
            found, (expected,) = _masked(content), _CRC.unpack_from(data, start + length)
            if found != expected:
                raise FormatError(
                    f'record {number}',
                    f'CRC-32C of the content {found:#010x}',
                    f'{expected:#010x}',
                )
            yield number, memoryview(content), start
            offset, number = start + length + _CRC.size, number + 1


def _checked_length(data: mmap.mmap, offset: int, number: int) -> int:
    where, left = f'record {number}', len(data) - offset
    if left < _LENGTH.size:
        raise FormatError(where, f'cut off after {left} bytes', f'{_LENGTH.size} bytes of header')
    length, expected = _LENGTH.unpack_from(data, offset)
    found = _masked(data[offset : offset + 8])
    if found != expected:
        wanted = f'{expected:#010x} (is it a TFRecord?)'
        raise FormatError(where, f'CRC-32C of the length {found:#010x}', wanted)
    whole = _LENGTH.size + length + _CRC.size
    if left < whole:
        raise FormatError(where, f'cut off after {left} bytes', f'{whole} bytes')
    return length


def _masked(data: bytes) -> int:
    """Return the checksum as TFRecord stores it: rotated, plus a constant."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def parse_example(content: memoryview) -> dict[str, Values]:
    """Read an Example: its features by name.

    Raises:
        FormatError: if the bytes are no Example.
    """
    features = {}
    for field, begin, end in _fields(content, 0, len(content)):
        if field != 1:
            continue
        for entry, entry_begin, entry_end in _fields(content, begin, end):
            if entry != 1:
                continue
            parts = {
                number: (low, high)
                for number, low, high in _fields(content, entry_begin, entry_end)
            }
            low, high = parts.get(1, (0, 0))
            name = bytes(content[low:high]).decode('utf-8', 'replace')
            features[name] = _values(content, *parts.get(2, (0, 0)))
    return features


def _values(content: memoryview, begin: int, end: int) -> Values:
    """Read a Feature: one of three lists, or none at all."""
    none = np.empty((0, 2), np.int64)
    values = Values('bytes', np.empty(0, np.int64), none)
    for field, low, high in _fields(content, begin, end):
        if field == 1:
            spans = [(a, b - a) for n, a, b in _fields(content, low, high) if n == 1]
            values = Values('bytes', values.numbers[:0], np.array(spans, np.int64).reshape(-1, 2))
        elif field == 2:
            items = [_floats(content[a:b]) for _, a, b in _fields(content, low, high)]
            values = Values('float', np.concatenate([np.empty(0, '<f4'), *items]), none)
        elif field == 3:
            numbers = [
                v for _, a, b in _fields(content, low, high) for v in _varints(content, a, b)
            ]
            values = Values('int', np.array(numbers, np.uint64).astype(np.int64), none)
    return values


def _floats(content: memoryview) -> np.ndarray:
    if len(content) % 4:
        raise FormatError('', f'a list of floats of {len(content)} bytes', 'a multiple of 4')
    return np.frombuffer(content, '<f4')


def _fields(content: memoryview, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (number, begin, end) of each field of a message; scalars as their bytes."""
    at = begin
    while at < end:
        key, at = _varint(content, at, end)
        kind, low = key & 7, at
        if kind == _BYTES:
            length, low = _varint(content, at, end)
            at = low + length
        elif kind == _VARINT:
            _, at = _varint(content, at, end)
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            raise FormatError('', f'a field of wire type {kind}', 'a tf.train.Example')
        if at > end:
            raise FormatError('', f'a field that ends at {at}', f'at most {end}')
        yield key >> 3, low, at


def _varints(content: memoryview, begin: int, end: int) -> Iterator[int]:
    at = begin
    while at < end:
        value, at = _varint(content, at, end)
        yield value


def _varint(content: memoryview, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 64:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
        shift += 7
    raise FormatError('', 'a number without an end', 'a varint of at most 10 bytes')
