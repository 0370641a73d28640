"""Definitions and hashes of message types: those of rosbags, and those of installed packages."""

from functools import lru_cache
from pathlib import Path
import re
from typing import Any

from ament_index_python.packages import get_package_share_directory, PackageNotFoundError
from rosbags.interfaces import Nodetype
from rosbags.typesys import get_types_from_msg, get_typestore, Stores, TypesysError
from rosbags.typesys.store import Typestore

from vla_replay.bag.topics import Topic
from vla_replay.errors import BagError

#: How a definition in IDL begins.
IDL = '=' * 80 + '\nIDL: '
#: rosbags hashes `char` otherwise than ROS 2 does, where it is a uint8.
_CHAR = re.compile(r'^\s*char\b', re.MULTILINE)
#: Characters of what a parser says.
_LONGEST = 200
_NAME = re.compile(r'[a-zA-Z]\w*/(msg|srv|action)/[a-zA-Z]\w*', re.ASCII)


class Types:
    """Message types by name; one that rosbags does not ship is looked up where it is installed."""

    def __init__(self) -> None:
        """Begin with the types of ROS 2 Jazzy."""
        self.store: Typestore = get_typestore(Stores.ROS2_JAZZY)

    def definition(self, name: str) -> str:
        """Return the text of a type and of all types in it.

        Raises:
            BagError: if the type is not known.
        """
        self._load(name)
        text, _ = self.store.generate_msgdef(name, ros_version=2)
        return str(text)

    def type_hash(self, name: str) -> str:
        """Return the RIHS01 hash of a type.

        Raises:
            BagError: if the type is not known.
        """
        self._load(name)
        return str(self.store.hash_rihs01(name))

    def _load(self, name: str) -> None:
        if name in self.store.fielddefs:
            return
        try:
            found = get_types_from_msg(_installed(name), name)
            for _, fields in found.values():
                for _, description in fields:
                    inner = _named(description)
                    if inner:
                        self._load(inner)
            self.store.register(found)
        except TypesysError as error:  # a definition that ROS 2 reads, and rosbags does not
            said = ' '.join(str(error).split())[:_LONGEST]
            raise BagError(f'definition of {name}: {said}: expected one that rosbags reads') from (
                error
            )


@lru_cache(maxsize=256)
def hash_of(name: str, definition: str) -> str:
    """Return the RIHS01 hash of a complete definition; empty: rosbags cannot tell it.

    rosbags makes Python code of a definition: a name that is no name never gets there.
    """
    unknown = not definition or definition.startswith(IDL) or _CHAR.search(definition)
    if unknown or not _NAME.fullmatch(name):
        return ''
    try:
        store = get_typestore(Stores.EMPTY)
        store.register(get_types_from_msg(definition, name))
        return str(store.hash_rihs01(name))
    except Exception:  # whatever a parser makes of a text that it does not understand
        return ''


def types_of(topic: Topic) -> Typestore:
    """Return the types in which a topic's messages are read: those of its bag, older ones too.

    rosbags makes Python code of a definition: a name that is no name never gets there.

    Raises:
        BagError: if the bag does not define them.
    """
    if not _NAME.fullmatch(topic.type):
        raise BagError(f'type {topic.type!r}: expected PACKAGE/msg/NAME')
    if not topic.definition or topic.definition.startswith(IDL):
        kind = 'in IDL' if topic.definition else 'not in the bag'
        raise BagError(f'definition of {topic.name}, {topic.type}, is {kind}: expected .msg')
    store = get_typestore(Stores.EMPTY)
    try:
        store.register(get_types_from_msg(topic.definition, topic.type))
    except Exception as error:  # whatever a parser makes of a text that it does not understand
        said = ' '.join(str(error).split())[:_LONGEST]
        raise BagError(
            f'definition of {topic.name}, {topic.type}, in the bag: {said}: expected .msg'
        ) from None
    return store


def recorded_hash(topic: Topic) -> str:
    """Return the RIHS01 hash of a topic's type as it was recorded; empty: unknown."""
    return topic.type_hash or hash_of(topic.type, topic.definition)


def require_installed(topic: Topic) -> None:
    """Refuse messages that the code of the installed packages would misread.

    Raises:
        BagError: if the topic was recorded with another definition of its type, or the type is
            not known here.
    """
    types = Types()
    installed = types.type_hash(topic.type)
    recorded = recorded_hash(topic) or installed
    if recorded != installed and hash_of(topic.type, types.definition(topic.type)):
        raise BagError(
            f'{topic.name} was recorded with another {topic.type}: '
            f'{recorded}, expected {installed} as installed here'
        )


def _installed(name: str) -> str:
    package, _, rest = name.partition('/')
    try:
        file = Path(get_package_share_directory(package)) / f'{rest}.msg'
        return file.read_text(encoding='utf-8')
    except (PackageNotFoundError, ValueError, OSError) as error:
        raise BagError(
            f'type {name!r}: expected a message of ROS 2 Jazzy or of an installed package'
        ) from error


def _named(description: Any) -> str:
    kind, rest = description
    while kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        (kind, rest), _ = rest
    return str(rest) if kind == Nodetype.NAME else ''
