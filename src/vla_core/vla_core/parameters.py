"""Parameters declared once: a frozen dataclass whose fields carry unit, range and description.

The same dataclass serves the node (vla_ros.parameters.declare), YAML files, tests and the
reference page. Ranges are inclusive; NaN and infinity never pass; 0 has no special meaning.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from dataclasses import MISSING
import math
from pathlib import Path
from typing import Any, TypeVar

import yaml

from vla_core.errors import ConfigError

ConfigT = TypeVar('ConfigT')
#: Types that a ROS parameter can have here.
KINDS = (bool, int, float, str)
#: Of a YAML text; far above every file of ours, far below what an alias of aliases makes of 1 kB.
MAX_VALUES, MAX_DEPTH = 20_000, 32
_LONGEST_REASON = 300


@dataclasses.dataclass(frozen=True)
class Meta:
    """What is allowed for one parameter and what it means."""

    doc: str
    unit: str = ''
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


def parameter(
    *,
    doc: str,
    default: Any = MISSING,
    unit: str = '',
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] = (),
) -> Any:
    """Declare one field of a configuration dataclass; without `default` it is required."""
    meta = Meta(doc, unit, low, high, tuple(choices))
    if default is MISSING:
        return dataclasses.field(metadata={'parameter': meta})
    return dataclasses.field(default=default, metadata={'parameter': meta})


def meta_of(field: 'dataclasses.Field[Any]') -> Meta:
    """Return the declaration of a field made by `parameter`."""
    meta: Meta = field.metadata['parameter']
    return meta


def kind_of(field: 'dataclasses.Field[Any]') -> type:
    """Return bool, int, float or str, the type of a declared field.

    Raises:
        TypeError: if the annotation is anything else.
    """
    for kind in KINDS:
        if field.type in (kind, kind.__name__):
            return kind
    raise TypeError(f'{field.name}: {field.type}: parameters are bool, int, float or str')


def allowed(field: 'dataclasses.Field[Any]') -> str:
    """Say in words what is allowed for a field."""
    meta, kind = meta_of(field), kind_of(field)
    if meta.choices:
        return 'one of ' + ', '.join(meta.choices)
    unit = f' {meta.unit}' if meta.unit else ''
    if kind in (int, float):
        low = '-inf' if meta.low is None else f'{meta.low:g}'
        high = 'inf' if meta.high is None else f'{meta.high:g}'
        finite = 'a finite float' if kind is float else 'an integer'
        return f'{finite} in [{low}, {high}]{unit}'
    return f'a {kind.__name__}'


def check(field: 'dataclasses.Field[Any]', value: Any, where: str) -> Any:
    """Return `value` if the field allows it.

    Raises:
        ConfigError: if its type, range or choice is wrong; names parameter, value and allowed
            range.
    """
    meta, kind = meta_of(field), kind_of(field)
    fits = type(value) is kind
    if fits and kind in (int, float):
        low = -math.inf if meta.low is None else meta.low
        high = math.inf if meta.high is None else meta.high
        fits = low <= value <= high and math.isfinite(value)
    if fits and meta.choices:
        fits = value in meta.choices
    if not fits:
        hint = (
            ' (write a float with a decimal point)' if kind is float and type(value) is int else ''
        )
        raise ConfigError(
            f'{where}: parameter {field.name} is {value!r}: expected {allowed(field)}{hint}'
        )
    return value


def build(cls: type[ConfigT], values: Mapping[str, Any], where: str) -> ConfigT:
    """Make a configuration from values, refusing unknown and missing keys.

    Args:
        cls: frozen dataclass whose fields were made by `parameter`.
        values: field name -> value.
        where: file or node, for messages.

    Raises:
        ConfigError: if a key is unknown, a required one is missing, or a value is not allowed.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ConfigError(f'{where}: unknown parameter {unknown[0]!r}: expected {sorted(fields)}')
    for field in fields.values():
        if field.name in values:
            check(field, values[field.name], where)
        elif field.default is MISSING:
            raise ConfigError(
                f'{where}: parameter {field.name} is missing: expected {allowed(field)}'
            )
    return cls(**values)


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe YAML whose keys are texts, and in which the same key twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            where = f'line {key_node.start_mark.line + 1}: key'
            if not isinstance(key, str):
                raise ConfigError(f'{where} {key!r}: expected a text'[:_LONGEST_REASON])
            if key in seen:
                raise ConfigError(f'{where} {key!r} is given twice')
            seen.add(key)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text; nothing in it can run code, or grow beyond all bounds.

    Raises:
        ConfigError: if it is not YAML, a key is no text or given twice, or it holds more than
            MAX_VALUES values or MAX_DEPTH levels, repetitions by alias counted.
    """
    try:
        value = _UniqueKeyLoader(text).get_single_data()
    except ConfigError:
        raise
    except Exception as error:  # PyYAML's constructors raise half a dozen kinds on a bad scalar
        raise ConfigError(f'not YAML: {error}'[:_LONGEST_REASON]) from error
    count, waiting = 0, [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        count += 1
        if count > MAX_VALUES or depth > MAX_DEPTH:
            raise ConfigError(f'expected at most {MAX_VALUES} values in {MAX_DEPTH} levels')
        if isinstance(item, dict | list | tuple | set):
            inner = item.values() if isinstance(item, dict) else item
            waiting += [(part, depth + 1) for part in inner]
    return value


def load_yaml(path: Path, max_bytes: int = 1 << 20) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Raises:
        ConfigError: if the file is missing, larger than `max_bytes`, no mapping, or refused by
            `parse_yaml`.
    """
    try:
        if path.stat().st_size > max_bytes:
            raise ConfigError(f'{path}: {path.stat().st_size} bytes: expected at most {max_bytes}')
        data = parse_yaml(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise ConfigError(f'{path}: {error.strerror}: expected a YAML file') from error
    except UnicodeDecodeError as error:
        raise ConfigError(f'{path}: not YAML: {error}') from error
    except ConfigError as error:
        raise ConfigError(f'{path}: {error}') from error
    if not isinstance(data, dict):
        raise ConfigError(f'{path}: a {type(data).__name__}: expected a mapping')
    return data
