from dataclasses import replace
import json
import os
from pathlib import Path
import signal
import subprocess
import sys

import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('accelerate')

from tokenizers import Tokenizer  # noqa: E402
from tokenizers.models import WordLevel  # noqa: E402
from tokenizers.pre_tokenizers import Whitespace  # noqa: E402

from vla_core.errors import CheckpointError, ConfigError  # noqa: E402
from vla_learning.data.batch import Batch, Features  # noqa: E402
from vla_learning.experiment import DataConfig, Experiment, TrainConfig  # noqa: E402
from vla_learning.model import Bert, ModelConfig, Policy  # noqa: E402
from vla_learning.report.curves import read_curves  # noqa: E402
from vla_learning.training.interruption import Interrupted  # noqa: E402
from vla_learning.training.state import STATE_FILE  # noqa: E402
from vla_learning.training.trainer import LossNotFinite, Trainer  # noqa: E402

MODEL = ModelConfig(
    height=32, width=32, words=8, tokens=16, heads=2, channels=(4, 8, 8), hidden=16, horizon=2
)


class Lamps:
    """Pictures whose brightness is the speed that is wanted; every batch has all of them."""

    samples = 8

    def __init__(self, bad_step=None, at_step=None):
        self.bad_step = bad_step
        self.at_step = at_step

    def batch(self, step, part=0, parts=1):
        if self.at_step is not None:
            self.at_step(step)
        random = torch.Generator().manual_seed(step)
        rows = torch.randperm(8, generator=random).view(parts, -1)[part]
        image = (rows * 30).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 32, 32, 3)
        actions = (rows / 8).view(-1, 1, 1).expand(-1, 2, 7).clone()
        if step == self.bad_step and 4 in rows:
            actions[rows == 4] = float('nan')
        count = len(rows)
        words = torch.randn(8, 4, 8, generator=torch.Generator().manual_seed(0))[rows]
        return Batch(
            image=image.contiguous(),
            text=tuple(f'go at {row}' for row in rows.tolist()),
            actions=actions,
            # Unequal numbers in the parts of a batch: each must count as much as it should.
            valid=(rows % 3 > 0).view(-1, 1, 1).expand(-1, 2, 7),
            rows=rows,
            features=Features(words, torch.zeros(count, 4, dtype=torch.bool)),
        )


def experiment(**train):
    values = {'steps': 6, 'batch': 8, 'learning_rate': 0.01, 'ema': 0.9, 'device': 'cpu'}
    config = TrainConfig(**(values | train))
    return Experiment(data=DataConfig(kind='sim'), model=MODEL, train=config)


def weights(trainer):
    both = [trainer.model.state_dict(), trainer.average.state_dict()]
    return torch.cat([value.flatten().float() for state in both for value in state.values()])


def test_loss_falls(tmp_path):
    trainer = Trainer(experiment(steps=80), Lamps(), tmp_path)
    trainer.run(1)
    first = trainer.losses['loss']
    trainer.run()
    assert trainer.step == 80
    assert trainer.losses['loss'] < 0.3 * first


def test_16_bit_is_nearly_but_not_quite_32_bit(tmp_path):
    found = []
    for precision in ('no', 'bf16'):
        trainer = Trainer(calm(precision=precision), Lamps(), tmp_path / precision)
        trainer.run()
        assert {value.dtype for value in trainer.model.parameters()} == {torch.float32}
        found.append(trainer.losses['loss'])
    assert found[0] != pytest.approx(found[1], rel=1e-6)
    assert found[0] == pytest.approx(found[1], rel=0.05)


