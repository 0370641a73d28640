"""`vla-learn compare`: what an engineer's CI sees."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

pytest.importorskip('scipy')

from vla_core.errors import ConfigError
from vla_core.policy import native_spec
from vla_learning import compare as module
from vla_learning.answers import EvaluationError, join, Kind
from vla_learning.compare import command, Compare, compare, NOT_WORSE, UNDECIDED, WORSE
from vla_learning.drives import Drive
from vla_learning.offline import FILE_NAME, judge, plain

AXES = 7


def evaluation(folder, noise, layouts=40, reached=None, first_layout=0):
    """An evaluation of a policy that answers with so much noise, and reaches what is listed."""
    spec = native_spec('x')
    rows = []
    shared, own = np.random.default_rng(0), np.random.default_rng(round(1e4 * noise) + 1)
    for layout in range(first_layout, first_layout + layouts):
        target = shared.uniform(-0.8, 0.8, (3, 1, AXES))
        for meaning in range(3):
            for wording in range(2):
                answer = target[meaning] + own.normal(scale=noise, size=(1, AXES))
                rows.append(
                    {
                        'group': layout,
                        'scene': layout,
                        'kind': Kind.INSTRUCTION,
                        'meaning': meaning,
                        'topic': '',
                        'text': f'{meaning} {wording}',
                        'predicted': answer,
                        'target': target[meaning],
                        'seconds': 0.01,
                        'done': 0.0,
                        'refused': False,
                        'valid': np.ones((1, AXES), bool),
                        'moving': np.ones(AXES, bool),
                    }
                )
    answers = join(rows)
    content = {'policy': folder.name, 'data': f'{layouts} layouts', **judge(answers, spec)}
    if reached is not None:
        drives = [
            Drive(
                *('go_to', seed, 0, 'go', bool(hit), False, bool(hit), 0.2, 9.0),
                poses=((0.0, 0.0, 0.0),),
            ).plain()
            for seed, hit in enumerate(reached)
        ]
        content['closed_loop'] = {'drives': drives}
    folder.mkdir()
    answers.save(folder)
    (folder / FILE_NAME).write_text(json.dumps(plain(content)))
    return str(folder)


def run(tmp_path, first, second, **options):
    chosen = Compare(first, second, tmp_path / 'out', **options)
    return command(chosen), json.loads((tmp_path / 'out' / module.COMPARISON_NAME).read_text())


def test_a_policy_is_not_worse_than_itself(tmp_path):
    same = evaluation(tmp_path / 'a', 0.03)
    status, content = run(tmp_path, same, same, prove=True)
    assert status == 0
    assert content['outcome'] == NOT_WORSE
    assert content['figures']['mse']['difference'] == 0.0
    assert content['figures']['mse']['p'] == 1.0


def test_a_worse_policy_fails_and_a_better_one_passes(tmp_path):
    good, bad = evaluation(tmp_path / 'a', 0.02), evaluation(tmp_path / 'b', 0.06)
    status, content = run(tmp_path, good, bad)
    assert status == 1
    assert content['figures']['success']['verdict'] == WORSE
    assert content['figures']['mae']['difference'] > 0
    assert content['figures']['mae']['p'] < 0.01
    assert content['figures']['score, log10']['difference'] < 0
    assert run(tmp_path, bad, good, prove=True)[0] == 0
    # Worse, but not beyond what is allowed.
    assert run(tmp_path, good, bad, margin=0.99)[0] == 0


def test_too_few_episodes_are_undecided_and_prove_nothing(tmp_path, capsys):
    first = evaluation(tmp_path / 'a', 0.02, reached=[1] * 9 + [0])
    second = evaluation(tmp_path / 'b', 0.02, reached=[1] * 8 + [0, 1])
    status, content = run(tmp_path, first, second)
    loop = content['figures']['closed loop, go_to']
    assert (loop['only_a'], loop['only_b'], loop['p']) == (1, 1, 1.0)
    assert loop['verdict'] == content['outcome'] == UNDECIDED
    assert loop['needed'] > 10
    assert status == 0
    assert f'about {loop["needed"]} layouts or episodes' in capsys.readouterr().out
    assert run(tmp_path, first, second, prove=True)[0] == 1


def test_lost_episodes_count_even_if_single_actions_are_as_good(tmp_path):
    first = evaluation(tmp_path / 'a', 0.02, reached=[1] * 60)
    second = evaluation(tmp_path / 'b', 0.02, reached=[1] * 40 + [0] * 20)
    status, content = run(tmp_path, first, second)
    assert status == 1
    assert content['figures']['closed loop, go_to']['verdict'] == WORSE
    assert content['figures']['success']['verdict'] == NOT_WORSE


def test_only_shared_episodes_are_compared(tmp_path):
    first = evaluation(tmp_path / 'a', 0.02, reached=[1] * 30)
    second = evaluation(tmp_path / 'b', 0.02, reached=[1] * 20)
    assert run(tmp_path, first, second)[1]['figures']['closed loop, go_to']['groups'] == 20


def test_one_that_did_not_drive_is_not_compared_with_one_that_did(tmp_path):
    first = evaluation(tmp_path / 'a', 0.02, reached=[1] * 30)
    alone = evaluation(tmp_path / 'b', 0.02)
    for pair in ((first, alone), (alone, first)):
        with pytest.raises(EvaluationError, match='only one of A and B drove'):
            run(tmp_path, *pair)
    assert 'closed loop, go_to' not in run(tmp_path, alone, alone)[1]['figures']


def test_policies_are_evaluated_when_they_were_not_yet(tmp_path, monkeypatch):
    ready = evaluation(tmp_path / 'a', 0.02)
    asked = []

    def evaluate(options):
        asked.append(options)
        evaluation(options.out, 0.02)

    monkeypatch.setattr(module, 'evaluate', evaluate)
    (tmp_path / 'out').mkdir()
    status, _ = run(tmp_path, ready, 'some/checkpoint', layouts=7, seed=500_100)
    assert status == 0
    assert [(o.checkpoint, o.out.name, o.layouts, o.seed) for o in asked] == [
        ('some/checkpoint', 'b', 7, 500_100)
    ]


def test_other_questions_cannot_be_compared(tmp_path):
    first = evaluation(tmp_path / 'a', 0.02, layouts=10)
    second = evaluation(tmp_path / 'b', 0.02, layouts=11)
    with pytest.raises(EvaluationError, match='A answered 60 questions about 10 layouts, B 66'):
        compare(Compare(first, second, tmp_path / 'out'))
    assert not (tmp_path / 'out').exists()


def test_bad_margins_and_damaged_evaluations_are_named(tmp_path):
    folder = evaluation(tmp_path / 'a', 0.02, layouts=3)
    for margin in (-0.1, 1.0, float('nan')):
        with pytest.raises(ConfigError, match='margin'):
            compare(Compare(folder, folder, tmp_path / 'out', margin=margin))
    (tmp_path / 'a' / FILE_NAME).write_text('[1]')
    with pytest.raises(EvaluationError, match='expected what `vla-learn evaluate` wrote'):
        compare(Compare(folder, folder, tmp_path / 'out'))


def test_the_table_says_who_and_how_sure(tmp_path):
    first, second = evaluation(tmp_path / 'a', 0.02), evaluation(tmp_path / 'b', 0.06)
    stream = io.StringIO()
    Console(file=stream, width=130).print(module._table(run(tmp_path, first, second)[1]))
    text = stream.getvalue()
    for words in ('A: a', 'B: b', 'right actions', 'B − A', '< 0.001', 'worse'):
        assert words in text
