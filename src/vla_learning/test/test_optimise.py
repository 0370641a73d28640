"""Optimising: what variants compute, what is missing is named, the winner carries its report."""

from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from importlib import util
import json
import math
import multiprocessing
from pathlib import Path
import shutil

import numpy as np
import pytest

torch = pytest.importorskip('torch')
onnx = pytest.importorskip('onnx')

from vla_core.admission import admit  # noqa: E402
from vla_core.errors import CheckpointError, ConfigError  # noqa: E402
from vla_core.manifest import load_manifest, Runtime, sha256  # noqa: E402
from vla_core.parity import RESOLUTION  # noqa: E402
from vla_core.policy import native_spec  # noqa: E402
from vla_core.types import CameraSlot, Intent, Observation  # noqa: E402
from vla_inference.encoder import open_session  # noqa: E402
from vla_learning.bootstrap import Estimate  # noqa: E402
from vla_learning.checkpoint import save  # noqa: E402
from vla_learning.model import ModelConfig, Policy  # noqa: E402
from vla_learning.optimise import (  # noqa: E402
    full_size,
    gemm,
    quantise,
    report,
    sampling,
    side_by_side,
)
from vla_learning.optimise.artefact import asked, publish  # noqa: E402
from vla_learning.optimise.command import (  # noqa: E402
    _Bench,
    candidates,
    only_measured,
    Optimise,
    optimise,
)
from vla_learning.optimise.fidelity import (  # noqa: E402
    Answers,
    answers_of,
    axis_errors,
    Behaviour,
)
from vla_learning.optimise.full_size import fit  # noqa: E402
from vla_learning.optimise.measuring import in_turns, MeasuringError, Process  # noqa: E402
from vla_learning.optimise.probe import Probe  # noqa: E402
from vla_learning.optimise.profile import profile  # noqa: E402
from vla_learning.optimise.pruning import prune, SHARE, zero  # noqa: E402
from vla_learning.optimise.ridge import ridge  # noqa: E402
from vla_learning.optimise.subject import load_subject  # noqa: E402
from vla_learning.optimise.variants import chosen, find, VARIANTS  # noqa: E402
from vla_learning.optimise.verify import Verify, verify  # noqa: E402

DEMO = Path(__file__).parents[2] / 'vla_bringup' / 'checkpoints' / 'demo'
TEXTS = ('go to the red box', 'turn left', 'stop')


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    """A checkpoint of the trainer, with random weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('optimise') / 'small'
    policy = Policy(ModelConfig(tokens=32, channels=(8, 16, 16), hidden=40)).eval()
    save(folder, policy, native_spec('small'), {'seed': 0})
    return folder


@pytest.fixture(scope='module')
def probe():
    images = np.random.default_rng(0).integers(0, 256, (120, 96, 192, 3), np.uint8)
    return Probe(images, tuple(TEXTS[n % 3] for n in range(120)), 'noise')


@pytest.fixture(scope='module')
def subject(small):
    return load_subject(small)


@pytest.fixture(scope='module')
def expected(small, probe, tmp_path_factory):
    return answers_of(find('eager').open(small, tmp_path_factory.mktemp('eager')), probe).actions


def apart(function, *arguments):
    """Call a function in a process of its own: OpenVINO dies where torch has trained before."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('spawn')) as pool:
        return pool.submit(function, *arguments).result()


def errors(name, small, subject, probe, expected, folder):
    variant = find(name)
    reason = variant.available()
    if reason:
        pytest.skip(reason)
    folder.mkdir(exist_ok=True)
    variant.build(subject, Probe(probe.images[:8], probe.texts[:8], 'noise'), folder, 1)
    if variant.policy == 'openvino':
        found = apart(asked, folder, probe)
    else:
        found = answers_of(variant.open(small, folder), probe)
    return axis_errors(expected, found.actions, subject.manifest.spec)


