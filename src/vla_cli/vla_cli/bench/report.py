"""Rows of the benchmark: their figures, JSON and table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from vla_cli.bench.load import class_of
from vla_cli.graph import PROFILE
from vla_core.black_box.writer import write_atomically
from vla_core.machine import describe

_NUMBERS = ('n', 'p50', 'p99', 'p99.9', 'max')

#: The setting that says that a peer's node was measured too, and part of the names of its rows.
PEER = 'peer'

#: Begin of the name of a limit on a ratio, before the other way's.
RATIO = 'ratio to '


@dataclass(frozen=True)
class Row:
    """One measured quantity.

    Attributes:
        name: what was measured.
        unit: of the samples.
        samples: every single measurement, none left out but those in `paused`.
        against: another way of doing the same -> ours divided by that one, at p50.
        notes: circumstances without which the figures mean little.
        limits: figure, note or `ratio to` another way -> what is promised of it
            (docs/reference/figures.md).
        paused: measurements while the whole machine stood still; counted and printed apart.
        scheduling: class of the process that was measured; this one by default.
        load: load average when the row was complete.
        more_is_better: for rates; all else is better when it is less.
        measurement: that it is a row of, by the name on the command line.
    """

    name: str
    unit: str
    samples: Sequence[float]
    against: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, object] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    paused: Sequence[float] = ()
    scheduling: str = field(default_factory=lambda: class_of(os.getpid()))
    load: float = field(default_factory=lambda: round(os.getloadavg()[0], 2))
    more_is_better: bool = False
    measurement: str = ''

    def figures(self) -> dict[str, object]:
        """Return the row for JSON; figures of no sample at all are null."""
        found: list[float | None] = [None] * 4
        if len(self.samples):
            percentiles = np.percentile(self.samples, (50, 99, 99.9))
            found = [_short(value) for value in (*percentiles, max(self.samples))]
        return {
            'name': self.name,
            'measurement': self.measurement,
            'unit': self.unit,
            'n': len(self.samples),
            **dict(zip(_NUMBERS[1:], found, strict=True)),
            'against': {name: round(ratio, 3) for name, ratio in self.against.items()},
            'limits': dict(self.limits),
            'paused': [_short(value) for value in self.paused],
            'more_is_better': self.more_is_better,
            'scheduling': self.scheduling,
            'load_average': self.load,
            'notes': dict(self.notes),
        }

    def verdicts(self) -> dict[str, bool | None]:
        """Return for every limit whether it was kept; None: not known."""
        figures = self.figures()
        return {name: kept(figures, name, limit) for name, limit in self.limits.items()}

    def words(self) -> str:
        """Return everything that does not fit into the table."""
        verdicts = {True: 'kept', False: 'NOT KEPT', None: 'not known'}
        promised = [
            f'promised {name} <= {self.limits[name]:g}: {verdicts[verdict]}'
            for name, verdict in self.verdicts().items()
        ]
        against = [f'{RATIO}{name} {round(ratio, 3)}' for name, ratio in self.against.items()]
        paused = []
        if self.paused:
            listed = ', '.join(str(_short(value)) for value in self.paused)
            paused = [f'machine paused, not in the figures: {len(self.paused)} ({listed})']
        where = [f'class {self.scheduling}', f'load average {self.load}']
        notes = [f'{name} {value}' for name, value in self.notes.items()]
        better = ['more is better'] if self.more_is_better else []
        return '; '.join([*promised, *better, *paused, *against, *where, *notes])

    def line(self) -> str:
        """Return the whole row, without a table."""
        figures = self.figures()
        numbers = ', '.join(f'{name} {figures[name]}' for name in _NUMBERS)
        return f'{self.name}, {self.unit}: {numbers}; {self.words()}'


def kept(row: Mapping[str, Any], name: str, limit: float) -> bool | None:
    """Say whether a promise about a figure, a note or a ratio is kept; None: not known.

    Args:
        row: as `Row.figures` gives it.
        name: of what is limited.
        limit: that it may reach.
    """
    ratios = {RATIO + other: ratio for other, ratio in row.get('against', {}).items()}
    value = {**row.get('notes', {}), **ratios, **row}.get(name)
    return value <= limit if isinstance(value, int | float) else None


def in_turns(
    turns: Mapping[str, Sequence[Sequence[float]]],
) -> tuple[dict[str, float], dict[str, object]]:
    """Compare `ours` with each other way, turn by turn.

    Args:
        turns: way -> the samples of each of its turns; `ours` is among them.

    Returns:
        Other way -> median of the turns' ratios of medians; and notes that name the smallest and
        the largest.
    """
    medians = {name: np.array([np.median(one) for one in found]) for name, found in turns.items()}
    against: dict[str, float] = {}
    notes: dict[str, object] = {}
    for name in turns:
        if name != 'ours':
            ratios = medians['ours'] / medians[name]
            against[name] = float(np.median(ratios))
            notes[f'{RATIO}{name}, turns'] = f'{ratios.min():.3f} to {ratios.max():.3f}'
    return against, notes


def machine() -> dict[str, object]:
    """Return this machine's facts and the middleware in use."""
    middleware = rclpy.get_rmw_implementation_identifier()
    profile = os.environ.get(PROFILE)
    if profile and 'fastrtps' in middleware:
        middleware += f', {Path(profile).name}; gate, policy and monitor by UDP alone'
    return {**describe(), 'middleware': middleware}


def write(rows: Sequence[Row], settings: Mapping[str, object], path: Path) -> None:
    """Write what was measured, with the machine's facts; a file that is there stays until then.

    Raises:
        OSError: if it cannot be written; a file that was there is as it was.
    """
    content = {
        'machine': machine(),
        'settings': dict(settings),
        'results': [row.figures() for row in rows],
    }
    write_atomically(path, [json.dumps(content, indent=1, ensure_ascii=False).encode()])


def show(rows: Sequence[Row], console: Console) -> None:
    """Print the table, and the circumstances of each row below it."""
    here = machine()
    title = '{processor}, {cores} cores, {system}, Python {python}, {middleware}'.format(**here)
    table = Table(title=title, box=SIMPLE, pad_edge=False)
    table.add_column('measured', no_wrap=True)
    for name in _NUMBERS:
        table.add_column(name, justify='right', no_wrap=True)
    for row in rows:
        figures = row.figures()
        values = (figures[name] for name in _NUMBERS[1:])
        numbers = ('–' if value is None else f'{value:.3g}' for value in values)
        table.add_row(f'{row.name}, {row.unit}', str(len(row.samples)), *numbers)
    console.print(table)
    for row in rows:
        console.print(f'{row.name}: {row.words()}', markup=False, highlight=False)


def _short(value: float) -> float:
    """Round to four significant digits."""
    return float(f'{value:.4g}')
