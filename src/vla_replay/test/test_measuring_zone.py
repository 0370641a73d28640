"""The recorded obstacle: what is played, and how the gate's answer is judged."""

import math
from pathlib import Path

from geometry_msgs.msg import Twist
import pytest
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import LaserScan

from vla_cli.bench.measurements import Setting
from vla_cli.graph import GraphError
from vla_replay.bag.reader import BagReader
from vla_replay.measuring_zone import Found, judge, recording, rows, zone_stop

MS = 1_000_000


def _twists(*speeds: float) -> list[tuple[int, float]]:
    return [(20 * MS * number, speed) for number, speed in enumerate(speeds)]


def test_stop_and_hold_count_from_the_scan_that_shows_the_obstacle():
    twists = _twists(0.0, 0.1, 0.2, 0.2, 0.1, 0.0, 0.0, 0.0)
    found = judge(twists, 0, obstacle_ns=61 * MS, let_go_ns=200 * MS)
    assert found.stop == pytest.approx(0.039)
    assert (found.held, found.moving) == (3, 0)
    assert (found.driven, found.stopped) == (3, 0)


def test_a_robot_that_moves_on_behind_the_stop_is_not_held():
    twists = _twists(0.2, 0.2, 0.0, 0.1, 0.0)
    found = judge(twists, 0, obstacle_ns=25 * MS, let_go_ns=200 * MS)
    assert (found.held, found.moving) == (3, 1)


def test_a_stop_before_the_obstacle_is_false():
    twists = _twists(0.2, 0.0, 0.2, 0.0)
    assert judge(twists, 0, obstacle_ns=50 * MS, let_go_ns=200 * MS).stopped == 1
    clean = judge(twists, 0, obstacle_ns=None, let_go_ns=70 * MS)
    assert (clean.driven, clean.stopped) == (4, 2)
    assert math.isnan(clean.stop)


def test_the_end_of_the_play_before_is_not_driving():
    twists = _twists(0.1, 0.0, 0.0, 0.2, 0.2, 0.0)
    found = judge(twists, 50 * MS, obstacle_ns=90 * MS, let_go_ns=200 * MS)
    assert (found.driven, found.stopped) == (2, 0)


def test_a_robot_that_never_stops_is_told_and_one_that_never_moves_is_an_error():
    assert judge(_twists(0.2, 0.2), 0, obstacle_ns=10 * MS, let_go_ns=200 * MS).stop == math.inf
    with pytest.raises(GraphError, match='did not get the robot to move'):
        judge(_twists(0.0, 0.0), 0, obstacle_ns=10 * MS, let_go_ns=200 * MS)


@pytest.mark.parametrize(
    ('found', 'broken'),
    [
        (Found(0.01, 100, 0, 50, 0), set()),
        (Found(0.31, 100, 0, 50, 0), {'max'}),
        (Found(0.01, 100, 1, 50, 0), {'not held, share'}),
        (Found(0.01, 100, 0, 50, 1), {'false stops'}),
    ],
)
def test_each_promise_is_judged(found, broken):
    clean = Found(math.nan, 0, 0, 80, 0)
    (row,) = rows([found, clean], 'nice')
    assert len(row.samples) == 1
    assert row.notes['clean recordings'] == 1
    assert {name for name, kept in row.verdicts().items() if not kept} == broken


@pytest.mark.parametrize('obstacle_at', [4.25, None])
def test_recording_shows_the_obstacle_from_its_moment_on(tmp_path: Path, obstacle_at):
    recording(tmp_path / 'drive', obstacle_at)
    near, person = [], []
    with BagReader(tmp_path / 'drive') as bag:
        for message in bag.messages():
            at = message.stamp_ns * 1e-9 - 1.0
            if message.topic == '/scan':
                scan = deserialize_message(message.data, LaserScan)
                if min(scan.ranges) < 1.0:
                    near.append(at)
            elif message.topic == '/cmd_vel_human':
                assert deserialize_message(message.data, Twist).linear.x == 0.2
                person.append(at)
    assert bool(near) == (obstacle_at is not None)
    if obstacle_at is not None:
        assert obstacle_at <= near[0] < obstacle_at + 0.1
        # The person drives on to the end: what is held is held against somebody.
        assert person[-1] > near[-1] - 0.1


@pytest.mark.slow
def test_recorded_obstacle_stops_the_robot_and_a_clean_recording_does_not(tmp_path, figures):
    (row,) = zone_stop(Setting('hold', tmp_path), 5)
    figures(row.line())
    assert len(row.samples) == 4
    assert row.notes['clean recordings'] == 1
    assert row.notes['not held, share'] == 0.0
    assert row.notes['false stops'] == 0
