"""What people do: arm, disarm, reset, press the button, take over."""

from itertools import pairwise
import math

import pytest

from vla_core.gate.causes import Cause, State
from vla_core.gate.limits import ZERO
from vla_core.gate.messages import (
    Beat,
    Command,
    Estop,
    EventKind,
    Human,
    Rejected,
    Request,
    Stop,
    StopLevel,
)

FORWARD = (0.4, 0.0, 0.0, 0.0, 0.0, 0.0)


def _human(world, velocity=FORWARD):
    return Human(velocity, world.now + 0.02)


def _drive(world, seconds, velocity=FORWARD):
    for _ in range(round(seconds / 0.02)):
        result = world.step(_human(world, velocity))
    return result


# -- start -------------------------------------------------------------------------------------


def test_real_robot_starts_unarmed_and_shows_what_it_would_command(world):
    result = world.go(10.0)
    assert world.states == [State.INIT, State.STOPPED]
    assert result.wanted[0] == result.allowed[0] == 0.3
    assert result.published == ZERO


def test_simulated_robot_arms_itself_once_when_all_is_ready(make_world):
    world = make_world(self_arm=True, simulated=True, chunking=False)
    world.go(10.0)
    assert world.gate.state is State.STOPPED
    world.chunking = True
    world.until(State.ACTIVE)
    assert world.states == [State.INIT, State.STOPPED, State.ARMING, State.ACTIVE]


@pytest.mark.parametrize(
    'stop', ['fault', 'estop', 'disarm', 'person', 'estop in STOPPED', 'estop in INIT']
)
def test_it_never_arms_itself_again(make_world, stop):
    world = make_world(self_arm=True, simulated=True)
    if stop != 'estop in INIT':
        world.until(State.STOPPED if stop == 'estop in STOPPED' else State.ACTIVE)
    if stop == 'person':
        _drive(world, 0.5)
    else:
        message = {'fault': StopLevel.CONTROLLED_STOP}.get(stop, StopLevel.ESTOP)
        request = Request.DISARM if stop == 'disarm' else None
        world.step(*([] if request else [Stop(message)]), request=request)
    world.go(5.0)
    world.step(request=Request.RESET)
    world.go(10.0)
    assert world.gate.state is State.STOPPED
    assert world.results[-1].ready_to_arm


def test_disarming_before_the_start_cancels_the_self_arming(make_world):
    world = make_world(self_arm=True, simulated=True)
    world.step(request=Request.DISARM)
    assert world.go(10.0).state is State.STOPPED


def test_init_waits_for_a_stale_writer(world):
    world.writers = 2
    assert world.go(5.0).state is State.INIT
    world.writers = 1
    assert world.go(0.9).state is State.INIT
    assert world.go(0.2).state is State.STOPPED


def test_init_waits_for_required_odom(make_world):
    world = make_world(odom_on=False)
    assert world.go(5.0).state is State.INIT
    assert any('odom' in blocker for blocker in world.results[-1].blockers)
    world.odom_on = True
    assert world.go(0.1).state is State.STOPPED


def test_init_waits_for_the_required_estop_input(make_world):
    world = make_world(estop_required=True, estop_publishers=0)
    assert world.go(5.0).state is State.INIT
    assert any('safety/estop' in blocker for blocker in world.results[-1].blockers)
    world.estop_publishers = 1
    assert world.go(0.1).state is State.STOPPED


def test_robot_without_estop_warns_and_arms(world):
    result = world.go(3.0)
    assert 'estop: none in the robot file' in result.warnings
    assert result.ready_to_arm


def test_robot_without_odom_is_a_warning(make_world):
    result = make_world(odom_required=False).step()
    assert any(warning.startswith('odom: none') for warning in result.warnings)


def test_required_estop_is_no_warning_once_it_was_heard(make_world):
    world = make_world(estop_required=True)
    assert any('estop has said nothing yet' in text for text in world.step().warnings)
    assert not any('estop' in text for text in world.step(Estop(False, 'plain')).warnings)


def test_second_estop_publisher_is_a_warning(make_world):
    world = make_world(estop_required=True, estop_publishers=2)
    assert any('estop has 2 publishers' in text for text in world.step().warnings)


def test_camera_that_cannot_say_that_it_is_frozen_is_a_warning(world):
    assert any('no heartbeat of a camera' in text for text in world.step().warnings)
    world.extra_beats = lambda now: [Beat('camera', now, slot='front')]
    assert not any('camera' in text for text in world.step().warnings)


