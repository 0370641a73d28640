"""The policy network: camera picture and instruction in, action chunk out.

A compact vision trunk gives a grid of tokens, the tokens attend to the words of the instruction,
a learned action query attends to the tokens, and an MLP turns what it gathered into actions.
The words come from a frozen sentence encoder that is not part of this module.

Shape legend: B images, K instructions per image, G vision tokens, T words, E width of the frozen
encoder, W width of the tokens, H horizon, D axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn, Tensor
from torch.nn import functional

# ImageNet statistics, for pixels in 0..1.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the network.

    Attributes:
        height: px of the picture.
        width: px of the picture.
        words: E, width of the frozen encoder's token embeddings.
        tokens: W, width of vision and language tokens.
        heads: attention heads.
        blocks: fusion blocks.
        channels: of the trunk's three stages.
        hidden: width of the action MLP.
        horizon: H.
        axes: D.
        dropout: share of activations dropped in training.
        grounded_heads: heads of the action query that training ties to the named object.
    """

    height: int = 96
    width: int = 192
    words: int = 384
    tokens: int = 128
    heads: int = 4
    blocks: int = 2
    channels: tuple[int, int, int] = (24, 48, 96)
    hidden: int = 512
    horizon: int = 8
    axes: int = 7
    dropout: float = 0.1
    grounded_heads: int = 2

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of vision tokens."""
        return self.height // 32, self.width // 8


class Words(NamedTuple):
    """Instructions for the fusion.

    Attributes:
        tokens: [N, T, W].
        padding: bool [N, T], True where there is no word.
        pooled: [N, W].
    """

    tokens: Tensor
    padding: Tensor
    pooled: Tensor


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
    """

    actions: Tensor
    done: Tensor
    attention: Tensor
    word_attention: Tensor
    fused: Tensor
    vision: Tensor
    sight: Tensor


