"""Tasks, judgement and figures of the evaluation, without a graph."""

import json
import math
from pathlib import Path
import re
from types import SimpleNamespace

import numpy as np
from PIL import Image
import pytest

from vla_core.errors import ConfigError
from vla_learning.evaluation import episodes
from vla_learning.evaluation.blocks import BLOCK, plan, Settings
from vla_learning.evaluation.episodes import Outcome
from vla_learning.evaluation.report import draw, Results, wilson, write
from vla_learning.evaluation.tasks import (
    BLIND,
    DRIVEN,
    GO_TO,
    HELD_OUT_RELATIONS,
    HELD_OUT_WORDINGS,
    MOTION,
    motion_fulfilled,
    NONSENSE,
    purpose_of,
    RELATIONS,
    SAID,
    SWAPPED,
    task,
    wordings,
)
from vla_learning.sim.relations import RELATION_KINDS
from vla_learning.sim.wording import (
    COLOURS,
    fill,
    HELD_OUT_MOTIONS,
    HELD_OUT_STOP_TEMPLATES,
    HELD_OUT_TEMPLATES,
    MOTIONS,
    NOUNS,
    TRAIN_MOTIONS,
    TRAIN_TEMPLATES,
)
from vla_sim.layout import ARENA_HALF_WIDTH

SEED = 500_000


def outcome(category: str = GO_TO, number: int = 0, **changes) -> Outcome:
    fields = {
        'task': task(category, SEED, number),
        'success': True,
        'wrong_object': False,
        'end': 'DONE',
        'gap': 0.25,
        'seconds': 12.0,
        'digest': f'{category} {number}',
        'poses': ((0.0, 0.0, 0.0), (1.0, 0.5, 0.3)),
    }
    return Outcome(**(fields | changes))


def results(outcomes: list[Outcome]) -> Results:
    return Results(
        policy='demo',
        model_sha256='ab',
        seed=SEED,
        episodes=2,
        outcomes=tuple(outcomes),
        refused={HELD_OUT_WORDINGS: (1, 244), NONSENSE: (97, 100)},
        restarts=0,
        wall_seconds=60.0,
    )


@pytest.mark.parametrize('category', DRIVEN)
def test_task_follows_from_seed_and_number_alone(category):
    assert task(category, SEED, 7) == task(category, SEED, 7)
    assert task(category, SEED, 7).text
    if category != RELATIONS:
        assert task(category, SEED + 3, 4).layout == task(category, SEED, 7).layout


@pytest.mark.parametrize('category', DRIVEN)
def test_half_of_the_wordings_were_never_trained_on(category):
    trained = {
        *(text for texts in TRAIN_MOTIONS.values() for text in texts),
        *(
            fill(template, colour, noun)
            for template in TRAIN_TEMPLATES
            for colour in COLOURS
            for nouns in NOUNS.values()
            for noun in nouns
        ),
    }
    held_out_starts = tuple(text.partition('{')[0] for text in HELD_OUT_TEMPLATES)
    tasks = [task(category, SEED, number) for number in range(16)]
    assert sum(one.held_out for one in tasks) == 8
    for one in tasks:
        if category == RELATIONS:
            assert one.text.startswith(held_out_starts) is one.held_out
        else:
            assert (one.text in trained) is not one.held_out


def test_relations_come_in_turn_and_name_no_object_by_colour_and_shape():
    tasks = [task(RELATIONS, SEED, number) for number in range(8)]
    assert [one.relation for one in tasks] == [*RELATION_KINDS, *RELATION_KINDS]
    for one in tasks:
        item = one.layout.objects[one.target]
        nouns = '|'.join(NOUNS[item.shape])
        assert not re.search(f'{item.colour} ({nouns})', one.text)
    assert len({one.seed for one in tasks if one.relation == tasks[0].relation}) == 2


def test_goal_names_the_target_and_swapped_another_object():
    for number in range(8):
        target = task(GO_TO, SEED, number)
        kind = target.layout.objects[target.target]
        assert target.target == target.layout.target
        assert kind.colour in target.text
        swapped = task(SWAPPED, SEED, number)
        named = [
            index
            for index, item in enumerate(swapped.layout.objects)
            if item.colour in swapped.text and index != swapped.target
        ]
        assert swapped.target == target.target
        assert named


