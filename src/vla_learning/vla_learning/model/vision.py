"""Camera picture to vision tokens.

Shape legend: B images, K instructions per image, N = B * K, G vision tokens, T words, E width of
the language encoder, W width of the tokens, H horizon, D axes.
"""

from __future__ import annotations

import torch
from torch import nn, Tensor
from torch.nn import functional

from vla_learning.model.config import ModelConfig

# ImageNet statistics, for pixels in 0..1.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


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
