import json

import numpy as np
from PIL import Image
import pytest

pytest.importorskip('torch')
from vla_learning.data.errors import DataError
from vla_learning.data.formats import open_recording


def record(number, **changes):
    return {
        'image_path': f'pictures/{number}.png',
        'language_instruction': f'go to {number % 2}',
        'action': [0.1 * number, -0.5],
    } | changes


def write(folder, records, pictures=6):
    (folder / 'pictures').mkdir(exist_ok=True)
    for number in range(pictures):
        pixels = np.full((6, 8, 3), 10 * number, np.uint8)
        Image.fromarray(pixels).save(folder / f'pictures/{number}.png')
    path = folder / 'records.json'
    path.write_text(json.dumps(records))
    return path


def test_each_record_of_the_seed_is_an_episode_of_one_frame(tmp_path):
    recording = open_recording(write(tmp_path, [record(n) for n in range(4)]))
    assert recording.frames == len(recording.names) == 4
    assert recording.texts == ('go to 0', 'go to 1')
    assert recording.text.tolist() == [0, 1, 0, 1]
    assert recording.actions[3].tolist() == pytest.approx([0.3, -0.5])
    assert (recording.image(2, 'image') == 20).all()
    assert recording.image(2, 'image').shape == (6, 8, 3)


def test_records_of_one_episode_follow_each_other_in_time(tmp_path):
    records = [record(n, episode='a' if n < 4 else 'b') for n in range(6)]
    recording = open_recording(write(tmp_path, records))
    assert recording.names == ('a', 'b')
    assert recording.first.tolist() == [0, 4, 6]
    assert recording.episode_of(5) == (1, 1)


def test_a_number_with_point_zero_names_an_episode_like_the_number(tmp_path):
    records = [record(n, episode=episode) for n, episode in enumerate((3.0, 3, 3.0, 4.0, None))]
    recording = open_recording(write(tmp_path, records))
    assert recording.names == ('3', '4', 'record 4')
    assert recording.first.tolist() == [0, 3, 4, 5]


NAMED = {'linear.x': 0.2, 'angular.z': -0.1}


def test_actions_by_name_name_the_axes_in_any_order(tmp_path):
    turned = dict(reversed(NAMED.items()))
    path = write(tmp_path, [record(0, action=NAMED), record(1, action=turned)])
    recording = open_recording(path)
    assert recording.axes == ('linear.x', 'angular.z')
    assert recording.actions.tolist() == [pytest.approx([0.2, -0.1])] * 2


@pytest.mark.parametrize(
    'action',
    [
        {'linear.x': 0.2},
        {'linear.x': 0.2, 'angular.y': 0.1},
        NAMED | {'gripper': 0.0},
        NAMED | {'linear.x': None},
        [0.2, -0.1],
    ],
)
def test_among_actions_by_name_another_form_is_bad(tmp_path, action):
    records = [record(0, action=NAMED), record(1, action=action), record(2, action=NAMED)]
    path = write(tmp_path, records)
    with pytest.raises(DataError, match=r'record 1: action .*expected numbers by name: linear.x'):
        open_recording(path)
    assert open_recording(path, skip_bad=True).frames == 2


@pytest.mark.parametrize('action', [[], {}])
def test_an_action_of_nothing_is_bad(tmp_path, action):
    with pytest.raises(DataError, match='action'):
        open_recording(write(tmp_path, [record(0, action=action)]))


BAD = {
    'missing picture': ({'image_path': 'pictures/none.png'}, r"image_path is 'pictures/none.png'"),
    'parent folder': ({'image_path': '../../etc/passwd'}, 'a path inside the data folder'),
    'hidden parent': ({'image_path': 'pictures/../../x.png'}, 'a path inside the data folder'),
    'absolute path': ({'image_path': '/etc/passwd'}, 'a path inside the data folder'),
    'path of another kind': ({'image_path': 7}, 'a path inside the data folder'),
    'NaN': ({'action': [0.1, float('nan')]}, r'action\[axis_1\] is nan: expected a finite'),
    'beyond float32': ({'action': [1e300, 0.0]}, r'action\[axis_0\] is inf: expected a finite'),
    'endless name': ({'image_path': 'x' * 5000}, 'no such file'),
    'beyond any float': ({'action': [10**400, 0]}, r'action is beyond any float'),
    'half a character': ({'language_instruction': 'go \ud800'}, 'expected a text'),
    'width': ({'action': [0.1, 0.2, 0.3]}, 'action is 3 numbers: expected 2 numbers'),
    'text as action': ({'action': ['0.1', 0.2]}, 'expected 2 numbers'),
    'truth as action': ({'action': [True, 0.2]}, 'expected 2 numbers'),
    'half an episode': ({'episode': 3.5}, 'episode is 3.5: expected a whole number or a text'),
    'endless episode': ({'episode': float('inf')}, 'episode is inf'),
    'list as episode': ({'episode': [0]}, r'episode is \[0\]'),
    'truth as episode': ({'episode': True}, 'episode is True'),
    'no instruction': ({'language_instruction': ' '}, "language_instruction is ' '"),
}


@pytest.mark.parametrize('name', BAD)
def test_a_bad_record_is_named_or_skipped_and_listed(tmp_path, name):
    changes, message = BAD[name]
    records = [record(n, episode=0) for n in range(5)]
    records[2] |= changes
    path = write(tmp_path, records)
    with pytest.raises(DataError, match=f'^records.json: record 2: .*{message}'):
        open_recording(path)
    recording = open_recording(path, skip_bad=True)
    assert recording.good.tolist() == [True, True, False, True, True]
    assert recording.problems.report()['count'] == 1
    assert (recording.image(3, 'image') == 30).all()  # the others keep their place in time


@pytest.mark.parametrize('bad', [{'image_path': 'a.png'}, 'text', None])
def test_a_record_without_its_fields_is_named(tmp_path, bad):
    path = write(tmp_path, [record(0), bad])
    with pytest.raises(DataError, match=r'record 1.*expected an object with'):
        open_recording(path)
    assert open_recording(path, skip_bad=True).frames == 1


@pytest.mark.parametrize('text', ['', '{"a": 1}', '[' * 100_000, '[]', '1' * 5000, '\udcff'])
def test_a_file_that_is_no_list_of_records_is_refused(tmp_path, text):
    path = tmp_path / 'records.json'
    path.write_bytes(text.encode('utf-8', 'surrogateescape'))
    with pytest.raises(DataError, match=r'records.json'):
        open_recording(path)


def test_a_picture_that_cannot_be_decoded_is_named_when_it_is_read(tmp_path):
    path = write(tmp_path, [record(0), record(1)])
    (tmp_path / 'pictures/1.png').write_bytes(b'\x89PNG\r\n\x1a\n and then nothing')
    with pytest.raises(DataError, match='record 1: image is undecodable'):
        open_recording(path).image(1, 'image')


def test_what_is_no_data_set_is_refused_with_what_would_be_one(tmp_path):
    with pytest.raises(DataError, match=r'LeRobotDataset v3.*RLDS'):
        open_recording(tmp_path)
