"""Tasks, judgement and figures of the evaluation, without a graph."""

from contextlib import contextmanager
import json
import math
from pathlib import Path
import re
from types import SimpleNamespace

import numpy as np
from PIL import Image
import pytest
from rich.console import Console

from vla_core.errors import ConfigError
from vla_core.session import Fate, MOST_TEXTS
from vla_learning.evaluation import blocks, episodes
from vla_learning.evaluation.blocks import ATTEMPTS, BLOCK, Block, plan, play_block, Settings
from vla_learning.evaluation.episodes import Answer, Outcome, SILENT
from vla_learning.evaluation.report import draw, Results, show, wilson, write
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
    Sentence,
    sentences,
    SWAPPED,
    task,
)
from vla_learning.sim.relations import HELD_OUT_PHRASES, RELATION_KINDS
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
from vla_ros.lockstep import LockstepError, TICK
from vla_sim.layout import ARENA_HALF_WIDTH

SEED, JUDGED = 500_000, 1_000_001


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


def answer(category: str, wording: str, refused: bool | None) -> Answer:
    return Answer(Sentence(category, wording, f'{wording} {refused}'), refused)


def results(outcomes: list[Outcome]) -> Results:
    return Results(
        policy='demo',
        model_sha256='ab',
        seed=SEED,
        episodes=2,
        outcomes=tuple(outcomes),
        answers=(
            *(answer(HELD_OUT_WORDINGS, 'meet', refused) for refused in (False, True, False)),
            *(answer(HELD_OUT_WORDINGS, 'hunt', refused) for refused in (False, False)),
            *(answer(HELD_OUT_RELATIONS, 'left of', refused) for refused in (False, None)),
            *(answer(NONSENSE, text, True) for text in ('uh', 'hmm')),
            *(answer(NONSENSE, 'bake', refused) for refused in (None, False)),
        ),
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


def test_no_two_tasks_of_relations_share_a_layout():
    """Drives of one layout that kinds share are no independent trials."""
    seeds = [task(RELATIONS, JUDGED, number).seed for number in range(24)]
    assert len(set(seeds)) == len(seeds)


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
def test_motion_is_judged_by_way_and_turn(motion, forward, sideways, degrees, fulfilled):
    assert motion_fulfilled(motion, forward, sideways, math.radians(degrees)) is fulfilled


def test_numbers_that_are_not_finite_fulfil_no_motion():
    for motion in MOTIONS:
        assert not motion_fulfilled(motion, math.nan, math.nan, math.nan)


@pytest.mark.parametrize('seed', [SEED, JUDGED])
@pytest.mark.parametrize('category', SAID)
def test_sentences_are_all_different(category, seed):
    texts = [sentence.text for sentence in sentences(category, seed)]
    assert len(set(texts)) == len(texts) >= 100


@pytest.mark.parametrize(
    ('category', 'fewest'), [(HELD_OUT_WORDINGS, 30), (HELD_OUT_RELATIONS, 30), (NONSENSE, 60)]
)
def test_judging_has_wordings_of_its_own(category, fewest):
    judged, chosen = sentences(category, JUDGED), sentences(category, SEED)
    assert len({one.wording for one in judged}) >= fewest
    for field in ('wording', 'text'):
        assert not {getattr(one, field) for one in judged} & {
            getattr(one, field) for one in chosen
        }


def test_every_wording_that_was_kept_back_is_said():
    said = {one.wording for one in sentences(HELD_OUT_WORDINGS, SEED)}
    stops = {one.wording for one in sentences(HELD_OUT_RELATIONS, SEED)}
    motions = {text for motion in MOTIONS for text in HELD_OUT_MOTIONS[motion]}
    assert said == {*HELD_OUT_TEMPLATES, *motions}
    phrases = {phrase for texts in HELD_OUT_PHRASES.values() for phrase in texts}
    assert stops == {*HELD_OUT_STOP_TEMPLATES, *phrases}


def test_every_template_is_said_with_every_colour_and_noun_of_some_object():
    goals = [one for one in sentences(HELD_OUT_WORDINGS, JUDGED) if '{o}' in one.wording]
    for template in {one.wording for one in goals}:
        texts = ' '.join(one.text for one in goals if one.wording == template)
        assert all(colour in texts for colour in COLOURS)
        assert all(noun in texts for nouns in NOUNS.values() for noun in nouns)


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
    blocks = plan(25, DRIVEN + SAID, SEED)
    for category in DRIVEN:
        numbers = [
            number
            for block in blocks
            if block.category == category
            for number in range(block.first, block.first + block.count)
        ]
        assert numbers == list(range(25))
    assert {block for block in plan(20, DRIVEN + SAID, SEED) if block.category in DRIVEN} <= set(
        blocks
    )
    assert max(block.count for block in blocks if block.category in DRIVEN) == BLOCK
    assert {block.category for block in plan(5, (GO_TO, NONSENSE), SEED)} == {GO_TO, NONSENSE}


def test_settings_come_from_the_environment():
    assert Settings.of({}).seed == 500_000
    assert Settings.of({'FINAL': '1'}).seed == 1_000_001
    assert Settings.of({'FINAL': '0'}).seed == Settings.of({'FINAL': ''}).seed == 500_000
    with pytest.raises(ConfigError, match="FINAL is 'yes'"):
        Settings.of({'FINAL': 'yes'})
    with pytest.raises(ConfigError, match='layouts 999990 to about 1007990'):
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
    assert content['refused'] == {
        HELD_OUT_WORDINGS: [1, 2],
        HELD_OUT_RELATIONS: [1, 1],
        NONSENSE: [2, 3],
    }
    assert content['refused_intervals_95'][NONSENSE] == list(wilson(2, 3))
    assert content['misunderstood'] == {
        HELD_OUT_WORDINGS: [1, 5],
        HELD_OUT_RELATIONS: [1, 2],
        NONSENSE: [2, 4],
    }
    assert content['misunderstood_texts'] == [
        'meet True',
        'left of None',
        'bake None',
        'bake False',
    ]
    kinds = {'left': [1, 2], 'right': [0, 0], 'nearest': [0, 0], 'tall': [1, 1]}
    assert content['relation_kinds'] == kinds
    seeds = [SEED + 1, related[1].task.seed]
    assert [failure['seed'] for failure in content['failures']] == seeds
    last = max(one.task.seed for one in played + related)
    assert content['seeds'] == [SEED, last]
    console = Console(width=120)
    with console.capture() as shown:
        show(report, console)
    assert f'layouts {SEED} to {last}' in shown.get()


def test_picture_shows_the_paths(tmp_path: Path):
    draw(results([outcome(), outcome(number=1)]), tmp_path / 'evaluate.png')
    with Image.open(tmp_path / 'evaluate.png') as picture:
        assert len(picture.convert('RGB').getcolors(1 << 20)) > 10
    console = Console(width=120)
    for played, there in (([outcome()], True), ([], False)):
        draw(results(played), tmp_path / 'evaluate.png')
        with console.capture() as shown:
            show(results(played), console)
        assert (tmp_path / 'evaluate.png').exists() == there
        assert ('evaluate.png' in shown.get()) == there


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


class _Arena:
    """A robot whose wheels spin at a wall: it did not move, whatever they count."""

    layout = SimpleNamespace(objects=())
    pose = (1.0, 0.0, 0.0)
    odometry = (1.6, 0.0, 0.0)


def test_motion_is_judged_by_the_truth_and_not_by_the_wheels():
    driver = SimpleNamespace(arena=_Arena(), tick_number=0)
    witness = episodes._Witness(driver)
    one = task(MOTION, SEED, MOTIONS.index('move forward'))
    found = episodes._judge(driver, one, witness, (0.96, 0.0, 0.0), 'RUNNING')
    assert not found.success


class _Graphs:
    """Stands in for graphs; it falls silent in the items of `deadly`, at the start if `dumb`."""

    def __init__(self, monkeypatch, deadly=(), dumb=False):
        self.deadly, self.dumb, self.started, self.played = deadly, dumb, 0, []
        monkeypatch.setattr(blocks, '_arena', lambda: None)
        monkeypatch.setattr(blocks, 'lockstep_graph', self._graph)
        monkeypatch.setattr(blocks, 'make_ready', lambda driver: None)
        monkeypatch.setattr(blocks, 'play', self._play)
        monkeypatch.setattr(blocks, 'hear', self._hear)

    @contextmanager
    def _graph(self, *args):
        self.started += 1
        if self.dumb:
            raise LockstepError('graph is not complete')
        yield SimpleNamespace(reset=lambda layout: None)

    def _play(self, driver, item):
        self.played.append(item)
        if len(self.played) - 1 in self.deadly:
            raise LockstepError('the gate holds the frame of 17.9 s (camera or policy)')
        return Outcome(item, True, False, 'DONE', 0.2, 12.0, '', ())

    def _hear(self, driver, item):
        self._play(driver, item)
        return Answer(item, item.category == NONSENSE)


SETTINGS = Settings(10, SEED, 1, 'demo')


def test_episode_that_silences_the_graph_has_failed_and_is_not_played_again(monkeypatch, tmp_path):
    graphs = _Graphs(monkeypatch, deadly=(3, 9))
    played = play_block(Block(GO_TO, 0, 10), SETTINGS, tmp_path / 'log')
    assert graphs.played == [task(GO_TO, SEED, number) for number in range(10)]
    assert [one.success for one in played.results] == [
        number not in (3, 9) for number in range(10)
    ]
    assert [one.end for one in played.results].count(SILENT) == 2
    assert (graphs.started, played.restarts) == (2, 1)
    assert len((tmp_path / 'log.errors').read_text().splitlines()) == 2


def test_silent_episode_is_reported(monkeypatch, tmp_path):
    _Graphs(monkeypatch, deadly=(0,))
    played = play_block(Block(SWAPPED, 0, 1), SETTINGS, tmp_path / 'log')
    write(results(list(played.results)), tmp_path / 'evaluate.json')
    content = json.loads((tmp_path / 'evaluate.json').read_text(), parse_constant=pytest.fail)
    assert content['success'][SWAPPED] == [0, 1]
    assert [(one['end'], one['gap']) for one in content['failures']] == [(SILENT, None)]
    draw(results([outcome(end=SILENT, gap=math.nan, seconds=math.nan)]), tmp_path / 'one.png')


@pytest.mark.parametrize('category', SAID)
def test_sentence_that_silences_the_graph_is_misunderstood(monkeypatch, tmp_path, category):
    graphs = _Graphs(monkeypatch, deadly=(5,))
    played = play_block(Block(category, 0, 0), SETTINGS, tmp_path / 'log')
    assert [one.sentence for one in played.results] == sentences(category, SEED) == graphs.played
    assert [n for n, one in enumerate(played.results) if one.refused is None] == [5]


def test_graph_that_is_never_ready_fails_no_episode(monkeypatch, tmp_path):
    graphs = _Graphs(monkeypatch, dumb=True)
    with pytest.raises(LockstepError, match='not complete'):
        play_block(Block(GO_TO, 0, 10), SETTINGS, tmp_path / 'log')
    assert graphs.started == ATTEMPTS


def test_sentences_keep_to_the_rate_at_which_the_policy_hears():
    said = []
    driver = SimpleNamespace(
        tick=said.append,
        say=lambda text: said.append(text) or 7,
        status=lambda number: Fate.REFUSED,
    )
    sentence = sentences(NONSENSE, JUDGED)[0]
    assert episodes.hear(driver, sentence) == Answer(sentence, True)
    ticks, text = said
    assert text == sentence.text
    assert ticks * TICK * MOST_TEXTS > 1.0
