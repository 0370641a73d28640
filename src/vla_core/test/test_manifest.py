from dataclasses import replace
import errno
import hashlib
from pathlib import Path

import pytest
import yaml

from vla_core.errors import CheckpointError
from vla_core.manifest import (
    DRAFT_NAME,
    IncludedLanguage,
    load_manifest,
    write_manifest,
    write_parity,
)
from vla_core.types import CameraSlot, PolicySpec, Representation

CONTRACT = {
    'cameras': [{'name': 'front', 'width': 192, 'height': 96, 'mode': 'crop'}],
    'state_names': ['odom.v'],
    'action_names': ['linear.x', 'angular.z'],
    'action_units': ['m/s', 'rad/s'],
    'action_scale': [1.0, 2.0],
    'representation': 'VELOCITY',
    'horizon': 8,
    'step_dt': 0.1,
    'rate': 30.0,
    'max_inference': 0.2,
    'max_observation_age': 0.6,
}


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / 'small'
    folder.mkdir()
    (folder / 'weights.bin').write_bytes(b'weights')
    (folder / 'tokenizer.json').write_text('{}')
    write(folder)
    return folder


def write(folder, **changes):
    manifest = {
        'schema_version': 1,
        'model_id': 'small',
        'policy': 'onnx',
        'contract': CONTRACT,
        'language': {
            'package': 'words',
            'version': '1.0',
            'module': 'words',
            'file': 'model.onnx',
            'sha256': 64 * '0',
            'max_tokens': 64,
            'tokenizer': 'tokenizer.json',
        },
        'files': {name: digest(folder / name) for name in ('weights.bin', 'tokenizer.json')},
        'training': {'revision': 'abc'},
        'parity': {'actions': 1e-6},
    }
    manifest = {key: value for key, value in (manifest | changes).items() if value is not None}
    (folder / 'manifest.yaml').write_text(yaml.safe_dump(manifest))


def test_contract_becomes_the_policy_spec(checkpoint):
    manifest = load_manifest(checkpoint)
    spec = manifest.spec
    assert spec.cameras == (CameraSlot('front', 192, 96, 'crop'),)
    assert spec.action_scale == (1.0, 2.0)
    assert spec.state_names == ('odom.v',)
    assert spec.representation is Representation.VELOCITY
    assert (spec.horizon, spec.step_dt, spec.rate) == (8, 0.1, 30.0)
    assert spec.model_sha256 == digest(checkpoint / 'manifest.yaml')
    assert manifest.policy == 'onnx'
    assert manifest.language.package == 'words'


def test_altered_file_is_refused_with_both_hashes(checkpoint):
    before = digest(checkpoint / 'weights.bin')
    (checkpoint / 'weights.bin').write_bytes(b'Weights')
    with pytest.raises(CheckpointError) as caught:
        load_manifest(checkpoint)
    message = str(caught.value)
    assert 'weights.bin' in message
    assert before in message
    assert digest(checkpoint / 'weights.bin') in message


def test_report_is_not_written_into_a_damaged_checkpoint(checkpoint):
    before = (checkpoint / 'manifest.yaml').read_bytes()
    (checkpoint / 'weights.bin').write_bytes(b'Weights')
    with pytest.raises(CheckpointError, match=r'weights\.bin'):
        write_parity(checkpoint, {})
    assert (checkpoint / 'manifest.yaml').read_bytes() == before


def test_missing_file_is_refused(checkpoint):
    (checkpoint / 'weights.bin').unlink()
    with pytest.raises(CheckpointError, match=r'weights\.bin is missing'):
        load_manifest(checkpoint)


@pytest.mark.parametrize('name', ['more.onnx', 'deep/more.onnx'])
def test_file_that_is_not_listed_is_refused(checkpoint, name):
    (checkpoint / name).parent.mkdir(exist_ok=True)
    (checkpoint / name).write_bytes(b'?')
    with pytest.raises(CheckpointError, match=r'more\.onnx is not listed'):
        load_manifest(checkpoint)


def test_folder_without_manifest_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r'manifest\.yaml'):
        load_manifest(tmp_path / 'nowhere')


@pytest.mark.parametrize('version', [0, 2, '1', True, 1.5])
def test_other_schema_version_is_refused(checkpoint, version):
    write(checkpoint, schema_version=version)
    with pytest.raises(CheckpointError, match='schema_version'):
        load_manifest(checkpoint)


@pytest.mark.parametrize('section', ['contract', 'files', 'language', 'policy', 'training'])
def test_missing_section_is_named(checkpoint, section):
    write(checkpoint, **{section: None})
    with pytest.raises(CheckpointError, match=f"'{section}' is missing"):
        load_manifest(checkpoint)


