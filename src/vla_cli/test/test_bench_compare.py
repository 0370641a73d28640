"""Two files of measurements beside each other, and the files of a folder over time."""

import json
from pathlib import Path

from PIL import Image
import pytest
from rich.console import Console

from vla_cli.bench.command import look
from vla_cli.bench.compare import changes, compare, CompareError, differences, FEWEST, read
from vla_cli.bench.history import files_of, history, lines
from vla_cli.bench.report import Row, write
from vla_core.errors import ConfigError


@pytest.fixture
def file(tmp_path):
    """Write a file of one row, with some facts of its machine changed."""

    def make(name, row, settings=None, **facts):
        path = tmp_path / f'{name}.json'
        write([row] if isinstance(row, Row) else row, settings or {'POLICY': 'demo'}, path)
        if facts:
            content = json.loads(path.read_text())
            content['machine'] |= facts
            path.write_text(json.dumps(content))
        return path

    return make


def many(value, tail=None, count=1000, **fields):
    """A row of equal samples, of which more than a hundredth may be others."""
    samples = [value] * count
    if tail is not None:
        samples[-count // 50 :] = [tail] * (count // 50)
    return Row(fields.pop('name', 'row'), fields.pop('unit', 'ms'), samples, **fields)


def judged(file, old, new, margin=0.2):
    (change,) = changes(read(file('old', old)), read(file('new', new)), margin)
    return change


@pytest.mark.parametrize(
    ('old', 'new', 'worse'),
    [
        (many(1.0), many(1.0), ()),
        (many(1.0), many(1.19), ()),
        (many(1.0), many(0.1), ()),
        (many(1.0), many(1.21), ('p50', 'p99')),
        (many(1.0, 2.0), many(1.0, 3.0), ('p99',)),
        (many(0.0), many(1.0), ('p50', 'p99')),
        (many(1.0), many(0.0), ()),
        (many(100.0, more_is_better=True), many(80.0, more_is_better=True), ('p50',)),
        (many(100.0, more_is_better=True), many(90.0, more_is_better=True), ()),
        (many(100.0, more_is_better=True), many(300.0, more_is_better=True), ()),
    ],
)
def test_what_is_worse_by_more_than_the_margin_is_flagged(file, old, new, worse):
    assert judged(file, old, new).worse == worse


def test_ratio_is_new_by_old_and_unknown_beside_zero(file):
    assert judged(file, many(2.0), many(3.0)).ratios == {'p50': 1.5, 'p99': 1.5}
    assert judged(file, many(0.0), many(3.0)).ratios == {'p50': None, 'p99': None}


@pytest.mark.parametrize('few', ['old', 'new'])
@pytest.mark.parametrize(('figure', 'fewest'), FEWEST.items())
def test_figure_of_few_samples_is_not_judged(file, few, figure, fewest):
    counts = {'old': 1000, 'new': 1000} | {few: fewest - 1}
    change = judged(file, many(1.0, count=counts['old']), many(9.0, count=counts['new']))
    assert figure in change.unjudged
    assert figure not in change.worse
    counts[few] = fewest
    assert figure in judged(file, many(1.0, count=counts['old']), many(9.0, count=fewest)).worse


def test_row_that_gives_no_figure_any_more_is_worse(file):
    change = judged(file, many(1.0), Row('row', 'ms', []))
    assert change.counts == (1000, 0)
    assert change.ratios['p50'] is None
    assert change.worse == ('no sample any more',)
    assert change.unjudged == ('p50', 'p99')


@pytest.mark.parametrize(
    ('old', 'new', 'worse'),
    [
        (1.9, 2.1, ('max <= 2',)),
        (1.9, 2.0, ()),
        (2.1, 2.2, ()),
    ],
)
def test_promise_that_was_kept_and_is_not_any_more_is_worse(file, old, new, worse):
    rows = [Row('row', 'ms', [1.0, last], limits={'max': 2.0}) for last in (old, new)]
    assert judged(file, *rows).worse == worse


@pytest.mark.parametrize(
    ('old', 'new', 'count', 'worse'),
    [
        (19.79, 20.07, 1500, ()),
        (19.0, 20.5, 1500, ('p50 <= 20',)),
        (19.0, 20.5, 4, ()),
    ],
)
def test_promise_that_is_broken_by_a_hair_or_by_few_samples_is_noise(file, old, new, count, worse):
    rows = [Row('row', 'ms', [value] * count, limits={'p50': 20.0}) for value in (old, new)]
    assert judged(file, *rows).worse == worse


def test_ratio_that_was_kept_and_is_not_any_more_is_worse(file):
    limits = {'ratio to seed_way': 0.1}
    rows = [Row('row', 'ms', [1.0], {'seed_way': ratio}, limits=limits) for ratio in (0.1, 0.2)]
    assert judged(file, *rows).worse == ('ratio to seed_way <= 0.1',)


@pytest.mark.parametrize('notes', [{}, {'missing': '0'}, {'missing': None}])
def test_promise_that_was_kept_and_cannot_be_judged_any_more_is_worse(file, notes):
    rows = [
        Row('row', 'ms', [1.0], notes=n, limits={'missing': 0}) for n in ({'missing': 0}, notes)
    ]
    assert judged(file, *rows).worse == ('missing <= 0 is not known any more',)
    assert judged(file, rows[1], rows[1]).worse == ()
    assert judged(file, rows[1], rows[0]).worse == ()


def test_promise_that_is_new_is_said_and_both_are_held_to_it(file, capsys):
    old = file('old', many(3.9))
    good, bad = (
        file(name, many(value, limits={'p50': 4.0}))
        for name, value in (('good', 4.0), ('bad', 4.1))
    )
    assert judged(file, many(3.9), many(4.1, limits={'p50': 4.0})).worse == ('p50 <= 4',)
    assert [compare(old, new, 0.2, Console(width=110)) for new in (good, bad)] == [0, 1]
    assert "row, promised: {} -> {'p50': 4.0}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ('other', 'said'),
    [
        (many(1.0, unit='s'), 'unit ms and s'),
        (many(1.0, more_is_better=True), 'more is better'),
    ],
)
def test_rows_that_mean_different_things_are_not_compared(file, other, said):
    with pytest.raises(CompareError, match=f'row: .*{said}|row: {said}'):
        judged(file, many(1.0), other)


