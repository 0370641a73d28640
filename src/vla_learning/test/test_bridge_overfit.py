"""A network that cannot learn 32 pictures by heart has a fault that no amount of data mends."""

from pathlib import Path

import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('accelerate')

from vla_core.types import CameraSlot  # noqa: E402
from vla_learning.data.source import open_source, Recorded, View  # noqa: E402
from vla_learning.experiment import DataConfig, Experiment, TrainConfig  # noqa: E402
from vla_learning.model import encoder_for, ModelConfig  # noqa: E402
from vla_learning.training.trainer import Trainer  # noqa: E402

BRIDGE = Path(__file__).parent / 'data/bridge'
BOUND = 1e-4


class OneBatch:
    samples = 32

    def __init__(self, batch):
        self._batch = batch

    def batch(self, step, part=0, parts=1):
        return self._batch


def bridge(folder):
    recorded = Recorded(BRIDGE, fps=5.0, derived=folder, gripper='open')
    view = View(CameraSlot('front', 64, 64, 'stretch'), 2)
    return open_source(recorded, view, 32, 'all').batch(0)


@pytest.mark.slow
def test_32_real_pictures_are_learned_by_heart(tmp_path):
    model = ModelConfig(height=64, width=64, horizon=2, dropout=0.0)
    batch = bridge(tmp_path)
    assert len(batch.image) == len(torch.unique(batch.image.flatten(1), dim=0)) == 32
    assert len(set(batch.text)) == 4
    train = TrainConfig(
        steps=500, batch=32, learning_rate=1e-3, weight_decay=0.0, device='cpu', warmup=20
    )
    plan = Experiment(data=DataConfig(kind='recorded', path='bridge'), model=model, train=train)
    trainer = Trainer(plan, OneBatch(batch), tmp_path / 'run')
    trainer.run()
    policy = trainer.model.eval()
    with torch.no_grad():
        found = policy(batch.image, encoder_for(policy).encode(batch.text)).actions
    error = float(((found - batch.actions) ** 2)[batch.valid].mean())
    spread = float(batch.actions[batch.valid].var())
    print(f'mean square error {error:.1e} of 32 pictures, variance of their actions {spread:.2f}')
    assert spread > 0.05
    assert error < BOUND
