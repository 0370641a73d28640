"""ROS parameters of a launch file: typed as launch_ros does, and carried by temporary files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
import re
import tempfile

import yaml

from vla_cli.launching import substitutions
from vla_core.errors import ConfigError
from vla_core.parameters import parse_yaml

Value = bool | int | float | str | list[bool] | list[int] | list[float] | list[str]
_SCALARS = (bool, int, float, str)


@dataclass(frozen=True)
class InlineParameters:
    """Parameters written in the launch file; a node gets them as a file.

    Attributes:
        node: fully qualified node name, or `/**`.
        values: name to value.
    """

    node: str
    values: dict[str, Value]

    def write(self, folder: Path) -> Path:
        """Write the parameter file into `folder` and return its path."""
        content = {self.node: {'ros__parameters': self.values}}
        with tempfile.NamedTemporaryFile(
            'w', prefix='launch_params_', dir=folder, delete=False
        ) as file:
            yaml.safe_dump(content, file, default_flow_style=False)
        return Path(file.name)


def sections(path: Path) -> list[str]:
    """Return the names of a parameter file's sections, nested ones joined; an empty file has none.

    Raises:
        ConfigError: it cannot be read, is no YAML mapping, or a section has no ros__parameters.
    """
    try:
        content = parse_yaml(path.read_text(encoding='utf-8'))
        return [] if content is None else list(_sections(content, ''))
    except OSError as error:
        raise ConfigError(
            f'parameter file {path}: {error.strerror}; expected a YAML file'
        ) from error
    except (ConfigError, UnicodeDecodeError) as error:
        raise ConfigError(f'parameter file {path}: {error}') from error


def _sections(content: object, name: str) -> Iterator[str]:
    where = f'section {name!r}' if name else 'content'
    if not isinstance(content, dict):
        raise ConfigError(f'{where} is {repr(content)[:100]}; expected a mapping')
    if name and 'ros__parameters' in content:
        if not isinstance(content['ros__parameters'], dict) or len(content) > 1:
            raise ConfigError(f'{where}: expected one mapping ros__parameters and nothing else')
        yield name
        return
    if name and not any(isinstance(inner, dict) for inner in content.values()):
        raise ConfigError(f'{where}: no ros__parameters; expected the parameters below that key')
    for key, inner in content.items():
        yield from _sections(inner, f'{name}/{key}' if name else key)


def reaches(section: str, node: str) -> bool:
    """Say whether a section of a parameter file is for a node, by the rules of rcl.

    Args:
        section: its name; `*` stands for one part, `**` for any number of parts.
        node: fully qualified name.
    """
    wildcards = {'*': r'/\w+', '**': r'(?:/\w+)*'}
    parts = section.removeprefix('/').split('/')
    pattern = ''.join(wildcards.get(part, f'/{re.escape(part)}') for part in parts)
    return re.fullmatch(pattern, node, re.ASCII) is not None


def typed(text: str, kind: str, resolve: Callable[[substitutions.Template], str]) -> Value:
    """Give the value of a <param> the type that launch_ros gives it.

    Args:
        text: the attribute as written.
        kind: its `type`: str, bool, int, float, or yaml (also where there is none).
        resolve: turns a template into text.

    Raises:
        ConfigError: the value does not fit, or the type is unknown.
    """
    match kind:
        case 'str':
            return resolve(substitutions.parse(text))
        case 'bool' | 'int' | 'float':
            return _scalar(resolve(substitutions.parse(text)), kind)
        case 'yaml':
            return _substituted(from_yaml(text), resolve)
        case _:
            raise ConfigError(f'type {kind!r} is unknown; expected str, bool, int, float or yaml')


def from_yaml(text: str) -> Value:
    """Read a value by YAML's rules: a scalar, or a list of one scalar type.

    Raises:
        ConfigError: the text is no YAML, or yields anything else.
    """
    try:
        return _checked(parse_yaml(text) if text else text)
    except ConfigError as error:
        raise ConfigError(f'value {text!r}: {error}') from error


def _checked(value: object) -> Value:
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, list) and {type(item) for item in value} in [{kind} for kind in _SCALARS]:
        return value
    raise ConfigError(f'value is {value!r}; expected a scalar or a list of one scalar type')


def _substituted(value: Value, resolve: Callable[[substitutions.Template], str]) -> Value:
    """Resolve the calls in a value; launch reads the results as YAML again, even quoted ones."""
    if isinstance(value, list):
        return _checked([_substituted(item, resolve) for item in value])
    if not isinstance(value, str):
        return value
    template = substitutions.parse(value)
    literal = all(isinstance(part, str) for part in template)
    return resolve(template) if literal else from_yaml(resolve(template))


def _scalar(text: str, kind: str) -> Value:
    try:
        if kind == 'int':
            return int(text)
        if kind == 'float':
            return float(text)
    except ValueError as error:
        raise ConfigError(f'value {text!r} is not of type {kind}') from error
    value = parse_yaml({'1': 'true', '0': 'false'}.get(text, text))
    if not isinstance(value, bool):
        raise ConfigError(f'value {text!r} is not of type bool; expected true or false')
    return value
