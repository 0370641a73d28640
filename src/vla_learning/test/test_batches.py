import numpy as np
import pytest

torch = pytest.importorskip('torch')

from vla_learning.sim.batches import augment, Sampler  # noqa: E402
from vla_learning.sim.frames import Frames, GRID, KINDS  # noqa: E402
from vla_learning.sim.sentences import NONSENSE, Sentences  # noqa: E402
from vla_sim.expert import MOTIONS, SEARCH_TURN_RATE  # noqa: E402

CELLS = GRID[0] * GRID[1]


@pytest.fixture
def sampler():
    """Two pictures of two objects: the first is seen on the left, the second is not seen."""
    random = np.random.default_rng(0)
    kinds = np.array([[0, 4, -1], [3, 7, -1]], np.int8)
    actions = np.zeros((2, 3, 8, 2), np.float16)
    actions[:, 0] = (0.25, 0.5)
    actions[:, 1] = (0.0, SEARCH_TURN_RATE)
    mask = np.zeros((2, 3, CELLS), np.uint8)
    mask[:, 0, 0] = 100
    frames = Frames(
        images=random.integers(0, 256, (2, 96, 192, 3), dtype=np.uint8),
        kinds=kinds,
        actions=actions,
        done=np.zeros((2, 3), bool),
        seen=np.array([[True, False, False]] * 2),
        place=np.full((2, 3, 2), 0.4, np.float16),
        mask=mask,
    )
    count = NONSENSE + 1
    # The first number of a sentence's only word says what it means.
    embeddings = np.zeros((count, 2, 384), np.float16)
    embeddings[:, 0, 0] = np.arange(count)
    sentences = Sentences(embeddings, np.ones(count, int), np.arange(count))
    return Sampler(frames, sentences, np.ones(2))


def draw(sampler):
    batch = sampler.batch(np.random.default_rng(3), images=100, instructions=4)
    return batch, batch.embeddings[:, 0, 0].numpy().astype(int)


def test_words_and_labels_belong_together(sampler):
    batch, meaning = draw(sampler)
    turn = batch.actions[:, 0, 1].numpy()
    seen = batch.seen.numpy()
    assert seen.any()
    assert set(meaning[seen]) == {0, 3}
    np.testing.assert_allclose(np.abs(turn[seen]), 0.5)
    goal = meaning < len(KINDS)
    np.testing.assert_allclose(turn[goal & ~seen], SEARCH_TURN_RATE, rtol=1e-3)
    for number, motion in enumerate(('move forward', 'move back', 'turn left', 'turn right')):
        rows = meaning == len(KINDS) + number
        assert rows.any()
        np.testing.assert_allclose(
            batch.actions[rows].numpy(), np.broadcast_to(MOTIONS[motion], (rows.sum(), 8, 2))
        )


def test_nonsense_is_never_acted_on(sampler):
    _, meaning = draw(sampler)
    assert (meaning < NONSENSE).all()


def test_mirrored_pictures_mirror_the_turn_and_the_mask(sampler):
    batch, _ = draw(sampler)
    seen = batch.seen.numpy()
    mirrored = batch.actions[:, 0, 1].numpy() < 0
    assert (seen & mirrored).any()
    assert (seen & ~mirrored).any()
    mask = batch.mask.numpy().reshape(-1, *GRID)
    assert (mask[seen & ~mirrored, 0, 0] == 100).all()
    assert (mask[seen & mirrored, 0, -1] == 100).all()
    assert np.sign(batch.place[:, 0].numpy()[seen & mirrored]).max() == -1


def test_same_step_gives_the_same_batch(sampler):
    one, other = draw(sampler)[0], draw(sampler)[0]
    for left, right in zip(one, other, strict=True):
        torch.testing.assert_close(left, right)


def test_intents_are_balanced_and_right(sampler):
    embeddings, padding, intents = sampler.intents(np.random.default_rng(0), 900)
    meaning = embeddings[:, 0, 0].numpy().astype(int)
    expected = np.where(meaning == NONSENSE, 0, np.where(meaning < len(KINDS), 1, 2))
    np.testing.assert_array_equal(intents.numpy(), expected)
    assert np.bincount(intents.numpy()).min() > 200
    assert not padding.any()


def test_augmentation_keeps_order_of_brightness_and_hue():
    image = np.zeros((40, 2, 2, 3), np.uint8)
    image[:, 0] = (200, 40, 40)
    image[:, 1] = (100, 20, 20)
    result = augment(image, np.random.default_rng(0)).astype(int)
    assert (result[:, 0, :, 0] > result[:, 1, :, 0]).all()
    assert (result[..., 0] > result[..., 1] + 20).all()
    assert len(np.unique(result[:, 0, 0, 0])) > 10
