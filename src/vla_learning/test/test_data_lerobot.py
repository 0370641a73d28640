from copy import deepcopy
import json
import os
from pathlib import Path
import re
import shutil

import numpy as np
import pytest

pytest.importorskip('torch')
import av
import pyarrow as pa
from pyarrow import parquet

from vla_learning.data.errors import DataError
from vla_learning.data.formats import open_recording
from vla_learning.data.lerobot_write import LeRobotWriter
from vla_learning.data.video import encode_png

MADE = Path(__file__).parent / 'data'
TABLE = 'data/chunk-000/file-000.parquet'
EPISODES = 'meta/episodes/chunk-000/file-000.parquet'


def picture(episode, k):
    """The formula of data/make_lerobot.py."""
    y, x = np.mgrid[0:48, 0:64]
    planes = ((4 * x + 10 * k) % 256, (5 * y + 40 * episode) % 256, np.full_like(x, 60))
    image = np.stack(planes, -1).astype(np.uint8)
    image[20:28, 4 * k : 4 * k + 8] = (230, 20, 20)
    return image


def copy(tmp_path, kind='image'):
    return Path(shutil.copytree(MADE / f'lerobot_{kind}', tmp_path / 'set'))


def edit(path, change):
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


@pytest.mark.parametrize('kind', ['image', 'video'])
def test_what_lerobot_wrote_is_read(kind):
    recording = open_recording(MADE / f'lerobot_{kind}')
    assert recording.first.tolist() == [0, 5, 9, 12]
    assert recording.fps == 10
    assert recording.cameras == ('front',)
    assert recording.axes == ('linear.x', 'angular.z')
    assert recording.state_names == ('x', 'y')
    texts = [recording.texts[text] for text in recording.text]
    assert texts == ['go to the red box'] * 5 + ['turn left'] * 4 + ['go to the red box'] * 3
    for row in range(12):
        episode, k = recording.episode_of(row)
        action = np.array([0.25 * k - 0.5, 0.3 * (episode - 0.5)], np.float32)
        assert recording.actions[row].tobytes() == action.tobytes()
        assert recording.state[row].tolist() == pytest.approx([0.1 * k, 0.2 * episode])
        difference = np.abs(recording.image(row, 'front').astype(int) - picture(episode, k))
        assert difference.max() == 0 if kind == 'image' else difference.mean() < 8


def test_a_picture_is_the_same_in_any_order_and_in_another_process():
    recording = open_recording(MADE / 'lerobot_video')
    in_order = [recording.image(row, 'front') for row in range(12)]
    for row in np.random.default_rng(0).permutation(12).tolist() * 2:
        assert (recording.image(row, 'front') == in_order[row]).all()
    again = deepcopy(recording)  # as workers of the loader do
    assert (again.image(7, 'front') == in_order[7]).all()


def test_a_forked_process_opens_a_video_for_itself(monkeypatch):
    recording = open_recording(MADE / 'lerobot_video')
    before = recording.image(7, 'front')
    opened, open_ = [], av.open
    monkeypatch.setattr(av, 'open', lambda path: opened.append(path) or open_(path))
    recording.image(7, 'front')
    assert not opened
    monkeypatch.setattr(os, 'getpid', lambda: -1)
    assert (recording.image(7, 'front') == before).all()
    assert len(opened) == 1


def test_written_and_read_again_is_equal_to_the_bit(tmp_path):
    random = np.random.default_rng(0)
    writer = LeRobotWriter(tmp_path, 12.5, ('a', 'b', 'c'), ('s',), {'left': (6, 8)})
    episodes = []
    for length, text in ((3, 'one'), (2, 'two')):
        pixels = random.integers(0, 256, (length, 6, 8, 3), np.uint8)
        actions = random.normal(size=(length, 3)).astype(np.float32)
        state = random.normal(size=(length, 1)).astype(np.float32)
        writer.add(actions, state, [text] * length, {'left': [encode_png(p) for p in pixels]})
        episodes.append((pixels, actions, state))
    writer.finish()
    recording = open_recording(tmp_path)
    assert (recording.fps, recording.axes) == (12.5, ('a', 'b', 'c'))
    assert recording.texts == ('one', 'two')
    pixels, actions, state = (np.concatenate(part) for part in zip(*episodes, strict=True))
    assert recording.actions.tobytes() == actions.tobytes()
    assert recording.state.tobytes() == state.tobytes()
    for row in range(5):
        assert recording.image(row, 'left').tobytes() == pixels[row].tobytes()


