"""One chunk after the other without a jerk."""

from collections import deque
from dataclasses import replace
from itertools import pairwise
import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from vla_core.execution import Blending, Execution, OVERLAPS, PERIOD
from vla_core.gate.limits import approach, clamp, Limits
from vla_core.player import ChunkPlayer, Playback
from vla_core.policy import native_spec
from vla_core.robot import AxisConfig, RobotConfig
from vla_core.types import Representation

S = 1_000_000_000
STEP_NS = round(PERIOD * S)
ACCEL, DECEL = 1.0, 1.5
#: Rows until a frame is too old to be played, and one.
SENT = 31
ROBOT = RobotConfig(
    'robot',
    (
        AxisConfig(0.6, ACCEL, DECEL, 'linear.x'),
        *(None,) * 4,
        AxisConfig(1.2, 3.0, 3.0, 'angular.z'),
    ),
    False,
    True,
    'LOCALHOST',
)
SPEC = replace(
    native_spec('fake'),
    action_names=('linear.x', 'angular.z', 'gripper'),
    action_units=('m/s', 'rad/s', '1'),
    action_scale=(1.0,) * 3,
)
GAIN, LOSS = (np.array([forward, 3.0]) * PERIOD + 1e-9 for forward in (ACCEL, DECEL))
ACTIONS = st.lists(
    st.lists(st.floats(-1.0, 1.0, allow_subnormal=False), min_size=3, max_size=3),
    min_size=8,
    max_size=8,
).map(np.array)
FRAMES = st.lists(st.tuples(ACTIONS, st.integers(1, 30), st.booleans()), min_size=1, max_size=8)


def steps_are_allowed(rows):
    """Say whether rows [K, 2] speed up and slow down as the robot may, also through zero."""
    before, after = rows[:-1], rows[1:]
    slower = np.where(before * after < 0.0, np.abs(before), np.abs(before) - np.abs(after))
    faster = np.where(before * after < 0.0, np.abs(after), np.abs(after) - np.abs(before))
    return bool((slower <= LOSS).all() and (faster <= GAIN).all())


def constant(forward=0.0, turn=0.0, gripper=0.5):
    return np.tile([forward, turn, gripper], (8, 1))


def execution(**options):
    return Execution(SPEC, ROBOT, Blending(**options))


def settle(made, actions, until_ns=4 * S, every=2):
    """Answer frames with the same chunk until the command no longer changes."""
    for stamp in range(0, until_ns + 1, every * STEP_NS):
        start, rows = made.follow(made.velocities(actions), stamp, stamp)
    return start, rows


@pytest.mark.parametrize('overlap', OVERLAPS)
@given(frames=FRAMES, splice_time=st.floats(0.02, 1.0))
@settings(max_examples=25)
def test_no_step_is_larger_than_acceleration_allows(overlap, frames, splice_time):
    """Over chunk boundaries too, whatever the policy says, as the gate's player plays it."""
    made = execution(overlap=overlap, splice_time=splice_time)
    player, played, tick = ChunkPlayer(), [], 0
    for sequence, (actions, ticks, rest) in enumerate(frames):
        stamp = tick * STEP_NS
        if rest:
            made.rest(stamp)
            player.clear()
        else:
            start, rows = made.follow(made.velocities(actions), stamp, stamp)
            player.offer(Playback(tuple(rows), start / S, PERIOD, 1e9, chunk_sequence=sequence))
        for _ in range(ticks):
            due = player.due(tick * PERIOD)
            played.append(due[1][:2] if due else None)
            tick += 1
    for before, after in pairwise(played):
        if before is not None and after is not None:
            assert steps_are_allowed(np.array([before, after]))


@pytest.mark.parametrize('overlap', OVERLAPS)
@given(frames=FRAMES, pause=st.integers(1, 120), latency=st.integers(0, 300))
@settings(max_examples=25)
def test_a_chunk_begins_where_the_robot_is_told_to_be(overlap, frames, pause, latency):
    """Also between the gate's steps, and for frames that come and are answered at any time."""
    made = execution(overlap=overlap)
    told = None
    for number, (actions, _, _) in enumerate(frames):
        stamp = number * pause * S // 1000
        now = stamp + latency * S // 1000
        start, rows = made.follow(made.velocities(actions), stamp, now)
        assert start <= now < start + STEP_NS
        assert steps_are_allowed(rows[:, :2])
        if told is not None:
            expected = told.rows[told.index(now / S)]
            np.testing.assert_allclose(rows[0, :2], expected[:2], atol=1e-9)
        told = Playback(tuple(rows), start / S, PERIOD, 1e9)


