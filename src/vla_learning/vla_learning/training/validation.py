"""How well a policy does on pictures that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from vla_learning.data.batch import Batch, Features
from vla_learning.model import Ids
from vla_learning.training.losses import count, Objective


@torch.no_grad()
def validate(
    objective: Objective, batches: Iterator[tuple[Batch, Features | Ids]]
) -> dict[str, float]:
    """Measure the mean loss and the mean absolute error of the actions, over all processes.

    Args:
        objective: policy and losses.
        batches: this process's shares, with the features of their instructions.
    """
    from vla_learning import torchvision_beside_cpu  # noqa: F401, I001 (before torchmetrics)
    from torchmetrics import MeanAbsoluteError, MeanMetric

    device = objective.weight.device
    # torchmetrics gathers over the processes by itself.
    loss, error = MeanMetric().to(device), MeanAbsoluteError().to(device)
    objective.eval()
    for batch, features in batches:
        counts = count(batch)
        found = objective(batch, features, counts)
        loss.update(found.losses.sum(), counts[0])
        error.update(found.actions[batch.valid], batch.actions.float()[batch.valid])
    return {'loss': loss.compute().item(), 'mae': error.compute().item()}
