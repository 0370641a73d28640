"""What a run begins with: the policy of an experiment, before it has learned anything."""

from __future__ import annotations

from pathlib import Path

import torch

from vla_learning.experiment import Experiment
from vla_learning.model import create, Policy


def make_policy(experiment: Experiment) -> Policy:
    """Make the policy of an experiment, with what is to stay as it is frozen."""
    config = experiment.train
    torch.manual_seed(config.seed)
    imagenet = Path(config.imagenet) if config.imagenet else None
    policy = create(experiment.model, config.bert, imagenet)
    if config.vision_layers is not None:
        policy.unfreeze('vision', config.vision_layers)
    if policy.encoder is not None:
        policy.unfreeze('language', config.language_layers)
    if config.freeze_batch_norm:
        policy.freeze_batch_norm()
    return policy
