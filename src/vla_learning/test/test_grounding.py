"""Policies whose understanding is known: what the figures must say about them."""

import itertools
import math
import zlib

import numpy as np
import pytest

pytest.importorskip('scipy')

from scipy import stats

from vla_learning import grounding
from vla_learning.answers import join, Kind
from vla_learning.bootstrap import estimate

OBJECTS = ('red ball', 'red box', 'blue ball', 'blue cylinder')
WORDINGS = 3
AXES = 3


def ask(policy, scenes=60, seed=0):
    """Let `policy(random, target of all objects, object, text)` answer about simulated scenes."""
    random = np.random.default_rng(seed)
    rows = []
    for scene in range(scenes):
        targets = np.zeros((len(OBJECTS), AXES))
        targets[:, 0] = random.uniform(0.0, 0.4, len(OBJECTS))
        targets[:, 2] = random.uniform(-1.0, 1.0, len(OBJECTS))
        valid = np.zeros((1, AXES), bool)
        valid[:, [0, 2]] = True
        common = {
            'group': scene // 2,
            'scene': scene,
            'done': 0.0,
            'seconds': 0.0,
            'refused': False,
        }
        for number, wording in itertools.product(range(len(OBJECTS)), range(WORDINGS)):
            text = f'{scene} wording {wording}: {OBJECTS[number]}'
            rows.append(
                {
                    **common,
                    'kind': Kind.INSTRUCTION,
                    'meaning': number,
                    'topic': OBJECTS[number],
                    'text': text,
                    'target': targets[number][None],
                    'valid': valid,
                    'moving': np.ones(AXES, bool),
                    'predicted': np.clip(policy(random, targets, number, text), -1, 1)[None],
                }
            )
    return join(rows)


def perfect(random, targets, number, text):
    return targets[number]


def nearly_perfect(random, targets, number, text):
    return targets[number] + random.normal(scale=0.05, size=AXES)


def swapped(random, targets, number, text):
    # "red ball" and "blue cylinder" answer for each other, and so do the other two.
    return targets[len(OBJECTS) - 1 - number]


def opposite(random, targets, number, text):
    return targets.mean(axis=0) * 2 - targets[number]


def blind(random, targets, number, text):
    return targets.mean(axis=0)


def noisy_blind(random, targets, number, text):
    return targets.mean(axis=0) + random.normal(scale=0.2, size=AXES)


def wording_only(random, targets, number, text):
    """Every sentence gives another action, whatever it means."""
    return np.random.default_rng(zlib.crc32(text.encode())).uniform(-1, 1, AXES)


def judged(policy, **options):
    found = grounding.measures(ask(policy, **options))
    score, direction = estimate(found['score']), estimate(found['direction'])
    return score, direction, grounding.verdict(score, direction)


def test_perfect():
    score, direction, verdict = judged(perfect)
    assert score.value > 1e4
    assert math.isfinite(score.value)
    assert direction.value == 1.0
    assert direction.low > 0.85
    assert verdict == grounding.FOLLOWS


def test_nearly_perfect():
    score, direction, verdict = judged(nearly_perfect)
    assert 20 < score.value < 200
    assert direction.value > 0.97
    assert verdict == grounding.FOLLOWS


def test_blind_and_deterministic_is_exactly_one():
    score, direction, verdict = judged(blind)
    assert (score.low, score.value, score.high) == (1.0, 1.0, 1.0)
    assert direction.value == 0.5
    assert verdict == grounding.IGNORES


@pytest.mark.parametrize('policy', [noisy_blind, wording_only])
def test_blind_and_noisy_is_about_one(policy):
    score, direction, verdict = judged(policy)
    assert score.value == pytest.approx(1.0, abs=0.08)
    assert score.low < 1.0 < score.high
    assert direction.value == pytest.approx(0.5, abs=0.06)
    assert verdict == grounding.IGNORES


def test_noise_of_rounding_is_no_reaction():
    def rounded(random, targets, number, text):
        return blind(random, targets, number, text) + random.normal(scale=1e-6, size=AXES)

    score, direction, verdict = judged(rounded)
    assert score.value == pytest.approx(1.0, abs=1e-4)
    assert direction.value == 0.5
    assert verdict == grounding.IGNORES


def test_expectation_for_a_noisy_blind_policy_is_one():
    scores = [
        grounding.measures(ask(noisy_blind, scenes=10, seed=seed))['score'].value
        for seed in range(40)
    ]
    assert np.mean(scores) == pytest.approx(1.0, abs=0.03)


def test_opposite_answers_are_reported_as_such():
    score, direction, verdict = judged(opposite)
    assert score.value > 1e3
    assert direction.value == 0.0
    assert verdict == grounding.OPPOSITE


