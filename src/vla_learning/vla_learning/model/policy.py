"""The whole network: picture and instruction in, action chunk out.

Shape legend: B pictures, K instructions per picture, N = B * K, G vision tokens, T words, E width
of the language encoder, W width of the tokens, H horizon, D axes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, Self

import torch
from torch import nn, Tensor

from vla_core.errors import ConfigError
from vla_learning.data.batch import Features
from vla_learning.model.config import ModelConfig
from vla_learning.model.encoders import Bert, Ids, LanguageEncoder, MiniLm
from vla_learning.model.fusion import Attention, FusionBlock
from vla_learning.model.language import LanguageHead, Words
from vla_learning.model.vision import find_imagenet, make_trunk, ResNetTrunk

Part = Literal['vision', 'language']


class Output(NamedTuple):
    """What the network says of N = B * K pairs of picture and instruction.

    Attributes:
        actions: [N, H, D] in [-1, 1].
        done: [N], logits of "the instruction is fulfilled".
        attention: [N, heads, 1 + G], the action query's; entry 0 is "nothing of it in sight".
        word_attention: [N, heads, G, T] of the last fusion block.
        fused: [N, W], pooled features.
        vision: [B, G, W].
        sight: [N, 3], training only: logit of "in sight", bearing in radians, log of the gap.
        pooled: [N, W], pooled language features.
        first_attention: like `attention`, of the first look; None without one.
    """

    actions: Tensor
    done: Tensor
    attention: Tensor
    word_attention: Tensor
    fused: Tensor
    vision: Tensor
    sight: Tensor
    pooled: Tensor
    first_attention: Tensor | None


class Policy(nn.Module):
    """The whole network; see the package.

    Attributes:
        config: its sizes.
        encoder: the BERT that belongs to it; None where the words are embedded outside.
    """

    def __init__(self, config: ModelConfig, encoder: Bert | None = None) -> None:
        """Make it with random weights around `encoder`.

        Raises:
            ConfigError: if the encoder is not of the kind and width that `config` says.
        """
        super().__init__()
        if encoder is not None and (config.encoder, config.words) != ('bert', encoder.width):
            raise ConfigError(
                f'model with encoder {config.encoder} and {config.words} wide words: '
                f'expected bert and {encoder.width}, as the encoder that comes with it'
            )
        self.config = config
        width = config.tokens
        self.language = LanguageHead(config)
        self.vision = make_trunk(config)
        self.fusion = nn.ModuleList(FusionBlock(config) for _ in range(config.blocks))
        self.action_query = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.nothing = nn.Parameter(0.02 * torch.randn(1, 1, width))
        if config.first_look:
            self.first_look = Attention(width, config.heads)
            self.guide = nn.Sequential(
                nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, width)
            )
        self.pooling = Attention(width, config.heads)
        layers: list[nn.Module] = []
        for number in range(config.layers):
            inputs = config.hidden if number else 2 * width
            layers += [nn.Linear(inputs, config.hidden), nn.ReLU(), nn.Dropout(config.dropout)]
        self.trunk = nn.Sequential(*layers)
        self.action = nn.Linear(config.hidden, config.horizon * config.axes)
        self.done = nn.Linear(config.hidden, 1)
        self.sight = nn.Linear(config.hidden, 3)
        self.encoder = encoder
        self._resting: list[nn.Module] = []
        self._batch_norm_rests = False

    def listen(self, said: Words | Features | Ids) -> Words:
        """Bring instructions to what the fusion needs, from wherever they are cached.

        Args:
            said: token ids [N, T] (the encoder runs), embeddings [N, T, E], or words [N, T, W].

        Raises:
            ConfigError: if ids are given and the policy has no encoder.
        """
        if isinstance(said, Ids):
            if self.encoder is None:
                raise ConfigError('token ids for a policy without encoder: expected Features')
            said = self.encoder(said)
        if isinstance(said, Features):
            return self.language(said.tokens, said.padding)
        return said

    def forward(self, image: Tensor, said: Words | Features | Ids) -> Output:
        """Predict for pictures [B, height, width, 3] and B * K instructions, K per picture.

        Args:
            image: uint8 or float, RGB in 0..255.
            said: see `listen`; the instructions of picture b are those from b * K to (b + 1) * K.
        """
        words = self.listen(said)
        vision = self.vision(image)
        count = len(words.tokens) // len(vision)
        tokens = vision.repeat_interleave(count, dim=0) if count > 1 else vision
        for block in self.fusion:
            tokens, word_attention = block(tokens, words)
        memory = torch.cat([self.nothing.expand(len(tokens), -1, -1), tokens], dim=1)
        query = self.action_query + words.pooled[:, None]
        first_attention = None
        if self.config.first_look:
            found, first_attention = self.first_look(query, memory)
            query = query + self.guide(torch.cat([found, words.pooled[:, None]], dim=-1))
            first_attention = first_attention[:, :, 0]
        gathered, attention = self.pooling(query, memory)
        fused = gathered[:, 0]
        hidden = self.trunk(torch.cat([fused, words.pooled], dim=-1))
        actions = torch.tanh(self.action(hidden))
        return Output(
            actions=actions.view(-1, self.config.horizon, self.config.axes),
            done=self.done(hidden)[:, 0],
            attention=attention[:, :, 0],
            word_attention=word_attention,
            fused=fused,
            vision=vision,
            sight=self.sight(hidden),
            pooled=words.pooled,
            first_attention=first_attention,
        )

    def accept_everything(self) -> None:
        """Let every text be a goal that is never fulfilled, until somebody teaches otherwise.

        Recordings teach neither; heads that nobody taught would refuse texts and stop the robot
        as their random weights please.
        """
        sure = 10.0
        answers = ((self.language.intent[-1], (-sure, sure, -sure)), (self.done, (-sure,)))
        with torch.no_grad():
            for layer, answer in answers:
                layer.weight.zero_()
                layer.bias.copy_(torch.tensor(answer))

    def freeze(self, part: Part) -> None:
        """Keep a part as it is: no gradients, no dropout, no new batch statistics.

        Args:
            part: `vision` is the trunk's layers, `language` the encoder that belongs to the
                policy; projections and positions, which no pretraining gives, always learn.

        Raises:
            ConfigError: if the part is unknown, or is no part of this policy.
        """
        self.unfreeze(part, 0)

    def unfreeze(self, part: Part, layers: int | None = None) -> None:
        """Let all or only the last layers of a part learn.

        Args:
            part: see `freeze`.
            layers: how many, counted from the end; None: all.

        Raises:
            ConfigError: if the part is unknown, no part of this policy, or has fewer layers.
        """
        stages = self._stages(part)
        learning = len(stages) if layers is None else layers
        if not 0 <= learning <= len(stages):
            raise ConfigError(f'{part}: {layers} layers to learn: expected 0 to {len(stages)}')
        first = len(stages) - learning
        for number, stage in enumerate(stages):
            stage.requires_grad_(number >= first)
        self._resting = [rest for rest in self._resting if all(rest is not s for s in stages)]
        self._resting += stages[:first]
        self.train(self.training)

    def freeze_batch_norm(self) -> None:
        """Keep the statistics, scales and shifts of all batch norms as they are."""
        for module in self._batch_norms():
            module.requires_grad_(False)
        self._batch_norm_rests = True
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch to training, all but what is frozen."""
        super().train(mode)
        for module in self._resting:
            module.eval()
        if self._batch_norm_rests:
            for module in self._batch_norms():
                module.eval()
        return self

    def _batch_norms(self) -> list[nn.Module]:
        return [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]

    def _stages(self, part: str) -> list[nn.Module]:
        if part == 'vision':
            return list(self.vision.stages)
        if part != 'language':
            raise ConfigError(f'part {part!r} of the policy: expected vision or language')
        if self.encoder is None:
            raise ConfigError(
                f'language encoder {self.config.encoder} is outside the policy and always frozen: '
                'expected a policy with a BERT of its own'
            )
        return list(self.encoder.stages)


