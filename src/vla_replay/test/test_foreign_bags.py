"""Bags of other recorders: every way in which `ros2 bag record` writes them, and older types."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
import os
from pathlib import Path
import sqlite3
import zlib

from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores
import yaml
import zstandard

from vla_replay.bag.reader import BagReader
from vla_replay.bag.scan import unpacked
from vla_replay.bag.sources import plain
from vla_replay.bag.tools import repair
from vla_replay.bag.topics import Message, ZSTD_MAGIC
from vla_replay.bag.types import hash_of, require_installed, Types
from vla_replay.bag.writer import BagWriter
from vla_replay.conversion.drive import Drive
from vla_replay.errors import BagError

TEXT = 'std_msgs/msg/String'


def cdr(content: bytes) -> bytes:
    """Return a message as the middleware hands it over; only its header is looked at."""
    return b'\x00\x01\x00\x00' + content


def read(path: Path) -> list[Message]:
    with BagReader(path) as bag:
        return list(bag.messages())


def foreign(path: Path, plugin, mode, version: int, size: int = 10):
    """Write a bag with rosbags."""
    store = get_typestore(Stores.ROS2_JAZZY)
    writer = Writer(path, version=version, storage_plugin=plugin)
    if mode is not CompressionMode.NONE:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    sent = []
    with writer:
        connection = writer.add_connection('/text', TEXT, typestore=store)
        for stamp in range(200 if size > 1000 else 10):
            text = store.types[TEXT](data=str(stamp) + 'x' * size)
            sent.append(Message('/text', stamp, bytes(store.serialize_cdr(text, TEXT))))
            writer.write(connection, stamp, sent[-1].data)
    return store, sent


@pytest.mark.parametrize('version', [8, 9])
@pytest.mark.parametrize(
    ('plugin', 'mode'),
    [
        (StoragePlugin.MCAP, CompressionMode.NONE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
        (StoragePlugin.MCAP, CompressionMode.MESSAGE),
        (StoragePlugin.MCAP, CompressionMode.FILE),
        (StoragePlugin.SQLITE3, CompressionMode.NONE),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
    ],
)
def test_bags_of_another_writer_are_read(tmp_path: Path, plugin, mode, version):
    store, sent = foreign(tmp_path / 'bag', plugin, mode, version)
    with BagReader(tmp_path / 'bag') as bag:
        assert bag.topics['/text'].type_hash == store.hash_rihs01(TEXT)
        assert bag.topics['/text'].definition.startswith('string data')
        assert bag.topics['/text'].count == len(sent)
        assert list(bag.messages()) == sent
        assert list(bag.messages(start_ns=5, end_ns=8)) == sent[5:8]


@pytest.mark.parametrize('plugin', list(StoragePlugin))
def test_messages_compressed_one_by_one_are_known_without_their_description(tmp_path, plugin):
    _, sent = foreign(tmp_path / 'bag', plugin, CompressionMode.MESSAGE, 9)
    (tmp_path / 'bag' / 'metadata.yaml').unlink()
    (file,) = (tmp_path / 'bag').iterdir()
    assert read(tmp_path / 'bag') == read(file) == sent


@pytest.mark.parametrize('plugin', list(StoragePlugin))
def test_a_file_compressed_as_a_whole_is_named_without_its_description(tmp_path, plugin):
    """Beside the file in progress, which is not compressed yet, it must not be overlooked."""
    _, sent = foreign(tmp_path / 'bag', plugin, CompressionMode.FILE, 9)
    (tmp_path / 'bag' / 'metadata.yaml').unlink()
    (file,) = (tmp_path / 'bag').iterdir()
    with BagWriter(tmp_path / 'next') as writer:
        writer.add_topic('/text', TEXT)
        writer.write('/text', 1, cdr(b'x'))
    (tmp_path / 'next' / 'next_0.mcap').rename(tmp_path / 'bag' / 'next_0.mcap')
    said = f'{file}: compressed as a whole.*expected `zstd -d {file.parent}/'
    for open_bag in (BagReader, lambda path: repair(path, tmp_path / 'mended')):
        with pytest.raises(BagError, match=said):
            open_bag(tmp_path / 'bag')
    with pytest.raises(BagError, match=said):
        BagReader(file)
    (tmp_path / 'bag' / 'next_0.mcap').unlink()
    with file.open('rb') as packed, file.with_suffix('').open('wb') as unpacked:
        zstandard.ZstdDecompressor().copy_stream(packed, unpacked)
    assert read(tmp_path / 'bag') == sent


@pytest.mark.parametrize('plugin', list(StoragePlugin))
def test_a_truncated_bag_of_another_writer_is_read_to_its_tear_or_an_error(tmp_path, plugin):
    _, sent = foreign(tmp_path / 'bag', plugin, CompressionMode.NONE, 9, size=20_000)
    (file,) = (one for one in (tmp_path / 'bag').iterdir() if one.suffix != '.yaml')
    os.truncate(file, file.stat().st_size // 2)
    if plugin is StoragePlugin.MCAP:
        with BagReader(tmp_path / 'bag') as bag:
            assert bag.torn
            found = list(bag.messages())
        assert found == sent[: len(found)]
    else:
        with pytest.raises(BagError, match=r'bag.*(malformed|not a database|damaged)'):
            read(tmp_path / 'bag')


def test_a_truncated_file_that_was_compressed_as_a_whole_is_an_error(tmp_path: Path):
    foreign(tmp_path / 'bag', StoragePlugin.MCAP, CompressionMode.FILE, 9)
    (file,) = (tmp_path / 'bag').glob('*.zstd')
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(BagError, match='bag: damaged: Compressed file ended'):
        BagReader(tmp_path / 'bag')


def test_an_older_definition_is_kept(tmp_path: Path):
    """A message type that has changed since: the bag's own definition and hash count."""
    old = 'string data\nint32 since_removed\n'
    with Writer(tmp_path / 'bag', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        hashed = hash_of(TEXT, old)
        assert hashed != Types().type_hash(TEXT)
        connection = writer.add_connection('/text', TEXT, msgdef=old, rihs01=hashed)
        writer.write(connection, 1, cdr(b'x'))
    with BagReader(tmp_path / 'bag') as bag:
        assert bag.topics['/text'].definition == old
        assert bag.topics['/text'].type_hash == hashed
        assert len(list(bag.messages())) == 1


def test_messages_of_another_definition_than_the_installed_one_are_refused(tmp_path: Path):
    """By whatever hands their bytes to installed code, which would misread them."""
    installed = Types()
    with BagWriter(tmp_path / 'bag') as writer:
        for number, definition in enumerate((None, '', 'string data\nint32 since_removed\n')):
            name = f'/text{number}'
            hashed = hash_of(TEXT, definition) if definition else None
            writer.add_topic(name, TEXT, definition=definition, type_hash=hashed)
            writer.write(name, 1, cdr(b'x'))
    with BagReader(tmp_path / 'bag') as bag:
        require_installed(bag.topics['/text0'])
        require_installed(bag.topics['/text1'])
        recorded = bag.topics['/text2'].type_hash
        said = (
            f'/text2 was recorded with another {TEXT}: {recorded}, '
            f'expected {installed.type_hash(TEXT)}'
        )
        with pytest.raises(BagError, match=said):
            require_installed(bag.topics['/text2'])
        without_hash = replace(bag.topics['/text2'], type_hash='')
        with pytest.raises(BagError, match=said):
            require_installed(without_hash)


def test_chunks_compressed_with_lz4_are_read_whole_and_torn(tmp_path: Path):
    sent = [Message('/text', stamp, cdr(b'x' * 300)) for stamp in range(50)]
    file = tmp_path / 'bag_0.mcap'
    with file.open('wb') as stream:
        writer = McapWriter(stream, chunk_size=1000, compression=CompressionType.LZ4)
        writer.start('ros2', 'other')
        schema = writer.register_schema(TEXT, 'ros2msg', b'string data\n')
        channel = writer.register_channel('/text', 'cdr', schema)
        for message in sent:
            writer.add_message(channel, message.stamp_ns, message.data, message.stamp_ns)
        writer.finish()
    assert read(file) == sent
    os.truncate(file, file.stat().st_size // 2)
    found = read(file)
    assert 0 < len(found) < len(sent)
    assert found == sent[: len(found)]


@pytest.mark.parametrize('told', [False, True])
def test_a_file_without_an_index_is_whole(tmp_path: Path, told):
    """Its footer says that none begins, or that it ends where it begins: at the footer."""
    file = tmp_path / 'bag_0.mcap'
    with file.open('wb') as stream:
        writer = McapWriter(
            stream,
            index_types=IndexType.NONE,
            repeat_channels=False,
            repeat_schemas=False,
            use_statistics=False,
            use_summary_offsets=False,
        )
        writer.start('ros2', 'other')
        schema = writer.register_schema(TEXT, 'ros2msg', b'string data\n')
        writer.add_message(writer.register_channel('/text', 'cdr', schema), 1, cdr(b'x'), 1)
        writer.finish()
    content = bytearray(file.read_bytes())
    if told:
        content[-28:-20] = (len(content) - 37).to_bytes(8, 'little')
        content[-12:-8] = zlib.crc32(content[-37:-12]).to_bytes(4, 'little')
    file.write_bytes(content)
    with BagReader(file) as bag:
        assert not bag.torn
        assert list(bag.messages()) == [Message('/text', 1, cdr(b'x'))]


@pytest.mark.parametrize('cut', [0, 1])
def test_messages_that_are_no_cdr_are_refused_whole_and_torn(tmp_path: Path, cut):
    file = tmp_path / 'bag_0.mcap'
    with file.open('wb') as stream:
        writer = McapWriter(stream)
        writer.start('ros2', 'other')
        schema = writer.register_schema(TEXT, 'ros2msg', b'string data\n')
        channel = writer.register_channel('/text', 'json', schema)
        writer.add_message(channel, 1, b'{"data": ""}', 1)
        writer.finish()
    os.truncate(file, file.stat().st_size - cut)
    with pytest.raises(BagError, match=r"topic /text is .*'json'.*: expected cdr"):
        BagReader(file)


def test_an_sqlite_bag_without_definitions_is_read(tmp_path: Path):
    """As Humble's recorder makes it: types by name alone, no hashes, one table of topics."""
    folder = tmp_path / 'bag'
    folder.mkdir()
    sent = [Message('/text', stamp, cdr(b'\x02\x00\x00\x00x\x00')) for stamp in range(1, 4)]
    with closing(sqlite3.connect(folder / 'bag_0.db3')) as file:
        file.executescript("""
            CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
            CREATE TABLE metadata(id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL,
                                  metadata TEXT NOT NULL);
            CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
                                serialization_format TEXT NOT NULL,
                                offered_qos_profiles TEXT NOT NULL);
            CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL,
                                  timestamp INTEGER NOT NULL, data BLOB NOT NULL);
            CREATE INDEX timestamp_idx ON messages (timestamp ASC);
            INSERT INTO schema VALUES (3, 'humble');
            INSERT INTO topics VALUES (1, '/text', 'std_msgs/msg/String', 'cdr', '');
        """)
        rows = [(one.stamp_ns, one.data) for one in sent]
        file.executemany('INSERT INTO messages VALUES (NULL, 1, ?, ?)', rows)
        file.commit()
    topic = {
        'name': '/text',
        'type': TEXT,
        'serialization_format': 'cdr',
        'offered_qos_profiles': '',
    }
    span = {
        'duration': {'nanoseconds': 2},
        'starting_time': {'nanoseconds_since_epoch': 1},
        'message_count': 3,
    }
    information = {
        'version': 5,
        'storage_identifier': 'sqlite3',
        'relative_file_paths': ['bag_0.db3'],
        **span,
        'topics_with_message_count': [{'topic_metadata': topic, 'message_count': 3}],
        'compression_format': '',
        'compression_mode': '',
        'files': [{'path': 'bag_0.db3', **span}],
    }
    description = folder / 'metadata.yaml'
    description.write_text(yaml.safe_dump({'rosbag2_bagfile_information': information}))
    for _ in range(2):
        with BagReader(folder) as bag:
            assert bag.topics['/text'].definition == Types().definition(TEXT)
            assert list(bag.messages()) == sent
        description.unlink(missing_ok=True)


def recorded_with(folder: Path, kind: str, definition: str, content: bytes) -> BagReader:
    """Open a bag of one message of a type as it was defined then."""
    with Writer(folder, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connection = writer.add_connection(
            '/topic', kind, msgdef=definition, rihs01=hash_of(kind, definition) or 'unknown'
        )
        writer.write(connection, 1, cdr(content))
    return BagReader(folder)


IMAGE = 'sensor_msgs/msg/CompressedImage'
TIME = f'{"=" * 80}\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n'
HEADER = (
    f'{"=" * 80}\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n{TIME}'
)
STAMP = b'\x05\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00'


def test_a_drive_is_read_by_the_definitions_of_its_bag(tmp_path: Path):
    """Also where a package that is installed here defines the type otherwise."""
    old = f'std_msgs/Header header\nuint8[] data\n{HEADER}{TIME}'
    content = STAMP + b'\x02\x00\x00\x00ab'
    with recorded_with(tmp_path / 'bag', IMAGE, old, content) as bag:
        ((stamp, _, data),) = Drive(bag).pictures()
        assert (stamp, data) == (5_000_000_000, b'ab')


@pytest.mark.parametrize(
    ('kind', 'definition', 'said'),
    [
        (
            IMAGE,
            f'std_msgs/Header header\n{HEADER}{TIME}',
            "another .*: expected its fields .'data'.",
        ),
        (IMAGE, 'uint8[ data', 'definition of /topic, .*: expected .msg'),
    ],
)
def test_a_drive_whose_definitions_lack_something_is_named(tmp_path, kind, definition, said):
    bag = recorded_with(tmp_path / 'bag', kind, definition, STAMP)
    with bag, pytest.raises(BagError, match=said):
        list(Drive(bag).pictures())


def drive_of_two_clocks(folder: Path, ahead: Callable[[int], float]) -> BagReader:
    """Record ten frames and commands, a tenth of a second apart, with a clock that is ahead, s."""
    store = get_typestore(Stores.ROS2_JAZZY)
    twist = store.types['geometry_msgs/msg/Twist']
    vector = store.types['geometry_msgs/msg/Vector3']
    header, time = store.types['std_msgs/msg/Header'], store.types['builtin_interfaces/msg/Time']
    with BagWriter(folder) as writer:
        writer.add_topic('/image', IMAGE)
        writer.add_topic('/cmd_vel', 'geometry_msgs/msg/Twist')
        for number in range(10):
            stamp = number * 100_000_000
            recorded = stamp + round(ahead(number) * 1e9)
            image = store.types[IMAGE](header(time(0, stamp), ''), 'jpeg', np.zeros(3, np.uint8))
            writer.write('/image', recorded, bytes(store.serialize_cdr(image, IMAGE)))
            moves = twist(vector(float(number), 0.0, 0.0), vector(0.0, 0.0, 0.0))
            data = bytes(store.serialize_cdr(moves, 'geometry_msgs/msg/Twist'))
            writer.write('/cmd_vel', recorded, data)
    return BagReader(folder)


@pytest.mark.parametrize(('ahead', 'late'), [(0.02, 0.02), (0.9, 0.9), (1e6, 0.0)])
def test_commands_belong_to_frames_also_where_the_recorder_has_another_clock(
    tmp_path: Path, ahead: float, late: float
):
    with drive_of_two_clocks(tmp_path / 'bag', lambda number: ahead) as bag:
        drive = Drive(bag)
        commands = drive.actions('cmd_vel')
        assert commands.values[:, 0].tolist() == list(range(10))
        assert (commands.stamps - drive.stamps).tolist() == [round(late * 1e9)] * 10


def test_clocks_that_drift_apart_are_named(tmp_path: Path):
    bag = drive_of_two_clocks(tmp_path / 'bag', lambda number: 1000.0 + number)
    said = '/image was recorded 1000.000 to 1009.000 s after its stamps: expected one clock'
    with bag, pytest.raises(BagError, match=said):
        Drive(bag)


@pytest.mark.parametrize('told', [True, False])
def test_zstd_data_unfold_to_no_more_than_is_asked_for(told):
    packed = zstandard.ZstdCompressor(write_content_size=told).compress(bytes(1 << 20))
    assert len(packed) < 200
    assert unpacked(packed, 1 << 20) == bytes(1 << 20)
    with pytest.raises((ValueError, zstandard.ZstdError)):
        unpacked(packed, (1 << 20) - 1)


def test_a_message_that_unfolds_without_end_is_named():
    # The first 8 bytes behind the magic and its descriptor say how much it is: 2^62.
    bomb = ZSTD_MAGIC + bytes([0xE0]) + (1 << 62).to_bytes(8, 'little')
    with pytest.raises(BagError, match=r'message of /image at 5 ns: .*expected at most'):
        plain(Message('/image', 5, bomb))
    with pytest.raises(BagError, match='message of /image at 5 ns'):
        plain(Message('/image', 5, ZSTD_MAGIC + b'nonsense'))
