"""The seed's weights in this network: a table of names, and what the seed had nothing for.

The seed was a ResNet and a BERT, whose tokens were averaged *before* the vision tokens attended to
them, and an MLP on the mean of what came out. Attention to one averaged token gives every vision
token the same answer whatever query and key are, so these two never learned. Here the same
function is written as attention to all words with a query of zero, which is their mean, and as an
action query that looks everywhere alike. The imported policy therefore computes what the seed
computed, and training it on can sharpen both.

Shape legend: W width of the tokens, G vision tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
import re

from tokenizers import Tokenizer
import torch
from torch import Tensor

from vla_core.errors import CheckpointError, ConfigError
from vla_core.types import Intent, NATIVE_AXES
from vla_learning.model import Bert, ModelConfig, Policy
from vla_learning.model.config import RESNET_GRID
from vla_learning.model.minilm import MAX_TOKENS

_TRUNK = r'vision_encoder\.(?:backbone|resnet|features|trunk|model)\.'
_BERT = r'language_encoder\.(?:bert|model|encoder|network|transformer)\.'
_FUSION = r'(?:fusion|cross_attention|cross_modal)\w*\.'
_ATTENTION = _FUSION + r'(?:cross_attention|cross_attn|attention|attn|multihead_attn)\.'
#: Name in the seed (a regular expression) -> name here. The trunk is numbered as the children of
#: torchvision's ResNet, or named as its attributes.
NAMES = (
    (
        r'vision_encoder\.(?:projection|projector|proj)\.(?:0\.)?(weight|bias)',
        r'vision.project.\1',
    ),
    (_TRUNK + r'([01])\.(.+)', r'vision.layers.0.\1.\2'),
    (_TRUNK + r'4\.(.+)', r'vision.layers.1.\1'),
    (_TRUNK + r'5\.(.+)', r'vision.layers.2.\1'),
    (_TRUNK + r'6\.(.+)', r'vision.layers.3.\1'),
    (_TRUNK + r'7\.(.+)', r'vision.layers.4.\1'),
    (_TRUNK + r'conv1\.(.+)', r'vision.layers.0.0.\1'),
    (_TRUNK + r'bn1\.(.+)', r'vision.layers.0.1.\1'),
    (_TRUNK + r'layer([1-4])\.(.+)', r'vision.layers.\1.\2'),
    (
        _BERT + r'((?:embeddings\.(?!position_ids|token_type_ids)|encoder\.).+)',
        r'encoder.network.\1',
    ),
    (_ATTENTION + r'in_proj_(weight|bias)', r'fusion.0.attention.in_proj.\1'),
    (_ATTENTION + r'out_proj\.(weight|bias)', r'fusion.0.attention.out.\1'),
    (_FUSION + r'(?:layer_norm|norm1?|ln)\.(weight|bias)', r'fusion.0.norm.\1'),
    (r'action_decoder\.(?:decoder|mlp|layers|net|network)\.(\d+)\.(weight|bias)', r'mlp.\1.\2'),
)
#: Name in the seed -> why it is left out.
LEFT_OUT = (
    (
        r'(?:action_decoder\.)?action_quer(?:y|ies)\w*(?:\.\w+)?',
        'no part of what the seed computed',
    ),
    (_BERT + r'pooler\..+', 'a head for another task of BERT'),
    (_BERT + r'embeddings\.(?:position_ids|token_type_ids)', 'only counts'),
    (_TRUNK + r'fc\..+', 'the classifier of ImageNet'),
)
#: What the seed had nothing for, and what stands there instead.
MADE_UP = {
    'fusion.0.attention.query': 'zero: attention to all words alike, which is their mean',
    'vision.position': 'zero: places did not differ',
    'nothing': 'zero',
    'action_query, pooling': 'the mean of all vision tokens',
    'trunk.0, second half': 'zero: the action MLP did not hear the instruction directly',
    'language.intent': 'every text is a goal',
    'done': 'never',
    'sight': 'zero',
}
_NOT_IN_SEED = (
    *('vision.position', 'vision.mean', 'vision.std', 'nothing', 'action_query', 'pooling.'),
    *('language.intent', 'done.', 'sight.'),
)


@dataclass(frozen=True)
class Report:
    """What became of every tensor.

    Attributes:
        mapped: names in the seed that were taken over.
        left_out: names that were not, and why.
        unknown: names that the table does not know.
        missing: names here that the seed should have had.
    """

    mapped: tuple[str, ...]
    left_out: Mapping[str, str]
    unknown: tuple[str, ...]
    missing: tuple[str, ...]


def convert(
    seed: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    trunk: str = 'resnet50',
    bert_heads: int | None = None,
    keep_query: bool = False,
    partial: bool = False,
) -> tuple[Policy, Report]:
    """Make a policy of the seed's weights.

    Args:
        seed: its `model_state_dict`.
        tokenizer: of its BERT.
        trunk: its ResNet's name in torchvision.
        bert_heads: attention heads of its BERT, which no tensor tells; None: one per 64 channels.
        keep_query: take over query and key of the fusion: the file is of a network that did
            attend to words.
        partial: accept unknown and missing names; what is missing stays random.

    Raises:
        CheckpointError: if a tensor is not finite or of another size, or, unless `partial`, a name
            is unknown or missing.
        ConfigError: if the trunk is unknown, or the tokenizer is not the BERT's.
    """
    names, left_out, unknown = rename(seed)
    tensors = {ours: seed[name] for ours, name in names.items()}
    config, bert = _sizes(tensors, trunk)
    if bert['vocab_size'] != tokenizer.get_vocab_size():
        raise ConfigError(
            f'tokenizer of {tokenizer.get_vocab_size()} words: expected {bert["vocab_size"]}, '
            "as in the file's BERT"
        )
    bert['num_attention_heads'] = bert_heads or max(1, bert['hidden_size'] // 64)
    length = min(MAX_TOKENS, bert['max_position_embeddings'])
    policy = Policy(config, Bert.build({'model_type': 'bert', **bert}, tokenizer, length)).eval()
    _make_up(policy)
    state = policy.state_dict()
    values = _arrange(tensors, config, keep_query)
    # Files older than this counter lack it; nothing reads it.
    missing = [
        name
        for name in state
        if name not in values
        and not name.startswith(_NOT_IN_SEED)
        and not name.endswith('num_batches_tracked')
    ]
    if (unknown or missing) and not partial:
        raise CheckpointError(
            f'names without a place here: {unknown or "none"}; places without a value: '
            f'{missing or "none"}: expected the layout of docs/how-to/import-and-export.md'
        )
    for name, value in values.items():
        if name not in state or state[name].shape != value.shape:
            expected = tuple(state[name].shape) if name in state else 'no such tensor'
            raise CheckpointError(f'{name} has shape {tuple(value.shape)}: expected {expected}')
        if not torch.isfinite(value).all():
            raise CheckpointError(f'{name}: expected finite numbers')
    policy.load_state_dict(state | values)
    mapped = tuple(names.values())
    return policy, Report(mapped, left_out, tuple(unknown), tuple(missing))


def rename(seed: Iterable[str]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Sort names: ours -> the seed's, left out -> why, unknown."""
    found: dict[str, str] = {}
    left_out: dict[str, str] = {}
    unknown = []
    for name in seed:
        plain = name.removeprefix('module.')
        ours = next(
            (re.sub(f'^{p}$', to, plain) for p, to in NAMES if re.fullmatch(p, plain)), None
        )
        why = next((why for pattern, why in LEFT_OUT if re.fullmatch(pattern, plain)), None)
        if ours is not None and ours not in found:
            found[ours] = name
        elif why is not None:
            left_out[name] = why
        else:
            unknown.append(name)
    # The MLP's linear layers stand between activations: their numbers have gaps.
    numbers = sorted({int(ours.split('.')[1]) for ours in found if ours.startswith('mlp.')})
    places = {number: f'trunk.{3 * index}' for index, number in enumerate(numbers[:-1])}
    if numbers:
        places[numbers[-1]] = 'action'
    for ours in [ours for ours in found if ours.startswith('mlp.')]:
        _, number, kind = ours.split('.')
        found[f'{places[int(number)]}.{kind}'] = found.pop(ours)
    return found, left_out, unknown


