"""Message classes by the names that bags use, e.g. std_msgs/msg/String."""

from importlib import import_module
from typing import Any


def message_class(name: str) -> Any:
    """Return the class of a message type.

    Raises:
        ImportError: if its package is not installed.
        AttributeError: if the package has no such message.
    """
    package, _, rest = name.partition('/')
    return getattr(import_module(f'{package}.msg'), rest.rpartition('/')[2])


def type_name(kind: type) -> str:
    """Return the name of a message class."""
    package, *_ = kind.__module__.split('.')
    return f'{package}/msg/{kind.__name__}'
