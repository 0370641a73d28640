"""The five figures against plain loops, torchmetrics and hand-made cases."""

import math

import numpy as np
import pytest

pytest.importorskip('scipy')

from vla_core.types import CameraSlot, PolicySpec
from vla_learning.answers import Answers, EvaluationError, join, load
from vla_learning.metrics import axis_measures, measures, step_errors

NAMES = ('linear.x', 'linear.y', 'angular.z')


def row(**changes):
    fields = {
        'group': 0,
        'scene': 0,
        'kind': 0,
        'meaning': 0,
        'topic': 'red box',
        'text': 'go',
        'predicted': np.zeros((2, 3)),
        'done': 0.0,
        'refused': False,
        'seconds': 0.01,
        'target': np.zeros((2, 3)),
        'valid': np.ones((2, 3), bool),
        'moving': np.ones(3, bool),
    }
    return fields | changes


@pytest.fixture
def answers():
    random = np.random.default_rng(0)
    rows = []
    for number in range(120):
        valid = np.ones((2, 3), bool)
        valid[:, 1] = False
        valid[1] &= number % 3 > 0
        target = random.uniform(-1, 1, (2, 3))
        noise = random.normal(scale=0.08, size=(2, 3))
        rows.append(
            row(
                group=number // 8,
                scene=number // 2,
                meaning=number % 2,
                predicted=np.clip(target + noise, -1, 1),
                target=target,
                valid=valid,
            )
        )
    rows.append(row(kind=2, valid=np.zeros((2, 3), bool), predicted=np.ones((2, 3))))
    return join(rows)


@pytest.mark.parametrize('change', [{'refused': True}, {'done': 1.0}])
def test_action_that_no_robot_would_do_is_not_right(change):
    move = np.full((2, 3), 0.5)
    found = measures(join([row(predicted=move, target=move, **change)]))
    assert found['success'].value == 0.0
    assert found['mae'].value == 0.0
    still = measures(join([row(predicted=move, target=0 * move, **change)]))
    assert still['success'].value == 1.0


def pairs(answers):
    """Predicted and target of the first step, the two taught axes, in plain Python."""
    taken = range(len(answers) - 1)
    return [
        ([float(answers.predicted[n, 0, a]) for a in (0, 2)],
         [float(answers.target[n, 0, a]) for a in (0, 2)])
        for n in taken
    ]  # fmt: skip


def test_squared_and_absolute_error(answers):
    found = measures(answers)
    errors = [
        p - t
        for predicted, target in pairs(answers)
        for p, t in zip(predicted, target, strict=True)
    ]
    assert found['mse'].value == pytest.approx(sum(e * e for e in errors) / len(errors))
    assert found['mae'].value == pytest.approx(sum(abs(e) for e in errors) / len(errors))


def test_cosine_and_success(answers):
    found = measures(answers)
    cosines, near = [], 0
    for (px, pz), (tx, tz) in pairs(answers):
        cosines.append((px * tx + pz * tz) / (math.hypot(px, pz) * math.hypot(tx, tz)))
        near += math.hypot(px - tx, pz - tz) < 0.1
    assert found['cosine'].value == pytest.approx(sum(cosines) / len(cosines), rel=1e-5)
    assert found['success'].value == pytest.approx(near / len(cosines))
    assert 0.2 < found['success'].value < 0.8


@pytest.mark.slow  # torchmetrics imports transformers
def test_agrees_with_torchmetrics(answers):
    torch = pytest.importorskip('torch')
    pytest.importorskip('vla_learning.torchvision_beside_cpu')
    torchmetrics = pytest.importorskip('torchmetrics')
    predicted, target = (torch.tensor(part) for part in zip(*pairs(answers), strict=True))
    found = measures(answers)
    for name, metric in (
        ('mse', torchmetrics.MeanSquaredError()),
        ('mae', torchmetrics.MeanAbsoluteError()),
        ('cosine', torchmetrics.CosineSimilarity(reduction='mean')),
    ):
        assert found[name].value == pytest.approx(float(metric(predicted, target)), rel=1e-5)


def test_rest_has_no_direction_but_resting_instead_of_moving_is_wrong():
    move, rest = np.full((2, 3), 0.5), np.zeros((2, 3))
    only_rest = measures(join([row(predicted=move, target=rest)]))
    assert math.isnan(only_rest['cosine'].value)
    lazy = join([row(predicted=rest, target=move), row(predicted=move, target=move)])
    assert measures(lazy)['cosine'].value == pytest.approx(0.5)


