import copy

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from vla_learning.sim.frames import ANGULAR, Frames, LINEAR  # noqa: E402
from vla_learning.sim.relations import Relation, RELATIONS  # noqa: E402
from vla_learning.sim.sentences import FIRST_RELATION, NONSENSE, Sentences  # noqa: E402
from vla_learning.sim.source import draw_light, shine, SimSource  # noqa: E402
from vla_learning.sim.views import grid_of, KINDS, SLOT  # noqa: E402
from vla_sim.expert import MOTIONS, SEARCH_TURN_RATE  # noqa: E402

GRID = grid_of(SLOT)
CELLS = GRID[0] * GRID[1]
SIDE = 0.5


def make_source(images=100, instructions=4, seen=None):
    """Two pictures: red box on the left, green ball ahead, red ball right, blue box unseen."""
    random = np.random.default_rng(0)
    kinds = np.tile(np.array([0, 4, 6, 1], np.int8), (2, 1))
    actions = np.zeros((2, 4, 8, 2), np.float16)
    actions[:, 0] = (0.25, SIDE)
    actions[:, 1] = (0.25, 0.0)
    actions[:, 2] = (0.0, SEARCH_TURN_RATE)
    actions[:, 3] = (0.25, -SIDE)
    mask = np.zeros((2, 4, CELLS), np.uint8)
    mask[:, 0, 0] = mask[:, 1, 12] = mask[:, 3, 23] = 100
    place = np.zeros((2, 4, 2), np.float16)
    place[:, 0] = (0.4, 1.0)
    place[:, 1] = (0.0, 2.0)
    place[:, 3] = (-0.4, 1.5)
    frames = Frames(
        images=random.integers(0, 256, (2, 96, 192, 3), dtype=np.uint8),
        kinds=kinds,
        actions=actions,
        done=np.zeros((2, 4), bool),
        seen=np.tile([True, True, False, True] if seen is None else seen, (2, 1)),
        searched=np.tile([False, False, True, False], (2, 1)),
        place=place,
        height=np.tile(np.array([0.3, 0.4, 0.3, 0.4], np.float16), (2, 1)),
        mask=mask,
    )
    count = FIRST_RELATION + len(RELATIONS)
    # The first number of a sentence's only word says what it means.
    embeddings = np.zeros((count, 2, 384), np.float16)
    embeddings[:, 0, 0] = np.arange(count)
    texts = np.array([f'sentence {number}' for number in range(count)])
    sentences = Sentences(texts, embeddings, np.ones(count, int), np.arange(count))
    return SimSource(frames, sentences, np.ones(2), images, instructions, seed=3)


@pytest.fixture(scope='module')
def batch():
    return make_source().batch(0)


def meaning_of(batch):
    return np.array([int(text.split()[1]) for text in batch.text])


def test_words_and_labels_belong_together(batch):
    meaning = meaning_of(batch)
    np.testing.assert_array_equal(batch.features.tokens[:, 0, 0].numpy().astype(int), meaning)
    assert (batch.rows.shape, batch.image.shape) == ((100,), (100, 96, 192, 3))
    turn = batch.actions[:, 0, ANGULAR].numpy()
    seen, goal = batch.scene.seen.numpy(), meaning < len(KINDS)
    assert set(meaning[seen & goal]) == {0, 1, 4}
    np.testing.assert_allclose(np.abs(turn[meaning == 0]), SIDE)
    np.testing.assert_allclose(turn[meaning == 4], 0.0)
    np.testing.assert_allclose(turn[goal & ~seen], SEARCH_TURN_RATE, rtol=1e-3)
    for number, motion in enumerate(('move forward', 'move back', 'turn left', 'turn right')):
        rows = meaning == len(KINDS) + number
        assert rows.any()
        assert batch.scene.motion.numpy()[rows].all()
        wanted = np.broadcast_to(MOTIONS[motion], (rows.sum(), 8, 2))
        np.testing.assert_allclose(batch.actions[rows][..., [LINEAR, ANGULAR]].numpy(), wanted)
    rest = [axis for axis in range(7) if axis not in (LINEAR, ANGULAR)]
    assert not batch.actions[..., rest].any()
    assert batch.valid.all()


