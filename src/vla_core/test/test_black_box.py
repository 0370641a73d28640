"""The black box: what is kept, when it is written, what a bad disk and a torn file do to it."""

from dataclasses import replace
import errno
import json
import math
import os
from pathlib import Path
import threading

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from vla_core.black_box import writer as writing
from vla_core.black_box.record import (
    BlackBoxError,
    Header,
    header_line,
    line_of,
    Note,
    read,
    Step,
)
from vla_core.black_box.recorder import MAX_LINE, Recorder
from vla_core.black_box.writer import KEEP, MAX_WAITING, write_atomically, Writer
from vla_core.errors import VlaError

ZERO = (0.0,) * 6
STEP = Step(
    stamp_ns=0,
    tick=1,
    dt=0.02,
    state='ACTIVE',
    cause='NONE',
    causes=(),
    wanted=ZERO,
    allowed=ZERO,
    published=ZERO,
    speed_scale=1.0,
    gripper=math.nan,
    heartbeat_age=0.01,
    chunk_age=0.02,
    observation_age=0.03,
    odom_age=math.nan,
    observation_ns=5,
    policy_run=2**64 - 1,
    sequence=3,
    step_index=-1,
    instruction_id=1,
    chunk_status='RUNNING',
    errors_total=0,
    consecutive_errors=0,
)
NOTE = Note(7, 'TRANSITION', 'ACTIVE', 'ESTOP', 'ESTOP_INPUT', '', math.nan, math.inf, 'pressed')
HEADER = Header(
    'ESTOP: ESTOP_INPUT', 7, '2026-01-02', 'sim', 'one', {'linear.x': {'max_speed': 0.6}}
)


def recorder(**changes) -> Recorder:
    names = iter(f'file {number}' for number in range(1000))
    return Recorder(lambda: next(names), **changes)


def drive(box: Recorder, seconds: float, start: float = 0.0, **changes):
    """Feed 50 decisions a second; return the snapshots."""
    found = []
    for index in range(round(50 * seconds)):
        now = start + 0.02 * index
        step = replace(STEP, stamp_ns=round(now * 1e9), tick=index, **changes)
        found += [box.step(now, step), box.poll(now)]
    return [snapshot for snapshot in found if snapshot]


def stamps(snapshot) -> list[float]:
    return [json.loads(line)['stamp_ns'] * 1e-9 for line in snapshot.lines]


def same(one, other) -> bool:
    """Equal, where NaN equals NaN."""
    return repr(one) == repr(other)


# -- recorder


def test_driving_alone_writes_nothing():
    assert drive(recorder(), 30.0) == []


@pytest.mark.parametrize('state', ['ESTOP', 'FAULT'])
def test_the_last_ten_seconds_are_written_at_once_and_again_with_what_followed(state):
    box = recorder()
    drive(box, 20.0)
    first, second = drive(box, 3.0, start=20.0, state=state, cause='ESTOP_INPUT')
    assert (first.name, first.trigger) == ('file 0', f'{state}: ESTOP_INPUT')
    assert stamps(first)[-1] == pytest.approx(20.0)
    assert stamps(first)[0] <= 10.0
    assert second.name == first.name
    assert second.stamp_ns == first.stamp_ns == 20_000_000_000
    assert stamps(second)[0] == pytest.approx(10.0, abs=0.03)
    assert stamps(second)[-1] == pytest.approx(21.0, abs=0.03)


def test_a_gate_that_stays_latched_is_written_once_and_a_second_stop_again():
    box = recorder()
    drive(box, 1.0)
    assert len(drive(box, 30.0, start=1.0, state='ESTOP')) == 2
    drive(box, 1.0, start=31.0, state='STOPPED')
    assert [one.name for one in drive(box, 3.0, start=32.0, state='ESTOP')] == ['file 1'] * 2


def test_a_gate_found_latched_has_no_past_to_write():
    assert drive(recorder(), 5.0, state='ESTOP') == []


@pytest.mark.parametrize(('state', 'files'), [('ACTIVE', 1), ('MANUAL', 1), ('STOPPED', 0)])
def test_a_gate_that_falls_silent_where_it_could_move_is_written(state, files):
    box = recorder()
    drive(box, 5.0, state=state)
    found = [box.poll(5.0 + 0.1 * index) for index in range(100)]
    names = {one.name for one in found if one}
    assert len(names) == files
    assert all('SILENT' in one.trigger and state in one.trigger for one in found if one)


