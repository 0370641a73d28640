"""What a manifest says of the training: read, refused, written, and pictures summed up alike."""

from dataclasses import replace
import hashlib
import math

import numpy as np
import pytest
import yaml

from vla_core.envelope import Envelope, FEATURES, features_of, Range
from vla_core.errors import CheckpointError, ConfigError
from vla_core.manifest import IncludedLanguage, load_manifest, write_envelope, write_manifest
from vla_core.types import CameraSlot, PolicySpec

RANGE = Range(mean=0.1, std=0.2, min=-0.5, q01=-0.4, q99=0.6, max=0.7, count=9)
ENVELOPE = Envelope(
    source='9 pictures',
    actions={'linear.x': RANGE, 'angular.z': replace(RANGE, max=1.5)},
    state={'odom.v': RANGE},
    images={'front': {name: replace(RANGE, min=-1.0) for name in FEATURES}},
)
SPEC = PolicySpec(
    model_id='small',
    cameras=(CameraSlot('front', 64, 32, 'crop'),),
    state_names=('odom.v',),
    action_names=('linear.x', 'linear.y', 'angular.z'),
    action_units=('m/s', 'm/s', 'rad/s'),
    action_scale=(1.0, 1.0, 2.0),
    horizon=4,
    step_dt=0.1,
    rate=10.0,
)


@pytest.fixture
def folder(tmp_path):
    """Make a checkpoint without an envelope."""
    folder = tmp_path / 'small'
    folder.mkdir()
    (folder / 'weights.bin').write_bytes(b'weights')
    (folder / 'tokenizer.json').write_text('{}')
    language = IncludedLanguage('weights.bin', 64, 'tokenizer.json')
    write_manifest(folder, 'native', SPEC, language, training={'seed': 3}, parity={'bound': 1e-4})
    return folder


def spoil(folder, *path, value):
    """Change one value below `envelope` in the manifest; Ellipsis removes its key."""
    file = folder / 'manifest.yaml'
    tree = yaml.safe_load(file.read_text())
    node = tree['envelope']
    for key in path[:-1]:
        node = node[key]
    if value is ...:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    file.write_text(yaml.safe_dump(tree))


def test_checkpoint_without_an_envelope_is_as_good_as_ever(folder):
    assert load_manifest(folder).spec.envelope is None


def test_written_envelope_is_read_back_and_nothing_else_changes(folder):
    before = yaml.safe_load((folder / 'manifest.yaml').read_text())
    files = {path.name: hashlib.sha256(path.read_bytes()) for path in folder.glob('*.[bj]*')}
    old = load_manifest(folder).spec
    write_envelope(folder, ENVELOPE)
    spec = load_manifest(folder).spec
    assert spec.envelope == ENVELOPE
    assert replace(spec, envelope=None, model_sha256='') == replace(old, model_sha256='')
    assert spec.model_sha256 != old.model_sha256
    after = yaml.safe_load((folder / 'manifest.yaml').read_text())
    assert after.pop('envelope') == ENVELOPE.plain()
    assert after == before
    for name, digest in files.items():
        assert hashlib.sha256((folder / name).read_bytes()).digest() == digest.digest()
    assert [path.name for path in folder.parent.iterdir()] == ['small']
    write_envelope(folder, replace(ENVELOPE, source='again'))
    assert load_manifest(folder).spec.envelope.source == 'again'


def test_envelope_comes_along_with_the_contract(folder):
    language = IncludedLanguage('weights.bin', 64, 'tokenizer.json')
    spec = replace(SPEC, envelope=ENVELOPE)
    (folder / 'manifest.yaml').unlink()
    write_manifest(folder, 'native', spec, language, training={})
    assert load_manifest(folder).spec.envelope == ENVELOPE


def test_envelope_of_another_contract_is_not_written(folder):
    before = (folder / 'manifest.yaml').read_bytes()
    with pytest.raises(ConfigError, match=r"envelope\.actions: 'wheel' is unknown.*linear\.x"):
        write_envelope(folder, replace(ENVELOPE, actions={'wheel': RANGE}))
    assert (folder / 'manifest.yaml').read_bytes() == before


