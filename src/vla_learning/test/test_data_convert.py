import json
from pathlib import Path

import numpy as np
from PIL import Image
import pytest

pytest.importorskip('torch')
from vla_learning.data.convert import Convert, convert, Listing, listing
from vla_learning.data.errors import DataError
from vla_learning.data.formats import open_recording

BRIDGE = Path(__file__).parent / 'data/bridge'


def write_records(folder, count=5):
    for number in range(count):
        Image.new('RGB', (8, 6), (number, 0, 0)).save(folder / f'{number}.png')
    rows = [
        {'image_path': f'{n}.png', 'language_instruction': 'go', 'action': [n, -n], 'episode': 0}
        for n in range(count)
    ]
    (folder / 'r.json').write_text(json.dumps(rows))
    return folder / 'r.json'


def test_bridge_becomes_a_lerobot_data_set_equal_to_the_bit(tmp_path):
    convert(Convert(BRIDGE, tmp_path / 'new', fps=5.0, cameras=('image_0', 'image_1')))
    before, after = open_recording(BRIDGE), open_recording(tmp_path / 'new')
    assert after.cameras == ('image_0', 'image_1')
    assert (after.axes, after.fps) == (before.axes, 5.0)
    assert after.actions.tobytes() == before.actions.tobytes()
    assert after.state.tobytes() == before.state.tobytes()
    assert after.first.tolist() == before.first.tolist()
    assert [after.texts[t] for t in after.text] == [before.texts[t] for t in before.text]
    for row in range(before.frames):
        assert after.fetch(row, 'image_1') == before.fetch(row, 'image_1')


def test_video_is_close_to_the_pictures(tmp_path):
    convert(Convert(BRIDGE, tmp_path / 'new', fps=5.0, cameras=('image_0',), video=True))
    before, after = open_recording(BRIDGE), open_recording(tmp_path / 'new')
    for row in (0, 9, 10, 19, 3):
        difference = before.image(row, 'image_0') - after.image(row, 'image_0').astype(int)
        assert np.abs(difference).mean() < 6


def test_a_bad_frame_parts_an_episode_in_two(tmp_path):
    path = write_records(tmp_path)
    (tmp_path / '2.png').write_bytes(b'nothing')
    options = Convert(path, tmp_path / 'new', fps=10.0, skip_bad=True)
    assert [problem.index for problem in convert(options).problems.found] == ['record 2']
    listed = json.loads((tmp_path / 'new/meta/bad_records.json').read_text())
    assert [problem['index'] for problem in listed['problems']] == ['record 2']
    after = open_recording(tmp_path / 'new')
    assert after.first.tolist() == [0, 2, 4]
    assert after.actions[:, 0].tolist() == [0, 1, 3, 4]
    assert [int(after.image(row, 'image')[0, 0, 0]) for row in range(4)] == [0, 1, 3, 4]


def test_grey_pictures_and_those_with_transparency_become_rgb(tmp_path):
    path = write_records(tmp_path, 2)
    Image.new('L', (8, 6), 7).save(tmp_path / '0.png')
    Image.new('RGBA', (8, 6), (9, 8, 7, 0)).save(tmp_path / '1.png')
    convert(Convert(path, tmp_path / 'new', fps=10.0))
    before, after = open_recording(path), open_recording(tmp_path / 'new')
    for row in range(2):
        assert (before.image(row, 'image') == after.image(row, 'image')).all()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'source': Path('nowhere')}, 'no data set'),
        ({'fps': None}, 'frames per second'),
        ({'fps': -1.0}, 'frames per second'),
        ({'cameras': ('left',)}, "camera 'left'"),
        ({}, 'undecodable'),
    ],
)
def test_after_a_failure_nothing_is_left(tmp_path, change, message):
    source = tmp_path / 'source'
    source.mkdir()
    path = write_records(source)
    (source / '4.png').write_bytes(b'nothing')
    options = {'source': path, 'dest': tmp_path / 'new', 'fps': 10.0} | change
    with pytest.raises(DataError, match=message):
        convert(Convert(**options))
    assert list(tmp_path.iterdir()) == [source]


def test_an_existing_folder_is_not_touched(tmp_path):
    (tmp_path / 'new').mkdir()
    with pytest.raises(DataError, match='exists'):
        convert(Convert(BRIDGE, tmp_path / 'new', fps=5.0))


def test_listing_tells_what_is_there_and_what_is_bad(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '120')
    path = write_records(tmp_path)
    (tmp_path / '2.png').write_bytes(b'nothing')
    assert listing(Listing(path, pictures=True)) == 0
    shown = capsys.readouterr().out
    assert '1 of 5 to 5 frames' in shown
    assert '5, 4 good' in shown
    assert 'r.json: record 2: image is undecodable (7 bytes): expected a picture' in shown
    assert (tmp_path / 'r.json.vla/bad_records.json').is_file()
