"""Nested frozen dataclasses from plain values and back, with every mistake named.

Ranges stand in the annotation, `steps: Annotated[int, Range(1)]`, so that one declaration serves
YAML, the command line (tyro reads the same dataclasses) and the reference page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import dataclasses
from dataclasses import dataclass
import math
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints, Literal, TypeVar, Union

from vla_core.errors import ConfigError

T = TypeVar('T')


@dataclass(frozen=True)
class Range:
    """Inclusive bounds of a number, or of each number of a tuple; None is open."""

    low: float | None = None
    high: float | None = None

    def holds(self, value: float) -> bool:
        """Say whether a number lies inside."""
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return low <= value <= high and math.isfinite(value)

    def __str__(self) -> str:
        if self.high is None:
            return 'finite' if self.low is None else f'at least {self.low:g}'
        return f'{"-inf" if self.low is None else f"{self.low:g}"} to {self.high:g}'


def build(cls: type[T], values: Any, where: str, default: T | None = None) -> T:
    """Make a dataclass from a mapping; nested dataclasses from nested mappings.

    Args:
        cls: frozen dataclass.
        values: field name -> value; what is missing comes from `default`, else from the class.
        where: file and section, for messages.
        default: an instance.

    Raises:
        ConfigError: if a key is unknown or missing, or a value has the wrong type or range.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f'{where} is {values!r}: expected a mapping')
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls, include_extras=True)
    for key in values:
        if key not in fields:
            raise ConfigError(f'{where}: unknown key {key!r}: expected {", ".join(fields)}')
    result = {}
    for name, field in fields.items():
        old = getattr(default, name) if default is not None else dataclasses.MISSING
        if name in values:
            nested = None if old is dataclasses.MISSING else old
            result[name] = _value(hints[name], values[name], f'{where}: {name}', nested)
        elif old is not dataclasses.MISSING:
            result[name] = old
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise ConfigError(f'{where}: key {name!r} is missing')
    try:
        return cls(**result)
    except ConfigError as error:
        raise ConfigError(f'{where}: {error}') from error


def check(config: Any) -> None:
    """Compare every number with its range; for `__post_init__`.

    Raises:
        ConfigError: naming the field, its value and what is allowed.
    """
    for name, hint in get_type_hints(type(config), include_extras=True).items():
        value = getattr(config, name)
        if get_origin(hint) is not Annotated or value is None:
            continue
        numbers = value if isinstance(value, tuple) else (value,)
        for limits in hint.__metadata__:
            if isinstance(limits, Range) and not all(map(limits.holds, numbers)):
                raise ConfigError(f'{name} is {value}: expected {limits}')


def plain(value: Any) -> Any:
    """Turn dataclasses into dicts, tuples into lists and paths into text, as YAML knows them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def leaves(values: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    """List the values of nested mappings with their dotted names."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f'{prefix}{key}.')
        else:
            yield prefix + key, value


def describe(hint: Any) -> str:
    """Say in words what a type allows."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        ranges = [str(item) for item in hint.__metadata__ if isinstance(item, Range)]
        return ', '.join([describe(arguments[0]), *ranges])
    if origin is Literal:
        return 'one of ' + ', '.join(str(one) or 'empty' for one in arguments)
    if origin in (Union, UnionType):
        return ' or '.join(describe(item) for item in arguments)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return f'list of {describe(arguments[0])}'
        return f'list of {len(arguments)} {describe(arguments[0])}'
    return 'none' if hint is NoneType else getattr(hint, '__name__', str(hint))


def _value(hint: Any, value: Any, where: str, default: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where, default)  # type: ignore[arg-type]
    fits, result = _fit(hint, value)
    if not fits:
        remark = ''
        if isinstance(value, str) and 'float' in describe(hint):
            remark = ' (YAML reads 1e-4 as text: write 1.0e-4)'
        raise ConfigError(f'{where} is {value!r}: expected {describe(hint)}{remark}')
    return result


def _fit(hint: Any, value: Any) -> tuple[bool, Any]:
    """Say whether a plain value fits a type, and return it as that type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _fit(arguments[0], value)
    if origin is Literal:
        return value in arguments, value
    if origin in (Union, UnionType):
        tried = [_fit(item, value) for item in arguments]
        return next((found for found in tried if found[0]), (False, value))
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False, value
        endless = arguments[-1] is Ellipsis
        hints = (arguments[0],) * len(value) if endless else arguments
        if len(hints) != len(value):
            return False, value
        tried = [_fit(item, part) for item, part in zip(hints, value, strict=True)]
        return all(fits for fits, _ in tried), tuple(part for _, part in tried)
    if hint is float and type(value) is int:
        return True, float(value)
    if hint is Path and isinstance(value, str):
        return True, Path(value)
    return type(value) is hint, value
