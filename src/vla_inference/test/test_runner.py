"""Retry, fallback, conversion to SI: what happens in the worker's thread."""

from dataclasses import replace
import math

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from vla_core.errors import (
    ActionRejected,
    CheckpointError,
    ConfigError,
    ObservationError,
    VlaError,
)
from vla_core.policy import HoldPolicy, native_spec
from vla_core.scripted import ScriptedPolicy
from vla_core.types import Intent, Language, Prediction
from vla_inference.runner import Encode, example, Infer, Runner, to_si

SPEC = replace(native_spec('scaled'), action_scale=(0.5, 1.0, 1.0, 1.0, 1.0, 2.0, 1.0))
BAD = ActionRejected('not finite')


def infer(runner, instruction_id=1):
    return runner.handle(Infer(instruction_id, example(runner.spec)))


@given(st.floats(-10.0, 10.0))
def test_si_is_the_clipped_action_times_its_scale(action):
    data, clipped = to_si(Prediction(np.full((8, 7), action)), SPEC)
    expected = min(max(action, -1.0), 1.0)
    np.testing.assert_array_equal(data[:, 0], expected * 0.5)
    np.testing.assert_array_equal(data[:, 5], expected * 2.0)
    assert clipped == (56 if abs(action) > 1.0 else 0)


@pytest.mark.parametrize('action', [10.001, -1e9, 1e308])
def test_gross_actions_are_rejected(action):
    actions = np.zeros((8, 7))
    actions[3, 2] = action
    with pytest.raises(ActionRejected, match='at most 10'):
        to_si(Prediction(actions), SPEC)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_non_finite_actions_never_get_through(value):
    # A backend may build its own value around the type's check.
    prediction = Prediction(np.zeros((8, 7)))
    prediction.actions[1, 1] = value
    with pytest.raises(ActionRejected):
        to_si(prediction, SPEC)


@pytest.mark.parametrize('shape', [(7, 7), (8, 6), (1, 7), (56, 1)])
def test_actions_must_have_the_promised_shape(shape):
    with pytest.raises(ActionRejected, match='promises'):
        to_si(Prediction(np.zeros(shape)), SPEC)


def test_text_is_encoded_once_for_all_its_frames(fake):
    runner = Runner(fake)
    fake.encoded.clear()
    language = runner.handle(Encode(1, 'go'))
    assert isinstance(language, Language)
    for _ in range(3):
        infer(runner)
    assert fake.encoded == ['go']


def test_second_attempt_cures(fake):
    runner = Runner(fake)
    runner.handle(Encode(1, 'go'))
    fake.next = [BAD]
    assert 'second attempt worked' in infer(runner).cured
    assert infer(runner).cured == ''


def test_failing_twice_is_a_failure_without_a_fallback(fake):
    runner = Runner(fake)
    runner.handle(Encode(1, 'go'))
    fake.next = [BAD, BAD]
    with pytest.raises(ActionRejected):
        infer(runner)


def test_named_fallback_acts_and_is_told_the_text_once(fake):
    runner = Runner(fake, HoldPolicy(native_spec('other')))
    runner.handle(Encode(1, 'go'))
    fake.next = [BAD, BAD]
    actions = infer(runner)
    assert 'fallback acted' in actions.cured
    assert not actions.data[:, :6].any()


@pytest.mark.parametrize('other', ['scripted', 'fake'])
def test_fallback_that_refuses_the_text_is_an_error(fake, other):
    fallback = ScriptedPolicy() if other == 'scripted' else type(fake)()
    runner = Runner(fake, fallback)
    runner.handle(Encode(1, 'go to the red box'))
    fake.next = [BAD, BAD]
    assert 'fallback acted' in infer(runner).cured
    text = 'sing' if other == 'scripted' else 'nothing'
    fallback.encode = lambda text: Language(text, Intent.REFUSED)
    runner.handle(Encode(2, text))
    fake.next = [BAD, BAD] * 2
    for _ in range(2):
        with pytest.raises(VlaError, match='does not understand the text'):
            infer(runner, 2)


def test_policy_that_refuses_the_text_of_the_warm_up_starts(fake):
    encode = fake.encode

    def only_boxes(text):
        language = encode(text)
        return language if 'box' in text else replace(language, intent=Intent.REFUSED)

    fake.encode = only_boxes
    runner = Runner(fake)
    assert fake.seen == []
    runner.handle(Encode(1, 'go to the red box'))
    assert infer(runner).data.any()


def test_wrong_picture_is_not_tried_twice(fake):
    runner = Runner(fake, HoldPolicy(native_spec('other')))
    runner.handle(Encode(1, 'go'))
    fake.next = [ObservationError('black')]
    with pytest.raises(ObservationError):
        infer(runner)
    assert infer(runner).cured == ''


def test_unknown_instruction_is_an_error(fake):
    runner = Runner(fake)
    with pytest.raises(VlaError, match='was not encoded'):
        infer(runner)
    runner.handle(Encode(1, 'go'))
    with pytest.raises(VlaError, match='was not encoded'):
        infer(runner, 2)


def test_failed_encoding_leaves_no_older_language_behind(fake):
    runner = Runner(fake)
    runner.handle(Encode(1, 'go'))
    with pytest.raises(ValueError, match='cannot read'):
        runner.handle(Encode(2, 'fail'))
    with pytest.raises(VlaError):
        infer(runner, 2)
    with pytest.raises(VlaError):
        infer(runner, 1)


def test_warm_up_refuses_a_policy_that_does_not_work(fake):
    fake.next = [Prediction(np.zeros((8, 3)))]
    with pytest.raises(CheckpointError, match='grey picture'):
        Runner(fake)


def test_fallback_of_another_contract_is_refused(fake):
    other = HoldPolicy(replace(native_spec('other'), state_names=('odom.v',)))
    with pytest.raises(ConfigError, match='fallback other: state_names'):
        Runner(fake, other)


def test_blind_run_needs_a_policy_that_can(fake):
    with pytest.raises(ConfigError, match='ablate_language'):
        Runner(fake, ablate_language=True)
    fake.ablate = lambda language: Language(language.text, language.intent, 'mean')
    runner = Runner(fake, ablate_language=True)
    assert runner.handle(Encode(1, 'go')).features == 'mean'


def test_close_releases_both(fake):
    other = type(fake)()
    Runner(fake, other).close()
    assert (fake.closed, other.closed) == (True, True)


def test_gripper_is_a_position_from_open_to_closed():
    """The model's -1, 0, 1 are 0, a half, 1 on the wire; velocities keep their zero."""
    actions = np.zeros((SPEC.horizon, 7))
    actions[0, 6], actions[1, 6] = -1.0, 1.0
    data, _ = to_si(Prediction(actions), SPEC)
    assert data[:3, 6].tolist() == [0.0, 1.0, 0.5]
    assert not data[:, :6].any()
