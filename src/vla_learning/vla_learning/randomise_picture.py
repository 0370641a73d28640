"""`vla-learn randomise`: a picture that shows each effect of the randomisation by itself."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError
import torch
import tyro

from vla_core.errors import ConfigError
from vla_core.preprocess import resize
from vla_core.types import CameraSlot
from vla_learning.randomise import Randomisation, Randomiser

_GAP = 4
_CAPTION = 18
_COLUMNS = 6
# Pixels of an object beyond which it makes a view no fuller.
_ENOUGH = 500
# Effects by themselves, in the order in which they are applied.
_EFFECTS = {
    'rotation': ('rotation_deg',),
    'brightness, twice': ('jitter_brightness', 'brightness'),
    'contrast': ('jitter_contrast',),
    'saturation': ('jitter_saturation',),
    'hue': ('jitter_hue',),
    'grayscale': ('grayscale',),
    'gamma': ('gamma',),
    'shadow': ('shadow',),
}


@dataclass(frozen=True)
class Options:
    """Show what domain randomisation does to pictures.

    Attributes:
        images: picture files; without any, frames of the simulator.
        output: picture to write.
        seed: of what is drawn.
        height: px of each picture in it.
        width: px of each picture in it.
        randomisation: how much.
    """

    images: tyro.conf.Positional[tuple[Path, ...]] = ()
    output: Annotated[Path, tyro.conf.arg(aliases=['-o'])] = Path('build/randomise.png')
    seed: int = 0
    height: int = 144
    width: int = 192
    randomisation: Randomisation = field(default_factory=Randomisation)


def command(options: Options) -> int:
    """Write the picture.

    Raises:
        ConfigError: if a file is no picture.
    """
    slot = CameraSlot('front', options.width, options.height, 'crop')
    pictures = [_read(path) for path in options.images] or _simulated()
    sheet = contact_sheet(
        np.stack([resize(picture, slot) for picture in pictures]),
        options.randomisation,
        options.seed,
    )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(options.output)
    print(f'{options.output}: {sheet.shape[1]}x{sheet.shape[0]}')
    return 0


def contact_sheet(pictures: np.ndarray, config: Randomisation, seed: int) -> np.ndarray:
    """Return one picture: a column for each effect by itself, one with all of them.

    Args:
        pictures: uint8 [B, h, w, 3], a row for each.
        config: how much; grayscale and shadow are shown whether or not they are rare.
        seed: of what is drawn.

    Returns:
        uint8 [H, W, 3].
    """
    always = replace(config, grayscale=1.0, shadow=1.0)
    columns = {'as it is': pictures}
    original = torch.from_numpy(pictures)
    for step, (title, names) in enumerate(_EFFECTS.items()):
        columns[title] = Randomiser(always.only(*names), seed)(original, step).numpy()
    every = replace(config, real_ratio=0.0)
    for number in (1, 2, 3):
        columns[f'as in training, {number}'] = Randomiser(every, seed)(
            original, 100 + number
        ).numpy()
    return _lay_out(columns)


def _lay_out(columns: dict[str, np.ndarray]) -> np.ndarray:
    count, height, width = next(iter(columns.values())).shape[:3]
    bands = -(-len(columns) // _COLUMNS)
    across, down = width + _GAP, height + _GAP
    size = (_COLUMNS * across - _GAP, bands * (_CAPTION + count * down) - _GAP)
    sheet = Image.new('RGB', size, 'white')
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, (title, shown) in enumerate(columns.items()):
        band, column = divmod(number, _COLUMNS)
        left, top = column * across, band * (_CAPTION + count * down)
        draw.text((left + 2, top + 1), title, 'black', font)
        for row, picture in enumerate(shown):
            sheet.paste(Image.fromarray(picture), (left, top + _CAPTION + row * down))
    return np.array(sheet)


def _read(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.array(image.convert('RGB'))
    except (OSError, UnidentifiedImageError) as error:
        raise ConfigError(f'{path}: expected a picture: {error}') from error


def _simulated(count: int = 2, tries: int = 200) -> list[np.ndarray]:
    """Render the fullest of some views of each of a few layouts."""
    from vla_learning.sim.frames import sample_pose
    from vla_learning.sim.views import token_masks
    from vla_sim.arena import Arena
    from vla_sim.layout import sample_layout

    random = np.random.default_rng(0)
    arena = Arena()
    pictures = []
    try:
        for seed in range(count):
            layout = sample_layout(seed)
            poses = np.array([sample_pose(random, layout) for _ in range(tries)])
            pixels = token_masks(layout, poses).sum(axis=-1)
            full = np.minimum(pixels, _ENOUGH).sum(axis=-1)
            arena.reset(layout)
            arena.place(*poses[full.argmax()])
            pictures.append(arena.render())
    finally:
        arena.close()
    return pictures
