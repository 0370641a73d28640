import io
import json
import os
from pathlib import Path
import shutil

import numpy as np
from PIL import Image
import pytest

pytest.importorskip('torch')
from vla_core.types import CameraSlot
from vla_learning.cli import main
from vla_learning.data.convert import Convert, convert, Listing, listing
from vla_learning.data.derived import Derived
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
    cameras = ('image_0', 'image_1')
    convert(Convert(BRIDGE, tmp_path / 'new', fps=5.0, gripper='open', cameras=cameras))
    before, after = open_recording(BRIDGE), open_recording(tmp_path / 'new')
    before.turn_gripper('open')
    assert after.cameras == ('image_0', 'image_1')
    assert (after.axes, after.fps) == (before.axes, 5.0)
    assert after.actions.tobytes() == before.actions.tobytes()
    assert after.state.tobytes() == before.state.tobytes()
    assert after.first.tolist() == before.first.tolist()
    assert [after.texts[t] for t in after.text] == [before.texts[t] for t in before.text]
    for row in range(before.frames):
        assert after.fetch(row, 'image_1') == before.fetch(row, 'image_1')


def test_video_is_close_to_the_pictures(tmp_path):
    convert(
        Convert(BRIDGE, tmp_path / 'new', 5.0, gripper='open', cameras=('image_0',), video=True)
    )
    before, after = open_recording(BRIDGE), open_recording(tmp_path / 'new')
    for row in (0, 9, 10, 19, 3):
        difference = before.image(row, 'image_0') - after.image(row, 'image_0').astype(int)
        assert np.abs(difference).mean() < 6


def test_a_gripper_whose_one_is_open_is_turned_once(tmp_path):
    taken = open_recording(BRIDGE).actions[:, -1]
    with pytest.raises(DataError, match='bridge does not say what 1 means of its gripper'):
        convert(Convert(BRIDGE, tmp_path / 'new', fps=5.0))
    convert(Convert(BRIDGE, tmp_path / 'new', fps=5.0, gripper='open'))
    after = open_recording(tmp_path / 'new')
    for said in ('', 'closed'):
        after.turn_gripper(said)
        np.testing.assert_array_equal(after.actions[:, -1], 1 - taken)
    with pytest.raises(DataError, match=r"gripper 'open': new says that 1 is .* closed"):
        after.turn_gripper('open')


def test_statistics_are_of_the_gripper_as_it_was_read(tmp_path):
    means = []
    for one in ('closed', 'open', 'closed'):
        recording = open_recording(BRIDGE)
        recording.turn_gripper(one)
        means.append(Derived(recording, tmp_path).statistics(recording).mean[-1])
    assert means[0] == means[2] == pytest.approx(1 - means[1])


def test_a_bad_frame_parts_an_episode_in_two(tmp_path):
    path = write_records(tmp_path)
    (tmp_path / '2.png').write_bytes(b'nothing')
    options = Convert(path, tmp_path / 'new', fps=10.0, skip_bad=True)
    assert [problem.index for problem in convert(options).problems.found] == ['record 2']
    listed = json.loads((tmp_path / 'new/meta/bad_records.json').read_text())
    assert [problem['index'] for problem in listed['problems']] == ['record 2']
    after = open_recording(tmp_path / 'new')
    assert after.first.tolist() == [0, 2, 4]
    assert after.drives[0] == after.drives[1], 'both go to training, or both to validation'
    assert after.actions[:, 0].tolist() == [0, 1, 3, 4]
    assert [int(after.image(row, 'image')[0, 0, 0]) for row in range(4)] == [0, 1, 3, 4]


def test_a_picture_of_another_size_is_named_or_skipped_and_listed(tmp_path):
    path = write_records(tmp_path, 40)
    Image.new('RGB', (10, 6)).save(tmp_path / '7.png')
    with pytest.raises(DataError, match='record 7: image is 10x6: expected 8x6 as in the first'):
        convert(Convert(path, tmp_path / 'new', fps=10.0))
    options = Convert(path, tmp_path / 'new', fps=10.0, skip_bad=True)
    assert [problem.index for problem in convert(options).problems.found] == ['record 7']
    assert open_recording(tmp_path / 'new').first.tolist() == [0, 7, 39]