@pytest.mark.parametrize(('state', 'trigger'), [('HOLD', 'ENDED: in HOLD'), ('STOPPED', None)])
def test_the_end_of_the_process_writes_a_gate_that_could_move(state, trigger):
    box = recorder()
    drive(box, 2.0, state=state)
    found = box.close('ended')
    assert (found and (found.name, found.trigger)) == (trigger and ('ended', trigger))


def test_the_end_of_the_process_does_not_wait_for_the_aftermath():
    box = recorder()
    drive(box, 2.0)
    first = box.step(2.0, replace(STEP, state='ESTOP'))
    box.step(2.1, replace(STEP, state='ESTOP'))
    last = box.close('ended')
    assert last.name == first.name
    assert len(last.lines) == len(first.lines) + 1


def test_memory_is_bounded_whatever_the_rate():
    box = recorder(max_bytes=50_000)
    for index in range(5000):
        box.step(0.001 * index, STEP)
    lines = box.step(5.0, replace(STEP, state='ESTOP')).lines
    assert 45_000 < sum(map(len, lines)) <= 50_000
    assert box.held == len(lines)


def test_a_line_of_no_gate_is_left_out_and_counted():
    box = recorder()
    box.note(0.0, replace(NOTE, text='x' * MAX_LINE))
    box.step(0.1, STEP)
    assert box.skipped == 1
    assert len(box.step(0.2, replace(STEP, state='ESTOP')).lines) == 2


def test_a_clock_that_jumps_back_loses_nothing_new():
    box = recorder()
    drive(box, 5.0)
    assert len(drive(box, 1.0, start=1.0, state='ESTOP')[0].lines) == 251


# -- file


def write(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b'\n'.join((header_line(HEADER), *lines)) + b'\n')
    return path


def test_what_is_written_is_what_is_read(tmp_path):
    odd = replace(STEP, published=(math.nan, math.inf, -math.inf, 1e-300, 0.1, 5.0))
    recording = read(write(tmp_path / 'x', line_of(odd), line_of(NOTE), line_of(STEP)))
    assert recording.header == HEADER
    assert same(recording.steps, (odd, STEP))
    assert same(recording.notes, (NOTE,))
    assert recording.torn == ''


def test_every_line_is_json_that_any_tool_reads():
    def refuse(name):
        raise AssertionError(name)

    for line in (line_of(replace(STEP, dt=math.inf)), line_of(NOTE), header_line(HEADER)):
        assert b'\n' not in line
        json.loads(line, parse_constant=refuse)


def test_a_text_that_is_no_unicode_does_not_stop_the_record(tmp_path):
    line = line_of(replace(NOTE, text='a\ud800b\n"'))
    assert read(write(tmp_path / 'x', line)).notes[0].text == 'a?b\n"'


@given(cut=st.integers(0, 10_000))
def test_a_torn_file_is_readable_up_to_the_tear(tmp_path_factory, cut):
    path = tmp_path_factory.getbasetemp() / 'torn'
    write(path, *[line_of(replace(STEP, tick=tick)) for tick in range(8)])
    whole = path.read_bytes()
    cut = min(cut, len(whole))
    path.write_bytes(whole[:cut])
    complete = whole[:cut].count(b'\n')
    if cut < whole.index(b'\n'):
        with pytest.raises(BlackBoxError, match='line 1'):
            read(path)
        return
    recording = read(path)
    # A cut before a line's newline leaves the line whole.
    assert [step.tick for step in recording.steps][: complete - 1] == list(range(complete - 1))
    assert len(recording.steps) <= complete
    assert bool(recording.torn) == (
        whole[cut - 1 : cut] != b'\n' and whole[cut : cut + 1] != b'\n'
    )


def test_a_damaged_line_is_named_and_nothing_after_it_is_believed(tmp_path):
    lines = [line_of(STEP), b'{"kind":"step","stamp_ns":1.5}', line_of(STEP)]
    recording = read(write(tmp_path / 'x', *lines))
    assert len(recording.steps) == 1
    assert 'line 3' in recording.torn
    assert 'stamp_ns' in recording.torn


