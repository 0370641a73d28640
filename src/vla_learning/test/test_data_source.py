import copy
from dataclasses import replace
import json
from pathlib import Path
import pickle
import shutil

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

pytest.importorskip('torch')
from PIL import Image
import torch

from vla_core.preprocess import resize
from vla_core.types import CameraSlot, PolicySpec
from vla_learning.data.episodes import unit_of
from vla_learning.data.errors import DataError
from vla_learning.data.formats import open_recording
from vla_learning.data.source import open_source, Recorded, split_rows, View

MADE = Path(__file__).parent / 'data'
LENGTHS = (1, 6, 2, 3, 5, 4, 1, 6, 2, 4, 3)
SLOT = CameraSlot('front', 40, 24, 'pad')


@pytest.fixture(scope='module')
def bridge(tmp_path_factory):
    return Path(shutil.copytree(MADE / 'bridge', tmp_path_factory.mktemp('data') / 'bridge'))


@pytest.fixture(scope='module')
def records(tmp_path_factory):
    """37 frames in 11 episodes of 1 to 6."""
    folder = tmp_path_factory.mktemp('records')
    Image.new('RGB', (8, 6)).save(folder / 'x.png')
    rows = [
        {
            'image_path': 'x.png',
            'language_instruction': f'{n}',
            'action': [n / 10, k, 0.5],
            'episode': n,
        }
        for n, length in enumerate(LENGTHS)
        for k in range(length)
    ]
    (folder / 'r.json').write_text(json.dumps(rows))
    return folder / 'r.json'


@settings(max_examples=40)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 60), st.integers(0, 3))
def test_parts_of_a_batch_are_the_whole_batch(records, batch, parts, step, seed):
    spec = Recorded(records, validation_share=0.3, seed=seed)
    source = open_source(spec, View(SLOT, 2), batch)
    whole = source.batch(step)
    pieces = [source.batch(step, part, parts) for part in range(parts)]
    for name in ('image', 'actions', 'valid', 'rows'):
        together = torch.cat([getattr(piece, name) for piece in pieces])
        assert torch.equal(together, getattr(whole, name))
    assert sum((piece.text for piece in pieces), ()) == whole.text
    assert max(len(p.rows) for p in pieces) - min(len(p.rows) for p in pieces) <= 1


@settings(max_examples=40)
@given(st.integers(1, 12), st.integers(0, 3), st.integers(0, 2))
def test_an_epoch_shows_each_frame_at_most_once_in_an_order_of_its_own(
    records, batch, epoch, seed
):
    source = open_source(Recorded(records, seed=seed), View(SLOT, 1), batch)
    steps = range(epoch * source.steps_per_epoch, (epoch + 1) * source.steps_per_epoch)
    rows = torch.cat([source.batch(step).rows for step in steps]).tolist()
    assert len(set(rows)) == len(rows) == source.samples // batch * batch
    assert set(rows) <= set(source.rows.tolist())
    other = [source.step_rows(step + source.steps_per_epoch) for step in steps]
    assert np.concatenate(other).tolist() != rows


@settings(max_examples=40)
@given(st.integers(0, 5), st.floats(0, 0.95))
def test_a_split_cuts_between_episodes_and_loses_nothing(records, seed, share):
    recording = open_recording(records)
    train, validation = (split_rows(recording, s, share, seed) for s in ('train', 'validation'))
    assert sorted([*train, *validation]) == list(range(37))
    episodes = [{recording.episode_of(row)[0] for row in rows} for rows in (train, validation)]
    assert not episodes[0] & episodes[1]
    assert len(train)
    assert bool(len(validation)) == (share > 0)