def test_every_motion_is_asked_for_in_both_kinds_of_wording():
    asked = {
        (one.motion, one.held_out) for one in (task(MOTION, SEED, number) for number in range(8))
    }
    assert asked == {(motion, held_out) for motion in MOTIONS for held_out in (False, True)}
    for number in range(8):
        one = task(MOTION, SEED, number)
        assert (one.text in HELD_OUT_MOTIONS[one.motion]) is one.held_out


@pytest.mark.parametrize('number', range(6))
def test_motion_starts_with_free_floor_before_and_behind(number):
    one = task(MOTION, SEED, number)
    x, y, yaw = one.start
    for way in np.linspace(-1.2, 1.2, 49):
        place = np.array([[x + way * math.cos(yaw), y + way * math.sin(yaw)]])
        assert np.abs(place).max() < ARENA_HALF_WIDTH - 0.2
        assert one.layout.plan.gaps(place).min() > 0.0


@pytest.mark.parametrize(
    ('motion', 'forward', 'sideways', 'degrees', 'fulfilled'),
    [
        ('move forward', 0.51, 0.0, 9.0, True),
        ('move forward', 0.49, 0.0, 0.0, False),
        ('move forward', 0.80, 0.0, 11.0, False),
        ('move forward', -0.80, 0.0, 0.0, False),
        ('move back', -0.51, 0.1, -9.0, True),
        ('move back', 0.80, 0.0, 0.0, False),
        ('turn left', 0.1, 0.1, 31.0, True),
        ('turn left', 0.1, 0.1, 29.0, False),
        ('turn left', 0.15, 0.1, 90.0, False),
        ('turn left', 0.0, 0.0, -90.0, False),
        ('turn right', 0.0, 0.0, -31.0, True),
        ('turn right', 0.0, 0.0, 31.0, False),
    ],
)
def test_motion_is_judged_by_odometry(motion, forward, sideways, degrees, fulfilled):
    assert motion_fulfilled(motion, forward, sideways, math.radians(degrees)) is fulfilled


def test_numbers_that_are_not_finite_fulfil_no_motion():
    for motion in MOTIONS:
        assert not motion_fulfilled(motion, math.nan, math.nan, math.nan)


@pytest.mark.parametrize('category', SAID)
def test_wordings_are_all_different(category):
    texts = wordings(category)
    assert len(set(texts)) == len(texts) >= 100


def test_every_wording_that_was_kept_back_is_said():
    said, stops = set(wordings(HELD_OUT_WORDINGS)), set(wordings(HELD_OUT_RELATIONS))
    for texts, templates in ((said, HELD_OUT_TEMPLATES), (stops, HELD_OUT_STOP_TEMPLATES)):
        for template in templates:
            assert any(
                fill(template, colour, noun) in texts
                for nouns in NOUNS.values()
                for noun in nouns
                for colour in COLOURS
            ), template
    assert {text for motion in MOTIONS for text in HELD_OUT_MOTIONS[motion]} <= said


@pytest.mark.parametrize(
    ('first', 'last', 'purpose'),
    [(0, 499_999, 'training'), (500_000, 999_999, 'choosing'), (1_000_000, 10**7, 'judging')],
)
def test_layouts_are_for_one_purpose(first, last, purpose):
    assert f'for {purpose}' in purpose_of(first, last)
    for beyond in ((first - 1, last), (first, last + 1)):
        if beyond[0] >= 0 and beyond[1] <= 10**7:
            with pytest.raises(ConfigError, match='expected all below 500000'):
                purpose_of(*beyond)


def test_blocks_hold_every_episode_once_and_a_long_run_begins_like_a_short_one():
    blocks = plan(25, DRIVEN + SAID)
    for category in DRIVEN:
        numbers = [
            number
            for block in blocks
            if block.category == category
            for number in range(block.first, block.first + block.count)
        ]
        assert numbers == list(range(25))
    assert {block for block in plan(20, DRIVEN + SAID) if block.category in DRIVEN} <= set(blocks)
    assert max(block.count for block in blocks if block.category in DRIVEN) == BLOCK
    assert {block.category for block in plan(5, (GO_TO, NONSENSE))} == {GO_TO, NONSENSE}


