"""Which row is due."""

from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st
import pytest

from vla_core.execution import PERIOD
from vla_core.gate.config import GateConfig
from vla_core.player import ChunkPlayer, Playback


def _playback(start=0.0, rows=4, until=10.0, **changes):
    return Playback(tuple(range(rows)), start, 0.1, until, **changes)


@pytest.mark.parametrize(
    ('now', 'expected'),
    [
        (-0.04, 0),
        (0.0, 0),
        (0.0999, 0),
        (0.1, 1),
        (0.1 + 0.2, 3),
        (0.3999, 3),
        (0.4, None),
        (5.0, None),
    ],
)
def test_row_is_held_during_its_step(now, expected):
    assert _playback().index(now) == expected


def test_nothing_is_due_when_the_observation_is_too_old():
    assert _playback(until=0.25).index(0.2) == 2
    assert _playback(until=0.25).index(0.25) is None


def test_newest_chunk_skips_to_now():
    player = ChunkPlayer()
    player.offer(_playback(0.0))
    assert player.due(0.05)[:2] == (0, 0)
    player.offer(_playback(-0.15, chunk_sequence=2))
    index, _, playback = player.due(0.06)
    assert (index, playback.chunk_sequence) == (2, 2)


def test_chunk_waits_until_it_is_ready_and_the_older_one_goes_on():
    player = ChunkPlayer()
    player.offer(_playback(0.0, chunk_sequence=1))
    player.offer(_playback(0.04, chunk_sequence=2, ready=0.06))
    assert player.due(0.04)[2].chunk_sequence == 1
    assert player.due(0.06)[2].chunk_sequence == 2


def test_chunk_per_step_outlasts_the_longest_latency():
    (latency,) = (field for field in fields(GateConfig) if field.name == 'lockstep_latency')
    longest = latency.metadata['parameter'].high
    player = ChunkPlayer()
    for step in range(200):
        now = step * PERIOD
        ready = now + longest
        player.offer(_playback(ready, until=1e9, ready=ready, chunk_sequence=step))
        due = player.due(now)
        assert due is None or due[2].chunk_sequence == step - round(longest / PERIOD)
    assert due is not None


def test_cleared_player_plays_nothing():
    player = ChunkPlayer()
    player.offer(_playback())
    player.clear()
    assert player.due(0.0) is None


@given(st.integers(0, 60), st.floats(0.01, 1.0), st.integers(1, 50))
def test_time_moves_through_the_rows_in_order(steps, step_dt, rows):
    playback = Playback(tuple(range(rows)), 0.0, step_dt, 1e9)
    expected = steps if steps < rows else None
    assert playback.index(steps * step_dt) == expected
