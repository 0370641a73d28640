"""A trained network as ONNX graphs, in a checkpoint folder that the robot runs without torch.

`write_onnx` stores weights as float16, which are widened when the graph is loaded. They are
rounded in the torch model first, so that what is exported is what is compared with it; how far
the rounded model is from the trained one is measured and limited apart.

Shape legend: T words, E width of the language encoder, W width of the tokens, H horizon, D axes,
G vision tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
import shutil
from typing import Any
import warnings

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import torch
from torch import nn, Tensor

from vla_core.errors import CheckpointError
from vla_core.manifest import (
    folder_digest,
    IncludedLanguage,
    LanguageReference,
    write_manifest,
)
from vla_core.types import PolicySpec
from vla_inference.onnx_policy import LANGUAGE_FILE, MEAN_FILE, POLICY_FILE
from vla_inference.sessions import open_session
from vla_learning.checkpoint import new_folder
from vla_learning.model import Bert, Policy, Words
from vla_learning.model.minilm import installed_encoder, installed_tokenizer, TOKENIZER_FILE

OPSET = 17
#: Largest difference between torch, its weights rounded, and the exported graph.
PARITY = 1e-4
#: Largest difference of native actions that the rounding itself may make, on random inputs.
ROUNDING = 0.02
ENCODER_FILE = 'encoder.onnx'
# The inputs that exported BERTs have, MiniLM among them.
_IDS = ['input_ids', 'attention_mask', 'token_type_ids']
# Smaller tensors are not worth a Cast.
_WIDENED_FROM = 256


class LanguageGraph(nn.Module):
    """Token embeddings of one text to features and intent."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.head = policy.language

    def forward(self, embeddings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings [1, T, E] to tokens [1, T, W], pooled [1, W], intent [1, 3]."""
        padding = torch.zeros_like(embeddings[..., 0], dtype=torch.bool)
        words = self.head(embeddings, padding)
        return words.tokens, words.pooled, self.head.intents(embeddings, padding)


class EncoderGraph(nn.Module):
    """Ids [1, T] of one text to its embeddings [1, T, E]; one text needs no mask and one type."""

    def __init__(self, encoder: Bert) -> None:
        super().__init__()
        self.network = encoder.network

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Take the three inputs of exported BERTs; a graph drops those that it does not use."""
        ids = input_ids + 0 * (attention_mask + token_type_ids)
        return self.network(input_ids=ids).last_hidden_state


class PolicyGraph(nn.Module):
    """One picture (uint8) and one instruction to actions; training's extra outputs fall away."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, image: Tensor, tokens: Tensor, pooled: Tensor) -> tuple[Tensor, ...]:
        """Return actions [1, H, D], done [1], attention [1, heads, 1 + G]."""
        padding = torch.zeros_like(tokens[..., 0], dtype=torch.bool)
        output = self.policy(image.float(), Words(tokens, padding, pooled))
        return output.actions, output.done.sigmoid(), output.attention


def write_onnx(
    policy: Policy,
    mean: Words | None,
    folder: Path,
    spec: PolicySpec,
    training: Mapping[str, Any],
    statistics: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Write a checkpoint folder of the policy `onnx`, replacing what was there.

    Args:
        policy: trained network.
        mean: what a blind policy hears: tokens [1, 1, W], pooled [1, W]; None: no blind runs.
        folder: where to write.
        spec: contract, with the name of the checkpoint.
        training: provenance, as plain values.
        statistics: of the actions in the training data.

    Returns:
        Largest absolute differences between torch and onnxruntime, by output.

    Raises:
        CheckpointError: if a difference exceeds PARITY, or that of the rounding ROUNDING, or ONNX
            lacks an operation; the folder is not touched.
        ConfigError: if `folder` holds something that is no checkpoint.
    """
    trained, policy = policy, round_weights(policy)
    rounding = _rounding(trained, policy)
    if not rounding <= ROUNDING:
        raise CheckpointError(
            f'weights in float16 change native actions by {rounding:.3g}: expected <= {ROUNDING}'
        )
    language, graph = LanguageGraph(policy).eval(), PolicyGraph(policy).eval()
    with new_folder(folder) as draft:
        encoder = write_graphs(policy, draft)
        if mean is not None:
            write_mean(mean, draft)
        largest = _compare(language, graph, draft)
        if not all(value <= PARITY for value in largest.values()):
            raise CheckpointError(f'export differs from torch by {largest}: expected <= {PARITY}')
        parity = {
            'bound': PARITY,
            'largest_difference': largest,
            'rounding': rounding,
            'files_sha256': folder_digest(draft),
        }
        write_manifest(
            draft, 'onnx', spec, encoder, training=training, parity=parity, statistics=statistics
        )
    return largest


def write_graphs(
    policy: Policy, folder: Path, half: bool = True
) -> LanguageReference | IncludedLanguage:
    """Write the graphs of a network, and its tokenizer, into a folder.

    Args:
        policy: on the CPU, in evaluation mode; batch norms are folded in the graph.
        folder: to write into.
        half: store large weights as float16.

    Returns:
        Which language encoder the graphs expect.

    Raises:
        CheckpointError: if ONNX lacks an operation.
    """
    config = policy.config
    graph = PolicyGraph(policy).eval()
    tokens, pooled = write_language(policy, folder, half)
    image = torch.randint(0, 256, (1, config.height, config.width, 3), dtype=torch.uint8)
    _write_graph(
        graph,
        (image, tokens, pooled),
        folder / POLICY_FILE,
        ['image', 'tokens', 'pooled'],
        ['actions', 'done', 'attention'],
        half,
    )
    return _write_encoder(policy.encoder, folder, half)


def write_language(policy: Policy, folder: Path, half: bool = True) -> tuple[Tensor, Tensor]:
    """Write the graph that runs once per instruction.

    Args:
        policy: on the CPU, in evaluation mode.
        folder: to write into.
        half: store large weights as float16.

    Returns:
        An example of what it gives `policy.onnx`: tokens [1, T, W], pooled [1, W].

    Raises:
        CheckpointError: if ONNX lacks an operation.
    """
    language = LanguageGraph(policy).eval()
    words = torch.randn(1, 7, policy.config.words)
    names = ['tokens', 'pooled', 'intent']
    _write_graph(language, (words,), folder / LANGUAGE_FILE, ['embeddings'], names, half)
    with torch.no_grad():
        tokens, pooled, _ = language(words)
    return tokens, pooled


def write_mean(mean: Words, folder: Path) -> None:
    """Write what a blind policy hears."""
    np.savez(folder / MEAN_FILE, tokens=mean.tokens.numpy(), pooled=mean.pooled.numpy())


def _write_encoder(
    encoder: Bert | None, folder: Path, half: bool
) -> LanguageReference | IncludedLanguage:
    """Put the tokenizer into the folder, and the BERT, unless MiniLM is installed everywhere."""
    if encoder is None:
        language = installed_encoder()
        shutil.copy(installed_tokenizer(), folder / language.tokenizer)
        return language
    included = IncludedLanguage(ENCODER_FILE, encoder.max_tokens, TOKENIZER_FILE)
    encoder.tokenizer.save(str(folder / TOKENIZER_FILE))
    ids = torch.ones(1, 7, dtype=torch.int64)
    inputs = (ids, ids, torch.zeros_like(ids))
    graph, file = EncoderGraph(encoder).eval(), folder / ENCODER_FILE
    _write_graph(graph, inputs, file, _IDS, ['last_hidden_state'], half)
    return included


def round_weights(policy: Policy) -> Policy:
    """Copy a policy with its batch norms folded and its large weights rounded to float16."""
    policy = deepcopy(policy).eval().cpu().to(memory_format=torch.contiguous_format)
    # First, because folding after rounding would undo it.
    fold_batch_norms(policy)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.numel() >= _WIDENED_FROM:
                parameter.copy_(parameter.half().float())
    return policy


def fold_batch_norms(policy: Policy) -> Policy:
    """Fold the batch norms of a policy's trunk into its convolutions, in place; returns it."""
    for module in list(policy.vision.modules()):
        _fold(module)
    return policy


def _fold(module: nn.Module) -> None:
    """Fold each batch norm into the convolution that stands before it among the children."""
    children = list(module.named_children())
    for (name, first), (next_name, second) in pairwise(children):
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            setattr(module, name, nn.utils.fuse_conv_bn_eval(first, second))
            setattr(module, next_name, nn.Identity())


def _write_graph(
    graph: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    half: bool,
) -> None:
    """Trace a graph whose number of words is free.

    Raises:
        CheckpointError: if ONNX has no such operation.
    """
    spoken = {*_IDS, 'last_hidden_state', 'embeddings', 'tokens'}
    try:
        with warnings.catch_warnings():
            # Whether the graph is right for other inputs the comparison with torch says.
            warnings.simplefilter('ignore', torch.jit.TracerWarning)
            torch.onnx.export(
                graph,
                example,
                str(path),
                input_names=inputs,
                output_names=outputs,
                dynamic_axes={name: {1: 'words'} for name in spoken & {*inputs, *outputs}},
                opset_version=OPSET,
                dynamo=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise CheckpointError(f'{path.name} cannot be exported: {error}') from error
    model = onnx.load(path)
    model.graph.doc_string = model.doc_string = ''
    for node in model.graph.node:
        node.doc_string = ''
    if half:
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
def _rounding(trained: Policy, rounded: Policy, cases: int = 20) -> float:
    """Return the largest difference of native actions on random pictures and words."""
    trained = deepcopy(trained).eval().cpu().to(memory_format=torch.contiguous_format)
    config, generator = rounded.config, torch.Generator().manual_seed(0)
    size = (1, config.height, config.width, 3)
    differences = []
    for case in range(cases):
        image = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
        words = 0.4 * torch.randn(1, 3 + case % 10, config.words, generator=generator)
        one, other = (
            PolicyGraph(policy)(image, *LanguageGraph(policy)(words)[:2])[0]
            for policy in (trained, rounded)
        )
        differences.append(float((one - other).abs().max()))
    return float(np.max(differences))


@torch.no_grad()
def _compare(
    language: LanguageGraph, graph: PolicyGraph, folder: Path, cases: int = 20
) -> dict[str, float]:
    """Run torch and onnxruntime on random inputs and return the largest differences."""
    config = graph.policy.config
    generator = torch.Generator().manual_seed(0)
    language_session = open_session(folder / LANGUAGE_FILE)
    policy_session = open_session(folder / POLICY_FILE)
    worst: dict[str, float] = {}

    def note(names: list[str], expected: tuple[Tensor, ...], found: list[np.ndarray]) -> None:
        for name, one, other in zip(names, expected, found, strict=True):
            difference = float(np.abs(one.numpy() - other).max())
            # Not max: it would forget a NaN.
            worst[name] = float(np.maximum(worst.get(name, 0.0), difference))

    encoder = graph.policy.encoder
    if encoder is not None:
        session = open_session(folder / ENCODER_FILE)
        for length in (1, 5, encoder.max_tokens):
            ids = torch.randint(
                0, encoder.network.config.vocab_size, (1, length), generator=generator
            )
            expected = encoder.network(input_ids=ids).last_hidden_state
            values = (ids.numpy(), np.ones_like(ids), np.zeros_like(ids))
            found = session.run(['last_hidden_state'], dict(zip(_IDS, values, strict=True)))
            note(['embeddings'], (expected,), found)
    size = (1, config.height, config.width, 3)
    for case in range(cases):
        words = 0.4 * torch.randn(1, 3 + case % 10, config.words, generator=generator)
        expected = language(words)
        names = ['tokens', 'pooled', 'intent']
        note(names, expected, language_session.run(names, {'embeddings': words.numpy()}))
        image = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
        inputs = {'image': image, 'tokens': expected[0], 'pooled': expected[1]}
        names = ['actions', 'done', 'attention']
        found = policy_session.run(names, {name: value.numpy() for name, value in inputs.items()})
        note(names, graph(*inputs.values()), found)
    return worst
