"""Plots of an evaluation, as SVG text; only matplotlib's file backend is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import io
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
import numpy as np

from vla_core.types import to_si
from vla_learning.answers import Answers
from vla_learning.grounding import CHANCE
from vla_learning.metrics import known
from vla_learning.report.curves import Curves
from vla_learning.report.labels import GROUNDING

INK, FAINT, ACCENT, MARK = '#1f2933', '#9aa5b1', '#0b7285', '#e8590c'
_STYLE = {
    'font.size': 9,
    'font.family': 'sans-serif',
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.edgecolor': FAINT,
    'axes.labelcolor': INK,
    'axes.titlesize': 9.5,
    'axes.titleweight': 'bold',
    'axes.titlelocation': 'left',
    'xtick.color': INK,
    'ytick.color': INK,
    'text.color': INK,
    'svg.fonttype': 'path',
    'svg.hashsalt': 'vla',
}
_POINTS = 4000
_PER_ROW = 3


def error_histograms(answers: Answers, content: Mapping[str, Any]) -> str:
    """Draw the errors of each taught axis in its unit."""

    def draw(panel: Axes, axis: int, name: str, unit: str, scale: float) -> None:
        kept = known(answers)
        taught = kept.valid[:, 0, axis]
        predicted, target = (
            to_si(chunks[taught, 0, axis], scale, unit) for chunks in (kept.predicted, kept.target)
        )
        error = predicted - target
        limit = max(float(np.quantile(np.abs(error), 0.995)), 1e-3 * scale)
        outside = float((np.abs(error) > limit).mean())
        panel.hist(np.clip(error, -limit, limit), bins=61, color=ACCENT)
        panel.axvline(0.0, color=MARK, linewidth=1)
        panel.set_yscale('log')
        panel.set_title(name)
        beyond = f'\n{100 * outside:.1f} % beyond' if outside else ''
        panel.set_xlabel(f'predicted − target, {unit}{beyond}')
        panel.set_ylabel('answers (log)')

    return _per_axis(answers, content, draw)


def predicted_against_target(answers: Answers, content: Mapping[str, Any]) -> str:
    """Draw each taught axis's answers over the right ones, in its unit."""

    def draw(panel: Axes, axis: int, name: str, unit: str, scale: float) -> None:
        kept = known(answers)
        rows = np.flatnonzero(kept.valid[:, 0, axis])
        chosen = np.random.default_rng(0).permutation(rows)[:_POINTS]
        target, predicted = (
            to_si(chunks[:, 0, axis], scale, unit) for chunks in (kept.target, kept.predicted)
        )
        values = np.concatenate([target[rows], predicted[rows]])
        span = float(values.min()), float(values.max())
        margin = 0.05 * max(span[1] - span[0], 0.1 * scale)
        panel.plot(span, span, color=MARK, linewidth=1, zorder=3)
        panel.scatter(
            *(target[chosen], predicted[chosen]),
            s=6,
            color=ACCENT,
            alpha=0.2,
            linewidths=0,
            rasterized=True,
        )
        panel.set_xlim(span[0] - margin, span[1] + margin)
        panel.set_ylim(span[0] - margin, span[1] + margin)
        panel.set_aspect('equal')
        panel.set_title(name)
        panel.set_xlabel(f'target, {unit}')
        panel.set_ylabel(f'predicted, {unit}')

    return _per_axis(answers, content, draw)


def step_errors(content: Mapping[str, Any]) -> str:
    """Draw the error of each step of the chunk."""
    with rc_context(_STYLE):
        figure = Figure((4.2, 2.6), layout='constrained')
        panel = figure.subplots()
        errors = [np.nan if e is None else e for e in content['steps']['mae']]
        seconds = np.arange(len(errors)) * content['steps']['step_dt']
        panel.plot(seconds, errors, 'o-', color=ACCENT, markersize=4)
        panel.set_ylim(0, 1.15 * max(np.nanmax(errors), 1e-6))
        panel.set_xlabel('s ahead')
        panel.set_ylabel('mean absolute error')
        return _svg(figure)


