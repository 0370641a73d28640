"""From a launch file to its list of processes, as ROS 2 launch makes it; nothing is started here.

The commands are those of launch_ros (package launch_ros, actions/node.py): executable, arguments,
then `--ros-args` with name, namespace, set_parameter values, parameters in file order, remaps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
import math
from pathlib import Path
import re
import shutil
from typing import TypeVar

from ament_index_python.packages import get_package_prefix, PackageNotFoundError

from vla_cli.launching import substitutions
from vla_cli.launching.elements import Element, LaunchFileError, read
from vla_cli.launching.parameters import (
    from_yaml,
    InlineParameters,
    reaches,
    sections,
    typed,
    Value,
)
from vla_core.errors import ConfigError

#: Launch files that include each other; ours need two.
MAX_INCLUDES = 20
_N = TypeVar('_N', int, float)
_GRAPH_NAME = re.compile(r'/(?:[A-Za-z_]\w*(?:/[A-Za-z_]\w*)*)?', re.ASCII)


@dataclass(frozen=True)
class Process:
    """One process to start.

    Attributes:
        label: mark of its output lines: node name with namespace, else the executable.
        command: words; inline parameters stand where the path of their file goes.
        environment: complete environment.
        output: `screen` (stdout and stderr), or `log` (stderr only).
        respawn: start it again when it ends.
        respawn_delay: s between its end and its next start.
        respawn_max_retries: how often; negative: always.
        ends_launch: its end shuts everything down.
    """

    label: str
    command: tuple[str | InlineParameters, ...]
    environment: dict[str, str]
    output: str = 'log'
    respawn: bool = False
    respawn_delay: float = 0.0
    respawn_max_retries: int = -1
    ends_launch: bool = False

    def with_files(self, folder: Path) -> Process:
        """Write the inline parameters into `folder` and name their files in the command."""
        words = (
            word if isinstance(word, str) else str(word.write(folder)) for word in self.command
        )
        return replace(self, command=tuple(words))


@dataclass(frozen=True)
class Argument:
    """An argument that a launch file declares."""

    name: str
    default: str | None
    description: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class _Scope:
    """What a group can change and gives back at its end."""

    configurations: dict[str, str]
    environment: dict[str, str]
    parameters: list[tuple[str, Value]]
    namespace: str | None = None


@dataclass
class Plan:
    """Walks a launch file and collects its processes.

    Args:
        configurations: launch arguments given, name to value.
        environment: environment to start from.
        looking: only what is declared is asked for: a required argument may be missing.

    Attributes:
        processes: what is to be started, in the order of the file.
        declared: the arguments met on the way.
    """

    configurations: Mapping[str, str]
    environment: Mapping[str, str]
    looking: bool = False
    processes: list[Process] = field(default_factory=list)
    declared: dict[str, Argument] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._scope = _Scope(dict(self.configurations), dict(self.environment), [])
        self._depth = 0
        #: Sections of each parameter file, and the full names of the nodes that read it; None: a
        #: node that names itself.
        self._read: dict[Path, tuple[list[str], list[str | None]]] = {}
        #: Names of nodes that are left out this time, or belong to the launch files beside this
        #: one; None: of some that cannot be known.
        self._elsewhere: set[str | None] = set()
        self._there: set[str] = set()

    def add(self, path: Path) -> None:
        """Add the processes of the launch file at `path`.

        Raises:
            ConfigError: the file cannot be played; the message names file, line and element.
        """
        if self._depth == MAX_INCLUDES:
            raise ConfigError(f'{path}: expected at most {MAX_INCLUDES} includes in each other')
        self._depth += 1
        for element in read(path).children:
            self._visit(element)
        self._depth -= 1
        if not self._depth and not self.looking:
            self._elsewhere |= set(_beside(path))
            self._check_sections()

    def _check_sections(self) -> None:
        """Refuse parameters that reach nobody: a limit among them would be none.

        One file may serve several launch files, and a graph with its recorder and without.
        """
        if None in self._elsewhere:
            return
        elsewhere = self._elsewhere - self._there
        for path, (found, readers) in self._read.items():
            names = sorted({name for name in readers if name})
            for section in found:
                reached = None in readers or any(reaches(section, name) for name in names)
                if not reached and section.rpartition('/')[2] not in elsewhere:
                    raise ConfigError(
                        f'parameter file {path}: section {section!r} is for none of the nodes '
                        f'that read it; expected one of {", ".join(names)}, or * for one part of '
                        'a name, ** for any number of parts'
                    )

    def _visit(self, element: Element) -> None:
        try:
            if self._applies(element):
                getattr(self, f'_visit_{element.tag}')(element)
            else:
                self._leave_out(element)
        except LaunchFileError:
            raise
        except ConfigError as error:
            raise element.error(str(error), _foreign(error)) from error

    def _applies(self, element: Element) -> bool:
        if 'if' in element.attributes:
            return substitutions.boolean(self._text(element, 'if'))
        if 'unless' in element.attributes:
            return not substitutions.boolean(self._text(element, 'unless'))
        return True

    def _leave_out(self, element: Element) -> None:
        """Note the nodes below."""
        try:
            if element.tag == 'include':
                path = Path(self._text(element, 'file'))
                # What is left out need not be there.
                self._elsewhere |= set(_names(read(path))) if path.is_file() else set()
            else:
                self._elsewhere |= set(_names(element))
        except ConfigError:
            self._elsewhere.add(None)

    def _text(self, element: Element, name: str, default: str = '') -> str:
        return self._resolve(substitutions.parse(element.attributes.get(name, default)))

    def _resolve(self, template: substitutions.Template) -> str:
        scope = self._scope
        return substitutions.resolve(template, scope.configurations, scope.environment)

    def _visit_arg(self, element: Element) -> None:
        name = element.attributes['name']
        values = self._scope.configurations
        default = self._text(element, 'default') if 'default' in element.attributes else None
        choices = tuple(choice.attributes['value'] for choice in element.children)
        description = element.attributes.get('description', '')
        self.declared.setdefault(name, Argument(name, default, description, choices))
        if name not in values:
            if default is None and not self.looking:
                raise ConfigError(
                    f'launch argument {name!r} has no default; expected {name}:=value'
                )
            values[name] = default or ''
            if default is None:
                return
        if choices and values[name] not in choices:
            expected = ', '.join(choices)
            raise ConfigError(
                f'launch argument {name!r} is {values[name]!r}; expected one of {expected}'
            )

    def _visit_let(self, element: Element) -> None:
        self._scope.configurations[self._text(element, 'name')] = self._text(element, 'value')

    def _visit_set_env(self, element: Element) -> None:
        self._scope.environment[self._text(element, 'name')] = self._text(element, 'value')

    def _visit_include(self, element: Element) -> None:
        for argument in element.children:
            name, value = (self._text(argument, key) for key in ('name', 'value'))
            self._scope.configurations[name] = value
        self.add(Path(self._text(element, 'file')))

    def _visit_group(self, element: Element) -> None:
        outer = self._scope
        scoped = substitutions.boolean(element.attributes.get('scoped', 'true'))
        if scoped:
            self._scope = replace(
                outer,
                configurations=dict(outer.configurations),
                environment=dict(outer.environment),
                # As in launch_ros: a list once begun is shared, set_parameter leaves its group.
                parameters=outer.parameters or [],
            )
        for child in element.children:
            self._visit(child)
        if scoped:
            self._scope = outer

    def _visit_push_ros_namespace(self, element: Element) -> None:
        pushed = _joined(self._scope.namespace, self._text(element, 'namespace'))
        self._scope = replace(self._scope, namespace=pushed)

    def _visit_set_parameter(self, element: Element) -> None:
        name, value = self._text(element, 'name'), from_yaml(self._text(element, 'value'))
        if isinstance(value, list):
            raise ConfigError(f'value {value!r} is a list; expected a scalar')
        self._scope.parameters.append((name, value))

    def _visit_executable(self, element: Element) -> None:
        command = self._words(element, 'cmd')
        if not command or not command[0]:
            raise ConfigError(f'cmd is {element.attributes["cmd"]!r}; expected a command')
        label = self._text(element, 'name') or Path(command[0]).name
        if '--params-file' in command:
            self._elsewhere.add(None)
        self._start(element, label, command)

    def _visit_node(self, element: Element) -> None:
        name = self._text(element, 'name')
        namespace = self._scope.namespace
        if 'namespace' in element.attributes:
            namespace = _joined(namespace, self._text(element, 'namespace'))
        self._there.add(name)
        executable = _executable(self._text(element, 'pkg'), self._text(element, 'exec'))
        command: list[str | InlineParameters] = [
            executable,
            *self._words(element, 'args'),
            '--ros-args',
        ]
        if name:
            command += ['-r', f'__node:={name}']
        if namespace is not None:
            command += ['-r', f'__ns:={namespace}']
        for parameter, value in self._scope.parameters:
            command += ['-p', f'{parameter}:={value}']
        qualified = _joined(namespace, name) if name and namespace is not None else '/**'
        for child in element.children:
            if child.tag == 'param':
                given = self._parameters(child, qualified)
                command += ['--params-file', given]
                if isinstance(given, str):
                    reader = _joined(namespace, name) if name else None
                    self._read[Path(given)][1].append(reader)
        for child in element.children:
            if child.tag == 'remap':
                command += ['-r', f'{self._text(child, "from")}:={self._text(child, "to")}']
        label = qualified.lstrip('/') if qualified != '/**' else name or Path(executable).name
        self._start(element, label, command)

    def _parameters(self, element: Element, node: str) -> str | InlineParameters:
        given = set(element.attributes)
        try:
            if given == {'from'}:
                path = Path(self._text(element, 'from'))
                if not path.is_file():
                    raise ConfigError(f'parameter file {str(path)!r} does not exist')
                self._read.setdefault(path, (sections(path), []))
                return str(path)
            if {'name', 'value'} <= given and 'from' not in given:
                kind = element.attributes.get('type', 'yaml')
                value = typed(element.attributes['value'], kind, self._resolve)
                return InlineParameters(node, {self._text(element, 'name'): value})
        except ConfigError as error:
            raise element.error(str(error), _foreign(error)) from error
        raise element.error('expected either from, or name and value')

    def _words(self, element: Element, name: str) -> list[str]:
        template = substitutions.parse(element.attributes.get(name, ''))
        return [self._resolve(word) for word in substitutions.split_words(template)]

    def _start(self, element: Element, label: str, command: list[str | InlineParameters]) -> None:
        attributes = element.attributes
        environment = dict(self._scope.environment)
        for child in element.children:
            if child.tag == 'env':
                environment[self._text(child, 'name')] = self._text(child, 'value')
        output = self._text(element, 'output', 'log')
        if output not in ('screen', 'log'):
            raise element.error(f'output is {output!r}; expected screen or log', foreign=True)
        if attributes.get('on_exit', 'shutdown') != 'shutdown':
            what = f'on_exit is {attributes["on_exit"]!r}; expected shutdown'
            raise element.error(what, foreign=True)
        self.processes.append(
            Process(
                label,
                tuple(command),
                environment,
                output,
                respawn=substitutions.boolean(self._text(element, 'respawn', 'false')),
                respawn_delay=_number(attributes, 'respawn_delay', float, 0.0),
                respawn_max_retries=_number(attributes, 'respawn_max_retries', int, -1),
                ends_launch='on_exit' in attributes,
            )
        )


def _names(element: Element) -> Iterator[str | None]:
    """Yield the names of the nodes below an element that is not visited; None: not to be known."""
    if element.tag in ('node', 'include', 'executable'):
        name = element.attributes.get('name', '')
        yield name if element.tag == 'node' and name and '$(' not in name else None
    for child in element.children:
        yield from _names(child)


def _beside(path: Path) -> Iterator[str]:
    """Yield the names of the nodes of the launch files that lie beside one."""
    for other in path.parent.glob('*.launch.xml'):
        with suppress(ConfigError):
            yield from filter(None, _names(read(other)))


def _foreign(error: ConfigError) -> bool:
    return isinstance(error, substitutions.UnknownSubstitutionError)


def _joined(base: str | None, name: str) -> str:
    """Put `name` below the namespace `base`; an absolute name stays."""
    joined = name if not base or name.startswith('/') else f'{base.rstrip("/")}/{name}'
    joined = f'/{joined.strip("/")}'
    if not _GRAPH_NAME.fullmatch(joined):
        raise ConfigError(
            f'name {joined!r} is invalid; expected letters, digits and _, parted by /'
        )
    return joined


def _number(attributes: Mapping[str, str], name: str, kind: type[_N], default: _N) -> _N:
    """Read a literal number: launch resolves no substitution in these attributes."""
    text = attributes.get(name)
    if text is None:
        return default
    try:
        value = kind(text)
    except ValueError as error:
        raise ConfigError(f'{name} is {text!r}; expected a literal {kind.__name__}') from error
    if isinstance(value, float) and not 0.0 <= value < math.inf:
        raise ConfigError(f'{name} is {text!r}; expected seconds, at least 0')
    return value


def _executable(package: str, name: str) -> str:
    try:
        folder = Path(get_package_prefix(package)) / 'lib' / package
    except (PackageNotFoundError, ValueError) as error:
        raise ConfigError(
            f'package {package!r} is not installed; expected it in AMENT_PREFIX_PATH'
        ) from error
    path = shutil.which(name, path=str(folder))
    if path is None:
        raise ConfigError(f'executable {name!r} is not in {folder}; expected it there')
    return path
