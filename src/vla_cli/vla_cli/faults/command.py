"""The command `vla faults`."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

from vla_cli.faults.catalogue import chosen, FAULTS
from vla_cli.faults.coverage import coverage
from vla_cli.faults.options import List, Run
from vla_cli.faults.report import Result, show, WIDE, write
from vla_cli.faults.robot_file import prepare
from vla_cli.screen import open_console
from vla_core.errors import ConfigError
from vla_core.machine import describe
from vla_core.robot import load_robot
from vla_ros.files import robot_path

_FOLDER = Path('build') / 'faults'
_FILE = Path('build') / 'faults.json'


def run(options: Run) -> int:
    """Play the faults; return 0 if every reaction is as expected, else 1.

    Raises:
        ConfigError: if an option, or the robot file, is wrong.
    """
    if options.count < 1:
        raise ConfigError(f'count is {options.count}: expected at least 1')
    subject = prepare(robot_path(options.robot), _FOLDER)
    faults = chosen(options.only, subject.robot)
    console = open_console(WIDE)
    for name in subject.left_out:
        console.print(f'{subject.given}: {name} is left out: it does not fit the simulated base')
    # ROS is loaded when the options are known to be right.
    from vla_cli.faults.running import play

    def tell(result: Result) -> None:
        found = 'met' if result.met else '; '.join(dict.fromkeys(result.complaints))
        console.print(f'{result.name}: {found}')

    before = describe()
    with console.status(f'{len(faults)} faults, {options.count} times each'):
        results, gate = play(faults, options.count, subject, options.policy, _FOLDER, tell)
    about = {
        'machine': before,
        'load_average_at_the_end': describe()['load_average'],
        'gate': {'scheduling': gate},
        'robot': {
            'file': str(subject.given),
            'content': subject.given.read_text(encoding='utf-8'),
            'left_out': list(subject.left_out),
        },
        'policy': options.policy,
        'count': options.count,
    }
    write(results, about, _FILE)
    title = (
        f'robot {subject.robot.name}, policy {options.policy}, gate {gate}, '
        f'{before["processor"]}, {before["cores"]} cores'
    )
    show(results, title, console)
    return 0 if all(result.met for result in results) else 1


def list_faults(options: List) -> int:
    """Print every fault and the right reaction to it, and which processes die and hang.

    Raises:
        ConfigError: if the robot file is wrong.
    """
    robot = load_robot(robot_path(options.robot))
    table = Table(title=f'robot {robot.name}', box=SIMPLE, pad_edge=False)
    for name in ('fault', 'what is done', 'expected'):
        table.add_column(name, no_wrap=name == 'fault')
    for fault in FAULTS:
        expected = fault.expected(robot)
        table.add_row(fault.name, fault.does, str(expected or 'does not concern this robot'))
    processes = Table(title='every process dies and hangs', box=SIMPLE, pad_edge=False)
    for name in ('process', 'killed by', 'made to hang by'):
        processes.add_column(name)
    for process, (killing, hanging) in coverage().items():
        processes.add_row(process, ', '.join(killing), ', '.join(hanging))
    console = open_console(WIDE)
    console.print(table)
    console.print(processes)
    return 0