def _sizes(tensors: Mapping[str, Tensor], trunk: str) -> tuple[ModelConfig, dict[str, int]]:
    """Read the sizes of network and BERT off the tensors."""

    def shape(name: str) -> tuple[int, ...]:
        if name not in tensors or tensors[name].ndim != 2:
            raise CheckpointError(f'no matrix for {name}: expected the layout of a seed')
        return tuple(tensors[name].shape)

    network = 'encoder.network.'
    vocabulary, words = shape(network + 'embeddings.word_embeddings.weight')
    depth = {name.split('.')[4] for name in tensors if name.startswith(network + 'encoder.layer.')}
    bert = {
        'vocab_size': vocabulary,
        'hidden_size': words,
        'num_hidden_layers': len(depth),
        'intermediate_size': shape(network + 'encoder.layer.0.intermediate.dense.weight')[0],
        'max_position_embeddings': shape(network + 'embeddings.position_embeddings.weight')[0],
        'type_vocab_size': shape(network + 'embeddings.token_type_embeddings.weight')[0],
    }
    actions = shape('action.weight')[0]
    if actions % len(NATIVE_AXES):
        raise CheckpointError(f'{actions} actions: expected a multiple of {len(NATIVE_AXES)}')
    config = ModelConfig.full(
        trunk=trunk,
        words=words,
        tokens=shape('fusion.0.attention.out.weight')[0],
        hidden=shape('trunk.0.weight')[0],
        layers=sum(name.startswith('trunk.') and name.endswith('weight') for name in tensors),
        horizon=actions // len(NATIVE_AXES),
    )
    return config, bert


