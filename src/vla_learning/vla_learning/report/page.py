"""The HTML page of an evaluation: one file, no request to anywhere, pictures and all."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
import io
from itertools import groupby
import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from vla_core.types import to_si
from vla_learning.answers import Answers
from vla_learning.drives import Drive, worst_first
from vla_learning.report import plots
from vla_learning.report.curves import Curves
from vla_learning.report.labels import CLOSED_LOOP, GROUNDING, interval, METRICS, number
from vla_learning.report.pictures import Overlay, path_picture

_SHOWN_DRIVES = 12
_GOOD, _BAD = ('follows language',), ('ignores language', 'reacts to language in the wrong')


def write_page(
    path: Path,
    content: Mapping[str, Any],
    answers: Answers,
    drives: Sequence[Drive],
    shown: Sequence[Overlay],
    curves: Curves,
) -> None:
    """Write the page of an evaluation.

    Args:
        path: of the HTML file.
        content: of evaluation.json.
        answers: of the policy.
        drives: in closed loop; may be empty.
        shown: frames with attention.
        curves: of the training; may be empty.
    """
    environment = Environment(
        loader=PackageLoader('vla_learning', 'report'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {'number': number, 'interval': interval}
    taught = len(answers.axes) > 0
    page = environment.get_template('page.html.j2').render(
        content=content,
        labels={'metrics': METRICS, 'grounding': GROUNDING, 'closed_loop': CLOSED_LOOP},
        cards=_cards(content),
        tone=_tone(content['grounding']['verdict']),
        histograms=_svg_uri(plots.error_histograms(answers, content)) if taught else '',
        scatter=_svg_uri(plots.predicted_against_target(answers, content)) if taught else '',
        steps=_svg_uri(plots.step_errors(content)) if len(content['steps']['mae']) > 1 else '',
        directions=_svg_uri(plots.directions(content)),
        latency=_svg_uri(plots.latency(answers)),
        curves=_svg_uri(plots.learning_curves(curves)) if curves else '',
        scenes=_scenes(shown, answers, content),
        looked=any(overlay.attention is not None for overlay in shown),
        drives=[
            {'picture': _png_uri(path_picture(drive)), 'drive': drive}
            for drive in worst_first(drives)[:_SHOWN_DRIVES]
        ],
    )
    path.write_text(page, encoding='utf-8')


def _cards(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The figures that come first, as far as they were measured."""
    chosen = [('closed_loop', name, CLOSED_LOOP) for name in ('success', 'relations')]
    chosen += [('grounding', name, GROUNDING) for name in ('direction', 'score')]
    chosen += [('metrics', name, METRICS) for name in ('success', 'mae')]
    cards = []
    for section, name, labels in chosen:
        figure = content.get(section, {}).get(name)
        if figure is None or figure['value'] is None:
            continue
        label = labels[name]
        known = figure['low'] is not None
        cards.append(
            {
                'name': label.name,
                'value': number(figure['value'], label.kind),
                'interval': interval(figure, label.kind) if known else 'no interval: one group',
                'note': label.note,
                'bar': figure if label.kind == 'share' and known else None,
            }
        )
    latency = content['latency']['infer']
    cards.append(
        {
            'name': 'latency per frame',
            'value': f'{latency["median_ms"]:.1f} ms',
            'interval': f'p99 {latency["p99_ms"]:.1f} ms',
            'note': f'median of {latency["n"]}, on this machine',
            'bar': None,
        }
    )
    return cards


def _scenes(
    shown: Sequence[Overlay], answers: Answers, content: Mapping[str, Any]
) -> list[list[dict[str, Any]]]:
    """Frames by picture, with what the robot would do and what it should."""
    contract = content['contract']
    axes = answers.axes if len(answers.axes) else range(len(contract['action_names']))

    def axis_line(overlay: Overlay, axis: int) -> str:
        scale, unit = contract['action_scale'][axis], contract['action_units'][axis]
        # Three digits of full scale, whatever that is.
        digits = max(0, 2 - math.floor(math.log10(scale)))
        said = to_si(overlay.action[axis], scale, unit)
        text = f'{contract["action_names"][axis]} {said:+.{digits}f}'
        text += f' {unit}' if unit != '1' else ''
        if overlay.target is not None:
            text += f', right {to_si(overlay.target[axis], scale, unit):+.{digits}f}'
        return text.replace('-', '−')

    def lines(overlay: Overlay) -> list[str]:
        result = [axis_line(overlay, axis) for axis in axes]
        if overlay.nothing is not None:
            result.append(f'attention on “nothing of it in sight”: {100 * overlay.nothing:.0f} %')
        return result

    return [
        [
            {
                'picture': _png_uri(overlay.picture),
                'text': overlay.text,
                'lines': lines(overlay),
            }
            for overlay in row
        ]
        for _, row in groupby(shown, key=lambda overlay: overlay.scene)
    ]


def _tone(verdict: str) -> str:
    if verdict.startswith(_GOOD):
        return 'good'
    return 'bad' if verdict.startswith(_BAD) else 'fair'


def _svg_uri(svg: str) -> str:
    if not svg:
        return ''
    return 'data:image/svg+xml;base64,' + base64.b64encode(svg.encode()).decode()


def _png_uri(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, 'PNG', optimize=True)
    return 'data:image/png;base64,' + base64.b64encode(stream.getvalue()).decode()