@pytest.mark.parametrize('workers', [0, 2])
def test_resumed_run_equals_an_uninterrupted_one(tmp_path, workers):
    whole = Trainer(experiment(), Lamps(), tmp_path / 'whole')
    whole.run()
    plan = experiment(workers=workers)
    Trainer(plan, Lamps(), tmp_path / 'parts').run(3)
    resumed = Trainer(plan, Lamps(), tmp_path / 'parts')
    assert resumed.step == 3
    resumed.run()
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.losses == whole.losses


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_run_between_two_steps(tmp_path, number):
    whole = Trainer(experiment(), Lamps(), tmp_path / 'whole')
    whole.run()

    def interrupt(step):
        if step == 4:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    trainer = Trainer(experiment(), Lamps(at_step=interrupt), tmp_path / 'parts')
    with pytest.raises(Interrupted, match=rf'{number.name} at step 4 of 6: saved') as stop:
        trainer.run()
    assert stop.value.signal == number
    assert signal.getsignal(number) is before
    resumed = Trainer(experiment(), Lamps(), tmp_path / 'parts')
    resumed.run()
    assert torch.equal(weights(resumed), weights(whole))


def test_signal_while_the_last_step_before_a_pause_is_saved_is_not_forgotten(tmp_path):
    trainer = Trainer(experiment(), Lamps(), tmp_path / 'parts')
    save = trainer.save

    def save_meanwhile():
        os.kill(os.getpid(), signal.SIGINT)
        save()

    trainer.save = save_meanwhile
    with pytest.raises(Interrupted, match='SIGINT at step 3 of 6: saved'):
        trainer.run(3)
    assert Trainer(experiment(), Lamps(), tmp_path / 'parts').step == 3


def test_sixteen_bit_floats_of_gpus_are_refused_on_a_cpu(tmp_path):
    with pytest.raises(ConfigError, match='precision fp16 on a CPU: expected bf16 or no'):
        Trainer(experiment(precision='fp16', device='cpu'), Lamps(), tmp_path / 'run')


def calm(**train):
    """An experiment in which pictures do not matter to each other: a batch may be cut."""
    plan = experiment(freeze_batch_norm=True, log_steps=1, **train)
    return replace(plan, model=replace(MODEL, dropout=0.0))


def curve(folder):
    steps, values = read_curves(folder)['train/loss']
    assert steps == list(range(1, 7))
    return values


def test_pieces_and_processes_give_the_losses_of_the_whole_batch(tmp_path):
    Trainer(calm(), Lamps(), tmp_path / 'whole').run()
    Trainer(calm(pieces=4), Lamps(), tmp_path / 'pieces').run()
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    command = [*torchrun, '--nproc-per-node', '2', __file__, str(tmp_path / 'processes')]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('processes: 2') == 2
    whole = curve(tmp_path / 'whole')
    assert whole[-1] < whole[0]
    assert curve(tmp_path / 'pieces') == pytest.approx(whole, rel=0, abs=1e-5)
    assert curve(tmp_path / 'processes') == pytest.approx(whole, rel=0, abs=1e-5)


class Spoken(Lamps):
    """Lamps whose instructions nobody has embedded."""

    def batch(self, step, part=0, parts=1):
        return replace(super().batch(step, part, parts), features=None)


@pytest.mark.parametrize('learning', [0, 1])
def test_bert_of_the_policy_learns_its_last_layers_or_rests(tmp_path, learning):
    unknown = '[UNK]'
    words = {word: number for number, word in enumerate([unknown, 'go', 'at', *'01234567'])}
    tokenizer = Tokenizer(WordLevel(words, unk_token=unknown))
    tokenizer.pre_tokenizer = Whitespace()
    sizes = {'vocab_size': len(words), 'hidden_size': 8, 'num_attention_heads': 2}
    sizes |= {'num_hidden_layers': 2, 'intermediate_size': 8}
    policy = Policy(replace(MODEL, encoder='bert'), Bert.build(sizes, tokenizer))
    policy.unfreeze('language', learning)
    before = {name: value.clone() for name, value in policy.encoder.named_parameters()}
    Trainer(experiment(steps=2), Spoken(), tmp_path, policy=policy).run()
    moved = {
        name.split('.')[3]
        for name, value in policy.encoder.named_parameters()
        if not torch.equal(value, before[name])
    }
    assert moved == ({'1'} if learning else set())


