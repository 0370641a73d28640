"""Every span of the safety table, just below and just above."""

from dataclasses import replace
import math

import pytest

from vla_core.gate.causes import Cause, State
from vla_core.gate.config import CHUNK_FAULT, Timing
from vla_core.gate.limits import ZERO
from vla_core.gate.messages import Beat, Human, Inputs, Odom, Request, Stop, StopLevel
from vla_core.gate.signals import MOST_BEATS

MARGIN = 0.002
JUST = [pytest.param(-MARGIN, False, id='below'), pytest.param(MARGIN, True, id='above')]


def _person_drives(world):
    world.step(Human((0.5, 0.0, 0.0, 0.0, 0.0, 0.5), world.now + 0.02))
    assert world.gate.state is State.MANUAL


def _is_arming(world):
    world.step(request=Request.DISARM)
    world.until(State.STOPPED)
    world.go(1.1)
    world.step(request=Request.ARM)
    world.go(0.5)
    assert world.gate.state is State.ARMING


MOVING_STATES = [
    pytest.param(_is_arming, id='ARMING'),
    pytest.param(lambda world: None, id='ACTIVE'),
    pytest.param(_person_drives, id='MANUAL'),
    pytest.param(lambda world: world.step(Stop(StopLevel.HOLD)), id='HOLD'),
]


def _fresh(world, **without):
    """Everything that arrives by itself, but for what a test leaves out."""
    messages = []
    if without.get('odom', True):
        messages.append(Odom(world.published, world.now))
    if without.get('beat', True):
        messages.append(world.beat())
    if without.get('chunk', True):
        messages.append(world.chunk())
    return messages


def _later(world, seconds, **without):
    """Step `seconds` later, and on the way before the gate counts as hung, without some of it."""
    end = world.now + seconds
    while world.now < end - 1e-6:
        world.now = min(end, world.now + 0.4)
        result = world.step(*_fresh(world, **without), dt=0.0, quiet=True)
    assert world.now == pytest.approx(end)
    return result


def _exactly(world, seconds, request=None):
    """Let all go on for `seconds`, to the millisecond; the last step carries the request."""
    whole = int(seconds / 0.02)
    world.go(whole * 0.02)
    return world.step(dt=seconds - whole * 0.02, request=request)


@pytest.mark.parametrize(('offset', 'over'), JUST)
def test_heartbeat_late_holds_at_200_ms(driving, offset, over):
    result = _later(driving, 0.20 + offset, beat=False)
    assert (result.state is State.HOLD) is over
    assert (Cause.HEARTBEAT_LATE in result.causes) is over


@pytest.mark.parametrize(('offset', 'over'), JUST)
def test_heartbeat_lost_stops_at_500_ms(driving, offset, over):
    _later(driving, 0.30, beat=False)
    result = _later(driving, 0.20 + offset, beat=False)
    assert result.state is (State.CONTROLLED_STOP if over else State.HOLD)
    assert (Cause.HEARTBEAT_LOST in result.causes) is over


@pytest.mark.parametrize(
    ('age', 'state', 'cause'),
    [
        (0.2, State.ACTIVE, Cause.NONE),
        (0.2 + MARGIN, State.HOLD, Cause.BUSY_TOO_LONG),
        (0.5 - MARGIN, State.HOLD, Cause.BUSY_TOO_LONG),
        (0.5 + MARGIN, State.CONTROLLED_STOP, Cause.POLICY_HUNG),
    ],
)
def test_policy_busy_longer_than_its_promise(driving, age, state, cause):
    driving.busy_age = age
    result = driving.step()
    assert (result.state, result.cause) == (state, cause)


@pytest.mark.parametrize(
    ('age', 'state'), [(0.79, State.ACTIVE), (0.81, State.HOLD), (1.11, State.CONTROLLED_STOP)]
)
def test_promise_is_the_robot_files(make_world, age, state):
    world = make_world(max_inference=0.8).armed()
    world.busy_age = age
    assert world.step().state is state


@pytest.mark.parametrize(('offset', 'over'), JUST)
def test_chunk_lapses_with_the_age_of_its_observation(driving, offset, over):
    result = _later(driving, 0.6 + offset, chunk=False)
    assert (result.state is State.HOLD) is over
    assert (result.step_index == -1) is over


