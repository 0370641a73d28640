"""Every effect of the randomisation, measured on pictures made for it."""

import colorsys
import math
from pathlib import Path

import numpy as np
from PIL import Image
import pytest

torch = pytest.importorskip('torch')

from scipy import ndimage  # noqa: E402

from vla_core.errors import ConfigError  # noqa: E402
from vla_learning.data.batch import Batch, Scene  # noqa: E402
from vla_learning.randomise import Randomisation, Randomiser  # noqa: E402
from vla_learning.randomise_picture import command, Options  # noqa: E402
from vla_learning.shadows import cover  # noqa: E402

LUMA = np.array([0.299, 0.587, 0.114])


def noise(count: int, height: int = 24, width: int = 48) -> torch.Tensor:
    random = np.random.default_rng(1)
    return torch.from_numpy(random.integers(0, 256, (count, height, width, 3), np.uint8))


def plain(count: int, colour: tuple[int, int, int], size: int = 4) -> torch.Tensor:
    return torch.tensor(colour, dtype=torch.uint8).expand(count, size, size, 3).contiguous()


def only(*names: str, **changes: object) -> Randomiser:
    return Randomiser(Randomisation(**changes).only(*names), 3)


def first_pixels(image: torch.Tensor) -> np.ndarray:
    return image[:, 0, 0].numpy().astype(float)


@pytest.mark.parametrize(
    ('count', 'ratio', 'real'),
    [(16, 0.5, 8), (16, 0.0, 0), (16, 1.0, 16), (5, 0.5, 3), (7, 0.2, 1)],
)
def test_exactly_the_wanted_share_stays_real_to_the_bit(count, ratio, real):
    image = noise(count)
    before = image.clone()
    chosen = set()
    for step in range(10):
        changed = Randomiser(Randomisation(real_ratio=ratio), 3)(image, step)
        same = (changed == image).flatten(1).all(dim=1)
        assert same.sum() == real
        chosen.add(tuple(same.tolist()))
    assert torch.equal(image, before)
    assert len(chosen) > 1 or real in (0, count)


@pytest.mark.parametrize('parts', [2, 4, 16])
def test_processes_see_what_one_process_sees(parts):
    image = noise(16)
    randomiser = Randomiser(Randomisation(), 3)
    whole = randomiser(image, 7)
    shares = [randomiser(image, 7, part, parts) for part, image in enumerate(image.chunk(parts))]
    assert torch.equal(torch.cat(shares), whole)


def test_same_seed_and_step_give_the_same_and_others_do_not():
    image = noise(4)
    first = Randomiser(Randomisation(), 3)(image, 7)
    assert torch.equal(first, Randomiser(Randomisation(), 3)(image, 7))
    assert not torch.equal(first, Randomiser(Randomisation(), 3)(image, 8))
    assert not torch.equal(first, Randomiser(Randomisation(), 4)(image, 7))


def test_all_effects_off_change_nothing():
    image = noise(4)
    assert torch.equal(only()(image, 0), image)


@pytest.mark.parametrize(
    ('name', 'low', 'high'), [('brightness', 0.8, 1.2), ('jitter_brightness', 0.7, 1.3)]
)
def test_brightness_scales_the_luminance(name, low, high):
    randomiser = only(name)
    factor = (
        first_pixels(randomiser(plain(1000, (120, 90, 60)), 0))
        @ LUMA
        / (np.array([120, 90, 60]) @ LUMA)
    )
    assert np.all((factor > low - 0.01) & (factor < high + 0.01))
    np.testing.assert_allclose(factor, randomiser.draw(0, 1000).brightness[:, 0], atol=0.007)
    assert factor.mean() == pytest.approx(1.0, abs=0.02)
    assert factor.min() < low + 0.02
    assert factor.max() > high - 0.02


def test_channel_gain_and_offset_are_drawn_for_each_picture():
    randomiser = only('channel_gain', 'offset', channel_gain=(0.9, 1.1), offset=0.05)
    drawn = randomiser.draw(0, 50)
    want = 128 * drawn.brightness + 255 * drawn.offset[:, None]
    np.testing.assert_allclose(first_pixels(randomiser(plain(50, (128,) * 3), 0)), want, atol=0.51)
    assert drawn.offset.abs().max() <= 0.05
    assert (drawn.brightness[:, 0] - drawn.brightness[:, 1]).abs().min() > 0


