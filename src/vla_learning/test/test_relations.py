import itertools
import random
import subprocess
import sys

import numpy as np
import pytest

from vla_learning.sim.nonsense import EVALUATION_NONSENSE, training_nonsense
from vla_learning.sim.posing import ask, obstructed, question, route
from vla_learning.sim.referents import refer, refer_all, SEARCH, UNCLEAR
from vla_learning.sim.relations import (
    draw_relation,
    held_out_relations,
    Relation,
    RELATION_KINDS,
    RELATIONS,
    training_relations,
)
from vla_learning.sim.views import KINDS, look, View
from vla_learning.sim.wording import keeps_back
from vla_sim.layout import sample_layout

#: Name -> kind, pixels, bearing, gap, height.
THINGS = {
    'ball': (('green', 'ball'), 200, 0.4, 2.0, 0.4),
    'box': (('red', 'box'), 200, 0.0, 1.5, 0.3),
    'other ball': (('blue', 'ball'), 200, -0.4, 1.0, 0.4),
    'far left ball': (('yellow', 'ball'), 200, 0.65, 3.0, 0.4),
    'cylinder': (('blue', 'cylinder'), 200, 0.2, 3.0, 0.5),
    'hidden box': (('red', 'box'), 0, -1.5, 1.5, 0.3),
    'speck': (('orange', 'ball'), 8, -0.2, 3.0, 0.4),
}
LEFT_BALL = Relation('left', '', 'ball', ('red', 'box'))
RIGHT_BALL = Relation('right', '', 'ball', ('red', 'box'))


def see(*names):
    kinds, *rest = zip(*(THINGS[name] for name in names), strict=True)
    numbers = [KINDS.index(kind) for kind in kinds]
    return View(*(np.array([values]) for values in (numbers, *rest)))


@pytest.mark.parametrize(
    ('relation', 'names', 'meant'),
    [
        (LEFT_BALL, ['box', 'ball', 'other ball'], 'ball'),
        (RIGHT_BALL, ['box', 'ball', 'other ball'], 'other ball'),
        # Of two on that side the one beside the anchor.
        (LEFT_BALL, ['far left ball', 'ball', 'box'], 'ball'),
        (LEFT_BALL, ['box', 'other ball'], SEARCH),
        # Its anchor has left the picture: what is driven to was meant.
        (RIGHT_BALL, ['hidden box', 'ball'], 'ball'),
        (LEFT_BALL, ['hidden box', 'far left ball', 'ball'], 'ball'),
        (LEFT_BALL, ['box', 'ball', 'speck'], UNCLEAR),
        (Relation('nearest', '', 'ball'), ['ball', 'other ball'], 'other ball'),
        (Relation('nearest', 'blue', ''), ['ball', 'other ball', 'cylinder'], 'other ball'),
        (Relation('nearest', 'red', ''), ['ball', 'cylinder'], SEARCH),
        (Relation('nearest', '', ''), ['cylinder', 'far left ball'], UNCLEAR),
        (Relation('tall', 'blue', ''), ['other ball', 'cylinder'], 'cylinder'),
        (Relation('tall', '', ''), ['ball', 'box'], 'ball'),
        (Relation('tall', '', ''), ['ball', 'other ball'], UNCLEAR),
    ],
)
def test_a_relation_means_what_the_picture_shows(relation, names, meant):
    answer = refer(relation, see(*names))
    expected = names.index(meant) if isinstance(meant, str) else meant
    assert answer.object[0] == expected


def test_contested_needs_rivals_and_the_anchor():
    assert refer(LEFT_BALL, see('box', 'ball', 'other ball')).contested[0]
    assert not refer(LEFT_BALL, see('box', 'ball')).contested[0]
    assert not refer(LEFT_BALL, see('hidden box', 'ball', 'other ball')).contested[0]
    assert refer(LEFT_BALL, see('ball', 'box')).anchor[0] == 1
    assert refer(LEFT_BALL, see('ball', 'hidden box')).anchor[0] == -1


def test_a_mirror_swaps_sides_and_nothing_else():
    layout = sample_layout(600_010)
    view, _ = look(layout, route(layout, 0)[::5])
    mirror = View(view.kinds, view.pixels, -view.bearing, view.gap, view.height)
    here, there = refer_all(view), refer_all(mirror)
    swap = [RELATIONS.index(relation.mirrored) for relation in RELATIONS]
    np.testing.assert_array_equal(here.object, there.object[:, swap])
    assert {RELATIONS[number].mirrored.mirrored for number in swap} == set(RELATIONS)


@pytest.mark.parametrize('kind', RELATION_KINDS)
def test_questions_are_unambiguous_all_the_way(kind):
    for seed, relation, target in itertools.islice(ask(itertools.count(600_000), kind), 3):
        layout = sample_layout(seed)
        assert relation.kind == kind
        way = route(layout, target)
        view, _ = look(layout, way)
        answers = refer(relation, view)
        assert answers.object[0] == target
        assert answers.contested[0]
        assert set(answers.object.tolist()) <= {target, UNCLEAR}
        assert layout.plan.gaps(way[-1:, :2])[0, target] < 0.35
        again = question(layout, kind, random.Random(f'{kind} {seed}'))
        assert again == (relation, target)


def test_obstacles_stand_in_the_way():
    found = next(seed for seed in itertools.count(600_000) if obstructed(sample_layout(seed)))
    layout = sample_layout(found)
    target = layout.objects[layout.target]
    start = np.array(layout.start[:2])
    way = start + np.linspace(0, 1, 200)[:, None] * (np.array([target.x, target.y]) - start)
    gaps = np.delete(layout.plan.gaps(way), layout.target, axis=1)
    assert gaps.min() < 0.1


def test_wordings_of_training_and_judging_share_nothing():
    trained = {text for text, _ in training_relations(0, 30)}
    held_out = {text for text, _ in held_out_relations()}
    refused = {*EVALUATION_NONSENSE, *training_nonsense(3000)}
    assert len(held_out) > 200
    assert not list(filter(keeps_back(held_out), trained))
    assert not (trained | held_out) & refused
    assert {relation for _, relation in training_relations(0, 6)} == set(RELATIONS)


def test_sentences_name_both_things():
    draw = random.Random(0)
    relation = Relation('left', '', 'ball', ('red', 'cylinder'))
    for held_out in (False, True):
        text = draw_relation(relation, held_out, draw)
        assert 'left' in text
        assert 'red' in text
        assert any(noun in text for noun in ('ball', 'sphere'))
        assert text.index('left') < text.index('red')


def test_words_need_no_numpy():
    code = (
        'import sys; import vla_learning.sim.relations; '
        'sys.exit(any(name in sys.modules for name in ("numpy", "torch")))'
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
