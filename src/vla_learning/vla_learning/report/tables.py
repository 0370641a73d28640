"""The tables of an evaluation in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vla_learning.report.labels import CLOSED_LOOP, GROUNDING, interval, Label, METRICS, number


def show(content: Mapping[str, Any], console: Console) -> None:
    """Print what evaluation.json says."""
    name = content['policy'] + (' (blind)' if content['blind'] else '')
    table = Table(title=escape(f'{name} on {content["data"]}'))
    table.add_column('figure')
    table.add_column('')
    for column in ('value', '95 % interval', 'groups'):
        table.add_column(column, justify='right')
    for labels, key in ((METRICS, 'metrics'), (GROUNDING, 'grounding')):
        _rows(table, labels, content[key])
    if 'closed_loop' in content:
        _rows(table, CLOSED_LOOP, content['closed_loop'])
    console.print(table)
    console.print(_axes(content))
    latency = content['latency']
    for part, what in (('infer', 'per frame'), ('encode', 'per new sentence')):
        one = latency[part]
        console.print(
            f'{what}: median {one["median_ms"]:.1f} ms, p99 {one["p99_ms"]:.1f} ms, n {one["n"]}'
        )
    console.print(f'[bold]{escape(content["grounding"]["verdict"])}[/bold]')


def _rows(table: Table, labels: Mapping[str, Label], figures: Mapping[str, Any]) -> None:
    for key, label in labels.items():
        if key not in figures:
            continue
        figure = figures[key]
        table.add_row(
            *(label.name, label.better, number(figure['value'], label.kind)),
            *(interval(figure, label.kind), str(figure['groups'])),
        )
    table.add_section()


def _axes(content: Mapping[str, Any]) -> Table:
    table = Table(title='errors per axis')
    table.add_column('axis')
    for column in ('mean absolute', '95 % interval', 'root mean square', 'bias', 'unit'):
        table.add_column(column, justify='right')
    for name, axis in content['axes'].items():
        table.add_row(
            *(escape(name), number(axis['mae']['value']), interval(axis['mae'])),
            *(number(axis['rmse']['value']), number(axis['bias']['value'])),
            escape(axis['unit']),
        )
    return table