@pytest.mark.parametrize(('offset', 'over'), JUST)
def test_chunk_lapses_at_its_end(make_world, offset, over):
    world = make_world(horizon=3).armed()
    result = _later(world, 0.3 + offset, chunk=False)
    assert (Cause.CHUNK_LAPSED in result.causes) is over


@pytest.mark.parametrize(('offset', 'over'), JUST)
def test_chunk_is_lost_500_ms_after_it_lapsed(driving, offset, over):
    _later(driving, 0.7, chunk=False)
    result = _later(driving, 0.4 + offset, chunk=False)
    assert result.state is (State.CONTROLLED_STOP if over else State.HOLD)
    assert (Cause.CHUNK_LOST in result.causes) is over


@pytest.mark.parametrize(('offset', 'over'), JUST)
def test_required_odom_is_lost_after_500_ms(driving, offset, over):
    result = _later(driving, 0.5 + offset, odom=False)
    assert (result.state is State.CONTROLLED_STOP) is over
    assert (Cause.ODOM_LOST in result.causes) is over


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_odom_that_is_not_finite_is_no_odom(driving, bad):
    driving.odom = (bad, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert driving.go(0.48).state is State.ACTIVE
    result = driving.go(0.06)
    assert (result.state, result.cause) == (State.CONTROLLED_STOP, Cause.ODOM_INVALID)
    assert result.counts['errors'] == 27


def test_odom_counts_its_stamp_age(driving):
    driving.odom_on = False
    driving.go(0.4)
    result = driving.step(Odom(driving.published, driving.now - 0.38))
    assert Cause.ODOM_LOST not in result.causes
    assert Cause.ODOM_LOST in driving.go(0.12).causes


def test_odom_that_was_overtaken_is_no_news(driving):
    driving.odom_on = False
    newest = driving.now
    result = driving.step(Odom((0.0,) * 6, newest - 0.2))
    assert result.odom_age == pytest.approx(driving.now - newest)
    assert result.counts['errors'] == driving.results[-2].counts['errors']


@pytest.mark.parametrize(('ahead', 'accepted'), [(0.048, True), (0.052, False)])
def test_odom_from_the_future_is_refused(driving, ahead, accepted):
    driving.odom_on = False
    before = driving.results[-1].counts['errors']
    result = driving.step(Odom(driving.published, driving.now + 0.02 + ahead))
    assert (result.counts['errors'] == before) is accepted


@pytest.mark.parametrize(('offset', 'over'), JUST)
def test_required_estop_input_is_lost_after_500_ms(make_world, offset, over):
    world = make_world(estop_required=True).armed()
    world.estop_publishers = 0
    result = _later(world, 0.5 + offset)
    assert (result.state is State.CONTROLLED_STOP) is over
    assert (Cause.ESTOP_INPUT_LOST in result.causes) is over


@pytest.mark.parametrize(
    ('unchanged', 'moving', 'frozen'),
    [(0.49, True, False), (0.51, True, True), (60.0, False, False)],
)
def test_camera_is_frozen_only_while_the_robot_moves(make_world, unchanged, moving, frozen):
    world = make_world(velocity=(0.3, 0.0) if moving else (0.0, 0.0)).armed()
    world.extra_beats = lambda now: [Beat('camera', now, 'front', unchanged_age=unchanged)]
    result = world.step()
    assert (result.state is State.CONTROLLED_STOP) is frozen
    assert (Cause.CAMERA_FROZEN in result.causes) is frozen


@pytest.mark.parametrize(('moved_for', 'frozen'), [(0.46, False), (0.60, True)])
def test_robot_that_starts_from_rest_has_half_a_second_of_one_picture(
    make_world, moved_for, frozen
):
    world = make_world(velocity=(0.0, 0.0)).armed()
    world.extra_beats = lambda now: [Beat('camera', now, 'front', unchanged_age=60.0)]
    world.odom = (0.1, 0.0, 0.0, 0.0, 0.0, 0.0)
    result = world.go(moved_for)
    assert (Cause.CAMERA_FROZEN in result.causes) is frozen


@pytest.mark.parametrize('speeds', [[0.3] * 23 + [0.0], [0.05, 0.03, 0.04, 0.015]])
def test_slow_samples_among_others_do_not_hide_a_frozen_camera(make_world, speeds):
    world = make_world(velocity=(0.0, 0.0)).armed()
    world.extra_beats = lambda now: [Beat('camera', now, 'front', unchanged_age=60.0)]
    for speed in speeds * (200 // len(speeds)):
        world.odom = (speed, 0.0, 0.0, 0.0, 0.0, 0.0)
        if Cause.CAMERA_FROZEN in world.step().causes:
            return
    raise AssertionError('never frozen')


def test_robot_that_mostly_stands_is_not_moving(make_world):
    world = make_world(velocity=(0.0, 0.0)).armed()
    world.extra_beats = lambda now: [Beat('camera', now, 'front', unchanged_age=60.0)]
    for speed in [0.05, 0.05, 0.0, 0.0, 0.0] * 60:
        world.odom = (speed, 0.0, 0.0, 0.0, 0.0, 0.0)
        assert Cause.CAMERA_FROZEN not in world.step().causes


def test_heartbeats_of_ever_new_nodes_are_not_kept(driving):
    for number in range(100):
        slots = [f's{number}-{copy}' for copy in range(4)]
        cameras = [Beat('camera', driving.now, slot) for slot in slots]
        driving.step(Beat(f'node{number}', driving.now), *cameras)
    assert len(driving.gate._hearing.signals._beats) == MOST_BEATS
    assert driving.results[-1].state is State.ACTIVE
    assert driving.results[-1].counts['errors'] > 0


def test_a_policy_is_heard_although_ever_new_nodes_came_before_it(world):
    world.chunking = False
    world.beating = False
    for number in range(MOST_BEATS):
        world.step(Beat('camera', world.now, f's{number}'))
    lost = world.gate._hearing.signals.timing.heartbeat_lost
    world.go(lost + 0.02)
    world.step(Beat('policy', world.now, policy_run=world.run))
    assert world.results[-1].counts['errors'] == 0
    assert world.gate._hearing.signals.heartbeat_age(world.now) < 0.05


def test_frozen_camera_without_odom_is_judged_by_the_command(make_world):
    world = make_world(odom_required=False).armed()
    world.extra_beats = lambda now: [Beat('camera', now, 'front', unchanged_age=0.6)]
    assert world.step().cause is Cause.CAMERA_FROZEN


def test_chunk_of_long_ago_lapses_now_and_is_no_silence_that_has_lasted(driving):
    driving.chunking = False
    result = driving.step(driving.chunk(start=driving.now - 1e9))
    assert (result.state, result.cause) == (State.HOLD, Cause.CHUNK_LAPSED)
    assert driving.go(CHUNK_FAULT - 0.04).state is State.HOLD
    assert driving.go(0.06).state is State.CONTROLLED_STOP


def test_chunk_of_long_ago_makes_nothing_younger_that_has_lapsed(driving):
    driving.chunking = False
    lapsed = driving.until(State.HOLD)
    old = driving.chunk(start=driving.now - 1e9)
    driving.step(old)
    for _ in range(10):
        driving.step(driving.chunk(start=driving.now - 1e9))
    assert driving.until(State.CONTROLLED_STOP, CHUNK_FAULT).cause is not lapsed.cause


def test_a_persons_velocity_that_was_overtaken_is_ignored(driving):
    driving.step(Human((0.2, 0, 0, 0, 0, 0), driving.now + 0.02))
    assert driving.gate.state is State.MANUAL
    result = driving.step(Human((-0.2, 0, 0, 0, 0, 0), driving.now - 1e9))
    assert (result.state, result.wanted[0]) == (State.MANUAL, 0.2)
    assert driving.step(Human((-0.2, 0, 0, 0, 0, 0), driving.now + 0.02)).wanted[0] == -0.2


def test_of_two_velocities_of_one_moment_the_later_heard_counts(driving):
    at = driving.now + 0.02
    first, second = (Human((speed, 0, 0, 0, 0, 0), at) for speed in (0.2, -0.2))
    assert driving.step(first, second).wanted[0] == -0.2


@pytest.mark.parametrize(('offset', 'over'), JUST)
@pytest.mark.parametrize('zeros', [False, True])
def test_manual_ends_after_500_ms_of_silence_or_zeros(driving, offset, over, zeros):
    driving.step(Human((0.2, 0, 0, 0, 0, 0), driving.now + 0.02))
    assert driving.gate.state is State.MANUAL
    driving.now += 0.5 + offset
    late = [Human(ZERO, driving.now)] if zeros else []
    result = driving.step(*_fresh(driving), *late, dt=0.0, quiet=True)
    assert (result.state is State.CONTROLLED_STOP) is over


@pytest.mark.parametrize(('offset', 'over'), JUST)
def test_requested_hold_lasts_300_ms(driving, offset, over):
    assert driving.step(Stop(StopLevel.HOLD, 'test')).state is State.HOLD
    result = _later(driving, 0.3 + offset)
    assert (result.state is State.ACTIVE) is over


@pytest.mark.parametrize(('ahead', 'accepted'), [(0.048, True), (0.052, False)])
@pytest.mark.parametrize('stamp', ['start', 'observed'])
def test_chunk_from_the_future_is_refused(driving, ahead, accepted, stamp):
    driving.chunking = False
    driving.now += 0.02
    chunk = driving.chunk(**{stamp: driving.now + ahead})
    before = driving.results[-1].counts
    result = driving.step(chunk, dt=0.0)
    assert result.counts['accepted'] - before['accepted'] == accepted
    assert result.counts['rejected'] - before['rejected'] == (not accepted)
    # One that is good is played at once.
    assert (result.sequence == driving.sequence) is accepted


@pytest.mark.parametrize(('offset', 'over'), JUST)
def test_gate_leaves_init_after_one_second_as_sole_writer(world, offset, over):
    world.step()
    assert (_later(world, 1.0 + offset).state is State.STOPPED) is over


@pytest.mark.parametrize(('offset', 'over'), JUST)
def test_arming_needs_one_green_second(world, offset, over):
    world.until(State.STOPPED)
    result = _exactly(world, 1.0 + offset, Request.ARM)
    assert result.reply.accepted is over
    assert result.ready_to_arm is False


@pytest.mark.parametrize(('offset', 'over'), JUST)
def test_ramp_lasts_one_second(world, offset, over):
    world.until(State.STOPPED)
    world.go(1.2)
    assert world.step(request=Request.ARM).state is State.ARMING
    assert (_later(world, 1.0 + offset).state is State.ACTIVE) is over


def test_ramp_rises_to_half_the_limits(make_world):
    world = make_world(velocity=(5.0, 0.0))
    world.until(State.STOPPED)
    world.go(1.2)
    world.step(request=Request.ARM)
    for _ in range(49):
        result = world.step()
        expected = 0.6 * 0.5 * result.since
        assert result.allowed[0] == pytest.approx(expected)
        assert result.published[0] <= expected + 1e-12
    assert result.state is State.ARMING
    assert result.published[0] == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(('offset', 'over'), JUST)
def test_reset_needs_one_clear_second(driving, offset, over):
    driving.step(Stop(StopLevel.ESTOP, 'test'))
    assert driving.step(request=Request.RESET).reply.accepted is False
    while 'nothing is wrong' not in driving.results[-1].blockers[0]:
        driving.step()
    result = _exactly(driving, 1.0 + offset, Request.RESET)
    assert (result.state is State.STOPPED) is over
    assert result.reply.accepted is over


@pytest.mark.parametrize(('offset', 'over'), JUST)
def test_stop_that_takes_two_seconds_becomes_an_estop(driving, offset, over):
    driving.odom = (0.3, 0, 0, 0, 0, 0)
    driving.step(Stop(StopLevel.CONTROLLED_STOP, 'test'))
    driving.go(1.9)
    assert driving.published == ZERO
    driving.now += 0.1 + offset
    moving = Odom(driving.odom, driving.now)
    result = driving.step(moving, *_fresh(driving, odom=False), dt=0.0, quiet=True)
    assert (result.state is State.ESTOP) is over
    assert (result.cause is Cause.STOP_TIMEOUT) is over


def test_stop_is_not_judged_without_odom(make_world):
    world = make_world(odom_required=False).armed()
    world.step(Stop(StopLevel.CONTROLLED_STOP, 'test'))
    world.until(State.STOPPED)
    assert State.ESTOP not in world.states


@pytest.mark.parametrize(('offset', 'over'), JUST)
def test_still_is_half_a_second_of_slow_odom(driving, offset, over):
    driving.odom = (0.021, 0, 0, 0, 0, 0)
    driving.step(Stop(StopLevel.CONTROLLED_STOP, 'test'))
    driving.go(1.0)
    driving.odom = (0.019, 0, 0, 0, 0, 0.049)
    driving.step()
    assert (_exactly(driving, 0.5 + offset).state is State.STOPPED) is over


@pytest.mark.parametrize(
    'odom', [(0.021, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0.051), (0, 0.03, 0, 0, 0, 0)]
)
def test_faster_odom_is_not_still(driving, odom):
    driving.odom = odom
    driving.step(Stop(StopLevel.CONTROLLED_STOP, 'test'))
    driving.go(1.9)
    assert driving.gate.state is State.CONTROLLED_STOP


@pytest.mark.parametrize(('offset', 'over'), JUST)
def test_without_odom_still_is_one_second_of_zeros(make_world, offset, over):
    world = make_world(odom_required=False, velocity=(0.0, 0.0)).armed()
    world.velocity = (0.02, 0.0)
    world.go(0.1)
    world.step(Stop(StopLevel.CONTROLLED_STOP, 'test'))
    while world.step().published != ZERO:
        pass
    world.step()
    # The zeros count from the step after the one that first published them.
    assert (_exactly(world, 1.0 + offset).state is State.STOPPED) is over


@pytest.mark.parametrize(('offset', 'over'), JUST)
def test_absent_monitor_is_a_warning_only(driving, offset, over):
    driving.step(Beat('monitor', driving.now + 0.02))
    result = _later(driving, 1.0 + offset)
    assert ('no heartbeat of a monitor' in result.warnings) is over
    assert result.state is State.ACTIVE


@pytest.mark.parametrize('age', [4.9, 5.1])
def test_lockstep_judges_heartbeats_by_five_seconds_of_wall_clock(make_world, age):
    world = make_world(timing=Timing.lockstep(0.02)).armed()
    world.beating = False
    inputs_wall = world.now + age
    for _ in range(5):
        world.now += 0.02
        result = world.gate.step(
            world.now, Inputs(inputs_wall, tuple(_fresh(world, beat=False)), estop_publishers=1)
        )
    assert (Cause.HEARTBEAT_LOST in result.causes) is (age > 5.0)


def test_lockstep_chunk_waits_for_the_tick_after_its_observation(make_world):
    world = make_world(timing=Timing.lockstep(0.02)).armed()
    world.chunking = False
    world.step(world.chunk((0.5, 0.0), start=world.now + 0.02, observed=world.now + 0.02))
    result = world.results[-1]
    # What is said is the chunk that is played, not the newest.
    assert (result.wanted[0], result.sequence) == (0.3, world.sequence - 1)
    result = world.step()
    assert (result.wanted[0], result.sequence) == (0.5, world.sequence)


def test_lockstep_trusts_a_policy_that_was_not_heard_yet(make_world):
    world = make_world(timing=Timing.lockstep(0.02), beating=False)
    world.until(State.STOPPED)
    world.go(1.1)
    assert world.results[-1].ready_to_arm


@pytest.mark.parametrize('begin', MOVING_STATES)
@pytest.mark.parametrize('silence', [0.502, 1.5, 61.0])
def test_gate_that_hung_stops_from_zero_until_a_person_arms(make_world, begin, silence):
    """All is fresh in the very step that ends the silence: only the gate's own time tells."""
    world = make_world(velocity=(0.6, 0.5)).armed()
    begin(world)
    assert any(world.published)
    result = world.step(dt=silence)
    assert (result.state, result.published) == (State.CONTROLLED_STOP, ZERO)
    assert Cause.GATE_HUNG in result.causes
    assert world.go(0.1).published == ZERO
    world.until(State.STOPPED)
    assert world.go(2.0).published == ZERO
    assert world.step(request=Request.ARM).state is State.ARMING


@pytest.mark.parametrize(
    ('silence', 'state'), [(0.502, State.CONTROLLED_STOP), (3.0, State.ESTOP)]
)
def test_gate_that_hung_while_it_stopped_goes_on_from_zero(driving, silence, state):
    assert any(driving.step(Stop(StopLevel.CONTROLLED_STOP)).published)
    result = driving.step(dt=silence)
    assert (result.state, result.published) == (state, ZERO)
    assert driving.go(2.0).published == ZERO


def test_gate_that_hung_says_for_how_long(driving):
    result = driving.step(dt=0.7)
    assert result.cause is Cause.GATE_HUNG
    (event,) = (event for event in result.events if event.cause is Cause.GATE_HUNG)
    assert (event.axis, event.value, event.limit) == ('gate silent', pytest.approx(0.7), 0.5)


@pytest.mark.parametrize('begin', MOVING_STATES)
def test_gate_that_was_late_does_not_stop_for_it(make_world, begin):
    world = make_world(velocity=(0.6, 0.5)).armed()
    begin(world)
    state = world.results[-1].state
    assert Cause.GATE_HUNG not in world.step(dt=0.498).causes
    assert world.gate.state in (state, State.ACTIVE, State.STOPPED)


def test_gate_that_hung_while_nothing_moved_is_armed_as_ever(world):
    world.until(State.STOPPED)
    world.go(1.1)
    assert world.step(dt=3.0).causes == ()
    world.go(1.6)
    assert world.step(request=Request.ARM).state is State.ARMING


def test_a_person_who_moves_a_gate_that_hung_at_rest_begins_at_zero(world):
    world.until(State.STOPPED)
    world.go(1.1)
    stick = (0.5, 0.0, 0.0, 0.0, 0.0, 0.0)
    result = world.step(Human(stick, world.now + 0.7), dt=0.7)
    assert (result.state, result.published) == (State.MANUAL, ZERO)
    result = world.step(Human(stick, world.now + 0.02))
    assert 0.0 < result.published[0] <= 1.0 * 0.02 + 1e-9


def test_steps_without_time_repeat_the_command(driving):
    before = driving.results[-1]
    result = driving.step(driving.chunk((0.6, 1.0)), dt=0.0, quiet=True)
    assert result.published == before.published
    assert result.sequence > before.sequence


def test_time_that_goes_back_stands_still(driving):
    before = driving.results[-1]
    driving.velocity = (0.6, 0.0)
    result = driving.step(dt=-0.5)
    assert result.published == before.published


@pytest.mark.parametrize('back', [1.0, 5.0])
def test_time_that_goes_back_while_arming_turns_no_velocity_around(make_world, back):
    world = make_world(velocity=(-0.3, 0.2))
    world.until(State.STOPPED)
    world.go(1.1)
    world.step(request=Request.ARM)
    world.go(0.2)
    assert world.published[0] < 0.0
    world.now -= back
    for _ in range(100):
        result = world.step()
        assert result.state is not State.FAULT
        assert result.published[0] <= 0.0 <= result.published[5]


def test_speed_scale_slows_every_speed(make_world):
    world = make_world(speed_scale=0.5, velocity=(5.0, 0.0)).armed()
    assert world.published[0] == pytest.approx(0.3)
    world.go(0.2, Human((5.0, 0, 0, 0, 0, 0), world.now + 1.0))
    assert world.published[0] == pytest.approx(0.3)


def test_flipped_and_renamed_axes(make_world):
    robot = make_world().robot
    axes = (*robot.axes[:5], replace(robot.axes[5], source='angular.x', flip=True))
    world = make_world(axes=axes).armed()
    assert world.published[5] == 0.0
    chunk = world.chunk()
    data = chunk.chunk.data.copy()
    data[:, 3] = 0.4
    world.chunking = False
    world.step(replace(chunk, chunk=replace(chunk.chunk, data=data)))
    assert world.results[-1].wanted[5] == -0.4
