"""The whole network: picture and instruction in, action chunk out.

Shape legend: B images, K instructions per image, N = B * K, G vision tokens, T words, E width of
the language encoder, W width of the tokens, H horizon, D axes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn, Tensor

from vla_learning.model.config import ModelConfig
from vla_learning.model.fusion import Attention, FusionBlock
from vla_learning.model.language import LanguageHead, Words
from vla_learning.model.vision import VisionTrunk


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


class Policy(nn.Module):
    """The whole network; see the package."""

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