@pytest.mark.parametrize('name', ['torchscript', 'onnx_fp32', 'openvino_fp32', 'executorch'])
def test_variant_in_float_computes_the_same(name, small, subject, probe, expected, tmp_path):
    found = errors(name, small, subject, probe, expected, tmp_path)
    assert max(axis.max for axis in found.values()) <= 1e-5


@pytest.mark.parametrize('name', ['dynamic_int8', 'onnx_int8', 'openvino_int8', 'openvino_bf16'])
def test_variant_of_less_precision_is_near_and_not_equal(
    name, small, subject, probe, expected, tmp_path
):
    found = errors(name, small, subject, probe, expected, tmp_path)
    # A policy that always does the same is off by 1.
    assert 0.0 < max(axis.rms / axis.deviation for axis in found.values()) < 0.3


def test_int8_artefact_is_smaller_and_runs_as_a_robot_runs_it(small, subject, probe, tmp_path):
    sizes = {}
    for name in ('onnx_fp32', 'onnx_int8'):
        folder = tmp_path / name
        folder.mkdir()
        find(name).build(subject, Probe(probe.images[:8], probe.texts[:8], 'noise'), folder, 2)
        sizes[name] = (folder / 'policy.onnx').stat().st_size
        assert load_manifest(folder).runtime == Runtime(2, 'f32')
    assert sizes['onnx_int8'] < sizes['onnx_fp32']


@pytest.mark.parametrize('name', ['onnx_int8', 'openvino_int8'])
def test_profile_says_where_the_time_goes(name, subject, probe, tmp_path):
    if find(name).available():
        pytest.skip(find(name).available())
    find(name).build(subject, Probe(probe.images[:8], probe.texts[:8], 'noise'), tmp_path, 1)
    shares = apart(profile, tmp_path) if name == 'openvino_int8' else profile(tmp_path)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert any('Conv' in kind for kind in shares)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


@pytest.mark.parametrize('variant', VARIANTS, ids=lambda variant: variant.name)
def test_absent_toolchain_is_named(variant, monkeypatch):
    found = util.find_spec
    monkeypatch.setattr(
        util, 'find_spec', lambda name: None if name == variant.needs[-1] else found(name)
    )
    assert variant.available() == f'{variant.needs[-1]} is not installed'


