"""What the network is taught.

Every term is a sum over what counts divided by how much counts in the whole batch, so that shares
of a batch, in pieces or in processes, add up to the very loss of the whole.

Shape legend: N pairs of picture and instruction, H horizon, D axes, G vision tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn, Tensor
from torch.nn import functional

from vla_core.errors import ConfigError
from vla_learning.data.batch import Batch, Features, Scene
from vla_learning.experiment import LossConfig
from vla_learning.model import Ids, Output, Policy

#: Names of the terms, in the order of `count`.
TERMS = ('action', 'done', 'sight', 'place', 'ground')


class Result(NamedTuple):
    """What a share of a batch contributes.

    Attributes:
        losses: float [terms], weighted; their sum over all shares is the loss of the batch.
        actions: float [N, H, D], predicted.
    """

    losses: Tensor
    actions: Tensor


def count(batch: Batch) -> Tensor:
    """Return how much each term counts in a share of a batch, float [terms]."""
    zero = batch.valid.new_zeros((), dtype=torch.float32)
    counts = [batch.valid.sum().float(), zero, zero, zero, zero]
    if batch.scene is not None:
        goals = (~batch.scene.motion).sum().float()
        number = zero + len(batch.actions)
        counts[1:] = [number, goals, number, goals]
    return torch.stack(counts)


def action_error(config: LossConfig, found: Tensor, wanted: Tensor) -> Tensor:
    """Return the error of each action value, of the shape of the arguments."""
    if config.kind == 'mse':
        return functional.mse_loss(found, wanted, reduction='none')
    if config.kind == 'l1':
        return functional.l1_loss(found, wanted, reduction='none')
    if config.kind == 'huber':
        return functional.huber_loss(found, wanted, reduction='none', delta=config.beta)
    return functional.smooth_l1_loss(found, wanted, reduction='none', beta=config.beta)


class Objective(nn.Module):
    """Policy and losses in one module, so that a wrapper sees every use of a parameter.

    Args:
        policy: the network.
        config: weights of the terms.

    Raises:
        ConfigError: if the weights do not fit the network's axes.
    """

    def __init__(self, policy: Policy, config: LossConfig) -> None:
        super().__init__()
        self.policy = policy
        self.config = config
        sizes = policy.config
        axes = config.axis_weights or (1.0,) * sizes.axes
        if len(axes) != sizes.axes:
            raise ConfigError(f'axis_weights are {axes}: expected {sizes.axes}, one for each axis')
        fading = torch.linspace(1.0, config.fading, sizes.horizon)
        self.register_buffer('weight', fading[:, None] * torch.tensor(axes), persistent=False)

    def forward(self, batch: Batch, said: Features | Ids, counts: Tensor) -> Result:
        """Compare the network with the batch.

        Args:
            batch: a share.
            said: its instructions, embedded or as ids for the policy's own encoder.
            counts: of the whole batch, as of `count`.

        Raises:
            ConfigError: if the batch's actions have another shape than the network's.
        """
        output = self.policy(batch.image, said)
        if output.actions.shape != batch.actions.shape:
            raise ConfigError(
                f'actions of the data have the shape {list(batch.actions.shape[1:])}: '
                f'expected {list(output.actions.shape[1:])} [horizon, axes] of the model'
            )
        config, found = self.config, output.actions.float()
        # What is not valid may be anything, NaN too, and would come back in the gradient.
        wanted = torch.where(batch.valid, batch.actions.float(), 0.0)
        error = action_error(config, found, wanted) * self.weight * batch.valid
        terms = dict.fromkeys(TERMS, error.new_zeros(()))
        terms['action'] = config.action * error.sum()
        if batch.scene is not None:
            terms |= self._scene(output, batch.scene)
        losses = torch.stack([terms[name] for name in TERMS]) / counts.clamp(min=1)
        return Result(losses, found)

    def _scene(self, output: Output, scene: Scene) -> dict[str, Tensor]:
        config, sight = self.config, output.sight.float()
        goal, seen = ~scene.motion, scene.seen.float()
        done = functional.binary_cross_entropy_with_logits(
            output.done.float(), scene.done.float(), reduction='none'
        )
        in_sight = functional.binary_cross_entropy_with_logits(sight[:, 0], seen, reduction='none')
        # log of the gap, offset so that contact (gap 0) stays finite.
        gap = torch.log(scene.place[:, 1].clamp(min=0) + 0.1)
        wanted = torch.stack([scene.place[:, 0], gap], -1)
        place = functional.smooth_l1_loss(sight[:, 1:], wanted, beta=0.05, reduction='none')
        grounding = self._grounding(output.attention, scene.mask)
        if output.first_attention is not None:
            grounding = grounding + self._grounding(output.first_attention, scene.first)
        return {
            'done': config.done * done.sum(),
            'sight': config.sight * in_sight[goal].sum(),
            'place': config.place * (place.sum(-1) * seen).sum(),
            'ground': config.ground * grounding[goal].sum(),
        }

    def _grounding(self, attention: Tensor, mask: Tensor) -> Tensor:
        """Say how far the grounded heads look past an object, [N].

        Args:
            attention: [N, heads, 1 + G]; entry 0 is for what is not in the picture.
            mask: [N, G], pixels of the object.
        """
        share = mask / mask.sum(-1, keepdim=True).clamp(min=1)
        share = torch.cat([(mask.sum(-1, keepdim=True) == 0).float(), share], dim=1)[:, None]
        looked = attention[:, : self.policy.config.grounded_heads].float()
        cross_entropy = -(share * torch.log(looked + 1e-5)).sum(-1).mean(-1)
        # Entropy of the target is a floor that would hide progress.
        floor = -(share * torch.log(share + 1e-5)).sum(-1).mean(-1)
        return cross_entropy - floor
