"""`vla-learn full-size`: a full-size checkpoint to measure with, its head fitted to recordings.

Weights that are not on this machine are random. Statistics of the batch norms are taken from the
frames, and the last layer is fitted by least squares to the recorded actions, so that what it says
depends on the picture as a trained policy's does. It is made to be timed and compared, not to
drive.

Shape legend: N frames, H horizon, D axes, U hidden units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import nn, Tensor
import tyro

from vla_core.errors import ConfigError
from vla_core.types import CameraSlot, PolicySpec, Representation
from vla_learning.checkpoint import save
from vla_learning.data.batch import Batch
from vla_learning.data.episodes import unit_of
from vla_learning.data.source import RecordedSource, View
from vla_learning.model import Bert, create, encoder_for, ModelConfig, Policy
from vla_learning.model.encoders import read_tokenizer
from vla_learning.model.minilm import installed_tokenizer
from vla_learning.optimise.ridge import ridge
from vla_learning.optimise.sampling import cameras

_BATCH = 16
#: Strength of the ridge. With less, recordings that are left out are told worse than by the mean.
_RIDGE = 1.0
#: Native actions this near ±1 would need an infinite sum before tanh.
_LARGEST = 0.95


@dataclass(frozen=True)
class FullSize:
    """Make a full-size checkpoint (ResNet-50, BERT-base) whose head is fitted to recordings.

    Attributes:
        folder: to write.
        data: recordings.
        fps: frames per second, where the recordings do not say it.
        bert: name or folder of a BERT; empty: random weights of BERT-base's sizes.
        horizon: steps of a chunk.
        representation: what the recorded actions mean; a wheeled robot's are VELOCITY.
        max_inference: s that it promises for a frame; a robot file says what it allows.
        seed: of the random weights.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    data: Path
    fps: float | None = None
    bert: str = ''
    horizon: int = 8
    representation: Literal['VELOCITY', 'DELTA'] = 'DELTA'
    max_inference: float = 0.2
    seed: int = 0


def command(options: FullSize) -> int:
    """Make it; returns the exit status."""
    residual = make(options)
    print(f'{options.folder}: head explains {100 * (1 - residual):.0f} % of the actions')
    return 0


@torch.no_grad()
def make(options: FullSize) -> float:
    """Make and save it.

    Returns:
        Share of the actions' variance that the fitted head leaves.

    Raises:
        ConfigError: if the folder holds something else, the BERT is not there, or nothing says how
            far apart the frames are.
        DataError: if the recordings cannot be used.
    """
    torch.manual_seed(options.seed)
    size = ModelConfig.full()
    slot = CameraSlot('front', size.width, size.height, 'stretch')
    sources = [
        RecordedSource(one, View(slot, options.horizon), _BATCH, 'all')
        for one in cameras(options.data, '', options.fps, options.seed)
    ]
    source = sources[0]
    if not source.recording.fps:
        raise ConfigError(f'{options.data.name}: fps is unknown: expected --fps')
    config = ModelConfig.full(horizon=options.horizon, axes=len(source.axes))
    policy = _network(config, options.bert)
    batches = [one.batch(step) for one in sources for step in range(one.samples // _BATCH)]
    # A camera that was not plugged in recorded one colour.
    batches = [batch for batch in batches if batch.image.min() < batch.image.max()]
    if not batches:
        raise ConfigError(f'{options.data.name}: expected at least {_BATCH} frames of a camera')
    _calm(policy)
    _settle(policy, batches[:: max(1, len(batches) // 4)])
    hidden, actions, valid = _hidden(policy, batches)
    residual = fit(policy.action, hidden, actions, valid)
    policy.accept_everything()
    spec = PolicySpec(
        model_id='full-size',
        cameras=(slot,),
        action_names=source.axes,
        action_units=tuple(unit_of(axis, options.representation) for axis in source.axes),
        action_scale=tuple(map(float, source.action_scale)),
        representation=Representation[options.representation],
        horizon=config.horizon,
        step_dt=1.0 / source.recording.fps,
        rate=source.recording.fps,
        max_inference=options.max_inference,
        max_observation_age=1.0,
    )
    training = {'made': 'to be measured: fitted head', 'data': options.data.name}
    save(options.folder, policy.eval(), spec, training)
    return residual


def fit(layer: nn.Linear, hidden: Tensor, actions: Tensor, valid: Tensor) -> float:
    """Fit the last layer by ridge regression before its tanh.

    Args:
        layer: takes the solution, [H * D, U].
        hidden: [N, U].
        actions: native, [N, H * D].
        valid: bool, likewise; what is not taught counts as 0.

    Returns:
        Share of the variance that is left.
    """
    target = torch.where(valid, actions, torch.zeros_like(actions)).double()
    wanted = target.clamp(-_LARGEST, _LARGEST).atanh()
    weight, bias = map(torch.from_numpy, ridge(hidden.numpy(), wanted.numpy(), _RIDGE))
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
    left = target - (hidden.double() @ weight.T + bias).tanh()
    return float(left.square().sum() / (target - target.mean(dim=0)).square().sum())


def _network(config: ModelConfig, bert: str) -> Policy:
    if bert:
        return create(config, bert)
    tokenizer = read_tokenizer(installed_tokenizer())
    return Policy(config, Bert.build({'model_type': 'bert'}, tokenizer))


def _calm(policy: Policy) -> None:
    """Scale what each residual block adds by one over the root of their number.

    At scale 1, sixteen random blocks make a change of the picture by 0.1 % a hundred times larger,
    so that even the last bits of float32 would show in the actions. A trained network does not.
    """
    blocks = [module for module in policy.vision.modules() if hasattr(module, 'bn3')]
    for block in blocks:
        block.bn3.weight.fill_(len(blocks) ** -0.5)


def _settle(policy: Policy, batches: Sequence[Batch]) -> None:
    """Let the batch norms see some frames: random layers have no statistics."""
    policy.eval()
    for module in policy.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
            module.train()
    for batch in batches:
        policy.vision(batch.image)
    policy.eval()


def _hidden(policy: Policy, batches: Sequence[Batch]) -> tuple[Tensor, Tensor, Tensor]:
    """Run the network up to its last layer: hidden [N, U], actions and valid [N, H * D]."""
    encoder = encoder_for(policy)
    policy.encoder.requires_grad_(False)
    kept: list[Tensor] = []
    hook = policy.action.register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    for batch in batches:
        policy(batch.image, encoder.encode(batch.text))
    hook.remove()
    return (
        torch.cat(kept),
        torch.cat([batch.actions.flatten(1) for batch in batches]),
        torch.cat([batch.valid.flatten(1) for batch in batches]),
    )
