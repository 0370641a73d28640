from dataclasses import replace
from pathlib import Path
import pickle

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from vla_core.errors import CheckpointError, ConfigError  # noqa: E402
from vla_core.manifest import load_manifest  # noqa: E402
from vla_core.policy import native_spec  # noqa: E402
from vla_core.types import Intent, Observation  # noqa: E402
from vla_inference.onnx_policy import OnnxPolicy  # noqa: E402
from vla_learning.checkpoint import save  # noqa: E402
from vla_learning.cli import main  # noqa: E402
from vla_learning.model import Policy  # noqa: E402
from vla_learning.native_policy import NativePolicy  # noqa: E402
from vla_learning.sim import choosing, recipe  # noqa: E402
from vla_learning.sim.frames import render_shard  # noqa: E402
from vla_learning.sim.views import slot_of  # noqa: E402
from vla_learning.structure import plain  # noqa: E402
from vla_learning.training.state import read_state, STATE_FILE, write_state  # noqa: E402


def test_whole_path_gives_a_checkpoint_that_loads_and_runs(tmp_path):
    run, checkpoint = tmp_path / 'run', tmp_path / 'demo'
    arguments = ['demo', '--smoke', '--run', str(run), '--checkpoint', str(checkpoint)]
    assert main(arguments) == 0
    manifest = load_manifest(checkpoint)
    assert manifest.policy == 'onnx'
    assert manifest.training['step'] == 4
    assert manifest.training['on_policy_frames'] > 0
    envelope = manifest.spec.envelope
    assert -0.5 < envelope.actions['linear.x'].min < 0.0 < envelope.actions['linear.x'].max < 0.6
    assert envelope.actions['linear.y'].max == 0.0
    assert 'frames of driving' in envelope.source
    assert envelope.images['front']['luminance'].count == 2000
    assert max(manifest.parity['largest_difference'].values()) <= manifest.parity['bound']
    policy = OnnxPolicy(checkpoint)
    language = policy.encode('go to the red box')
    assert language.intent in Intent
    image = np.zeros((96, 192, 3), np.uint8)
    assert policy.infer(Observation({'front': image}, 0), language).actions.shape == (8, 7)

    before = (run / STATE_FILE).stat().st_mtime_ns
    assert main(arguments) == 0
    assert (run / STATE_FILE).stat().st_mtime_ns >= before

    (checkpoint / 'policy.onnx').write_bytes(b'other')
    with pytest.raises(CheckpointError, match=r'policy\.onnx'):
        OnnxPolicy(checkpoint)


@pytest.mark.parametrize(
    ('model', 'sim', 'message'),
    [
        ({'trunk': 'resnet18'}, {}, "model trunk 'resnet18': the simulator teaches 'compact'"),
        ({'encoder': 'bert'}, {}, "model encoder 'bert': the simulator teaches 'minilm'"),
        ({'words': 768}, {}, 'model words 768: the simulator teaches 384'),
        ({'horizon': 4}, {}, 'model horizon 4: the simulator teaches 8'),
        ({'axes': 2}, {}, 'model axes 2: the simulator teaches 7'),
        ({}, {'frames': 1_600_001}, 'frames 1600001: expected at most 1600000'),
        ({}, {'rounds': (1, 2), 'episodes': 5001}, '2 rounds of 5001 episodes: expected at most'),
    ],
)
def test_what_the_simulator_cannot_teach_is_refused_before_anything_is_rendered(
    tmp_path, monkeypatch, model, sim, message
):
    monkeypatch.setattr(recipe, 'collect', lambda *job: pytest.fail('rendered'))
    data = replace(recipe.SMOKE.data, sim=replace(recipe.SMOKE.data.sim, **sim))
    wrong = replace(recipe.SMOKE, data=data, model=replace(recipe.SMOKE.model, **model))
    with pytest.raises(ConfigError, match=message):
        recipe.follow(wrong, tmp_path / 'run', tmp_path / 'checkpoint')
    assert not list(tmp_path.iterdir())


def test_a_folder_of_another_experiment_is_refused_before_anything_is_rendered(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(recipe, 'collect', lambda *job: pytest.fail('rendered'))
    state = dict.fromkeys(('data', 'step', 'model', 'average', 'optimizer'))
    state |= dict.fromkeys(('scaler', 'best', 'validated'))
    write_state(tmp_path, state | {'experiment': plain(recipe.SMOKE)})
    more = recipe.scaled(recipe.SMOKE, 400, None)
    for make in (recipe.follow, recipe.export_run):
        with pytest.raises(ConfigError, match=r'data\.sim\.frames was 60 and is 400'):
            make(more, tmp_path, tmp_path / 'checkpoint')
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]