def test_contrast_scales_the_distance_to_the_mean_grey():
    image = noise(50) // 2 + 64
    randomiser = only('jitter_contrast')
    changed = randomiser(image, 0)
    before, after = (x.numpy().astype(float).reshape(50, -1) for x in (image, changed))
    factor = after.std(axis=1) / before.std(axis=1)
    np.testing.assert_allclose(factor, randomiser.draw(0, 50).contrast, atol=0.01)
    assert factor.min() > 0.69
    assert factor.max() < 1.31
    grey = np.abs((changed.double() - image).mean(dim=(1, 2)).numpy() @ LUMA)
    assert grey.max() < 0.2


def test_saturation_scales_the_distance_to_the_own_grey():
    randomiser = only('jitter_saturation')
    changed = first_pixels(randomiser(plain(300, (140, 120, 80)), 0))
    grey = changed @ LUMA
    np.testing.assert_allclose(grey, np.array([140, 120, 80]) @ LUMA, atol=0.6)
    factor = (changed[:, 0] - changed[:, 2]) / (140 - 80)
    np.testing.assert_allclose(factor, randomiser.draw(0, 300).saturation, atol=0.02)
    assert factor.min() > 0.68
    assert factor.max() < 1.32


@pytest.mark.parametrize('colour', [(180, 80, 80), (80, 180, 100), (90, 80, 190)])
def test_hue_turns_by_what_was_drawn(colour):
    randomiser = only('jitter_hue')
    changed = first_pixels(randomiser(plain(300, colour), 0))
    hues = np.array([colorsys.rgb_to_hsv(*pixel)[0] for pixel in changed])
    shift = (hues - colorsys.rgb_to_hsv(*colour)[0] + 0.5) % 1 - 0.5
    drawn = randomiser.draw(0, 300).hue.numpy() / (2 * math.pi)
    np.testing.assert_allclose(shift, drawn, atol=0.01)
    assert np.abs(shift).max() < 0.11
    assert shift.min() < -0.08
    assert shift.max() > 0.08


def test_a_tenth_of_the_pictures_loses_its_colour():
    pixels = first_pixels(only('grayscale')(plain(4000, (200, 100, 50)), 0))
    grey = np.ptp(pixels, axis=1) == 0
    assert grey.mean() == pytest.approx(0.1, abs=0.02)
    np.testing.assert_allclose(pixels[grey], np.array([200, 100, 50]) @ LUMA, atol=0.51)
    np.testing.assert_array_equal(pixels[~grey], [[200, 100, 50]] * int((~grey).sum()))


def test_gamma_bends_between_black_and_white():
    randomiser = only('gamma')
    ramp = torch.arange(256, dtype=torch.uint8)[None, :, None, None].expand(40, 256, 1, 3)
    changed = randomiser(ramp.contiguous(), 0)[:, :, 0, 0].numpy()
    gamma = randomiser.draw(0, 40).gamma.numpy()
    assert gamma.min() >= 0.8
    assert gamma.max() <= 1.2
    want = 255 * (np.arange(256) / 255) ** gamma[:, None]
    np.testing.assert_allclose(changed, want, atol=0.51)


def test_rotation_is_recovered_from_where_a_spot_went():
    height, width, count = 96, 192, 60
    y, x = np.mgrid[:height, :width]
    radius = 60.0
    spot = np.exp(-((x - (width - 1) / 2 - radius) ** 2 + (y - (height - 1) / 2) ** 2) / 50)
    image = torch.from_numpy(np.rint(255 * spot).astype(np.uint8))
    image = image[None, :, :, None].expand(count, -1, -1, 3).contiguous()
    randomiser = only('rotation_deg')
    light = randomiser(image, 0)[..., 0].numpy().astype(float)
    right = (light * (x - (width - 1) / 2)).sum(axis=(1, 2)) / light.sum(axis=(1, 2))
    up = (light * ((height - 1) / 2 - y)).sum(axis=(1, 2)) / light.sum(axis=(1, 2))
    angle = np.degrees(np.arctan2(up, right))
    np.testing.assert_allclose(
        angle, np.degrees(randomiser.draw(0, count).rotation.numpy()), atol=0.1
    )
    np.testing.assert_allclose(np.hypot(right, up), radius, atol=0.3)
    assert np.abs(angle).max() <= 10.1
    assert angle.min() < -8
    assert angle.max() > 8


