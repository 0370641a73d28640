"""Which checkpoint may drive: damaged, unproven or bad ones do not, their reference does."""

from dataclasses import replace
import re

import pytest
import yaml

from vla_core.admission import admit, EXPORT_BOUND
from vla_core.errors import CheckpointError
from vla_core.manifest import (
    FILE_NAME,
    files_digest,
    folder_digest,
    IncludedLanguage,
    load_manifest,
    Runtime,
    sha256,
    write_manifest,
    write_parity,
)
from vla_core.parity import AxisError, Parity, Reference
from vla_core.policy import native_spec

AXIS = AxisError('m/s', 0.001, 0.002, 0.01, 0.2)
SPEC = native_spec('x')
AXES = {
    name: replace(AXIS, unit=unit)
    for name, unit in zip(SPEC.action_names, SPEC.action_units, strict=True)
}
EXPORTED = {'bound': 1e-4, 'largest_difference': {'actions': 1e-6}}


def axis(*figures):
    """Change what a report says of one axis."""
    return {'axes': AXES | {'linear.x': AxisError('m/s', *figures)}}


def write(folder, policy='onnx', parity=None, content='weights', **more):
    folder.mkdir()
    for name in ('encoder.onnx', 'tokenizer.json', 'policy.onnx'):
        (folder / name).write_text(f'{name} {content}')
    language = IncludedLanguage('encoder.onnx', 64, 'tokenizer.json')
    spec = native_spec(folder.name)
    write_manifest(folder, policy, spec, language, training={}, parity=parity, **more)


def report(folder, reference, /, **changes):
    """A good report, but for the changes."""
    parity = Parity(
        files_sha256=folder_digest(folder),
        settings_sha256=load_manifest(folder).settings_sha256,
        policy='onnx',
        variant='onnx_int8',
        reference=Reference('reference', sha256(reference / FILE_NAME), '../reference'),
        source='500 frames',
        frames=500,
        axes=AXES,
    )
    write_parity(folder, replace(parity, **changes).plain())


@pytest.fixture
def reference(tmp_path):
    write(tmp_path / 'reference', parity=EXPORTED)
    return tmp_path / 'reference'


@pytest.fixture
def fast(tmp_path, reference):
    write(tmp_path / 'fast', content='int8', runtime=Runtime(2, 'bf16'))
    report(tmp_path / 'fast', reference)
    return tmp_path / 'fast'


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('threads: 2', 'threads: 64'),
        ('precision: bf16', 'precision: f32'),
        ('action_scale: [1.0,', 'action_scale: [2.0,'),
        ('max_tokens: 64', 'max_tokens: 8'),
    ],
)
def test_report_of_other_settings_is_refused(fast, old, new):
    file = fast / FILE_NAME
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
    admitted = admit(fast)
    assert 'contract, language or runtime are not those' in admitted.refused
    assert admitted.manifest.spec.model_id == 'reference'


def test_reference_drives_for_a_file_that_cannot_be_read(fast):
    (fast / 'policy.onnx').unlink()
    (fast / 'policy.onnx').symlink_to('nowhere')
    admitted = admit(fast)
    assert 'file policy.onnx: No such file' in admitted.refused
    assert admitted.manifest.spec.model_id == 'reference'


def test_good_one_drives(fast):
    admitted = admit(fast)
    assert admitted.manifest.spec.model_id == 'fast'
    assert admitted.manifest.runtime == Runtime(2, 'bf16')
    assert admitted.refused == ''
    assert admitted.parity.variant == 'onnx_int8'


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        ({'files_sha256': '0' * 64}, 'of files with the hash 0000'),
        ({'policy': 'openvino'}, 'report is of policy openvino'),
        ({'frames': 3}, 'compared on 3 frames'),
        (axis(0.1, 0.1, 0.1, 0.2), 'root mean square .* is 0.1 m/s'),
        (axis(0.0, 0.0, 0.3, 0.2), 'largest .* is 0.3 m/s'),
        (axis(0.1, 0.1, 0.1, 1e3), 'deviation of linear.x is 1000.0: expected at most its scale'),
        ({'axes': {'linear.x': AXIS}}, 'compared on the axes .*expected all of'),
        ({'axes': {}}, 'compared on the axes'),
        (
            {'axes': AXES | {'linear.x': replace(AXIS, unit='furlong')}},
            "compared linear.x in 'furlong': expected 'm/s'",
        ),
    ],
)
def test_bad_report_gives_way_to_the_reference(fast, reference, change, reason):
    report(fast, reference, **change)
    admitted = admit(fast)
    assert admitted.manifest.spec.model_id == 'reference'
    assert admitted.parity is None
    assert re.search(reason, admitted.refused)


