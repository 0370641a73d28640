"""Two runs held against each other, and their golden files."""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from rich.console import Console

from vla_core.gate.causes import Cause, State
from vla_core.types import Status
from vla_replay.compare import compare, Tolerance
from vla_replay.errors import BagError
from vla_replay.measuring_replay import differences
from vla_replay.report import draw, show, write_json, write_junit
from vla_replay.trace import Chunks, Decisions, load, save, Trace

NAMES, UNITS = ('linear.x', 'angular.z', 'gripper'), ('m/s', 'rad/s', '1')
COUNT, STEPS, TICKS = 20, 4, 60
BEGIN = 1_700_000_000_123_456_789


@pytest.fixture
def golden() -> Trace:
    random = np.random.default_rng(7)
    chunks = Chunks(
        names=NAMES,
        units=UNITS,
        texts=('', 'go to the red box', 'turn left'),
        frame=BEGIN + np.arange(COUNT) * 40_000_000,
        text=np.repeat([1, 2], COUNT // 2),
        status=np.full(COUNT, Status.RUNNING, dtype=np.uint8),
        data=random.normal(size=(COUNT, STEPS, len(NAMES))),
    )
    velocities = random.normal(size=(TICKS, 6))
    decisions = Decisions(
        state=np.full(TICKS, State.ACTIVE, dtype=np.uint8),
        cause=np.zeros(TICKS, dtype=np.uint8),
        frame=np.repeat(chunks.frame, TICKS // COUNT),
        step=np.tile([0, 1, 2], TICKS // 3),
        wanted=velocities,
        allowed=velocities * 0.9,
        published=velocities * 0.8,
        gripper=np.full(TICKS, np.nan),
    )
    return Trace({'recording': 'bag', 'policy': 'demo 12ab'}, chunks, decisions)


def failures(golden: Trace, found: Trace, **tolerance: float) -> dict[str, str]:
    checks = compare(golden, found, Tolerance(**tolerance))
    return {check.name: check.failure for check in checks if check.failure}


def with_data(trace: Trace, place: tuple[int, int, int], value: float) -> Trace:
    data = trace.chunks.data.copy()
    data[place] = value
    return replace(trace, chunks=replace(trace.chunks, data=data))


def test_a_run_is_equal_to_itself_and_to_its_file(golden: Trace, tmp_path: Path):
    assert failures(golden, golden) == {}
    save(golden, tmp_path / 'golden.npz')
    again = load(tmp_path / 'golden.npz')
    assert dict(again.facts) == dict(golden.facts)
    assert all(check.worst == 0.0 for check in compare(golden, again, Tolerance()))
    assert again.chunks.texts == golden.chunks.texts


@given(
    place=st.tuples(
        st.integers(0, COUNT - 1), st.integers(0, STEPS - 1), st.integers(0, len(NAMES) - 1)
    ),
    size=st.floats(1e-9, 10.0),
    limit=st.floats(1e-9, 10.0),
)
@pytest.mark.filterwarnings('ignore')
def test_a_difference_fails_exactly_when_it_is_over_the_limit_of_its_unit(place, size, limit):
    chunks = Chunks(
        NAMES,
        UNITS,
        ('',),
        BEGIN + np.arange(COUNT),
        np.zeros(COUNT, dtype=int),
        np.ones(COUNT, dtype=np.uint8),
        np.zeros((COUNT, STEPS, len(NAMES))),
    )
    golden = Trace({}, chunks)
    found = with_data(golden, place, -size)
    kind = ('linear', 'angular', 'other')[place[2]]
    others = {'linear': 1e-9, 'angular': 1e-9, 'other': 1e-9} | {kind: limit}
    told = failures(golden, found, **others)
    assert list(told) == ([f'chunk {NAMES[place[2]]}'] if size > limit else [])
    for text in told.values():
        stamp = BEGIN + place[0]
        assert f'step {place[1]} of frame {stamp // 10**9}.{stamp % 10**9:09d} ' in text
        assert f'({place[0] + 1} of {COUNT})' in text


def test_nan_is_never_within_a_tolerance(golden: Trace):
    told = failures(golden, with_data(golden, (3, 2, 1), np.nan), angular=1e6)
    assert list(told) == ['chunk angular.z']
    assert 'step 2 of frame 1700000000.243456789 (4 of 20)' in told['chunk angular.z']


def test_frames_without_a_pair_are_counted_and_named(golden: Trace):
    chunks = golden.chunks
    keep = np.arange(COUNT) != 5
    fewer = replace(
        golden,
        chunks=replace(
            chunks,
            **{name: getattr(chunks, name)[keep] for name in ('frame', 'text', 'status', 'data')},
        ),
    )
    told = failures(golden, fewer)
    assert told == {
        'frames without a pair': '1 of 20 frames have no pair, the first: frame '
        '1700000000.323456789 has a chunk in one run only'
    }
    assert failures(golden, fewer, unmatched=0.05) == {}


def test_a_live_drive_may_have_skipped_frames_but_not_its_replay(golden: Trace):
    live = replace(golden, decisions=None)
    keep = np.arange(COUNT) % 2 == 0
    columns = ('frame', 'text', 'status', 'data')
    half = replace(live.chunks, **{name: getattr(live.chunks, name)[keep] for name in columns})
    assert failures(replace(live, chunks=half), golden) == {}
    assert list(failures(live, replace(golden, chunks=half))) == ['frames without a pair']


def test_zeros_of_before_the_first_text_of_a_live_drive_are_left_out(golden: Trace):
    status = golden.chunks.status.copy()
    status[:5] = Status.DONE
    live = replace(golden, decisions=None, chunks=replace(golden.chunks, status=status))
    columns = ('frame', 'text', 'status', 'data')
    rest = {name: getattr(golden.chunks, name)[5:] for name in columns}
    found = replace(golden, chunks=replace(golden.chunks, **rest))
    assert failures(live, found) == {}
    idle = np.where(np.arange(COUNT) < 5, Status.IDLE, golden.chunks.status).astype(np.uint8)
    waiting = replace(golden, chunks=replace(golden.chunks, status=idle))
    assert failures(live, waiting) == {}
    status[3] = Status.RUNNING
    assert list(failures(live, found)) == ['frames without a pair']
    assert list(failures(live, waiting)) == ['frames without a pair']
    nothing = {name: column[:0] for name, column in rest.items()}
    found = replace(golden, chunks=replace(golden.chunks, **nothing))
    assert list(failures(live, found)) == ['frames without a pair']


def test_another_instruction_or_status_is_no_pair(golden: Trace):
    text = golden.chunks.text.copy()
    text[9] = 2
    other = replace(golden, chunks=replace(golden.chunks, text=text))
    assert "'go to the red box' RUNNING against 'turn left'" in ''.join(
        failures(golden, other).values()
    )
    # The same texts under other numbers are the same texts.
    renamed = replace(golden.chunks, texts=('', 'turn left', 'go to the red box'))
    renamed = replace(renamed, text=np.repeat([2, 1], COUNT // 2))
    assert failures(golden, replace(golden, chunks=renamed)) == {}
    status = golden.chunks.status.copy()
    status[0] = Status.DONE
    other = replace(golden, chunks=replace(golden.chunks, status=status))
    assert 'RUNNING against' in failures(golden, other)['frames without a pair']


def test_states_causes_frames_and_steps_must_be_equal(golden: Trace):
    assert golden.decisions is not None
    for name, value, said in (
        ('state', State.HOLD, 'HOLD, expected ACTIVE'),
        ('cause', Cause.CHUNK_LAPSED, 'CHUNK_LAPSED, expected NONE'),
        ('frame', 5, 'frame 0.000000005'),
        ('step', -1, '-1, expected 1'),
    ):
        array = getattr(golden.decisions, name).copy()
        array[40] = value
        found = replace(golden, decisions=replace(golden.decisions, **{name: array}))
        told = failures(golden, found, linear=1e9, angular=1e9)
        assert list(told) == [f'decision {name}']
        assert 'tick 40 (0.80 s)' in told[f'decision {name}']
        assert said in told[f'decision {name}']


def test_a_gripper_is_compared_and_two_robots_without_one_are_equal(golden: Trace):
    assert golden.decisions is not None
    assert failures(golden, golden) == {}
    held = np.linspace(0.0, 1.0, TICKS)
    closed = replace(golden, decisions=replace(golden.decisions, gripper=held))
    moved = held.copy()
    moved[40] += 0.5
    opened = replace(golden, decisions=replace(golden.decisions, gripper=moved))
    assert failures(closed, closed) == {}
    told = failures(closed, opened)
    assert list(told) == ['gripper']
    assert '0.5 1 apart at tick 40 (0.80 s)' in told['gripper']
    assert failures(closed, opened, other=0.6) == {}
    assert list(failures(golden, closed, other=1e9)) == ['gripper']


def test_a_shorter_run_is_told(golden: Trace):
    assert golden.decisions is not None
    fields = {name: array[:-3] for name, array in vars(golden.decisions).items()}
    found = replace(golden, decisions=Decisions(**fields))
    assert failures(golden, found) == {'ticks': '57 ticks: expected 60'}


def test_a_policy_with_other_axes_is_refused(golden: Trace):
    other = replace(golden.chunks, names=('linear.x', 'angular.z', 'hand'))
    with pytest.raises(BagError, match='hand'):
        compare(golden, replace(golden, chunks=other), Tolerance())


def test_a_track_of_a_constant_turn_is_a_circle(golden: Trace):
    assert golden.decisions is not None
    published = np.zeros((5000, 6))
    published[:, 0], published[:, 5] = 0.5, 0.5
    track = replace(golden.decisions, published=published).track()
    radius = np.hypot(track[:, 0], track[:, 1] - 1.0)
    assert np.abs(radius - 1.0).max() < 0.01
    assert track[-1, 2] == pytest.approx(50.0)


def test_reports_say_the_same_as_the_comparison(golden: Trace, tmp_path: Path):
    found = with_data(golden, (3, 2, 0), 9.0)
    checks = compare(golden, found, Tolerance())
    write_json(checks, golden, found, tmp_path / 'check.json')
    content = json.loads((tmp_path / 'check.json').read_text())
    assert content['passed'] is False
    assert [one['name'] for one in content['checks'] if one['failure']] == ['chunk linear.x']
    write_junit(checks, 'bag', tmp_path / 'check.xml')
    (suite,) = ET.parse(tmp_path / 'check.xml').getroot()
    assert (suite.get('tests'), suite.get('failures')) == (str(len(checks)), '1')
    (failure,) = suite.iter('failure')
    assert 'step 2 of frame 1700000000.243456789' in failure.get('message', '')
    draw(golden, found, tmp_path / 'tracks.png')
    assert (tmp_path / 'tracks.png').stat().st_size > 10_000
    console = Console(record=True, width=120)
    show(checks, golden, found, console)
    assert 'over' in console.export_text()


@pytest.mark.parametrize('content', [b'', b'no golden file', b'PK\x03\x04' + bytes(100)])
def test_a_file_that_is_no_golden_file_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / 'golden.npz'
    path.write_bytes(content)
    with pytest.raises(BagError, match='expected a golden file'):
        load(path)
    with pytest.raises(BagError, match='vla replay bless'):
        load(tmp_path / 'nothing.npz')


def test_a_cut_or_changed_golden_file_is_refused(golden: Trace, tmp_path: Path):
    path = tmp_path / 'golden.npz'
    save(golden, path)
    whole = path.read_bytes()
    for cut in range(0, len(whole), 997):
        path.write_bytes(whole[:cut])
        with pytest.raises(BagError):
            load(path)
    save(replace(golden, chunks=replace(golden.chunks, frame=golden.chunks.frame[::-1])), path)
    with pytest.raises(BagError, match='order of the frames'):
        load(path)
    with np.load(path) as file:
        arrays = dict(file)
    arrays['header'] = np.array([{'version': 1}], dtype=object)
    np.savez(path, **arrays)
    with pytest.raises(BagError, match='expected a golden file'):
        load(path)


def test_measurement_of_a_replay_finds_what_is_not_alike(golden):
    chunks = golden.chunks
    assert differences(golden, golden, 'x') == {
        'answers_compared_x': COUNT,
        'largest_difference_x': 0.0,
        'largest_share_unlike_x': 0.0,
    }
    elsewhere = replace(golden, chunks=replace(chunks, frame=chunks.frame + 1))
    assert differences(golden, elsewhere, 'x')['largest_difference_x'] == np.inf
    assert differences(golden, with_data(golden, (0, 0, 1), np.nan), 'x') == {
        'answers_compared_x': COUNT,
        'largest_difference_x': np.inf,
        'largest_share_unlike_x': 0.0,
    }
    done = replace(golden, chunks=replace(chunks, status=np.full(COUNT, Status.DONE, np.uint8)))
    assert differences(golden, done, 'x')['largest_share_unlike_x'] == 1.0
    states = replace(golden.decisions, state=np.full(TICKS, State.HOLD, np.uint8))
    stopped = replace(golden, decisions=states)
    assert differences(golden, stopped, 'x')['largest_share_unlike_x'] == 1.0
