"""Figures of an evaluation: JSON, table, picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
import hashlib
import json
import math
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table

from vla_core.machine import describe
from vla_learning.evaluation.episodes import Answer, Outcome, SILENT
from vla_learning.evaluation.tasks import (
    DRIVEN,
    GO_TO,
    HELD_OUT_RELATIONS,
    HELD_OUT_WORDINGS,
    MOTION,
    NONSENSE,
    purpose_of,
    RELATIONS,
)
from vla_learning.sim.relations import RELATION_KINDS
from vla_sim.layout import LAYOUT_VERSION
from vla_sim.picture import draw_map

#: Category of the JSON -> what is wanted of it.
AIMS = {
    'go_to': '≥ 90 %',
    'relations': '≥ 90 %',
    'motion': '100 %',
    'swapped': '≤ 25 %',
    'blind': '≤ 25 %',
    'wrong_object': '≤ 5 %',
}
REFUSAL_AIMS = {HELD_OUT_WORDINGS: '≤ 2 %', HELD_OUT_RELATIONS: '≤ 2 %', NONSENSE: '≥ 95 %'}
_Z = 1.959964
_COLUMNS, _ROWS, _MAP, _LINE = 4, 2, 360, 40

Count = tuple[int, int]


@dataclass(frozen=True)
class Results:
    """Everything that an evaluation found out.

    Attributes:
        policy: checkpoint or built-in policy.
        model_sha256: of its manifest; empty for a built-in policy.
        seed: of the first layout.
        episodes: per category.
        outcomes: of all episodes, in order.
        answers: to all sentences that were only said, in order.
        restarts: graphs that fell silent and were started anew.
        wall_seconds: s.
    """

    policy: str
    model_sha256: str
    seed: int
    episodes: int
    outcomes: tuple[Outcome, ...]
    answers: tuple[Answer, ...]
    restarts: int
    wall_seconds: float

    def of(self, category: str) -> list[Outcome]:
        """Return the episodes of a category."""
        return [outcome for outcome in self.outcomes if outcome.task.category == category]

    @property
    def success(self) -> dict[str, Count]:
        """Category -> successes (for wrong_object: failures of that kind), episodes."""
        counts = {
            category: (sum(outcome.success for outcome in played), len(played))
            for category in DRIVEN
            for played in [self.of(category)]
        }
        went = self.of(GO_TO)
        counts['wrong_object'] = (sum(outcome.wrong_object for outcome in went), len(went))
        return {category: counts[category] for category in AIMS}

    @property
    def refused(self) -> dict[str, Count]:
        """Category -> refused wordings, wordings.

        Sentences of one wording are no independent trials: one that is misunderstood fails it.
        """
        counts = {}
        for category in REFUSAL_AIMS:
            answers = [one for one in self.answers if one.sentence.category == category]
            said = {one.sentence.wording for one in answers}
            failed = {one.sentence.wording for one in answers if misunderstood(one)}
            if said:
                refused = said - failed if category == NONSENSE else failed
                counts[category] = (len(refused), len(said))
        return counts

    @property
    def misunderstood(self) -> dict[str, Count]:
        """Category -> misunderstood sentences, sentences."""
        said = Counter(one.sentence.category for one in self.answers)
        wrong = Counter(one.sentence.category for one in self.answers if misunderstood(one))
        return {category: (wrong[category], count) for category, count in said.items()}

    @property
    def last_seed(self) -> int:
        """Seed of the last layout that was driven in; the first one if none was."""
        return max((outcome.task.seed for outcome in self.outcomes), default=self.seed)


def misunderstood(answer: Answer) -> bool:
    """Say whether nonsense was not refused, or something else was, or nobody answered."""
    return answer.refused is not (answer.sentence.category == NONSENSE)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % interval of a rate (Wilson, J. Am. Stat. Assoc. 22, 209, 1927)."""
    if trials == 0:
        return 0.0, 1.0
    rate, z2 = successes / trials, _Z**2
    centre = rate + z2 / (2 * trials)
    half = _Z * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2))
    scale = 1 + z2 / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def write(results: Results, path: Path) -> None:
    """Write the counts, and what one needs to believe them."""
    success = results.success
    content = {
        'layout_version': LAYOUT_VERSION,
        'success': success,
        'intervals_95': {name: wilson(*count) for name, count in success.items() if count[1]},
        'held_out_templates': _by_wording(results.of(GO_TO)),
        'relation_kinds': _by_kind(results.of(RELATIONS)),
        'refused': results.refused,
        'refused_intervals_95': {name: wilson(*count) for name, count in results.refused.items()},
        'misunderstood': results.misunderstood,
        'misunderstood_texts': [
            one.sentence.text for one in results.answers if misunderstood(one)
        ],
        'policy': results.policy,
        'model_sha256': results.model_sha256,
        'seeds': [results.seed, results.last_seed],
        'purpose': purpose_of(results.seed, results.seed),
        'wall_seconds': round(results.wall_seconds, 1),
        'restarts': results.restarts,
        'decisions_sha256': {category: _digest(results.of(category)) for category in DRIVEN},
        'failures': [_failure(outcome) for outcome in results.outcomes if _unwanted(outcome)],
        'machine': describe(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')


def show(results: Results, console: Console) -> None:
    """Print the table."""
    table = Table(title=f'{results.policy}, layouts {results.seed} to {results.last_seed}')
    for name in ('category', 'k', 'n', 'rate', '95 % interval', 'aim'):
        table.add_column(name, justify='left' if name == 'category' else 'right')
    rows = [(name, *count, AIMS[name]) for name, count in results.success.items()]
    rows += [
        (f'refused: {name.replace("_", " ")}', *count, REFUSAL_AIMS[name])
        for name, count in results.refused.items()
    ]
    for name, successes, trials, aim in rows:
        low, high = wilson(successes, trials)
        table.add_row(
            name,
            str(successes),
            str(trials),
            f'{100 * successes / trials:.1f} %' if trials else '–',
            f'{100 * low:.1f} – {100 * high:.1f} %' if trials else '–',
            aim,
        )
    console.print(table)
    for name, (wrong, said) in results.misunderstood.items():
        console.print(f'{name}: {wrong} of {said} sentences misunderstood; k and n are wordings')
    files = ['build/evaluate.json', *(['build/evaluate.png'] if results.of(GO_TO) else [])]
    console.print(
        f'{results.wall_seconds:.0f} s; graphs started anew: {results.restarts}; '
        f'{", ".join(files)}'
    )


def draw(results: Results, path: Path) -> None:
    """Draw the first "go to" episodes from above; without any no picture of another run stays."""
    shown = results.of(GO_TO)[: _COLUMNS * _ROWS]
    if not shown:
        path.unlink(missing_ok=True)
        return
    rows = math.ceil(len(shown) / _COLUMNS)
    picture = Image.new('RGB', (_COLUMNS * _MAP, rows * (_MAP + _LINE)), 'white')
    pen = ImageDraw.Draw(picture)
    for number, outcome in enumerate(shown):
        left, top = number % _COLUMNS * _MAP, number // _COLUMNS * (_MAP + _LINE)
        drawn = draw_map(outcome.task.layout, outcome.poses, _MAP)
        picture.paste(drawn, (left, top))
        lines = (
            outcome.task.text,
            f'{"reached" if outcome.success else "failed"}: {outcome.end.lower()}, '
            f'gap {outcome.gap:.2f} m, {outcome.seconds:.0f} s',
        )
        for line, text in enumerate(lines):
            at = (left + 6, top + _MAP + 3 + 18 * line)
            pen.text(at, text, fill='#222222', font=ImageFont.load_default(14))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def _by_wording(outcomes: Sequence[Outcome]) -> dict[str, Count]:
    counts = {}
    for name, held_out in (('trained', False), ('held_out', True)):
        chosen = [outcome.success for outcome in outcomes if outcome.task.held_out is held_out]
        counts[name] = (sum(chosen), len(chosen))
    return counts


def _by_kind(outcomes: Sequence[Outcome]) -> dict[str, Count]:
    counts = {}
    for kind in RELATION_KINDS:
        chosen = [outcome.success for outcome in outcomes if outcome.task.relation == kind]
        counts[kind] = (sum(chosen), len(chosen))
    return counts


def _unwanted(outcome: Outcome) -> bool:
    """Say whether a person would look at it: what should fail (swapped, blind) is no failure."""
    asked = outcome.task.category in (GO_TO, RELATIONS, MOTION)
    return outcome.end == SILENT or (asked and not outcome.success)


def _failure(outcome: Outcome) -> dict[str, object]:
    task = outcome.task
    return {
        'category': task.category,
        'seed': task.seed,
        'text': task.text,
        'end': outcome.end,
        'gap': _rounded(outcome.gap, 3),
        'seconds': _rounded(outcome.seconds, 2),
        'wrong_object': outcome.wrong_object,
    }


def _rounded(value: float, digits: int) -> float | None:
    return None if math.isnan(value) else round(value, digits)


def _digest(outcomes: Sequence[Outcome]) -> str:
    return hashlib.sha256(''.join(outcome.digest for outcome in outcomes).encode()).hexdigest()
