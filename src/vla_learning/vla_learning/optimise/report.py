"""The table, the JSON and the Pareto plot of `vla-learn optimise`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from matplotlib.transforms import Bbox
from rich.table import Table

from vla_core.parity import LARGEST_RMS
from vla_learning.offline import plain

JSON_NAME, PLOT_NAME = 'optimise.json', 'pareto.svg'
#: Errors below this share of the deviation are drawn as this: an axis by powers of ten has no 0.
_FLOOR = 1e-7
#: Kinds of operations of a profile that the table names.
_KINDS = 4


def worst_share(row: Mapping[str, Any]) -> float:
    """Return the largest root mean square error of a row, in units of the axis's deviation."""
    return max(axis['rms'] / axis['deviation'] for axis in row['axes'].values())


def relative(row: Mapping[str, Any]) -> float:
    """Return a row's latency in those of the base in the same turns: minutes differ, turns not."""
    cached = row['cached']
    return float(cached['p50'] / cached['against'])


def front(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the variants that no other one beats in both latency and error."""
    points = [(relative(row), worst_share(row), row['variant']) for row in rows]
    return [
        name
        for latency, error, name in points
        if not any(
            p <= latency and e <= error and (p, e) != (latency, error) for p, e, _ in points
        )
    ]


def latencies(content: Mapping[str, Any]) -> Table:
    """One row per variant and way of hearing."""
    machine, timed = content['machine'], content['rows'][0]['cached']['frames']
    table = Table(
        title=f'{content["model_id"]} on {machine["processor"]}, {content["threads"]} threads, '
        f'load {machine["load_average"]}',
        caption=f'× eager: in the same turns; n = {timed} frames of each',
    )
    table.add_column('variant')
    table.add_column('instruction')
    for heading in (
        *('p50 ms', 'p99 ms', 'frames/s', '× eager', 'load s', 'RSS MB', 'peak MB', 'size MB'),
    ):
        table.add_column(heading, justify='right')
    for row in content['rows']:
        if 'missing' in row:
            table.add_row(row['variant'], f'[yellow]{row["missing"]}[/yellow]')
            continue
        for mode in ('cached', 'uncached', 'padded', 'against_padded'):
            if mode not in row:
                continue
            one, first = row[mode], mode == 'cached'
            if mode == 'against_padded':
                # The same frames as 'cached', beside the seed's call.
                heading = "cached, × seed's call"
            else:
                heading = {'padded': "seed's call"}.get(mode, mode)
            ratio = one['against'] / one['p50']
            rest = (row['load'], row['rss'] / 1e6, row['peak'] / 1e6, row['size'] / 1e6)
            table.add_row(
                row['variant'] if first else '',
                heading,
                *(f'{1e3 * one["p50"]:.2f}', f'{1e3 * one["p99"]:.2f}', f'{1 / one["p50"]:.0f}'),
                f'{ratio:.2f}',
                *(
                    (f'{rest[0]:.1f}', *(f'{x:.0f}' for x in rest[1:3]), f'{rest[3]:.1f}')
                    if first
                    else ('',) * 4
                ),
            )
    return table


def fidelities(content: Mapping[str, Any]) -> Table:
    """One row per variant: how its actions differ, and what becomes of that."""
    axes = content['shown_axes']
    table = Table(
        title=f'difference from eager, {content["source"]}',
        caption=f'rms: largest of all axes, in deviations of the axis; limit {LARGEST_RMS:g}',
    )
    table.add_column('variant')
    for name in axes:
        unit = content['units'][name]
        table.add_column(f'{name} mean', justify='right')
        table.add_column(f'max {unit}', justify='right')
    for heading in ('rms', 'grounding', 'reached', ''):
        table.add_column(heading, justify='right')
    for row in content['rows']:
        if 'missing' in row:
            continue
        figures = [f'{row["axes"][name][key]:.2g}' for name in axes for key in ('mean', 'max')]
        reached = f'{row["reached"]}/{row["episodes"]}' if row['episodes'] else '–'
        table.add_row(
            row['variant'],
            *figures,
            f'{worst_share(row):.2g}',
            *(_score(row['grounding']), reached, 'beyond' if row['excess'] else 'ok'),
        )
    return table


def _score(found: Mapping[str, float]) -> str:
    """Write a grounding score with its interval."""
    if math.isnan(found['value']):
        return '–'
    return f'{found["value"]:.3g} ({found["low"]:.3g}–{found["high"]:.3g})'


def limits(content: Mapping[str, Any]) -> Table:
    """What the work of a frame takes at the measured speed of matrix products."""
    table = Table(title=f'work per frame: {content["flops"] / 1e9:.2f} GFLOP, cached')
    table.add_column('variant')
    for heading in ('GFLOP/s', 'matrix products GFLOP/s', 'share of the limit'):
        table.add_column(heading, justify='right')
    table.add_column('where the time goes')
    for row in content['rows']:
        if 'missing' not in row and 'limit' in row:
            limit = row['limit']
            table.add_row(
                row['variant'],
                f'{limit["reached"] / 1e9:.0f}',
                f'{limit["gemm"] / 1e9:.0f} ({limit["type"]})',
                f'{100 * limit["share"]:.0f} %',
                ', '.join(
                    f'{kind} {100 * share:.0f} %'
                    for kind, share in [*row['profile'].items()][:_KINDS]
                ),
            )
    return table


def write(folder: Path, content: Mapping[str, Any]) -> None:
    """Write JSON and plot."""
    text = json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / JSON_NAME).write_text(text + '\n', encoding='utf-8')
    rows = [row for row in content['rows'] if 'missing' not in row]
    _pareto(rows).savefig(folder / PLOT_NAME, metadata={'Date': None})


def _pareto(rows: Sequence[Mapping[str, Any]]) -> Figure:
    figure = Figure((6.4, 4.0), layout='constrained')
    panel = figure.subplots()
    best = front(rows)
    for row in rows:
        x, y = relative(row), max(worst_share(row), _FLOOR)
        colour = '#0b7285' if row['variant'] in best else '#9aa5b1'
        panel.plot(x, y, 'o', color=colour)
    edge = sorted(
        (relative(row), max(worst_share(row), _FLOOR)) for row in rows if row['variant'] in best
    )
    panel.plot(*zip(*edge, strict=True), color='#0b7285', linewidth=1)
    panel.axhline(LARGEST_RMS, color='#e8590c', linewidth=1)
    panel.text(
        panel.get_xlim()[1], LARGEST_RMS, 'limit ', color='#e8590c', ha='right', va='bottom'
    )
    panel.set_xscale('log')
    panel.set_yscale('log')
    panel.set_xlabel('time of a frame in those of eager, p50, instruction cached')
    panel.set_ylabel('rms error / deviation, worst axis')
    panel.xaxis.set_major_formatter('{x:g}')
    panel.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    panel.xaxis.set_minor_formatter('{x:g}')
    panel.spines[['top', 'right']].set_visible(False)
    figure.draw_without_rendering()  # Only now is it known where a point lies on the page.
    _label(panel, rows)
    return figure


def _label(panel: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write each variant's name beside its point, on the first side where nothing else is."""
    points = [(relative(row), max(worst_share(row), _FLOOR)) for row in rows]
    middles = [panel.transData.transform(point) for point in points]
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in middles]
    for row, point in zip(rows, points, strict=True):
        text = panel.annotate(
            row['variant'], point, (0, 0), textcoords='offset points', va='center', fontsize=8
        )
        for dx, dy, side in ((7, 0, 'left'), (-7, 0, 'right'), (4, 10, 'left'), (4, -10, 'left')):
            text.set_position((dx, dy))
            text.set_ha(side)
            box = text.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)