def test_policy_of_an_earlier_run_is_told(driving):
    assert not any('earlier run' in text for text in driving.step().warnings)
    driving.run -= 5
    assert any('earlier run' in text for text in driving.go(0.1).warnings)


STICK = (0.4, 0.0, 0.0, 0.0, 0.0, 0.0)


def push(world, seconds, request=None):
    """Hold the stick; returns the states of every step."""
    states = []
    for _ in range(round(seconds / 0.02)):
        states.append(world.step(Human(STICK, world.now + 0.02), request=request).state)
        request = None
    return states


def test_stick_that_is_held_does_not_start_a_robot_that_was_reset(driving):
    driving.step(request=Request.TRIGGER_ESTOP)
    push(driving, 3.0)
    states = push(driving, 2.0, Request.RESET)
    assert set(states) == {State.STOPPED}
    assert any('cmd_vel_human is held' in text for text in driving.results[-1].warnings)
    driving.step(Human(ZERO, driving.now + 0.02))
    assert not any('cmd_vel_human is held' in text for text in driving.results[-1].warnings)
    assert push(driving, 0.1)[-1] is State.MANUAL


def test_disarming_stops_a_stuck_stick_for_good(driving):
    assert push(driving, 1.0)[-1] is State.MANUAL
    states = push(driving, 5.0, Request.DISARM)
    assert states[0] is State.CONTROLLED_STOP
    assert states[-1] is State.STOPPED
    assert State.MANUAL not in states


def test_stick_that_is_held_at_the_start_moves_nothing(world):
    assert set(push(world, 6.0)) == {State.INIT, State.STOPPED}


def test_nobody_arms_while_the_stick_is_held(driving):
    push(driving, 1.0)
    push(driving, 3.0, Request.DISARM)
    result = driving.step(Human(STICK, driving.now + 0.02), request=Request.ARM)
    assert not result.reply.accepted
    assert 'cmd_vel_human is held' in result.reply.text
    assert set(push(driving, 2.0)) == {State.STOPPED}
    driving.go(1.6)
    assert driving.step(request=Request.ARM).reply.accepted


def test_robot_that_arms_itself_waits_until_the_stick_is_let_go(make_world):
    world = make_world(self_arm=True, simulated=True)
    assert set(push(world, 8.0)) == {State.INIT, State.STOPPED}
    world.until(State.ACTIVE)


@pytest.mark.parametrize(('last', 'wanted'), [(ZERO, 0.0), (None, FORWARD[0])])
def test_the_last_wish_of_a_person_tells_rest_from_silence(driving, last, wanted):
    # Both end in a stop after half a second; what becomes of recordings tells them apart by this.
    _drive(driving, 2.0)
    manual = []
    while driving.gate.state is State.MANUAL:
        result = driving.step(*([] if last is None else [_human(driving, last)]))
        manual += [result] if result.state is State.MANUAL else []
    assert driving.gate.state is State.CONTROLLED_STOP
    assert len(manual) > 20
    assert manual[-1].wanted[0] == wanted


@pytest.mark.parametrize('broken', [Human((math.nan, *ZERO[1:]), 0.0), Rejected('human', 'width')])
def test_broken_message_lets_no_stick_go(driving, broken):
    driving.step(request=Request.TRIGGER_ESTOP)
    push(driving, 3.0)
    push(driving, 0.5, Request.RESET)
    driving.step(broken)
    assert set(push(driving, 2.0)) == {State.STOPPED}
    driving.step(broken)
    driving.go(0.4)
    assert any('cmd_vel_human is held' in text for text in driving.results[-1].warnings)
    driving.go(0.12)
    assert not any('cmd_vel_human is held' in text for text in driving.results[-1].warnings)
    assert push(driving, 0.1)[-1] is State.MANUAL


def test_zero_after_a_broken_message_lets_go(driving):
    driving.step(request=Request.TRIGGER_ESTOP)
    push(driving, 3.0)
    push(driving, 0.5, Request.RESET)
    driving.step(Rejected('human', 'width'))
    driving.step(Human(ZERO, driving.now + 0.02))
    assert push(driving, 0.1)[-1] is State.MANUAL


def test_person_who_let_go_drives_on_as_soon_as_the_robot_stands(driving):
    push(driving, 1.0)
    driving.until(State.CONTROLLED_STOP)
    states = push(driving, 3.0)
    assert states[-1] is State.MANUAL
    assert State.STOPPED in states


