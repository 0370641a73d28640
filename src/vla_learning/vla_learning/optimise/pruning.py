"""Removing a fifth of the network without training it again.

Structured: whole channels go, so that the matrices become smaller. Unstructured: the smallest
weights become 0, which dense kernels multiply like any other number; it buys no time.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from itertools import pairwise

import torch
from torch import nn, Tensor
from torch.nn.utils import prune as torch_prune

from vla_learning.model import Policy
from vla_learning.model.vision import CompactTrunk
from vla_learning.onnx_graphs import fold_batch_norms

SHARE = 0.2
_Layer = nn.Conv2d | nn.Linear


def prune(policy: Policy) -> Policy:
    """Copy a policy without the SHARE of hidden channels whose weights are smallest."""
    policy = fold_batch_norms(deepcopy(policy)).eval()
    for producer, consumers in _hidden(policy):
        kept = _largest(producer, round((1 - SHARE) * len(producer.weight)))
        _keep_outputs(producer, kept)
        for consumer in consumers:
            _keep_inputs(consumer, kept)
    return policy


def zero(policy: Policy) -> Policy:
    """Copy a policy with the SHARE of each layer's weights that are smallest set to 0."""
    policy = deepcopy(policy).eval()
    for module in policy.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            torch_prune.l1_unstructured(module, 'weight', SHARE)
            torch_prune.remove(module, 'weight')
    return policy


def _hidden(policy: Policy) -> Iterator[tuple[_Layer, tuple[_Layer, ...]]]:
    """Find channels that nobody but the next layer sees: who makes them, and who reads them."""
    for block in policy.fusion:
        if block.deep:
            yield block.mlp[0], (block.mlp[2],)
    layers = [module for module in policy.trunk if isinstance(module, nn.Linear)]
    yield from ((one, (other,)) for one, other in pairwise(layers))
    yield layers[-1], (policy.action, policy.done, policy.sight)
    if isinstance(policy.vision, CompactTrunk):
        stages = policy.vision.layers
        yield stages[0][0], (stages[1][0],)
        yield stages[1][0], (stages[2][0],)
        yield stages[2][0], (stages[3][0],)
        yield stages[5][0], (stages[6][0],)
        for residual in (stages[4], stages[7]):
            yield residual.first[0], (residual.second[0],)
        return
    for module in policy.vision.modules():
        # A block of a ResNet; its last convolution meets what flows around it.
        inner = [getattr(module, name, None) for name in ('conv1', 'conv2', 'conv3')]
        yield from (
            (one, (other,))
            for one, other in pairwise(inner)
            if isinstance(one, nn.Conv2d) and isinstance(other, nn.Conv2d)
        )


def _largest(layer: _Layer, count: int) -> Tensor:
    sizes = layer.weight.detach().flatten(1).norm(dim=1)
    return sizes.topk(count).indices.sort().values


@torch.no_grad()
def _keep_outputs(layer: _Layer, kept: Tensor) -> None:
    layer.weight = nn.Parameter(layer.weight[kept].contiguous())
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias[kept].contiguous())


@torch.no_grad()
def _keep_inputs(layer: _Layer, kept: Tensor) -> None:
    layer.weight = nn.Parameter(layer.weight[:, kept].contiguous())
    if isinstance(layer, nn.Conv2d):
        layer.in_channels = len(kept)
    else:
        layer.in_features = len(kept)