def test_coverage_counts_visited_cells():
    def covered(values, name='coverage'):
        rows = [row(predicted=np.full((2, 3), v), target=np.full((2, 3), -v)) for v in values]
        return measures(join(rows))[name].value

    assert covered(np.linspace(-1, 1, 400)) == 1.0
    assert covered([-1.0, 1.0] * 50) == pytest.approx(2 / 20)
    assert covered([0.25] * 10) == pytest.approx(1 / 20)
    assert covered(np.linspace(0, 1, 400), 'target_coverage') == pytest.approx(0.5, abs=0.051)
    # One stray action among a thousand visits nothing.
    assert covered([0.25] * 1000 + [0.99]) == pytest.approx(1 / 20)


def test_errors_per_axis_are_in_its_unit(answers):
    spec = PolicySpec(
        'any',
        (CameraSlot('front', 32, 32, 'pad'),),
        NAMES,
        ('m/s', 'm/s', '1'),
        (2.0, 1.0, 1.0),
        2,
        0.1,
        10.0,
    )
    found = axis_measures(answers, spec)  # the third goes from 0 to 1 where the model has ±1
    assert list(found) == ['linear.x', 'angular.z']
    errors = np.array([[p - t for p, t in zip(*pair, strict=True)] for pair in pairs(answers)])
    for name, column, scale in (('linear.x', 0, 2.0), ('angular.z', 1, 0.5)):
        error = scale * errors[:, column]
        assert found[name]['mae'].value == pytest.approx(np.mean(np.abs(error)))
        assert found[name]['rmse'].value == pytest.approx(math.sqrt(np.mean(error**2)))
        assert found[name]['bias'].value == pytest.approx(np.mean(error), abs=1e-7)


def test_errors_per_step_count_only_what_is_known(answers):
    first, second = step_errors(answers)
    late = [n for n in range(120) if n % 3 > 0]
    expected = np.abs(answers.predicted - answers.target)[late, 1][:, [0, 2]].mean()
    assert second == pytest.approx(expected, rel=1e-5)
    assert first == pytest.approx(measures(answers)['mae'].value, rel=1e-5)


def test_behaviour_is_nothing_when_refused_or_done():
    go = np.full((2, 3), 0.5)
    answers = join(
        [row(predicted=go), row(predicted=go, done=0.9), row(predicted=go, refused=True)]
    )
    assert answers.behaviour[:, 0].tolist() == [0.5, 0.0, 0.0]


def test_a_gripper_counts_in_the_errors_and_in_nothing_else():
    held = {'moving': [True, True, False], 'target': np.tile([0.0, 0.0, -1.0], (2, 1))}
    still = measures(join([row(predicted=held['target'], **held) for _ in range(3)]))
    assert still['success'].value == 1.0
    assert still['mae'].value == 0.0
    assert np.isnan(still['cosine'].value), 'a robot that rests has no direction'
    # The same movement; the gripper does the opposite of what was shown.
    go = np.tile([0.5, 0.0, -1.0], (2, 1))
    other = join(
        [row(predicted=go * [1, 1, -1], target=go, moving=held['moving']) for _ in range(3)]
    )
    found = measures(other)
    assert (found['success'].value, found['cosine'].value) == (1.0, pytest.approx(1.0))
    assert found['mae'].value == pytest.approx(2 / 3)
    assert other.behaviour.tolist() == [[0.5, 0.0, 0.0]] * 3


def test_answers_come_back_from_a_file(answers, tmp_path):
    answers.save(tmp_path)
    again = load(tmp_path)
    for name, column in vars(answers).items():
        np.testing.assert_array_equal(getattr(again, name), column)
    assert again.questions() == answers.questions()


def test_questions_differ_when_a_word_or_a_target_does(answers):
    other = Answers(**{**vars(answers), 'target': answers.target + np.float32(1e-3)})
    assert other.questions() != answers.questions()
    same = Answers(**{**vars(answers), 'predicted': -answers.predicted})
    assert same.questions() == answers.questions()


def test_no_answers_and_damaged_files_are_named(tmp_path):
    with pytest.raises(EvaluationError, match='at least one picture'):
        join([])
    with pytest.raises(EvaluationError, match=r'answers\.npz'):
        load(tmp_path)
    (tmp_path / 'answers.npz').write_bytes(b'PK\x03\x04 not really')
    with pytest.raises(EvaluationError, match='expected the answers of'):
        load(tmp_path)
    np.savez(tmp_path / 'answers.npz', group=np.zeros(3))
    with pytest.raises(EvaluationError, match='expected the answers of'):
        load(tmp_path)
