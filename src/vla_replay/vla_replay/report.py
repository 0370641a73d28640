"""What a comparison found: for people in a terminal, for programs, for a build server, drawn."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import json
import math
from pathlib import Path
from xml.etree import ElementTree as ET

from matplotlib.axes import Axes
from matplotlib.figure import Figure
import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from vla_replay.compare import Check, matched
from vla_replay.trace import Chunks, Trace

_OLD, _NEW = '#888888', '#d95f02'


def show(checks: Sequence[Check], golden: Trace, found: Trace, console: Console) -> None:
    """Print every comparison that could fail: axes that are zero in both runs are left out."""
    table = Table(box=SIMPLE, title=f'{_name(found)} against {_name(golden)}')
    for name in ('compared', 'n', 'worst', 'mean', 'allowed', 'unit', ''):
        table.add_column(name, justify='left' if name in ('compared', 'unit', '') else 'right')
    for check in checks:
        if _told(check):
            verdict = '[red]over[/red]' if check.failure else 'within'
            table.add_row(
                check.name,
                str(check.n),
                f'{check.worst:.3g}',
                f'{check.mean:.3g}',
                f'{check.limit:.3g}',
                check.unit,
                verdict,
            )
    console.print(table)
    equal = sum(not _told(check) for check in checks)
    console.print(f'{equal} further comparisons without any difference')
    for check in checks:
        if check.failure:
            console.print(f'{check.name}: {check.failure}', markup=False, highlight=False)


def write_json(checks: Sequence[Check], golden: Trace, found: Trace, path: Path) -> None:
    """Write everything, and what was compared."""
    content = {
        'passed': not any(check.failure for check in checks),
        'golden': dict(golden.facts),
        'found': dict(found.facts),
        'checks': [
            {
                # JSON has no infinity.
                **dataclasses.asdict(check),
                'worst': check.worst if math.isfinite(check.worst) else None,
                'mean': check.mean if math.isfinite(check.mean) else None,
            }
            for check in checks
        ],
    }
    path.write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')


def write_junit(checks: Sequence[Check], recording: str, path: Path) -> None:
    """Write one test case for each comparison, as build servers read them."""
    failures = str(sum(bool(check.failure) for check in checks))
    suite = ET.Element(
        'testsuite', name=f'vla replay {recording}', tests=str(len(checks)), failures=failures
    )
    for check in checks:
        case = ET.SubElement(suite, 'testcase', classname=recording, name=check.name)
        if check.failure:
            ET.SubElement(case, 'failure', message=check.failure)
    root = ET.Element('testsuites')
    root.append(suite)
    ET.ElementTree(root).write(path, encoding='unicode', xml_declaration=True)


def draw(golden: Trace, found: Trace, path: Path) -> None:
    """Draw both runs over each other: the way that the commands lead, and the first action."""
    drawn = golden.decisions is not None and found.decisions is not None
    figure = Figure(figsize=(11.0, 6.0), dpi=110, layout='constrained')
    grid = figure.add_gridspec(2, 2, width_ratios=(1.0, 1.6))
    for row, axis in enumerate(('linear.x', 'angular.z')):
        _draw_axis(figure.add_subplot(grid[row, 1]), golden.chunks, found.chunks, axis)
    way = figure.add_subplot(grid[:, 0])
    for trace, colour, width in ((golden, _OLD, 4.0), (found, _NEW, 1.5)):
        if trace.decisions is not None:
            track = trace.decisions.track()
            way.plot(track[:, 0], track[:, 1], color=colour, linewidth=width, label=_name(trace))
            way.plot(track[-1:, 0], track[-1:, 1], 'o', color=colour, markersize=width + 3)
    way.set_aspect('equal', adjustable='datalim')
    way.set_xlabel('m ahead')
    way.set_ylabel('m to the left')
    way.set_title('where the published commands lead' if drawn else 'the way of the replay')
    way.legend(loc='best', fontsize=8)
    figure.suptitle(f'{found.facts.get("recording", "")}: {_name(found)} over {_name(golden)}')
    figure.savefig(path)


def _draw_axis(panel: Axes, golden: Chunks, found: Chunks, axis: str) -> None:
    """Draw the first action of every chunk, and where the two are farthest apart."""
    if axis not in golden.names or axis not in found.names:
        panel.set_axis_off()
        return
    column, begin = golden.names.index(axis), golden.frame[0]
    for chunks, colour, width in ((golden, _OLD, 4.0), (found, _NEW, 1.5)):
        seconds = (chunks.frame - begin) / 1e9
        panel.plot(seconds, chunks.data[:, 0, column], color=colour, linewidth=width)
    left, right, _ = matched(golden, found)
    if len(left):
        apart = np.abs(golden.data[left] - found.data[right])[:, :, column].max(axis=1)
        worst = int(np.argmax(apart))
        if apart[worst] > 0.0:
            panel.axvline((golden.frame[left[worst]] - begin) / 1e9, color='black', linewidth=0.8)
    panel.set_title(f'{axis}, {golden.units[column]}: first action of every chunk', fontsize=9)
    panel.set_xlabel('s of the recording')


def _name(trace: Trace) -> str:
    return trace.facts.get('source') or trace.facts.get('policy', '')[:24]


def _told(check: Check) -> bool:
    return bool(check.failure) or check.worst != 0.0
