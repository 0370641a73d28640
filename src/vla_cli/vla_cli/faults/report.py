"""The table of reactions, and the same as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
import json
import math
from pathlib import Path

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from vla_cli.faults.judging import Outcome
from vla_core.black_box.writer import write_atomically

#: Characters of a line in which p50, p99 and max fit beside each other, and the reaction expected.
WIDE = 140


@dataclass(frozen=True)
class Result:
    """All repetitions of one fault.

    Attributes:
        name: of the fault.
        does: what was done.
        expected: the right reaction, in words.
        graph: in which it was played.
        outcomes: of the repetitions that were measured.
        unmeasured: why the others were not.
    """

    name: str
    does: str
    expected: str
    graph: str
    outcomes: tuple[Outcome, ...]
    unmeasured: tuple[str, ...] = ()

    @property
    def complaints(self) -> tuple[str, ...]:
        """All that was not as expected."""
        found = [text for outcome in self.outcomes for text in outcome.complaints]
        return (*found, *(f'not measured: {text}' for text in self.unmeasured))

    @property
    def met(self) -> bool:
        """Whether every repetition was measured and as expected."""
        return bool(self.outcomes) and not self.complaints

    def figures(self) -> dict[str, object]:
        """Return everything for JSON."""
        return {
            'name': self.name,
            'does': self.does,
            'graph': self.graph,
            'expected': self.expected,
            'met': self.met,
            'complaints': list(self.complaints),
            'n': len(self.outcomes),
            'start': summary(outcome.reaction.start for outcome in self.outcomes),
            'zero': summary(outcome.reaction.zero for outcome in self.outcomes),
            'distance': summary(outcome.distance for outcome in self.outcomes),
            'repetitions': [_details(outcome) for outcome in self.outcomes],
        }


def summary(samples: Iterable[float]) -> dict[str, float] | None:
    """Return p50, p99 and max; None if any is no finite number: not every repetition stopped."""
    found = list(samples)
    if not found or not all(map(math.isfinite, found)):
        return None
    p50, p99 = np.percentile(found, (50, 99))
    return {'p50': round(float(p50), 3), 'p99': round(float(p99), 3), 'max': round(max(found), 3)}


def write(results: Sequence[Result], about: Mapping[str, object], path: Path) -> None:
    """Write what was found, with the circumstances."""
    content = {**about, 'results': [result.figures() for result in results]}
    write_atomically(path, [json.dumps(content, indent=1, ensure_ascii=False).encode()])


def show(results: Sequence[Result], title: str, console: Console) -> None:
    """Print the table, and every complaint below it.

    What was expected and whether it rested is left out of a narrow one: complaints say the same.
    """
    wide = console.width >= WIDE
    between = ' ' if wide else '\n'
    table = Table(title=title, box=SIMPLE, pad_edge=False)
    table.add_column('fault', no_wrap=True)
    table.add_column('n', justify='right')
    for name in ('start, s', 'zero, s', 'path, m'):
        heads = between.join(('p50', ' p99', ' max'))
        table.add_column(f'{name}\n{heads}', justify='right', no_wrap=True)
    for name in ('the gate ends in', *(('at rest', 'expected') if wide else ()), ''):
        table.add_column(name, overflow='fold')
    for result in results:
        *most, rested, expected, met = row(result, between)
        table.add_row(*most, *((rested, expected) if wide else ()), met)
    console.print(table)
    rates = [outcome.frame_rate for result in results for outcome in result.outcomes]
    if rates:
        console.print(f'camera: {min(rates):.0f} to {max(rates):.0f} frames per s')
    for result in results:
        for text, times in _counted(result.complaints).items():
            console.print(f'{result.name}: {text}' + (f' ({times} times)' if times > 1 else ''))


def row(result: Result, between: str = ' ') -> tuple[str, ...]:
    """Return the cells of one result, with `between` between p50, p99 and max."""
    figures = [
        summary(values)
        for values in (
            [outcome.reaction.start for outcome in result.outcomes],
            [outcome.reaction.zero for outcome in result.outcomes],
            [outcome.distance for outcome in result.outcomes],
        )
    ]
    ends = _counted(
        ' '.join(part.name for part in (outcome.state, outcome.cause) if part) or 'gone'
        for outcome in result.outcomes
    )
    stopped = figures[1] is not None
    rested = all(outcome.rested for outcome in result.outcomes)
    return (
        result.name,
        str(len(result.outcomes)),
        *(_cell(found, between) for found in figures),
        '\n'.join(ends),
        ('yes' if rested else 'NO') if stopped else '',
        result.expected,
        'met' if result.met else 'NOT MET',
    )


def _cell(figures: Mapping[str, float] | None, between: str) -> str:
    return between.join(f'{figure:.2f}' for figure in figures.values()) if figures else '–'


def _counted(texts: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for text in texts:
        counts[text] = counts.get(text, 0) + 1
    return counts


def _details(outcome: Outcome) -> dict[str, object]:
    reaction = outcome.reaction
    return {
        'speed': round(outcome.speed, 3),
        'frame_rate': round(outcome.frame_rate, 1),
        'pause_of_the_machine': round(outcome.pause, 3),
        'start': _number(reaction.start),
        'zero': _number(reaction.zero),
        'distance': _number(outcome.distance),
        'measured_by': outcome.measured_by,
        'state': outcome.state.name if outcome.state is not None else None,
        'cause': outcome.cause.name,
        'causes': sorted(cause.name for cause in outcome.causes),
        'rested_until_armed': outcome.rested,
        'complaints': list(outcome.complaints),
    }


def _number(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None