#: Deltas of 1/20 s end between two rows of the gate.
DELTAS = replace(
    SPEC,
    horizon=1,
    step_dt=0.05,
    representation=Representation.DELTA,
    action_names=('linear.x', 'angular.z'),
    action_units=('m', 'rad'),
    action_scale=(1.0,) * 2,
)


def sloped(speeds):
    """Return a plan with these forward speeds, [8, 3]."""
    return np.stack([speeds, np.zeros(8), np.full(8, 0.5)], axis=1)


def driven(made, answer, rate, latency, seconds):
    """Let the gate play what a policy answers to its frames: [ticks, 2] as published.

    Args:
        made: what brings the answers to the gate.
        answer: time of a frame in s -> actions.
        rate: frames per s.
        latency: s, shortest and longest.
        seconds: how long.
    """
    limits = Limits((0.6, 1.2), (ACCEL, 3.0), (DECEL, 3.0))
    draw, player, published = random.Random(1), ChunkPlayer(), [(0.0, 0.0)]
    frames = [round(number * S / rate) for number in range(int(seconds * rate))]
    answered = deque(
        sorted((stamp + round(draw.uniform(*latency) * S), stamp) for stamp in frames)
    )
    for tick in range(round(seconds / PERIOD)):
        while answered and answered[0][0] <= tick * STEP_NS:
            now, stamp = answered.popleft()
            chunk = made.velocities(answer(stamp / S))
            start, rows = made.follow(chunk, stamp, now)
            player.offer(Playback(tuple(rows), start / S, PERIOD, 1e9, chunk_sequence=now))
        due = player.due(tick * PERIOD)
        wanted = clamp(tuple(due[1][:2]) if due else (0.0, 0.0), limits.speed)
        published.append(approach(published[-1], wanted, limits, PERIOD))
    return np.array(published)


PACES = [
    *((30, (0.012, 0.032)), (30, (0.0202, 0.025)), (60, (0.0202, 0.023))),
    *((60, (0.0005, 0.0032)), (90, (0.001, 0.008)), (10, (0.05, 0.15)), (200, (0.001, 0.002))),
]


@pytest.mark.parametrize(('rate', 'latency'), PACES)
@pytest.mark.parametrize('asked', [0.3, 0.6, 1.0])
def test_robot_follows_at_any_pace_and_brakes_soon_whatever_was_asked_for(rate, latency, asked):
    speeds = driven(
        execution(), lambda at: constant(asked if at < 3.0 else 0.0), rate, latency, 5.0
    )[:, 0]
    turned = round(3.0 / PERIOD)
    cruise = min(asked, 0.6)
    assert speeds[turned] == pytest.approx(cruise, abs=1e-3)
    begun = 1 / rate + latency[1] + 3 * PERIOD
    assert speeds[turned + round(begun / PERIOD) + 1] < cruise - 1e-3
    # The splice brakes as the gate would, but for its gentle ends; it swings a little.
    stopped = begun + 1.5 * cruise / ACCEL + 0.2
    assert np.abs(speeds[turned + round(stopped / PERIOD) :]).max() < 0.03


@pytest.mark.parametrize(('rate', 'latency'), PACES)
@pytest.mark.parametrize('overlap', OVERLAPS)
def test_plan_that_slows_down_is_followed_where_it_begins(overlap, rate, latency):
    plan = sloped(np.linspace(0.4, 0.05, 8))
    made = execution(overlap=overlap, splice_time=0.1)
    speeds = driven(made, lambda _: plan, rate, latency, 4.0)[:, 0]
    assert speeds.min() >= 0.0
    # The mean of plans holds on to their ends.
    least = 0.25 if overlap == 'latest' else 0.1
    assert ((least <= speeds[100:]) & (speeds[100:] <= 0.4)).all()


