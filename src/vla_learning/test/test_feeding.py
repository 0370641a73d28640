"""Feeding the network, our way and the straightforward one, on a few small batches."""

import itertools
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from vla_core.types import CameraSlot  # noqa: E402
from vla_learning.benchmark import feeding  # noqa: E402
from vla_learning.benchmark.seed_way import SeedDataset, SeedRandomiser  # noqa: E402
from vla_learning.model import ModelConfig  # noqa: E402

SLOT = CameraSlot('front', 32, 32, 'stretch')


@pytest.fixture(scope='module')
def paths(tmp_path_factory) -> list[Path]:
    return feeding.write_recording(tmp_path_factory.mktemp('recording'), feeding._BATCH)


def test_both_ways_read_the_same_pictures(paths):
    ours = next(feeding.our_way(paths, SLOT).images).float()
    theirs = 255 * next(feeding.seed_way(paths, SLOT).images).permute(0, 2, 3, 1)
    # Box against bilinear; the order differs too.
    means = [torch.sort(images.mean(dim=(1, 2, 3))).values for images in (ours, theirs)]
    assert torch.allclose(*means, atol=1.0)
    assert ours.std() > 20


def test_kept_frames_are_those_that_would_be_decoded(paths):
    kept, decoded = (
        next(feeding.our_way(paths, SLOT, cache=cache).images) for cache in (True, False)
    )
    assert torch.equal(kept, decoded)


def test_straightforward_way_changes_about_half_of_the_pictures(paths):
    images = SeedDataset(paths, 24, 32)[0].expand(200, -1, -1, -1)
    changed = SeedRandomiser()(images)
    assert changed.shape == images.shape
    same = (changed == images).flatten(1).all(dim=1).double().mean()
    assert 0.35 < same < 0.65


def test_rows_have_as_many_samples_as_asked_and_say_what_the_limit_is(paths, monkeypatch):
    monkeypatch.setattr(feeding, '_ROUNDS', 1)
    monkeypatch.setattr(feeding, '_WARM_UP', 1)
    pipeline = feeding.input_pipeline(paths, SLOT, 3)
    step = feeding.training_step(paths, ModelConfig(height=32, width=32), 3)
    for row in (pipeline, step):
        assert len(row.samples) == 3
        assert min(row.samples) > 0
        assert row.against['seed_way'] > 0
        assert ' to ' in row.notes['ratio to seed_way, turns']
    assert pipeline.limits == {'ratio to seed_way': 0.2}
    assert set(step.limits) == {'ratio to seed_way', 'ratio to seed_way with 2 workers'}
    assert set(step.limits.values()) == {1 / 1.5}
    assert pipeline.notes['limit'] in ('read', 'randomise')
    assert 'times as much' in pipeline.notes['CPU time']
    assert 'network' in step.notes['ours']
    assert 'network' not in pipeline.notes['ours']


def test_ratio_is_that_of_turns_side_by_side(monkeypatch):
    monkeypatch.setattr(feeding, '_ROUNDS', 3)
    ours, theirs = np.zeros((7, 4)), np.zeros((7, 4))
    ours[:, 0] = [1, 1, 9, 2, 2, 2, 4]
    theirs[:, 1] = 10
    against, notes = feeding._against({'seed_way': theirs}, ours)
    assert against == {'seed_way': pytest.approx(0.2)}
    assert notes == {'ratio to seed_way, turns': '0.100 to 0.400'}


def test_ways_take_turns():
    began = []

    def way(name: str) -> feeding.Way:
        began.append(name)
        return feeding.Way(itertools.repeat(torch.zeros(1)), lambda image: image)

    ours, theirs = feeding.compare([lambda: way('a'), lambda: way('b')], 7)
    assert began == ['a', 'b'] * 4
    assert ours.shape == theirs.shape == (7, 4)
    assert np.all(ours[:, 2] == 0)
