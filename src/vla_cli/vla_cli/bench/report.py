"""Rows of the benchmark: their figures, JSON and table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
import json
from pathlib import Path

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from vla_core.machine import describe

_NUMBERS = ('n', 'p50', 'p99', 'p99.9', 'max')


@dataclass(frozen=True)
class Row:
    """One measured quantity.

    Attributes:
        name: what was measured.
        unit: of the samples.
        samples: every single measurement, none left out.
        against: another way of doing the same -> ours divided by that one, at p50.
        notes: circumstances without which the figures mean little.
    """

    name: str
    unit: str
    samples: Sequence[float]
    against: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, object] = field(default_factory=dict)

    def figures(self) -> dict[str, object]:
        """Return the row for JSON."""
        p50, p99, p999 = np.percentile(self.samples, (50, 99, 99.9))
        return {
            'name': self.name,
            'unit': self.unit,
            'n': len(self.samples),
            'p50': _short(p50),
            'p99': _short(p99),
            'p99.9': _short(p999),
            'max': _short(max(self.samples)),
            'against': {name: round(ratio, 3) for name, ratio in self.against.items()},
            'notes': dict(self.notes),
        }


def write(rows: Sequence[Row], settings: Mapping[str, object], path: Path) -> None:
    """Write what was measured, with the machine's facts."""
    content = {
        'machine': describe(),
        'settings': dict(settings),
        'results': [row.figures() for row in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')


def show(rows: Sequence[Row], console: Console) -> None:
    """Print the table, and the notes below it."""
    machine = describe()
    title = f'{machine["processor"]}, {machine["cores"]} cores'
    table = Table(title=title, box=SIMPLE, pad_edge=False)
    table.add_column('measured', no_wrap=True)
    for name in _NUMBERS:
        table.add_column(name, justify='right', no_wrap=True)
    for row in rows:
        figures = row.figures()
        numbers = (str(figures[name]) for name in _NUMBERS)
        table.add_row(f'{row.name}, {row.unit}', *numbers)
    console.print(table)
    for row in rows:
        against = {f'ratio to {name}': round(ratio, 3) for name, ratio in row.against.items()}
        notes = {**against, **row.notes}
        if notes:
            console.print(f'{row.name}: ' + '; '.join(f'{k} {v}' for k, v in notes.items()))


def _short(value: float) -> float:
    """Round to four significant digits."""
    return float(f'{value:.4g}')
