"""Sizes of the policy network."""

from __future__ import annotations

from dataclasses import dataclass


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