def test_nonsense_is_never_acted_on(batch):
    assert NONSENSE not in meaning_of(batch)


def test_mirrored_pictures_mirror_the_turn_and_the_mask(batch):
    red_box = meaning_of(batch) == 0
    mirrored = batch.actions[:, 0, ANGULAR].numpy() < 0
    assert (red_box & mirrored).any()
    assert (red_box & ~mirrored).any()
    mask = batch.scene.mask.numpy().reshape(-1, *GRID)
    assert (mask[red_box & ~mirrored, 0, 0] == 100).all()
    assert (mask[red_box & mirrored, 0, -1] == 100).all()
    assert np.sign(batch.scene.place[:, 0].numpy()[red_box & mirrored]).max() == -1


def test_what_is_searched_is_searched_to_the_left_in_every_mirror():
    """A few pixels of the blue box are seen, and the expert searches it all the same."""
    batch = make_source(seen=[True, True, True, True]).batch(0)
    searched = (meaning_of(batch) == KINDS.index(('blue', 'box'))) & batch.scene.seen.numpy()
    assert searched.sum() > 10
    turn = batch.actions[:, 0, ANGULAR].numpy()[searched]
    np.testing.assert_allclose(turn, SEARCH_TURN_RATE, rtol=1e-3)


def test_what_is_driven_to_turns_with_its_mirror_even_if_hardly_seen():
    """Too few pixels of the red box are in the picture, and the expert steers to it."""
    batch = make_source(seen=[False, True, False, True]).batch(0)
    red_box = (meaning_of(batch) == 0) & (batch.actions[:, 0, LINEAR].numpy() > 0.2)
    turn = batch.actions[:, 0, ANGULAR].numpy()[red_box]
    assert {round(float(value), 3) for value in turn} == {SIDE, -SIDE}


def test_left_of_becomes_right_of_in_a_mirror(batch):
    """The red box is left of the green ball and the red ball right of it, mirrored or not."""
    meaning = meaning_of(batch)
    turn = batch.actions[:, 0, ANGULAR].numpy()
    shown = batch.scene.mask.numpy().reshape(-1, *GRID)[:, 0]
    first = batch.scene.first.numpy().reshape(-1, *GRID)[:, 0]
    for kind, side, column in (('left', SIDE, 0), ('right', -SIDE, -1)):
        relation = Relation(kind, 'red', '', ('green', 'ball'))
        rows = np.flatnonzero(meaning == FIRST_RELATION + RELATIONS.index(relation))
        assert len(rows)
        np.testing.assert_allclose(turn[rows], side)
        # Box and ball in turn, whatever the mirror makes of them.
        assert (shown[rows, column] == 100).all()
        assert (first[rows].sum(axis=-1) == 100).all()
        assert (first[rows][:, (11, 12)].sum(axis=-1) == 100).all()


def test_parts_are_the_batch_and_steps_differ():
    source = make_source(images=12, instructions=3)
    whole, parts = source.batch(5), [source.batch(5, part, 3) for part in range(3)]
    assert sum((part.text for part in parts), ()) == whole.text
    for number, part in enumerate(parts):
        torch.testing.assert_close(part.image, whole.image[4 * number : 4 * number + 4])
        actions = whole.actions.view(3, 12, 8, 7)[number]
        torch.testing.assert_close(part.actions, actions)
    again = copy.deepcopy(source).batch(5)  # as workers of the loader do
    torch.testing.assert_close(again.image, whole.image)
    assert again.text == whole.text
    assert source.batch(6).text != whole.text
    assert source.samples is None


def test_light_keeps_order_of_brightness_and_hue():
    image = np.zeros((40, 2, 2, 3), np.uint8)
    image[:, 0] = (200, 40, 40)
    image[:, 1] = (100, 20, 20)
    result = shine(image, draw_light(np.random.default_rng(0), 40)).astype(int)
    assert (result[:, 0, :, 0] > result[:, 1, :, 0]).all()
    assert (result[..., 0] > result[..., 1] + 20).all()
    assert len(np.unique(result[:, 0, 0, 0])) > 10
