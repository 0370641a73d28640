"""Attention: vision tokens listen to words.

Shape legend: N pairs of picture and instruction, G vision tokens, T words, W width of the tokens.
"""

from __future__ import annotations

import torch
from torch import nn, Tensor

from vla_learning.model.config import ModelConfig
from vla_learning.model.language import Words


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
    """Vision tokens attend to words; residual, layer norm, dropout, then an MLP likewise.

    At the full scale there is no MLP.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, inner = config.tokens, config.feedforward * config.tokens
        self.attention = Attention(width, config.heads)
        self.norm = nn.LayerNorm(width)
        if inner:
            self.mlp = nn.Sequential(nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, width))
            self.mlp_norm = nn.LayerNorm(width)
        # Drops a channel at all places of a picture: far cheaper than a mask for each.
        self.dropout = nn.Dropout2d(config.dropout)
        self.deep = inner > 0

    def forward(self, tokens: Tensor, words: Words) -> tuple[Tensor, Tensor]:
        """Return tokens [N, G, W] and where they looked, [N, heads, G, T]."""
        heard, weights = self.attention(tokens, words.tokens, words.padding)
        tokens = self.norm(tokens + self._drop(heard))
        if self.deep:
            tokens = self.mlp_norm(tokens + self._drop(self.mlp(tokens)))
        return tokens, weights

    def _drop(self, x: Tensor) -> Tensor:
        kept = self.dropout(torch.ones_like(x[:, :1]).transpose(1, 2)[..., None])
        return x * kept[..., 0].transpose(1, 2)