def test_loss_that_is_not_finite_stops_and_names_the_batch(tmp_path):
    Trainer(experiment(), Lamps(), tmp_path).run(3)
    before = (tmp_path / STATE_FILE).read_bytes()
    with pytest.raises(LossNotFinite, match=r'step 4: loss nan') as error:
        Trainer(experiment(), Lamps(bad_step=4), tmp_path).run()
    (note,) = tmp_path.glob('not_finite_*.json')
    assert str(note) in str(error.value)
    found = json.loads(note.read_text())
    assert found['step'] == 4
    assert sorted(found['rows']) == list(range(8))
    assert 'go at 4' in found['texts']
    assert (tmp_path / STATE_FILE).read_bytes() == before


def test_every_frame_kept_back_is_validated_once(tmp_path):
    seen = []

    class Few(Lamps):
        samples = 20

        def batch(self, step, part=0, parts=1):
            seen.append(step)
            batch = super().batch(step, part, parts)
            if step < 2:
                return batch
            return replace(
                batch,
                image=batch.image[:4],
                text=batch.text[:4],
                actions=batch.actions[:4],
                valid=batch.valid[:4],
                rows=batch.rows[:4],
                features=Features(*(value[:4] for value in batch.features)),
            )

    Trainer(experiment(steps=1), Lamps(), tmp_path, validation=Few()).run()
    assert seen == [0, 1, 2]


def test_curves_of_steps_that_were_lost_are_hidden(tmp_path):
    plan = experiment(log_steps=1)
    Trainer(plan, Lamps(), tmp_path).run(2)
    saved = (tmp_path / STATE_FILE).read_bytes()
    Trainer(plan, Lamps(), tmp_path).run(4)
    (tmp_path / STATE_FILE).write_bytes(saved)
    Trainer(plan, Lamps(), tmp_path).run()
    assert read_curves(tmp_path)['train/loss'][0] == [1, 2, 3, 4, 5, 6]


def test_other_experiment_in_the_folder_is_refused(tmp_path):
    Trainer(experiment(), Lamps(), tmp_path).run(1)
    with pytest.raises(ConfigError, match=r'train\.learning_rate was 0\.01 and is 0\.1: expected'):
        Trainer(experiment(learning_rate=0.1), Lamps(), tmp_path)
    assert Trainer(experiment(workers=1), Lamps(), tmp_path).step == 1


def test_damaged_state_is_named(tmp_path):
    Trainer(experiment(), Lamps(), tmp_path).run(1)
    path = tmp_path / STATE_FILE
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match='expected the state of a run'):
        Trainer(experiment(), Lamps(), tmp_path)


def test_batch_that_cannot_be_shared_out_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='batch is 8: expected a multiple of 3'):
        Trainer(experiment(pieces=3), Lamps(), tmp_path)


def test_best_and_last_are_published_with_their_origin(tmp_path):
    published = []

    def publish(folder, policy, training):
        assert torch.isfinite(policy.action.weight).all()
        published.append((folder.name, training['step'], training['validation']))

    plan = experiment(steps=6, validation_steps=2, checkpoint_epochs=3, log_steps=2)
    Trainer(plan, Lamps(), tmp_path, validation=Lamps(), publish=publish).run()
    names = [(name, step) for name, step, _ in published]
    assert [item for item in names if item[0] == 'last'] == [('last', 3), ('last', 6)]
    losses = [known['loss'] for name, _, known in published if name == 'best']
    assert losses == sorted(losses, reverse=True)
    assert len(losses) >= 2
    curves = read_curves(tmp_path)
    assert curves['train/loss'][0] == [2, 4, 6]
    assert curves['validation/mae'][0] == [2, 4, 6]
    assert min(curves['validation/loss'][1]) == pytest.approx(losses[-1])


if __name__ == '__main__':
    trainer = Trainer(calm(device='auto'), Lamps(), Path(sys.argv[1]))
    trainer.run()
    print(f'processes: {trainer.processes}')