def test_lines_and_fields_of_a_newer_writer_are_passed_over(tmp_path):
    newer = {**json.loads(line_of(STEP)), 'colour': 'red'}
    lines = [b'{"kind":"smell","text":"burnt"}', json.dumps(newer).encode()]
    recording = read(write(tmp_path / 'x', *lines))
    assert len(recording.steps) == 1
    assert recording.torn == ''


@pytest.mark.parametrize(
    ('content', 'complaint'),
    [
        (b'', 'line 1'),
        (b'[]', 'expected a JSON object'),
        (b'{"format":"mcap","version":1}', "format ('mcap', 1)"),
        (b'{"format":"vla-black-box","version":2}', "format ('vla-black-box', 2)"),
        (b'\x80\x04\x95', 'line 1'),
        (b'[' * 100_000, 'line 1'),
    ],
)
def test_a_file_that_is_no_black_box_is_refused(tmp_path, content, complaint):
    path = tmp_path / 'x'
    path.write_bytes(content)
    with pytest.raises(BlackBoxError) as caught:
        read(path)
    assert complaint in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    'change',
    [
        {'stamp_ns': 10**400},
        {'stamp_ns': -(2**63) - 1},
        {'limits': {'linear.x': {'max_speed': 'inf'}}},
        {'limits': {'linear.x': {'max_speed': 'nan'}}},
    ],
)
def test_number_that_nothing_can_be_drawn_with_is_refused(tmp_path, change):
    path = tmp_path / 'x'
    path.write_text(json.dumps({**json.loads(header_line(HEADER)), **change}) + '\n')
    with pytest.raises(BlackBoxError, match='expected'):
        read(path)


def test_step_of_an_endless_number_is_a_tear(tmp_path):
    line = json.dumps({**json.loads(line_of(STEP)), 'tick': 2**64}).encode()
    recording = read(write(tmp_path / 'x', line_of(STEP), line))
    assert len(recording.steps) == 1
    assert 'line 3: tick has 65 bits: expected 64 at most' in recording.torn


def test_a_missing_and_an_endless_file_are_refused(tmp_path):
    with pytest.raises(BlackBoxError, match='No such file'):
        read(tmp_path / 'none')
    with (tmp_path / 'big').open('wb') as stream:
        stream.truncate(1 << 40)
    with pytest.raises(BlackBoxError, match='expected at most'):
        read(tmp_path / 'big')


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@settings(max_examples=60)
@given(
    st.dictionaries(st.sampled_from(['kind', *Step.__slots__]), VALUES),
    st.dictionaries(st.sampled_from([*vars(HEADER)]), VALUES),
)
def test_whatever_stands_in_a_file_is_read_or_refused(tmp_path_factory, step, header):
    path = tmp_path_factory.getbasetemp() / 'fuzz'
    first = {**json.loads(header_line(HEADER)), **header}
    line = {**json.loads(line_of(STEP)), **step}
    path.write_text(f'{json.dumps(first)}\n{json.dumps(line)}\n')
    try:
        recording = read(path)
    except VlaError:
        return
    assert all(len(one.published) == 6 for one in recording.steps)


# -- writer


class Disk:
    """A disk that does as its `behaviour` says, once per write."""

    def __init__(self, *behaviour):
        self.behaviour = list(behaviour)
        self.files: dict[str, tuple[bytes, ...]] = {}
        self.attempts = threading.Semaphore(0)
        self.held = threading.Event()

    def __call__(self, path, lines):
        lines = tuple(lines)
        act = self.behaviour.pop(0) if self.behaviour else None
        if act == 'slow':
            assert self.held.wait(20.0)
        self.attempts.release()
        if isinstance(act, int):
            raise OSError(act, os.strerror(act), str(path))
        self.files[path.name] = lines


@pytest.fixture
def make_writer(tmp_path):
    made = []

    def make(write, **changes) -> Writer:
        made.append(Writer(tmp_path / 'box', about, write=write, **changes))
        return made[-1]

    yield make
    for one in made:
        assert one.close(20.0)


def about(snapshot, written):
    return replace(HEADER, trigger=snapshot.trigger, written=written)


