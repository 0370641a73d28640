"""Names and formats of the figures, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Arrow that says what is better.
MORE, LESS, DEPENDS = '↑', '↓', ''


@dataclass(frozen=True)
class Label:
    """How a figure is shown.

    Attributes:
        name: in a few words.
        better: MORE, LESS or DEPENDS.
        kind: `share` (printed in percent) or `number`.
        note: what it means, one sentence.
    """

    name: str
    better: str
    kind: str
    note: str


METRICS = {
    'mse': Label('mean squared error', LESS, 'number', 'per axis and answer, native units'),
    'mae': Label('mean absolute error', LESS, 'number', 'per axis and answer, native units'),
    'cosine': Label('cosine similarity', MORE, 'number', 'of actions, where the target moves'),
    'success': Label('right actions', MORE, 'share', 'nearer than 0.1 (L2) to the target'),
    'coverage': Label('action-space coverage', DEPENDS, 'share', 'of 20 cells per axis visited'),
    'target_coverage': Label('… of the target', DEPENDS, 'share', 'the same of the right actions'),
}
GROUNDING = {
    'score': Label(
        'grounding score',
        MORE,
        'number',
        'action variance between instructions ÷ between wordings of one; 1: ignores language',
    ),
    'direction': Label(
        'direction accuracy',
        MORE,
        'share',
        'the action changes as the right one does; chance: 50 %',
    ),
    'direction, only the colour differs': Label(
        '… only the colour differs', MORE, 'share', '"red ball" and "blue ball"'
    ),
    'direction, only the shape differs': Label(
        '… only the shape differs', MORE, 'share', '"red ball" and "red box"'
    ),
    'direction, both differ': Label('… both differ', MORE, 'share', '"red ball" and "blue box"'),
    'understood': Label('understood', MORE, 'share', 'instructions that are not refused'),
    'still_empty': Label('nothing said: stands still', MORE, 'share', 'empty text'),
    'still_nonsense': Label('nonsense: stands still', MORE, 'share', 'refused, or no motion'),
}
CLOSED_LOOP = {
    'success': Label('closed-loop success', MORE, 'share', 'at rest near the named object'),
    'wrong_object': Label('wrong object', LESS, 'share', 'at rest near another one'),
    'relations': Label('… named by a relation', MORE, 'share', '"the ball left of the red box"'),
}


def number(value: float | None, kind: str = 'number') -> str:
    """Write a figure; a dash where there is none."""
    if value is None:
        return '–'
    if kind == 'share':
        return f'{100 * value:.1f} %'
    size = abs(value)
    if size >= 100:
        return f'{value:,.0f}'.replace(',', '\N{NO-BREAK SPACE}')
    return f'{value:.2f}' if size >= 1 else f'{value:.4f}'


def interval(figure: Mapping[str, Any], kind: str = 'number') -> str:
    """Write a 95 % interval."""
    if figure.get('low') is None:
        return '–'
    return f'{number(figure["low"], kind)} to {number(figure["high"], kind)}'
