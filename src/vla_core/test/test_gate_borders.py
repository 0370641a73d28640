"""Exactly at the borders of what the gate hears, on every axis and from every node."""

from functools import partial
import math

import pytest

from vla_core.errors import ObservationError
from vla_core.gate.causes import Cause, first, Severity, State
from vla_core.gate.config import Timing
from vla_core.gate.limits import ZERO
from vla_core.gate.messages import Beat, Human, Inputs, Odom, Request, Stop, StopLevel
from vla_core.gate.operators import answer
from vla_core.gate.pace import HYSTERESIS, Pace
from vla_core.gate.signals import is_moving, Signals

CRAWL = 0.015  # m/s; slower than a robot that counts as moving, and not zero


@pytest.mark.parametrize(
    'velocity',
    [
        (0.02, 0.0, 0.0, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.05),
        (0.0, 0.0, 0.03, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.06, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.0, 0.06, 0.0),
    ],
)
def test_robot_moves_from_the_threshold_on_along_any_axis(velocity):
    assert is_moving(velocity)


@pytest.mark.parametrize('axis', [3, 4, 5])
def test_a_turn_is_no_speed_along_an_axis(axis):
    velocity = [0.0] * 6
    velocity[axis] = 0.04
    assert not is_moving(tuple(velocity))


def test_robot_that_was_never_heard_has_not_been_moving(make_world):
    assert Signals(make_world().robot, Timing()).moving_span(0.0) == 0.0


def test_odom_that_was_never_heard_is_lost_and_not_invalid(make_world):
    robot = make_world().robot
    assert Signals(robot, Timing()).odom_cause(0.0) is Cause.ODOM_LOST


def test_gate_that_does_not_see_itself_write_stays_in_init(make_world):
    assert make_world(writers=0).go(3.0).state is State.INIT


# -- odom --------------------------------------------------------------------------------------


def test_without_odom_a_crawl_that_was_sent_is_no_rest(make_world):
    world = make_world(odom_required=False, velocity=(CRAWL, 0.0)).armed()
    world.go(2.0)
    world.step(Stop(StopLevel.CONTROLLED_STOP))
    assert world.go(0.9).state is State.CONTROLLED_STOP
    assert world.go(0.3).state is State.STOPPED


def test_odom_that_is_not_required_keeps_no_robot_from_resting(make_world):
    world = make_world(odom_required=False).armed()
    world.odom = (0.3, 0.0, 0.0, 0.0, 0.0, 0.0)
    world.step(Stop(StopLevel.CONTROLLED_STOP))
    world.until(State.STOPPED, 2.5)


@pytest.mark.parametrize('axis', range(6))
def test_odom_is_refused_for_any_axis_that_is_no_number(driving, axis):
    driving.odom = tuple(math.nan if i == axis else 0.0 for i in range(6))
    before = driving.results[-1].counts['errors']
    assert driving.step().counts['errors'] == before + 1


def test_rest_is_counted_anew_after_a_gap_in_odom(make_world):
    world = make_world(velocity=(0.0, 0.0)).armed()
    world.odom_on = False
    assert world.go(0.8).state is State.CONTROLLED_STOP
    world.odom_on = True
    assert world.go(0.4).state is State.CONTROLLED_STOP
    assert world.go(0.2).state is State.STOPPED


def test_odom_from_a_clock_that_is_ahead_has_no_age_below_zero(driving):
    driving.odom_on = False
    result = driving.step(Odom(driving.published, driving.now + 0.06), dt=0.02)
    assert result.odom_age == 0.0


# -- heartbeats --------------------------------------------------------------------------------

# Made in the test, so that `make mutants` knows which tests ask for it.
STEADY, LOCKSTEP = Timing, partial(Timing.lockstep, 0.02)


@pytest.mark.parametrize(
    ('timing', 'wall', 'busy', 'state_age', 'cause'),
    [
        (STEADY, 0.2, False, 0.0, Cause.HEARTBEAT_LATE),
        (STEADY, 0.5, False, 0.0, Cause.HEARTBEAT_LOST),
        (STEADY, 0.0, True, 0.5, Cause.POLICY_HUNG),
        # The age of another state than busy is no matter of time.
        (STEADY, 0.0, False, 10.0, Cause.NONE),
        (LOCKSTEP, 4.9, False, 0.0, Cause.NONE),
        (LOCKSTEP, 0.0, True, 4.9, Cause.NONE),
        (LOCKSTEP, 0.0, True, 5.1, Cause.BUSY_TOO_LONG),
    ],
)
def test_heartbeat_is_judged_by_the_spans_of_the_clock(
    make_world, timing, wall, busy, state_age, cause
):
    signals = Signals(make_world().robot, timing())
    signals.beat(Beat('policy', 0.0, busy=busy, state_age=state_age))
    assert signals.heartbeat_cause(wall) is cause


