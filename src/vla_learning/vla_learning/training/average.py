"""A running average of weights, which does better than any of the weights it is made of."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, keep: float, step: int) -> None:
    """Move an average towards the weights of now; what is no floating point is taken over.

    Args:
        average: moved.
        model: of the same kind.
        keep: share of the average that stays.
        step: optimiser steps taken, at least 1.
    """
    # Early on the average would be dominated by the random start.
    keep = min(keep, step / (step + 20))
    new = model.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(new[name], 1 - keep)
        else:
            value.copy_(new[name])
