"""Make bags of bags: cut a piece out, put several together, save what a damaged one holds."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, ExitStack
from dataclasses import dataclass
from datetime import datetime, UTC
import heapq
import math
from pathlib import Path
import shutil

from vla_replay.bag.clock_set import CLOCK_SET, left_in_part
from vla_replay.bag.latched import latched_before
from vla_replay.bag.reader import bag_files, BagReader, ordered_files
from vla_replay.bag.scan import Scan
from vla_replay.bag.sources import plain, topic_of
from vla_replay.bag.topics import INSTRUCTION, LABEL, Message, Topic
from vla_replay.bag.types import recorded_hash
from vla_replay.bag.writer import BagWriter, CUSTOM
from vla_replay.errors import BagError


@dataclass(frozen=True)
class Repaired:
    """What `repair` could do.

    Attributes:
        messages: that were saved.
        skipped: bytes of damaged places between them.
        unknown: messages whose topic the bag does not say any more.
    """

    messages: int
    skipped: int
    unknown: int


def describe(bag: BagReader) -> str:
    """Return what a person wants to know about a bag."""
    files = bag_files(bag.path) if bag.path.is_dir() else [bag.path]
    size = sum(file.stat().st_size for file in files)
    seconds = (bag.end_ns - bag.start_ns) * 1e-9
    lines = [
        f'bag       {bag.path}',
        f'size      {size / 1e6:.1f} MB',
        f'start     {_when(bag.start_ns)}',
        f'duration  {seconds:.3f} s',
        f'messages  {sum(topic.count for topic in bag.topics.values())}',
    ]
    lines += [f'problem   {problem}' for problem in bag.problems]
    lines += [f'{key}: {value}' for key, value in sorted(bag.custom.items())]
    lines += [f'attached  {name}, {len(data)} bytes' for name, data in bag.attachments.items()]
    width = max((len(name) for name in bag.topics), default=0)
    for name, topic in sorted(bag.topics.items()):
        rate = f'{topic.count / seconds:.1f} Hz' if topic.count > 1 and seconds > 0 else ''
        lines.append(f'{name:{width}}  {topic.count:8}  {rate:>9}  {topic.type}')
    return '\n'.join(lines)


def trim(
    source: Path,
    output: Path,
    start: float = 0.0,
    end: float | None = None,
    topics: Collection[str] | None = None,
) -> int:
    """Copy a piece of a bag.

    The newest message of a latched topic before the piece is what its subscribers would have, and
    so is the newest transform of each frame: it is copied too, with the stamp of the beginning.

    Args:
        source: the bag.
        output: new folder.
        start: s after the bag's first message.
        end: s after the bag's first message, before which the piece ends; None: its end.
        topics: names; None: all.

    Returns:
        Messages written.

    Raises:
        BagError: if a bag cannot be read or written, `end` does not come after `start`, one of
            them is not finite, or nothing is in the piece.
    """
    if not 0.0 <= start < math.inf or (end is not None and not start < end < math.inf):
        raise BagError(f'from {start} s to {end} s: expected 0 <= start < end, finite')
    with BagReader(source) as bag:
        names = set(bag.topics if topics is None else topics)
        begin = bag.start_ns + round(start * 1e9)
        stop = bag.end_ns if end is None else bag.start_ns + round(end * 1e9)
        before = latched_before(bag, names, begin)
        custom = dict(bag.custom)
        told = left_in_part(custom.pop(CLOCK_SET, ''), begin, stop)
        with _whole(output, custom | ({CLOCK_SET: told} if told else {})) as writer:
            _prepare(writer, [bag], names)
            latched = _copy(writer, before)
            found = _copy(writer, bag.messages(names, begin, stop))
            if not found:
                until = 'its end' if end is None else f'{end:g} s'
                raise BagError(
                    f'{source}: no message of {sorted(names)} from {start:g} s to {until}: '
                    f'expected a piece of its {(bag.end_ns - bag.start_ns) * 1e-9:.3f} s'
                )
            return latched + found


def merge(sources: Sequence[Path], output: Path) -> int:
    """Put several bags into one, by the stamps of their messages.

    Returns:
        Messages written.

    Raises:
        BagError: if there is none, a bag cannot be read or written, a topic has another type, or
            another definition of it, in another bag, or the bags show other instructions or have
            other labels.
    """
    if not sources:
        raise BagError(f'no bag to put into {output}: expected one or more')
    with ExitStack() as stack:
        bags = [stack.enter_context(BagReader(source)) for source in sources]
        _require_one_demonstration(bags)
        custom = {key: value for bag in reversed(bags) for key, value in bag.custom.items()}
        writer = stack.enter_context(_whole(output, custom))
        _prepare(writer, bags)
        streams = [bag.messages() for bag in bags]
        return _copy(writer, heapq.merge(*streams, key=lambda message: message.stamp_ns))


def _require_one_demonstration(bags: Sequence[BagReader]) -> None:
    """Refuse bags of which one would get the instruction or the label of another one."""
    for key in (INSTRUCTION, LABEL):
        for bag in bags[1:]:
            here, before = bag.custom.get(key), bags[0].custom.get(key)
            if here != before:
                raise BagError(
                    f'{bag.path}: {key} {here!r}: expected {before!r} as in {bags[0].path}: '
                    'what is merged has one'
                )


def repair(source: Path, output: Path) -> Repaired:
    """Save every message of a damaged MCAP bag that can be read; the bag itself stays as it is.

    Args:
        source: folder or file.
        output: new folder.

    Raises:
        BagError: if there is no MCAP file, or the output cannot be written.
    """
    files = [file for file in _files(source) if file.suffix == '.mcap']
    if not files:
        raise BagError(f'{source}: no .mcap file: expected a bag in the format MCAP')
    with ExitStack() as stack:
        scans = [stack.enter_context(_scanned(file, len(files) == 1)) for file in files]
        facts = {
            key: text for scan in scans for key, text in scan.metadata.get(CUSTOM, {}).items()
        }
        writer = stack.enter_context(_whole(output, facts))
        written = 0
        for scan in scans:
            for name, data in scan.attachments.items():
                writer.attach(name, data)
            names: dict[int, str] = {}
            for number in scan.channels:
                topic = topic_of(scan, number)
                _add(writer, topic)
                names[number] = topic.name
            written += _copy(writer, map(plain, scan.messages(names, None, None)))
        lost = (
            count
            for scan in scans
            for key, count in scan.counts.items()
            if key not in scan.channels
        )
        skipped = sum(end - begin for scan in scans for begin, end in scan.skipped)
        return Repaired(written, skipped, sum(lost))


@contextmanager
def _whole(output: Path, custom: Mapping[str, str]) -> Iterator[BagWriter]:
    """Write a bag that is there as a whole, or not at all: what it is made of is there anyway."""
    writer = BagWriter(output, custom=custom)
    try:
        with writer:
            yield writer
    except BaseException:
        shutil.rmtree(output)
        raise


def _scanned(file: Path, alone: bool) -> Scan:
    try:
        scan = Scan(file)
    except OSError as error:
        raise BagError(f'{file}: {error.strerror}: expected a bag') from error
    scan.read(mend=True, alone=alone)
    return scan


def _prepare(
    writer: BagWriter, bags: Sequence[BagReader], names: Collection[str] | None = None
) -> None:
    hashes: dict[str, str] = {}
    for number, bag in enumerate(bags):
        for name, data in bag.attachments.items():
            writer.attach(f'{number}/{name}' if len(bags) > 1 else name, data)
        for topic in bag.topics.values():
            if names is not None and topic.name not in names:
                continue
            _add(writer, topic)
            recorded = recorded_hash(topic)
            before = hashes.setdefault(topic.name, recorded)
            if recorded and before and recorded != before:
                raise BagError(
                    f'{bag.path}: topic {topic.name} was recorded with another {topic.type}: '
                    f'{recorded}, expected {before} as in the bags before it'
                )


def _add(writer: BagWriter, topic: Topic) -> None:
    writer.add_topic(
        topic.name,
        topic.type,
        topic.qos,
        definition=topic.definition,
        type_hash=topic.type_hash,
    )


def _copy(writer: BagWriter, messages: Iterable[Message]) -> int:
    count = 0
    for message in messages:
        writer.write(message.topic, message.stamp_ns, message.data)
        count += 1
    return count


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise BagError(f'{path}: no such file or folder: expected a bag')
    return ordered_files(path) if path.is_dir() else [path]


def _when(stamp_ns: int) -> str:
    seconds, rest = divmod(stamp_ns, 1_000_000_000)
    try:
        return (
            f'{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest // 1_000_000:03} UTC'
        )
    except (OverflowError, ValueError, OSError):
        return f'{stamp_ns} ns'
