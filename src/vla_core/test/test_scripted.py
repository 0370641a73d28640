"""The scripted policy on painted pictures; that it drives is shown in the simulator's tests."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from vla_core.errors import ObservationError
from vla_core.policy import create_policy, Policy, policy_names
from vla_core.scripted import find_blobs, parse, ScriptedPolicy
from vla_core.types import Intent, Language, Observation

COLOURS = {
    'red': (219, 13, 18),
    'green': (20, 158, 36),
    'blue': (15, 56, 230),
    'yellow': (242, 219, 15),
    'purple': (133, 26, 184),
    'orange': (255, 107, 5),
}


def picture(*blobs, light=1.0):
    """Paint (colour, shape, centre column, size in px) on a grey room."""
    image = np.full((96, 192, 3), 140, np.uint8)
    rows, columns = np.mgrid[:96, :192]
    for colour, shape, column, size in blobs:
        if shape == 'ball':
            inside = np.hypot(rows - 60, columns - column) <= size / 2
        else:
            half_width = size / 2 if shape == 'box' else size / 4
            inside = (abs(columns - column) <= half_width) & (abs(rows - 60) <= size / 2)
        image[inside] = np.array(COLOURS[colour]) * light
    return image


def act(image, text, policy=None, language=None):
    policy = policy or ScriptedPolicy()
    prediction = policy.infer(Observation({'front': image}, 0), language or policy.encode(text))
    assert prediction.actions.shape == (8, 7)
    return prediction.actions[0, 0], prediction.actions[0, 5], prediction.done


@pytest.mark.parametrize('light', [0.4, 1.0])
@pytest.mark.parametrize('colour', COLOURS)
def test_finds_only_the_colour_that_is_asked_for(colour, light):
    image = picture((colour, 'box', 90, 20), light=light)
    (blob,) = find_blobs(image, colour)
    assert abs((blob.left + blob.right) / 2 - 90) <= 1
    assert all(not find_blobs(image, other) for other in COLOURS if other != colour)


@pytest.mark.parametrize('shape', ['box', 'ball', 'cylinder'])
def test_guesses_the_shape(shape):
    (blob,) = find_blobs(picture(('blue', shape, 60, 30)), 'blue')
    assert blob.shape == shape


def test_turns_to_the_named_object_among_look_alikes():
    image = picture(('red', 'box', 30, 24), ('red', 'ball', 95, 24), ('blue', 'box', 160, 24))
    assert act(image, 'go to the red box')[1] > 0.3
    assert abs(act(image, 'go to the red ball')[1]) < 0.1
    assert act(image, 'find the blue box')[1] < -0.3


def test_searches_to_the_left_for_what_it_does_not_see():
    speed, turn_rate, done = act(picture(('red', 'ball', 95, 24)), 'go to the red box')
    assert speed == 0.0
    assert turn_rate > 0.5
    assert done == 0.0


def test_is_done_when_near():
    policy = ScriptedPolicy()
    language = policy.encode('drive to the green ball')
    far = act(picture(('green', 'ball', 95, 40)), '', policy, language)
    assert far[0] > 0.2
    assert far[2] == 0.0
    for size in (56, 74, 90):
        near = act(picture(('green', 'ball', 95, size)), '', policy, language)
    assert near == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ('text', 'speed', 'turn_rate'),
    [
        ('Move forward', 0.3, 0.0),
        ('move back', -0.3, 0.0),
        ('turn left', 0.0, 0.6),
        ('Please turn right!', 0.0, -0.6),
    ],
)
def test_moves_as_told(text, speed, turn_rate):
    assert act(picture(), text) == (speed, turn_rate, 0.0)


@pytest.mark.parametrize(
    'text', ['Go to the red box', 'find a blue sphere', 'drive to orange cube.']
)
def test_goals_are_understood(text):
    assert parse(text)[0] is Intent.GOAL


@pytest.mark.parametrize(
    'text',
    ['sing', 'go to the grey box', 'do not go to the red box', 'go', 'turn up', '!', 'go box red'],
)
def test_other_texts_are_refused(text):
    assert parse(text) == (Intent.REFUSED, None)


@given(st.text(max_size=80))
def test_no_text_raises(text):
    assert parse(text)[0] in Intent


@given(st.integers(0, 2**32 - 1), st.sampled_from(list(COLOURS)))
def test_noise_never_asks_for_more_than_the_model_range(seed, colour):
    image = np.random.default_rng(seed).integers(0, 256, (96, 192, 3), dtype=np.uint8)
    speed, turn_rate, _ = act(image, f'go to the {colour} box')
    assert abs(speed) <= 1.0
    assert abs(turn_rate) <= 1.0


def test_wrong_picture_is_refused():
    policy = ScriptedPolicy()
    with pytest.raises(ObservationError, match='192x96'):
        policy.infer(
            Observation({'front': np.zeros((96, 96, 3), np.uint8)}, 0),
            Language('x', Intent.REFUSED),
        )


@pytest.mark.parametrize('name', ['hold', 'scripted'])
def test_built_in_policies_are_found_by_name(name):
    assert name in policy_names()
    policy = create_policy(name, None)
    assert isinstance(policy, Policy)
    assert policy.spec.model_id == name
