"""Bags made of bags."""

from pathlib import Path
import struct

from hypothesis import given
from hypothesis import strategies as st
from mcap.writer import CompressionType, Writer
import pytest
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)

from vla_replay.bag import tools
from vla_replay.bag.clock_set import left_in_part
from vla_replay.bag.reader import BagReader
from vla_replay.bag.topics import Message
from vla_replay.bag.types import hash_of, Types
from vla_replay.bag.writer import BagWriter
from vla_replay.errors import BagError

TEXT = 'std_msgs/msg/String'
SECOND = 1_000_000_000
NAN, INF = float('nan'), float('inf')
FOREVER = QosTime(9223372036, 854775807)
LATCHED = Qos(
    QosHistory.UNKNOWN,
    0,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    FOREVER,
    FOREVER,
    QosLiveliness.AUTOMATIC,
    FOREVER,
    False,
)


def numbered(count: int, topic: str = '/text') -> list[Message]:
    """Return ten messages a second, half a kilobyte each."""
    return [
        Message(topic, SECOND + n * SECOND // 10, b'\0\1\0\0' + n.to_bytes(4, 'big') * 128)
        for n in range(count)
    ]


def write(folder: Path, sent: list[Message], qos=(), **options) -> Path:
    now = [0.0]
    with BagWriter(folder, clock=lambda: now[0], **options) as writer:
        for message in sent:
            writer.add_topic(message.topic, TEXT, qos)
            now[0] = message.stamp_ns * 1e-9
            writer.write(message.topic, message.stamp_ns, message.data)
    return folder


def read(path: Path) -> list[Message]:
    with BagReader(path) as bag:
        return list(bag.messages())


def test_trim_keeps_span_topics_facts_and_attachments(tmp_path: Path):
    sent = sorted(numbered(50) + numbered(50, '/other'), key=lambda one: one.stamp_ns)
    with BagWriter(tmp_path / 'bag', custom={'robot': 'sim'}) as writer:
        writer.attach('parameters/gate.yaml', b'gate: {}')
        for message in sent:
            writer.add_topic(message.topic, TEXT)
            writer.write(message.topic, message.stamp_ns, message.data)
    count = tools.trim(tmp_path / 'bag', tmp_path / 'piece', 1.0, 2.0, ['/text'])
    assert count == 10
    assert read(tmp_path / 'piece') == numbered(50)[10:20]
    with BagReader(tmp_path / 'piece') as piece:
        assert set(piece.topics) == {'/text'}
        assert piece.custom == {'robot': 'sim'}
        assert piece.attachments == {'parameters/gate.yaml': b'gate: {}'}


def test_trim_begins_with_what_a_latched_topic_last_said(tmp_path: Path):
    bag = write(tmp_path / 'bag', numbered(3), [LATCHED])
    tools.trim(bag, tmp_path / 'piece', 0.15)
    first, second = read(tmp_path / 'piece')
    assert first == Message('/text', SECOND + SECOND * 15 // 100, numbered(3)[1].data)
    assert second == numbered(3)[2]


def test_trim_of_a_torn_bag_keeps_its_last_message(tmp_path: Path, recorded):
    (tmp_path / 'bag_0.mcap').write_bytes(recorded[:-1])
    assert tools.trim(tmp_path / 'bag_0.mcap', tmp_path / 'piece') == 100
    assert read(tmp_path / 'piece') == numbered(100)


@pytest.mark.parametrize(
    ('places', 'start', 'end', 'clean'),
    [
        # Set back: of the stamps in between there are two moments.
        (('4.000', '3.000'), 0.0, 1.5, True),
        (('4.000', '3.000'), 0.0, 2.5, False),
        (('4.000', '3.000'), 2.5, 2.8, False),
        (('4.000', '3.000'), 3.5, None, True),
        # Set ahead: of these there is none.
        (('3.000', '4.000'), 0.0, 2.5, True),
        (('3.000', '4.000'), 1.0, 5.0, False),
        (('3.000', '4.000'), 2.5, None, True),
    ],
)
def test_a_part_without_the_place_where_the_clock_was_set_is_clean(
    tmp_path: Path, places, start, end, clean
):
    told = 'from {} s to {} s'.format(*places)
    bag = write(tmp_path / 'bag', numbered(60), custom={'clock_set': told, 'robot': 'sim'})
    tools.trim(bag, tmp_path / 'piece', start, end)
    with BagReader(tmp_path / 'piece') as piece:
        assert piece.custom == {'robot': 'sim'} | ({} if clean else {'clock_set': told})


@pytest.mark.parametrize(
    ('told', 'left'),
    [
        ('', ''),
        # What says no place may lie in the part.
        ('by hand', 'by hand'),
        (
            'from 2.000 s to 1.000 s; by hand; from 6.000 s to 5.000 s',
            'by hand; from 6.000 s to 5.000 s',
        ),
        (
            'from 2.000 s to 1.000 s or so; from 8.000 s to 7.000 s',
            'from 2.000 s to 1.000 s or so',
        ),
    ],
)
def test_a_part_is_told_what_of_several_may_have_happened_in_it(told, left):
    assert left_in_part(told, 3 * SECOND, 6 * SECOND) == left


@pytest.mark.parametrize(
    ('start', 'end'), [(-1.0, 1.0), (1.0, 1.0), (NAN, 1.0), (0.0, NAN), (0.0, INF), (INF, None)]
)
def test_trim_refuses_a_span_without_content(tmp_path: Path, start, end):
    bag = write(tmp_path / 'bag', numbered(3))
    with pytest.raises(BagError, match='expected 0 <= start < end'):
        tools.trim(bag, tmp_path / 'piece', start, end)


@pytest.mark.parametrize(
    ('start', 'end', 'said'),
    [(1e9, None, r'1e\+09 s to its end'), (0.01, 0.05, '0.01 s to 0.05 s')],
)
def test_trim_refuses_a_piece_without_a_message(tmp_path: Path, start, end, said):
    bag = write(tmp_path / 'bag', numbered(3), [LATCHED] if end is None else [])
    with pytest.raises(BagError, match=rf"\['/text'\] from {said}: expected a piece of its 0.2"):
        tools.trim(bag, tmp_path / 'piece', start, end)
    assert not (tmp_path / 'piece').exists()


def test_trim_names_a_topic_that_is_not_there(tmp_path: Path):
    bag = write(tmp_path / 'bag', numbered(3))
    with pytest.raises(BagError, match=r"no topic /image: expected one of \['/text'\]"):
        tools.trim(bag, tmp_path / 'piece', topics=['/image'])


def test_merge_refuses_no_bag(tmp_path: Path):
    with pytest.raises(BagError, match=r'no bag to put into .*both: expected one or more'):
        tools.merge([], tmp_path / 'both')
    assert not (tmp_path / 'both').exists()


def test_merge_orders_by_stamp(tmp_path: Path):
    one = write(tmp_path / 'one', numbered(30)[::2], custom={'robot': 'sim', 'of': 'one'})
    two = write(tmp_path / 'two', numbered(30)[1::2], custom={'robot': 'other'})
    assert tools.merge([one, two], tmp_path / 'both') == 30
    assert read(tmp_path / 'both') == numbered(30)
    with BagReader(tmp_path / 'both') as both:
        assert both.custom == {'robot': 'sim', 'of': 'one'}


@pytest.mark.parametrize(
    ('facts', 'said'),
    [
        ({'instruction': 'turn right', 'label': 'success'}, "'turn right': expected 'turn left'"),
        ({'instruction': 'turn left', 'label': 'failure'}, "'failure': expected 'success'"),
        ({'instruction': 'turn left'}, "label None: expected 'success'"),
        ({}, "instruction None: expected 'turn left'"),
    ],
)
def test_merge_gives_no_bag_the_instruction_or_label_of_another(tmp_path: Path, facts, said):
    shown = {'instruction': 'turn left', 'label': 'success'}
    one = write(tmp_path / 'one', numbered(3), custom=shown)
    two = write(tmp_path / 'two', numbered(3), custom=facts)
    with pytest.raises(BagError, match=f'two: .*{said}'):
        tools.merge([one, two], tmp_path / 'both')
    assert not (tmp_path / 'both').exists()
    again = write(tmp_path / 'again', numbered(3), custom=shown)
    assert tools.merge([one, again], tmp_path / 'both') == 6


def test_merge_refuses_a_topic_of_two_types(tmp_path: Path):
    one = write(tmp_path / 'one', numbered(3))
    with BagWriter(tmp_path / 'two') as writer:
        writer.add_topic('/text', 'std_msgs/msg/Bool')
    with pytest.raises(BagError, match=r'/text of type std_msgs/msg/Bool: expected .*String'):
        tools.merge([one, tmp_path / 'two'], tmp_path / 'both')
    assert not (tmp_path / 'both').exists()


def test_what_cannot_be_made_leaves_nothing_and_touches_nothing(tmp_path: Path):
    bag = write(tmp_path / 'bag', numbered(3))
    before = {path: path.read_bytes() for path in bag.iterdir()}
    with pytest.raises(BagError, match='no topic /image'):
        tools.trim(bag, tmp_path / 'piece', topics=['/image'])
    assert not (tmp_path / 'piece').exists()
    with pytest.raises(BagError, match='expected a new folder'):
        tools.trim(bag, bag)
    assert {path: path.read_bytes() for path in bag.iterdir()} == before


OLD = 'string data\nint32 since_removed\n'


def of_definition(folder: Path, topic: str, definition: str) -> Path:
    with BagWriter(folder) as writer:
        hashed = hash_of(TEXT, definition)
        writer.add_topic(topic, TEXT, definition=definition, type_hash=hashed)
        writer.write(topic, 1, bytes((0, 1, 0, 0)))
    return folder


def test_two_definitions_of_one_topic_are_never_put_under_one_of_them(tmp_path: Path):
    new = of_definition(tmp_path / 'new', '/text', Types().definition(TEXT))
    old = of_definition(tmp_path / 'old', '/text', OLD)
    expected = Types().type_hash(TEXT)
    with pytest.raises(BagError, match=f'old: topic /text .* another .*, expected {expected}'):
        tools.merge([new, old], tmp_path / 'both')
    (new / 'metadata.yaml').unlink()
    (old / 'old_0.mcap').rename(new / 'new_1.mcap')
    with pytest.raises(BagError, match=f'topic /text .* two definitions .*{expected}'):
        BagReader(new)


def test_merge_keeps_two_definitions_of_a_type_apart(tmp_path: Path):
    """One topic was recorded before its type was changed, the other one after."""
    of_definition(tmp_path / 'new', '/new', Types().definition(TEXT))
    of_definition(tmp_path / 'old', '/old', OLD)
    tools.merge([tmp_path / 'new', tmp_path / 'old'], tmp_path / 'both')
    with BagReader(tmp_path / 'both') as bag:
        assert bag.topics['/old'].definition == OLD
        assert bag.topics['/new'].definition == Types().definition(TEXT)
        assert len(list(bag.messages())) == 2


def test_a_type_that_is_installed_nowhere_survives_every_tool(tmp_path: Path):
    """Its definition and hash are those of the bag."""
    name, definition = 'far_msgs/msg/Away', 'int32 one\n'
    with BagWriter(tmp_path / 'bag') as writer:
        writer.add_topic('/far', name, definition=definition, type_hash=hash_of(name, definition))
        writer.write('/far', 1, b'\0\1\0\0\1\0\0\0')
    tools.trim(tmp_path / 'bag', tmp_path / 'piece')
    tools.merge([tmp_path / 'piece'], tmp_path / 'merged')
    tools.repair(tmp_path / 'merged', tmp_path / 'repaired')
    with BagReader(tmp_path / 'repaired') as bag:
        found = bag.topics['/far']
        assert (found.definition, found.type_hash) == (definition, hash_of(name, definition))


@pytest.fixture(scope='module')
def recorded(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = write(tmp_path_factory.mktemp('recorded') / 'bag', numbered(100))
    return (folder / 'bag_0.mcap').read_bytes()


@given(st.data())
def test_repair_loses_what_is_damaged_and_nothing_behind_it(tmp_path_factory, recorded, data):
    """Behind the first chunk, which names the topics."""
    at = data.draw(st.integers(2000, len(recorded) - 1))
    cut = data.draw(st.integers(at, len(recorded)))
    damaged = bytearray(recorded[:cut])
    damaged[at : at + 8] = data.draw(st.binary(min_size=8, max_size=8))
    folder = tmp_path_factory.mktemp('damaged')
    (folder / 'bag_0.mcap').write_bytes(damaged[:cut])
    done = tools.repair(folder, folder / 'repaired')
    found = read(folder / 'repaired')
    assert len(found) == done.messages
    assert set(found) <= set(numbered(100))
    (folder / 'bag_0.mcap').write_bytes(recorded[:cut])
    # Five or six messages are a chunk; a damaged place can lie across two.
    assert len(found) >= len(read(folder / 'bag_0.mcap')) - 12


def chunks(content: bytes) -> list[int]:
    """Return where the chunks of an MCAP file begin."""
    at, found = 8, []
    while at < len(content) - 8:
        if content[at] == 6:
            found.append(at)
        at += 9 + int.from_bytes(content[at + 1 : at + 9], 'little')
    return found


@pytest.mark.parametrize('which', ['header', 'chunk', 'index'])
@pytest.mark.parametrize('ahead', [1, 3])
def test_a_wrong_length_costs_nothing_of_what_it_jumps_over(
    tmp_path: Path, recorded, which, ahead
):
    begins = chunks(recorded)
    at = {'header': 8, 'chunk': begins[5], 'index': begins[6] - 9 - 54}[which]
    length = int.from_bytes(recorded[at + 1 : at + 9], 'little')
    assert recorded[at] == {'header': 1, 'chunk': 6, 'index': 7}[which]
    # Exactly to the end of a chunk that follows, or into the middle of one.
    target = begins[5 + ahead] - begins[5] + (30 if ahead == 3 else 0)
    if which == 'header':
        target += begins[5] - begins[0]
    damaged = bytearray(recorded)
    damaged[at + 1 : at + 9] = (length + target).to_bytes(8, 'little')
    (tmp_path / 'bag_0.mcap').write_bytes(damaged)
    done = tools.repair(tmp_path / 'bag_0.mcap', tmp_path / 'repaired')
    assert read(tmp_path / 'repaired') == numbered(100)
    # The chunk itself is saved by the length that it tells, and nothing is left out.
    assert (done.skipped == 0) if which == 'chunk' else (0 < done.skipped < 100)


def test_a_header_that_reaches_to_the_index_costs_no_message(tmp_path: Path, recorded):
    end = recorded.rindex(b'\x0f\x04' + bytes(7))
    damaged = bytearray(recorded)
    damaged[9:17] = (end - 17).to_bytes(8, 'little')
    (tmp_path / 'bag_0.mcap').write_bytes(damaged)
    assert tools.repair(tmp_path / 'bag_0.mcap', tmp_path / 'repaired').messages == 100


def test_one_chunk_behind_a_damaged_header_is_saved(tmp_path: Path):
    with BagWriter(tmp_path / 'bag', clock=lambda: 0.0) as writer:
        writer.add_topic('/text', TEXT)
        for message in numbered(20):
            writer.write(message.topic, message.stamp_ns, message.data)
    content = bytearray((tmp_path / 'bag' / 'bag_0.mcap').read_bytes())
    assert len(chunks(content)) == 1
    content[9] += 100
    (tmp_path / 'torn.mcap').write_bytes(content)
    done = tools.repair(tmp_path / 'torn.mcap', tmp_path / 'repaired')
    whole = (tmp_path / 'bag' / 'bag_0.mcap').read_bytes()
    assert (done.messages, done.skipped) == (20, chunks(whole)[0] - 8)
    content = content[: content.index(b'zstd') + 50]
    (tmp_path / 'torn.mcap').write_bytes(content)
    done = tools.repair(tmp_path / 'torn.mcap', tmp_path / 'none')
    assert (done.messages, done.skipped) == (0, len(content) - 8)


@pytest.mark.parametrize('channel', [1, 9])  # of the topic, and of none
def test_what_a_wrong_length_took_for_a_message_is_none(tmp_path: Path, channel):
    """It lies in the content of one: behind it nothing makes sense, and the chunk is found."""
    sent = numbered(20)
    likeness = struct.pack('<BQHIQQ', 5, 22 + 4, channel, 0, SECOND, SECOND) + b'\0\1\0\0'
    sent[7] = Message('/text', sent[7].stamp_ns, b'\0\1\0\0' + likeness + bytes(9))
    with BagWriter(tmp_path / 'bag', compress=False, clock=lambda: 0.0) as writer:
        writer.add_topic('/text', TEXT)
        for message in sent:
            writer.write(message.topic, message.stamp_ns, message.data)
    whole = (tmp_path / 'bag' / 'bag_0.mcap').read_bytes()
    damaged = bytearray(whole)
    damaged[9:17] = (whole.index(likeness) - 17).to_bytes(8, 'little')
    (tmp_path / 'torn.mcap').write_bytes(damaged)
    done = tools.repair(tmp_path / 'torn.mcap', tmp_path / 'repaired')
    assert done == tools.Repaired(20, chunks(whole)[0] - 8, 0)
    assert read(tmp_path / 'repaired') == sent


@pytest.mark.parametrize(
    ('told', 'expected'), [(0, 'at most 0'), (1 << 20, '1048576'), (1 << 40, 'at most')]
)
def test_a_chunk_that_tells_another_size_than_it_has_is_the_tear(
    tmp_path: Path, recorded, told, expected
):
    damaged = bytearray(recorded[:-1])
    at = chunks(recorded)[5] + 9 + 16  # behind its head and its times
    damaged[at : at + 8] = told.to_bytes(8, 'little')
    (tmp_path / 'bag_0.mcap').write_bytes(damaged)
    with BagReader(tmp_path / 'bag_0.mcap') as bag:
        assert f'bytes: expected {expected} ' in bag.problems[0]
        found = list(bag.messages())
    assert 0 < len(found) < 100
    assert found == numbered(100)[: len(found)]


def test_messages_of_a_topic_that_the_bag_does_not_say_are_counted(tmp_path: Path):
    path = tmp_path / 'other.mcap'
    with path.open('wb') as file:
        writer = Writer(file)
        writer.start('ros2', 'another')
        schema = writer.register_schema(TEXT, 'ros2msg', b'string data')
        known = writer.register_channel('/text', 'cdr', schema)
        for number, channel in enumerate((known, known + 1, known, known + 1, known)):
            writer.add_message(channel, number, numbered(1)[0].data, number)
        writer.finish()
    assert tools.repair(path, tmp_path / 'repaired') == tools.Repaired(3, 0, 2)


def test_a_chunk_without_checksum_whose_records_are_damaged_costs_itself_alone(tmp_path: Path):
    path = tmp_path / 'other.mcap'
    with path.open('wb') as file:
        writer = Writer(file, chunk_size=200, compression=CompressionType.NONE, enable_crcs=False)
        writer.start('ros2', 'another')
        schema = writer.register_schema('std_msgs/msg/String', 'ros2msg', b'string data')
        good = writer.register_channel('/good', 'cdr', schema)
        said = numbered(1)[0].data
        for number in range(40):
            if number == 20:
                bad = writer.register_channel('/broken', 'cdr', schema)
                writer.add_message(bad, number, said, number)
            writer.add_message(good, number, said, number)
        writer.finish()
    content = bytearray(path.read_bytes())
    content[content.index(b'/broken')] = 0xFF
    path.write_bytes(content)
    done = tools.repair(path, tmp_path / 'repaired')
    assert done.messages == 40
    assert done.skipped > 0


def test_a_wrong_bit_in_the_profile_is_damage(tmp_path: Path, recorded):
    damaged = bytearray(recorded)
    damaged[recorded.index(b'ros2')] ^= 1
    (tmp_path / 'bag_0.mcap').write_bytes(damaged)
    done = tools.repair(tmp_path / 'bag_0.mcap', tmp_path / 'repaired')
    assert (done.messages, done.skipped) == (100, 9 + 22)
    assert read(tmp_path / 'repaired') == numbered(100)


def test_repair_makes_a_bag_whole(tmp_path: Path, recorded):
    (tmp_path / 'bag').mkdir()
    (tmp_path / 'bag' / 'bag_0.mcap').write_bytes(recorded[: len(recorded) // 2])
    tools.repair(tmp_path / 'bag', tmp_path / 'repaired')
    with BagReader(tmp_path / 'repaired') as bag:
        assert not bag.torn
        assert bag.problems == []
        assert len(list(bag.messages())) == bag.topics['/text'].count > 40


def test_a_file_of_zeros_costs_none_of_the_others(tmp_path: Path, recorded):
    folder = tmp_path / 'bag'
    folder.mkdir()
    (folder / 'bag_0.mcap').write_bytes(recorded)
    (folder / 'bag_1.mcap').write_bytes(bytes(4096))
    with BagReader(folder) as bag:
        assert bag.torn
        assert any('bag_1.mcap is torn: begins with' in one for one in bag.problems)
        assert list(bag.messages()) == numbered(100)
    done = tools.repair(folder, tmp_path / 'repaired')
    assert (done.messages, done.skipped) == (100, 4096)
    with pytest.raises(BagError, match='expected MCAP'):
        tools.repair(folder / 'bag_1.mcap', tmp_path / 'none')


def test_repair_finds_what_lies_behind_a_damaged_beginning(tmp_path: Path, recorded):
    (tmp_path / 'bag').mkdir()
    (tmp_path / 'bag' / 'bag_0.mcap').write_bytes(bytes(4) + recorded[4:])
    assert tools.repair(tmp_path / 'bag', tmp_path / 'repaired').messages == 100
    assert read(tmp_path / 'repaired') == numbered(100)


def test_repair_says_what_it_cannot_do(tmp_path: Path):
    with pytest.raises(BagError, match=r'no \.mcap file'):
        tools.repair(tmp_path, tmp_path / 'repaired')


def test_description_has_every_topic_and_every_problem(tmp_path: Path, recorded):
    (tmp_path / 'bag_0.mcap').write_bytes(recorded[:-1])
    with BagReader(tmp_path) as bag:
        lines = tools.describe(bag).splitlines()
    assert [line for line in lines if line.startswith('/text ')] == [
        '/text       100    10.1 Hz  std_msgs/msg/String'
    ]
    assert sum(line.startswith('problem') for line in lines) == 2
    assert 'start     1970-01-01 00:00:01.000 UTC' in lines
