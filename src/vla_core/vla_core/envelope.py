"""What the numbers were like in training: the section `envelope` of a manifest.

A policy knows nothing beyond the values it was trained on. Actions and states are in the
contract's SI units; a picture is summed up in four shares of full scale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
import math
from typing import Any

import numpy as np

from vla_core.errors import ConfigError

#: What of a picture is compared: mean and deviation of its luminance, share of its pixels that
#: are black, and that are saturated; each in 0..1.
FEATURES = ('luminance', 'contrast', 'black', 'saturated')
#: Luminance up to which a pixel is black, and from which it is saturated.
BLACK, SATURATED = 8.0, 247.0
#: Luma of RGB (ITU-R BT.601, section 2.5.1).
_LUMA = np.array((0.299, 0.587, 0.114), np.float32)
#: Rows or columns, of the shorter side, that are looked at: four numbers need no more.
_LINES = 24
_NUMBERS = ('mean', 'std', 'min', 'q01', 'q99', 'max')


@dataclass(frozen=True)
class Range:
    """What one quantity was like in training, in its SI unit.

    Attributes:
        mean: of all samples.
        std: their population standard deviation.
        min: smallest sample.
        q01: quantile 0.01.
        q99: quantile 0.99.
        max: largest sample.
        count: samples.
    """

    mean: float
    std: float
    min: float
    q01: float
    q99: float
    max: float
    count: int

    def __post_init__(self) -> None:
        """Refuse what no sample can have.

        Raises:
            ConfigError: if a number is not finite, the quantiles are out of order, `std` is
                negative or nothing was counted.
        """
        for name in _NUMBERS:
            if not math.isfinite(getattr(self, name)):
                raise ConfigError(f'{name} {getattr(self, name)}: expected a finite number')
        if not self.min <= self.q01 <= self.q99 <= self.max:
            raise ConfigError(
                f'min {self.min}, q01 {self.q01}, q99 {self.q99}, max {self.max}: '
                'expected none below the one before'
            )
        if not self.std >= 0.0:
            raise ConfigError(f'std {self.std}: expected >= 0')
        if not self.count >= 1:
            raise ConfigError(f'count {self.count}: expected >= 1')

    @property
    def usual(self) -> float:
        """Largest magnitude but for the rarest 2 % of the samples."""
        return max(abs(self.q01), abs(self.q99))

    @property
    def largest(self) -> float:
        """Largest magnitude."""
        return max(abs(self.min), abs(self.max))


@dataclass(frozen=True)
class Envelope:
    """What a policy's numbers were like in training; what is not named here is not judged.

    Attributes:
        source: what was measured, for a person.
        actions: action name -> SI, as in ActionChunk.
        state: state name -> SI.
        images: camera slot -> one of FEATURES -> share of full scale.
    """

    source: str
    actions: Mapping[str, Range] = field(default_factory=dict)
    state: Mapping[str, Range] = field(default_factory=dict)
    images: Mapping[str, Mapping[str, Range]] = field(default_factory=dict)

    def check(self, actions: Sequence[str], state: Sequence[str], slots: Sequence[str]) -> None:
        """Compare the names with those of a contract.

        Raises:
            ConfigError: if one is not in the contract, or a slot lacks one of FEATURES. An action
                that was not taught has no range, so that one may be missing here.
        """
        for where, found, expected in (
            ('actions', self.actions, actions),
            ('state', self.state, state),
            ('images', self.images, slots),
        ):
            unknown = sorted(set(found) - set(expected))
            if unknown:
                raise ConfigError(
                    f'envelope.{where}: {unknown[0]!r} is unknown: expected some of {[*expected]}'
                )
        for slot, features in self.images.items():
            if set(features) != set(FEATURES):
                raise ConfigError(f'envelope.images.{slot}: {[*features]}: expected {[*FEATURES]}')

    def plain(self) -> dict[str, Any]:
        """Return plain values, for YAML."""
        return {
            'source': self.source,
            'actions': {name: dict(vars(one)) for name, one in self.actions.items()},
            'state': {name: dict(vars(one)) for name, one in self.state.items()},
            'images': {
                slot: {name: dict(vars(one)) for name, one in features.items()}
                for slot, features in self.images.items()
            },
        }

    @classmethod
    def from_plain(cls, data: Any) -> 'Envelope':
        """Read what `plain` gave.

        Raises:
            ConfigError: if a key is unknown or missing, or a value is not allowed; names the path.
        """
        section = _section(data, 'envelope', ('source', 'actions', 'state', 'images'))
        if not isinstance(section['source'], str):
            raise ConfigError(f'envelope.source is {section["source"]!r}: expected a text')
        return cls(
            source=section['source'],
            actions=_ranges(section['actions'], 'envelope.actions'),
            state=_ranges(section['state'], 'envelope.state'),
            images={
                slot: _ranges(features, f'envelope.images.{slot}')
                for slot, features in _section(section['images'], 'envelope.images').items()
            },
        )


def features_of(image: np.ndarray) -> tuple[float, ...]:
    """Sum a picture up.

    Args:
        image: uint8 [height, width, 3], RGB; every so many-th row and column of it is looked at.

    Returns:
        One number in 0..1 for each of FEATURES.
    """
    stride = max(1, min(image.shape[:2]) // _LINES)
    luminance = image[::stride, ::stride].reshape(-1, 3) @ _LUMA
    return (
        float(luminance.mean()) / 255.0,
        float(luminance.std()) / 255.0,
        float(np.count_nonzero(luminance <= BLACK)) / luminance.size,
        float(np.count_nonzero(luminance >= SATURATED)) / luminance.size,
    )


def _ranges(data: Any, where: str) -> dict[str, Range]:
    return {name: _range(one, f'{where}.{name}') for name, one in _section(data, where).items()}


def _range(data: Any, where: str) -> Range:
    values = _section(data, where, (*_NUMBERS, 'count'))
    for name, value in values.items():
        kind = int if name == 'count' else float
        if type(value) is not kind:
            raise ConfigError(f'{where}.{name} is {value!r}: expected a {kind.__name__}')
    try:
        return Range(**values)
    except ConfigError as error:
        raise ConfigError(f'{where}: {error}') from error


def _section(data: Any, where: str, keys: Sequence[str] | None = None) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ConfigError(f'{where} is {str(data)[:80]!r}: expected a mapping')
    wrong = sorted(set(data) ^ set(keys)) if keys is not None else []
    if wrong:
        problem = 'unknown' if wrong[0] in data else 'missing'
        raise ConfigError(f'{where}: key {wrong[0]!r} is {problem}: expected {list(keys or ())}')
    return data