@pytest.mark.parametrize('first', ['latched', 'plain'])
def test_press_counts_whose_release_comes_in_the_same_step(driving, first):
    result = driving.step(Estop(True, first), Estop(False, first))
    assert (result.state, result.published) == (State.ESTOP, ZERO)


def test_nothing_is_ready_in_the_step_that_stops(driving):
    driving.step(request=Request.DISARM)
    assert not driving.until(State.STOPPED).ready_to_arm
    assert driving.results[-1].blockers


# -- arming ------------------------------------------------------------------------------------

BLOCKERS = {
    'beating': (False, 'policy heartbeat'),
    'busy_age': (0.3, 'BUSY_TOO_LONG'),
    'chunking': (False, 'no playable action chunk'),
    'odom_on': (False, 'ODOM_LOST'),
    'odom': ((0.1, 0, 0, 0, 0, 0), 'robot is not still'),
    'node_errors': (1, '1 errors in a row'),
}


@pytest.mark.parametrize('name', BLOCKERS)
def test_refusal_lists_what_is_not_green(world, name):
    value, text = BLOCKERS[name]
    world.until(State.STOPPED)
    setattr(world, name, value)
    world.go(2.0)
    result = world.step(request=Request.ARM)
    assert (result.reply.accepted, result.state) == (False, State.STOPPED)
    assert text in result.reply.text
    assert [event.kind for event in result.events] == [EventKind.REFUSED]


def test_refusal_says_when_the_policy_was_heard(world):
    world.beating = False
    world.until(State.STOPPED)
    assert 'heartbeat never heard: HEARTBEAT_LOST' in world.step().blockers[0]
    world.beating = True
    world.step()
    world.beating = False
    assert 'heartbeat heard 0.60 s ago: HEARTBEAT_LOST' in world.go(0.6).blockers[0]


def test_refusal_lists_everything_at_once(world):
    world.until(State.STOPPED)
    world.beating = world.chunking = world.odom_on = False
    world.go(2.0)
    text = world.step(request=Request.ARM).reply.text
    for part in ('policy heartbeat', 'no playable action chunk', 'ODOM_LOST', 'not still'):
        assert part in text


def test_estop_input_lost_blocks_arming(make_world):
    world = make_world(estop_required=True)
    world.until(State.STOPPED)
    world.estop_publishers = 0
    world.go(2.0)
    assert 'ESTOP_INPUT_LOST' in world.step(request=Request.ARM).reply.text
    assert world.gate.state is State.STOPPED


@pytest.mark.parametrize('level', [StopLevel.HOLD, StopLevel.CONTROLLED_STOP])
def test_stop_request_while_stopped_only_blocks_arming(world, level):
    world.until(State.STOPPED)
    world.go(2.0)
    world.step(Stop(level))
    assert 'REQUESTED' in world.step(request=Request.ARM).reply.text
    world.go(1.4)
    assert world.step(request=Request.ARM).reply.accepted


def test_result_says_since_when_the_state_is(world):
    world.until(State.STOPPED)
    assert world.go(1.0).since == pytest.approx(1.0)


def test_answers_say_what_happens(world):
    world.until(State.STOPPED)
    world.go(1.2)
    assert world.step(request=Request.DISARM).reply.text == 'not armed: STOPPED'
    world.go(1.5)
    assert world.step(request=Request.ARM).reply.text == 'arming'
    assert world.step(request=Request.DISARM).reply.text == 'stopping'
    assert world.step(request=Request.TRIGGER_ESTOP).reply.text == 'ESTOP'
    world.go(2.0)
    assert world.step(request=Request.RESET).reply.text == 'reset; not armed'


@pytest.mark.parametrize('request_', [Request.ARM, Request.RESET])
def test_driving_robot_is_neither_armed_nor_reset(driving, request_):
    result = driving.step(request=request_)
    assert (result.reply.accepted, result.state) == (False, State.ACTIVE)
    assert 'state is ACTIVE' in result.reply.text