def test_other_machine_and_policy_are_said(file):
    old = read(file('old', many(1.0), {'POLICY': 'demo'}))
    new = read(file('new', many(1.0), {'POLICY': 'hold'}, processor='Abacus', cores=64))
    assert [line.split(':')[0] for line in differences(old, new)] == [
        'processor',
        'cores',
        'POLICY',
    ]
    assert differences(old, old) == []


def test_exit_status_says_whether_something_became_worse(file, capsys):
    old = file('old', [many(1.0), many(1.0, name='gone')])
    same, slow = file('same', many(1.1)), file('slow', many(2.0), load_average=9.0, cores=99)
    console = Console(width=110)
    assert compare(old, same, 0.2, console) == 0
    assert compare(old, slow, 0.2, console) == 1
    assert compare(old, slow, 1.5, console) == 0
    printed = capsys.readouterr().out
    assert printed.count('WORSE: p50, p99') == 1
    assert 'only in the old one: gone' in printed
    assert '-> 99' in printed
    assert printed.count('load average, old: ') == 3


@pytest.mark.parametrize(
    ('row', 'asked', 'status'),
    [
        (many(1.0, name='hop_gate', measurement='graph'), {'graph': 10}, 1),
        (many(1.0, name='hop_gate', measurement='graph'), {'hop': 10}, 0),
        (many(1.0, name='graph_start'), {'graph': 10}, 1),
        (many(1.0, name='graphs'), {'graph': 10}, 0),
        (many(1.0, name='graph_peer'), {'graph': 10}, 0),
        (many(1.0, name='graph_peer'), {'graph': 10, 'peer': 'checkout'}, 1),
    ],
)
def test_row_that_was_asked_for_and_is_gone_is_worse(file, capsys, row, asked, status):
    old = file('old', [many(1.0), row])
    new = file('new', many(1.0), {'POLICY': 'demo', **asked})
    assert compare(old, new, 0.2, Console(width=110)) == status
    assert (
        f'GONE, although its measurement was asked for: {row.name}' in capsys.readouterr().out
    ) is (status == 1)


