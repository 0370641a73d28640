"""Camera picture to vision tokens, by a compact trunk or by a ResNet of torchvision.

Shape legend: B pictures, G vision tokens, W width of the tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
import hashlib
from pathlib import Path
import re

import torch
from torch import nn, Tensor
from torch.nn import functional

from vla_core.errors import CheckpointError, ConfigError
from vla_learning.model.config import ModelConfig, RESNET_GRID
from vla_learning.model.tensors import load_into, read_tensors

# ImageNet statistics, for pixels in 0..1.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_RESNETS = ('resnet', 'resnext', 'wide_resnet')


class VisionTrunk(nn.Module):
    """Picture [B, height, width, 3], RGB in 0..255, uint8 or float, to tokens [B, G, W].

    Attributes:
        position: [1, G, W], learned, says where in the picture a token is.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.register_buffer('mean', torch.tensor(_MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer('std', torch.tensor(_STD).view(1, 3, 1, 1) * 255)

    @property
    def stages(self) -> Sequence[nn.Module]:
        """The parts that can be frozen one after the other, from the picture on."""
        raise NotImplementedError

    def _pixels(self, image: Tensor) -> Tensor:
        """Normalised pixels [B, 3, height, width]."""
        pixels = image.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        return (pixels - self.mean) / self.std


def make_trunk(config: ModelConfig) -> VisionTrunk:
    """Make the trunk that the configuration names, with random weights."""
    return CompactTrunk(config) if config.trunk == 'compact' else ResNetTrunk(config)


class ResNetTrunk(VisionTrunk):
    """A ResNet without its classifier, pooled to 7 x 7 and projected to W: tokens [B, 49, W]."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        network = _make_resnet(config.trunk)
        stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
        self.layers = nn.ModuleList(
            [stem, network.layer1, network.layer2, network.layer3, network.layer4]
        )
        self.pool = nn.AdaptiveAvgPool2d(RESNET_GRID)
        self.project = nn.Linear(network.fc.in_features, config.tokens)
        self.position = nn.Parameter(
            0.02 * torch.randn(1, RESNET_GRID[0] * RESNET_GRID[1], config.tokens)
        )

    @property
    def stages(self) -> Sequence[nn.Module]:
        """Stem and the four groups of blocks; the projection is not pretrained."""
        return tuple(self.layers)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        features = self._pixels(image)
        for layer in self.layers:
            features = layer(features)
        return self.project(self.pool(features).flatten(2).transpose(1, 2)) + self.position

    def load_imagenet(self, file: Path) -> None:
        """Take over the weights of torchvision's classifier, all but its last layer.

        Args:
            file: state dict as .safetensors, or as .pth of tensors alone; a hash in its name, as
                torch.hub gives it, is compared.

        Raises:
            CheckpointError: if the file is unreadable, altered, or of another network.
        """
        claimed = re.search(r'-([0-9a-f]{8,64})\.pth$', file.name)
        if claimed and file.is_file():
            with file.open('rb') as stream:
                found = hashlib.file_digest(stream, 'sha256').hexdigest()
            if not found.startswith(claimed[1]):
                raise CheckpointError(
                    f'{file.name}: SHA-256 is {found}: expected it to start with {claimed[1]}'
                )
        state = {
            resnet_key(name): value
            for name, value in read_tensors(file).items()
            if not name.startswith('fc.')
        }
        # torchvision's oldest files lack these counters, and nothing reads them.
        counters = {
            name: value
            for name, value in self.layers.state_dict().items()
            if name.endswith('num_batches_tracked')
        }
        load_into(self.layers, counters | state, file.name)


def resnet_key(name: str) -> str:
    """Translate a name of torchvision's ResNet to one inside `ResNetTrunk.layers`."""
    for theirs, ours in (('conv1.', '0.0.'), ('bn1.', '0.1.'), ('layer', '')):
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def find_imagenet(trunk: str) -> Path | None:
    """Look for ImageNet weights in the cache of torch.hub, the newest recipe first."""
    from torchvision import models

    _check_resnet(trunk)
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    kinds = models.get_model_weights(trunk)
    for weights in sorted(kinds, key=lambda kind: kind is not kinds.DEFAULT):
        file = folder / weights.url.rpartition('/')[2]
        if file.is_file():
            return file
    return None


def _make_resnet(name: str) -> nn.Module:
    from torchvision import models

    _check_resnet(name)
    return models.get_model(name, weights=None)


def _check_resnet(name: str) -> None:
    try:
        from vla_learning import torchvision_beside_cpu  # noqa: F401, I001 (before torchvision)
        from torchvision import models
    except ModuleNotFoundError as error:
        raise ConfigError(f'model trunk {name!r} needs torchvision: run `make setup-train`') from (
            error
        )
    known = [model for model in models.list_models() if model.startswith(_RESNETS)]
    if name not in known:
        raise ConfigError(f'model trunk {name!r}: expected compact or one of {known}')


class CompactTrunk(VisionTrunk):
    """Eight layers trained from nothing; a token stands for 32 x 8 pixels (height, width)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        first, second, third = config.channels
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

    @property
    def stages(self) -> Sequence[nn.Module]:
        """The eight layers."""
        return tuple(self.layers)

    def forward(self, image: Tensor) -> Tensor:
        """See the base class."""
        features = self.layers(self._pixels(image))
        return features.flatten(2).transpose(1, 2) + self.position


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
        """Return a tensor of the shape of `x`, [B, channels, rows, columns]."""
        return functional.relu(x + self.second(self.first(x)))
