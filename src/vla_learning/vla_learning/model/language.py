"""Embedded words to what the fusion needs.

Shape legend: N instructions, T words, E width of the language encoder, W width of the tokens.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import nn, Tensor
from torch.nn import functional

from vla_learning.model.config import ModelConfig


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


class LanguageHead(nn.Module):
    """The encoder's token embeddings to what the fusion needs, and to the intent.

    The full scale pools as BERT's users do, by the mean over the words that are there. The compact
    scale learns which words to listen to, one weighting per head: over a short command of a small
    encoder the mean tells "red box" and "blue box" badly apart (docs/reference/model.md).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.project: nn.Module = nn.Identity()
        if config.words != config.tokens:
            self.project = nn.Sequential(
                nn.Linear(config.words, config.tokens), nn.LayerNorm(config.tokens)
            )
        self.learned = config.pooling == 'learned'
        if self.learned:
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
        if self.learned:
            pooled = self.summary(_gather(tokens, self.pool(tokens), padding))
        else:
            pooled = mean_of_words(tokens, padding)
        return Words(tokens, padding, pooled)

    def intents(self, embeddings: Tensor, padding: Tensor) -> Tensor:
        """Logits [N, 3] of REFUSED, GOAL, MOTION; they share nothing with the fusion."""
        tokens = functional.relu(self.intent_project(embeddings))
        return self.intent(_gather(tokens, self.intent_pool(tokens), padding))


def mean_of_words(tokens: Tensor, padding: Tensor) -> Tensor:
    """Average tokens [N, T, W] over the words that are there: [N, W]."""
    there = (~padding)[..., None].to(tokens.dtype)
    return (tokens * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)


def _gather(tokens: Tensor, scores: Tensor, padding: Tensor) -> Tensor:
    """Weighted sums of tokens, one per head: [N, heads * W]."""
    weights = scores.masked_fill(padding[..., None], -1e4).float().softmax(dim=1)
    return (weights.transpose(1, 2).to(tokens.dtype) @ tokens).flatten(1)
