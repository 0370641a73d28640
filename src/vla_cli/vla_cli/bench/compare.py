"""Two files of measurements beside each other: what became slower, larger or rarer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import json
import math
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vla_cli.bench.report import kept, PEER
from vla_core.errors import VlaError

#: Share by which a figure may be worse: beside other work the same rows differ by as much.
MARGIN = 0.2
#: Share by which one must be worse for a promise to count as broken by it.
HAIR = 0.05
#: Samples from which on a figure is judged: below, it is that of a few single measurements.
FEWEST = {'p50': 5, 'p99': 300}
#: Facts of the machine without which two files tell of two machines.
_FACTS = ('processor', 'cores', 'memory_gib', 'system', 'python', 'middleware')
_MEASURED = (int, float)
#: What every row has, and of which type.
_FIELDS = {
    **dict.fromkeys(('name', 'unit'), str),
    **dict.fromkeys(('limits', 'against', 'notes'), dict),
}
_FIGURES = ('p50', 'p99', 'p99.9', 'max')


class CompareError(VlaError):
    """A file is none of measurements, or two of them cannot be compared."""


@dataclass(frozen=True)
class Recorded:
    """What `vla bench` wrote: facts of the machine, settings, and rows by name."""

    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    rows: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Change:
    """One row in both files.

    Attributes:
        name: of the row.
        unit: of its figures.
        counts: samples, old and new.
        ratios: figure -> new / old; None: one of them is not known, or the old one is 0.
        worse: figures that are worse by more than the margin, promises of the new file that were
            kept and are not any more or not known any more, and that there are no samples where
            there were some.
        unjudged: figures of too few samples.
    """

    name: str
    unit: str
    counts: tuple[int, int]
    ratios: Mapping[str, float | None]
    worse: tuple[str, ...]
    unjudged: tuple[str, ...]


def read(path: Path) -> Recorded:
    """Read a file of measurements.

    Raises:
        CompareError: if it is none.
    """
    expected = 'expected a file that `vla bench` wrote'
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        machine, settings, results = (content[key] for key in ('machine', 'settings', 'results'))
        rows = {row['name']: row for row in results}
        sound = isinstance(machine, dict) and isinstance(settings, dict)
        wrong = [str(name) for name, row in rows.items() if not _sound(row)]
    except OSError as error:
        raise CompareError(f'{path}: {error.strerror}: {expected}') from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CompareError(f'{path}: {type(error).__name__}: {error}: {expected}') from error
    if wrong or not sound:
        what = f'row {wrong[0]!r}' if wrong else 'machine or settings'
        raise CompareError(f'{path}: {what}: other types or values: {expected}')
    if len(rows) != len(results):
        raise CompareError(f'{path}: {len(results) - len(rows)} rows are there twice: {expected}')
    return Recorded(machine, settings, rows)


def changes(old: Recorded, new: Recorded, margin: float) -> list[Change]:
    """Compare the rows that are in both, in the order of the new ones.

    Raises:
        CompareError: if a row has another unit or another direction.
    """
    return [
        _change(old.rows[name], row, margin) for name, row in new.rows.items() if name in old.rows
    ]


def gone(old: Recorded, new: Recorded) -> list[str]:
    """Return the rows that the new file should have: their measurement was asked for there."""
    return [
        name for name in old.rows if name not in new.rows and _asked(old.rows[name], new.settings)
    ]


def differences(old: Recorded, new: Recorded) -> list[str]:
    """Return in words what was different when they were measured, and what was promised."""
    facts = [
        f'{name}: {old.machine.get(name)} -> {new.machine.get(name)}'
        for name in _FACTS
        if old.machine.get(name) != new.machine.get(name)
    ]
    policies = [recorded.settings.get('POLICY') for recorded in (old, new)]
    if policies[0] != policies[1]:
        facts.append(f'POLICY: {policies[0]} -> {policies[1]}')
    return facts + [
        f'{name}, promised: {old.rows[name]["limits"]} -> {row["limits"]}'
        for name, row in new.rows.items()
        if name in old.rows and old.rows[name]['limits'] != row['limits']
    ]


def compare(old_path: Path, new_path: Path, margin: float, console: Console) -> int:
    """Print the table; return 1 if a row is worse or gone, else 0.

    Raises:
        CompareError: if a file is none of measurements, the margin is no share, or no row is in
            both.
    """
    if not 0.0 < margin < 100.0:
        raise CompareError(f'margin {margin}: expected a share above 0, below 100')
    old, new = read(old_path), read(new_path)
    found = changes(old, new, margin)
    if not found:
        raise CompareError(f'{old_path} and {new_path} have no row in common')
    console.print(_table(found))
    for line in differences(old, new):
        console.print(f'measured under other conditions: {line}', markup=False, highlight=False)
    for label, one in (('old', old), ('new', new)):
        loads = [one.rows[change.name]['load_average'] for change in found]
        console.print(f'load average, {label}: {min(loads)} to {max(loads)}', highlight=False)
    for label, one, other in (('old', old, new), ('new', new, old)):
        alone = [name for name in one.rows if name not in other.rows]
        if alone:
            console.print(f'only in the {label} one: {", ".join(alone)}', markup=False)
    missing = gone(old, new)
    if missing:
        console.print(
            f'GONE, although its measurement was asked for: {", ".join(missing)}', markup=False
        )
    worse = [change for change in found if change.worse]
    judged = ', '.join(f'{name} from n {count} on' for name, count in FEWEST.items())
    console.print(
        f'{len(worse)} of {len(found)} rows worse: by more than {margin:.0%} ({judged}), or a '
        'promise that is not kept or not known any more',
        highlight=False,
    )
    return int(bool(worse or missing))


def _asked(row: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Say whether settings ask for the measurement of a row."""
    name, measurement = row['name'], row.get('measurement')
    if f'_{PEER}' in name and PEER not in settings:
        return False
    if measurement:
        return measurement in settings
    # Older files do not say it; most rows are named after their measurement.
    return any(name == asked or name.startswith(f'{asked}_') for asked in settings)


