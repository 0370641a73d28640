"""The shipped checkpoint in onnxruntime."""

from pathlib import Path
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml

from vla_core.errors import ActionRejected, CheckpointError, ObservationError
from vla_core.policy import Policy
from vla_core.types import Intent, Language, NATIVE_AXES, Observation
from vla_inference.onnx_policy import create, OnnxPolicy

DEMO = Path(__file__).parents[2] / 'vla_bringup' / 'checkpoints' / 'demo'
FORWARD, TURN = NATIVE_AXES.index('linear.x'), NATIVE_AXES.index('angular.z')


@pytest.fixture(scope='module')
def policy():
    policy = OnnxPolicy(DEMO)
    yield policy
    policy.close()


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(DEMO, tmp_path / 'copy'))


def grey(value=120):
    return Observation({'front': np.full((96, 192, 3), value, np.uint8)}, 0)


def act(policy, text, observation=None):
    return policy.infer(observation or grey(), policy.encode(text))


def test_it_is_a_policy_with_the_demos_contract(policy):
    assert isinstance(policy, Policy)
    assert policy.spec.action_names == NATIVE_AXES
    assert [(s.name, s.width, s.height, s.mode) for s in policy.spec.cameras] == [
        ('front', 192, 96, 'crop')
    ]
    assert (policy.spec.horizon, policy.spec.step_dt) == (8, 0.1)


def test_checkpoint_is_small():
    assert sum(path.stat().st_size for path in DEMO.iterdir()) <= 6_000_000


@pytest.mark.parametrize(
    ('text', 'axis', 'sign'),
    [
        ('Move forward', FORWARD, 1),
        ('Move back', FORWARD, -1),
        ('Turn left', TURN, 1),
        ('Turn right', TURN, -1),
    ],
)
def test_motions_move_along_their_axis_alone(policy, text, axis, sign):
    assert policy.encode(text).intent is Intent.MOTION
    actions = act(policy, text).actions
    assert (sign * actions[:, axis] > 0.15).all()
    assert np.abs(np.delete(actions, axis, axis=1)).max() < 0.1


@pytest.mark.parametrize('colour', ['red', 'green', 'blue', 'yellow', 'purple', 'orange'])
@pytest.mark.parametrize('noun', ['box', 'ball', 'cylinder'])
def test_every_object_is_a_goal(policy, colour, noun):
    assert policy.encode(f'Go to the {colour} {noun}').intent is Intent.GOAL


@pytest.mark.parametrize('text', ['make me a sandwich', 'xyzzy', 'what time is it', '42', '?'])
def test_nonsense_is_refused(policy, text):
    assert policy.encode(text).intent is Intent.REFUSED


def test_case_does_not_matter(policy):
    shapes = [act(policy, text).actions for text in ('Go to the red box', 'GO TO THE RED BOX')]
    np.testing.assert_array_equal(*shapes)


@pytest.mark.parametrize(
    'text', ['go to the red box.', 'go to the red box!', ' go to the red box ']
)
def test_punctuation_does_not_change_the_intent(policy, text):
    assert policy.encode(text).intent is Intent.GOAL


def test_text_of_512_characters_is_answered(policy):
    assert policy.encode('go ' * 170).intent in Intent


def test_nothing_in_sight_is_searched_to_the_left(policy):
    prediction = act(policy, 'go to the red ball')
    assert prediction.done < 0.5
    assert prediction.actions[0, TURN] > 0.3


def test_equal_frames_give_equal_bits(policy):
    language = policy.encode('find the blue cube')
    one, other = (policy.infer(grey(90), language) for _ in range(2))
    np.testing.assert_array_equal(one.actions, other.actions)
    assert one.done == other.done


def test_attention_of_each_head_sums_to_one(policy):
    act(policy, 'go to the red ball')
    np.testing.assert_allclose(policy.attention.sum(axis=-1), 1.0, atol=1e-5)


def test_ablated_words_make_no_difference(policy):
    one, other = (
        policy.ablate(policy.encode(text)) for text in ('turn left', 'go to the red ball')
    )
    assert (one.intent, other.intent) == (Intent.MOTION, Intent.GOAL)
    np.testing.assert_array_equal(
        policy.infer(grey(), one).actions, policy.infer(grey(), other).actions
    )


def test_other_size_of_picture_is_refused(policy):
    small = Observation({'front': np.zeros((48, 96, 3), np.uint8)}, 0)
    with pytest.raises(ObservationError, match='96x48'):
        act(policy, 'turn left', small)


def test_language_of_another_policy_is_refused(policy):
    with pytest.raises(ActionRejected, match='NoneType'):
        policy.infer(grey(), Language('turn left', Intent.MOTION))


@pytest.mark.parametrize(
    'name', ['policy.onnx', 'language.onnx', 'language_mean.npz', 'tokenizer.json']
)
def test_tampered_file_is_refused(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=name):
        OnnxPolicy(copy)


@pytest.mark.parametrize(
    ('key', 'value', 'said'),
    [
        ('sha256', 64 * '0', 'expected 0000'),
        ('module', 'no_such_module', 'no_such_module'),
        ('file', 'other.onnx', 'other.onnx'),
    ],
)
def test_other_language_encoder_is_refused(copy, key, value, said):
    path = copy / 'manifest.yaml'
    manifest = yaml.safe_load(path.read_text())
    manifest['language'][key] = value
    path.write_text(yaml.safe_dump(manifest))
    with pytest.raises(CheckpointError, match=said):
        OnnxPolicy(copy)


def test_damaged_graph_with_a_right_hash_is_refused(copy):
    import hashlib

    (copy / 'policy.onnx').write_bytes(b'no graph')
    path = copy / 'manifest.yaml'
    manifest = yaml.safe_load(path.read_text())
    manifest['files']['policy.onnx'] = hashlib.sha256(b'no graph').hexdigest()
    path.write_text(yaml.safe_dump(manifest))
    with pytest.raises(CheckpointError, match='copy'):
        OnnxPolicy(copy)


def test_factory_wants_a_folder_and_the_cpu():
    with pytest.raises(CheckpointError, match='expected a folder'):
        create(None)
    with pytest.raises(CheckpointError, match='cuda'):
        create(DEMO, 'cuda')


def test_torch_is_never_imported():
    program = (
        'import sys; from pathlib import Path; from vla_inference.onnx_policy import create; '
        f"create(Path({str(DEMO)!r})); print(any(m.split('.')[0] == 'torch' for m in sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == 'False'
