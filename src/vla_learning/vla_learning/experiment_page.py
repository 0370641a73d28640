"""docs/reference/experiment.md, made from the dataclasses that experiments are built from.

python -m vla_learning.experiment_page > docs/reference/experiment.md
"""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses
from dataclasses import dataclass, MISSING
from typing import Any, get_type_hints

from docstring_parser import parse

from vla_learning.experiment import Experiment
from vla_learning.structure import describe, plain

_HEAD = """\
# The experiment file

One YAML file says what is learned from what; `vla-learn train FILE.yaml` runs it
([how-to](../how-to/train.md)). A key that is left out has the default below; an unknown key, a
wrong type or a value out of range is an error that names it. On the command line every key is an
option with dashes: `--train.learning-rate 3e-4`, `--train.loss.kind l1`. In YAML a number such as
1e-4 needs its point: `1.0e-4`. In section `model`, `scale: full` or `scale: compact` stands for
all sizes of that scale; further keys change single ones. Without section `randomise` no picture
changes; `randomise: {}` takes the defaults below.

This page is made by `python -m vla_learning.experiment_page`; a test compares it with the program.
"""


@dataclass(frozen=True)
class _Section:
    name: str
    kind: type[Any]


def page() -> str:
    """Return the page."""
    return '\n'.join([_HEAD, *_sections(_Section('', Experiment))])


def _sections(section: _Section) -> Iterator[str]:
    """Describe a section and then those in it."""
    hints = get_type_hints(section.kind, include_extras=True)
    meanings = {p.arg_name: p.description for p in parse(section.kind.__doc__ or '').params}
    rows, inner = [], []
    for field in dataclasses.fields(section.kind):
        name = f'{section.name}.{field.name}'.lstrip('.')
        if dataclasses.is_dataclass(hints[field.name]):
            inner.append(_Section(name, hints[field.name]))
            continue
        meaning = ' '.join((meanings[field.name] or '').split())
        rows.append(
            f'| `{field.name}` | {describe(hints[field.name])} | {_default(field)} | {meaning} |'
        )
    if rows:
        head = ['| key | value | default | |', '|---|---|---|---|']
        yield '\n'.join([f'## {section.name}', '', *head, *rows, ''])
    for one in inner:
        yield from _sections(one)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is MISSING:
        return 'required'
    value = plain(field.default)
    if value is None:
        return 'none'
    return f'`{value}`' if value not in ('', []) else 'empty'


if __name__ == '__main__':
    print(page(), end='')
