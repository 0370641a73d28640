"""Substitutions of launch files: var, env, find-pkg-share, not, equals.

Grammar and results are those of ROS 2 launch (package launch, frontend/grammar.lark): a backslash
takes the next character as it is, arguments are parted by one space and may be quoted whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import math
import shlex

from ament_index_python.packages import get_package_share_directory, PackageNotFoundError

from vla_core.errors import ConfigError

#: In one text; they may stand in each other.
MAX_CALLS = 50
_TRUE, _FALSE = ('true', '1'), ('false', '0')
# How many arguments each substitution takes, least and most.
_ARGUMENTS = {
    'var': (1, 2),
    'env': (1, 2),
    'find-pkg-share': (1, 1),
    'not': (1, 1),
    'equals': (2, 2),
}


class UnknownSubstitutionError(ConfigError):
    """A substitution that is not played here."""


@dataclass(frozen=True)
class Call:
    """`$(name argument ...)`."""

    name: str
    arguments: tuple[Template, ...]


Template = tuple[str | Call, ...]


def parse(text: str) -> Template:
    """Split `text` into literal parts and calls.

    Raises:
        ConfigError: a call is not closed, unknown, or has the wrong number of arguments, or there
            are more than MAX_CALLS.
    """
    if text.count('$(') > MAX_CALLS:
        raise ConfigError(f'{text[:40]!r}... : expected at most {MAX_CALLS} substitutions')
    template, _ = _parse_until(text, 0, '')
    return template


def _parse_until(text: str, position: int, closing: str) -> tuple[Template, int]:
    """Parse until an unescaped character of `closing`; an empty one means the end of the text."""
    parts: list[str | Call] = []
    literal = ''
    while position < len(text) and text[position] not in closing:
        if text.startswith('$(', position):
            if literal:
                parts.append(literal)
                literal = ''
            call, position = _parse_call(text, position)
            parts.append(call)
            continue
        if text[position] == '\\' and position + 1 < len(text):
            position += 1
        literal += text[position]
        position += 1
    if literal:
        parts.append(literal)
    return tuple(parts), position


def _parse_call(text: str, start: int) -> tuple[Call, int]:
    end = start + 2
    while end < len(text) and text[end] not in ' )':
        end += 1
    name = text[start + 2 : end]
    arguments: list[Template] = []
    while text[end : end + 1] == ' ':
        quote = text[end + 1 : end + 2]
        if quote and quote in '\'"':
            argument, end = _parse_until(text, end + 2, quote)
            end += 1
        else:
            argument, end = _parse_until(text, end + 1, ' )')
            if not argument:
                raise ConfigError(
                    f'{text!r} has an empty argument; expected one space between arguments'
                )
        arguments.append(argument)
    if text[end : end + 1] != ')':
        raise ConfigError(f'{text!r} has an unclosed substitution; expected a closing bracket')
    if name not in _ARGUMENTS:
        raise UnknownSubstitutionError(
            f'unknown substitution $({name}); expected one of {", ".join(_ARGUMENTS)}'
        )
    least, most = _ARGUMENTS[name]
    if not least <= len(arguments) <= most:
        raise ConfigError(f'$({name}) has {len(arguments)} arguments; expected {least} to {most}')
    if name == 'equals' and not all(arguments):
        raise ConfigError(
            f"{text!r} compares with an empty text; launch takes it for '[]'; expected text"
        )
    return Call(name, tuple(arguments)), end + 1


def split_words(template: Template) -> list[Template]:
    """Split a command line at its literal spaces; what a call yields stays in one word.

    Raises:
        ConfigError: a quotation is not closed.
    """
    words: list[Template] = []
    word: list[str | Call] = []

    def finish() -> None:
        if word:
            words.append(tuple(word))
            word.clear()

    for part in template:
        if isinstance(part, Call):
            word.append(part)
            continue
        if part[0].isspace():
            finish()
        try:
            tokens = shlex.split(part)
        except ValueError as error:
            raise ConfigError(f'{part!r}: {error}; expected words of a command line') from error
        for number, token in enumerate(tokens):
            if number:
                finish()
            word.append(token)
        if part[-1].isspace():
            finish()
    finish()
    return words


def resolve(
    template: Template, configurations: Mapping[str, str], environment: Mapping[str, str]
) -> str:
    """Turn a template into text.

    Args:
        template: parsed text.
        configurations: values of `$(var ...)`.
        environment: values of `$(env ...)`.

    Raises:
        ConfigError: a variable or package does not exist, or a condition is not a boolean.
    """

    def text(part: str | Call) -> str:
        if isinstance(part, str):
            return part
        arguments = [resolve(argument, configurations, environment) for argument in part.arguments]
        match part.name:
            case 'var':
                return _look_up(configurations, 'launch argument', arguments)
            case 'env':
                return _look_up(environment, 'environment variable', arguments)
            case 'find-pkg-share':
                return _package_share(arguments[0])
            case 'not':
                return str(not boolean(arguments[0])).lower()
            case _:
                return str(_equal(*arguments)).lower()

    return ''.join(text(part) for part in template)


def boolean(text: str) -> bool:
    """Read a condition the way launch does.

    Raises:
        ConfigError: `text` is none of true, 1, false, 0.
    """
    value = text.strip().lower()
    if value not in _TRUE + _FALSE:
        raise ConfigError(f'condition {text!r} is not a boolean; expected true, 1, false or 0')
    return value in _TRUE


def _look_up(values: Mapping[str, str], what: str, arguments: list[str]) -> str:
    name, *default = arguments
    if name in values:
        return values[name]
    if default:
        return default[0]
    raise ConfigError(f'{what} {name!r} does not exist; expected it to be set, or a default')


def _package_share(package: str) -> str:
    try:
        return get_package_share_directory(package)
    except (PackageNotFoundError, ValueError) as error:
        raise ConfigError(
            f'package {package!r} is not installed; expected it in AMENT_PREFIX_PATH '
            '(build the workspace and source it)'
        ) from error


def _equal(left: str, right: str) -> bool:
    """Compare as launch does: as booleans if both are, else as numbers, else as text."""
    booleans = _TRUE + _FALSE
    if left.lower() in booleans and right.lower() in booleans:
        return (left.lower() in _TRUE) == (right.lower() in _TRUE)
    try:
        return math.isclose(float(left), float(right))
    except ValueError:
        return left == right
