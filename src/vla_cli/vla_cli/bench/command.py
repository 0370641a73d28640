"""The command `vla bench`: measure, one thing after the other, and keep what is there so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
import os
from pathlib import Path
import subprocess

import psutil
from rich.console import Console

from vla_cli.bench.learning import Missing
from vla_cli.bench.measurements import chosen, measurements, positive, Setting
from vla_cli.bench.report import PEER, Row, show, write
from vla_cli.screen import open_console
from vla_core.errors import ConfigError, VlaError

#: Columns of a file or a pipe, which has no width of its own.
_WIDTH = 110
#: Measurements whose number the variable BENCH_KILLS sets.
_KILLS = ('policy_kill', 'policy_freeze')


def bench(
    only: Sequence[str] = (),
    long: bool = False,
    peer: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> int:
    """Measure, print the table, write build/bench.json; return the exit status.

    A file of before is replaced with the first row.

    Args:
        only: what to measure, `NAME` or `NAME=N`; none: everything.
        long: take the numbers of the promises, which takes most of a day.
        peer: checkout of rsasaki0109/vla_ros2, to be measured beside.
        environment: POLICY: checkpoint or built-in policy, `demo` by default; BENCH_KILLS: number
            of policy_kill and policy_freeze.

    Raises:
        ConfigError: if a name is unknown or a number is not a positive integer.
    """
    console = open_console(_WIDTH)
    setting = Setting(environment.get('POLICY') or 'demo', Path('build') / 'bench_logs', peer)
    plan = chosen(only, long)
    if kills := environment.get('BENCH_KILLS'):
        number = positive('BENCH_KILLS', kills)
        plan = [(one, number if one.name in _KILLS else count) for one, count in plan]
    setting.folder.mkdir(parents=True, exist_ok=True)
    settings = {'POLICY': setting.policy, **{one.name: count for one, count in plan}}
    if peer is not None:
        settings[PEER] = str(peer)
    file = Path('build') / 'bench.json'
    rows: list[Row] = []
    failed = False
    for measurement, count in plan:
        with console.status(f'{measurement.name}: {count} {measurement.counted}'):
            try:
                for row in measurement.run(setting, count):
                    rows.append(replace(row, measurement=measurement.name))
                    # Hours of measurements must survive the one that fails, and Ctrl-C.
                    failed |= not _kept(rows, settings, file, console)
            except Missing as error:
                # Nobody misses what he did not name.
                failed |= bool(only)
                console.print(str(error), markup=False)
            except (VlaError, psutil.Error, subprocess.SubprocessError) as error:
                failed = True
                console.print(f'{measurement.name}: not measured: {error}', markup=False)
    show(rows, console)
    return int(failed)


def _kept(
    rows: Sequence[Row], settings: Mapping[str, object], file: Path, console: Console
) -> bool:
    """Write the rows; say whether that was possible. What is not on file is printed at least."""
    try:
        write(rows, settings, file)
    except OSError as error:
        console.print(f'{file}: not written: {error.strerror or error}', markup=False)
        return False
    return True


def look(what: Sequence[str], margin: float, output: Path | None) -> int:
    """Look at what was measured before; return the exit status.

    Args:
        what: `compare OLD NEW`, `history [FOLDER]` or `growth [FILE]`.
        margin: of compare.
        output: picture of the others; None: the one in docs/pictures.

    Raises:
        ConfigError: if it is none of these.
        CompareError: if a file is none of measurements.
    """
    # matplotlib is slow to import, and a measurement does without.
    from vla_cli.bench import compare, growth_picture, history

    match tuple(what):
        case ('compare', old, new):
            return compare.compare(Path(old), Path(new), margin, open_console(_WIDTH))
        case ('history', *folder) if len(folder) <= 1:
            return history.history(Path(*folder or [history.FOLDER]), output or history.PICTURE)
        case ('growth', *file) if len(file) <= 1:
            path = Path(*file or [growth_picture.FILE])
            return growth_picture.draw_growth(path, output or growth_picture.PICTURE)
    raise ConfigError(
        f'bench {" ".join(what)}: expected compare OLD NEW, history [FOLDER] or growth [FILE]'
    )


def listing() -> str:
    """Return the names of all measurements with what their number counts."""
    known = measurements()
    width = max(len(one.name) for one in known)
    return '\n'.join(
        f'{one.name:{width}}  {one.usual or "–"} {one.counted}, long {one.long}' for one in known
    )
