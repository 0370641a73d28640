"""Messages become traces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vla_interfaces.msg import ActionChunk, Decision
from vla_replay.bag.reader import BagReader
from vla_replay.errors import BagError
from vla_replay.messages import decisions_of, gather, recorded_trace
from vla_ros.conversion import to_time

BAG = Path(__file__).parent / 'data' / 'red_ball'


def chunk(stamp: int, *predicted: float) -> ActionChunk:
    return ActionChunk(
        names=['linear.x', 'angular.z'],
        units=['m/s', 'rad/s'],
        observation_stamp=to_time(stamp),
        predicted=predicted,
    )


def test_frames_without_an_answer_are_zeros_beside_answers():
    chunks = gather([chunk(1), chunk(2, 0.5, 0.1)], {1: 10, 2: 20}, {})
    assert list(chunks.frame) == [10, 20]
    assert chunks.data.tolist() == [[[0.0, 0.0]], [[0.5, 0.1]]]


def test_a_run_in_which_no_policy_was_asked_says_nothing_of_a_policy():
    with pytest.raises(BagError, match='2 chunks, none of them an answer of the policy'):
        gather([chunk(1), chunk(2)], {1: 1, 2: 2}, {})


def test_the_gripper_is_part_of_a_decision():
    decisions = decisions_of([Decision(gripper=0.25), Decision(gripper=float('nan'))], {})
    assert decisions.gripper[0] == 0.25
    assert np.isnan(decisions.gripper[1])


def test_of_a_live_drive_the_frames_of_a_part_count():
    with BagReader(BAG) as bag:
        every = recorded_trace(bag, {}, 0, 1 << 62).chunks
        first, last = int(every.frame[20]), int(every.frame[60])
        part = recorded_trace(bag, {}, first, last).chunks
        assert list(part.frame) == list(every.frame[20:61])
        assert np.array_equal(part.data, every.data[20:61])
        with pytest.raises(BagError, match='expected one'):
            recorded_trace(bag, {}, 1, 2)