def directions(content: Mapping[str, Any]) -> str:
    """Draw the direction accuracies with their intervals; empty where there are none."""
    names = [n for n in GROUNDING if n.startswith('direction') and n in content['grounding']]
    if not names:
        return ''
    with rc_context(_STYLE):
        figure = Figure((5.4, 0.8 + 0.38 * len(names)), layout='constrained')
        panel = figure.subplots()
        for row, name in enumerate(reversed(names)):
            one = content['grounding'][name]
            if one['low'] is not None:
                panel.plot(
                    [one['low'], one['high']], [row, row], color=ACCENT, linewidth=5, alpha=0.35
                )
            panel.plot(one['value'], row, 'o', color=ACCENT, markersize=6)
        panel.axvline(CHANCE, color=MARK, linewidth=1)
        panel.text(CHANCE, len(names) - 0.45, ' chance', color=MARK, va='bottom')
        panel.set_yticks(range(len(names)), [GROUNDING[n].name for n in reversed(names)])
        panel.set_ylim(-0.5, len(names) - 0.4)
        panel.set_xlim(0, 1.01)
        panel.xaxis.set_major_formatter(lambda value, _: f'{100 * value:.0f} %')
        return _svg(figure)


def latency(answers: Answers) -> str:
    """Draw the distribution of the inference time."""
    with rc_context(_STYLE):
        figure = Figure((4.2, 2.6), layout='constrained')
        panel = figure.subplots()
        ms = np.sort(1e3 * answers.seconds)
        panel.plot(ms, np.linspace(0, 1, len(ms)), color=ACCENT)
        panel.axvline(float(np.quantile(ms, 0.99)), color=MARK, linewidth=1)
        panel.set_xscale('log')
        panel.xaxis.set_major_formatter('{x:g}')
        panel.xaxis.set_minor_formatter('{x:g}' if ms[-1] < 10 * ms[0] else '')
        panel.set_xlabel('ms per frame (line: p99)')
        panel.set_ylabel('share of frames')
        return _svg(figure)


def learning_curves(curves: Curves) -> str:
    """Draw every curve of a run; training and validation of one loss share a panel."""
    panels: dict[str, list[str]] = {}
    for name in sorted(curves):
        panels.setdefault(name.rpartition('/')[2], []).append(name)
    with rc_context(_STYLE):
        figure, axes = _grid(len(panels))
        for panel, (title, names) in zip(axes, panels.items(), strict=True):
            for name, colour in zip(names, _colours(len(names)), strict=True):
                panel.plot(*curves[name], color=colour, linewidth=1.2, label=name)
            values = np.concatenate([curves[name][1] for name in names])
            if values.min() > 0 and values.max() > 20 * values.min():
                panel.set_yscale('log')
            panel.set_title(title)
            panel.set_xlabel('step')
            if len(names) > 1:
                panel.legend(frameon=False, fontsize=7)
        return _svg(figure)


def _per_axis(answers: Answers, content: Mapping[str, Any], draw: Any) -> str:
    contract = content['contract']
    axes = answers.axes
    with rc_context(_STYLE):
        figure, panels = _grid(len(axes))
        for panel, axis in zip(panels, axes, strict=True):
            name = contract['action_names'][axis]
            unit, scale = contract['action_units'][axis], contract['action_scale'][axis]
            draw(panel, int(axis), name, unit, scale)
        return _svg(figure)


def _grid(count: int) -> tuple[Figure, Sequence[Axes]]:
    columns = max(1, min(count, _PER_ROW))
    rows = -(-count // columns) or 1
    figure = Figure((2.5 * columns, 2.6 * rows), layout='constrained')
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for spare in panels[count:]:
        spare.remove()
    return figure, panels[:count]


def _colours(count: int) -> list[str]:
    return ([ACCENT, MARK, '#5f3dc4', '#2b8a3e', FAINT] * (count // 5 + 1))[:count]


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    # No date: the same figures give the same file.
    figure.savefig(stream, format='svg', dpi=150, metadata={'Date': None})
    return stream.getvalue()
