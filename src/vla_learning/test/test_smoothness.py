"""Pilot, gates and simulator in one process."""

import json
import sys

import pytest

from vla_core.errors import VlaError
from vla_learning.sim import smoothness


@pytest.fixture(scope='module')
def rows():
    return {row['name']: row for row in smoothness.measure('demo', 400)}


def test_a_drive_gives_a_row_of_each_axis_and_of_the_steps(rows):
    assert list(rows) == ['commanded_jerk_linear', 'commanded_jerk_angular', 'splice_step']
    assert len(rows['splice_step']['samples']) == 400
    assert rows['splice_step']['notes']['chunk boundaries'] >= 150


def test_the_robot_moves_and_jerks_less_than_by_first_actions(rows):
    for axis in ('linear', 'angular'):
        notes = rows[f'commanded_jerk_{axis}']['notes']
        assert 0.0 < notes['rms'] < notes['rms of the first action alone']


def test_no_chunk_asks_for_more_than_acceleration_allows(rows):
    row = rows['splice_step']
    assert not any(row['samples'])
    assert row['notes']['steps beyond it that a chunk asked of the gate'] == 0


def test_the_same_drive_gives_the_same_rows(rows):
    again = smoothness.measure('demo', 150)[1]['samples']
    assert again == rows['commanded_jerk_angular']['samples'][: len(again)]


def test_a_policy_that_never_moves_is_no_figure():
    with pytest.raises(VlaError, match=r'20 commands: expected so many that linear moves'):
        smoothness.measure('hold', 20)


def test_command_prints_rows_for_the_benchmark(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['smoothness', 'demo', '20'])
    monkeypatch.setattr(smoothness, 'measure', lambda *asked: [{'asked': asked}])
    assert smoothness.main() == 0
    assert json.loads(capsys.readouterr().out) == [{'asked': ['demo', 20]}]


def test_unknown_policy_ends_with_what_is_wrong(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['smoothness', 'nobody', '20'])
    assert smoothness.main() == 1
    assert "'nobody'" in capsys.readouterr().err
