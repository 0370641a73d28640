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
    for step in (100, 101):
        columns[f'as in training, {step - 99}'] = Randomiser(every, seed)(original, step).numpy()
    count, height, width = pictures.shape[:3]
    sheet = Image.new(
        'RGB',
        (len(columns) * (width + _GAP) - _GAP, _CAPTION + count * (height + _GAP) - _GAP),
        'white',
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for column, (title, shown) in enumerate(columns.items()):
        left = column * (width + _GAP)
        draw.text((left + 2, 1), title, 'black', font)
        for row, picture in enumerate(shown):
            sheet.paste(Image.fromarray(picture), (left, _CAPTION + row * (height + _GAP)))
    return np.array(sheet)


def _read(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.array(image.convert('RGB'))
    except (OSError, UnidentifiedImageError) as error:
        raise ConfigError(f'{path}: expected a picture: {error}') from error


def _simulated(count: int = 3, tries: int = 200) -> list[np.ndarray]:
    """Render the most crowded of some views of each of a few layouts."""
    from vla_learning.sim.frames import sample_pose
    from vla_learning.sim.views import SEEN_PIXELS, token_masks
    from vla_sim.arena import Arena
    from vla_sim.layout import sample_layout

    random = np.random.default_rng(0)
    arena = Arena()
    pictures = []
    try:
        for seed in range(count):
            layout = sample_layout(seed)
            poses = np.array([sample_pose(random, layout) for _ in range(tries)])
            seen = (token_masks(layout, poses).sum(axis=-1) > SEEN_PIXELS).sum(axis=-1)
            arena.reset(layout)
            arena.place(*poses[seen.argmax()])
            pictures.append(arena.render())
    finally:
        arena.close()
    return pictures
