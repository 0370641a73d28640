"""The straightforward way of feeding a network, to compare with: one picture after the other.

Each access decodes a picture file in full and stretches it; the randomisation happens inside the
training step and takes every picture from a tensor to a PIL image and back.
"""

from __future__ import annotations

from pathlib import Path
import random

import numpy as np
from PIL import Image
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vla_learning import torchvision_beside_cpu  # noqa: F401 (must come first)

from torchvision import transforms  # isort: skip
from torchvision.transforms import functional  # isort: skip


class SeedDataset(Dataset[Tensor]):
    """Pictures by number, decoded at each access.

    Args:
        paths: picture files.
        height: px to stretch to.
        width: px to stretch to.
    """

    def __init__(self, paths: list[Path], height: int, width: int) -> None:
        self._paths = paths
        self._size = (width, height)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: int) -> Tensor:
        """Return a picture, float [3, height, width] in 0..1."""
        with Image.open(self._paths[number]) as image:
            small = image.convert('RGB').resize(self._size, Image.Resampling.BILINEAR)
        return functional.to_tensor(small)


class SeedRandomiser:
    """S8's effects and constants by torchvision on PIL images; the shadow is noise."""

    def __init__(self) -> None:
        self._effects = transforms.Compose(
            [
                transforms.ColorJitter(0.3, 0.3, 0.3, 0.1),
                transforms.RandomGrayscale(0.1),
                transforms.RandomRotation(10),
            ]
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Return pictures float [B, 3, h, w]; about half of them stay as they are."""
        return torch.stack(
            [image if random.random() < 0.5 else self._one(image) for image in images]
        )

    def _one(self, image: Tensor) -> Tensor:
        picture = self._effects(functional.to_pil_image(image))
        picture = functional.adjust_gamma(picture, random.uniform(0.8, 1.2))
        picture = functional.adjust_brightness(picture, random.uniform(0.8, 1.2))
        if random.random() < 0.2:
            pixels = np.array(picture, np.float32)
            pixels *= np.random.default_rng().uniform(0.7, 0.9, (*pixels.shape[:2], 1))
            picture = Image.fromarray(pixels.astype(np.uint8))
        return functional.to_tensor(picture)