@given(
    frames=st.lists(
        st.tuples(st.lists(st.floats(0.0, 1.0), min_size=8, max_size=8), st.integers(1, 30)),
        min_size=1,
        max_size=8,
    ),
    backward=st.booleans(),
    splice_time=st.floats(0.02, 1.0),
    latency=st.integers(0, 300),
)
def test_robot_goes_no_way_that_no_plan_goes(frames, backward, splice_time, latency):
    """However steep the plans are, and whatever it does when one begins."""
    made, way, tick = execution(splice_time=splice_time), -1.0 if backward else 1.0, 0
    for speeds, ticks in frames:
        stamp = tick * STEP_NS
        plan = sloped(way * np.array(speeds))
        _, rows = made.follow(made.velocities(plan), stamp, stamp + latency * S // 1000)
        assert (way * rows[:, 0] >= 0.0).all()
        tick += ticks


@pytest.mark.parametrize('late', [0.03, 0.1])
@pytest.mark.parametrize('steps', [2, 3, 4])
@pytest.mark.parametrize('first', [0.0, -0.6])
def test_what_a_plan_does_first_is_not_left_out(first, steps, late):
    """A robot at full speed, told again and again to stop or turn back before it goes on."""
    plan = sloped(np.where(np.arange(8) < steps, first, 0.6))

    def answer(at):
        return plan if at > 2.0 else constant(0.6)

    made = execution(splice_time=0.1)
    speeds = driven(made, answer, 30, (late, late), 5.0)[:, 0]
    assert speeds[100] == pytest.approx(0.6, abs=1e-3)
    assert speeds[-1] < 0.1
    assert first == 0.0 or speeds[-1] < -0.1


@pytest.mark.parametrize('rate', [10, 20, 30])
def test_deltas_that_end_between_two_rows_are_no_slower(rate):
    made = Execution(DELTAS, ROBOT, Blending(splice_time=0.1))
    speeds = driven(made, lambda _: np.array([[0.01, 0.0]]), rate, (0.005, 0.01), 3.0)[:, 0]
    assert speeds.min() >= 0.0
    if rate > 10:  # slower frames leave it without a plan for half of the time
        np.testing.assert_allclose(speeds[100:], 0.2, atol=1e-6)


def test_plan_asks_for_no_more_than_the_robot_can_along_the_same_arc():
    rows = settle(execution(), constant(1.0, 1.0))[1]
    np.testing.assert_allclose(rows[:, 0], 0.6, atol=1e-6)
    np.testing.assert_allclose(rows[:, 1], 0.6, atol=1e-6)
    assert set(rows[:, 2]) == {0.5}


@pytest.mark.parametrize('overlap', OVERLAPS)
def test_the_command_arrives_at_what_is_asked_for(overlap):
    rows = settle(execution(overlap=overlap), constant(0.4, -0.8))[1]
    np.testing.assert_allclose(rows, np.tile([0.4, -0.8, 0.5], (SENT, 1)), atol=1e-6)


def test_the_command_goes_over_in_the_splice_time_where_acceleration_allows():
    made = execution(splice_time=0.2)
    rows = made.follow(made.velocities(constant(0.05)), 0, 0)[1]
    assert rows[0, 0] == 0.0
    assert rows[5, 0] == pytest.approx(0.025)
    assert (rows[10:, 0] == 0.05).all()


def test_a_splice_that_would_be_too_steep_takes_longer():
    made = execution(splice_time=0.1)
    rows = made.follow(made.velocities(constant(0.4)), 0, 0)[1]
    changes = np.diff(rows[:, 0]) / PERIOD
    assert changes.max() == pytest.approx(ACCEL, rel=0.01)
    assert changes[:3].max() < 0.5 * ACCEL, 'it begins gently'
    assert rows[30, 0] == pytest.approx(0.4)


def test_a_speed_that_the_robot_cannot_reach_does_not_make_it_slow():
    rows = []
    for asked in (0.6, 1.0):
        made = execution()
        rows.append(made.follow(made.velocities(constant(asked)), 0, 0)[1][:, 0])
    assert (rows[1] >= rows[0]).all()


def test_steps_that_are_over_are_left_out():
    made = execution()
    start, rows = made.follow(made.velocities(constant(0.4)), 0, 130_000_000)
    assert start == 120_000_000
    assert len(rows) == SENT - 6


def test_of_a_chunk_that_is_over_one_step_is_left():
    made = execution()
    start, rows = made.follow(made.velocities(constant(0.4)), 0, 5 * S)
    assert (start, len(rows)) == ((SENT - 1) * STEP_NS, 1)
    assert not rows[0, :2].any()


@pytest.mark.parametrize('past', ['rest', 'end'])
@pytest.mark.parametrize(('policy', 'robot'), [(0.6, 0.6), (0.6, 0.3), (0.3, 0.6)])
def test_after_the_end_a_plan_is_taken_to_brake_as_the_gate_does(past, policy, robot):
    made = Execution(
        replace(SPEC, max_observation_age=policy), replace(ROBOT, max_observation_age=robot)
    )
    start, _ = settle(made, constant(0.6))
    # The gate gives the last chunk up at max_observation_age.
    end = start + round(min(policy, robot) * S)
    if past == 'rest':
        assert not made.rest(end).any()
        assert not made.rest(end + S // 10).any()
    rows = made.follow(made.velocities(constant(0.6)), end + S // 5, end + S // 5)[1]
    assert rows[0, 0] == pytest.approx(0.6 - 0.2 * DECEL)
    made.rest(end + S // 5)
    rows = made.follow(made.velocities(constant(0.6)), end + S, end + S)[1]
    assert rows[0, 0] == 0.0


def test_rest_is_zero_at_once_and_of_the_same_length():
    made = execution()
    settle(made, constant(0.4, 0.4))
    zeros = made.rest(4 * S)
    assert zeros.shape == (SENT, 3)
    assert not zeros.any()


def test_the_gripper_is_the_newest_chunks_own():
    for overlap in OVERLAPS:
        made = execution(overlap=overlap)
        settle(made, constant(gripper=0.1))
        rows = made.follow(made.velocities(constant(gripper=0.9)), 5 * S, 5 * S)[1]
        assert set(rows[:, 2]) == {0.9}


def targets(made, answers):
    """Return what the last of some answers, 0.04 s apart, tends to: the ends of their rows."""
    for number, actions in enumerate(answers):
        stamp = number * 2 * STEP_NS
        rows = made.follow(made.velocities(actions), stamp, stamp)[1]
    return rows[:, 0]


def test_latest_forgets_what_was_said_before():
    assert targets(execution(), [constant(0.1)] * 9 + [constant(0.3)])[-1] == 0.3


def test_weighted_mixes_with_what_was_planned_and_goes_on_alone():
    rows = targets(execution(overlap='weighted', newest_share=0.7), [constant(0.1), constant(0.3)])
    assert rows[-1] == pytest.approx(0.7 * 0.3 + 0.3 * 0.1)
    made = execution(overlap='weighted')
    targets(made, [constant(0.1)])
    rows = made.follow(made.velocities(constant(0.3)), round(0.7 * S), round(0.7 * S))[1]
    assert rows[-1, 0] == pytest.approx(0.3)


def test_ensemble_is_the_weighted_mean_of_all_that_speak_of_a_moment():
    rows = targets(
        execution(overlap='temporal_ensemble', ensemble_time=0.4),
        [constant(0.1), constant(0.2), constant(0.3)],
    )
    weights = [math.exp(-0.08 / 0.4), math.exp(-0.04 / 0.4), 1.0]
    mean = np.dot(weights, [0.1, 0.2, 0.3]) / sum(weights)
    assert rows[-1] == pytest.approx(mean)


def test_ensemble_forgets_chunks_that_are_over_and_other_instructions():
    made = execution(overlap='temporal_ensemble')
    targets(made, [constant(0.1)] * 3)
    rows = made.follow(made.velocities(constant(0.3)), 5 * S, 5 * S)[1]
    assert rows[-1, 0] == 0.3
    made.begin()
    rows = made.follow(made.velocities(constant(0.2)), 5 * S + STEP_NS, 5 * S + STEP_NS)[1]
    assert rows[-1, 0] == pytest.approx(0.2)


@pytest.mark.parametrize('overlap', OVERLAPS)
@pytest.mark.parametrize('back', [S, 5 * S, 400 * S])
def test_what_was_seen_before_the_clock_went_back_is_forgotten(overlap, back):
    made = execution(overlap=overlap)
    for number in range(5):
        at = 1000 * S + number * STEP_NS
        made.follow(made.velocities(constant(0.3)), at, at)
    at = 1000 * S - back
    rows = made.follow(made.velocities(constant(0.0)), at, at)[1]
    assert rows[-1, 0] == pytest.approx(0.0)


@pytest.mark.parametrize('overlap', ['latest', 'temporal_ensemble'])
def test_noise_of_the_policy_is_smoothed(overlap):
    """Commands jerk less than those of the first actions alone, limited as the gate does."""
    chance = np.random.default_rng(0)
    made = execution(overlap=overlap)
    smooth, plain, reached = [], [], 0.0
    for number in range(200):
        answer = constant(0.3 + chance.normal(0.0, 0.03))
        stamp = number * 2 * STEP_NS
        rows = made.follow(made.velocities(answer), stamp, stamp)[1]
        smooth += rows[1:3, 0].tolist()
        for _ in range(2):
            reached += float(np.clip(answer[0, 0] - reached, -ACCEL * PERIOD, ACCEL * PERIOD))
            plain.append(reached)
    jerk = [np.square(np.diff(one, 2)).mean() ** 0.5 for one in (plain, smooth)]
    assert jerk[0] > 3.0 * jerk[1]
