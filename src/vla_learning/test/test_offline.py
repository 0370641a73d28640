"""`vla-learn evaluate`: folder, page and tables, for policies whose figures are known."""

import io
import json
from pathlib import Path
import re

import numpy as np
from PIL import Image
import pytest
from rich.console import Console

pytest.importorskip('scipy')

from vla_core.errors import ConfigError
from vla_core.policy import native_spec
from vla_core.types import CameraSlot, Intent, Language, Prediction
from vla_learning import drives, grounding, offline
from vla_learning.answers import load
from vla_learning.asking import ask_all, Listener, open_policy
from vla_learning.drives import Drive, drive, tasks, worst_first
from vla_learning.evaluation.tasks import GO_TO, purpose_of, SWAPPED, task
from vla_learning.offline import (
    Evaluate,
    evaluate,
    FILE_NAME,
    judge,
    plain,
    REPORT_NAME,
    role_of,
)
from vla_learning.questions import simulated
from vla_learning.report.curves import read_curves
from vla_learning.report.labels import number
from vla_learning.report.pictures import blend, grid
from vla_learning.report.tables import show
from vla_learning.sim import closed_loop
from vla_learning.sim.closed_loop import Ending
from vla_sim.layout import sample_layout

DEMO = Path(__file__).parents[2] / 'vla_bringup' / 'checkpoints' / 'demo'