def test_pieces_of_one_drive_stay_together():
    recording = open_recording(MADE / 'lerobot_image')
    assert len(recording.names) > 1
    for seed in range(6):
        recording.drives = ('one', *['two'] * (len(recording.names) - 1))
        parts = [set(split_rows(recording, part, 0.5, seed)) for part in ('train', 'validation')]
        whole = [
            {
                row
                for row in range(recording.frames)
                if recording.drives[recording.episode_of(row)[0]] == drive
            }
            for drive in ('one', 'two')
        ]
        assert parts in (whole, whole[::-1])
    recording.drives = ('one',) * len(recording.names)
    assert not len(split_rows(recording, 'validation', 0.5, 0))
    assert len(split_rows(recording, 'train', 0.5, 0)) == recording.frames


def test_who_has_one_episode_learns_why_nothing_is_left_to_validate_with(tmp_path):
    spec = write_records(tmp_path, [{'action': {'linear.x': 0.1}}] * 5)
    with pytest.raises(DataError, match=r'of 1 episodes or drives.* or a validation share of 0'):
        open_source(replace(spec, validation_share=0.1), View(SLOT, 1), 2, 'validation')


def test_frames_without_an_instruction_are_in_no_split():
    recording = open_recording(MADE / 'lerobot_image')
    recording.texts = (' ', *recording.texts[1:])
    assert split_rows(recording, 'all', 0.0, 0).tolist() == [5, 6, 7, 8]


def test_the_only_episode_is_for_training(tmp_path):
    spec = write_records(tmp_path, [{'action': {'linear.x': 0.1}}] * 5)
    source = open_source(replace(spec, validation_share=0.1), View(SLOT, 1), 2)
    assert source.rows.tolist() == list(range(5))


def test_validation_goes_in_order_to_the_last_frame(records):
    source = open_source(Recorded(records), View(SLOT, 1), 5, 'all')
    assert source.steps_per_epoch == 8
    rows = torch.cat([source.batch(step).rows for step in range(8)])
    assert rows.tolist() == list(range(37))


def test_a_batch_is_the_same_in_another_process_and_in_any_order(records):
    source = open_source(Recorded(records), View(SLOT, 3), 4)
    expected = [source.batch(step) for step in range(20)]
    again = copy.deepcopy(source)  # as workers of the loader do
    for step in reversed(range(20)):
        assert torch.equal(again.batch(step).rows, expected[step].rows)
        assert torch.equal(again.batch(step).image, expected[step].image)


def test_the_pictures_do_not_travel_to_other_processes(records):
    source = open_source(Recorded(records), View(CameraSlot('front', 96, 96, 'pad'), 3), 4)
    source.batch(0)
    assert len(pickle.dumps(source)) < 37 * 96 * 96 * 3 / 10


def test_chunks_end_with_their_episode_and_are_scaled_and_clipped(records):
    source = open_source(Recorded(records), View(SLOT, 4), 37, 'all')
    assert source.action_scale == pytest.approx((1.0, 5.0, 0.5))
    batch = source.batch(0)
    # Episode 3 has 3 frames, rows 9 to 11; its actions are (0.3, k, 0.5).
    assert batch.valid[10, :, 0].tolist() == [True, True, False, False]
    assert batch.actions[10, :2, 1].tolist() == pytest.approx([0.2, 0.4])
    assert batch.text[10] == '3'
    narrow = View(SLOT, 1, axes=source.axes, action_scale=(1.0, 1.0, 1.0))
    clipped = open_source(Recorded(records), narrow, 37, 'all')
    assert clipped.batch(0).actions.abs().max() == 1
    assert clipped.clipped == sum(max(length - 2, 0) for length in LENGTHS)


def test_steps_of_another_length_take_the_action_that_holds_then(tmp_path):
    spec = Recorded(MADE / 'lerobot_image', derived=tmp_path)
    source = open_source(spec, View(SLOT, 4, step_dt=0.15), 12, 'all')  # recorded at 10 Hz
    batch = source.batch(0)
    scale = source.action_scale[0]
    found = (batch.actions[0, :, 0] * scale).tolist()
    assert found == pytest.approx([-0.5, -0.25, 0.25, 0.5])  # frames 0, 1, 3, 4
    assert batch.valid[1, :, 0].tolist() == [True, True, True, False]


