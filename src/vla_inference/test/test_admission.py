"""The robot's check of optimised checkpoints: what is refused, and what drives instead."""

from dataclasses import replace
from pathlib import Path
import shutil

import numpy as np
import pytest
import yaml

from vla_core.errors import CheckpointError
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
from vla_inference.admission import open_checkpoint, time_in_turns

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
            axes=dict.fromkeys(spec.action_names, AXIS),
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
    monkeypatch.setattr(
        admission, 'time_in_turns', lambda one, other: Timing(*kind(), 30, p50, 0.004)
    )
    assert opened(optimise(timings=()))[0] == expected


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
    timing = time_in_turns(Slow(fake, 0.25, clock), Slow(fake, 0.5, clock), 4, clock)
    assert (timing.frames, timing.p50, timing.reference_p50) == (4, 0.25, 0.5)
    assert (timing.processor, timing.cores) == kind()


def test_policy_that_refuses_the_text_is_not_timed_with_it(fake):
    clock = Clock()
    policies = Slow(fake, 0.25, clock), Slow(fake, 0.5, clock)
    policies[1].encode = lambda text: Language(text, Intent.REFUSED)
    with pytest.raises(CheckpointError, match="does not understand 'move forward'"):
        time_in_turns(*policies, 4, clock)
    assert clock.now == 0.0