def test_settings_come_from_the_environment():
    assert Settings.of({}).seed == 500_000
    assert Settings.of({'FINAL': '1'}).seed == 1_000_001
    assert Settings.of({'FINAL': '0'}).seed == Settings.of({'FINAL': ''}).seed == 500_000
    with pytest.raises(ConfigError, match="FINAL is 'yes'"):
        Settings.of({'FINAL': 'yes'})
    with pytest.raises(ConfigError, match='layouts 999990 to about 1001990'):
        Settings.of({'SEED': '999990'})
    assert Settings.of({'FINAL': '1', 'SEED': '0', 'EPISODES': '3', 'JOBS': '2'}) == Settings(
        3, 0, 2, 'demo'
    )


@pytest.mark.parametrize(
    ('name', 'value'), [('EPISODES', '0'), ('SEED', '-1'), ('JOBS', 'two'), ('EPISODES', '1.5')]
)
def test_wrong_setting_is_named(name, value):
    with pytest.raises(ConfigError, match=f"{name} is '{value}'"):
        Settings.of({name: value})


def test_categories_are_all_unless_they_are_named():
    assert Settings.of({}).categories == DRIVEN + SAID
    assert Settings.of({'CATEGORIES': 'motion go_to'}).categories == (MOTION, GO_TO)
    with pytest.raises(ConfigError, match="CATEGORIES has 'walk'"):
        Settings.of({'CATEGORIES': 'go_to walk'})


def test_wilson_interval_is_the_published_one():
    # Newcombe, Stat. Med. 17, 857 (1998), table I, method 3.
    for counts, expected in (
        ((81, 263), (0.2553, 0.3662)),
        ((15, 148), (0.0624, 0.1605)),
        ((0, 20), (0.0, 0.1611)),
        ((1, 29), (0.0061, 0.1718)),
    ):
        assert wilson(*counts) == pytest.approx(expected, abs=5e-5)


def test_report_has_the_layout_that_was_agreed(tmp_path: Path):
    lost = outcome(number=1, success=False, wrong_object=True, gap=2.0)
    played = [outcome(), lost, outcome(MOTION, 0, gap=math.nan), outcome(SWAPPED)]
    related = [outcome(RELATIONS, 0), outcome(RELATIONS, 4, success=False), outcome(RELATIONS, 3)]
    report = results(played + related)
    write(report, tmp_path / 'evaluate.json')
    content = json.loads((tmp_path / 'evaluate.json').read_text())
    assert content['layout_version'] == 1
    assert content['success'] == {
        'go_to': [1, 2],
        'relations': [2, 3],
        'motion': [1, 1],
        'swapped': [1, 1],
        'blind': [0, 0],
        'wrong_object': [1, 2],
    }
    assert content['refused'] == {HELD_OUT_WORDINGS: [1, 244], NONSENSE: [97, 100]}
    kinds = {'left': [1, 2], 'right': [0, 0], 'nearest': [0, 0], 'tall': [1, 1]}
    assert content['relation_kinds'] == kinds
    seeds = [SEED + 1, related[1].task.seed]
    assert [failure['seed'] for failure in content['failures']] == seeds
    assert content['seeds'] == [SEED, max(SEED + 1, related[1].task.seed)]


def test_picture_shows_the_paths(tmp_path: Path):
    draw(results([outcome(), outcome(number=1)]), tmp_path / 'evaluate.png')
    with Image.open(tmp_path / 'evaluate.png') as picture:
        assert len(picture.convert('RGB').getcolors(1 << 20)) > 10


@pytest.mark.parametrize(
    ('category', 'end', 'success'),
    [
        (GO_TO, 'DONE', True),
        (GO_TO, 'RUNNING', False),
        (SWAPPED, 'RUNNING', True),
        (BLIND, 'RUNNING', True),
        (SWAPPED, 'gate ESTOP', False),
    ],
)
def test_who_is_not_to_end_there_need_not_say_that_it_is_done(category, end, success):
    """A control counts who comes to rest at the object all the same: silence must not hide it."""
    near = SimpleNamespace(gap=lambda index: 0.2, layout=SimpleNamespace(objects=range(3)))
    witness = SimpleNamespace(at_rest=True, seconds=60.0, digest='', poses=[])
    one = task(category, SEED, 0)
    found = episodes._judge(SimpleNamespace(arena=near), one, witness, (0.0, 0.0, 0.0), end)
    assert found.success is success