def test_a_step_of_whole_frames_takes_these_however_it_is_rounded(tmp_path):
    spec = write_records(tmp_path, [{'action': {'linear.x': n / 8}} for n in range(8)])
    view = View(SLOT, 8, step_dt=1 / 12, action_scale=(1.0,))  # 7 * (1 / 12) * 12 is below 7
    batch = open_source(replace(spec, fps=12.0), view, 1, 'all').batch(0)
    assert (batch.actions[0, :, 0] * 8).tolist() == list(range(8))


def test_axes_go_to_their_place_and_others_are_not_taught(tmp_path):
    spec = Recorded(MADE / 'lerobot_image', derived=tmp_path)
    view = View(SLOT, 2, axes=('linear.x', 'linear.y', 'angular.z'), action_scale=(1.0, 1.0, 1.0))
    batch = open_source(spec, view, 12, 'all').batch(0)
    assert batch.valid[0, 0].tolist() == [True, False, True]
    assert batch.actions[0, 0].tolist() == pytest.approx([-0.5, 0.0, -0.15])
    with pytest.raises(DataError, match='expected some of'):
        open_source(spec, View(SLOT, 2, axes=('gripper',)), 4)


def write_records(folder, records):
    Image.new('RGB', (32, 24)).save(folder / 'seen.png')
    usual = {'image_path': 'seen.png', 'language_instruction': 'go', 'episode': 0}
    path = folder / 'records.json'
    path.write_text(json.dumps([usual | record for record in records]))
    return Recorded(path, fps=10.0, validation_share=0.0)


def test_robot_does_with_the_gripper_what_was_recorded(tmp_path):
    recorded = [0.0, 0.25, 1.0]
    spec = write_records(tmp_path, [{'action': {'linear.x': 0.1, 'gripper': g}} for g in recorded])
    source = open_source(spec, View(SLOT, 1), 3, 'all')
    native = source.batch(0).actions[:, 0].numpy()
    units = tuple(unit_of(axis) for axis in source.axes)
    assert units == ('m/s', '1')
    robot = PolicySpec('any', (SLOT,), source.axes, units, source.action_scale, 1, 0.1, 10.0)
    assert robot.to_si(native)[:, 1].tolist() == pytest.approx(recorded, abs=0.02)
    assert native[:, 1].min() == pytest.approx(-1.0)


def test_unit_of_a_checkpoint_says_what_is_a_position_whatever_its_name(tmp_path):
    spec = write_records(tmp_path, [{'action': {'tool': g}} for g in (0.0, 1.0)])
    view = View(SLOT, 1, axes=('tool',), action_scale=(1.0,), action_units=('1',))
    batch = open_source(spec, view, 2, 'all').batch(0)
    assert batch.actions[:, 0, 0].tolist() == [-1.0, 1.0]


def test_chunk_ends_where_another_instruction_begins(tmp_path):
    said = ['left'] * 3 + ['right'] * 3
    records = [{'action': {'angular.z': n}, 'language_instruction': s} for n, s in enumerate(said)]
    batch = open_source(write_records(tmp_path, records), View(SLOT, 3), 6, 'all').batch(0)
    valid = batch.valid[:, :, 0].tolist()
    assert valid[1] == [True, True, False]
    assert valid[2] == [True, False, False]
    assert valid[3] == [True, True, True]


def test_episode_in_pieces_is_refused(tmp_path):
    records = [{'action': {'linear.x': 0.1}, 'episode': n % 2} for n in range(4)]
    with pytest.raises(DataError, match='record 2: episode 0 comes again'):
        open_source(write_records(tmp_path, records), View(SLOT, 1), 1, 'all')


