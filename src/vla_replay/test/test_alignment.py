"""Frames, commands and instructions by time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from vla_core.session import Fate
from vla_replay.conversion.alignment import choose_frames, Said, Segment, segments, Series
from vla_replay.errors import BagError

MS = 10**6
BEGIN = 1_700_000_000 * 10**9
times = st.lists(st.integers(0, 5_000), max_size=30)


@given(samples=times, asked=times, max_age=st.floats(0.01, 2.0))
def test_what_holds_is_the_newest_that_is_not_too_old(
    samples: list[int], asked: list[int], max_age: float
):
    series = Series.of(((BEGIN + at * MS, (float(at),)) for at in samples), 1)
    found = series.at(np.array([BEGIN + at * MS for at in asked], dtype=np.int64), max_age)
    for at, (value,) in zip(asked, found, strict=True):
        newest = max((one for one in samples if one <= at), default=None)
        if newest is None or (at - newest) / 1e3 > max_age:
            assert np.isnan(value)
        else:
            assert value == newest


def test_an_instruction_holds_until_its_end_or_the_next_one():
    records = [
        Said(10, 1, 'a', Fate.RUNNING),
        Said(20, 1, 'a', Fate.RUNNING),
        Said(30, 1, 'a', Fate.DONE),
        Said(40, 2, 'b', Fate.RUNNING),
        Said(50, 3, 'c', Fate.RUNNING),
        Said(50, 2, 'b', Fate.REPLACED),
        Said(60, 4, 'nonsense', Fate.REFUSED),
        Said(70, 3, 'c', Fate.STOPPED),
        Said(80, 5, 'd', Fate.RUNNING),
    ]
    assert segments(records, 100) == [
        Segment('a', 10, 30, 'DONE'),
        Segment('b', 40, 50, 'REPLACED'),
        Segment('c', 50, 70, 'STOPPED'),
        Segment('d', 80, 100, 'UNFINISHED'),
    ]


def test_another_run_of_the_policy_ends_what_runs_though_its_numbers_are_the_same():
    records = [
        Said(10, 1, 'a', Fate.RUNNING, run=7),
        Said(50, 1, 'b', Fate.RUNNING, run=8),
        Said(90, 1, 'b', Fate.DONE, run=8),
    ]
    assert segments(records, 100) == [
        Segment('a', 10, 50, 'UNFINISHED'),
        Segment('b', 50, 90, 'DONE'),
    ]


@given(
    gaps=st.lists(st.integers(1, 400), min_size=2, max_size=80),
    share=st.floats(0.02, 1.0),
    begin=st.integers(0, 500),
    length=st.integers(1, 6_000),
)
def test_chosen_frames_are_even_fresh_and_inside(
    gaps: list[int], share: float, begin: int, length: int
):
    stamps = BEGIN + np.cumsum(gaps, dtype=np.int64) * MS
    fps = share * 1e3 / float(np.median(gaps[1:]))
    segment = Segment('a', BEGIN + begin * MS, BEGIN + (begin + length) * MS, '')
    runs = choose_frames(stamps, segment, fps)
    chosen = np.concatenate(runs) if runs else np.array([], dtype=int)
    assert (np.diff(chosen) >= 0).all()
    inside = (stamps >= segment.begin_ns) & (stamps < segment.end_ns)
    assert set(chosen) <= set(np.flatnonzero(inside))
    if inside.any():
        assert chosen[0] == np.flatnonzero(inside)[0]
        assert len(chosen) <= (segment.end_ns - stamps[chosen[0]]) / 1e9 * fps + 1
    for run in runs:
        # Within a run no moment is farther than 1.5 spacings from its frame.
        steps = np.diff(stamps[run]) / 1e9 * fps
        assert (steps <= 2.5 + 1e-6).all()


def test_a_gap_ends_a_run():
    stamps = BEGIN + np.array([0, 100, 200, 900, 1000, 1100]) * MS
    runs = choose_frames(stamps, Segment('a', BEGIN, BEGIN + 1150 * MS, ''), 10.0)
    assert [list(run) for run in runs] == [[0, 1, 2, 2], [3, 4, 5]]


def test_only_frames_that_may_be_chosen_are():
    stamps = BEGIN + np.arange(20) * 100 * MS
    even = np.arange(20) % 2 == 0
    (run,) = choose_frames(stamps, Segment('a', BEGIN, BEGIN + 2000 * MS, ''), 10 / 3, even)
    assert run.tolist() == [0, 2, 6, 8, 12, 14, 18]


def test_a_clock_that_was_set_is_named_and_costs_no_memory():
    stamps = np.array([100, 101, 1_780_000_000], dtype=np.int64) * 10**9
    segment = Segment('a', int(stamps[0]), int(stamps[-1]) + 1, '')
    with pytest.raises(BagError, match=r'no frame for 1779999899\.0 s, 1\.000 s after the first'):
        choose_frames(stamps, segment, 10.0)
    # What lies behind the last frame is no gap between frames.
    runs = choose_frames(stamps[:2], segment, 1.0)
    assert [list(run) for run in runs] == [[0, 1, 1]]


def test_more_frames_than_the_camera_took_are_refused():
    # A camera of 30 Hz on a busy machine: 5 ms of jitter, and a frame in twenty is lost.
    draw = np.random.default_rng(0)
    there = draw.random(200) > 0.05
    ideal = np.arange(200) * 1e9 / 30 + draw.normal(0.0, 5 * MS, 200)
    stamps = BEGIN + np.sort(ideal[there]).astype(np.int64)
    segment = Segment('a', int(stamps[0]), int(stamps[-1]) + 1, '')
    assert sum(map(len, choose_frames(stamps, segment, 30.0))) > 180
    with pytest.raises(BagError, match=r'camera took [23]\d\.\d frames per second: .* not 40$'):
        choose_frames(stamps, segment, 40.0)
    # Of one frame nobody knows a rate.
    assert [list(run) for run in choose_frames(stamps[:1], segment, 40.0)] == [[0, 0]]


@pytest.mark.parametrize('fps', [0.0, -1.0, float('nan'), float('inf')])
def test_a_rate_that_is_none_is_refused(fps: float):
    with pytest.raises(BagError, match='expected a positive number'):
        choose_frames(np.array([BEGIN]), Segment('a', BEGIN, BEGIN + 1, ''), fps)
