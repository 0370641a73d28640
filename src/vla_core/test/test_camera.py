"""Which frames get through, and what is counted of the others."""

import math

import numpy as np
import pytest

from vla_core.camera import CameraConfig, FrameGate, UnusableFrame
from vla_core.errors import ObservationError
from vla_core.preprocess import resize
from vla_core.types import CameraSlot

SLOT = CameraSlot('front', 16, 8, 'crop')
PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def gate() -> FrameGate:
    return FrameGate(CameraConfig(checkpoint='hold', robot='sim'), SLOT, max_age=0.6)


def refuse() -> np.ndarray:
    raise ObservationError('step 3: expected 12')


def test_a_usable_frame_is_resized_and_counted() -> None:
    frames = gate()
    pixels, size, thawed = frames.admit(lambda: PICTURE, 0.01, 1.0)
    assert np.array_equal(pixels, resize(PICTURE, SLOT))
    assert size == (64, 48)
    assert not thawed
    assert (frames.progress, frames.errors_total, frames.consecutive_errors) == (1, 0, 0)


def test_one_good_frame_ends_a_row_of_errors() -> None:
    frames = gate()
    for number in range(1, 4):
        with pytest.raises(ObservationError):
            frames.admit(refuse, 0.01, 1.0)
        assert frames.consecutive_errors == frames.errors_total == number
    assert frames.detail == 'step 3: expected 12'
    frames.admit(lambda: PICTURE, 0.01, 1.0)
    assert (frames.errors_total, frames.consecutive_errors, frames.detail) == (3, 0, '')


@pytest.mark.parametrize('age', [-3600.0, -0.051, 0.601, 3600.0, math.inf])
def test_wrong_stamps_are_dropped_without_a_row_of_errors(age: float) -> None:
    frames = gate()
    with pytest.raises(UnusableFrame, match='expected'):
        frames.admit(lambda: PICTURE, age, 1.0)
    assert (frames.errors_total, frames.consecutive_errors) == (1, 0)


@pytest.mark.parametrize('age', [-0.05, 0.0, 0.6, math.nan])
def test_plausible_and_unjudged_stamps_pass(age: float) -> None:
    assert gate().admit(lambda: PICTURE, age, 1.0)[0].shape == (8, 16, 3)


@pytest.mark.parametrize('level', [0, 255])
def test_blind_frames_neither_start_nor_end_a_row_of_errors(level: int) -> None:
    frames = gate()
    with pytest.raises(ObservationError):
        frames.admit(refuse, 0.01, 1.0)
    with pytest.raises(UnusableFrame, match='expected a picture'):
        frames.admit(lambda: np.full((48, 64, 3), level, np.uint8), 0.01, 1.0)
    assert (frames.errors_total, frames.consecutive_errors) == (2, 1)


def test_what_spoils_no_picture_is_counted_without_a_row() -> None:
    frames = gate()
    for _ in range(10):
        frames.count(ObservationError('camera matrix'), in_a_row=False)
    assert (frames.errors_total, frames.consecutive_errors) == (10, 0)
    assert frames.detail == 'camera matrix'


def test_a_picture_that_changes_after_having_been_frozen_is_news() -> None:
    frames = gate()
    other = PICTURE[::-1]
    news = [
        frames.admit(lambda shown=shown: shown, 0.01, now)[2]
        for now, shown in ((0.0, PICTURE), (0.6, PICTURE), (0.7, other), (0.8, PICTURE))
    ]
    assert news == [False, False, True, False]


def test_a_dropped_frame_does_not_make_the_picture_look_fresh() -> None:
    frames = gate()
    frames.admit(lambda: PICTURE, 0.01, 0.0)
    with pytest.raises(UnusableFrame):
        frames.admit(lambda: np.zeros((48, 64, 3), np.uint8), 0.01, 0.3)
    frames.admit(lambda: PICTURE, 0.01, 0.6)
    assert frames.unchanged_age == 0.6