@pytest.mark.parametrize('name', ['cuda', 'cuda_graph', 'tensorrt_fp16'])
def test_absent_gpu_is_named(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert 'no CUDA device' in find(name).available()


def test_figures_of_another_provider_are_none_of_tensorrts(monkeypatch):
    from vla_learning.optimise import tensorrt

    class Session:
        def __init__(self, path, **options):
            assert options['enable_fallback'] is False

        def get_providers(self):
            return ['CUDAExecutionProvider', 'CPUExecutionProvider']

    monkeypatch.setattr(tensorrt.onnxruntime, 'InferenceSession', Session)
    monkeypatch.setattr(tensorrt, 'OnnxPolicy', lambda folder, open_: open_(folder / 'x.onnx', 1))
    with pytest.raises(CheckpointError, match=r'CUDAExecutionProvider.*expected TensorRT first'):
        tensorrt.open(find('tensorrt_fp16'), Path('c'), Path('f'))


def test_absent_tensorrt_is_named(monkeypatch):
    import onnxruntime

    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(onnxruntime, 'get_available_providers', lambda: ['CPU'])
    assert 'expected TensorrtExecutionProvider' in find('tensorrt_fp16').available()


def test_absent_compiler_is_named(monkeypatch):
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    assert 'g++' in find('compile').available()


def test_every_target_begins_with_what_all_are_compared_with():
    for target in ('cpu', 'cuda', 'edge'):
        assert chosen(target, ())[0].name == 'eager'
    assert [v.name for v in chosen('cpu', ('onnx_fp32',))] == ['eager', 'onnx_fp32']
    with pytest.raises(ConfigError, match="'tpu'"):
        chosen('tpu', ())
    with pytest.raises(ConfigError, match="'fast'"):
        chosen('cpu', ('fast',))


def test_shipped_checkpoint_gives_its_network_back():
    subject = load_subject(DEMO)
    assert subject.mean is not None
    policy = find('eager').open(DEMO, DEMO)
    exported = find('onnx_fp32').open(DEMO, DEMO)
    grey = Observation({'front': np.full((96, 192, 3), 90, np.uint8)}, 0)
    for text in TEXTS:
        one, other = (p.infer(grey, p.encode(text)) for p in (policy, exported))
        np.testing.assert_allclose(one.actions, other.actions, atol=1e-5)
        assert policy.encode(text).intent is exported.encode(text).intent


def test_graph_of_another_network_is_not_read_back(tmp_path):
    folder = Path(shutil.copytree(DEMO, tmp_path / 'other'))
    manifest = load_manifest(folder)
    shutil.copy(folder / 'language.onnx', folder / 'policy.onnx')
    from vla_learning.optimise.recover import network

    with pytest.raises(CheckpointError, match='no compact network'):
        network(manifest)


def test_pruned_network_is_smaller_and_sparse_one_is_not(subject):
    def hidden(policy):
        return policy.trunk[0].out_features, len(policy.trunk[0].weight)

    policy = subject.policy
    removed, sparse = prune(policy), zero(policy)
    assert len(removed.trunk[0].weight) == round((1 - SHARE) * len(policy.trunk[0].weight))
    assert hidden(sparse) == hidden(policy)
    zeros = (sparse.trunk[0].weight == 0).float().mean()
    assert zeros == pytest.approx(SHARE, abs=0.01)
    assert gemm.frame_flops(removed) < 0.9 * gemm.frame_flops(policy)
    assert gemm.frame_flops(sparse) == gemm.frame_flops(policy)


def test_errors_are_in_the_units_of_the_axis():
    spec = replace(native_spec('x'), action_scale=(2.0,) * 7)
    first = np.zeros((50, 8, 7))
    first[::2, :, 0] = 1.0
    second = first.copy()
    second[..., 0] += 0.25
    second[0, 0, 5] = np.nan
    found = axis_errors(first, second, spec)
    still, moved = found['linear.y'], found['linear.x']
    assert (moved.unit, moved.mean, moved.rms, moved.max) == ('m/s', 0.25, 0.25, 0.25)
    assert moved.deviation == pytest.approx(0.5)
    assert (still.mean, still.deviation) == (0.0, RESOLUTION * 2.0)
    assert found['angular.z'].max > 1e6


def test_fitted_head_says_what_was_recorded(monkeypatch):
    monkeypatch.setattr(full_size, '_RIDGE', 1e-6)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(400, 6, generator=generator)
    wanted = torch.tanh(0.1 * hidden @ torch.randn(6, 4, generator=generator))
    layer = torch.nn.Linear(6, 4)
    with torch.no_grad():
        left = fit(layer, hidden, wanted, torch.ones(400, 4, dtype=torch.bool))
        assert left < 1e-4
        np.testing.assert_allclose(torch.tanh(layer(hidden)), wanted, atol=0.01)


@pytest.mark.parametrize(('strength', 'kept'), [(0.0, 1.0), (1.0, 0.5), (1e6, 0.0)])
def test_ridge_shrinks_the_weights_and_keeps_the_mean(strength, kept):
    hidden = 5.0 + np.linalg.qr(np.random.default_rng(0).normal(size=(90, 3)))[0]
    hidden = 5.0 + np.linalg.qr(hidden - hidden.mean(axis=0))[0]
    weight, bias = ridge(hidden, hidden @ np.array([[1.0, 2.0, 3.0]]).T + 7.0, strength)
    np.testing.assert_allclose(weight, kept * np.array([[1.0, 2.0, 3.0]]), atol=1e-4)
    level = (hidden @ weight.T + bias).mean()
    assert level == pytest.approx(37.0, abs=1e-6)


def test_refit_mends_a_last_layer_that_is_off(subject, probe, tmp_path):
    find('onnx_fp32').build(subject, probe, tmp_path, 1)
    rows, wanted = quantise._frames(subject, probe)
    file = tmp_path / 'policy.onnx'
    model = onnx.load(file)
    (bias,) = (one for one in model.graph.initializer if one.name == 'policy.action.bias')
    shifted = onnx.numpy_helper.to_array(bias) + np.float32(0.3)
    bias.CopyFrom(onnx.numpy_helper.from_array(shifted, bias.name))
    onnx.save(model, file)
    quantise.refit(file, rows, wanted)
    session = open_session(file)
    found = [session.run(['actions'], row)[0].ravel() for row in rows]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_refit_leaves_a_last_layer_alone_that_is_right(subject, probe, tmp_path):
    find('onnx_fp32').build(subject, probe, tmp_path, 1)
    file = tmp_path / 'policy.onnx'
    model = onnx.load(file)
    places = {one.name: one for one in model.graph.initializer}
    # So large that some actions are at their end, as those of a trained network are.
    loud = 60 * onnx.numpy_helper.to_array(places['policy.action.weight'])
    places['policy.action.weight'].CopyFrom(
        onnx.numpy_helper.from_array(loud, 'policy.action.weight')
    )
    onnx.save(model, file)
    rows, _ = quantise._frames(subject, probe)

    def found():
        session = open_session(file)
        return np.stack([session.run(['actions'], row)[0].ravel() for row in rows])

    before = found()
    assert (np.abs(before) > 0.9999).mean() > 0.01
    quantise.refit(file, rows[:60], before[:60])
    np.testing.assert_allclose(found()[60:], before[60:], atol=2e-3)


@pytest.mark.parametrize('seed', [0, 1])
def test_nothing_is_measured_on_that_calibrated_whatever_is_drawn(monkeypatch, seed):
    monkeypatch.setattr(sampling, 'CALIBRATION', 3)
    data = Path(__file__).parent / 'data' / 'lerobot_image'
    spec = replace(native_spec('one'), cameras=(CameraSlot('front', 32, 32, 'stretch'),))
    _, calibrating = sampling.from_recordings(spec, data, 4, 0, None, '')
    measured, again = sampling.from_recordings(spec, data, 8, seed, None, '')
    assert [s.group for s in again.scenes] == [s.group for s in calibrating.scenes]
    assert not {s.group for s in measured.scenes} & {s.group for s in calibrating.scenes}


@pytest.mark.parametrize('seed', [0, 499_999, 999_976, 1_000_001])
def test_layouts_for_training_and_for_judging_releases_measure_nothing(seed):
    with pytest.raises(ConfigError, match=f'seed {seed}: expected 500000 to 999975'):
        sampling.from_simulator(native_spec('x'), 100, seed)


def test_one_camera_gives_frames_to_measure_and_others_to_calibrate(monkeypatch):
    monkeypatch.setattr(sampling, 'CALIBRATION', 3)
    data = Path(__file__).parent / 'data' / 'lerobot_image'
    spec = replace(native_spec('one'), cameras=(CameraSlot('front', 32, 32, 'stretch'),))
    measured, calibrating = sampling.from_recordings(spec, data, 8, 0, None, '')
    assert (len(measured), len(calibrating)) == (8, 3)
    with pytest.raises(ConfigError, match='frames to measure on: expected 999'):
        sampling.from_recordings(spec, data, 999, 0, None, '')
    monkeypatch.setattr(sampling, 'CALIBRATION', 888)
    with pytest.raises(ConfigError, match='frames to calibrate with: expected 888'):
        sampling.from_recordings(spec, data, 8, 0, None, '')


def answers(done=0, intent=Intent.GOAL):
    said = np.arange(100) < done
    return Answers(np.zeros((100, 1, 1)), said, {'go': intent})


@pytest.mark.parametrize(
    ('found', 'text'),
    [
        (answers(), ''),
        (answers(2), ''),
        (answers(3), 'done is decided otherwise on 3 of 100'),
        (answers(intent=Intent.REFUSED), "'go' is taken for REFUSED: expected GOAL"),
    ],
)
def test_other_decisions_are_named(found, text):
    assert found.otherwise(answers()).startswith(text)
    assert bool(found.otherwise(answers())) == bool(text)


def test_what_is_read_is_never_written_over(small, tmp_path):
    before = sorted(path.name for path in small.iterdir())
    options = Optimise(small, export=tmp_path / '..' / tmp_path.name / 'x', out=tmp_path / 'out')
    with pytest.raises(ConfigError, match='is what is read'):
        optimise(replace(options, export=small / '.'))
    (tmp_path / 'home').mkdir()
    (tmp_path / 'home' / 'letter').write_text('dear')
    with pytest.raises(ConfigError, match='no checkpoint'):
        optimise(replace(options, export=tmp_path / 'home'))
    assert sorted(path.name for path in small.iterdir()) == before


def test_process_that_cannot_open_its_variant_says_why(probe, small, tmp_path):
    probe.save(tmp_path / 'probe.npz')
    with pytest.raises(MeasuringError, match=r'onnx_fp32.*manifest'):
        Process('onnx_fp32', small, tmp_path / 'nothing', tmp_path / 'probe.npz', 1)


def test_both_run_as_often_as_was_asked():
    class Counted:
        def __init__(self, seconds):
            self.seconds, self.calls = seconds, []

        def run(self, mode, count):
            self.calls.append((mode, count))
            return [self.seconds] * count

    one, other = Counted(0.5), Counted(2.0)
    (latency,) = in_turns(one, other, [('cached', 'padded')], 20)
    assert (latency.frames, latency.p50, latency.p99, latency.against) == (20, 0.5, 0.5, 2.0)
    assert one.calls[1:] == [('cached', 2)] * 10
    assert other.calls[1:] == [('padded', 2)] * 10


def test_variants_side_by_side_name_what_is_absent(small, monkeypatch):
    absent = util.find_spec

    def find_spec(name, *arguments):
        return None if name == 'openvino' else absent(name, *arguments)

    monkeypatch.setattr(util, 'find_spec', find_spec)
    rows = list(side_by_side.measure(small, 10, ('onnx_fp32', 'openvino_fp32')))
    eager, onnx_fp32, openvino = rows
    assert [row['name'] for row in rows] == [
        *('variant_eager', 'variant_onnx_fp32', 'variant_openvino_fp32')
    ]
    assert [len(row['samples']) for row in rows] == [10, 10, 0]
    assert min(eager['samples'] + onnx_fp32['samples']) > 0.0
    # Eager against itself, in turns.
    assert 0.2 < eager['against']['eager'] < 5.0
    assert openvino['notes'] == {'missing': 'openvino is not installed'}
    with pytest.raises(ConfigError, match='frames 9: expected at least 10'):
        next(side_by_side.measure(small, 9))


def test_front_is_what_nothing_beats():
    def row(name, p50, rms):
        axes = {'x': {'rms': rms, 'deviation': 1.0}}
        return {'variant': name, 'cached': {'p50': p50, 'against': 4.0}, 'axes': axes}

    rows = [row('a', 4.0, 0.0), row('b', 2.0, 0.01), row('c', 3.0, 0.02), row('d', 1.0, 0.5)]
    assert report.front(rows) == ['a', 'b', 'd']


def test_what_lost_anything_is_no_candidate():
    def row(name, p50, excess=''):
        return {'variant': name, 'cached': {'p50': p50, 'against': 4.0}, 'excess': excess}

    rows = [
        *(row('eager', 4.0), row('torchscript', 0.5), row('onnx_fp32', 3.0)),
        *(row('openvino_fp32', 2.0), row('openvino_int8', 1.0, 'grounding score 60')),
        {'variant': 'openvino_bf16', 'missing': 'openvino is not installed'},
    ]
    assert candidates(rows) == ['openvino_fp32', 'onnx_fp32']


def measured(*names, **fields):
    """Rows as of a run in which these were measured, all alike and within the limits."""
    row = {'cached': {'p50': 1.0, 'against': 1.0}, 'excess': ''}
    return [row | {'variant': name} | fields for name in names]


def test_target_of_which_no_robot_runs_anything_says_so(small, probe, tmp_path):
    target = 'cuda'
    rows = measured(*(variant.name for variant in chosen(target, ())))
    bench = _Bench(Optimise(small, target=target, out=tmp_path), None, probe, probe, 1)
    assert bench.export(rows) == {
        'no_winner': 'nothing to export: no robot runs cuda, cuda_graph, tensorrt_fp16'
    }
    assert only_measured(rows)
    # Without a GPU nothing was measured either.
    assert not only_measured([rows[0], *({**row, 'missing': 'no CUDA'} for row in rows[1:])])
    assert not only_measured(measured('eager', 'onnx_fp32'))
    with pytest.raises(ConfigError, match=r'no robot runs cuda, .*: expected no export'):
        optimise(Optimise(small, target=target, out=tmp_path, export=tmp_path / 'x'))


def test_what_another_runtime_runs_is_kept_beside_the_report(small, probe, tmp_path):
    bench = _Bench(Optimise(small, target='edge', out=tmp_path), None, probe, probe, 1)
    made = tmp_path / 'made' / 'policy.pte'
    made.parent.mkdir()
    made.write_bytes(b'program')
    kept = bench._keep(made)
    assert kept == {'file': 'policy.pte', 'sha256': sha256(made), 'size': 7}
    assert (tmp_path / 'policy.pte').read_bytes() == b'program'


def test_placeholder_goes_when_something_is_exported(small, probe, tmp_path, monkeypatch):
    from vla_core.parity import Parity, Reference, Timing
    from vla_learning.optimise import artefact

    parity = Parity(
        *('', '', 'onnx', 'onnx_fp32', Reference('small', '', str(small)), 'noise', 120),
        axes={},
        timings=(Timing('this', 2, 10, 0.001, 0.002),),
    )
    monkeypatch.setattr(artefact, 'judge', lambda *_: parity)
    monkeypatch.setattr(artefact, 'publish', lambda *_: None)
    bench = _Bench(Optimise(small, out=tmp_path), None, probe, probe, 1)
    found = bench.export(measured('eager', 'onnx_fp32'))
    assert found['winner']['variant'] == 'onnx_fp32'
    assert found['no_winner'] is None


def test_timing_says_on_which_device_the_reference_ran(small, probe, monkeypatch):
    from vla_core import machine
    from vla_learning.optimise import artefact
    from vla_learning.optimise.measuring import Latency

    class Started:
        @classmethod
        def of_checkpoint(cls, folder, probe, device):
            devices.append(device)
            return nullcontext()

    devices = []
    monkeypatch.setattr(artefact, 'Process', Started)
    monkeypatch.setattr(artefact, 'cached_in_turns', lambda *_: Latency(10, 0.001, 0.001, 0.002))
    monkeypatch.setattr(machine, 'kind', lambda device: (f'this, {device}', 2))
    assert artefact.time_here(small, small, probe, 10).processor == 'this, cpu'
    assert artefact.time_here(small, small, probe, 10, 'auto').processor == 'this, auto'
    assert devices == ['cpu', 'cpu', 'auto', 'auto']


def behaviour_of(score, reached=9, episodes=10, low=80.0):
    return Behaviour(Estimate(score, low, 150.0, 10), reached, episodes)


@pytest.mark.parametrize(
    ('found', 'lost'),
    [
        (behaviour_of(100.0), ''),
        (behaviour_of(80.0), ''),
        (behaviour_of(300.0), ''),
        (behaviour_of(79.0), 'grounding score 79: expected at least 80'),
        (behaviour_of(math.nan), 'grounding score nan'),
        (behaviour_of(100.0, reached=7), ''),
        (behaviour_of(100.0, reached=5), '5 of 10 episodes reached'),
    ],
)
def test_loss_is_what_is_below_the_interval_of_the_reference(found, lost):
    assert found.loss(behaviour_of(100.0)).startswith(lost)
    assert bool(found.loss(behaviour_of(100.0))) == bool(lost)


def test_where_nothing_was_asked_and_nobody_drove_nothing_is_lost():
    nothing = behaviour_of(math.nan, 0, 0, low=math.nan)
    assert nothing.loss(nothing) == ''


def test_deviation_is_over_frames_and_not_over_the_steps_of_a_chunk():
    first = np.zeros((50, 8, 7)) + np.linspace(0.0, 1.0, 8)[:, None]
    first[::2, :, 0] += 0.2
    deviations = axis_errors(first, first, native_spec('x'))
    assert deviations['linear.x'].deviation == pytest.approx(0.1)
    assert deviations['linear.y'].deviation == RESOLUTION


def test_published_one_is_admitted_and_an_altered_one_is_not(
    small, subject, probe, tmp_path, monkeypatch
):
    from vla_core.parity import Timing
    from vla_learning.optimise import artefact

    monkeypatch.setattr(artefact, 'time_here', lambda *_: Timing('this', 2, 10, 0.001, 0.002))
    built, folder = tmp_path / 'built', tmp_path / 'deep' / 'fast'
    built.mkdir()
    find('onnx_fp32').build(subject, probe, built, 1)
    parity = artefact.judge(built, small, 'onnx_fp32', probe, 10)
    publish(built, folder, parity)
    admitted = admit(folder)
    assert admitted.refused == ''
    assert admitted.parity.reference.sha256 == load_manifest(small).spec.model_sha256
    assert (folder / admitted.parity.reference.path).resolve() == small.resolve()
    graph = folder / 'policy.onnx'
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-1] + b'?')
    assert admit(folder).manifest.spec.model_id == 'small'
    graph.write_bytes(whole)
    manifest = folder / 'manifest.yaml'
    text = manifest.read_text()
    assert text.count('threads: 1') == 1
    manifest.write_text(text.replace('threads: 1', 'threads: 2'))
    assert 'contract, language or runtime' in admit(folder).refused


@pytest.mark.slow
def test_demo_is_optimised_and_verified(tmp_path):
    reference = Path(shutil.copytree(DEMO, tmp_path / 'demo'))
    options = Optimise(
        checkpoint=reference,
        out=tmp_path / 'out',
        only=('onnx_int8', 'tensorrt_fp16'),
        frames=100,
        timed=10,
        episodes=1,
    )
    content = optimise(options)
    rows = {row['variant']: row for row in content['rows']}
    assert rows['tensorrt_fp16'].keys() == {'variant', 'text', 'missing'}
    assert rows['eager']['excess'] == ''
    assert rows['onnx_int8']['cached']['frames'] == 10
    written = json.loads((tmp_path / 'out' / report.JSON_NAME).read_text())
    assert written['model_id'] == 'demo'
    assert (tmp_path / 'out' / report.PLOT_NAME).read_text().startswith('<?xml')
    if content['winner'] is None:
        # On a busy machine it may have been the slower one: then nothing is exported.
        assert 'ms per frame' in content['no_winner']
        return
    found, problems = verify(Verify(Path(content['winner']['folder']), frames=100, timed=10))
    assert found.axes.keys() == rows['onnx_int8']['axes'].keys()
    assert not any('difference' in problem for problem in problems)
