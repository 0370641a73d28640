"""Domain randomisation: a share of every batch gets other light, colours, tilt and shadows.

Batched, on the device of the pictures. What happens to a picture is drawn for the whole global
batch from (seed, step), so that one process and many see the same, on any device.

Order: tilt, colours (one affine map of the pixel per picture), gamma, shadow. Shape legend: N
pictures of the global batch, B pictures of one process, M pictures that change, S with a shadow.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
import math
from typing import Annotated, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vla_core.errors import ConfigError
from vla_learning.data.batch import Batch
from vla_learning.shadows import darken, draw_outlines, Shadows
from vla_learning.structure import check, Range

# Rec. 601, as torchvision's and Pillow's grey: https://www.itu.int/rec/R-REC-BT.601
_LUMA = (0.299, 0.587, 0.114)
# Keeps these draws apart from others that are seeded by (seed, step) too.
_STREAM = 0x5348414457

Span = tuple[float, float]
Ratio = Annotated[float, Range(0, 1)]
Strength = Annotated[float, Range(0, 0.95)]
Factors = Annotated[Span, Range(0.05, 20)]


@dataclass(frozen=True)
class Randomisation:
    """How much pictures vary. The defaults are S8's; a task that names colours wants no hue.

    A strength x of the colour jitter means a factor from 1 - x to 1 + x; a share is a probability.

    Attributes:
        real_ratio: share of a global batch that stays as it is, to the bit; N * real_ratio
            pictures, halves rounded up.
        jitter_brightness: strength, factor on the pixel.
        jitter_contrast: strength, factor on the distance to the picture's mean grey.
        jitter_saturation: strength, factor on the distance to the pixel's grey.
        jitter_hue: largest shift, in turns of the colour circle.
        grayscale: share of pictures without colour.
        rotation_deg: largest tilt to either side, about the centre.
        gamma: exponent of the pixel value in 0..1.
        brightness: factor on the pixel, beside the jitter's.
        channel_gain: factor on each channel by itself: white balance.
        offset: largest amount added or taken away, of the full scale.
        shadow: share of pictures with a shadow.
        shadow_intensity: what is left of the light inside a shadow.
        shadow_area: share of the picture inside a shadow.
        shadow_softness: width of a shadow's edge, in shorter sides of the picture.
    """

    real_ratio: Ratio = 0.5
    jitter_brightness: Strength = 0.3
    jitter_contrast: Strength = 0.3
    jitter_saturation: Ratio = 0.3
    jitter_hue: Annotated[float, Range(0, 0.5)] = 0.1
    grayscale: Ratio = 0.1
    rotation_deg: Annotated[float, Range(0, 180)] = 10.0
    gamma: Factors = (0.8, 1.2)
    brightness: Factors = (0.8, 1.2)
    channel_gain: Factors = (1.0, 1.0)
    offset: Ratio = 0.0
    shadow: Ratio = 0.2
    shadow_intensity: Annotated[Span, Range(0, 1)] = (0.7, 0.9)
    shadow_area: Annotated[Span, Range(0.01, 0.99)] = (0.1, 0.5)
    shadow_softness: Annotated[Span, Range(0.005, 1)] = (0.02, 0.12)

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ConfigError: if a value is out of range, or a span runs backwards.
        """
        check(self)
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple) and not (len(value) == 2 and value[0] <= value[1]):
                raise ConfigError(f'{field.name} is {value}: expected two numbers, low and high')

    def without(self, *names: str) -> Randomisation:
        """Return the same with these effects turned off.

        Raises:
            ConfigError: if there is no such effect.
        """
        unknown = sorted(set(names) - set(_OFF))
        if unknown:
            raise ConfigError(f'no effect {unknown}: expected some of {sorted(_OFF)}')
        return replace(self, **{name: _OFF[name] for name in names})

    def only(self, *names: str) -> Randomisation:
        """Return the same with every other effect turned off, and no picture left real."""
        self.without(*names)
        return replace(self.without(*(set(_OFF) - set(names))), real_ratio=0.0)


