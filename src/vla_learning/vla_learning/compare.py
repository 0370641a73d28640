"""`vla-learn compare A B`: two policies on the same questions and in the same episodes.

Rates decide, for one margin means the same for each: closed-loop success (also where relations
name the object), direction accuracy and right actions. B is worse if even the upper end of the
95 % interval of B - A is below -margin, not worse if the lower end is not, and otherwise
undecided. An undecided comparison passes unless proof is asked for
(docs/how-to/evaluate-a-policy.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
import json
import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from rich.console import Console
from rich.table import Table
import tyro

from vla_core.errors import ConfigError
from vla_learning import grounding, metrics
from vla_learning.answers import Answers, EvaluationError, load
from vla_learning.bootstrap import Difference, difference, Measure, paired_outcomes
from vla_learning.evaluation.tasks import CHOOSING
from vla_learning.offline import Evaluate, evaluate, FILE_NAME, plain
from vla_learning.report.labels import GROUNDING, interval, METRICS, number

COMPARISON_NAME = 'comparison.json'
NOT_WORSE, WORSE, UNDECIDED = 'not worse', 'worse', 'undecided'
#: Rates that decide.
DECIDING = ('closed loop, go_to', 'closed loop, relations', 'direction', 'success')


@dataclass(frozen=True)
class Compare:
    """Compare B with A on the same samples; exit status 1 if B is worse beyond the margin.

    Attributes:
        first: A: folder of an evaluation, checkpoint folder, or name of a policy.
        second: B, likewise.
        out: folder for comparison.json, and for evaluations that have to be made first.
        margin: by how much B's rates may be below A's, as a share of answers or episodes.
        prove: also fail when the data do not prove that B is not worse beyond the margin.
        data: as in evaluate; this and the following serve evaluations that have to be made.
        camera: as in evaluate.
        fps: as in evaluate.
        gripper: as in evaluate.
        validation: as in evaluate.
        split_seed: as in evaluate.
        skip_bad: as in evaluate.
        layouts: as in evaluate.
        pictures: as in evaluate.
        episodes: as in evaluate.
        relations: as in evaluate.
        seed: as in evaluate.
        jobs: as in evaluate.
        device: as in evaluate.
    """

    first: Annotated[str, tyro.conf.Positional]
    second: Annotated[str, tyro.conf.Positional]
    out: Path
    margin: float = 0.05
    prove: bool = False
    data: Path | None = None
    camera: str = ''
    fps: float | None = None
    gripper: Literal['', 'closed', 'open'] = ''
    validation: float = 0.0
    split_seed: int = 0
    skip_bad: bool = False
    layouts: int = 50
    pictures: int = 200
    episodes: int | None = None
    relations: int = 0
    seed: int = CHOOSING
    jobs: int = os.cpu_count() or 1
    device: str = 'auto'


def command(options: Compare) -> int:
    """Compare, print the table, write the JSON; returns the exit status."""
    content = compare(options)
    Console().print(_table(content))
    for name, figure in content['figures'].items():
        if figure['verdict'] == UNDECIDED and figure['needed']:
            print(f'{name}: about {figure["needed"]} layouts or episodes would decide it')
    print(f'B is {content["outcome"]} (margin {100 * options.margin:g} %)')
    worse = content['outcome'] == WORSE or (options.prove and content['outcome'] == UNDECIDED)
    return int(worse)


def compare(options: Compare) -> dict[str, Any]:
    """Compare and write comparison.json.

    Returns:
        Its content.

    Raises:
        VlaError: if the margin is out of range, an evaluation cannot be made or read, or the two
            did not answer the same questions.
    """
    if not 0.0 <= options.margin < 1.0:
        raise ConfigError(f'margin {options.margin}: expected 0 to 1, such as 0.05 for 5 of 100')
    folders = [_evaluated(options, side, name) for side, name in _sides(options)]
    contents = [_read(folder) for folder in folders]
    answers = [load(folder) for folder in folders]
    _same_questions(contents, answers)
    figures = _figures(*answers)
    figures = _closed_loop(*contents) | figures
    figures = {
        name: figure | _judged(name, figure, options.margin) for name, figure in figures.items()
    }
    verdicts = {figure['verdict'] for figure in figures.values()} - {None}
    worst = next((v for v in (WORSE, UNDECIDED, NOT_WORSE) if v in verdicts), UNDECIDED)
    content = {
        'a': _who(contents[0]),
        'b': _who(contents[1]),
        'data': contents[0]['data'],
        'margin': options.margin,
        'outcome': worst,
        'figures': figures,
    }
    content = plain(content)
    options.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    (options.out / COMPARISON_NAME).write_text(text + '\n', encoding='utf-8')
    return content


def _sides(options: Compare) -> tuple[tuple[str, str], tuple[str, str]]:
    return ('a', options.first), ('b', options.second)


def _evaluated(options: Compare, side: str, name: str) -> Path:
    """Return the folder of an evaluation; make it if a policy is named."""
    if (Path(name) / FILE_NAME).is_file():
        return Path(name)
    folder = options.out / side
    shared = {field.name for field in fields(Evaluate)} & {field.name for field in fields(options)}
    asked = {field: getattr(options, field) for field in shared - {'out'}}
    evaluate(Evaluate(checkpoint=name, out=folder, **asked))
    return folder


def _read(folder: Path) -> dict[str, Any]:

    path = folder / FILE_NAME
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        if not isinstance(content, dict):
            raise TypeError(f'a {type(content).__name__}')
        return content | {'data': content['data'], 'policy': content['policy']}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f'{path}: {error!r}: expected what `vla-learn evaluate` wrote'
        ) from error


def _same_questions(contents: list[dict[str, Any]], answers: list[Answers]) -> None:

    if answers[0].questions() != answers[1].questions():
        raise EvaluationError(
            f'A answered {len(answers[0])} questions about {contents[0]["data"]}, B '
            f'{len(answers[1])} about {contents[1]["data"]}: expected the same questions: '
            'evaluate both with the same options (and policies of the same action scale)'
        )


def _figures(first: Answers, second: Answers) -> dict[str, dict[str, Any]]:

    def both(one: Mapping[str, Measure], other: Mapping[str, Measure]) -> dict[str, Any]:
        return {
            name: _row(measure.value, other[name].value, difference(measure, other[name]))
            | {'better': measure.better}
            for name, measure in one.items()
        }

    def heard(answers: Answers) -> dict[str, Measure]:
        found = grounding.measures(answers)
        score = found.pop('score')
        # Scores spread over powers of ten.
        log = Measure(score.sums, lambda sums: np.log10(score.of(sums)), score.better)
        return {'score, log10': log, **found}

    found = both(metrics.measures(first), metrics.measures(second))
    # It belongs to the questions, which are the same.
    del found['target_coverage']
    return found | both(heard(first), heard(second))


def _closed_loop(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the episodes that both drove, by category."""
    outcomes = [
        {
            (drive['category'], drive['seed'], drive['text']): bool(drive['success'])
            for drive in content.get('closed_loop', {'drives': []})['drives']
        }
        for content in (first, second)
    ]
    figures = {}
    if bool(outcomes[0]) != bool(outcomes[1]):
        raise EvaluationError(
            'only one of A and B drove episodes: expected both or neither: evaluate both with the '
            'same --episodes'
        )
    shared = sorted(set(outcomes[0]) & set(outcomes[1]))
    for category in dict.fromkeys(key[0] for key in shared):
        keys = [key for key in shared if key[0] == category]
        a, b = (np.array([one[key] for key in keys]) for one in outcomes)
        row = _row(float(a.mean()), float(b.mean()), paired_outcomes(a, b))
        lost, won = int((a & ~b).sum()), int((b & ~a).sum())
        figures[f'closed loop, {category}'] = row | {'better': 1, 'only_a': lost, 'only_b': won}
    return figures