def test_damaged_one_gives_way_to_the_reference(fast):
    (fast / 'policy.onnx').write_text('something else')
    admitted = admit(fast)
    assert admitted.manifest.spec.model_id == 'reference'
    assert 'SHA-256 of policy.onnx' in admitted.refused


def test_files_exchanged_along_with_their_hashes_do_not_match_the_report(fast):
    (fast / 'policy.onnx').write_text('something else')
    path = fast / FILE_NAME
    manifest = yaml.safe_load(path.read_text())
    manifest['files']['policy.onnx'] = sha256(fast / 'policy.onnx')
    path.write_text(yaml.safe_dump(manifest))
    assert 'report is of files with the hash' in admit(fast).refused


@pytest.mark.parametrize('policy', ['onnx', 'openvino'])
@pytest.mark.parametrize('parity', [None, EXPORTED | {'largest_difference': {}}])
def test_without_any_report_nothing_takes_its_place(tmp_path, policy, parity):
    write(tmp_path / 'bare', policy, parity)
    with pytest.raises(CheckpointError, match=r'bare: no parity report'):
        admit(tmp_path / 'bare')


def test_reference_that_is_missing_damaged_or_another_takes_no_place(fast, reference):
    (fast / 'policy.onnx').write_text('damaged')
    moved = reference.rename(reference.with_name('elsewhere'))
    with pytest.raises(CheckpointError, match=r'policy\.onnx.*and its reference'):
        admit(fast)
    moved.rename(reference)
    (reference / 'policy.onnx').write_text('damaged too')
    with pytest.raises(CheckpointError, match=r'and its reference.*SHA-256'):
        admit(fast)


def test_reference_that_is_itself_far_from_what_was_trained_takes_no_place(fast, reference):
    write_parity(reference, {'bound': 1.0, 'largest_difference': {'actions': 0.5}})
    report(fast, reference, frames=3)
    with pytest.raises(CheckpointError, match=r'and its reference: .*difference of actions'):
        admit(fast)


@pytest.mark.parametrize('path', ['a\0b', '\ud800'])
def test_reference_whose_path_is_none_takes_no_place(fast, reference, path):
    lineage = Reference('reference', sha256(reference / FILE_NAME), path)
    report(fast, reference, frames=3, reference=lineage)
    with pytest.raises(CheckpointError, match=r'3 frames.*and its reference: '):
        admit(fast)


def test_reference_with_another_manifest_takes_no_place(fast, reference):
    (fast / 'policy.onnx').write_text('damaged')
    write_parity(reference, EXPORTED | {'bound': 2e-4})
    with pytest.raises(CheckpointError, match=r'and its reference .* has the manifest'):
        admit(fast)


def test_optimised_one_is_no_reference(fast, reference):
    report(reference, fast)
    report(fast, reference, frames=3)
    with pytest.raises(CheckpointError, match='not optimised'):
        admit(fast)


@pytest.mark.parametrize('value', [2 * EXPORT_BOUND, float('nan'), -1e-6, '0'])
def test_export_far_from_what_was_trained_is_refused(tmp_path, value):
    write(tmp_path / 'far', parity={'bound': 1.0, 'largest_difference': {'actions': value}})
    with pytest.raises(CheckpointError, match='difference of actions'):
        admit(tmp_path / 'far')


def test_export_of_other_files_is_refused_and_one_from_before_is_not(tmp_path, reference):
    assert admit(reference).refused == ''
    write(tmp_path / 'other', parity=EXPORTED | {'files_sha256': '0' * 64})
    with pytest.raises(CheckpointError, match='report is of files'):
        admit(tmp_path / 'other')


@pytest.mark.parametrize('policy', ['native', 'somebodys'])
def test_what_is_no_export_needs_no_report(tmp_path, policy):
    write(tmp_path / 'own', policy=policy)
    assert admit(tmp_path / 'own').parity is None


def test_digest_depends_on_names_and_hashes_alone(tmp_path):
    write(tmp_path / 'own')
    manifest = load_manifest(tmp_path / 'own')
    assert manifest.files_sha256 == folder_digest(tmp_path / 'own')
    assert files_digest({'b': '2', 'a': '1'}) == files_digest({'a': '1', 'b': '2'})
    assert files_digest({'a': '1'}) != files_digest({'b': '1'})


@pytest.mark.parametrize(
    'runtime',
    [
        {'threads': 0, 'precision': 'f32'},
        {'threads': 65, 'precision': 'f32'},
        {'threads': 1, 'precision': 'fp16'},
    ],
)
def test_runtime_that_is_none_is_refused(fast, runtime):
    path = fast / FILE_NAME
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {'runtime': runtime}))
    with pytest.raises(CheckpointError, match='runtime'):
        load_manifest(fast)
