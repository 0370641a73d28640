"""Spoiled messages are spoiled in every way, and what must not come of them is counted."""

import math
import random

from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Bool, String

from vla_cli.bench.garbling import garble, leaves, spoil
from vla_cli.bench.malformed import row
from vla_cli.bench.targets import COMPRESSED, TARGETS
from vla_cli.bench.victim import Count, Victim
from vla_core.gate.causes import State
from vla_interfaces.msg import ActionChunk, Decision

EVERY = (*TARGETS, COMPRESSED)
NONE = frozenset()


@pytest.mark.parametrize('target', EVERY, ids=lambda target: target.topic)
def test_every_type_is_spoiled_and_can_still_be_sent(target):
    good = target.message()
    before = repr(good)
    chance = random.Random(1)
    spoiled = [spoil(good, chance, NONE) for _ in range(60)]
    assert all(serialize_message(msg) for msg in spoiled)
    few = target.kind in (Bool, String)  # of one field
    assert len({repr(msg) for msg in spoiled} - {before}) > (0 if few else 10)
    assert repr(good) == before


@pytest.mark.parametrize('target', EVERY, ids=lambda target: target.topic)
def test_garbled_bytes_keep_the_encapsulation(target):
    good = target.message()
    before = serialize_message(good)
    chance = random.Random(1)
    garbled = [garble(good, chance, NONE) for _ in range(60)]
    assert {data[:4] for data in garbled} == {before[:4]}
    assert sum(data != before for data in garbled) > 30


def test_every_field_is_a_leaf_and_kept_ones_are_none():
    names = {leaf.name for leaf in leaves(ActionChunk())}
    assert {'sec', 'nanosec', 'frame_id', 'data', 'names', 'policy_run', 'status'} <= names
    assert 'policy_run' not in {
        leaf.name for leaf in leaves(ActionChunk(), frozenset({'policy_run'}))
    }


def test_numbers_become_odd_wherever_they_are():
    chance = random.Random(1)
    found = [spoil(Odometry(), chance, NONE) for _ in range(2000)]
    assert any(math.isnan(msg.twist.twist.linear.x) for msg in found)
    assert any(math.isinf(msg.pose.pose.orientation.w) for msg in found)
    # Of fixed length, as numpy holds it.
    assert any(math.isnan(msg.pose.covariance[0]) for msg in found)
    infos = [spoil(CameraInfo(d=[0.1] * 5), chance, NONE) for _ in range(2000)]
    assert any(math.isnan(msg.k[0]) for msg in infos)
    assert {len(msg.d) for msg in infos} >= {0, 2, 4, 5, 10}
    assert any(len(msg.header.frame_id) == 1_000_000 for msg in infos)


def test_kept_fields_survive_what_still_is_a_message():
    chance = random.Random(1)
    good = ActionChunk(policy_run=1234, names=['linear.x'] * 7, data=[0.1] * 56)
    keep = frozenset({'policy_run'})
    for _ in range(500):
        assert spoil(good, chance, keep).policy_run == 1234
    parsed = 0
    for _ in range(500):
        try:
            msg = deserialize_message(garble(good, chance, keep), ActionChunk)
        except Exception:  # noqa: S112
            continue
        parsed += 1
        assert msg.policy_run == 1234
    assert parsed > 50


class Heard:
    """A live graph of which only what was heard is left."""

    def __init__(self, *velocities: float, state: State = State.ACTIVE) -> None:
        self.twists = []
        self.decisions = []
        self.records = {7: 'a text'}
        self.malformed = ['no text']
        for number, velocity in enumerate(velocities):
            twist = Twist()
            twist.angular.z = velocity
            self.twists.append((float(number), twist))
            decision = Decision(state=int(state))
            decision.published = twist
            self.decisions.append(decision)

    def forget(self) -> None:
        self.twists.clear()
        self.decisions.clear()


@pytest.fixture
def victim(tmp_path):
    return Victim(tmp_path, 'hold', {})


def judged(victim: Victim, heard: Heard, decisions: bool = True) -> Count:
    victim.live = heard
    count = Count()
    victim.judge(count, decisions)
    # A malformed record may hold 1 MB.
    assert not [*heard.decisions, *heard.records, *heard.malformed]
    return count


@pytest.mark.parametrize('velocity', [math.nan, math.inf, -math.inf, 1.21, -5.0])
def test_command_beyond_a_limit_is_a_violation(victim, velocity):
    count = judged(victim, Heard(0.5, velocity, 0.0))
    assert (count.unbounded, count.bad, count.commands) == (1, 1, 3)


@pytest.mark.parametrize('state', [State.STOPPED, State.ESTOP, State.INIT, State.FAULT])
def test_command_of_a_gate_that_must_be_still_is_a_violation(victim, state):
    assert judged(victim, Heard(0.0, 0.1, state=state)).unarmed == 1
    assert judged(victim, Heard(0.0, 0.1, state=state), decisions=False).bad == 0


def test_command_counts_once_however_often_is_judged(victim):
    heard = Heard()
    heard.twists = [(0.0, Twist())] * 3
    assert judged(victim, heard).commands == 3
    assert judged(victim, heard).commands == 0


def test_drive_within_the_limits_is_none(victim):
    assert judged(victim, Heard(0.0, 0.6, 1.2, -1.2)).bad == 0


def test_row_of_a_type_keeps_its_promise_only_without_violations():
    clean = row(Count(violations=[0.0] * 5, moving=4), TARGETS[0], 'FIFO 10')
    assert clean.name == 'malformed_ActionChunk'
    assert clean.verdicts() == {'max': True}
    assert clean.notes['sent while the robot moved'] == '4 of 5'
    crashed = row(Count(violations=[0.0, 1.0], died=1), TARGETS[0], 'FIFO 10')
    assert crashed.verdicts() == {'max': False}