def test_a_fifth_of_the_pictures_has_a_shadow_of_the_wanted_depth():
    pixels = only('shadow')(plain(1000, (250, 250, 250), 24), 0).double() / 250
    darkest = pixels.flatten(1).min(dim=1).values
    shaded = darkest < 1
    assert shaded.double().mean() == pytest.approx(0.2, abs=0.05)
    assert darkest[shaded].min() > 0.697
    assert darkest[shaded].max() < 0.96
    assert pixels.max() == 1


def test_shadows_are_single_regions_with_soft_edges():
    height, width, count = 96, 128, 200
    randomiser = only('shadow', shadow=1.0)
    shadows = randomiser.draw(0, count).shadows
    shade = cover(shadows, height, width).numpy()
    inside = shade > 0.5
    np.testing.assert_allclose(inside.mean(axis=(1, 2)), shadows.area, atol=0.05)
    assert max(ndimage.label(picture)[1] for picture in inside) == 1
    assert shade.min() == 0
    assert (shade.reshape(count, -1).max(axis=1) > 0.95).mean() > 0.95
    slope = np.max([np.abs(np.diff(shade, axis=axis)).max(axis=(1, 2)) for axis in (1, 2)], axis=0)
    steepest = 1.5 / (shadows.softness.numpy() * height)
    assert np.all(slope <= 1.001 * steepest)
    assert np.all(slope >= 0.4 * steepest)
    edge = ((shade > 0.01) & (shade < 0.99)).mean(axis=(1, 2))
    assert edge.min() > 0


def test_shadow_multiplies_what_lies_under_it():
    randomiser = only('shadow', shadow=1.0)
    image = noise(8, 48, 64) // 2 + 100
    drawn = randomiser.draw(0, 8)
    light = 1 - (1 - drawn.shadows.intensity[:, None, None]) * cover(drawn.shadows, 48, 64)
    want = image * light[..., None]
    assert (randomiser(image, 0) - want).abs().max() < 0.51


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('real_ratio', 1.5),
        ('jitter_hue', 0.6),
        ('grayscale', -0.1),
        ('rotation_deg', math.nan),
        ('gamma', (1.2, 0.8)),
        ('brightness', (0.0, 1.0)),
        ('shadow_intensity', (0.7, 1.1)),
        ('shadow_area', (0.5,)),
        ('shadow_softness', (0.0, 0.1)),
    ],
)
def test_wrong_value_is_named(name, value):
    with pytest.raises(ConfigError, match=f'{name} is '):
        Randomisation(**{name: value})


def test_unknown_effect_is_named():
    with pytest.raises(ConfigError, match='blur'):
        Randomisation().without('blur')


def _batch(scene: Scene | None) -> Batch:
    return Batch(
        noise(2), ('a', 'b'), torch.zeros(2, 1, 7), torch.ones(2, 1, 7).bool(), torch.arange(2),
        scene=scene,
    )  # fmt: skip


def test_pictures_are_not_tilted_away_from_their_masks():
    taught = Scene(*(torch.zeros(2) for _ in Scene._fields))
    with pytest.raises(ConfigError, match=r'rotation_deg is 10\.0: expected 0'):
        Randomiser(Randomisation(), 0).batch(_batch(taught), 0)
    upright = Randomiser(Randomisation(real_ratio=0.0, rotation_deg=0.0), 0)
    assert not torch.equal(upright.batch(_batch(taught), 0).image, noise(2))
    tilted = Randomiser(Randomisation(real_ratio=0.0), 0).batch(_batch(None), 0)
    assert torch.equal(tilted.image, Randomiser(Randomisation(real_ratio=0.0), 0)(noise(2), 0))


def test_picture_shows_the_original_beside_each_effect(tmp_path: Path):
    source = tmp_path / 'in.png'
    pixels = noise(1, 24, 32)[0].numpy()
    Image.fromarray(pixels).save(source)
    output = tmp_path / 'out' / 'sheet.png'
    assert command(Options((source,), output, height=24, width=32)) == 0
    sheet = np.array(Image.open(output))
    tops, lefts = (18, 18 + 24 + 4 + 18), range(0, 6 * 36, 36)
    shown = [sheet[top : top + 24, left : left + 32] for top in tops for left in lefts]
    np.testing.assert_array_equal(shown[0], pixels)
    assert not any(np.array_equal(changed, pixels) for changed in shown[1:])


def test_file_that_is_no_picture_is_named(tmp_path: Path):
    (tmp_path / 'text.png').write_text('no picture')
    with pytest.raises(ConfigError, match=r'text\.png: expected a picture'):
        command(Options((tmp_path / 'text.png',), tmp_path / 'out.png'))
