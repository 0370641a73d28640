"""Sizes of the policy network, at two scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from vla_core.errors import ConfigError

#: px, height and width, of the picture that become one token of the compact trunk.
TOKEN = (32, 8)
#: Rows and columns to which the features of a ResNet are pooled.
RESNET_GRID = (7, 7)


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the network; the defaults are the compact scale, that of the shipped policy.

    Attributes:
        height: px of the picture.
        width: px of the picture.
        words: E, width of the language encoder's token embeddings.
        tokens: W, width of vision and language tokens.
        heads: attention heads.
        blocks: fusion blocks.
        channels: of the compact trunk's three stages.
        hidden: width of the action MLP.
        horizon: H.
        axes: D.
        dropout: share of activations dropped in training.
        grounded_heads: heads of the action query that training ties to the named object.
        trunk: `compact`, or the name of a ResNet in torchvision, e.g. `resnet50`.
        encoder: who embeds the words: `minilm` stays outside the network, `bert` is part of it.
        pooling: how the words become one vector: `learned` weights, or their plain `mean`.
        feedforward: width of a fusion block's MLP in units of W; 0: no MLP.
        layers: hidden layers of the action MLP.
        first_look: the action query looks at the picture twice: for "the ball left of the red
            box" at the box, then for the ball.
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
    trunk: str = 'compact'
    encoder: Literal['minilm', 'bert'] = 'minilm'
    pooling: Literal['learned', 'mean'] = 'learned'
    feedforward: int = 2
    layers: int = 2
    first_look: bool = True

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit together.

        Raises:
            ConfigError: if a size is not positive, the heads do not divide the width, the picture
                does not divide into the compact trunk's grid, or a choice is unknown.
        """
        for name in (
            *('height', 'width', 'words', 'tokens', 'heads', 'blocks', 'hidden'),
            *('horizon', 'axes', 'layers'),
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f'model {name} {getattr(self, name)}: expected >= 1')
        if self.tokens % self.heads or self.grounded_heads > self.heads:
            raise ConfigError(
                f'model of {self.heads} heads, {self.grounded_heads} of them grounded, and '
                f'{self.tokens} wide: expected a width that the heads divide'
            )
        if self.trunk == 'compact' and (self.height % 32 or self.width % 32):
            raise ConfigError(
                f'model picture {self.width}x{self.height}: the compact trunk expects '
                'multiples of 32'
            )
        if not 0.0 <= self.dropout < 1.0 or self.feedforward < 0:
            raise ConfigError(
                f'model dropout {self.dropout}, feedforward {self.feedforward}: '
                'expected dropout in [0, 1) and feedforward >= 0'
            )
        for name, known in (('encoder', ('minilm', 'bert')), ('pooling', ('learned', 'mean'))):
            if getattr(self, name) not in known:
                raise ConfigError(f'model {name} {getattr(self, name)!r}: expected one of {known}')

    @classmethod
    def full(cls, **changes: Any) -> ModelConfig:
        """Full scale: ResNet-50 and BERT-base, 768 wide, 8 heads, 49 vision tokens.

        Args:
            changes: fields that differ from it.
        """
        sizes = {
            'height': 224,
            'width': 224,
            'words': 768,
            'tokens': 768,
            'heads': 8,
            'blocks': 1,
            'trunk': 'resnet50',
            'encoder': 'bert',
            'pooling': 'mean',
            'feedforward': 0,
            'first_look': False,
        }
        return cls(**(sizes | changes))

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Make it from what `plain` gave.

        Raises:
            ConfigError: if a field is unknown, missing or of another type.
        """
        expected = {field.name for field in fields(cls)}
        wrong = sorted(expected ^ set(values))
        if wrong:
            raise ConfigError(f'model: field {wrong[0]!r}: expected exactly {sorted(expected)}')
        compact = cls()
        for name, value in values.items():
            kind = list if name == 'channels' else type(getattr(compact, name))
            if type(value) is not kind:
                raise ConfigError(f'model {name} is {value!r}: expected a {kind.__name__}')
        channels = values['channels']
        if len(channels) != 3 or not all(type(item) is int and item > 0 for item in channels):
            raise ConfigError(f'model channels {channels}: expected three numbers >= 1')
        return cls(**{**values, 'channels': tuple(channels)})

    def plain(self) -> dict[str, Any]:
        """Return the fields as YAML knows them."""
        return {**vars(self), 'channels': list(self.channels)}

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of vision tokens."""
        if self.trunk == 'compact':
            return self.height // TOKEN[0], self.width // TOKEN[1]
        return RESNET_GRID