def test_of_a_folder_without_a_run_nothing_is_exported(tmp_path):
    with pytest.raises(ConfigError, match='holds no run'):
        recipe.export_run(recipe.SMOKE, tmp_path, tmp_path / 'checkpoint')


def test_a_run_learns_from_the_pictures_that_it_asks_for_and_goes_on_with_no_others(tmp_path):
    run, frames = tmp_path / 'run', tmp_path / 'run' / 'frames'
    small = recipe.scaled(recipe.SMOKE, 8, None)
    small = replace(small, data=replace(small.data, sim=replace(small.data.sim, rounds=())))
    # Of an interrupted run that wanted more, and of a policy whose state was removed.
    render_shard(frames / 'shard_0000', 0, 12)
    render_shard(frames / 'shard_0001', 500, 4)
    render_shard(run / 'on_policy' / 'round_0', 400_000, 4)
    recipe.follow(small, run, tmp_path / 'demo')
    training = load_manifest(tmp_path / 'demo').training
    assert (training['sampled_frames'], training['on_policy_frames']) == (8, 0)
    assert len(recipe.open_source(small, run, recipe._sentences(small, run))._frames) == 8

    render_shard(frames / 'shard_0000', 100, 8)
    with pytest.raises(ConfigError, match='holds a run on other data'):
        recipe.follow(small, run, tmp_path / 'demo')


def test_checkpoints_that_nobody_would_write_are_refused():
    train = replace(recipe.SMOKE.train, checkpoint_steps=500)
    with pytest.raises(ConfigError, match=r'checkpoint_steps 500: .* --export-only'):
        recipe.check(replace(recipe.SMOKE, train=train))


def test_as_many_rounds_as_there_are_layouts_are_allowed():
    sim = replace(recipe.SMOKE.data.sim, rounds=(1, 2), episodes=5000, frames=1_600_000)
    recipe.check(replace(recipe.SMOKE, data=replace(recipe.SMOKE.data, sim=sim)))


def test_seed_of_the_judging_range_is_refused(capsys, tmp_path):
    assert main(['choose', '--checkpoint', str(tmp_path), '--seed', '1000001']) == 1
    assert 'expected 500000 to 999999' in capsys.readouterr().err


@pytest.mark.parametrize('category', ['go_to', 'motion'])
@pytest.mark.parametrize('episodes', ['0', '-5'])
def test_episodes_that_are_none_are_refused(capsys, category, episodes):
    assert main(['choose', '--episodes', episodes, '--categories', category]) == 1
    assert f'episodes is {episodes}: expected at least 1' in capsys.readouterr().err


def test_what_the_trainer_wrote_is_driven_as_a_robot_opens_it(monkeypatch, tmp_path):
    policy = Policy(recipe.SMOKE.model).eval()
    spec = replace(native_spec('mine'), cameras=(slot_of(recipe.SMOKE.model),))
    save(tmp_path / 'native', policy, spec, {})
    driven = []
    monkeypatch.setattr(choosing, 'refusals', lambda policy: {})
    monkeypatch.setattr(choosing, 'choose', lambda policy, *how: driven.append(policy) or {})
    assert main(['choose', '--checkpoint', str(tmp_path / 'native')]) == 0
    assert isinstance(driven[0], NativePolicy)


@pytest.mark.parametrize(
    ('steps', 'message'),
    [
        ('1', r'steps is 1: expected at least 2, so that none of the rounds [2] of 4 steps'),
        ('0', 'steps is 0: expected at least 1'),
    ],
)
def test_too_few_steps_for_a_round_are_named(capsys, tmp_path, steps, message):
    assert main(['demo', '--smoke', '--steps', steps, '--run', str(tmp_path / 'run')]) == 1
    assert message in capsys.readouterr().err
    assert recipe.scaled(recipe.SMOKE, None, 2).data.sim.rounds == (1,)


@pytest.mark.parametrize(
    'content',
    [None, b'', b'hello world', pickle.dumps(Path('x'))],
    ids=['cut off', 'empty', 'text', 'code'],
)
def test_damaged_state_is_one_line_without_advice_of_torch(tmp_path, content):
    file = tmp_path / STATE_FILE
    torch.save({'step': torch.zeros(1000)}, file)
    file.write_bytes(file.read_bytes()[:500] if content is None else content)
    with pytest.raises(CheckpointError, match=r'remove the file to begin anew$') as caught:
        read_state(tmp_path)
    assert str(caught.value).startswith(f'{file}: ')
    assert not [part for part in ('\n', 'http', '. ', ': :') if part in str(caught.value)]
