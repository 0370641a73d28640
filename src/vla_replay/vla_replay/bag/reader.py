"""Read bags: what `ros2 bag record` writes (MCAP, SQLite, compressed or not), and torn ones."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import replace
import heapq
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from vla_replay.bag.metadata import NAME
from vla_replay.bag.sources import facts, Source, Torn, Whole, whole
from vla_replay.bag.topics import Message, Topic
from vla_replay.bag.types import hash_of, Types
from vla_replay.errors import BagError

__all__ = ['BagReader', 'Message', 'Topic']

_SUFFIXES = ('.mcap', '.db3')
#: Behind them where a file is compressed as a whole, which metadata.yaml must say.
_PACKED = '.zstd'


class BagReader:
    """A bag that is open for reading.

    A bag that was cut by a kill or a power failure is read up to its tear, with no repair before.

    Attributes:
        path: of the bag.
        topics: by name.
        start_ns: stamp of the first message.
        end_ns: just behind the last message; equal to `start_ns`: there is none.
        custom: `custom_data` of metadata.yaml, facts about the bag.
        attachments: name -> content, what was stored beside the messages.
        torn: whether the end may be missing.
        problems: what is not as it should be, in words.
    """

    def __init__(self, path: Path) -> None:
        """Open a bag.

        Args:
            path: folder with metadata.yaml or without, or one .mcap or .db3 file.

        Raises:
            BagError: if there is none, it is damaged, a type hash does not belong to its
                definition, or a topic has two types or two definitions of one.
        """
        self.path = Path(path)
        self.topics: dict[str, Topic] = {}
        self.custom: dict[str, str] = {}
        self.attachments: dict[str, bytes] = {}
        self.problems: list[str] = []
        self._stack = ExitStack()
        try:
            self._sources = self._open()
            described = dict(self.custom)
            for source in self._sources:
                self._take(source)
            self.custom |= described  # it was written last
            self.topics = {name: self._completed(one) for name, one in self.topics.items()}
        except Exception as error:
            self.close()
            raise self._as_bag_error(error) from error
        filled = [source for source in self._sources if source.end_ns > source.start_ns]
        self.start_ns = min((source.start_ns for source in filled), default=0)
        self.end_ns = max((source.end_ns for source in filled), default=0)
        self.torn = any(source.problem for source in self._sources)

    def messages(
        self,
        topics: Collection[str] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> Iterator[Message]:
        """Yield messages in the order of their stamps.

        Args:
            topics: names; None: all.
            start_ns: earliest stamp; None: from the beginning.
            end_ns: stamp before which they end; None: to the last one.

        Raises:
            BagError: if a topic is not in the bag, or a damaged place is met.
        """
        wanted = set(self.topics if topics is None else topics)
        for name in wanted - set(self.topics):
            raise BagError(f'{self.path}: no topic {name}: expected one of {sorted(self.topics)}')
        streams = [one.messages(wanted, start_ns, end_ns) for one in self._sources]
        try:
            yield from heapq.merge(*streams, key=lambda message: message.stamp_ns)
        except Exception as error:
            raise self._as_bag_error(error) from error

    def topic(self, name: str, type: str) -> Topic:  # noqa: A002
        """Return a topic that must be there with a type.

        Raises:
            BagError: if it is not there, or has another type.
        """
        found = self.topics.get(name)
        if found is None:
            raise BagError(f'{self.path}: no topic {name}: expected one of {sorted(self.topics)}')
        if found.type != type:
            raise BagError(f'{self.path}: topic {name} is a {found.type}: expected {type}')
        return found

    def close(self) -> None:
        """Close the files; a second time is nothing."""
        self._stack.close()

    def __enter__(self) -> 'BagReader':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> list[Source]:
        if not self.path.exists():
            raise BagError(f'{self.path}: no such file or folder: expected a bag')
        if not self.path.is_dir():
            if self.path.suffix not in _SUFFIXES:
                if _is_packed(self.path):
                    raise BagError(_unpack(self.path))
                raise BagError(
                    f'{self.path}: expected a folder, or a file {" or ".join(_SUFFIXES)}'
                )
            return [self._file(self.path)]
        described = self.path / NAME
        if described.exists():
            try:
                return [self._opened(Whole(self.path))]
            except Exception:
                if any(map(_is_packed, self.path.iterdir())):
                    raise
                files = ordered_files(self.path)
                torn = [one for one in files if one.suffix == '.mcap' and not whole(one)]
                missing = [name for name in _listed(described) if not (self.path / name).exists()]
                if missing or not torn:
                    raise
            self.custom |= _custom(described)
        else:
            files = ordered_files(self.path)
            if not files:
                raise BagError(
                    f'{self.path}: no {NAME}, no .mcap and no .db3 in it: expected a bag'
                )
            self.problems.append(f'{NAME} is missing: its recorder did not end in order')
        return [self._file(file, len(files) == 1) for file in files]

    def _file(self, path: Path, alone: bool = True) -> Source:
        if path.suffix == '.mcap' and not whole(path):
            return self._opened(Torn(path, alone))
        return self._opened(Whole(path))

    def _opened(self, source: Source) -> Source:
        self._stack.callback(source.close)
        return source

    def _take(self, source: Source) -> None:
        self.custom |= source.custom
        self.attachments |= source.attachments
        if source.problem:
            self.problems.append(source.problem)
        for topic in source.topics:
            before = self.topics.setdefault(topic.name, replace(topic, count=0))
            if before.type != topic.type:
                raise BagError(
                    f'topic {topic.name} is a {topic.type} and a {before.type}: expected one type'
                )
            if before.type_hash and topic.type_hash not in ('', before.type_hash):
                raise BagError(
                    f'topic {topic.name} was recorded with two definitions of {topic.type}, '
                    f'{before.type_hash} and {topic.type_hash}: expected one'
                )
            qos = dict.fromkeys(before.qos + topic.qos)
            self.topics[topic.name] = replace(
                before,
                count=before.count + topic.count,
                qos=tuple(qos),
                type_hash=before.type_hash or topic.type_hash,
                definition=before.definition or topic.definition,
            )

    def _completed(self, topic: Topic) -> Topic:
        """Compare the hash with the definition; give one to a topic that came without."""
        if not topic.definition:
            return self._defined(topic)
        expected = hash_of(topic.type, topic.definition)
        if topic.type_hash and expected and topic.type_hash != expected:
            raise BagError(
                f'topic {topic.name}, {topic.type}: type hash {topic.type_hash}: '
                f'expected {expected}, that of its definition'
            )
        return topic

    def _defined(self, topic: Topic) -> Topic:
        """Give a definition to a topic of an old bag, unless its hash is that of another one."""
        try:
            types = Types()
            known = types.type_hash(topic.type)
            fits = topic.type_hash in ('', known)
            return replace(topic, definition=types.definition(topic.type)) if fits else topic
        except BagError:
            return topic

    def _as_bag_error(self, error: Exception) -> BagError:
        text = str(error) or type(error).__name__
        if not isinstance(error, BagError):
            text = f'damaged: {text.splitlines()[0][:200]}'
        return BagError(text if text.startswith(str(self.path)) else f'{self.path}: {text}')


def bag_files(folder: Path) -> list[Path]:
    """Return the files that hold the messages of a bag."""
    return [file for file in folder.iterdir() if file.suffix in _SUFFIXES or _is_packed(file)]


def ordered_files(folder: Path) -> list[Path]:
    """Return the files of a bag in the order in which they were written, to read one by one.

    Raises:
        BagError: if one is compressed as a whole.
    """
    files = sorted(bag_files(folder), key=_order)
    for file in filter(_is_packed, files):
        raise BagError(_unpack(file))
    return files


def _is_packed(file: Path) -> bool:
    """Say whether only the compressed form of a file is there."""
    plain = file.with_suffix('')
    return file.suffix == _PACKED and plain.suffix in _SUFFIXES and not plain.exists()


def _unpack(file: Path) -> str:
    return (
        f'{file}: compressed as a whole, and no {NAME} says so: '
        f'expected `zstd -d {file.parent}/*{_PACKED}`'
    )


def _order(path: Path) -> tuple[int, str]:
    """Sort NAME_2 before NAME_10."""
    number = path.stem.rpartition('_')[2]
    return (int(number) if number.isdecimal() else -1), path.name


def _information(described: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(described.read_text(encoding='utf-8'))
        information = content['rosbag2_bagfile_information']
        return information if isinstance(information, dict) else {}
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError):
        return {}


def _listed(described: Path) -> list[str]:
    return [str(name) for name in _information(described).get('relative_file_paths') or ()]


def _custom(described: Path) -> dict[str, str]:
    return facts(_information(described).get('custom_data'))