def test_tables_have_the_columns_and_types_of_lerobot(tmp_path):
    recording = open_recording(MADE / 'lerobot_image')
    writer = LeRobotWriter(
        tmp_path, 10, recording.axes, recording.state_names, {'front': (48, 64)}
    )
    for begin, end in zip(recording.first[:-1], recording.first[1:], strict=True):
        texts = [recording.texts[text] for text in recording.text[begin:end]]
        pictures = [recording.fetch(row, 'front') for row in range(begin, end)]
        writer.add(
            recording.actions[begin:end], recording.state[begin:end], texts, {'front': pictures}
        )
    writer.finish()
    theirs = MADE / 'lerobot_image'
    mine, reference = parquet.read_table(tmp_path / TABLE), parquet.read_table(theirs / TABLE)
    assert {f.name: f.type for f in mine.schema} == {f.name: f.type for f in reference.schema}
    for name in set(mine.column_names) - {'observation.images.front'}:
        assert mine.column(name).to_pylist() == reference.column(name).to_pylist()
    assert set(parquet.read_schema(tmp_path / EPISODES).names) == set(
        parquet.read_schema(theirs / EPISODES).names
    )
    info, expected = (
        json.loads((folder / 'meta/info.json').read_text()) for folder in (tmp_path, theirs)
    )
    assert info == expected | {'robot_type': None}
    stats, wanted = (
        json.loads((folder / 'meta/stats.json').read_text()) for folder in (tmp_path, theirs)
    )
    assert {k: set(v) for k, v in stats.items()} == {k: set(v) for k, v in wanted.items()}
    for name in ('min', 'max', 'mean', 'std', 'count'):
        assert stats['action'][name] == pytest.approx(wanted['action'][name])
    tasks = 'meta/tasks.parquet'
    columns = parquet.read_table(tmp_path / tasks).to_pydict()
    assert columns == parquet.read_table(theirs / tasks).to_pydict()


def test_an_unreadable_table_is_named_and_with_skip_nothing_is_left(tmp_path):
    folder = copy(tmp_path)
    (folder / TABLE).write_bytes((folder / TABLE).read_bytes()[:-20])
    with pytest.raises(DataError, match=rf'{TABLE} is unreadable .*expected a Parquet file'):
        open_recording(folder)
    with pytest.raises(DataError, match='no usable record'):
        open_recording(folder, skip_bad=True)


def test_an_unreadable_video_frame_is_named(tmp_path):
    folder = copy(tmp_path, 'video')
    (video,) = folder.rglob('*.mp4')
    video.write_bytes(b'no video')
    with pytest.raises(DataError, match=r'episode 1 frame 2: front is .*expected a picture'):
        open_recording(folder).image(7, 'front')


def test_a_missing_video_is_named(tmp_path):
    folder = copy(tmp_path, 'video')
    next(folder.rglob('*.mp4')).unlink()
    with pytest.raises(DataError, match=r'episode 0 frame 0: front is .*No such file'):
        open_recording(folder).image(0, 'front')


@pytest.mark.parametrize(
    ('key', 'field'), [('action', 'action[angular.z]'), ('observation.state', 'state[y]')]
)
def test_a_number_that_is_not_finite_is_named_by_frame_and_axis(tmp_path, key, field):
    folder = copy(tmp_path)
    table = parquet.read_table(folder / TABLE)
    values = np.array(table.column(key).to_pylist(), np.float32)
    values[6, 1] = np.nan
    column = pa.FixedSizeListArray.from_arrays(values.ravel(), 2)
    place = table.column_names.index(key)
    parquet.write_table(table.set_column(place, key, column), folder / TABLE)
    message = re.escape(f'episode 1 frame 1: {field} is nan: expected a finite number')
    with pytest.raises(DataError, match=message):
        open_recording(folder)
    assert np.flatnonzero(~open_recording(folder, skip_bad=True).good).tolist() == [6]


