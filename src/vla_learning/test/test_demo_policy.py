"""Does the shipped policy listen? The same picture, other words, another behaviour."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vla_core.preprocess import resize
from vla_core.types import Intent, NATIVE_AXES, Observation
from vla_inference.onnx_policy import OnnxPolicy
from vla_learning.sim.wording import MOTIONS, SPOKEN_MOTIONS, TRAIN_MOTIONS
from vla_sim.arena import Arena
from vla_sim.expert import MOTIONS as MOTION_SPEEDS
from vla_sim.layout import sample_layout, SceneObject, SIZES

DEMO = Path(__file__).parents[2] / 'vla_bringup' / 'checkpoints' / 'demo'
TURN = NATIVE_AXES.index('angular.z')
FORWARD = NATIVE_AXES.index('linear.x')


@pytest.fixture(scope='module')
def policy():
    return OnnxPolicy(DEMO)


@pytest.fixture(scope='module')
def arena():
    arena = Arena()
    yield arena
    arena.close()


def picture(arena, policy, *things):
    """Picture from the origin, looking along x, of (colour, shape, x, y)."""
    objects = tuple(
        SceneObject(colour, shape, x, y, 0.3, SIZES[shape]) for colour, shape, x, y in things
    )
    layout = replace(sample_layout(5), objects=objects, target=0, start=(0.0, 0.0, 0.0))
    arena.reset(layout)
    return Observation({'front': resize(arena.render(), policy.spec.cameras[0])}, 0)


def step(policy, observation, text):
    return policy.infer(observation, policy.encode(text)).actions[0]


PAIRS = [
    (('red', 'box'), ('blue', 'ball')),
    (('green', 'cylinder'), ('yellow', 'box')),
    (('purple', 'ball'), ('orange', 'cylinder')),
    (('red', 'box'), ('red', 'ball')),
    (('blue', 'ball'), ('green', 'ball')),
]


@pytest.mark.parametrize(('left', 'right'), PAIRS)
def test_turns_to_the_named_one_of_two(arena, policy, left, right):
    seen = picture(arena, policy, (*left, 1.6, 0.6), (*right, 1.6, -0.6))
    to_left = step(policy, seen, f'go to the {left[0]} {left[1]}')
    to_right = step(policy, seen, f'go to the {right[0]} {right[1]}')
    assert to_left[TURN] > 0.2
    assert to_right[TURN] < -0.2


@pytest.mark.parametrize(('left', 'right'), PAIRS)
def test_words_of_another_instruction_bring_its_behaviour(arena, policy, left, right):
    seen = picture(arena, policy, (*left, 1.6, 0.6), (*right, 1.6, -0.6))
    one = policy.encode(f'go to the {left[0]} {left[1]}')
    other = policy.encode(f'find the {right[0]} {right[1]}')
    exchanged = replace(one, features=other.features)
    np.testing.assert_array_equal(
        policy.infer(seen, exchanged).actions, policy.infer(seen, other).actions
    )


def test_attention_of_the_grounded_heads_is_on_the_named_object(arena, policy):
    seen = picture(arena, policy, ('red', 'box', 1.6, 0.6), ('blue', 'ball', 1.6, -0.6))
    columns = np.arange(24)
    middles = []
    for text in ('go to the red box', 'go to the blue ball'):
        step(policy, seen, text)
        heat = policy.attention[:2, 1:].mean(axis=0).reshape(-1, 24).sum(axis=0)
        middles.append(float((heat * columns).sum() / heat.sum()))
    assert middles[0] < 10
    assert middles[1] > 13


def test_drives_to_what_is_ahead_and_stops_close_to_it(arena, policy):
    far = picture(arena, policy, ('green', 'ball', 1.8, 0.0), ('red', 'box', -2.0, 0.0))
    assert step(policy, far, 'drive to the green sphere')[FORWARD] > 0.2
    near = picture(arena, policy, ('green', 'ball', 0.52, 0.0), ('red', 'box', -2.0, 0.0))
    assert policy.infer(near, policy.encode('drive to the green sphere')).done > 0.5
    assert policy.infer(near, policy.encode('drive to the red box')).done < 0.5


def test_no_motion_that_is_accepted_drives_another_way(arena, policy):
    """What the network mistakes ("astern", "turn right now") it refuses."""
    seen = picture(arena, policy, ('red', 'box', 1.6, 0.6), ('blue', 'ball', 1.6, -0.6))
    wrong, refused = [], []
    for motion in MOTIONS:
        texts = (*TRAIN_MOTIONS[motion], *SPOKEN_MOTIONS[motion][::3])
        for text in (*texts, *(f'{text} now' for text in texts)):
            language = policy.encode(text)
            if language.intent is Intent.REFUSED:
                refused.append(text)
            else:
                found = policy.infer(seen, language).actions[0][[FORWARD, TURN]]
                if (np.abs(found - MOTION_SPEEDS[motion]) > (0.15, 0.4)).any():
                    wrong.append((text, found.tolist()))
    assert not wrong
    assert 'turn right now' in refused
    assert policy.encode('astern').intent is Intent.REFUSED
    assert len(refused) < 80
