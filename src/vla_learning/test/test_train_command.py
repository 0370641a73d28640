"""`vla-learn train` as it is used: interrupted from outside, and given again."""

import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('accelerate')

import yaml  # noqa: E402

from vla_core.manifest import load_manifest  # noqa: E402
from vla_learning.checkpoint import load  # noqa: E402
from vla_learning.cli import main  # noqa: E402
from vla_learning.report.curves import read_curves  # noqa: E402
from vla_learning.training.state import read_state, STATE_FILE  # noqa: E402

HERE = Path(__file__).parent
SMALL = """
data:
  kind: recorded
  path: {data}
  derived: {derived}
  fps: 5.0
  gripper: open
  representation: DELTA
model: {{height: 32, width: 32, tokens: 32, channels: [4, 8, 8], hidden: 32, horizon: 2}}
randomise: {{}}
train:
  {{steps: {steps}, batch: 8, ema: 0.9, workers: 1, log_steps: 5, save_seconds: 1, device: cpu}}
"""


def write(folder, steps):
    path = folder / 'small.yaml'
    text = SMALL.format(data=HERE / 'data/bridge', derived=folder / 'derived', steps=steps)
    path.write_text(text)
    return str(path)


def test_recording_becomes_a_checkpoint_with_its_origin(tmp_path, capsys):
    experiment, run = write(tmp_path, 4), tmp_path / 'run'
    assert main(['train', experiment, '--run', str(run), '--train.workers', '0']) == 0
    assert 'step 4 of 4, loss 0.' in capsys.readouterr().out
    for name in ('last', 'best'):
        policy, manifest = load(run / name)
        assert manifest.spec.model_id == f'run-{name}'
        assert manifest.spec.action_units[0] == 'm'
        assert manifest.spec.step_dt == 0.2
        known = manifest.training
        assert (known['step'], known['experiment']['train']['steps']) == (4, 4)
        assert len(known['data']['sha256']) == 64
        assert known['data']['action_scale'] == list(manifest.spec.action_scale)
        assert manifest.statistics['count'] > 0
        envelope = manifest.spec.envelope
        assert list(envelope.actions) == list(manifest.spec.action_names)
        for scale, one in zip(manifest.spec.action_scale, envelope.actions.values(), strict=True):
            assert -scale - 1e-5 <= one.min < one.max <= scale + 1e-5
        assert envelope.images['front']['luminance'].count == known['data']['samples']
        assert policy.config.horizon == 2
    assert torch.equal(policy.action.weight, read_state(run)['average']['action.weight'])
    assert main(['train', experiment, '--run', str(run), '--train.batch', '4']) == 1
    assert 'train.batch was 8 and is 4: expected the same' in capsys.readouterr().err
    assert main(['train', experiment, '--run', str(tmp_path / 'two'), '--model.axes', '2']) == 1
    assert 'actions of 7 axes' in capsys.readouterr().err
    for options, message in (
        (('--data.axes', 'linear.x', 'flux', '--model.axes', '2'), "has no ('flux',): expected"),
        (('--model.words', '300'), 'model.words 300: expected 384'),
    ):
        assert main(['train', experiment, '--run', str(tmp_path / 'two'), *options]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / 'two').exists()
    assert load_manifest(run / 'last').training['step'] == 4
    envelope_can_be_added_later(run / 'last', tmp_path, capsys)


def envelope_can_be_added_later(folder, tmp_path, capsys):
    """What the data set gives is what stood there, as long as it is the same data set."""
    manifest = folder / 'manifest.yaml'
    whole = manifest.read_bytes()
    tree = yaml.safe_load(whole)
    envelope = tree.pop('envelope')
    manifest.write_text(yaml.safe_dump(tree))
    assert load_manifest(folder).spec.envelope is None
    assert main(['envelope', str(folder)]) == 0
    assert load_manifest(folder).spec.envelope.plain() == envelope
    tree['training']['data']['sha256'] = 64 * '0'
    manifest.write_text(yaml.safe_dump(tree))
    assert main(['envelope', str(folder)]) == 1
    assert f'was trained on {64 * "0"}' in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_follow_the_loss_curve_of_one_on_real_pictures(tmp_path):
    experiment = write(tmp_path, 60)
    # The constants of the seed.
    seed = '--train.learning-rate 1e-4 --train.schedule warm_restarts --train.batch 16'
    calm = '--train.freeze-batch-norm --model.dropout 0 --train.log-steps 1'
    command = ['-m', 'vla_learning.cli', 'train', experiment, *seed.split(), *calm.split()]
    torchrun = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']
    curves = []
    for processes in ([], torchrun):
        folder = tmp_path / f'run{len(curves)}'
        subprocess.run([sys.executable, *processes, *command, '--folder', folder], check=True)
        curves.append(read_curves(folder)['train/loss'][1])
    assert len(curves[0]) == 60
    assert curves[0][-1] < 0.95 * curves[0][0]
    print(f'largest difference {max(abs(a - b) for a, b in zip(*curves, strict=True)):.1e}')
    assert curves[1] == pytest.approx(curves[0], rel=0, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('processes', [1, 2])
def test_run_that_is_terminated_and_given_again_equals_an_uninterrupted_one(tmp_path, processes):
    # With a GPU's batch norm or other thread counts the last bits may differ.
    experiment = write(tmp_path, 60)
    torchrun = ['torch.distributed.run', '--standalone', '--nproc-per-node', str(processes), '-m']
    prefix = [sys.executable, '-m', *(torchrun if processes > 1 else []), 'vla_learning.cli']

    def start(folder):
        return subprocess.Popen(
            [*prefix, 'train', experiment, '--folder', str(folder)],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env=os.environ | {'OMP_NUM_THREADS': '1'},
        )

    assert start(tmp_path / 'whole').wait() == 0
    first = start(tmp_path / 'parts')
    while first.poll() is None and not (tmp_path / 'parts' / STATE_FILE).exists():
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    _, said = first.communicate()
    assert 'vla-learn: SIGTERM at step' in said
    if processes == 1:
        assert first.returncode == 128 + signal.SIGTERM
    assert 0 < read_state(tmp_path / 'parts')['step'] < 60
    assert start(tmp_path / 'parts').wait() == 0
    whole, parts = (read_state(tmp_path / name) for name in ('whole', 'parts'))
    for kind in ('model', 'average'):
        for name, value in whole[kind].items():
            assert torch.equal(value, parts[kind][name]), name