def _convolution(
    inputs: int, outputs: int, kernel: int, stride: int | tuple[int, int]
) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    """Two 3x3 convolutions around which the input flows on (https://arxiv.org/abs/1512.03385)."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels, 3, 1)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.second(self.first(x)))


class VisionTrunk(nn.Module):
    """Picture [B, height, width, 3] in 0..255 to tokens [B, G, W]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        first, second, third = config.channels
        self.register_buffer('mean', torch.tensor(_MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer('std', torch.tensor(_STD).view(1, 3, 1, 1) * 255)
        self.layers = nn.Sequential(
            _convolution(3, first, 5, 2),
            _convolution(first, second, 3, 2),
            _convolution(second, second, 3, 1),
            _convolution(second, third, 3, 2),
            _Residual(third, 1),
            _convolution(third, config.tokens, 3, (2, 1)),
            _convolution(config.tokens, config.tokens, 3, (2, 1)),
            _Residual(config.tokens, 2),
        )
        rows, columns = config.grid
        self.position = nn.Parameter(0.02 * torch.randn(1, rows * columns, config.tokens))

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        pixels = image.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        features = self.layers((pixels - self.mean) / self.std)
        return features.flatten(2).transpose(1, 2) + self.position


class Attention(nn.Module):
    """Multi-head attention that returns its weights (https://arxiv.org/abs/1706.03762)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, query: Tensor, memory: Tensor, padding: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Attend from query [N, Q, W] to memory [N, M, W]; weights are [N, heads, Q, M]."""
        n, _, width = query.shape

        def split(x: Tensor) -> Tensor:
            return x.view(n, -1, self.heads, width // self.heads).transpose(1, 2)

        key, value = self.key_value(memory).chunk(2, dim=-1)
        # Memory before query: torch's softmax is slow over a short last axis.
        scores = split(key) @ split(self.query(query) * self.scale).transpose(2, 3)
        if padding is not None:
            scores = scores.masked_fill(padding[:, None, :, None], -1e4)
        weights = scores.softmax(dim=2).to(value.dtype).transpose(2, 3)
        mixed = (weights @ split(value)).transpose(1, 2).reshape(n, -1, width)
        return self.out(mixed), weights


class FusionBlock(nn.Module):
    """Vision tokens attend to words; residual, layer norm, dropout, then an MLP likewise."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.tokens
        self.attention = Attention(width, config.heads)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )
        self.mlp_norm = nn.LayerNorm(width)
        # Drops a channel at all places of a picture: far cheaper than a mask for each.
        self.dropout = nn.Dropout2d(config.dropout)

    def forward(self, tokens: Tensor, words: Words) -> tuple[Tensor, Tensor]:
        """Return tokens [N, G, W] and where they looked, [N, heads, G, T]."""
        heard, weights = self.attention(tokens, words.tokens, words.padding)
        tokens = self.norm(tokens + self._drop(heard))
        return self.mlp_norm(tokens + self._drop(self.mlp(tokens))), weights

    def _drop(self, x: Tensor) -> Tensor:
        kept = self.dropout(torch.ones_like(x[:, :1]).transpose(1, 2)[..., None])
        return x * kept[..., 0].transpose(1, 2)


class LanguageHead(nn.Module):
    """Frozen token embeddings to what the fusion needs, and to the intent."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Linear(config.words, config.tokens), nn.LayerNorm(config.tokens)
        )
        self.pool = nn.Linear(config.tokens, config.heads)
        self.summary = nn.Linear(config.heads * config.tokens, config.tokens)
        self.intent_project = nn.Linear(config.words, config.tokens)
        self.intent_pool = nn.Linear(config.tokens, config.heads)
        self.intent = nn.Sequential(
            nn.Linear(config.heads * config.tokens, config.tokens),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(config.tokens, 3),
        )

    def forward(self, embeddings: Tensor, padding: Tensor) -> Words:
        """Project embeddings [N, T, E] with padding [N, T] (True where there is no word)."""
        tokens = self.project(embeddings)
        pooled = self.summary(self._gather(tokens, self.pool(tokens), padding))
        return Words(tokens, padding, pooled)

    def intents(self, embeddings: Tensor, padding: Tensor) -> Tensor:
        """Logits [N, 3] of REFUSED, GOAL, MOTION; they share nothing with the fusion."""
        tokens = functional.relu(self.intent_project(embeddings))
        return self.intent(self._gather(tokens, self.intent_pool(tokens), padding))

    @staticmethod
    def _gather(tokens: Tensor, scores: Tensor, padding: Tensor) -> Tensor:
        """Weighted sums of tokens, one per head: [N, heads * W]."""
        weights = scores.masked_fill(padding[..., None], -1e4).float().softmax(dim=1)
        return (weights.transpose(1, 2).to(tokens.dtype) @ tokens).flatten(1)


class Policy(nn.Module):
    """The whole network; see the module's docstring."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.tokens
        self.language = LanguageHead(config)
        self.vision = VisionTrunk(config)
        self.fusion = nn.ModuleList(FusionBlock(config) for _ in range(config.blocks))
        self.action_query = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.nothing = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.pooling = Attention(width, config.heads)
        self.trunk = nn.Sequential(
            nn.Linear(2 * width, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
        )
        self.action = nn.Linear(config.hidden, config.horizon * config.axes)
        self.done = nn.Linear(config.hidden, 1)
        self.sight = nn.Linear(config.hidden, 3)

    def forward(self, image: Tensor, words: Words) -> Output:
        """Predict for pictures [B, height, width, 3] and B * K instructions, K per picture."""
        vision = self.vision(image)
        count = len(words.tokens) // len(vision)
        tokens = vision.repeat_interleave(count, dim=0) if count > 1 else vision
        for block in self.fusion:
            tokens, word_attention = block(tokens, words)
        memory = torch.cat([self.nothing.expand(len(tokens), -1, -1), tokens], dim=1)
        query = self.action_query + words.pooled[:, None]
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
        )
