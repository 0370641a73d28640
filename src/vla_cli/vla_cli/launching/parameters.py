"""ROS parameters of a launch file: typed as launch_ros does, and carried by temporary files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
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