def driven(number, success, text='go to the <b>red</b> ball'):
    poses = ((0.0, 0.0, 0.0), (0.5, 0.2, 0.3))
    category = 'relations' if number == 3 else 'go_to'
    return Drive(
        *(category, 500_000 + number, 1, text, success, False, success, 0.3, 10.0 + number, poses)
    )


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The shipped policy, two layouts; driving is replaced by what it returns."""
    out = tmp_path_factory.mktemp('evaluation') / 'demo'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            offline, 'drive_all', lambda *args: [driven(n, n % 2 == 0) for n in range(4)]
        )
        evaluate(Evaluate(str(DEMO), out, layouts=2, episodes=4))
    return out


def test_shipped_policy_listens(folder):
    content = json.loads((folder / FILE_NAME).read_text())
    assert content['grounding']['verdict'] == grounding.FOLLOWS
    assert content['grounding']['direction']['value'] > 0.8
    assert content['metrics']['mae']['value'] < 0.1
    assert content['axes']['angular.z']['unit'] == 'rad/s'
    assert set(content['axes']) == {'linear.x', 'angular.z'}
    assert content['latency']['infer']['n'] == content['answers'] == len(load(folder))
    assert len(content['steps']['mae']) == 8


TRAINED = {
    'data': {'sha256': 'ab'},
    'experiment': {'data': {'validation': 0.25, 'gripper': 'open'}, 'train': {'seed': 3}},
}


@pytest.mark.parametrize(
    ('asked', 'sha256', 'role'),
    [
        ({}, 'cd', 'other files than those of its training'),
        ({}, 'ab', 'the policy was trained on them: figures flatter it'),
        ({'validation': 0.25, 'split_seed': 3}, 'ab', 'kept back from its training'),
    ],
)
def test_it_is_said_what_recordings_were_to_the_training(asked, sha256, role):
    assert role_of(Evaluate('x', Path('out'), gripper='open', **asked), sha256, TRAINED) == role


@pytest.mark.parametrize('training', [{}, {'data': None}, {'data': {'sha256': 'ab'}}, {'data': 3}])
def test_of_a_training_that_nobody_tells_nothing_is_said(training):
    assert role_of(Evaluate('x', Path('out')), 'ab', training) == ''


def test_a_gripper_is_judged_the_way_it_was_taught():
    with pytest.raises(ConfigError, match=r"gripper 'closed': .* with 'open': expected the same"):
        role_of(Evaluate('x', Path('out'), gripper='closed'), 'ab', TRAINED)


@pytest.mark.parametrize(
    'asked', [{'validation': 0.5, 'split_seed': 3}, {'validation': 0.25, 'split_seed': 1}]
)
def test_what_was_trained_on_is_not_taken_for_what_was_kept_back(asked):
    with pytest.raises(ConfigError, match=r'validation 0\.25 and seed 3: expected the same'):
        role_of(Evaluate('x', Path('out'), gripper='open', **asked), 'ab', TRAINED)


def test_closed_loop_figures_are_counted(folder):
    loop = json.loads((folder / FILE_NAME).read_text())['closed_loop']
    assert loop['success']['value'] == pytest.approx(2 / 3)
    assert loop['success']['groups'] == 3
    assert loop['success']['low'] < 0.5 < loop['success']['high']
    assert loop['relations']['value'] == 0.0
    assert drives.read(loop['drives']) == [driven(n, n % 2 == 0) for n in range(4)]


def test_page_stands_alone_and_escapes_what_it_is_given(folder):
    page = (folder / REPORT_NAME).read_text()
    assert "default-src 'none'" in page
    sources = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', page)
    assert len(sources) > 10
    assert all(source.startswith('data:image/') for source in sources)
    assert '<script' not in page
    assert '<b>red</b>' not in page
    assert 'go to the &lt;b&gt;red&lt;/b&gt; ball' in page
    for title in ('Does it listen?', 'Where it looks', 'Does it arrive?', 'Per axis'):
        assert title in page
    assert 'How it learned' not in page


def test_attention_is_kept_with_what_was_said(folder):
    with np.load(folder / 'attention.npz') as kept:
        assert kept['attention'].shape == (len(kept['text']), 4, 1 + 72)
        np.testing.assert_allclose(kept['attention'].sum(axis=2), 1.0, atol=1e-4)
        assert all(text for text in kept['text'])


def test_tables_are_printed(folder):
    stream = io.StringIO()
    content = json.loads((folder / FILE_NAME).read_text())
    show(content, Console(file=stream, width=120))
    text = stream.getvalue()
    for words in ('grounding score', 'direction accuracy', 'rad/s', 'p99', 'follows language'):
        assert words in text


def test_tables_show_brackets_as_they_are(folder):
    content = json.loads((folder / FILE_NAME).read_text())
    content |= {'policy': 'mine[/x]', 'data': 'run [/y]'}
    content['axes']['arm[/z]'] = content['axes'].pop('linear.x') | {'unit': '[m]'}
    stream = io.StringIO()
    show(content, Console(file=stream, width=120))
    for words in ('mine[/x] on run [/y]', 'arm[/z]', '[m]'):
        assert words in stream.getvalue()


def test_blind_it_ignores_language():
    policy = open_policy(str(DEMO))
    seeds = range(500_000, 500_002)
    asked = ask_all(Listener(policy, blind=True), simulated(policy.spec, seeds, 3))
    found = judge(asked.answers, policy.spec)['grounding']
    assert found['score']['value'] == pytest.approx(1.0, abs=0.05)
    assert found['verdict'] == grounding.IGNORES


def test_a_policy_by_name_without_attention(tmp_path):
    found = evaluate(Evaluate('hold', tmp_path, layouts=2, episodes=0))
    assert found['grounding']['verdict'] == grounding.IGNORES
    assert found['grounding']['direction']['value'] == 0.5
    assert found['grounding']['still_nonsense']['value'] == 1.0
    assert 'The policy gives no attention' in (tmp_path / REPORT_NAME).read_text()


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'layouts': 0}, 'layouts 0: expected >= 1'),
        ({'episodes': -1}, 'episodes -1: expected >= 0'),
        ({'seed': -5}, 'seed -5'),
        ({'checkpoint': 'nowhere'}, "policy 'nowhere': expected one of"),
    ],
)
def test_bad_options_are_named(tmp_path, changes, words):
    options = {'checkpoint': 'hold', 'out': tmp_path / 'out'} | changes
    with pytest.raises(ConfigError, match=words):
        evaluate(Evaluate(**options))
    assert not (tmp_path / 'out').exists()


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / 'thesis.txt').write_text('precious')
    with pytest.raises(ConfigError, match='holds something else'):
        evaluate(Evaluate('hold', tmp_path))
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match='is a file'):
        evaluate(Evaluate('hold', tmp_path / 'file'))


def test_json_knows_no_nan():
    assert plain({'a': [1.0, float('nan')], 'b': (float('inf'),)}) == {
        'a': [1.0, None],
        'b': [None],
    }


@pytest.mark.parametrize(
    ('options', 'purpose'),
    [
        ({}, 'choosing'),
        ({'seed': 1_000_001}, 'judging'),
        ({'data': DEMO}, ''),
        ({'data': DEMO, 'episodes': 20, 'seed': 1}, 'flatter'),
        ({'layouts': 10, 'seed': 999_950}, 'choosing'),
    ],
)
def test_purpose_is_that_of_all_layouts_that_are_asked_about_and_driven(options, purpose):
    found = offline._purpose(Evaluate(str(DEMO), Path('out'), **options))
    assert purpose in found
    assert bool(purpose) is bool(found)


@pytest.mark.parametrize(
    'options', [{'layouts': 10, 'seed': 999_951}, {'data': DEMO, 'episodes': 9, 'seed': 499_992}]
)
def test_layouts_of_two_purposes_are_refused(options):
    with pytest.raises(ConfigError, match='expected all below 500000'):
        offline._purpose(Evaluate(str(DEMO), Path('out'), **options))


def test_purpose_of_layouts_is_said():
    assert 'flatter' in purpose_of(0, 49)
    assert 'choosing' in purpose_of(500_000, 500_049)
    assert 'judging' in purpose_of(1_000_001, 1_000_050)


class Obedient:
    """Drives ahead for ever, if it is allowed to."""

    def __init__(self, intent):
        self.spec, self.intent = native_spec('obedient'), intent

    def encode(self, text):
        return Language(text, self.intent)

    def infer(self, observation, language):
        return Prediction(np.tile(np.eye(7)[0] * 0.1, (8, 1)), done=0.0)

    def ablate(self, language):
        return language


@pytest.mark.parametrize(
    ('intent', 'blind', 'seconds'),
    [
        (Intent.REFUSED, False, 0.0),
        (Intent.REFUSED, True, 12.0),
        (Intent.MOTION, False, 10.0),
        (Intent.GOAL, False, 12.0),
    ],
)
def test_what_a_robot_would_not_do_does_not_happen_without_ros_either(intent, blind, seconds):
    driver, seen = closed_loop.Driver(Obedient(intent), blind), []
    ending = driver.goal(sample_layout(500_000), 'x', 12.0, lambda *one: seen.append(one))
    driver.close()
    assert not ending.finished
    assert ending.seconds == pytest.approx(seconds, abs=0.15)
    assert seen


class Driver:
    """Goes somewhere in five frames."""

    def __init__(self, gaps, finished=True, blind=False):
        self.gaps, self.finished, self.blind = gaps, finished, blind

    def goal(self, layout, text, limit, record):
        for step in range(5):
            record((0.1 * step, 0.0, 0.0), np.zeros((2, 2, 3), np.uint8))
        gaps = tuple(self.gaps.get(n, 2.0) for n in range(len(layout.objects)))
        return Ending(True, self.finished, 12.0, gaps)


@pytest.mark.parametrize(
    ('category', 'blind', 'near', 'finished', 'success', 'wrong'),
    [
        (GO_TO, False, 'target', True, True, False),
        (GO_TO, False, 'target', False, False, False),
        (GO_TO, False, 'other', True, False, True),
        (GO_TO, False, 'other', False, False, True),
        (GO_TO, False, 'nothing', True, False, False),
        (GO_TO, True, 'target', False, True, False),
        (SWAPPED, False, 'target', False, True, False),
    ],
)
def test_a_drive_is_judged_by_where_it_ends(category, blind, near, finished, success, wrong):
    asked = task(category, 500_000, 3)
    other = (asked.target + 1) % len(asked.layout.objects)
    gaps = {'target': {asked.target: 0.2}, 'other': {other: 0.2}, 'nothing': {}}[near]
    found = drive(Driver(gaps, finished, blind), asked)
    assert (found.success, found.wrong_object) == (success, wrong)
    assert found.poses[0] == (0.0, 0.0, 0.0)
    assert found.poses[-1] == (0.4, 0.0, 0.0)


def test_failures_come_first():
    order = worst_first([driven(0, True), driven(1, False), driven(2, True), driven(3, False)])
    assert [one.seed - 500_000 for one in order] == [3, 1, 2, 0]


@pytest.mark.slow
def test_episodes_in_processes_are_the_same_for_any_number_of_them():
    one = drives.drive_all(str(DEMO), tasks(500_000, 1, 1), 1)
    assert one == drives.drive_all(str(DEMO), tasks(500_000, 1, 1), 2)
    assert all(drive.text and len(drive.poses) > 10 for drive in one)


def test_what_goes_wrong_in_a_process_is_told():
    with pytest.raises(ConfigError, match="policy 'nowhere'"):
        drives.drive_all('nowhere', tasks(500_000, 1, 0), 1)


def test_curves_are_read_from_event_files(tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(tmp_path))
    for step in (1, 2, 3):
        value = Summary.Value(tag='train/loss', simple_value=1 / step)
        idle = Summary.Value(tag='train/ground', simple_value=0.0)
        writer.add_event(Event(step=step, wall_time=0.0, summary=Summary(value=[value, idle])))
    writer.close()
    curves = read_curves(tmp_path)
    assert list(curves) == ['train/loss']
    steps, values = curves['train/loss']
    assert steps == [1, 2, 3]
    assert values == pytest.approx([1, 1 / 2, 1 / 3])
    with pytest.raises(ConfigError, match='expected a training run'):
        read_curves(tmp_path / 'elsewhere')


def test_grids_of_tokens():
    compact = CameraSlot('front', 192, 96, 'crop')
    assert grid(72, compact) == (3, 24)
    assert grid(49, CameraSlot('front', 224, 224, 'crop')) == (7, 7)
    assert grid(50, compact) is None


def test_attention_lights_up_where_it_is():
    frame = np.full((96, 192, 3), 128, np.uint8)
    heat = np.zeros((3, 24))
    heat[1, 20] = 1.0
    lit = np.asarray(blend(frame, heat), float).sum(axis=2)
    row, column = np.unravel_index(lit.argmax(), lit.shape)
    assert 0.3 < row / lit.shape[0] < 0.7
    assert 0.8 < column / lit.shape[1] < 0.92
    assert isinstance(blend(frame, None), Image.Image)


@pytest.mark.parametrize(
    ('value', 'kind', 'text'),
    [
        (None, 'number', '–'),
        (0.9567, 'share', '95.7 %'),
        (0.01234, 'number', '0.0123'),
        (12.3456, 'number', '12.35'),
        (24321.0, 'number', '24\N{NO-BREAK SPACE}321'),
    ],
)
def test_numbers_are_written_for_people(value, kind, text):
    assert number(value, kind) == text
