"""Learning rate over the steps of a run; knows nothing but the step, so that resuming is exact."""

from __future__ import annotations

import math

from vla_core.errors import ConfigError
from vla_learning.experiment import TrainConfig


def rate(config: TrainConfig, step: int, end: int) -> float:
    """Return the learning rate of a step relative to its peak.

    Args:
        config: schedule, warm-up and lengths.
        step: from 0.
        end: steps of the whole run, where the cosine reaches zero.
    """
    warm = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    if config.schedule == 'constant':
        return warm
    if config.schedule == 'cosine':
        return warm * _cosine(min(1.0, step / end))
    # https://arxiv.org/abs/1608.03983, equation 5 with a minimum of zero.
    position, length = step, config.restart_steps
    while position >= length:
        position -= length
        length *= config.restart_factor
    return warm * _cosine(position / length)


def _cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * share))


def epoch_length(config: TrainConfig, samples: int) -> int:
    """Return the steps of one pass over the data."""
    return max(1, samples // config.batch)


def last_step(config: TrainConfig, samples: int | None) -> int:
    """Return the steps of the whole run.

    Args:
        config: says steps, epochs or both; what comes first ends the run.
        samples: pictures of an epoch; None for an endless stream.

    Raises:
        ConfigError: if only epochs are given and the stream is endless.
    """
    ends = [config.steps] if config.steps is not None else []
    if config.epochs is not None and samples is not None:
        ends.append(config.epochs * epoch_length(config, samples))
    if not ends:
        raise ConfigError(
            f'epochs is {config.epochs} and the data have no end: expected steps as well'
        )
    return min(ends)


def is_checkpoint(config: TrainConfig, step: int, samples: int | None) -> bool:
    """Say whether a checkpoint is due after `step` steps."""
    spans = [config.checkpoint_steps]
    if config.checkpoint_epochs is not None and samples is not None:
        spans.append(config.checkpoint_epochs * epoch_length(config, samples))
    return any(span is not None and step % span == 0 for span in spans)