@pytest.mark.parametrize('state', [State.ARMING, State.ACTIVE, State.HOLD, State.MANUAL])
def test_disarming_is_a_controlled_stop(world, state):
    world.until(State.STOPPED)
    world.go(1.2)
    if state is State.MANUAL:
        _drive(world, 0.3)
    else:
        world.step(request=Request.ARM)
        world.go(0.1 if state is State.ARMING else 2.0)
    if state is State.HOLD:
        world.step(Stop(StopLevel.HOLD))
    assert world.gate.state is state
    result = world.step(request=Request.DISARM)
    assert result.reply.accepted
    assert (result.state, result.cause) == (State.CONTROLLED_STOP, Cause.DISARMED)
    world.until(State.STOPPED)


def test_disarming_a_stopped_robot_is_harmless(world):
    world.until(State.STOPPED)
    assert world.step(request=Request.DISARM).reply.accepted
    assert world.gate.state is State.STOPPED


# -- e-stop ------------------------------------------------------------------------------------


@pytest.mark.parametrize('subscription', ['latched', 'plain'])
def test_button_gives_exact_zero_at_once(driving, subscription):
    result = driving.step(Estop(True, subscription), dt=0.0, quiet=True)
    assert (result.state, result.cause) == (State.ESTOP, Cause.ESTOP_INPUT)
    assert result.published == ZERO


def test_service_gives_exact_zero_at_once(driving):
    result = driving.step(request=Request.TRIGGER_ESTOP, dt=0.0, quiet=True)
    assert result.reply.accepted
    assert (result.state, result.cause) == (State.ESTOP, Cause.ESTOP_SERVICE)
    assert result.published == ZERO


def test_request_gives_exact_zero_at_once(driving):
    result = driving.step(Stop(StopLevel.ESTOP, 'tool', 'smoke'), dt=0.0, quiet=True)
    assert (result.state, result.cause) == (State.ESTOP, Cause.ESTOP_REQUESTED)
    assert any('smoke' in event.text for event in result.events)


def test_released_button_does_not_release_the_latch(driving):
    driving.step(Estop(True, 'latched'), Estop(True, 'plain'))
    driving.step(Estop(False, 'latched'), Estop(False, 'plain'))
    assert driving.go(30.0).state is State.ESTOP


def test_false_on_one_subscription_does_not_clear_true_on_the_other(driving):
    driving.step(Estop(True, 'latched'), Estop(False, 'plain'))
    driving.go(5.0)
    reply = driving.step(request=Request.RESET).reply
    assert (reply.accepted, reply.text) == (False, 'cause ESTOP_INPUT')
    driving.step(Estop(False, 'latched'))
    driving.go(1.1)
    assert driving.step(request=Request.RESET).state is State.STOPPED


def test_reset_never_moves_the_robot(driving):
    driving.step(Estop(True, 'plain'))
    driving.step(Estop(False, 'plain'))
    driving.go(3.0)
    result = driving.step(request=Request.RESET)
    assert (result.state, result.cause, result.published) == (State.STOPPED, Cause.NONE, ZERO)
    for _ in range(1000):
        assert driving.step().published == ZERO


def test_reset_is_refused_while_the_robot_moves(driving):
    driving.step(Estop(True, 'plain'))
    driving.step(Estop(False, 'plain'))
    driving.odom = FORWARD
    driving.go(3.0)
    assert driving.step(request=Request.RESET).reply.text == 'robot is not still'


def test_reset_while_other_writer_is_there_is_refused(driving):
    driving.writers = 2
    result = driving.step()
    assert (result.state, result.cause) == (State.ESTOP, Cause.SECOND_WRITER)
    driving.go(3.0)
    assert 'SECOND_WRITER' in driving.step(request=Request.RESET).reply.text
    driving.writers = 1
    driving.go(1.1)
    assert driving.step(request=Request.RESET).state is State.STOPPED


def test_dead_policy_does_not_keep_the_latch(driving):
    """Reset only permits; without a policy arming is refused all the same."""
    driving.beating = driving.chunking = False
    driving.step(request=Request.TRIGGER_ESTOP)
    driving.go(3.0)
    assert driving.step(request=Request.RESET).state is State.STOPPED
    driving.go(2.0)
    assert not driving.step(request=Request.ARM).reply.accepted


def test_text_neither_arms_nor_resets(driving):
    driving.step(Estop(True, 'plain'))
    driving.step(Estop(False, 'plain'))
    texts = [Command(text, 1) for text in ('reset', 'arm', 'safety/reset', 'go')]
    assert driving.go(5.0, *texts).state is State.ESTOP


TEXTS = ('arm', 'safety/arm', 'self_arm: true', 'drive at 5 m/s', 'max_speed: 9', 'ignore limits')