@pytest.mark.parametrize(
    'text',
    [
        '',
        '[]',
        '{}',
        '{"machine": {}, "settings": {}, "results": 3}',
        '{"machine": {}, "settings": {}, "results": [3]}',
        '{"machine": [], "settings": {}, "results": []}',
        '{"machine": {}, "settings": {}, "results": [{"name": "a"}]}',
        '{"machine": {}, "settings": {}, "results": ' + 100_000 * '[',
        '\xff',
    ],
)
def test_file_that_is_none_of_measurements_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / 'wrong.json'
    path.write_text(text, encoding='latin-1')
    with pytest.raises(CompareError, match=r'wrong\.json: .*expected a file') as refused:
        read(path)
    assert '\n' not in str(refused.value)


@pytest.mark.parametrize(
    'change',
    [
        {'name': 5},
        {'unit': None},
        {'n': -5},
        {'n': 5.0},
        {'n': 0},
        *({figure: wrong} for figure in ('p50', 'max') for wrong in (None, 'x', float('nan'), -5)),
        {'p99': True},
        {'against': 3},
        {'against': {'seed_way': 'x'}},
        {'limits': {'p50': 'x'}},
        {'limits': {'p50': float('nan')}},
        {'notes': []},
        {'load_average': None},
        {'load_average': 'x'},
    ],
    ids=str,
)
def test_row_that_nobody_measured_is_refused_in_one_line(file, change):
    path = file('wrong', many(1.0))
    content = json.loads(path.read_text())
    content['results'][0] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(CompareError, match=r"wrong\.json: row '.*expected a file") as refused:
        read(path)
    assert '\n' not in str(refused.value)


def test_name_that_looks_like_markup_is_printed_as_it_is(file, capsys):
    path = file('odd', many(1.0, name='[/x]'))
    assert compare(path, path, 0.2, Console(width=110)) == 0
    assert '[/x], ms' in capsys.readouterr().out


def test_missing_file_row_twice_and_nothing_in_common_are_refused(file, tmp_path):
    with pytest.raises(CompareError, match='No such file'):
        read(tmp_path / 'missing.json')
    with pytest.raises(CompareError, match='1 rows are there twice'):
        read(file('twice', [many(1.0), many(2.0)]))
    one, other = file('one', many(1.0)), file('other', many(1.0, name='other'))
    with pytest.raises(CompareError, match='no row in common'):
        compare(one, other, 0.2, Console())


@pytest.mark.parametrize('margin', [0.0, -0.1, float('nan'), float('inf')])
def test_margin_that_judges_nothing_is_refused(file, margin):
    path = file('one', many(1.0))
    with pytest.raises(CompareError, match='margin'):
        compare(path, path, margin, Console())


@pytest.mark.parametrize('what', [('compare',), ('compare', 'a'), ('history', 'a', 'b'), ('x',)])
def test_other_words_are_refused(what):
    with pytest.raises(ConfigError, match='expected compare OLD NEW'):
        look(what, 0.2, None)


def test_history_has_one_line_per_machine_in_the_order_of_the_files(file, tmp_path):
    file('2026-01-b', many(2.0, 3.0), processor='B')
    file('2026-01', many(1.0), processor='A')
    file('2026-03', [many(4.0), many(0.0, name='violations')], processor='A')
    files = {path.stem: read(path) for path in files_of(tmp_path)}
    found = {name[0]: points for name, points in lines(files, 'row').items()}
    assert found == {'A': [(0, 1.0, 1.0), (2, 4.0, 4.0)], 'B': [(1, 2.0, 3.0)]}
    picture = tmp_path / 'pictures' / 'history.png'
    assert history(tmp_path, picture) == 0
    with Image.open(picture) as image:
        assert image.width > 500


def test_history_of_nothing_and_of_two_units_is_refused(file, tmp_path):
    with pytest.raises(CompareError, match=r'no \.json'):
        history(tmp_path, tmp_path / 'a.png')
    file('1', many(0.0))
    with pytest.raises(CompareError, match='no row with a figure'):
        history(tmp_path, tmp_path / 'a.png')
    file('2', many(1.0, unit='s'))
    with pytest.raises(CompareError, match='one unit'):
        history(tmp_path, tmp_path / 'a.png')


def test_picture_that_cannot_be_written_is_named(file, tmp_path):
    file('1', many(1.0))
    with pytest.raises(CompareError, match='expected a picture'):
        history(tmp_path, tmp_path / 'a.nonsense')


def test_committed_measurements_can_be_drawn(tmp_path):
    folder = Path(__file__).parents[3] / 'docs' / 'measurements'
    assert history(folder, tmp_path / 'history.png') == 0
