"""Whatever stands in a file: it is read, or refused by an error of ours, and never hangs.

FUZZ=100000 in the environment tries harder than `make test` does.
"""

from collections.abc import Callable, Iterator
import hashlib
import io
import os
from pathlib import Path
import signal
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
import numpy as np
from PIL import Image
import pytest
import yaml

from vla_core.errors import ConfigError, VlaError
from vla_core.gate.config import GateConfig
from vla_core.graph_health import MonitorConfig
from vla_core.image import BYTES_PER_PIXEL, decode_compressed, decode_raw
from vla_core.manifest import load_manifest
from vla_core.parameters import build, load_yaml
from vla_core.robot import load_robot
from vla_core.text import clean_text, is_stop_word, MAX_TEXT

EXAMPLES = int(os.environ.get('FUZZ', '60'))
FUZZ = settings(max_examples=EXAMPLES)
#: s; an example takes a few milliseconds.
PATIENCE = 60 + EXAMPLES
ROOT = Path(__file__).parents[3]
ROBOT = """
estop: required
odom: required
discovery: SUBNET
gripper: {source: gripper}
geofence: {points: [[0.0, 0.0], [4.0, 0.0], [4.0, 3.0]]}
axes: {linear.x: {max_speed: 0.5, max_accel: 1.0, max_decel: 1.0}}
"""
# What lies about: numbers beyond every range, names that mean something to YAML, deep trees.
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(['linear.x', 'required', 'none', '../..', '/', '0x7f', '~', '=', '<<'])
)
KEYS = st.text(max_size=8) | st.integers(-2, 2) | st.booleans() | st.none()
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
HOSTILE = (
    b'? [a]\n: 1\n',
    b'? {a: b}\n: 1\n',
    b'1: 2\na: 3\n',
    b'a: 2001-99-99\n',
    b'a: ' + b'9' * 5000,
    b'a: 1:99999999999999999999\n',
    b'a: ' + b'[' * 400,
    b'a: !!binary "*"\n',
    b'a: !!float x\n',
    b'a: !!int x\n',
    b'a: !!timestamp x\n',
    b'a: !!set {b, c}\n',
    b'a: !!omap [b]\n',
    b'a: !!python/object/apply:os.system [ls]\n',
    b'a: &a [*a]\n',
    b'axes: &a {linear.x: *a}\n',
    b'<<: 1\n',
    b'\xff\xfe\x00',
    b'a: "\\ud800"\n',
    b'a: 1\n---\nb: 2\n',
    b'&a a: *b\n',
    b'%YAML 9.9\n---\na: 1\n',
    # Billion laughs: small in memory, endless in an error message.
    b'axes:\n'
    + b''.join(
        b'  - &%c [%s]\n' % (98 + index, b', '.join([b'*%c' % (97 + index)] * 9))
        if index
        else b'  - &b [x]\n'
        for index in range(12)
    ),
)


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    def late(*_: object) -> None:
        raise AssertionError(f'not done in {PATIENCE} s')

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def read_or_refuse(read: Callable[..., Any], *arguments: Any) -> Any:
    """Return what was read; None where it was refused in less than a page."""
    try:
        return read(*arguments)
    except VlaError as error:
        reason = str(error)
    assert 0 < len(reason) < 3000
    return None


def spoil(tree: Any, path: list[int], value: Any) -> Any:
    """Return a copy of a tree in which one node, found by `path`, has another value."""
    if not path or not isinstance(tree, dict | list) or not tree:
        return value
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    key = keys[path[0] % len(keys)]
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[key] = spoil(tree[key], path[1:], value)
    return copy