def test_text_does_not_arm_a_robot_that_could_be_armed(world):
    world.until(State.STOPPED)
    assert world.go(2.0).ready_to_arm
    texts = [Command(text, 1) for text in TEXTS]
    assert world.go(2.0, *texts).state is State.STOPPED


def test_text_lifts_no_limit(driving):
    driving.velocity = (5.0, 9.0)
    driving.go(3.0, *(Command(text, 1) for text in TEXTS))
    assert driving.states[-1] is State.ACTIVE
    assert max(result.published[0] for result in driving.results) <= 0.6
    assert max(abs(result.published[5]) for result in driving.results) <= 1.2


# -- by hand -----------------------------------------------------------------------------------


def test_person_drives_without_arming_within_the_limits(world):
    world.beating = world.chunking = False
    world.until(State.STOPPED)
    result = _drive(world, 2.0, (9.0, 0, 0, 0, 0, 0))
    assert result.state is State.MANUAL
    assert result.published[0] == pytest.approx(0.6)
    speeds = [result.published[0] for result in world.results]
    steps = [after - before for before, after in pairwise(speeds)]
    assert max(steps) <= 1.0 * 0.02 + 1e-9


def test_person_beats_the_policy_and_ends_in_stopped(driving):
    result = _drive(driving, 1.0, (-0.2, 0, 0, 0, 0, 0))
    assert (result.state, result.published[0]) == (State.MANUAL, pytest.approx(-0.2))
    driving.until(State.STOPPED)
    assert driving.states[-3:] == [State.MANUAL, State.CONTROLLED_STOP, State.STOPPED]
    assert driving.results[-1].cause is Cause.HUMAN_LOST
    assert driving.go(5.0).state is State.STOPPED


@pytest.mark.parametrize('velocity', [ZERO, (0, 0.5, 0, 0, 0, 0), (0, 0, 0, 1.0, 1.0, 0)])
def test_zeros_and_missing_axes_take_nothing_over(driving, velocity):
    assert _drive(driving, 1.0, velocity).state is State.ACTIVE


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_invalid_human_command_is_zero_not_the_last_one(driving, bad):
    _drive(driving, 0.5)
    speed = driving.published[0]
    result = driving.step(_human(driving, (bad, 0, 0, 0, 0, 0)))
    assert result.wanted == ZERO
    assert result.published[0] < speed
    assert result.consecutive_errors == 1
    for _ in range(4):
        result = driving.step(_human(driving, (bad, 0, 0, 0, 0, 0)))
    assert (result.state, result.cause) == (State.ESTOP, Cause.ERRORS_IN_ROW)


def test_resting_joystick_does_not_hide_the_policys_errors(driving):
    driving.chunking = False
    for _ in range(5):
        result = driving.step(Rejected('chunk', 'nan'), _human(driving, ZERO))
    assert result.state is State.ESTOP


@pytest.mark.parametrize('fault', ['beating', 'chunking'])
def test_policy_faults_do_not_stop_a_person(driving, fault):
    _drive(driving, 0.2)
    setattr(driving, fault, False)
    assert _drive(driving, 3.0).state is State.MANUAL


@pytest.mark.parametrize('level', [StopLevel.CONTROLLED_STOP, StopLevel.ESTOP])
def test_stop_requests_stop_a_person(driving, level):
    _drive(driving, 0.2)
    state = {1: State.CONTROLLED_STOP, 2: State.ESTOP}[level]
    assert driving.step(_human(driving), Stop(level)).state is state


def test_lost_estop_input_keeps_a_person_from_driving(make_world):
    world = make_world(estop_required=True).armed()
    _drive(world, 0.5)
    world.estop_publishers = 0
    _drive(world, 5.0)
    assert world.states[-3:] == [State.MANUAL, State.CONTROLLED_STOP, State.STOPPED]


@pytest.mark.parametrize('state', [State.ESTOP, State.HOLD, State.CONTROLLED_STOP, State.ARMING])
def test_person_takes_over_only_in_stopped_and_active(world, state):
    world.until(State.STOPPED)
    world.go(1.2)
    world.step(request=Request.ARM)
    if state is not State.ARMING:
        world.go(2.0)
        level = {7: StopLevel.ESTOP, 5: StopLevel.HOLD, 6: StopLevel.CONTROLLED_STOP}[state]
        world.step(Stop(level))
    assert _drive(world, 0.1).state is state
