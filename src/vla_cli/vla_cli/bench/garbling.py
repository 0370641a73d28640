"""Spoil a message of any type: odd numbers, wrong lengths, huge texts, broken bytes.

Everything follows from the message's own description, so that a new field is spoiled too.
"""

from __future__ import annotations

import array
from collections.abc import Callable, Iterator
import copy
from dataclasses import dataclass
import math
import random
import re
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message

_FLOATS = {
    'double': (math.nan, math.inf, -math.inf, 5e-324, 1e308, -1e308, -0.0, 0.0, 11.0),
    'float': (math.nan, math.inf, -math.inf, 1e-45, 3e38, -3e38, -0.0, 0.0, 11.0),
}
_INTEGER = re.compile(r'(u?)int(8|16|32|64)|octet|byte')
_TEXTS = (
    '',
    'x' * 1_000_000,
    '\x01\x02\x1b[2J',
    'a\r\nb\tc',
    '\U0001f916' * 3,
    '../../etc/passwd',
    '%s%n',
    'stop',
)
#: Lengths, as CDR writes them, that no buffer holds.
_LENGTHS = (0xFFFFFFFF, 0x7FFFFFFF, 0x10000000, 0)


@dataclass(frozen=True)
class Leaf:
    """One field of a message that holds no message."""

    owner: Any
    name: str
    kind: str

    @property
    def value(self) -> Any:
        """What it holds."""
        return getattr(self.owner, self.name)


def leaves(msg: Any, keep: frozenset[str] = frozenset()) -> Iterator[Leaf]:
    """Return every field of a message and of the messages in it, but those named in `keep`."""
    for name, kind in msg.get_fields_and_field_types().items():
        value = getattr(msg, name)
        if name in keep:
            continue
        if hasattr(value, 'get_fields_and_field_types'):
            yield from leaves(value, keep)
        else:
            yield Leaf(msg, name, kind)


def spoil(good: Any, chance: random.Random, keep: frozenset[str] = frozenset()) -> Any:
    """Return a copy of a message in which one to three fields hold what nobody expects.

    Args:
        good: a message, left as it is.
        chance: where the choices come from.
        keep: fields that keep their value.
    """
    msg = copy.deepcopy(good)
    for leaf in chance.choices(list(leaves(msg, keep)), k=chance.randint(1, 3)):
        setattr(leaf.owner, leaf.name, _odd(leaf.kind, leaf.value, chance))
    return msg


def garble(good: Any, chance: random.Random, keep: frozenset[str] = frozenset()) -> bytes:
    """Return the serialised bytes of a message, broken: mostly no message any more.

    Args:
        good: a message.
        chance: where the choices come from.
        keep: fields that keep their value if the bytes are a message all the same.
    """
    data = _broken(serialize_message(good), chance)
    if not any(hasattr(good, name) for name in keep):
        return data
    try:
        msg = deserialize_message(data, type(good))
    except Exception:  # whatever the middleware raises: the bytes are what was wanted
        return data
    for name in keep:
        setattr(msg, name, getattr(good, name))
    return serialize_message(msg)


def _odd(kind: str, value: Any, chance: random.Random) -> Any:
    """Return a value that the type allows and nobody expects."""
    if kind in _FLOATS:
        return chance.choice(_FLOATS[kind])
    if kind == 'boolean':
        return not value
    if kind == 'string':
        return chance.choice(_TEXTS)
    if match := _INTEGER.fullmatch(kind):
        return _odd_integer(match, chance)
    if isinstance(value, np.ndarray):  # of fixed length
        return np.full_like(value, chance.choice(_FLOATS['float']))
    return _odd_sequence(kind, value, chance)


def _odd_integer(match: re.Match[str], chance: random.Random) -> int:
    bits, signed = int(match[2] or 8), match[2] and not match[1]
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return chance.choice((low, high, 0, 1, chance.randint(low, high)))


def _odd_sequence(kind: str, value: Any, chance: random.Random) -> Any:
    """Return a sequence of another length, or with one odd element."""
    changes: list[Callable[[], Any]] = [
        lambda: value[:0],
        lambda: value[: len(value) // 2],
        lambda: value[:-1],
        lambda: value + value,
    ]
    element = re.sub(r'^sequence<|(, \d+)?>$', '', kind)
    known = element in (*_FLOATS, 'string') or _INTEGER.fullmatch(element)
    if len(value) and known:
        place = chance.randrange(len(value))
        odd = _odd(element, value[place], chance)
        new = array.array(value.typecode, [odd]) if isinstance(value, array.array) else [odd]
        changes.append(lambda: value[:place] + new + value[place + 1 :])
    return chance.choice(changes)()


def _broken(data: bytes, chance: random.Random) -> bytes:
    """Return serialised bytes cut off, prolonged, flipped, or with a length that is not true."""
    changed = bytearray(data)
    what = chance.randrange(4)
    if what == 0:
        return data[: chance.randrange(4, len(data) + 1)]
    if what == 1:
        return data + chance.randbytes(chance.randint(1, 64))
    if what == 2:
        for _ in range(chance.randint(1, 8)):
            changed[chance.randrange(4, len(data))] ^= 1 << chance.randrange(8)
    elif len(data) >= 8:
        place = 4 * chance.randrange(1, len(data) // 4)
        changed[place : place + 4] = chance.choice(_LENGTHS).to_bytes(4, 'little')
    return bytes(changed)