def test_swapped_answers_listen_but_go_wrong():
    score, direction, verdict = judged(swapped)
    assert score.value > 1e4
    assert direction.value < 0.5
    assert verdict in (grounding.OPPOSITE, grounding.WRONG)


def test_unknown_direction_is_not_claimed():
    answers = ask(perfect)
    unknown = type(answers)(**{**vars(answers), 'valid': np.zeros_like(answers.valid)})
    found = grounding.measures(unknown)
    assert 'direction' not in found
    assert grounding.verdict(estimate(found['score']), None) == grounding.REACTS


def test_a_single_layout_is_no_evidence():
    assert judged(nearly_perfect, scenes=2)[2] == grounding.IGNORES


def test_score_against_plain_loops():
    answers = ask(nearly_perfect, scenes=6)
    between, within = [], []
    for i, j in itertools.combinations(range(len(answers)), 2):
        if answers.scene[i] == answers.scene[j]:
            square = sum(
                float(answers.predicted[i, 0, a] - answers.predicted[j, 0, a]) ** 2 for a in (0, 2)
            )
            (within if answers.meaning[i] == answers.meaning[j] else between).append(square)
    expected = (np.mean(between) + 1e-6) / (np.mean(within) + 1e-6)
    assert grounding.measures(answers)['score'].value == pytest.approx(expected, rel=1e-5)


def test_score_is_the_f_ratio_freed_from_the_number_of_wordings(monkeypatch):
    """One scene, one axis: F of the analysis of variance is 1 + K (score - 1)."""
    monkeypatch.setattr(grounding, 'RESOLUTION', 0.0)
    answers = ask(nearly_perfect, scenes=1)
    valid = answers.valid.copy()
    valid[..., 0] = False
    answers = type(answers)(**{**vars(answers), 'valid': valid})
    turns = [answers.predicted[answers.meaning == m, 0, 2] for m in range(len(OBJECTS))]
    f = stats.f_oneway(*turns).statistic
    score = grounding.measures(answers)['score'].value
    assert 1 + WORDINGS * (score - 1) == pytest.approx(f, rel=1e-4)


def test_direction_against_plain_loops():
    answers = ask(noisy_blind, scenes=4)
    hits = []
    for i, j in itertools.combinations(range(len(answers)), 2):
        if answers.scene[i] != answers.scene[j] or answers.meaning[i] == answers.meaning[j]:
            continue
        wanted = [float(answers.target[i, 0, a] - answers.target[j, 0, a]) for a in (0, 2)]
        found = [float(answers.predicted[i, 0, a] - answers.predicted[j, 0, a]) for a in (0, 2)]
        if math.hypot(*wanted) >= 0.2:
            hits.append(wanted[0] * found[0] + wanted[1] * found[1] > 0)
    assert grounding.measures(answers)['direction'].value == pytest.approx(np.mean(hits))


def test_direction_is_told_apart_by_what_differs():
    def colours_only(random, targets, number, text):
        same = [
            n for n, name in enumerate(OBJECTS) if name.split()[0] == OBJECTS[number].split()[0]
        ]
        return targets[same].mean(axis=0)

    found = grounding.measures(ask(colours_only))
    assert found['direction, only the shape differs'].value == 0.5
    assert found['direction, only the colour differs'].value > 0.7
    assert 'direction, both differ' in found


def test_nonsense_should_leave_the_robot_standing():
    rows = []
    for number, (kind, speed, refused) in enumerate(
        [
            (Kind.NONSENSE, 0.5, False),
            (Kind.NONSENSE, 0.5, True),
            (Kind.NONSENSE, 0.01, False),
            (Kind.EMPTY, 0.5, False),
            (Kind.INSTRUCTION, 0.5, False),
            (Kind.INSTRUCTION, 0.5, True),
        ]
    ):
        rows.append(
            {
                'group': number,
                'scene': number,
                'kind': kind,
                'meaning': 0,
                'topic': '',
                'text': 'x',
                'done': 0.0,
                'refused': refused,
                'seconds': 0.0,
                'predicted': np.full((1, AXES), speed),
                'target': np.zeros((1, AXES)),
                'valid': np.zeros((1, AXES), bool),
                'moving': np.ones(AXES, bool),
            }
        )
    for one in rows:
        # A gripper that is open, or closed, is no movement.
        one['moving'] = np.arange(AXES) < AXES - 1
        one['predicted'][0, -1] = -1.0
    found = grounding.measures(join(rows))
    assert found['still_nonsense'].value == pytest.approx(2 / 3)
    assert found['still_empty'].value == 0.0
    assert found['understood'].value == 0.5