@pytest.mark.parametrize('width', [1, 3])
def test_an_action_of_another_width_is_named(tmp_path, width):
    folder = copy(tmp_path)

    def say(info):
        info['features']['action'] |= {'shape': [width], 'names': None}
        return info

    edit(folder / 'meta/info.json', say)
    message = f'episode 0: action is 10 numbers in 5 frames: expected {width} in each'
    with pytest.raises(DataError, match=message):
        open_recording(folder)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'codebase_version': 'v2.1'}, "'v2.1': expected 'v3.0'"),
        ({'fps': 0}, 'fps > 0'),
        ({'features': {}}, 'action'),
        ({'data_path': '../../{chunk_index}/{file_index}'}, 'expected one inside'),
        ({'data_path': '/etc/{chunk_index}{file_index}'}, 'expected one inside'),
        ({'data_path': '{other}'}, 'expected fields of'),
        ({'data_path': '{chunk_index.__class__}'}, 'unreadable'),
        ({'total_episodes': None}, 'NoneType'),
        ({'total_episodes': 4}, '3 episodes: expected 4'),
    ],
)
def test_a_contradictory_info_is_refused(tmp_path, change, message):
    folder = copy(tmp_path)
    edit(folder / 'meta/info.json', lambda info: info | change)
    with pytest.raises(DataError, match=message):
        open_recording(folder)


def test_an_episode_with_missing_frames_is_named_and_skipped(tmp_path):
    folder = copy(tmp_path)
    table = parquet.read_table(folder / TABLE)
    parquet.write_table(table.slice(0, 11), folder / TABLE)
    with pytest.raises(DataError, match=r'episode 2 is 2 rows.*expected 3 rows'):
        open_recording(folder)
    assert open_recording(folder, skip_bad=True).names == ('episode 0', 'episode 1')


def set_column(folder, name, values, file=TABLE):
    table = parquet.read_table(folder / file)
    place = table.column_names.index(name)
    parquet.write_table(table.set_column(place, name, pa.array(values)), folder / file)


def take_rows(folder, rows, file=TABLE):
    parquet.write_table(parquet.read_table(folder / file).take(rows), folder / file)


@pytest.mark.parametrize(
    ('rows', 'lengths', 'message', 'left'),
    [
        (range(12), [5, 4, 2], 'episode 2 is 3 rows: expected 2 rows in a piece', (0, 1)),
        (range(9), [5, 4, 0], 'episode 2 is 0 rows: expected 0 rows', (0, 1)),
        # Frame 3 of episode 0 lies in place of that of episode 1, whose own comes behind it.
        (
            [0, 1, 2, 4, 5, 6, 7, 3, 8, 9, 10, 11],
            [5, 4, 3],
            'episode 0 is 5 rows: expected 5 rows in a piece',
            (2,),
        ),
    ],
)
def test_an_episode_of_other_rows_than_it_tells_is_named_and_skipped(
    tmp_path, rows, lengths, message, left
):
    folder = copy(tmp_path)
    take_rows(folder, list(rows))
    set_column(folder, 'length', lengths, EPISODES)
    with pytest.raises(DataError, match=message):
        open_recording(folder)
    names = open_recording(folder, skip_bad=True).names
    assert names == tuple(f'episode {number}' for number in left)


def test_episodes_are_read_in_order_whatever_the_order_in_their_table(tmp_path):
    folder = copy(tmp_path)
    take_rows(folder, [1, 2, 0], EPISODES)
    recording = open_recording(folder)
    assert recording.names == ('episode 0', 'episode 1', 'episode 2')
    assert recording.actions.tobytes() == open_recording(MADE / 'lerobot_image').actions.tobytes()


@pytest.mark.parametrize(
    ('action', 'found'),
    [([[0, 0], [0, None], [0, 0], [0, 0]], 7), ([[0, 0], [0], [0, 0, 0], [0, 0]], 8)],
)
def test_an_action_that_lacks_a_number_is_named_and_the_episode_is_skipped(
    tmp_path, action, found
):
    folder = copy(tmp_path)
    actions = parquet.read_table(folder / TABLE).column('action').to_pylist()
    actions[5:9] = action
    set_column(folder, 'action', actions)
    message = f'episode 1: action is {found} numbers in 4 frames: expected 2 in each'
    with pytest.raises(DataError, match=message):
        open_recording(folder)
    assert open_recording(folder, skip_bad=True).names == ('episode 0', 'episode 2')