def _change(old: Mapping[str, Any], new: Mapping[str, Any], margin: float) -> Change:
    name = new['name']
    if old['unit'] != new['unit']:
        raise CompareError(f'{name}: unit {old["unit"]} and {new["unit"]}: expected the same')
    rate = bool(new.get('more_is_better', False))
    if bool(old.get('more_is_better', False)) != rate:
        raise CompareError(f'{name}: more is better in one file only: expected the same')
    counts = (old['n'], new['n'])
    ratios = {figure: _ratio(old[figure], new[figure]) for figure in FEWEST}
    # The 99th percentile of a rate is its best hundredth, which promises nothing.
    judged = tuple(
        figure
        for figure, fewest in FEWEST.items()
        if min(counts) >= fewest
        and None not in (old[figure], new[figure])
        and not (rate and figure != 'p50')
    )
    worse = [figure for figure in judged if _worse(old[figure], new[figure], rate, margin)]
    broken = [
        _broken(old, new, limited, limit, limited in judged)
        for limited, limit in new['limits'].items()
    ]
    worse += filter(None, broken)
    if old['n'] and not new['n']:
        worse.append('no sample any more')
    unjudged = tuple(figure for figure in FEWEST if figure not in judged)
    return Change(name, new['unit'], counts, ratios, tuple(worse), unjudged)


def _broken(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    limited: str,
    limit: float,
    judged: bool,
) -> str:
    """Say which promise that was kept is not any more; empty if it is.

    A percentile that crosses its limit by a hair, or of too few samples, is noise; what must not
    happen at all, and whatever is no percentile, is judged strictly.
    """
    if kept(old, limited, limit) is not True:
        return ''
    promise, verdict = f'{limited} <= {limit:g}', kept(new, limited, limit)
    if verdict is None:
        return f'{promise} is not known any more'
    strict = limited not in FEWEST or not limit
    beyond = strict or (judged and _worse(old[limited], new[limited], False, HAIR))
    return promise if not verdict and beyond else ''


def _worse(old: float, new: float, rate: bool, margin: float) -> bool:
    """Say whether a figure is worse; whatever was 0 and is more now is."""
    return old > new * (1.0 + margin) if rate else new > old * (1.0 + margin)


def _ratio(old: float | None, new: float | None) -> float | None:
    return new / old if old and new is not None else None


def _sound(row: Mapping[str, Any]) -> bool:
    """Say whether a row has the types of `Row.figures`, and figures that are of measurements."""
    figures = [row[name] for name in _FIGURES]
    return (
        all(isinstance(row[name], kind) for name, kind in _FIELDS.items())
        and type(row['n']) is int
        and row['n'] >= 0
        # Times, sizes, counts and rates: nothing that is measured is below 0.
        and all(_finite(one) and one >= 0 if row['n'] else one is None for one in figures)
        and all(map(_finite, (row['load_average'], *row['limits'].values())))
        and all(map(_finite, row['against'].values()))
    )


def _finite(value: object) -> bool:
    measured = isinstance(value, _MEASURED) and not isinstance(value, bool)
    return measured and math.isfinite(float(str(value)))


def _table(found: Sequence[Change]) -> Table:
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column('measured', no_wrap=True)
    for name in ('n old', 'n new', *(f'{figure} new/old' for figure in FEWEST)):
        table.add_column(name, justify='right', no_wrap=True)
    table.add_column('')
    for change in found:
        cells = []
        for figure, ratio in change.ratios.items():
            text = '–' if ratio is None else f'{ratio:.3g}'
            cells.append(f'({text})' if figure in change.unjudged else text)
        verdict = f'WORSE: {", ".join(change.worse)}' if change.worse else ''
        counts = [str(count) for count in change.counts]
        table.add_row(escape(f'{change.name}, {change.unit}'), *counts, *cells, escape(verdict))
    return table