PATHS = st.lists(st.integers(0, 20), max_size=4)


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder whose manifest is spoiled, and a place for files."""
    folder = tmp_path_factory.mktemp('fuzz')
    (folder / 'tokenizer.json').write_text('{}')
    return folder


@pytest.fixture(scope='module')
def manifest() -> dict[str, Any]:
    tree = load_yaml(ROOT / 'src/vla_bringup/checkpoints/demo/manifest.yaml')
    tree['files'] = {'tokenizer.json': hashlib.sha256(b'{}').hexdigest()}
    return tree


def dump(path: Path, tree: Any) -> Path:
    path.write_text(yaml.safe_dump(tree, allow_unicode=False), encoding='utf-8')
    return path


@pytest.mark.parametrize('content', HOSTILE, ids=lambda content: repr(content[:20]))
@pytest.mark.parametrize('reader', ['yaml', 'robot', 'manifest'])
def test_hostile_yaml_is_refused_in_a_few_words(folder, reader, content):
    read = {'yaml': load_yaml, 'robot': load_robot, 'manifest': load_manifest}[reader]
    path = folder / 'manifest.yaml'
    path.write_bytes(content)
    read_or_refuse(read, folder if reader == 'manifest' else path)


@FUZZ
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_as_yaml(folder, content):
    path = folder / 'any.yaml'
    path.write_bytes(content)
    found = read_or_refuse(load_yaml, path)
    assert found is None or isinstance(found, dict)


@FUZZ
@given(path=PATHS, value=TREES)
@example(path=[4, 0], value={'linear.x': [1], 2: 3})
def test_spoiled_robot_file(folder, path, value):
    robot = read_or_refuse(
        load_robot, dump(folder / 'r.yaml', spoil(yaml.safe_load(ROBOT), path, value))
    )
    if robot is not None:
        speeds = [axis.max_speed for axis in robot.axes if axis]
        assert speeds
        assert all(0.0 < speed <= 10.0 for speed in speeds)


@FUZZ
@given(path=PATHS, value=TREES)
@example(path=[7], value={'tokenizer.json': 'x', 1: 'y', '../../etc/passwd': 'z'})
def test_spoiled_manifest(folder, manifest, path, value):
    dump(folder / 'manifest.yaml', spoil(manifest, path, value))
    (folder / 'r.yaml').unlink(missing_ok=True)
    (folder / 'any.yaml').unlink(missing_ok=True)
    found = read_or_refuse(load_manifest, folder)
    if found is not None:
        assert all(np.isfinite(found.spec.action_scale))
        assert found.spec.step_dt > 0.0


@FUZZ
@given(path=PATHS, value=TREES)
@example(path=[1, 0, 2], value=float('nan'))
@example(path=[3], value={'front': {'luminance': {}}})
def test_spoiled_envelope(folder, manifest, path, value):
    for name in ('r.yaml', 'any.yaml'):
        (folder / name).unlink(missing_ok=True)
    spoiled = manifest | {'envelope': spoil(manifest['envelope'], path, value)}
    dump(folder / 'manifest.yaml', spoiled)
    found = read_or_refuse(load_manifest, folder)
    if found is not None:
        assert set(found.spec.envelope.actions) <= set(found.spec.action_names)
        for one in found.spec.envelope.actions.values():
            assert -np.inf < one.min <= one.q01 <= one.q99 <= one.max < np.inf
            assert one.std >= 0.0
            assert one.count >= 1


def test_the_manifest_that_is_spoiled_is_a_good_one(folder, manifest):
    for name in ('r.yaml', 'any.yaml'):
        (folder / name).unlink(missing_ok=True)
    dump(folder / 'manifest.yaml', manifest)
    assert load_manifest(folder).spec.horizon >= 1


@pytest.mark.parametrize('config', [GateConfig, MonitorConfig])
@FUZZ
@given(values=st.dictionaries(st.text(max_size=8), TREES, max_size=3), path=PATHS, value=TREES)
def test_spoiled_parameters(config, values, path, value):
    good = vars(config(robot='sim'))
    spoiled = spoil(good, path[:1] or [0], value) | values
    found = read_or_refuse(build, config, spoiled, 'here')
    assert found is None or vars(found).keys() == good.keys()


PICTURES = []
for kind in ('PNG', 'JPEG'):
    stream = io.BytesIO()
    Image.fromarray(np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)).save(stream, kind)
    PICTURES.append(stream.getvalue())


@FUZZ
@given(
    data=st.sampled_from(PICTURES),
    places=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6)), max_size=4),
    end=st.floats(0, 1),
)
def test_spoiled_pictures(data, places, end):
    spoiled = bytearray(data)
    for share, patch in places:
        start = int(share * len(spoiled))
        spoiled[start : start + len(patch)] = patch
    data = bytes(spoiled[: max(1, int(end * len(spoiled) * 1.3))])
    picture = read_or_refuse(decode_compressed, data)
    assert picture is None or (picture.dtype == np.uint8 and picture.shape[2] == 3)
    if picture is not None and data.startswith(PICTURES[0][:8]):
        # Every byte of a PNG that counts is under a checksum.
        np.testing.assert_array_equal(picture, decode_compressed(PICTURES[0]))


@FUZZ
@given(
    encoding=st.sampled_from([*BYTES_PER_PIXEL]) | st.text(max_size=20),
    sides=st.tuples(*[st.integers(0, 2**32 - 1) | st.integers(0, 9)] * 3),
    data=st.binary(max_size=600),
)
def test_any_raw_image(encoding, sides, data):
    width, height, step = sides
    picture = read_or_refuse(decode_raw, data, encoding, width, height, step)
    assert picture is None or picture.shape == (height, width, 3)


@FUZZ
@given(text=st.text(st.characters(), max_size=MAX_TEXT + 9))
@example(text='stop ' * MAX_TEXT)
@example(text='\ud800')
@example(text='stop\x00')
@example(text='ſtop')
@example(text='İ' * MAX_TEXT)
def test_any_text(text):
    is_stop_word(text)
    cleaned = read_or_refuse(clean_text, text)
    if cleaned is not None:
        assert 0 < len(cleaned) <= MAX_TEXT
        assert clean_text(cleaned) == cleaned
        assert is_stop_word(cleaned) == is_stop_word(text)
        # It goes into messages and logs.
        cleaned.encode()


def test_what_refuses_says_where_and_what(tmp_path):
    path = tmp_path / 'robot.yaml'
    path.write_text('estop: none\n1: 2\n')
    with pytest.raises(ConfigError, match=r'robot\.yaml: line 2: key 1'):
        load_yaml(path)
