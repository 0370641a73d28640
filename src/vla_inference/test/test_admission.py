"""The robot's check of optimised checkpoints: what is refused, and what drives instead."""

from dataclasses import replace
from pathlib import Path
import shutil

import numpy as np
import pytest
import yaml

from vla_core import machine
from vla_core.errors import ActionRejected, CheckpointError
from vla_core.machine import kind
from vla_core.manifest import (
    FILE_NAME,
    folder_digest,
    load_manifest,
    sha256,
    write_manifest,
    write_parity,
)
from vla_core.parity import AxisError, Parity, Reference, Timing
from vla_core.types import Intent, Language, Prediction
from vla_inference import admission
from vla_inference.admission import open_checkpoint, time_in_turns, UntimedError

AXIS = AxisError('m/s', 0.001, 0.002, 0.01, 0.2)
DEMO = Path(__file__).parents[2] / 'vla_bringup' / 'checkpoints' / 'demo'


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    return Path(shutil.copytree(DEMO, tmp_path_factory.mktemp('reference') / 'demo'))


@pytest.fixture
def optimise(demo, tmp_path):
    """Write a copy of the demo that claims to be an optimised one."""

    def make(policy='onnx', timings=((0.002, 0.004),), **changes):
        folder = tmp_path / 'fast'
        shutil.copytree(demo, folder)
        (folder / FILE_NAME).unlink()
        known = load_manifest(demo)
        spec = replace(known.spec, model_id='fast')
        write_manifest(folder, policy, spec, known.language, training={})
        parity = Parity(
            files_sha256=load_manifest(folder).files_sha256,
            settings_sha256=load_manifest(folder).settings_sha256,
            policy=policy,
            variant='test',
            reference=Reference('demo', sha256(demo / FILE_NAME), str(demo)),
            source='500 frames',
            frames=500,
            axes={
                name: replace(AXIS, unit=unit)
                for name, unit in zip(spec.action_names, spec.action_units, strict=True)
            },
            timings=tuple(Timing(*kind(), 100, *both) for both in timings),
        )
        write_parity(folder, replace(parity, **changes).plain())
        return folder

    return make


def opened(folder):
    told = []
    policy = open_checkpoint(folder, 'cpu', lambda text, severe: told.append((text, severe)))
    model_id = policy.spec.model_id
    policy.close()
    return model_id, told


def test_good_and_fast_one_drives_and_nothing_is_said(optimise):
    assert opened(optimise()) == ('fast', [])


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'timings': ((0.005, 0.004),)}, '5.00 ms per frame, its reference 4.00 ms'),
        ({'files_sha256': '0' * 64}, 'the parity report is of files with the hash 0000'),
        ({'axes': {'linear.x': AXIS}}, 'compared on the axes'),
    ],
)
def test_slower_unproven_or_worse_one_gives_way_with_a_warning(optimise, changes, reason):
    model_id, [(text, severe)] = opened(optimise(**changes))
    assert model_id == 'demo'
    assert text.startswith('the reference demo is used instead: fast: ')
    assert reason in text
    assert not severe


def test_damaged_one_gives_way_with_a_warning(optimise):
    folder = optimise()
    graph = folder / 'policy.onnx'
    graph.write_bytes(graph.read_bytes()[:-1] + b'?')
    model_id, [(text, _)] = opened(folder)
    assert model_id == 'demo'
    assert 'SHA-256 of policy.onnx' in text


def test_one_that_cannot_be_opened_here_gives_way_with_a_warning(optimise, monkeypatch):
    def missing(name, checkpoint, device):
        if name == 'openvino':
            raise CheckpointError('openvino is not installed')
        return create(name, checkpoint, device)

    create = admission.create_policy
    monkeypatch.setattr(admission, 'create_policy', missing)
    model_id, [(text, _)] = opened(optimise(policy='openvino'))
    assert model_id == 'demo'
    assert 'openvino is not installed' in text


def test_one_whose_graphs_do_not_run_gives_way_with_a_warning(optimise):
    folder = optimise()
    shutil.copy(folder / 'language.onnx', folder / 'policy.onnx')
    manifest = yaml.safe_load((folder / FILE_NAME).read_text())
    manifest['files']['policy.onnx'] = sha256(folder / 'policy.onnx')
    manifest['parity']['files_sha256'] = folder_digest(folder)
    (folder / FILE_NAME).write_text(yaml.safe_dump(manifest))
    model_id, [(text, _)] = opened(folder)
    assert model_id == 'demo'
    assert 'fast does not run' in text


@pytest.mark.parametrize(('p50', 'expected'), [(0.001, 'fast'), (0.009, 'demo')])
def test_on_a_machine_nobody_timed_it_is_timed_now(optimise, monkeypatch, p50, expected):
    monkeypatch.setattr(admission, 'time_in_turns', lambda *_: Timing(*kind(), 30, p50, 0.004))
    assert opened(optimise(timings=()))[0] == expected