@pytest.mark.parametrize(
    ('action', 'found'),
    [
        ([{'x': 0.0}] * 12, 'struct<x: double>'),
        (['ab'] * 12, 'string'),
        ([[True] * 2] * 12, 'bool'),
    ],
)
def test_an_action_that_is_no_numbers_is_named(tmp_path, action, found):
    folder = copy(tmp_path)
    set_column(folder, 'action', action)
    message = f'episode 0: action is of type {found}: expected numbers'
    with pytest.raises(DataError, match=message):
        open_recording(folder)


@pytest.mark.parametrize('kind', [pa.large_list(pa.float64()), pa.list_(pa.int64(), 2)])
def test_lists_of_every_kind_hold_actions(tmp_path, kind):
    folder = copy(tmp_path)
    table = parquet.read_table(folder / TABLE)
    whole = [[1, 2]] * 12
    place = table.column_names.index('action')
    table = table.set_column(place, 'action', pa.array(whole, kind))
    parquet.write_table(table, folder / TABLE)
    np.testing.assert_array_equal(open_recording(folder).actions[0], [1, 2])


def test_rows_out_of_order_are_named_and_the_episode_is_skipped(tmp_path):
    folder = copy(tmp_path)
    take_rows(folder, [4, 3, 2, 1, 0, *range(5, 12)])
    message = 'episode 0: frame_index is 4 in row 0 of it: expected 0 to 4 in order'
    with pytest.raises(DataError, match=message):
        open_recording(folder)
    assert open_recording(folder, skip_bad=True).names == ('episode 1', 'episode 2')


@pytest.mark.parametrize('task', [7, None])
def test_a_task_that_is_not_in_the_table_is_named_and_the_frame_is_skipped(tmp_path, task):
    folder = copy(tmp_path)
    tasks = parquet.read_table(folder / TABLE).column('task_index').to_pylist()
    tasks[6] = task
    set_column(folder, 'task_index', tasks)
    message = r'episode 1 frame 1: task_index is (7|nan): expected one of the 2 of meta/tasks'
    with pytest.raises(DataError, match=message):
        open_recording(folder)
    assert np.flatnonzero(~open_recording(folder, skip_bad=True).good).tolist() == [6]


def test_a_picture_of_another_size_is_not_written(tmp_path):
    writer = LeRobotWriter(tmp_path, 10, ('a',), (), {'left': (6, 8)})
    data = encode_png(np.zeros((5, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r'picture of \(5, 8\): expected \(6, 8\)'):
        writer.add(np.zeros((1, 1)), np.zeros((1, 0)), ['x'], {'left': [data]})


def test_every_picture_of_a_long_episode_must_have_the_size(tmp_path):
    writer = LeRobotWriter(tmp_path, 10, ('a',), (), {'left': (6, 8)})
    pictures = [encode_png(np.zeros((5 if n == 33 else 6, 8, 3), np.uint8)) for n in range(60)]
    with pytest.raises(DataError, match=r'left: frame 33 is a picture of \(5, 8\)'):
        writer.add(np.zeros((60, 1)), np.zeros((60, 0)), ['x'] * 60, {'left': pictures})
    assert not list(tmp_path.iterdir())


def test_odd_sides_are_refused_for_video_alone(tmp_path):
    LeRobotWriter(tmp_path, 10, ('a',), (), {'left': (5, 8)})
    with pytest.raises(DataError, match="camera 'left': pictures of 8x5 as video: expected even"):
        LeRobotWriter(tmp_path, 10, ('a',), (), {'left': (5, 8)}, video=True)


@pytest.mark.parametrize(
    'content',
    [
        *('[]', 'x', '{}', '{"drives": ["a"], "gripper": "closed"}'),
        *('{"drives": "abcdefgh", "gripper": "closed"}', '{"drives": null, "gripper": "open"}'),
        *(f'{{"drives": ["a", "b", "c"], "gripper": {one}}}' for one in ('null', '"Closed"', '1')),
    ],
)
def test_what_we_say_beside_the_format_is_checked(tmp_path, content):
    folder = Path(shutil.copytree(MADE / 'lerobot_image', tmp_path / 'set'))
    assert open_recording(folder).one_gripper == ''
    (folder / 'meta/vla.json').write_text('{"drives": ["a", "a", "b"], "gripper": "closed"}')
    assert open_recording(folder).drives == ('a', 'a', 'b')
    (folder / 'meta/vla.json').write_text(content)
    with pytest.raises(DataError, match=r'meta/vla\.json: .*expected drives, a name for each'):
        open_recording(folder)
