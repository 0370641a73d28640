"""Draw how cost grows: one panel for what grew, from a file of measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vla_cli.bench.compare import CompareError, read, Recorded
from vla_cli.bench.history import GROWTH, machine_of, save
from vla_cli.bench.turning import NODES

FILE = Path('build') / 'bench.json'
PICTURE = Path('docs') / 'pictures' / 'growth.png'
#: What grows -> label of the axis, and the kinds of rows of it.
_PANELS: Mapping[str, tuple[str, Sequence[str]]] = {
    'cameras': ('cameras (pictures brought to size and checked)', ('',)),
    'pixels': ('pixels, width and height', ('preprocess', 'inference')),
    'horizon': ('steps of a chunk', ('execution', 'gate_step')),
    'robots': ('robots', ('camera_to_cmd_vel', 'gate_late')),
}
_COLOURS = ('#1b6ca8', '#d95f02', '#1b9e77', '#7570b3', '#666666')
_DPI = 90
#: Letters above a panel.
_LONGEST = 76


def draw_growth(file: Path, picture: Path) -> int:
    """Draw the rows of growth of a file; return 0.

    Raises:
        CompareError: if the file has none, or the picture cannot be written.
    """
    recorded = read(file)
    if not any(
        points(recorded, what, kind) for what, (_, kinds) in _PANELS.items() for kind in kinds
    ):
        raise CompareError(f'{file}: no row of growth: expected `vla bench --only growth`')
    figure = Figure(figsize=(13.0, 6.5), dpi=_DPI, layout='constrained')
    panels = figure.subplots(2, 3).flat
    for panel, (what, (label, kinds)) in zip(panels, _PANELS.items(), strict=False):
        _costs(panel, recorded, what, kinds)
        panel.set_xlabel(label)
        panel.set_ylabel('ms: p50 (line), p99 (crosses)')
    _notes(panels[4], recorded, [(f'{name}, % CPU each', name) for name in NODES])
    panels[4].set_ylabel('% of a core, each process')
    _notes(panels[5], recorded, [('frames per s of each', 'frames per s of each robot')])
    panels[5].set_ylabel('1/s')
    loads = [row['load_average'] for name, row in recorded.rows.items() if GROWTH in name]
    figure.suptitle(f'{machine_of(recorded)}; load average {min(loads)} to {max(loads)}')
    save(figure, picture)
    print(picture)
    return 0


def points(recorded: Recorded, what: str, kind: str) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the rows of one kind that were measured, by the number that grew."""
    prefix, suffix = f'{GROWTH}{what}_', f'_{kind}' if kind else ''
    found = []
    for name, row in recorded.rows.items():
        number = name.removeprefix(prefix).removesuffix(suffix)
        if name == f'{prefix}{number}{suffix}' and number.isdigit() and row['n']:
            found.append((int(number), row))
    return sorted(found, key=lambda point: point[0])


def stop_of(recorded: Recorded, what: str) -> tuple[int, str] | None:
    """Return the number at which nothing could be measured any more, and why."""
    for name, row in recorded.rows.items():
        number = name.removeprefix(f'{GROWTH}{what}_')
        if name.startswith(f'{GROWTH}{what}_') and 'stops here' in row.get('notes', {}):
            return int(number), str(row['notes']['stops here'])
    return None


def _costs(panel: Axes, recorded: Recorded, what: str, kinds: Sequence[str]) -> None:
    for kind, colour in zip(kinds, _COLOURS, strict=False):
        found = points(recorded, what, kind)
        numbers = [number for number, _ in found]
        name = kind or what
        panel.plot(numbers, [row['p50'] for _, row in found], 'o-', color=colour, label=name)
        panel.plot(numbers, [row['p99'] for _, row in found], ':x', color=colour)
    ticks = sorted({number for kind in kinds for number, _ in points(recorded, what, kind)})
    panel.set_xticks(ticks)
    panel.set_ylim(bottom=0.0)
    panel.legend(fontsize=8, frameon=False)
    stop = stop_of(recorded, what)
    if stop is not None:
        panel.axvline(stop[0], color='#d73027')
        panel.set_title(f'{stop[0]} {what}: {stop[1]}'[:_LONGEST], fontsize=7, color='#d73027')


def _notes(panel: Axes, recorded: Recorded, names: Sequence[tuple[str, str]]) -> None:
    found = points(recorded, 'robots', 'camera_to_cmd_vel')
    numbers = [number for number, _ in found]
    for (note, label), colour in zip(names, _COLOURS, strict=False):
        values = [row['notes'][note] for _, row in found]
        panel.plot(numbers, values, 'o-', color=colour, label=label)
    panel.set_xticks(numbers)
    panel.set_xlabel('robots')
    panel.set_ylim(bottom=0.0)
    panel.legend(fontsize=8, frameon=False)
