"""Feeding the network while it learns: our way beside the straightforward one, in turns.

Both read the same JPEG files of 640x480, randomise as S8 says, and teach the same compact
network in bfloat16, whose instructions are embedded beforehand. `make bench` runs it as
`vla-learn bench`, a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
import itertools
import json
from pathlib import Path
import sys
import tempfile
import time
from typing import NamedTuple

import numpy as np
from PIL import Image
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, RandomSampler

from vla_core.errors import ConfigError
from vla_core.types import CameraSlot
from vla_learning.benchmark.seed_way import SeedDataset, SeedRandomiser
from vla_learning.data.source import open_source, Recorded, View
from vla_learning.model import ModelConfig, Policy
from vla_learning.randomise import Randomisation, Randomiser
from vla_learning.training.feed import feed, Share

_BATCH = 16
_PICTURES = 8 * _BATCH
_SIZE = (640, 480)
_ROUNDS = 4
_WARM_UP = 3
_WORDS = 10
_STAGES = ('read', 'randomise', 'network')
#: Of the seed's time that ours may take: a fifth; two thirds.
_INPUT_SHARE, _STEP_SHARE = 1 / 5, 1 / 1.5


class Row(NamedTuple):
    """One measured quantity.

    Attributes:
        name: what was measured.
        unit: of the samples.
        samples: every single measurement.
        against: another way of doing the same -> ours divided by that one, at p50.
        notes: circumstances, and what the limit is.
        limits: ratio -> what is promised of it (docs/reference/figures.md).
    """

    name: str
    unit: str
    samples: list[float]
    against: dict[str, float]
    notes: dict[str, object]
    limits: dict[str, float]


@dataclass(frozen=True)
class Options:
    """How long to measure.

    Attributes:
        batches: of each way, for each row.
    """

    batches: int = 100


def command(options: Options) -> int:
    """Print the rows as JSON; returns the exit status.

    Raises:
        ConfigError: if there is nothing to measure.
    """
    if options.batches < 1:
        raise ConfigError(f'batches is {options.batches}: expected at least 1')
    print(json.dumps([row._asdict() for row in measure(options.batches)]))
    return 0


class Way(NamedTuple):
    """One way of getting from files to what the network sees."""

    images: Iterator[Tensor]
    randomise: Callable[[Tensor], Tensor]


def measure(batches: int) -> list[Row]:
    """Measure both rows, each with so many batches of each way."""
    with tempfile.TemporaryDirectory() as name:
        paths = write_recording(Path(name))
        return [
            input_pipeline(paths, CameraSlot('front', 224, 224, 'stretch'), batches),
            training_step(paths, ModelConfig(), batches),
        ]


def write_recording(folder: Path, pictures: int = _PICTURES) -> list[Path]:
    """Write pictures, coarse and fine structure as in a camera's, and their records."""
    random = np.random.default_rng(0)
    paths = [folder / f'{number}.jpg' for number in range(pictures)]
    records = []
    for path in paths:
        pixels = np.zeros((_SIZE[1], _SIZE[0], 3))
        for octave in range(2, 8):
            cells = random.integers(0, 256, (3 * 2**octave // 4, 2**octave, 3), np.uint8)
            smooth = Image.fromarray(cells).resize(_SIZE, Image.Resampling.BICUBIC)
            pixels += 0.55**octave * np.array(smooth, float)
        pixels *= 255 / pixels.max()
        Image.fromarray(pixels.astype(np.uint8)).save(path, quality=90)
        action = random.uniform(-1, 1, 7).tolist()
        text = 'go to the red box'
        records.append({'image_path': path.name, 'language_instruction': text, 'action': action})
    (folder / 'records.json').write_text(json.dumps(records), encoding='utf-8')
    return paths


def input_pipeline(paths: list[Path], slot: CameraSlot, batches: int) -> Row:
    """Measure one process from files to randomised batches, without a network."""
    began = time.perf_counter()
    our_way(paths, slot)
    first = (time.perf_counter() - began) / len(paths)
    ours, theirs, uncached = compare(
        [
            lambda: our_way(paths, slot),
            lambda: seed_way(paths, slot),
            lambda: our_way(paths, slot, cache=False),
        ],
        batches,
    )
    read, decode = np.median(ours[:, 0]), np.median(uncached[:, 0])
    cpu, their_cpu = np.median(ours[:, 3]), np.median(theirs[:, 3])
    against, turns = _against({'seed_way': theirs}, ours)
    notes = {
        **_profile(ours, theirs, slot),
        **turns,
        'CPU time': f'{cpu:.1f} ms; seed way {their_cpu:.1f} ms, '
        f'{their_cpu / cpu:.1f} times as much',
        'first use': f'{1e3 * _BATCH * first:.1f} ms more per batch, once: decoding on all cores',
        'without kept frames': f'{np.median(_whole(uncached)):.1f} ms, '
        f'{np.median(_whole(theirs)) / np.median(_whole(uncached)):.1f} times as fast as the seed '
        f'way; reading them is {decode / read:.0f} times as fast as decoding',
    }
    limits = {'ratio to seed_way': _INPUT_SHARE}
    return Row('input_pipeline', 'ms', _whole(ours).tolist(), against, notes, limits)


def training_step(paths: list[Path], model: ModelConfig, batches: int) -> Row:
    """Measure whole steps: wait for a batch, randomise it, forward, backward, optimiser."""
    slot = CameraSlot('front', model.width, model.height, 'stretch')
    our_way(paths, slot)
    learn = _learner(model)
    ours, theirs, helped = compare(
        [
            # Frames that are kept need no worker: its hand-over costs more than reading them.
            lambda: our_way(paths, slot),
            lambda: seed_way(paths, slot),
            lambda: seed_way(paths, slot, workers=2),
        ],
        batches,
        learn,
    )
    against, turns = _against({'seed_way': theirs, 'seed_way with 2 workers': helped}, ours)
    notes = {
        **_profile(ours, theirs, slot),
        **turns,
        'network': f'compact in bfloat16, {torch.get_num_threads()} threads',
        'workers': 'none, but for the way that says so',
    }
    limits = {f'ratio to {way}': _STEP_SHARE for way in against}
    return Row('training_step', 'ms', _whole(ours).tolist(), against, notes, limits)


def our_way(paths: list[Path], slot: CameraSlot, workers: int = 0, cache: bool = True) -> Way:
    """Frames kept on disk at the network's size, randomised as one batch."""
    recorded = Recorded(paths[0].parent / 'records.json', validation_share=0, cache=cache)
    source = open_source(recorded, View(slot, horizon=1), _BATCH)
    batches = feed(source, range(sys.maxsize), Share(), workers)
    randomiser, steps = Randomiser(Randomisation(), 0), itertools.count()
    return Way(
        (pieces[0].image for pieces in batches),
        lambda image: randomiser(image, next(steps)),
    )


def seed_way(paths: list[Path], slot: CameraSlot, workers: int = 0) -> Way:
    """Files decoded at each access, randomised one after the other as PIL images."""
    dataset = SeedDataset(paths, slot.height, slot.width)
    # One endless epoch: neither way pauses at the end of one.
    order = RandomSampler(dataset, num_samples=sys.maxsize)
    images = iter(DataLoader(dataset, _BATCH, sampler=order, num_workers=workers))
    return Way(images, SeedRandomiser())


def compare(
    ways: list[Callable[[], Way]], batches: int, learn: Callable[[Tensor], None] | None = None
) -> list[np.ndarray]:
    """Run ways in turns, so that a disturbance meets all of them.

    Returns:
        For each way ms [batches, 4]: of the stages read, randomise and network, and the CPU time
        of this process over all three.
    """
    rounds = [[_run(way(), _share(batches), learn) for way in ways] for _ in range(_ROUNDS)]
    return [np.concatenate(runs)[:batches] for runs in zip(*rounds, strict=True)]


def _run(way: Way, batches: int, learn: Callable[[Tensor], None] | None) -> np.ndarray:
    times = np.zeros((batches + _WARM_UP, 4))
    for row in times:
        cpu, began = time.process_time(), time.perf_counter()
        image = next(way.images)
        read = time.perf_counter()
        image = way.randomise(image)
        randomised = time.perf_counter()
        row[:2] = read - began, randomised - read
        if learn is not None:
            if image.is_floating_point():
                image = 255 * image.permute(0, 2, 3, 1)
            began = time.perf_counter()
            learn(image)
            row[2] = time.perf_counter() - began
        row[3] = time.process_time() - cpu
    return 1e3 * times[_WARM_UP:]


def _learner(config: ModelConfig) -> Callable[[Tensor], None]:
    torch.manual_seed(0)
    model = Policy(config).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    tokens = torch.randn(_BATCH, _WORDS, config.words)
    padding = torch.zeros(_BATCH, _WORDS, dtype=torch.bool)
    wanted = torch.zeros(_BATCH, config.horizon, config.axes)

    def learn(image: Tensor) -> None:
        with torch.autocast('cpu', torch.bfloat16):
            output = model(image.float(), model.language(tokens, padding))
        optimizer.zero_grad(set_to_none=True)
        functional.mse_loss(output.actions.float(), wanted).backward()
        optimizer.step()

    return learn


def _whole(times: np.ndarray) -> np.ndarray:
    return times[:, :3].sum(1)


def _against(
    others: Mapping[str, np.ndarray], ours: np.ndarray
) -> tuple[dict[str, float], dict[str, object]]:
    """Return the median of the turns' ratios, and notes that name the smallest and largest."""
    against, notes = {}, {}
    medians = _medians(ours)
    for name, times in others.items():
        ratios = medians / _medians(times)
        against[name] = float(np.median(ratios))
        notes[f'ratio to {name}, turns'] = f'{ratios.min():.3f} to {ratios.max():.3f}'
    return against, notes


def _medians(times: np.ndarray) -> np.ndarray:
    """Return the median of each turn of `compare`."""
    whole, share = _whole(times), _share(len(times))
    starts = range(0, len(whole), share)
    return np.array([np.median(whole[start : start + share]) for start in starts])


def _share(batches: int) -> int:
    """Return the batches of a turn."""
    return -(-batches // _ROUNDS)


def _profile(ours: np.ndarray, theirs: np.ndarray, slot: CameraSlot) -> dict[str, object]:
    """Say where the time goes, and what is the limit."""
    spent, there = np.median(ours[:, :3], 0), np.median(theirs[:, :3], 0)
    return {
        'batch': f'{_BATCH} of {slot.width}x{slot.height} from JPEG of {_SIZE[0]}x{_SIZE[1]}',
        'seed way p50': f'{np.median(_whole(theirs)):.1f} ms, {_shares(there)}',
        'ours': _shares(spent),
        'limit': _STAGES[int(spent.argmax())],
    }


def _shares(stages: np.ndarray) -> str:
    return ', '.join(
        f'{name} {value:.1f} ms ({100 * value / stages.sum():.0f} %)'
        for name, value in zip(_STAGES, stages, strict=True)
        if value
    )