def _row(first: float, second: float, found: Difference) -> dict[str, Any]:
    numbers = asdict(found)
    return {'a': first, 'b': second, 'difference': numbers.pop('value'), **numbers}


def _judged(name: str, figure: Mapping[str, Any], margin: float) -> dict[str, Any]:
    """Say what a deciding rate says, and how many groups would decide it if these do not."""
    if name not in DECIDING:
        return {'verdict': None, 'needed': None}
    value, low, high = figure['difference'], figure['low'], figure['high']
    if low >= -margin:
        return {'verdict': NOT_WORSE, 'needed': None}
    if high < -margin:
        return {'verdict': WORSE, 'needed': None}
    room = abs(value + margin)
    if math.isnan(low) or room < 1e-3:
        return {'verdict': UNDECIDED, 'needed': None}
    half = value - low if value > -margin else high - value
    # Intervals shrink with the root of the number of groups.
    return {'verdict': UNDECIDED, 'needed': math.ceil(figure['groups'] * (half / room) ** 2)}


def _who(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: content.get(key) for key in ('policy', 'model_id', 'model_sha256', 'blind')}


def _table(content: Mapping[str, Any]) -> Table:

    names = {key: label.name for key, label in {**METRICS, **GROUNDING}.items()}
    names |= {
        'closed loop, go_to': 'closed-loop success',
        'score, log10': 'grounding score, log10',
    }
    names['closed loop, relations'] = '… named by a relation'
    arrows = {1: '↑', -1: '↓', 0: ''}
    who = [
        f'{side["policy"]}{" (blind)" if side["blind"] else ""}'
        for side in (content['a'], content['b'])
    ]
    table = Table(title=f'A: {who[0]}\nB: {who[1]}\non {content["data"]}')
    table.add_column('figure')
    table.add_column('')
    for column in ('A', 'B', 'B − A', '95 % interval', 'p'):
        table.add_column(column, justify='right')
    table.add_column('B is')
    colours = {WORSE: 'bold red', UNDECIDED: 'yellow', NOT_WORSE: 'green'}
    for key, figure in content['figures'].items():
        verdict = figure['verdict'] or ''
        numbers = (number(figure[k]) for k in ('a', 'b', 'difference'))
        p = figure['p']
        table.add_row(
            *(names.get(key, key), arrows[figure['better']], *numbers, interval(figure)),
            *('–' if p is None else f'{p:.3f}' if p >= 0.001 else '< 0.001', verdict),
            style=colours.get(verdict, ''),
        )
    return table
