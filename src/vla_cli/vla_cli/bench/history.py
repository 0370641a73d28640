"""Figures over time: one line per row through the files of a folder."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vla_cli.bench.compare import CompareError, read, Recorded

FOLDER = Path('docs') / 'measurements'
PICTURE = Path('docs') / 'pictures' / 'history.png'
#: Begin of the names of rows that have a picture of their own.
GROWTH = 'growth_'
_COLUMNS, _DPI = 4, 80
_COLOURS = ('#1b6ca8', '#d95f02', '#1b9e77', '#7570b3', '#666666')


def history(folder: Path, picture: Path) -> int:
    """Draw the rows of every file of a folder, in the order of their names; return 0.

    What grows has a picture of its own (vla_cli.bench.growth_picture).

    Raises:
        CompareError: if there is no file, one is not of measurements, or the picture cannot be
            written.
    """
    paths = files_of(folder)
    if not paths:
        raise CompareError(f'{folder}: no .json in it: expected files that `vla bench` wrote')
    draw({path.stem: read(path) for path in paths}, picture)
    print(picture)
    return 0


def files_of(folder: Path) -> list[Path]:
    """Return the files of a folder, `2026-01` before `2026-01-b`."""
    return sorted(folder.glob('*.json'), key=lambda path: path.stem)


def machine_of(recorded: Recorded) -> str:
    """Name the kind of machine that a file was measured on."""
    facts = recorded.machine
    return f'{facts.get("processor")}, {facts.get("cores")} cores'


def lines(files: Mapping[str, Recorded], row: str) -> dict[str, list[tuple[int, float, float]]]:
    """Return one line per machine through a row: index of the file, p50, p99."""
    found: dict[str, list[tuple[int, float, float]]] = {}
    for index, recorded in enumerate(files.values()):
        figures = recorded.rows.get(row)
        if figures is not None and figures['p50'] is not None:
            point = (index, figures['p50'], figures['p99'])
            found.setdefault(machine_of(recorded), []).append(point)
    return found


def draw(files: Mapping[str, Recorded], picture: Path) -> None:
    """Draw one panel per row: p50 as a line, p99 above it in crosses.

    Raises:
        CompareError: if there is nothing to draw or the picture cannot be written.
    """
    units: dict[str, str] = {}
    for recorded in files.values():
        for name, row in recorded.rows.items():
            if units.setdefault(name, row['unit']) != row['unit']:
                raise CompareError(f'{name}: {units[name]} and {row["unit"]}: expected one unit')
    # Zero violations, and zero again, is no curve.
    drawn = [name for name in units if not name.startswith(GROWTH) and _highest(files, name) > 0.0]
    if not drawn:
        raise CompareError('no row with a figure: expected files that `vla bench` wrote')
    machines = list(dict.fromkeys(machine_of(recorded) for recorded in files.values()))
    colours = {name: _COLOURS[n % len(_COLOURS)] for n, name in enumerate(machines)}
    height = ceil(len(drawn) / _COLUMNS)
    figure = Figure(figsize=(3.5 * _COLUMNS, 1.0 + 1.9 * height), dpi=_DPI, layout='constrained')
    panels = figure.subplots(height, _COLUMNS, squeeze=False).flat
    for panel, name in zip(panels, drawn, strict=False):
        for machine, points in lines(files, name).items():
            index, p50, p99 = zip(*points, strict=True)
            panel.plot(index, p50, 'o-', color=colours[machine], markersize=3)
            # A marker: a line through one file, or beside a file that lacks it, is none.
            panel.plot(index, p99, ':x', color=colours[machine], markersize=4)
        panel.set_title(f'{name}, {units[name]}', fontsize=8)
        panel.set_ylim(0.0, 1.15 * _highest(files, name))
        panel.set_xlim(-0.5, len(files) - 0.5)
        panel.set_xticks(range(len(files)), list(files), fontsize=6, rotation=20)
        panel.tick_params(axis='y', labelsize=7)
    for panel in list(figure.axes)[len(drawn) :]:
        panel.set_visible(False)
    named = [Line2D([], [], color=colours[name], label=name) for name in machines]
    figure.legend(handles=named, loc='outside lower center', fontsize=8, frameon=False)
    figure.suptitle('p50 (line) and p99 (crosses) of every file', fontsize=9)
    save(figure, picture)


def save(figure: Figure, picture: Path) -> None:
    """Write a picture, and its folder.

    Raises:
        CompareError: if that is not possible, or the suffix names no kind of picture.
    """
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        # Without its kind, a name without a suffix would be written as another one.
        figure.savefig(picture, format=picture.suffix[1:])
    except (OSError, ValueError) as error:
        raise CompareError(f'{picture}: {error}: expected a picture, e.g. .png') from error


def _highest(files: Mapping[str, Recorded], name: str) -> float:
    """Return the largest figure of a row; 0: there is none."""
    points = [point for line in lines(files, name).values() for point in line]
    return max((value for _, *both in points for value in both), default=0.0)
