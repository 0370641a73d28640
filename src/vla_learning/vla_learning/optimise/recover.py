"""The network in an exported checkpoint of the compact scale, back in torch.

A shipped checkpoint holds graphs alone. Their weights have the names of the network, but for those
of layers without a convolution's shape, which the exporter transposes and numbers: the bias that
is added to their product names them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
import torch
from torch import nn, Tensor

from vla_core.errors import CheckpointError, ConfigError
from vla_core.manifest import IncludedLanguage, Manifest
from vla_inference.onnx_policy import LANGUAGE_FILE, POLICY_FILE
from vla_inference.sessions import open_session
from vla_learning.model import ModelConfig, Policy
from vla_learning.onnx_graphs import PARITY, PolicyGraph, round_weights

# Of training alone: no graph holds it.
_LEFT_OUT = 'sight.'


@torch.no_grad()
def network(manifest: Manifest) -> Policy:
    """Read the network out of the graphs of a folder, and compare it with them.

    Raises:
        CheckpointError: if the graphs are not those of a compact network, or it computes something
            else than they do.
    """
    folder = manifest.folder
    if isinstance(manifest.language, IncludedLanguage):
        raise CheckpointError(
            f'{folder.name}: the network of an exported BERT cannot be read back: expected the '
            "trainer's checkpoint"
        )
    weights = _weights(folder / POLICY_FILE, 'policy.') | _weights(folder / LANGUAGE_FILE, '')
    weights = {name.replace('head.', 'language.', 1): w for name, w in weights.items()}
    try:
        policy = round_weights(Policy(_config(weights, manifest)))
        state = {n: w for n, w in policy.state_dict().items() if n.startswith(_LEFT_OUT)}
        policy.load_state_dict(state | weights)
    except (KeyError, ConfigError, RuntimeError) as error:
        raise CheckpointError(
            f'{folder.name}: the graphs are of no compact network: {error}'
        ) from error
    _compare(policy, folder)
    return policy.eval()


def _weights(file: Path, prefix: str) -> dict[str, Tensor]:
    """Read the weights of a graph by their names in the network."""
    graph = onnx.load(file).graph
    arrays = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    # Halved ones are widened by a Cast that gives them their name.
    for node in graph.node:
        if node.op_type == 'Cast' and node.input[0] in arrays:
            arrays[node.output[0]] = arrays.pop(node.input[0])
    products = {
        node.output[0]: node.input[1]
        for node in graph.node
        if node.op_type == 'MatMul' and node.input[1] in arrays
    }
    for node in graph.node:
        if node.op_type == 'Add':
            product = next((products[name] for name in node.input if name in products), '')
            bias = next((name for name in node.input if name.endswith('.bias')), '')
            if product and bias:
                arrays[bias.removesuffix('bias') + 'weight'] = arrays.pop(product).T
    return {
        name.removeprefix(prefix): torch.tensor(np.array(array, np.float32))
        for name, array in arrays.items()
        if name.startswith(prefix) and '::' not in name
    }


def _config(weights: dict[str, Tensor], manifest: Manifest) -> ModelConfig:
    """Read the sizes off the weights."""
    slot = manifest.spec.cameras[0]
    width = weights['action_query'].shape[-1]
    channels = [len(weights[f'vision.layers.{n}.0.weight']) for n in (0, 1, 3)]
    return ModelConfig(
        height=slot.height,
        width=slot.width,
        words=weights['language.intent_project.weight'].shape[1],
        tokens=width,
        heads=len(weights['language.intent_pool.weight']),
        blocks=len({name.split('.')[1] for name in weights if name.startswith('fusion.')}),
        channels=(channels[0], channels[1], channels[2]),
        hidden=len(weights['trunk.0.weight']),
        horizon=manifest.spec.horizon,
        axes=len(manifest.spec.action_names),
        grounded_heads=0,
        feedforward=len(weights['fusion.0.mlp.0.weight']) // width,
        layers=sum(name.startswith('trunk.') and name.endswith('weight') for name in weights),
        first_look='first_look.query.weight' in weights,
    )


def _compare(policy: Policy, folder: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    config = policy.config
    graph: nn.Module = PolicyGraph(policy).eval()
    session = open_session(folder / POLICY_FILE)
    for words in (1, 4, 9):
        image = torch.randint(
            0, 256, (1, config.height, config.width, 3), generator=generator, dtype=torch.uint8
        )
        tokens = torch.randn(1, words, config.tokens, generator=generator)
        pooled = torch.randn(1, config.tokens, generator=generator)
        inputs = {'image': image, 'tokens': tokens, 'pooled': pooled}
        names = ['actions', 'done']
        found = session.run(names, {name: value.numpy() for name, value in inputs.items()})
        expected = graph(image, tokens, pooled)
        pairs = zip(expected[:2], found, strict=True)
        difference = float(np.max([np.abs(one.numpy() - other).max() for one, other in pairs]))
        if not difference <= PARITY:
            raise CheckpointError(
                f'{folder.name}: the network read from the graphs differs from them by '
                f'{difference:.1e}: expected at most {PARITY}'
            )
