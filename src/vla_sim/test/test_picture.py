"""Pictures of episodes."""

import numpy as np
from PIL import Image

from vla_sim.layout import COLOURS, sample_layout
from vla_sim.picture import draw_map, main


def test_command_writes_a_picture(tmp_path):
    out = tmp_path / 'episode.png'
    main([str(out), '--seed', '3'])
    with Image.open(out) as picture:
        assert picture.format == 'PNG'
        assert picture.width > picture.height > 700


def test_map_shows_every_object_at_its_place():
    layout = sample_layout(12)
    pixels = np.asarray(draw_map(layout, [layout.start], size=730)).astype(int)
    for item in layout.objects:
        column, row = round(365 + 100 * item.x), round(365 - 100 * item.y)
        expected = np.rint(255 * np.array(COLOURS[item.colour]))
        assert np.abs(pixels[row, column] - expected).max() <= 2


def test_map_shows_the_path():
    layout = sample_layout(12)
    x, y, yaw = layout.start
    alone = np.asarray(draw_map(layout, [layout.start]))
    driven = np.asarray(draw_map(layout, [layout.start, (x * 0.5, y * 0.5, yaw)]))
    assert (alone != driven).any(axis=-1).sum() > 50
