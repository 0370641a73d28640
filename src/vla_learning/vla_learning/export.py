"""Export: the trained network as ONNX graphs in a checkpoint folder with its manifest.

Weights are stored as float16 and widened when the graph is loaded. They are rounded in the torch
model first, so that what is exported is what is compared with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
import shutil
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import torch
from torch import nn, Tensor
import yaml

from vla_core.errors import CheckpointError
from vla_core.manifest import FILE_NAME, SCHEMA_VERSION, sha256
from vla_core.types import NATIVE_AXES, NATIVE_UNITS
from vla_inference.encoder import open_session
from vla_inference.onnx_policy import LANGUAGE_FILE, MEAN_FILE, POLICY_FILE
from vla_learning.model import Policy, Words
from vla_learning.sim.frames import HORIZON, SLOT, STEP_DT
from vla_learning.model.minilm import installed_encoder, installed_tokenizer
from vla_learning.sim.sentences import Sentences

OPSET = 17
#: Largest difference between torch and the exported graph that is accepted.
PARITY = 1e-4
# Smaller tensors are not worth a Cast.
_WIDENED_FROM = 256


class _LanguageGraph(nn.Module):
    """Token embeddings of one text to features and intent."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.head = policy.language

    def forward(self, embeddings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        padding = torch.zeros_like(embeddings[..., 0], dtype=torch.bool)
        words = self.head(embeddings, padding)
        return words.tokens, words.pooled, self.head.intents(embeddings, padding)


class _PolicyGraph(nn.Module):
    """One picture (uint8) and one instruction to actions; training's extra outputs fall away."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, image: Tensor, tokens: Tensor, pooled: Tensor) -> tuple[Tensor, ...]:
        padding = torch.zeros_like(tokens[..., 0], dtype=torch.bool)
        output = self.policy(image.float(), Words(tokens, padding, pooled))
        return output.actions, output.done.sigmoid(), output.attention


def export(
    policy: Policy, sentences: Sentences, folder: Path, model_id: str, training: Mapping[str, Any]
) -> dict[str, float]:
    """Write a checkpoint folder, replacing what was there.

    Args:
        policy: trained network.
        sentences: training sentences, for the mean of the language features.
        folder: where to write.
        model_id: name of the checkpoint.
        training: provenance, as plain values.

    Returns:
        Largest absolute differences between torch and onnxruntime, by output.

    Raises:
        CheckpointError: if a difference exceeds PARITY; the folder is not touched.
    """
    policy = round_weights(policy)
    draft = folder.with_name(folder.name + '.draft')
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    words = torch.randn(1, 7, policy.config.words)
    language = _LanguageGraph(policy).eval()
    _write_graph(
        language, (words,), draft / LANGUAGE_FILE, ['embeddings'], ['tokens', 'pooled', 'intent']
    )
    with torch.no_grad():
        tokens, pooled, _ = language(words)
    image = torch.randint(0, 256, (1, SLOT.height, SLOT.width, 3), dtype=torch.uint8)
    graph = _PolicyGraph(policy).eval()
    _write_graph(
        graph,
        (image, tokens, pooled),
        draft / POLICY_FILE,
        ['image', 'tokens', 'pooled'],
        ['actions', 'done', 'attention'],
    )
    np.savez(draft / MEAN_FILE, **mean_features(language, sentences))
    shutil.copy(installed_tokenizer(), draft / installed_encoder().tokenizer)
    parity = _compare(language, graph, draft)
    if max(parity.values()) > PARITY:
        shutil.rmtree(draft)
        raise CheckpointError(f'export differs from torch by {parity}: expected <= {PARITY}')
    _write_manifest(draft, model_id, training, parity)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    return parity


def round_weights(policy: Policy) -> Policy:
    """Copy a policy with its large weights rounded to float16."""
    policy = deepcopy(policy).eval().to(memory_format=torch.contiguous_format)
    # Batch norms are folded into convolutions first: folding after rounding would undo it.
    for module in policy.vision.modules():
        if isinstance(module, nn.Sequential):
            for index in range(len(module) - 1):
                first, second = module[index], module[index + 1]
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    module[index] = nn.utils.fuse_conv_bn_eval(first, second)
                    module[index + 1] = nn.Identity()
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.numel() >= _WIDENED_FROM:
                parameter.copy_(parameter.half().float())
    return policy


@torch.no_grad()
def mean_features(language: nn.Module, sentences: Sentences, count: int = 2000) -> dict[str, Any]:
    """Average the features of training sentences: one token and the pooled vector."""
    random = np.random.default_rng(0)
    understood = np.flatnonzero(sentences.meanings < sentences.meanings.max())
    tokens, pooled = [], []
    for index in random.choice(understood, min(count, len(understood)), replace=False):
        length = sentences.lengths[index]
        embeddings = torch.from_numpy(sentences.embeddings[index, :length].astype(np.float32))
        features = language(embeddings[None])
        tokens.append(features[0].mean(dim=1, keepdim=True).numpy())
        pooled.append(features[1].numpy())
    return {'tokens': np.mean(tokens, axis=0), 'pooled': np.mean(pooled, axis=0)}


def _write_graph(
    graph: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
) -> None:
    """Trace a graph whose number of words is free."""
    dynamic = {name: {1: 'words'} for name in ('embeddings', 'tokens') if name in inputs}
    if 'embeddings' in inputs:
        dynamic['tokens'] = {1: 'words'}
    torch.onnx.export(
        graph,
        example,
        str(path),
        input_names=inputs,
        output_names=outputs,
        dynamic_axes=dynamic,
        opset_version=OPSET,
        dynamo=False,
    )
    model = onnx.load(path)
    model.graph.doc_string = model.doc_string = ''
    for node in model.graph.node:
        node.doc_string = ''
    _halve(model)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _halve(model: onnx.ModelProto) -> None:
    """Store large weights as float16, each followed by a Cast that is folded at load time."""
    casts = []
    for weight in model.graph.initializer:
        array = numpy_helper.to_array(weight)
        if array.dtype != np.float32 or array.size < _WIDENED_FROM:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f'{name}_half'))
        casts.append(helper.make_node('Cast', [f'{name}_half'], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


@torch.no_grad()
def _compare(
    language: nn.Module, graph: nn.Module, folder: Path, cases: int = 20
) -> dict[str, float]:
    """Run torch and onnxruntime on random inputs and return the largest differences."""
    generator = torch.Generator().manual_seed(0)
    language_session = open_session(folder / LANGUAGE_FILE)
    policy_session = open_session(folder / POLICY_FILE)
    worst: dict[str, float] = {}

    def note(names: list[str], expected: tuple[Tensor, ...], found: list[np.ndarray]) -> None:
        for name, one, other in zip(names, expected, found, strict=True):
            difference = float(np.abs(one.numpy() - other).max())
            worst[name] = max(worst.get(name, 0.0), difference)

    for case in range(cases):
        width = language.head.project[0].in_features
        words = 0.4 * torch.randn(1, 3 + case % 10, width, generator=generator)
        expected = language(words)
        names = ['tokens', 'pooled', 'intent']
        note(names, expected, language_session.run(names, {'embeddings': words.numpy()}))
        image = torch.randint(
            0, 256, (1, SLOT.height, SLOT.width, 3), dtype=torch.uint8, generator=generator
        )
        inputs = {'image': image, 'tokens': expected[0], 'pooled': expected[1]}
        names = ['actions', 'done', 'attention']
        found = policy_session.run(names, {name: value.numpy() for name, value in inputs.items()})
        note(names, graph(*inputs.values()), found)
    return worst


def _write_manifest(
    folder: Path, model_id: str, training: Mapping[str, Any], parity: Mapping[str, float]
) -> None:
    manifest = {
        'schema_version': SCHEMA_VERSION,
        'model_id': model_id,
        'policy': 'onnx',
        'contract': {
            'cameras': [vars(SLOT)],
            'state_names': [],
            'action_names': list(NATIVE_AXES),
            'action_units': list(NATIVE_UNITS),
            'action_scale': [1.0] * len(NATIVE_AXES),
            'representation': 'VELOCITY',
            'horizon': HORIZON,
            'step_dt': STEP_DT,
            'rate': 30.0,
            'max_inference': 0.2,
            'max_observation_age': 0.6,
        },
        'language': vars(installed_encoder()),
        'files': {path.name: sha256(path) for path in sorted(folder.iterdir())},
        'training': dict(training),
        'parity': {'bound': PARITY, 'largest_difference': dict(parity)},
    }
    text = yaml.safe_dump(manifest, sort_keys=False, default_flow_style=None, width=99)
    (folder / FILE_NAME).write_text(text, encoding='utf-8')