@torch.no_grad()
def _make_up(policy: Policy) -> None:
    """Give what the seed had nothing for the values of `MADE_UP`."""
    for weight in (policy.vision.position, policy.nothing, policy.action_query):
        weight.zero_()
    for layer in (policy.pooling.query, policy.done, policy.sight, policy.language.intent[-1]):
        layer.weight.zero_()
        layer.bias.zero_()
    width, places = policy.config.tokens, RESNET_GRID[0] * RESNET_GRID[1]
    policy.pooling.key_value.weight[width:] = torch.eye(width)
    policy.pooling.key_value.bias.zero_()
    # The query also looks at "nothing", a zero, which the mean must not count.
    policy.pooling.out.weight.copy_(torch.eye(width) * (places + 1) / places)
    policy.pooling.out.bias.zero_()
    policy.done.bias.fill_(-10.0)
    policy.language.intent[-1].bias[Intent.GOAL] = 10.0


def _arrange(
    tensors: Mapping[str, Tensor], config: ModelConfig, keep_query: bool
) -> dict[str, Tensor]:
    """Cut, pad and lay out the tensors that are shaped otherwise here."""
    values = dict(tensors)
    attention = 'fusion.0.attention.'
    for kind in ('weight', 'bias'):
        joint = values.pop(f'{attention}in_proj.{kind}', None)
        if joint is not None:
            query, rest = joint[: config.tokens], joint[config.tokens :]
            values[f'{attention}query.{kind}'] = query if keep_query else torch.zeros_like(query)
            values[f'{attention}key_value.{kind}'] = rest
    project = values.get('vision.project.weight')
    if project is not None and project.ndim == 4:
        # A convolution of 1 x 1.
        values['vision.project.weight'] = project.flatten(1)
    first = values['trunk.0.weight']
    if first.shape[1] == config.tokens:
        values['trunk.0.weight'] = torch.cat([first, torch.zeros_like(first)], dim=1)
    return values
