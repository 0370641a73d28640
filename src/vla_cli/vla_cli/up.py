"""`vla_up FILE name:=value ...`: start a launch file, with ROS 2 launch where it is installed.

Exit status: 0 when every process ended well, 1 when one failed, 2 when the file cannot be played;
where ROS 2 launch has taken over, its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import dataclasses
from importlib.util import find_spec
import json
import os
from pathlib import Path
import shutil
import sys

from ament_index_python.packages import get_package_share_path, PackageNotFoundError

from vla_cli.launching import supervisor
from vla_cli.launching.elements import LaunchFileError
from vla_cli.launching.plan import Plan
from vla_core.errors import ConfigError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_intermixed_args(arguments)
    try:
        path = _launch_file(options.file)
        given = _configurations(options.values)
        playing_here = options.dry_run or options.show_args or options.builtin
        ros2 = None if playing_here else _ros_launch()
        plan = Plan(given, os.environ, looking=options.show_args)
        try:
            # Before a handover too: launch ignores unknown arguments and missing parameter files.
            _fill(plan, path)
        except LaunchFileError as error:
            if not (ros2 and error.foreign):
                raise
        if ros2:
            os.execv(ros2, [ros2, 'launch', str(path), *options.values])  # noqa: S606
    except ConfigError as error:
        print(f'vla_up: {error}', file=sys.stderr)
        return 2
    if options.show_args:
        _show_arguments(plan)
    elif options.dry_run:
        print(json.dumps(described(plan, os.environ), indent=2))
    else:
        return supervisor.run(plan.processes, sys.stdout, _coloured())
    return 0


def _fill(plan: Plan, path: Path) -> None:
    plan.add(path)
    if unknown := plan.configurations.keys() - plan.declared.keys():
        raise ConfigError(
            f'launch argument {", ".join(sorted(unknown))} is unknown; '
            f'expected one of {", ".join(sorted(plan.declared))}'
        )


def described(plan: Plan, base: dict[str, str] | os._Environ[str]) -> list[dict[str, object]]:
    """Describe each process as plain data; of its environment only what differs from `base`."""
    described = []
    for process in plan.processes:
        entry = dataclasses.asdict(process)
        changed = {
            name: value for name, value in process.environment.items() if base.get(name) != value
        }
        described.append({**entry, 'environment': changed})
    return described


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='vla_up', description='Start a ROS 2 launch file (XML).')
    parser.add_argument('file', help='launch file: a path, or a name in vla_bringup/launch')
    parser.add_argument(
        'values', nargs='*', default=[], metavar='name:=value', help='launch arguments'
    )
    parser.add_argument(
        '--dry-run', action='store_true', help='print the processes as JSON, start nothing'
    )
    parser.add_argument('--show-args', action='store_true', help="print the file's arguments")
    parser.add_argument(
        '--builtin',
        action='store_true',
        help="use the launcher in here even where ROS 2's launch is installed",
    )
    return parser


def _launch_file(name: str) -> Path:
    path = Path(name)
    if path.is_file():
        return path.resolve()
    try:
        shipped = get_package_share_path('vla_bringup') / 'launch' / name
    except PackageNotFoundError as error:
        raise ConfigError(
            f'launch file {name!r} does not exist and vla_bringup is not installed; '
            'expected a path, or a built and sourced workspace'
        ) from error
    if not shipped.is_file():
        raise ConfigError(
            f'launch file {name!r} does not exist, neither here nor in {shipped.parent}'
        )
    return shipped


def _configurations(values: Sequence[str]) -> dict[str, str]:
    given = {}
    for value in values:
        name, separator, text = value.partition(':=')
        if not name or not separator:
            raise ConfigError(f'argument {value!r}; expected name:=value')
        given[name] = text
    return given


def _ros_launch() -> str | None:
    """Find ROS 2's own launch command; it needs its XML frontend."""
    installed = all(
        find_spec(module) for module in ('launch', 'launch_ros', 'launch_xml', 'ros2launch')
    )
    return shutil.which('ros2') if installed else None


def _show_arguments(plan: Plan) -> None:
    for argument in plan.declared.values():
        default = 'required' if argument.default is None else f'default {argument.default!r}'
        choices = f'; one of {", ".join(argument.choices)}' if argument.choices else ''
        print(f'{argument.name}: {argument.description} ({default}{choices})')


def _coloured() -> bool:
    """Colour for terminals, unless NO_COLOR is set; FORCE_COLOR forces it."""
    if os.environ.get('NO_COLOR'):
        return False
    return bool(os.environ.get('FORCE_COLOR')) or sys.stdout.isatty()


if __name__ == '__main__':
    sys.exit(main())