@pytest.mark.parametrize(
    ('timing', 'wall', 'cause'),
    [
        (STEADY, 7.0, Cause.HEARTBEAT_LOST),
        # Its first beat may take as long as any other one.
        (LOCKSTEP, 7.0, Cause.NONE),
        (LOCKSTEP, 11.9, Cause.NONE),
        (LOCKSTEP, 12.1, Cause.HEARTBEAT_LOST),
    ],
)
def test_policy_that_was_never_heard_is_lost_at_once_but_in_lockstep(
    make_world, timing, wall, cause
):
    signals = Signals(make_world().robot, timing())
    signals.level(7.0, 0.02, Inputs(7.0), ZERO)
    assert signals.heartbeat_cause(wall) is cause


@pytest.mark.parametrize(
    'cameras',
    [{'front': 60.0, 'rear': 0.0}, {'front': 0.0, 'rear': 60.0}, {'front': 0.5}],
    ids=['first of two', 'second of two', 'at the limit'],
)
def test_any_camera_that_shows_one_picture_stops_a_robot_that_moves(driving, cameras):
    driving.extra_beats = lambda now: [
        Beat('camera', now, slot, unchanged_age=age) for slot, age in cameras.items()
    ]
    result = driving.step()
    assert (result.state, result.cause) == (State.CONTROLLED_STOP, Cause.CAMERA_FROZEN)


@pytest.mark.parametrize(
    ('node', 'age'), [('policy', 0.0), ('monitor', 0.0), ('sim', 0.0), ('camera', 1.0)]
)
def test_picture_is_judged_for_living_cameras_alone(driving, node, age):
    driving.extra_beats = lambda now: [
        Beat(node, now - age, policy_run=driving.run, unchanged_age=60.0)
    ]
    result = driving.go(0.1)
    assert (result.state, result.cause) == (State.ACTIVE, Cause.NONE)


# -- what follows ------------------------------------------------------------------------------


def test_scale_rises_where_just_enough_more_is_allowed():
    pace = Pace()
    pace.step(0.0, 0.25, {Cause.ZONE_SLOW: 0.5})
    for now in (0.25, 0.5, 0.75):
        scale = pace.step(now, 0.25, {Cause.ZONE_SLOW: 0.5 + HYSTERESIS})
    assert scale == 0.5 + HYSTERESIS


@pytest.mark.parametrize('asked', [Request.ARM, Request.RESET, Request.TRIGGER_ESTOP])
def test_gate_in_fault_can_only_be_restarted(asked):
    reply = answer(asked, State.FAULT, ())
    assert (reply.accepted, reply.text) == (False, 'state is FAULT: restart the gate')


def test_refusal_in_the_wrong_state_lists_all_that_is_in_the_way_too():
    reply = answer(Request.ARM, State.INIT, ('a', 'b'))
    assert (reply.accepted, reply.text) == (False, 'state is INIT: expected STOPPED; a; b')


@pytest.mark.parametrize('order', [1, -1])
def test_cause_that_is_named_is_the_first_of_the_table(order):
    causes = (Cause.STOP_REQUESTED, Cause.ODOM_LOST, Cause.ZONE_STOP)[::order]
    assert first(causes, Severity.FAULT) is Cause.ODOM_LOST


@pytest.mark.parametrize('bad', [math.nan, math.inf])
def test_velocity_of_a_person_that_is_no_number_is_named(make_world, bad):
    signals = Signals(make_world().robot, Timing())
    with pytest.raises(ObservationError, match=f'cmd_vel_human .*{bad}.*: expected finite'):
        signals.human(Human((0.1, 0.0, 0.0, 0.0, 0.0, bad), 10.0))


def test_person_is_lost_at_half_a_second(make_world):
    signals = Signals(make_world().robot, Timing())
    signals.human(Human((0.1, 0.0, 0.0, 0.0, 0.0, 0.0), 10.0))
    assert not signals.human_lost(10.49)
    assert signals.human_lost(10.5)