_OFF: dict[str, float | Span] = {
    'jitter_brightness': 0.0,
    'jitter_contrast': 0.0,
    'jitter_saturation': 0.0,
    'jitter_hue': 0.0,
    'grayscale': 0.0,
    'rotation_deg': 0.0,
    'gamma': (1.0, 1.0),
    'brightness': (1.0, 1.0),
    'channel_gain': (1.0, 1.0),
    'offset': 0.0,
    'shadow': 0.0,
}


class Draw(NamedTuple):
    """What happens to each of N pictures.

    Attributes:
        real: bool [N], nothing.
        rotation: float [N], rad, positive turns the picture counter-clockwise.
        brightness: float [N, 3], all factors on a channel in one.
        contrast: float [N].
        saturation: float [N], 0 for pictures that lose their colour.
        hue: float [N], rad on the colour circle.
        offset: float [N].
        gamma: float [N].
        shadow: bool [N].
        shadows: outlines of N shadows, cast or not.
    """

    real: Tensor
    rotation: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    offset: Tensor
    gamma: Tensor
    shadow: Tensor
    shadows: Shadows

    def rows(self, index: Tensor, device: torch.device) -> Draw:
        """Return those of some pictures, on a device."""
        shadows = Shadows(*(value[index].to(device) for value in self.shadows))
        return Draw(*(value[index].to(device) for value in self[:-1]), shadows)


class Randomiser:
    """Changes pictures.

    Args:
        config: how much.
        seed: of everything drawn, with the step.
    """

    def __init__(self, config: Randomisation, seed: int) -> None:
        self.config = config
        self._seed = seed

    def draw(self, step: int, count: int) -> Draw:
        """Draw what happens to the N = `count` pictures of a step's global batch, on the CPU."""
        config = self.config
        random = np.random.default_rng((_STREAM, self._seed, step))
        real = np.zeros(count, bool)
        real[random.permutation(count)[: math.floor(count * config.real_ratio + 0.5)]] = True

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return torch.from_numpy(random.uniform(low, high, (count, *shape))).float()

        def strength(name: str, middle: float = 1.0) -> Tensor:
            value = getattr(config, name)
            return uniform(middle - value, middle + value)

        jitter = strength('jitter_brightness')
        gain = uniform(*config.brightness)
        channels = uniform(*config.channel_gain, 3)
        tilt = math.radians(config.rotation_deg)
        return Draw(
            real=torch.from_numpy(real),
            rotation=uniform(-tilt, tilt),
            brightness=(jitter * gain)[:, None] * channels,
            contrast=strength('jitter_contrast'),
            saturation=strength('jitter_saturation') * (uniform(0, 1) >= config.grayscale),
            hue=2 * math.pi * strength('jitter_hue', 0.0),
            offset=strength('offset', 0.0),
            gamma=uniform(*config.gamma),
            shadow=uniform(0, 1) < config.shadow,
            shadows=draw_outlines(
                uniform, config.shadow_intensity, config.shadow_area, config.shadow_softness
            ),
        )

    def __call__(self, image: Tensor, step: int, part: int = 0, parts: int = 1) -> Tensor:
        """Return pictures uint8 [B, h, w, 3], changed; the argument stays as it is.

        Args:
            image: the share of process `part` of the global batch: pictures part * B to
                (part + 1) * B of N = B * parts.
            step: of the training.
            part: which share of the global batch these are.
            parts: into how many equal shares it is cut.
        """
        begin, count = part * len(image), len(image)
        drawn = self.draw(step, parts * count)
        rows = torch.nonzero(~drawn.real[begin : begin + count])[:, 0]
        if not len(rows):
            return image
        drawn = drawn.rows(begin + rows, image.device)
        pixels = image.index_select(0, rows.to(image.device)).permute(0, 3, 1, 2)
        pixels = pixels.to(torch.float32, memory_format=torch.contiguous_format)
        if self.config.rotation_deg:
            pixels = _tilt(pixels, drawn.rotation)
        pixels = _colour(pixels, drawn)
        if self.config.gamma != (1.0, 1.0):
            pixels = pixels.log2_().mul_(drawn.gamma.view(-1, 1, 1, 1)).exp2_()
        if self.config.shadow:
            darken(pixels, drawn.shadow, drawn.shadows)
        # Conversion cuts off, so that a half makes it round; planes are stacked as bytes.
        changed = pixels.mul_(255).add_(0.5).to(torch.uint8)
        result = image.clone()
        for row, planes in zip(rows.tolist(), changed, strict=True):
            torch.stack(planes.unbind(), dim=-1, out=result[row])
        return result

    def batch(self, batch: Batch, step: int, part: int = 0, parts: int = 1) -> Batch:
        """Return a batch with its pictures changed; see `__call__`.

        Raises:
            ConfigError: if pictures were tilted under masks and bearings that stay upright.
        """
        if batch.scene is not None and self.config.rotation_deg:
            raise ConfigError(
                f'randomisation rotation_deg is {self.config.rotation_deg}: expected 0 where '
                'masks and bearings of objects are taught, for those are not turned'
            )
        return replace(batch, image=self(batch.image, step, part, parts))


