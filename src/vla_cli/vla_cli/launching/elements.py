"""Reads a launch file into elements that know their place; refuses what is not played here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from vla_core.errors import ConfigError

#: The other languages of ROS 2's launch.
_FOREIGN_FILES = ('.py', '.yaml', '.yml')
#: Elements inside each other; ours need five.
MAX_DEPTH = 50
_LONGEST_REASON = 1000


@dataclass(frozen=True)
class Element:
    """One element of a launch file."""

    tag: str
    attributes: dict[str, str]
    children: tuple[Element, ...]
    file: Path
    line: int

    def error(self, what: str, foreign: bool = False) -> LaunchFileError:
        """Make the error that names this element's place."""
        return LaunchFileError(self.file, self.line, f'<{self.tag}>: {what}', foreign)


class LaunchFileError(ConfigError):
    """A launch file cannot be played; the message starts with file and line.

    Attributes:
        foreign: it holds something that is not played here; ROS 2's own launch may know it.
    """

    def __init__(self, file: Path, line: int, what: str, foreign: bool = False) -> None:
        super().__init__(f'{file}:{line}: {what[:_LONGEST_REASON]}')
        self.foreign = foreign


@dataclass(frozen=True)
class _Rule:
    required: frozenset[str]
    optional: frozenset[str] = frozenset()
    children: frozenset[str] = frozenset()


def _rule(required: str = '', optional: str = '', children: str = '') -> _Rule:
    return _Rule(*(frozenset(words.split()) for words in (required, optional, children)))


_ACTIONS = 'arg let include group push_ros_namespace set_env set_parameter executable node'
_PROCESS = 'if unless args output respawn respawn_delay respawn_max_retries on_exit'
# <arg> and <include> hold different things inside <include>; `inside` below keeps them apart.
_RULES = {
    'launch': _rule(optional='version', children=_ACTIONS),
    'group': _rule(optional='scoped if unless', children=_ACTIONS),
    'arg': _rule('name', 'default description if unless', 'choice'),
    'include/arg': _rule('name value'),
    'choice': _rule('value'),
    'let': _rule('name value', 'if unless'),
    'include': _rule('file', 'if unless', 'arg'),
    'push_ros_namespace': _rule('namespace', 'if unless'),
    'set_env': _rule('name value', 'if unless'),
    'set_parameter': _rule('name value', 'if unless'),
    'env': _rule('name value'),
    'executable': _rule('cmd', f'name {_PROCESS}'.replace(' args', ''), 'env'),
    'node': _rule('pkg exec', f'name namespace {_PROCESS}', 'param remap env'),
    'param': _rule(optional='name value type from'),
    'remap': _rule('from to'),
}


def read(path: Path) -> Element:
    """Read a launch file and check every element and attribute of it.

    Args:
        path: XML file whose root is <launch>.

    Raises:
        ConfigError: the file cannot be read.
        LaunchFileError: it is not well-formed, or holds something that is not played here.
    """
    if path.suffix in _FOREIGN_FILES and path.is_file():
        raise LaunchFileError(path, 1, f'is a {path.suffix} file; expected XML', foreign=True)
    try:
        root = _parse(path, path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f'launch file {path}: {error.strerror}; expected a readable file'
        ) from error
    if root.tag != 'launch':
        raise root.error('unexpected root element; expected <launch>')
    _check(root, 'launch')
    return root


def _check(element: Element, kind: str) -> None:
    rule = _RULES[kind]
    given = set(element.attributes)
    if missing := rule.required - given:
        raise element.error(f'missing attribute {_listed(missing)}')
    if unknown := given - rule.required - rule.optional:
        allowed = _listed(rule.required | rule.optional) or 'none'
        raise element.error(
            f'unknown attribute {_listed(unknown)}; expected one of {allowed}', foreign=True
        )
    if {'if', 'unless'} <= given:
        raise element.error('has both if and unless; expected one of them')
    for child in element.children:
        if child.tag not in rule.children:
            allowed = _listed(rule.children) or 'no elements'
            raise child.error(
                f'not possible inside <{element.tag}>; expected {allowed}', foreign=True
            )
        nested = f'{element.tag}/{child.tag}'
        _check(child, nested if nested in _RULES else child.tag)


def _listed(words: set[str] | frozenset[str]) -> str:
    return ', '.join(sorted(words))


@dataclass
class _Open:
    tag: str
    attributes: dict[str, str]
    line: int
    children: list[Element]


def _parse(path: Path, text: bytes) -> Element:
    parser = expat.ParserCreate()
    stack = [_Open('', {}, 0, [])]

    def refuse_doctype(*_: object) -> None:
        raise LaunchFileError(path, parser.CurrentLineNumber, 'has a DOCTYPE; expected plain XML')

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(stack) > MAX_DEPTH:
            what = f'<{tag}>: expected at most {MAX_DEPTH} elements inside each other'
            raise LaunchFileError(path, parser.CurrentLineNumber, what)
        stack.append(_Open(tag, attributes, parser.CurrentLineNumber, []))

    def end(_: str) -> None:
        done = stack.pop()
        element = Element(done.tag, done.attributes, tuple(done.children), path, done.line)
        stack[-1].children.append(element)

    def characters(data: str) -> None:
        if data.strip():
            what = f'stray text {data.strip()!r}; expected elements only'
            raise LaunchFileError(path, parser.CurrentLineNumber, what)

    parser.StartDoctypeDeclHandler = refuse_doctype
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise LaunchFileError(path, error.lineno, f'not well-formed XML: {error}') from error
    except (ValueError, LookupError) as error:
        what = f'encoding: {error}; expected UTF-8'
        raise LaunchFileError(path, parser.CurrentLineNumber, what) from error
    return stack[0].children[0]