def test_odd_sides_as_video_are_refused_before_anything_is_written(tmp_path):
    source = tmp_path / 'source'
    source.mkdir()
    path = write_records(source)
    for number in range(5):
        Image.new('RGB', (8, 5)).save(source / f'{number}.png')
    with pytest.raises(DataError, match='8x5 as video: expected even sides'):
        convert(Convert(path, tmp_path / 'sub/new', fps=10.0, video=True))
    assert list(tmp_path.iterdir()) == [source]


def test_grey_pictures_and_those_with_transparency_become_rgb(tmp_path):
    path = write_records(tmp_path, 2)
    Image.new('L', (8, 6), 7).save(tmp_path / '0.png')
    Image.new('RGBA', (8, 6), (9, 8, 7, 0)).save(tmp_path / '1.png')
    convert(Convert(path, tmp_path / 'new', fps=10.0))
    before, after = open_recording(path), open_recording(tmp_path / 'new')
    for row in range(2):
        assert (before.image(row, 'image') == after.image(row, 'image')).all()
        assert Image.open(io.BytesIO(after.fetch(row, 'image'))).mode == 'RGB'


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


@pytest.mark.parametrize('pictures', [False, True])
def test_a_data_set_of_bad_records_alone_is_listed_too(tmp_path, capsys, pictures):
    path = write_records(tmp_path, 30)
    for number in range(30):
        (tmp_path / f'{number}.png').write_bytes(b'nothing')
    if not pictures:
        path.write_text(path.read_text().replace('.png', '.jpg'))
    assert main(['data', str(path), *(['--pictures'] if pictures else [])]) == 1
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == (
        'vla-learn: r.json: no usable record: expected at least one; 30 bad records:'
    )
    found = 'image is undecodable (7 bytes)'
    if not pictures:
        found = "image_path is '19.jpg' (no such file)"
    assert shown[20:] == [f'  r.json: record 19: {found}: expected a picture', '  and 10 more']


def test_listing_shows_brackets_as_they_are(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '120')
    folder = tmp_path / '[red]'
    folder.mkdir()
    path = write_records(folder, 2)
    rows = json.loads(path.read_text())
    for row in rows:
        row |= {'language_instruction': 'go [/x]', 'action': {'arm[/red]': 1.0}}
    path.write_text(json.dumps(rows))
    assert listing(Listing(path)) == 0
    shown = capsys.readouterr().out
    assert 'go [/x]' in shown
    assert 'arm[/red]' in shown
    assert '[red]' in shown


def test_each_camera_keeps_its_whole_list_of_bad_pictures(tmp_path):
    folder = Path(shutil.copytree(BRIDGE, tmp_path / 'set'))
    recording = open_recording(folder, skip_bad=True)
    broken = {'image_0': {3, 5}, 'image_1': {5, 9}}
    fetch = recording.fetch
    recording.fetch = lambda row, camera: b'' if row in broken[camera] else fetch(row, camera)
    derived = Derived(recording)
    for camera in recording.cameras:
        derived.check_pictures(recording, camera)
    assert np.flatnonzero(~recording.good).tolist() == [3, 5, 9]
    for camera, rows in broken.items():
        kept = json.loads((derived.folder / f'pictures-{camera}.json').read_text())
        assert {row for row, _ in kept['value']['bad']} == rows


def test_what_is_kept_of_pictures_is_for_the_rows_that_were_read(tmp_path):
    path = write_records(tmp_path, 4)
    slot = CameraSlot('front', 8, 8, 'pad')
    recording = open_recording(path)
    frames = Derived(recording).frames(recording, 'image', slot)
    assert len(np.load(frames)) == 4
    other = open_recording(path)
    # As a reader would give it that takes the last record for bad.
    other.first, other.good = np.array([0, 3]), other.good[:3]
    other.text = other.text[:3]
    assert len(np.load(Derived(other).frames(other, 'image', slot))) == 3
    # As one that takes the last record's action for bad: its picture is not looked at.
    other = open_recording(path)
    other.good[3] = False
    assert not np.load(Derived(other).frames(other, 'image', slot))[3].any()
    assert np.load(Derived(recording).frames(recording, 'image', slot))[3].any()


def test_a_change_of_the_same_size_is_another_content(tmp_path):
    path = write_records(tmp_path, 2)
    before, time = Derived(open_recording(path)).sha256, path.stat().st_mtime_ns
    path.write_text(path.read_text().replace('"go"', '"no"'))
    os.utime(path, ns=(time, time + 1))
    assert Derived(open_recording(path)).sha256 != before
