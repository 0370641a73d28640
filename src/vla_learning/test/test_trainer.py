from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from vla_learning.model import ModelConfig  # noqa: E402
from vla_learning.sim.batches import Sampler  # noqa: E402
from vla_learning.sim.frames import Frames, GRID  # noqa: E402
from vla_learning.sim.sentences import NONSENSE, Sentences  # noqa: E402
from vla_learning.training.trainer import TrainConfig, Trainer  # noqa: E402

SMALL = ModelConfig(tokens=32, channels=(8, 16, 16), hidden=32)


def config(steps):
    return TrainConfig(steps=steps, images=4, instructions=2, intents=12, warmup=1, seed=5)


@pytest.fixture(scope='module')
def sampler():
    """A white picture means drive, a black one means arrived, for the only object there is."""
    white = np.arange(2) == 0
    kinds = np.full((2, 1), 5, np.int8)
    frames = Frames(
        images=np.where(white, 255, 0).astype(np.uint8).reshape(2, 1, 1, 1)
        + np.zeros((2, 96, 192, 3), np.uint8),
        kinds=kinds,
        actions=np.where(white, 0.4, 0.0).reshape(2, 1, 1, 1) * np.ones((2, 1, 8, 2), np.float16),
        done=~white[:, None],
        seen=np.ones((2, 1), bool),
        place=np.full((2, 1, 2), 0.3, np.float16),
        mask=np.ones((2, 1, GRID[0] * GRID[1]), np.uint8),
    )
    random = np.random.default_rng(0)
    count = NONSENSE + 1
    embeddings = random.normal(size=(count, 3, 384)).astype(np.float16)
    sentences = Sentences(embeddings, np.full(count, 3), np.arange(count))
    return Sampler(frames, sentences, np.ones(2))


def weights(trainer):
    return torch.cat([value.flatten() for value in trainer.average.state_dict().values()])


def test_loss_falls(sampler, tmp_path):
    trainer = Trainer(SMALL, replace(config(120), learning_rate=0.005), tmp_path)
    losses = [trainer.train_step(sampler) for _ in range(120)]
    for name in ('action', 'done'):
        first, last = (
            np.mean([loss[name] for loss in part]) for part in (losses[:10], losses[-10:])
        )
        assert last < 0.7 * first, name


def test_resumed_run_equals_an_uninterrupted_one(sampler, tmp_path):
    for name in ('whole', 'parts'):
        (tmp_path / name).mkdir()
    whole = Trainer(SMALL, config(6), tmp_path / 'whole')
    whole.run(sampler, 6)
    Trainer(SMALL, config(6), tmp_path / 'parts').run(sampler, 3)
    resumed = Trainer(SMALL, config(6), tmp_path / 'parts')
    assert resumed.step == 3
    resumed.run(sampler, 6)
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0, atol=0)


def test_checkpoint_is_tensors_only(sampler, tmp_path):
    Trainer(SMALL, config(1), tmp_path).run(sampler, 1)
    state = torch.load(tmp_path / 'checkpoint.pt', weights_only=True)
    assert state['step'] == 1
