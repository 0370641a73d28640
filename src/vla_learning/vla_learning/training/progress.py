"""What a run shows of itself: a bar with the time left, and learning curves in TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from vla_learning.training.losses import TERMS

_FOLDER = 'tensorboard'


class Progress:
    """Bar and curves of one call of `run`.

    Args:
        folder: of the run.
        step: steps taken so far; what an interrupted run noted beyond it is hidden.
        until: step that ends the bar.
        every: steps between entries of the curves.
        quiet: show and write nothing, for all processes but the first.
    """

    def __init__(self, folder: Path, step: int, until: int, every: int, quiet: bool) -> None:
        self._every = every
        self._sum: Tensor | None = None
        self._count = 0
        self._bar = tqdm(
            total=until, initial=step, desc='training', mininterval=1, unit='step', disable=quiet
        )
        self._writer = None if quiet else SummaryWriter(str(folder / _FOLDER), purge_step=step + 1)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        if self._writer:
            self._writer.close()

    def step(self, step: int, losses: Tensor, rate: float) -> None:
        """Note a step's weighted losses [terms]; the curves get their mean now and then."""
        self._sum = losses if self._sum is None else self._sum + losses
        self._count += 1
        mean = self._sum / self._count
        self._bar.set_postfix_str(f'loss {mean.sum().item():.5f}', refresh=False)
        self._bar.update()
        if step % self._every == 0:
            named = {f'train/{name}': value for name, value in named_losses(mean).items()}
            self.note(step, named | {'train/learning_rate': rate})
            self._sum, self._count = None, 0

    def note(self, step: int, values: Mapping[str, float]) -> None:
        """Add values to the curves."""
        if self._writer:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
            self._writer.flush()


def named_losses(losses: Tensor) -> dict[str, float]:
    """Return losses [terms] by name, with their sum as `loss`."""
    return {'loss': losses.sum().item(), **dict(zip(TERMS, losses.tolist(), strict=True))}
