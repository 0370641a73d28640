"""Frames are inferred in time, and no more of them than are needed."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
import pytest

from vla_core.prefetch import MEMORY, Prefetch

MS = 1_000_000


def chosen(prefetch, frames):
    return [stamp for stamp in frames if prefetch.wants(stamp * MS)]


def test_every_frame_is_inferred_by_default():
    assert chosen(Prefetch(0.0), range(0, 400, 40)) == list(range(0, 400, 40))


def test_the_next_inference_begins_by_the_latency_that_was_measured():
    prefetch = Prefetch(0.4)
    assert chosen(prefetch, range(0, 500, 40)) == [0, 400]
    prefetch.restart()
    prefetch.record(0.1)
    assert chosen(prefetch, range(800, 1500, 40)) == [800, 1080, 1360]


def test_a_frame_that_would_have_to_wait_is_left_out_and_the_next_one_is_not():
    prefetch = Prefetch(0.0)
    assert prefetch.wants(0)
    assert not prefetch.wants(40 * MS, busy=True)
    assert prefetch.wants(80 * MS)


def test_a_frame_that_was_left_out_replaces_no_chunk():
    prefetch = Prefetch(0.4)
    prefetch.record(0.3)
    assert prefetch.wants(0)
    assert not prefetch.wants(80 * MS, busy=True)
    # Had it been taken, this one would come too soon after it.
    assert prefetch.wants(120 * MS)


def test_before_a_chunk_was_sent_no_latency_is_assumed():
    assert Prefetch(0.4).latency == 0.0


def test_an_outlier_counts_until_it_is_forgotten():
    prefetch = Prefetch(0.4)
    prefetch.record(0.3)
    for _ in range(MEMORY - 1):
        prefetch.record(0.1)
    assert prefetch.latency == 0.3
    prefetch.record(0.1)
    assert prefetch.latency == 0.1


@pytest.mark.parametrize('latency', [float('nan'), float('inf'), -1.0])
def test_an_impossible_latency_is_no_latency(latency):
    prefetch = Prefetch(0.4)
    prefetch.record(latency)
    assert prefetch.latency == 0.0


def test_a_stamp_that_goes_back_is_inferred():
    prefetch = Prefetch(0.4)
    assert chosen(prefetch, [1000, 1040, 0]) == [1000, 0]


@given(
    st.integers(1, 100),
    st.integers(0, 300),
    st.integers(0, 700),
)
def test_chunks_are_replaced_in_time(pause, latency, replan_after):
    """No chunk is older than asked when the next one comes, if that can be had at all."""
    prefetch = Prefetch(replan_after / 1000)
    prefetch.record(latency / 1000)
    stamps = chosen(prefetch, range(0, 5000, pause))
    for before, after in pairwise(stamps):
        assert after - before + latency <= max(replan_after, latency + pause)
