from contextlib import suppress
from copy import deepcopy
import json
from pathlib import Path
import shutil
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

pytest.importorskip('torch')
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
import google_crc32c

from vla_learning.data.errors import DataError
from vla_learning.data.formats import open_recording
from vla_learning.data.tfrecord import FormatError, parse_example, read_records

BRIDGE = Path(__file__).parent / 'data/bridge'
SHARD = 'bridge_dataset-train.tfrecord-00000-of-00001'


def example_class():
    """tf.train.Example from its published definition, by the protobuf library."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name='e.proto', package='tf', syntax='proto3')

    def message(name, *fields):
        found = file.message_type.add(name=name)
        for number, (label, kind, repeated) in enumerate(fields, 1):
            made = found.field.add(name=label, number=number)
            made.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            if isinstance(kind, str):
                made.type, made.type_name = field.TYPE_MESSAGE, f'.tf.{kind}'
            else:
                made.type = kind
        return found

    message('BytesList', ('value', field.TYPE_BYTES, True))
    message('FloatList', ('value', field.TYPE_FLOAT, True))
    message('Int64List', ('value', field.TYPE_INT64, True))
    kinds = (('bytes_list', 'BytesList'), ('float_list', 'FloatList'), ('int64_list', 'Int64List'))
    feature = message('Feature', *((name, kind, False) for name, kind in kinds))
    feature.oneof_decl.add(name='kind')
    for made in feature.field:
        made.oneof_index = 0
    features = message('Features', ('feature', 'Features.FeatureEntry', True))
    entry = features.nested_type.add(name='FeatureEntry')
    entry.options.map_entry = True
    for number, (label, kind) in enumerate((('key', field.TYPE_STRING), ('value', None)), 1):
        made = entry.field.add(name=label, number=number, label=field.LABEL_OPTIONAL)
        if kind is None:
            made.type, made.type_name = field.TYPE_MESSAGE, '.tf.Feature'
        else:
            made.type = kind
    message('Example', ('features', 'Features', False))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName('tf.Example'))


Example = example_class()
VALUES = st.one_of(
    st.lists(st.binary(max_size=20), max_size=5),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=5),
    st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=5),
)


def kind_of(values):
    kinds = {float: 'float', int: 'int'}
    return kinds.get(type(values[0]), 'bytes') if values else 'bytes'


def fill(example, features):
    for name, values in features.items():
        kind = {'float': 'float_list', 'int': 'int64_list', 'bytes': 'bytes_list'}[kind_of(values)]
        getattr(example.features.feature[name], kind).value.extend(values)
    return example


def masked(data):
    crc = google_crc32c.value(data)
    return struct.pack('<I', (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def framed(*records):
    pieces = []
    for data in records:
        length = struct.pack('<Q', len(data))
        pieces += [length, masked(length), data, masked(data)]
    return b''.join(pieces)


def copy(tmp_path):
    return Path(shutil.copytree(BRIDGE, tmp_path / 'set'))


def change_first(folder, change):
    """Rewrite the first episode through the protobuf library."""
    records = [bytes(content) for _, content, _ in read_records(folder / SHARD)]
    example = Example.FromString(records[0])
    change(example.features.feature)
    (folder / SHARD).write_bytes(framed(example.SerializeToString(), *records[1:]))


@settings(max_examples=60)
@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=5))
def test_examples_are_read_as_the_protobuf_library_writes_them(features):
    data = fill(Example(), features).SerializeToString()
    found = parse_example(memoryview(data))
    assert set(found) == set(features)
    for name, values in features.items():
        assert found[name].kind == kind_of(values)
        if kind_of(values) == 'bytes':
            spans = found[name].spans.tolist()
            assert [data[low : low + size] for low, size in spans] == values
        else:
            assert found[name].numbers.tolist() == values


@settings(max_examples=60)
@given(st.binary(max_size=60))
def test_whatever_is_no_example_is_refused_and_nothing_else_happens(data):
    with suppress(FormatError):
        found = parse_example(memoryview(data))
        assert all(values.kind in ('bytes', 'float', 'int') for values in found.values())


def test_a_packed_list_that_ends_within_a_float_is_refused():
    features = {'steps/action': [0.5, 1.5]}
    data = fill(Example(), features).SerializeToString()
    packed = struct.pack('<2f', 0.5, 1.5)
    at = data.index(packed)
    damaged = bytearray(data[:at] + packed[:-1])
    # The lengths of message, entry, feature and list each count up to the end.
    for place, byte in enumerate(data[:at]):
        if byte == len(data) - place - 1 and place:
            damaged[place] -= 1
    with pytest.raises(FormatError, match='list of floats of 7 bytes'):
        parse_example(memoryview(bytes(damaged)))


@pytest.mark.parametrize('behind', [b'', b'\x10\x00'])
@pytest.mark.parametrize('longer', range(4))
def test_a_field_that_is_longer_than_what_it_lies_in_is_refused(longer, behind):
    data = b'x'
    # Of the item, its list, the feature, its entry and all of them: what is behind is not theirs.
    for place, number in enumerate((1, 1, 2, 1, 1)):
        data = bytes([number << 3 | 2, len(data) + (place == longer)]) + data
    found = rf'a field that ends at {len(data) + 1}.*at most {len(data)}\b'
    with pytest.raises(FormatError, match=found):
        parse_example(memoryview(data + behind))


@pytest.mark.parametrize('head', [b'\x1d\0\0\0', b'\x19\0\0\0\0\0\0\0', b'\x1a\x02x'])
def test_a_field_that_is_longer_than_the_example_is_refused(head):
    assert parse_example(memoryview(head + b'\0')) == {}
    with pytest.raises(FormatError, match=f'a field that ends at {len(head) + 1}'):
        parse_example(memoryview(head))


def test_bridge_is_read_as_the_protobuf_library_reads_it():
    recording = open_recording(BRIDGE)
    assert recording.first.tolist() == [0, 10, 20, 30, 40]
    assert recording.cameras == ('image_0', 'image_1')
    assert recording.axes[0] == 'linear.x'
    assert len(recording.axes) == len(recording.state_names) == 7
    for episode, (_, content, _) in enumerate(read_records(BRIDGE / SHARD)):
        feature = Example.FromString(bytes(content)).features.feature
        actions = np.array(feature['steps/action'].float_list.value, np.float32).reshape(10, 7)
        begin = 10 * episode
        assert recording.actions[begin : begin + 10].tobytes() == actions.tobytes()
        for frame in range(10):
            jpeg = feature['steps/observation/image_1'].bytes_list.value[frame]
            assert recording.fetch(begin + frame, 'image_1') == jpeg
            text = feature['steps/language_instruction'].bytes_list.value[frame].decode()
            assert recording.texts[recording.text[begin + frame]] == text
    assert recording.image(13, 'image_0').shape == (64, 64, 3)
    again = deepcopy(recording)  # as workers of the loader do
    assert (again.image(13, 'image_0') == recording.image(13, 'image_0')).all()


def break_file(change):
    def act(folder):
        data = bytearray((folder / SHARD).read_bytes())
        (folder / SHARD).write_bytes(change(data))

    return act


def flip(place):
    def change(data):
        data[place] ^= 1
        return data

    return break_file(change)


SECOND = 12 + 144644 + 4
BROKEN = {
    'cut in the content': (
        break_file(lambda data: data[:200_000]),
        1,
        'record 1 is cut off after',
    ),
    'cut in the header': (break_file(lambda data: data[: SECOND + 5]), 1, 'cut off after 5 bytes'),
    'cut between records': (break_file(lambda data: data[:SECOND]), 1, '1 episodes: expected 4'),
    'content changed': (flip(SECOND + 5000), 1, 'record 1 is CRC-32C of the content'),
    'length changed': (flip(SECOND), 1, 'record 1 is CRC-32C of the length'),
    'no TFRecord': (break_file(lambda data: b'PK\x03\x04' * 90), 0, r'is it a TFRecord\?'),
    'empty': (break_file(lambda data: b''), 0, 'is empty: expected a TFRecord'),
}


@pytest.mark.parametrize('name', BROKEN)
def test_a_broken_file_is_named_and_what_comes_before_is_kept(tmp_path, name):
    change, left, message = BROKEN[name]
    folder = copy(tmp_path)
    change(folder)
    with pytest.raises(DataError, match=f'{SHARD}.*{message}'):
        open_recording(folder)
    if not left:
        with pytest.raises(DataError, match='no usable record'):
            open_recording(folder, skip_bad=True)
    else:
        recording = open_recording(folder, skip_bad=True)
        assert len(recording.names) == left
        assert recording.problems.found


def shorten(features):
    del features['steps/action'].float_list.value[-1]


def no_text(features):
    del features['steps/language_instruction']


def whole_numbers(features):
    features['steps/action'].int64_list.value.extend([0] * 70)


def no_action(features):
    features['steps/action'].float_list.value[3 * 7 + 2] = float('nan')


def no_state(features):
    features['steps/observation/state'].float_list.value[4 * 7 + 1] = float('nan')


def not_a_picture(features):
    features['steps/observation/image_0'].bytes_list.value[4] = b'not a picture'


@pytest.mark.parametrize(
    ('change', 'bad', 'message'),
    [
        (shorten, [], 'episode 0: steps/action is 69 of kind float: expected 70'),
        (whole_numbers, [], 'steps/action is 70 of kind int: expected 70 of kind float'),
        (no_text, [], 'episode 0: steps/language_instruction is missing'),
        (no_action, [3], r'episode 0 frame 3: action\[linear.z\] is nan'),
        (no_state, [4], r'episode 0 frame 4: state\[state_1\] is nan'),
    ],
)
def test_a_bad_episode_or_frame_is_named_and_skipped(tmp_path, change, bad, message):
    folder = copy(tmp_path)
    change_first(folder, change)
    with pytest.raises(DataError, match=message):
        open_recording(folder)
    recording = open_recording(folder, skip_bad=True)
    assert np.flatnonzero(~recording.good).tolist() == bad
    assert recording.first.tolist() == [0, 10, 20, 30, 40][: 5 if bad else 4]
    assert recording.image(9, 'image_0').shape == (64, 64, 3)


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path):
    folder = copy(tmp_path)
    change_first(folder, not_a_picture)
    with pytest.raises(DataError, match='episode 0 frame 4: image_0 is undecodable'):
        open_recording(folder).image(4, 'image_0')


def test_a_missing_file_of_several_is_named(tmp_path):
    folder = copy(tmp_path)
    (folder / 'dataset_info.json').unlink()
    (folder / SHARD).rename(folder / 'x-train.tfrecord-00001-of-00002')
    with pytest.raises(DataError, match=r'x-train.tfrecord-00000-of-00002 is missing'):
        open_recording(folder)
    assert open_recording(folder, skip_bad=True).frames == 40


def split(folder, **names):
    """Put one episode of the sample into a split each; the name says which."""
    records = [bytes(content) for _, content, _ in read_records(folder / SHARD)]
    (folder / SHARD).unlink()
    (folder / 'dataset_info.json').unlink()
    for name, number in names.items():
        (folder / f'x-{name}.tfrecord-00000-of-00001').write_bytes(framed(records[number]))


def test_of_several_splits_train_alone_is_read_and_the_others_are_named(tmp_path, caplog):
    folder = copy(tmp_path)
    split(folder, val=0, train=1, test=2)
    recording = open_recording(folder)
    assert recording.names == ('x-train.tfrecord-00000-of-00001 episode 0',)
    assert (recording.actions == open_recording(BRIDGE).actions[10:20]).all()
    assert [file.name for file in recording.files][1:] == ['x-train.tfrecord-00000-of-00001']
    assert 'split train is read, left out: test, val' in caplog.text


def test_several_splits_without_train_are_refused_until_one_is_linked(tmp_path):
    folder = copy(tmp_path)
    split(folder, val=0, test=2)
    with pytest.raises(DataError, match=r'splits test, val: expected one.*links to features.json'):
        open_recording(folder)
    one = tmp_path / 'test'
    one.mkdir()
    for name in ('features.json', 'x-test.tfrecord-00000-of-00001'):
        (one / name).symlink_to(folder / name)
    assert (open_recording(one).actions == open_recording(BRIDGE).actions[20:30]).all()


def test_files_without_the_name_of_a_split_are_one_data_set(tmp_path):
    folder = copy(tmp_path)
    split(folder)
    for number in range(2):
        shutil.copy(BRIDGE / SHARD, folder / f'run-{number}.tfrecord')
    assert open_recording(folder).frames == 80


@pytest.mark.parametrize('text', ['', '{}', '[]', '{"featuresDict": {"features": {"steps": 1}}}'])
def test_features_that_say_nothing_of_steps_are_refused(tmp_path, text):
    folder = copy(tmp_path)
    (folder / 'features.json').write_text(text)
    with pytest.raises(DataError, match=r'^features.json'):
        open_recording(folder)


def test_an_action_that_is_no_vector_is_refused(tmp_path):
    folder = copy(tmp_path)
    features = json.loads((folder / 'features.json').read_text())
    step = features['featuresDict']['features']['steps']['sequence']['feature']
    step['featuresDict']['features']['action']['tensor']['shape']['dimensions'] = ['2', '7']
    (folder / 'features.json').write_text(json.dumps(features))
    with pytest.raises(DataError, match='vector `action`'):
        open_recording(folder)