class Failing:
    """A policy that fails when it is run, as some other one."""

    def __init__(self, spec, error):
        self.spec, self._error, self.closed = spec, error, False

    def encode(self, text):
        return Language(text, Intent.MOTION)

    def infer(self, observation, language):
        raise self._error

    def close(self):
        self.closed = True


@pytest.fixture
def failing(monkeypatch):
    """Let the checkpoint of this name fail as soon as it is run."""

    def fail(model_id, error):
        def made(name, checkpoint, device):
            policy = create(name, checkpoint, device)
            if policy.spec.model_id == model_id:
                policies.append(Failing(policy.spec, error))
                return policies[-1]
            return policy

        policies = []
        create = admission.create_policy
        monkeypatch.setattr(admission, 'create_policy', made)
        return policies

    return fail


@pytest.mark.parametrize('error', [ActionRejected('not finite'), RuntimeError('no memory')])
def test_one_that_fails_while_it_is_timed_gives_way_with_a_warning(optimise, failing, error):
    policies = failing('fast', error)
    model_id, [(text, severe)] = opened(optimise(timings=()))
    assert model_id == 'demo'
    assert text == f'the reference demo is used instead: fast: fast does not run: {error}'
    assert not severe
    assert [policy.closed for policy in policies] == [True]


def test_reference_that_fails_while_it_is_timed_takes_no_place(optimise, failing):
    policies = failing('demo', ActionRejected('not finite'))
    model_id, [(text, _)] = opened(optimise(timings=()))
    assert model_id == 'fast'
    assert text == 'fast: not timed against its reference: demo does not run: not finite'
    assert [policy.closed for policy in policies] == [True]


def test_reference_that_cannot_be_opened_takes_no_place(optimise, monkeypatch):
    def made(name, checkpoint, device):
        if checkpoint.name == 'demo':
            raise CheckpointError('a native policy needs torch')
        return create(name, checkpoint, device)

    create = admission.create_policy
    monkeypatch.setattr(admission, 'create_policy', made)
    model_id, [(text, _)] = opened(optimise(timings=()))
    assert model_id == 'fast'
    assert text == 'fast: not timed against its reference: a native policy needs torch'


def test_timing_beside_a_reference_on_the_cpu_is_none_where_it_runs_on_a_gpu(
    optimise, monkeypatch, tmp_path
):
    monkeypatch.setattr(machine, '_DEVICES', tmp_path)
    (tmp_path / 'nvidia0').touch()
    slow = Timing('this', 2, 30, 0.004, 0.001)
    monkeypatch.setattr(admission, 'time_in_turns', lambda *_: slow)
    folder = optimise()
    policies = [open_checkpoint(folder, device, lambda *_: None) for device in ('cpu', 'auto')]
    assert [policy.spec.model_id for policy in policies] == ['fast', 'demo']


def test_without_a_reference_the_speed_is_not_compared_and_that_is_said(optimise):
    folder = optimise(timings=(), reference=Reference('demo', '0' * 64, '../nowhere'))
    model_id, [(text, _)] = opened(folder)
    assert model_id == 'fast'
    assert 'not timed against its reference' in text


class Slow:
    """A policy that takes its time, by a clock of its own."""

    def __init__(self, fake, seconds, clock):
        self.spec, self.encode = fake.spec, fake.encode
        self._seconds, self._clock = seconds, clock

    def infer(self, observation, language):
        self._clock.now += self._seconds
        return Prediction(np.zeros((8, 7)))


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_timing_tells_both_apart(fake):
    clock = Clock()
    timing = time_in_turns(Slow(fake, 0.25, clock), Slow(fake, 0.5, clock), 'cpu', 4, clock)
    assert (timing.frames, timing.p50, timing.reference_p50) == (4, 0.25, 0.5)
    assert (timing.processor, timing.cores) == kind()


@pytest.mark.parametrize(
    ('refusing', 'error', 'text'),
    [
        ((0,), CheckpointError, 'taken for REFUSED: expected MOTION'),
        ((1,), CheckpointError, 'taken for MOTION: expected REFUSED'),
        ((0, 1), UntimedError, "both refuse 'move forward'"),
    ],
)
def test_who_refuses_the_text_is_not_timed_with_it(fake, refusing, error, text):
    clock = Clock()
    policies = Slow(fake, 0.25, clock), Slow(fake, 0.5, clock)
    for number in refusing:
        policies[number].encode = lambda text: Language(text, Intent.REFUSED)
    with pytest.raises(error, match=text):
        time_in_turns(*policies, 'cpu', 4, clock)
    assert clock.now == 0.0