def test_unknown_section_is_named(checkpoint):
    write(checkpoint, extra=1)
    with pytest.raises(CheckpointError, match="'extra' is unknown"):
        load_manifest(checkpoint)


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('horizon', 0),
        ('horizon', 8.0),
        ('step_dt', 0.0),
        ('step_dt', float('nan')),
        ('rate', 'fast'),
        ('action_scale', [1.0]),
        ('action_scale', 1.0),
        ('action_names', ['linear.x', 'linear.x']),
        ('representation', 'SIDEWAYS'),
        ('cameras', [{'name': 'front', 'width': 192, 'height': 96}]),
        ('cameras', [{'name': 'front', 'width': 192, 'height': 96, 'mode': 'squash'}]),
        ('cameras', [{'name': 'front', 'width': '192', 'height': 96, 'mode': 'crop'}]),
    ],
)
def test_impossible_contract_is_refused(checkpoint, key, value):
    write(checkpoint, contract=CONTRACT | {key: value})
    with pytest.raises(CheckpointError):
        load_manifest(checkpoint)


@pytest.mark.parametrize(
    ('key', 'value'), [('max_tokens', '64'), ('max_tokens', 64.0), ('sha256', 0)]
)
def test_impossible_language_is_refused(checkpoint, key, value):
    language = yaml.safe_load((checkpoint / 'manifest.yaml').read_text())['language']
    write(checkpoint, language=language | {key: value})
    with pytest.raises(CheckpointError, match=f'language {key}'):
        load_manifest(checkpoint)


def test_tokenizer_must_be_one_of_the_files(checkpoint):
    (checkpoint / 'tokenizer.json').unlink()
    write_without_tokenizer = {'files': {'weights.bin': digest(checkpoint / 'weights.bin')}}
    manifest = yaml.safe_load((checkpoint / 'manifest.yaml').read_text())
    (checkpoint / 'manifest.yaml').write_text(yaml.safe_dump(manifest | write_without_tokenizer))
    with pytest.raises(CheckpointError, match='tokenizer'):
        load_manifest(checkpoint)


INCLUDED = IncludedLanguage('encoder/model.bin', 64, 'tokenizer.json')
SPEC = PolicySpec(
    model_id='arm',
    cameras=(CameraSlot('wrist', 224, 224, 'pad'), CameraSlot('front', 64, 32, 'crop')),
    state_names=('joint.1',),
    action_names=('x', 'gripper'),
    action_units=('m', '1'),
    action_scale=(0.05, 1),
    representation=Representation.DELTA,
    horizon=3,
    step_dt=0.2,
    rate=5,
)


@pytest.fixture
def draft(tmp_path):
    folder = tmp_path / 'arm'
    (folder / 'encoder').mkdir(parents=True)
    (folder / 'encoder' / 'model.bin').write_bytes(b'words')
    (folder / 'tokenizer.json').write_text('{}')
    return folder


def test_written_manifest_is_read_back_whole(draft):
    sections = {
        'training': {'seed': 3, 'rounds': (1, 2)},
        'model': {'tokens': 768},
        'statistics': {'x': {'mean': 0.5}},
        'parity': {'bound': 1e-4},
    }
    write_manifest(draft, 'native', SPEC, INCLUDED, **sections)
    manifest = load_manifest(draft)
    assert replace(manifest.spec, model_sha256='') == SPEC
    assert manifest.language == INCLUDED
    assert manifest.policy == 'native'
    assert manifest.training == {'seed': 3, 'rounds': [1, 2]}
    assert manifest.model == sections['model']
    assert manifest.statistics == sections['statistics']
    assert manifest.parity == sections['parity']
    (draft / 'encoder' / 'model.bin').write_bytes(b'other')
    with pytest.raises(CheckpointError, match=r'encoder/model\.bin'):
        load_manifest(draft)


def test_encoder_must_be_one_of_the_files(draft):
    write_manifest(draft, 'native', SPEC, replace(INCLUDED, file='model.bin'), training={})
    with pytest.raises(CheckpointError, match=r"file 'model\.bin'"):
        load_manifest(draft)


def test_manifest_is_written_within_a_folder_that_is_a_mount_of_its_own(draft, monkeypatch):
    rename = Path.replace

    def across(self, target):
        if self.parent != target.parent:
            raise OSError(errno.EXDEV, 'Invalid cross-device link')
        return rename(self, target)

    monkeypatch.setattr(Path, 'replace', across)
    (draft / DRAFT_NAME).write_text('half of a')
    write_manifest(draft, 'native', SPEC, INCLUDED, training={})
    (draft / DRAFT_NAME).write_text('half of another')
    load_manifest(draft)
    assert [path.name for path in draft.parent.iterdir()] == ['arm']


def test_manifest_that_cannot_be_written_leaves_nothing_behind(draft):
    (draft / 'manifest.yaml').mkdir()
    before = sorted(draft.rglob('*'))
    with pytest.raises(CheckpointError, match=r'arm/manifest\.yaml: Is a directory: expected'):
        write_manifest(draft, 'native', SPEC, INCLUDED, training={})
    assert sorted(draft.rglob('*')) == before
    assert [path.name for path in draft.parent.iterdir()] == ['arm']


def test_provenance_that_is_no_plain_value_writes_nothing(draft):
    with pytest.raises(CheckpointError, match='plain values'):
        write_manifest(draft, 'native', SPEC, INCLUDED, training={'folder': draft})
    assert not (draft / 'manifest.yaml').exists()