@pytest.mark.parametrize(
    ('path', 'value', 'message'),
    [
        (('actions', 'linear.x', 'mean'), math.nan, r'actions\.linear\.x: mean nan'),
        (('actions', 'linear.x', 'max'), math.inf, r'actions\.linear\.x: max inf'),
        (('actions', 'linear.x', 'q01'), -0.6, r'actions\.linear\.x: min -0\.5, q01 -0\.6'),
        (('state', 'odom.v', 'q99'), 0.8, r'state\.odom\.v: min .* max 0\.7'),
        (('state', 'odom.v', 'q99'), -0.45, r'state\.odom\.v: min'),
        (('actions', 'angular.z', 'std'), -0.1, r'actions\.angular\.z: std -0\.1'),
        (('actions', 'angular.z', 'count'), 0, r'actions\.angular\.z: count 0'),
        (('actions', 'angular.z', 'count'), 1.0, r'count is 1\.0: expected a int'),
        (('actions', 'angular.z', 'count'), True, r'count is True'),
        (('actions', 'angular.z', 'min'), '0', r"min is '0': expected a float"),
        (('actions', 'angular.z', 'min'), ..., r"key 'min' is missing"),
        (('actions', 'angular.z', 'median'), 0.0, r"key 'median' is unknown"),
        (('actions', 'linear.x'), 0.5, r'envelope\.actions\.linear\.x is .0\.5.'),
        (('actions', 'wheel'), RANGE.__dict__, r"envelope\.actions: 'wheel' is unknown"),
        (('state', 'odom.w'), RANGE.__dict__, r"envelope\.state: 'odom\.w' is unknown"),
        (('images', 'rear'), {}, r"envelope\.images: 'rear' is unknown"),
        (('images', 'front', 'black'), ..., r'envelope\.images\.front: .*expected'),
        (('images', 'front', 'hue'), RANGE.__dict__, r'envelope\.images\.front: .*expected'),
        (('images',), None, r'envelope\.images is .None.'),
        (('state',), ..., r"envelope: key 'state' is missing"),
        (('more',), {}, r"envelope: key 'more' is unknown"),
        (('source',), 3, r'envelope\.source is 3'),
    ],
)
def test_impossible_envelope_is_refused_and_named(folder, path, value, message):
    write_envelope(folder, ENVELOPE)
    spoil(folder, *path, value=value)
    with pytest.raises(CheckpointError, match=message):
        load_manifest(folder)


def test_an_action_that_was_not_taught_has_no_range(folder):
    write_envelope(folder, ENVELOPE)
    assert 'linear.y' not in load_manifest(folder).spec.envelope.actions


def test_largest_and_usual_magnitude():
    assert RANGE.largest == 0.7
    assert RANGE.usual == 0.6
    assert replace(RANGE, min=-3.0, q01=-2.0).largest == 3.0


@pytest.mark.parametrize(('height', 'width'), [(96, 192), (224, 224), (8, 8), (8, 4096)])
def test_pictures_are_summed_up_in_shares(height, width):
    image = np.zeros((height, width, 3), np.uint8)
    assert features_of(image) == (0.0, 0.0, 1.0, 0.0)
    image[:] = 255
    assert features_of(image) == pytest.approx((1.0, 0.0, 0.0, 1.0), abs=1e-6)
    image[: height // 2] = 0
    assert features_of(image) == pytest.approx((0.5, 0.5, 0.5, 0.5), abs=0.03)


def test_luminance_weighs_the_colours():
    green, blue = np.zeros((2, 96, 192, 3), np.uint8)
    green[..., 1] = blue[..., 2] = 200
    assert features_of(green)[0] == pytest.approx(0.587 * 200 / 255, rel=1e-5)
    assert features_of(blue)[0] == pytest.approx(0.114 * 200 / 255, rel=1e-5)


def test_a_sample_of_the_pixels_is_enough():
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    luminance = image @ np.array([0.299, 0.587, 0.114]) / 255
    expected = (luminance.mean(), luminance.std())
    assert features_of(image)[:2] == pytest.approx(expected, abs=0.02)