def _tilt(pixels: Tensor, angle: Tensor) -> Tensor:
    """Turn pictures [M, 3, h, w] about their centres; what comes in is mirrored at the border."""
    height, width = pixels.shape[2:]
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    # grid_sample wants -1..1 over each side, x right and y down.
    x, y = (
        (torch.arange(size, device=pixels.device) + 0.5) * (2 / size) - 1
        for size in (width, height)
    )
    x, y = x[None, None, :], y[None, :, None]
    grid = pixels.new_empty(len(pixels), height, width, 2)
    torch.add(cos * x, (-height / width) * sin * y, out=grid[..., 0])
    torch.add((width / height) * sin * x, cos * y, out=grid[..., 1])
    return functional.grid_sample(
        pixels, grid, mode='bilinear', padding_mode='reflection', align_corners=False
    )


def _colour(pixels: Tensor, drawn: Draw) -> Tensor:
    """Map pixels [M, 3, h, w] in 0..255 to changed ones in 0..1, by one affine map per picture.

    Contrast, saturation and hue all keep grey what is grey, so that one matrix and one grey level
    hold them; clipping once at the end is also what a camera does.
    """
    flat = pixels.flatten(2)
    luma = flat.new_tensor(_LUMA)
    mean = flat.mean(2) @ luma
    grey = (1 - drawn.contrast) * mean
    matrix = drawn.contrast[:, None, None] * _hue(drawn.hue) @ _saturation(drawn.saturation, luma)
    gain = drawn.brightness / 255
    moved = gain * grey[:, None] + drawn.offset[:, None]
    result = torch.baddbmm(moved[:, :, None], gain[:, :, None] * matrix, flat)
    return result.clamp_(0, 1).view_as(pixels)


def _saturation(amount: Tensor, luma: Tensor) -> Tensor:
    """Matrices [M, 3, 3] that scale the distance to the pixel's grey."""
    colour = torch.eye(3, device=luma.device)
    return luma.expand(3, 3) + amount[:, None, None] * (colour - luma.expand(3, 3))


def _hue(angle: Tensor) -> Tensor:
    """Matrices [M, 3, 3] that turn colours about the grey axis, red towards green.

    Rodrigues' formula for the axis (1, 1, 1): the hue of a hexagonal cone (HSV) follows within
    1.2 degrees, at a tenth of the cost.
    """
    cross = angle.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    identity = torch.eye(3, device=angle.device)
    return cos * identity + sin * cross + (1 - cos) / 3