@pytest.mark.parametrize('cache', [True, False])
def test_pictures_are_those_of_the_robot_to_the_bit(bridge, cache):
    spec = Recorded(bridge, camera='image_1', cache=cache, gripper='open')
    batch = open_source(spec, View(SLOT, 1), 40, 'all').batch(0)
    recording = open_recording(bridge)
    for row in range(40):
        expected = resize(recording.image(row, 'image_1'), SLOT)
        assert batch.image[row].numpy().tobytes() == expected.tobytes()


def test_each_picture_is_decoded_once_ever_and_again_when_it_changes(bridge, monkeypatch):
    from vla_learning.data import episodes

    decoded = []
    pixels = episodes.Recording.pixels

    def count(self, row, camera, data):
        decoded.append(row)
        return pixels(self, row, camera, data)

    monkeypatch.setattr(episodes.Recording, 'pixels', count)
    spec, view = Recorded(bridge, camera='image_0', gripper='open'), View(SLOT, 1)
    for _ in range(2):
        source = open_source(spec, view, 4)
        source.batch(0)
        source.batch(source.steps_per_epoch)
    assert sorted(decoded) == list(range(40))
    open_source(spec, View(CameraSlot('front', 40, 24, 'stretch'), 1), 4)
    assert len(decoded) == 80
    info = bridge / 'features.json'
    info.write_text(info.read_text().replace('Language Instruction.', 'Said.'))
    open_source(spec, view, 4)
    assert len(decoded) == 120


def test_a_disk_without_room_is_an_error_before_it_is_full(records, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10 << 20)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
    with pytest.raises(DataError, match=r'10 MiB free: expected \d+ MiB for the frames'):
        open_source(Recorded(records, derived=tmp_path), View(SLOT, 1), 4)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith('frames')]
    open_source(Recorded(records, derived=tmp_path, cache=False), View(SLOT, 1), 4).batch(0)


def test_bad_pictures_are_skipped_counted_and_listed(tmp_path):
    for number in range(4):
        Image.new('RGB', (8, 6), (number, 0, 0)).save(tmp_path / f'{number}.png')
    (tmp_path / '2.png').write_bytes(b'nothing')
    rows = [
        {'image_path': f'{n}.png', 'language_instruction': 'go', 'action': [n], 'episode': 0}
        for n in range(4)
    ]
    path = tmp_path / 'r.json'
    path.write_text(json.dumps(rows))
    with pytest.raises(DataError, match='record 2: image is undecodable'):
        open_source(Recorded(path), View(SLOT, 1), 4, 'all')
    assert not list(tmp_path.rglob('*.npy'))
    assert not list(tmp_path.rglob('*.draft'))
    for cache in (True, False, True):
        source = open_source(Recorded(path, cache=cache, skip_bad=True), View(SLOT, 2), 4, 'all')
        assert source.rows.tolist() == [0, 1, 3]
        assert source.statistics.count == 3
        batch = source.batch(0)
        assert batch.valid[1, :, 0].tolist() == [True, False]
        assert batch.actions[1, 1, 0] == 0  # whatever it was: it may be no number
        listed = json.loads(source.report.read_text())
        assert (listed['count'], listed['by_field']) == (1, {'image': 1})
        assert listed['problems'][0]['index'] == 'record 2'


@pytest.mark.parametrize(
    ('spec', 'view', 'message'),
    [
        ({'camera': 'left'}, {}, "camera 'left'"),
        ({'validation_share': 1.0}, {}, 'validation_share 1.0'),
        ({}, {'step_dt': 0.2}, r'bridge does not say its frames per second: .*\(data\.fps\)'),
        (
            {},
            {'axes': ('linear.x',), 'action_scale': (1.0, 2.0)},
            r"action_scale of 2: expected one for each of \('linear\.x',\)",
        ),
        ({'gripper': ''}, {}, r'what 1 means of its gripper: .*\(data\.gripper\), closed or open'),
    ],
)
def test_what_cannot_be_is_refused(bridge, spec, view, message):
    with pytest.raises(DataError, match=message):
        open_source(Recorded(bridge, **{'gripper': 'open', **spec}), View(SLOT, 1, **view), 4)