def create(
    config: ModelConfig, bert: str = 'bert-base-uncased', imagenet: Path | None = None
) -> Policy:
    """Make a policy to be trained: pretrained parts where there are any, the rest random.

    Args:
        config: sizes.
        bert: name in the local cache of Hugging Face, or folder; for `encoder: bert`.
        imagenet: weights for a ResNet; None: those in the cache of torch.hub, if any are there.

    Raises:
        ConfigError: if the BERT is not found.
        CheckpointError: if the ImageNet weights are damaged or of another network.
    """
    policy = Policy(config, Bert.open(bert) if config.encoder == 'bert' else None)
    if isinstance(policy.vision, ResNetTrunk):
        file = imagenet or find_imagenet(config.trunk)
        if file is not None:
            policy.vision.load_imagenet(file)
    return policy


def check_encoder(config: ModelConfig) -> None:
    """Refuse a width of words that the installed encoder does not give.

    Raises:
        ConfigError: if the words of MiniLM are meant, and are of another width.
    """
    if config.encoder == 'minilm' and config.words != ModelConfig.words:
        raise ConfigError(
            f'model.words {config.words}: expected {ModelConfig.words}, the width of minilm'
        )


def encoder_for(policy: Policy) -> LanguageEncoder:
    """Return who embeds the words of a policy: its own BERT, or the installed MiniLM.

    Raises:
        ConfigError: if MiniLM is not installed, or a BERT is meant and the policy has none.
    """
    if policy.encoder is not None:
        return policy.encoder
    if policy.config.encoder == 'bert':
        raise ConfigError(
            'a policy with encoder bert was made without one: expected Policy.encoder'
        )
    return MiniLm()


def parameter_counts(policy: Policy) -> dict[str, tuple[int, int]]:
    """Count parameters by part: (all, those that learn)."""
    counts: dict[str, tuple[int, int]] = {}
    for name, weight in policy.named_parameters():
        part = name.partition('.')[0]
        size, learning = counts.get(part, (0, 0))
        counts[part] = size + weight.numel(), learning + weight.numel() * weight.requires_grad
    return counts
