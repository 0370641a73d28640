"""The one preprocessing: shapes, geometry, and equality to the bit."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from vla_core.errors import ObservationError
from vla_core.preprocess import resize, scale_intrinsics
from vla_core.types import CameraSlot

MODES = ('stretch', 'pad', 'crop')
DEMO = CameraSlot('front', 192, 96, 'crop')
sides = st.integers(1, 96)
slots = st.builds(
    CameraSlot, st.just('front'), st.integers(8, 64), st.integers(8, 64), st.sampled_from(MODES)
)


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@given(sides, sides, slots)
def test_every_image_fills_every_slot(width: int, height: int, slot: CameraSlot) -> None:
    image = noise(width, height)
    before = image.copy()
    resized = resize(image, slot)
    assert resized.shape == (slot.height, slot.width, 3)
    assert resized.dtype == np.uint8
    assert resized.flags.owndata
    assert resized.flags.writeable
    assert np.array_equal(image, before)
    assert np.array_equal(resized, resize(before, slot))


@given(sides, sides, slots, st.tuples(*[st.integers(0, 255)] * 3))
def test_one_colour_stays_that_colour(
    width: int, height: int, slot: CameraSlot, colour: tuple[int, int, int]
) -> None:
    resized = resize(np.full((height, width, 3), colour, np.uint8), slot)
    painted = (resized == colour).all(axis=2)
    if slot.mode == 'pad':
        assert (painted | (resized == 0).all(axis=2)).all()
        assert painted.any()
    else:
        assert painted.all()


@pytest.mark.parametrize('mode', MODES)
def test_an_image_of_the_slots_size_is_unchanged(mode: str) -> None:
    image = noise(40, 24)
    assert np.array_equal(resize(image, CameraSlot('front', 40, 24, mode)), image)


@pytest.mark.parametrize('mode', MODES)
@given(seed=st.integers(0, 99), factor=st.integers(2, 5))
def test_whole_factors_are_the_mean_of_each_block(mode: str, seed: int, factor: int) -> None:
    image = noise(16 * factor, 8 * factor, seed)
    blocks = image.reshape(8, factor, 16, factor, 3).mean(axis=(1, 3))
    resized = resize(image, CameraSlot('front', 16, 8, mode)).astype(float)
    # Pillow rounds after each of its two passes.
    assert np.abs(resized - blocks).max() <= 1.0


def test_crop_takes_the_centre() -> None:
    image = noise(640, 480)
    assert np.array_equal(resize(image, DEMO), resize(image[80:400], DEMO))
    tall = CameraSlot('front', 32, 64, 'crop')
    assert np.array_equal(resize(image, tall), resize(image[:, 200:440], tall))


def test_pad_keeps_everything_and_centres_it() -> None:
    image = np.full((480, 640, 3), 255, np.uint8)
    resized = resize(image, CameraSlot('front', 64, 64, 'pad'))
    assert resized[8:56].min() == 255
    assert resized[:8].max() == resized[56:].max() == 0


def test_views_give_the_bytes_of_their_copies() -> None:
    image = noise(200, 100)
    for view in (image[::-1], image[:, ::2], image[..., ::-1], np.asfortranarray(image)):
        assert np.array_equal(resize(view, DEMO), resize(np.ascontiguousarray(view), DEMO))


@pytest.mark.parametrize(
    ('mode', 'digest'),
    [
        ('stretch', '615725058c055b95'),
        ('pad', 'cbba4d5e860abd11'),
        ('crop', '99371f922c9fdbef'),
    ],
)
def test_the_bytes_are_those_the_checkpoints_were_trained_on(mode: str, digest: str) -> None:
    rows, columns = np.mgrid[0:480, 0:640]
    image = np.stack((rows * columns, rows * 7 + columns, columns * 5 - rows), axis=2)
    resized = resize((image % 256).astype(np.uint8), CameraSlot('front', 192, 96, mode))
    assert hashlib.sha256(resized.tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
    ],
)
def test_what_is_no_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ObservationError, match='expected uint8'):
        resize(image, DEMO)


@given(sides, sides, slots)
def test_the_image_centre_stays_the_principal_point(
    width: int, height: int, slot: CameraSlot
) -> None:
    centred = (50.0, 0.0, (width - 1) / 2, 0.0, 50.0, (height - 1) / 2, 0.0, 0.0, 1.0)
    scaled = scale_intrinsics(centred, width, height, slot)
    # Half a pixel when an odd number of rows or columns is cut or added, scaled with the rest.
    margin = 0.5 * max(1.0, scaled[0] / 50.0, scaled[4] / 50.0) + 1e-9
    assert abs(scaled[2] - (slot.width - 1) / 2) <= margin
    assert abs(scaled[5] - (slot.height - 1) / 2) <= margin
    assert scaled[6:] == (0.0, 0.0, 1.0)


@given(st.integers(0, 63), st.integers(0, 47), st.sampled_from(MODES))
def test_intrinsics_follow_a_point(column: int, row: int, mode: str) -> None:
    slot = CameraSlot('front', 128, 128, mode)
    image = np.zeros((48, 64, 3), np.uint8)
    image[row, column] = 255
    resized = resize(image, slot)[..., 0].astype(float)
    # The point is where a camera of unit focal length and no offset sees this direction.
    scaled = np.reshape(scale_intrinsics((1, 0, 0, 0, 1, 0, 0, 0, 1), 64, 48, slot), (3, 3))
    expected = scaled @ (column, row, 1)
    if resized.sum() == 0:
        assert mode == 'crop'
        assert not 8 <= column < 56
        return
    rows, columns = np.nonzero(resized)
    assert abs(columns.mean() - expected[0]) <= 1.0
    assert abs(rows.mean() - expected[1]) <= 1.0


def test_projection_matrices_are_scaled_like_camera_matrices() -> None:
    k = scale_intrinsics((600, 0, 320, 0, 610, 240, 0, 0, 1), 640, 480, DEMO)
    p = scale_intrinsics((600, 0, 320, 0, 0, 610, 240, 0, 0, 0, 1, 0), 640, 480, DEMO)
    assert [p[i] for i in (0, 1, 2, 4, 5, 6, 8, 9, 10)] == pytest.approx(list(k))
    assert k[0] == pytest.approx(600 * 0.3)
    assert k[4] == pytest.approx(610 * 0.3)


@pytest.mark.parametrize('k', [(1.0,) * 8, (float('nan'),) * 9, (float('inf'),) * 12, ()])
def test_unusable_intrinsics_are_refused(k: tuple[float, ...]) -> None:
    with pytest.raises(ObservationError, match='expected 9 or 12 finite'):
        scale_intrinsics(k, 640, 480, DEMO)


def test_intrinsics_of_no_image_are_refused() -> None:
    with pytest.raises(ObservationError, match='0x480'):
        scale_intrinsics((1.0,) * 9, 0, 480, DEMO)