def stop(number: int = 0, lines: int = 3):
    return writing.Snapshot(f'robot-{number:03}', 'ESTOP: X', 7, (line_of(STEP),) * lines)


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
def test_a_disk_that_refuses_is_counted_and_tried_again(make_writer, code):
    disk = Disk(code, code)
    writer = make_writer(disk, retry=0.01)
    writer.submit(stop())
    for _ in range(3):
        assert disk.attempts.acquire(timeout=20.0)
    assert writer.close(20.0)
    assert (writer.written, writer.failed, writer.dropped) == (1, 2, 0)
    assert writer.error == ''
    assert list(disk.files) == ['robot-000.jsonl']


def test_a_refusal_is_said_while_it_lasts(make_writer):
    disk = Disk(errno.ENOSPC)
    writer = make_writer(disk, retry=1000.0)
    writer.submit(stop())
    assert disk.attempts.acquire(timeout=20.0)
    writer.close(20.0)
    # The end of the process is a further attempt.
    assert (writer.written, writer.failed) == (1, 1)


def test_a_slow_disk_holds_nobody_up_and_what_waits_is_bounded(make_writer):
    disk = Disk('slow')
    writer = make_writer(disk)
    for number in range(50):
        writer.submit(stop(number))
    assert len(writer._waiting) <= MAX_WAITING
    disk.held.set()
    assert writer.close(20.0)
    assert writer.dropped >= 50 - MAX_WAITING - 1
    assert f'robot-{49:03}.jsonl' in disk.files


def test_a_disk_that_never_answers_does_not_keep_the_process(tmp_path):
    disk = Disk('slow')
    writer = Writer(tmp_path, about, write=disk)
    writer.submit(stop())
    assert not writer.close(0.05)
    disk.held.set()
    assert writer.close(20.0)


def test_the_aftermath_replaces_the_first_file(make_writer, tmp_path):
    writer = make_writer(write_atomically)
    writer.submit(stop(lines=2))
    writer.submit(stop(lines=5))
    assert writer.close(20.0)
    assert [path.name for path in (tmp_path / 'box').iterdir()] == ['robot-000.jsonl']
    assert len(read(tmp_path / 'box' / 'robot-000.jsonl').steps) == 5


def test_a_real_folder_that_cannot_be_made_is_survived(tmp_path):
    (tmp_path / 'file').touch()
    writer = Writer(tmp_path / 'file' / 'box', about)
    writer.submit(stop())
    assert not writer.close(20.0)
    assert writer.failed >= 1
    assert 'Not a directory' in writer.error


def test_a_real_write_that_fails_half_way_leaves_no_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space'):
        write_atomically(tmp_path / 'x.jsonl', [b'1', b'2'])
    assert list(tmp_path.iterdir()) == []


def test_the_folder_keeps_the_newest_and_only_our_files(make_writer, tmp_path):
    folder = tmp_path / 'box'
    folder.mkdir()
    when = [f'20260101T0000{number:02}.000Z' for number in range(KEEP + 5)]
    others = ['notes.txt', 'robot-notes.jsonl', 'other-ended.jsonl', 'robot-one-ended.jsonl']
    others += [f'robot-one-{one}.jsonl' for one in when]
    for name in others:
        (folder / name).touch()
        os.utime(folder / name, (0, 0))
    for number, one in enumerate(when):
        path = folder / f'robot-{one}.jsonl'
        path.touch()
        os.utime(path, (number, number))
    writer = make_writer(write_atomically)
    newest = 'robot-20260102T000000.000Z'
    writer.submit(replace(stop(), name=newest))
    assert writer.close(20.0)
    names = sorted(path.name for path in folder.iterdir())
    expected = [f'robot-{one}.jsonl' for one in when[6:]]
    assert names == sorted([*others, f'{newest}.jsonl', *expected])


def test_an_old_file_that_stays_is_no_failure_of_the_new_one(make_writer, tmp_path, caplog):
    for number in range(KEEP):
        # A folder cannot be unlinked, by root either.
        (tmp_path / 'box' / f'robot-20260101T0000{number:02}.000Z.jsonl').mkdir(parents=True)
    writer = make_writer(write_atomically, retry=0.01)
    writer.submit(replace(stop(), name='robot-20260102T000000.000Z'))
    assert writer.close(20.0)
    assert (writer.written, writer.failed, writer.error) == (1, 0, '')
    assert 'an old file stays' in caplog.text
