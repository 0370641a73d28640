"""Zones by a laser scanner around a driving robot."""

from dataclasses import replace
from itertools import pairwise
import math

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from vla_core.gate.causes import Cause, State
from vla_core.gate.limits import Limits, ZERO
from vla_core.gate.messages import EventKind, Human, Rejected, Request, Scan, Stop, StopLevel
from vla_core.gate.zones import Approach, reach, RELEASE, STANDOFF, Zone
from vla_core.surroundings import Box, ScanConfig, SlowBox, ZonesConfig

SCANNER = ScanConfig('base_scan', 0.0, 0.0, 0.0, 6.2)
STOP = Box(0.3, 0.3, 0.3, 0.3)
SLOW = SlowBox(0.8, 0.5, 0.5, 0.5, 0.5)
BEHIND = (-2.0, 0.0)


class Walls:
    """Things around a robot's world; each step brings a scan of them."""

    def __init__(self, world):
        self.world = world
        self.points = [BEHIND]
        self.noise = 0.0
        self.random = np.random.default_rng(1)
        self.frozen = False

    def scan(self, **changes):
        points = np.array(self.points, dtype=float).reshape(-1, 2)
        points = points + self.random.uniform(-self.noise, self.noise, points.shape)
        signature = 7 if self.frozen else int(self.random.integers(1, 1 << 60))
        values = {'points': points, 'at': self.world.now + 0.02, 'signature': signature} | changes
        return Scan(**values)

    def step(self, *messages, **options):
        return self.world.step(self.scan(), *messages, **options)

    def go(self, seconds, *messages):
        for _ in range(round(seconds / 0.02)):
            result = self.step(*messages)
        return result

    def until(self, state):
        for _ in range(300):
            if self.step().state is state:
                return
        raise AssertionError(f'{self.world.gate.state.name}: expected {state.name}')

    def armed(self):
        self.until(State.STOPPED)
        self.go(1.1)
        assert self.step(request=Request.ARM).reply.accepted
        self.until(State.ACTIVE)
        self.go(1.0)
        return self


@pytest.fixture
def make_walls(make_world):
    def make(stop=STOP, slow=None, approach=None, min_points=1, **changes):
        zones = ZonesConfig(stop, slow, approach, min_points)
        return Walls(make_world(scan=SCANNER, zones=zones, **changes))

    return make


@pytest.fixture
def walls(make_walls):
    return make_walls().armed()


def test_free_space_changes_nothing(walls):
    result = walls.go(1.0)
    assert result.published[0] == pytest.approx(0.3)
    assert (result.speed_scale, result.cause, result.causes) == (1.0, Cause.NONE, ())


@pytest.mark.parametrize(
    ('point', 'side'),
    [((0.2, 0.0), 'front'), ((-0.2, 0), 'rear'), ((0.0, 0.2), 'left'), ((0.0, -0.2), 'right')],
)
def test_stop_zone_breached_while_moving_is_an_estop_that_says_why(walls, point, side):
    walls.points.append(point)
    result = walls.step()
    assert (result.state, result.cause, result.published) == (
        State.ESTOP,
        Cause.ZONE_STOP,
        ZERO,
    )
    event = result.events[0]
    assert event.kind is EventKind.TRANSITION
    assert (event.axis, event.parameter) == (f'stop zone, {side}', f'zones.stop.{side}')
    assert (event.value, event.limit) == (pytest.approx(0.2), 0.3)
    assert event.text == (
        f'ACTIVE to ESTOP: ZONE_STOP: stop zone, {side} 0.2 m, limit 0.3 m (zones.stop.{side})'
    )


def test_reset_is_possible_in_a_breach_and_arming_is_not(walls):
    walls.points.append((0.2, 0.0))
    walls.step()
    walls.go(2.0)
    assert walls.step(request=Request.RESET).reply.accepted
    walls.go(2.0)
    reply = walls.step(request=Request.ARM).reply
    assert not reply.accepted
    assert 'BREACHED: stop zone, front 0.2 m, limit 0.3 m (zones.stop.front)' in reply.text
    walls.points.pop()
    walls.go(1.6)
    assert walls.step(request=Request.ARM).reply.accepted


@pytest.mark.parametrize('velocity', [(0.1, 0.0), (0.3, 0.5), (0.0, 0.5), (-0.3, 0.0)])
def test_person_may_only_drive_out_of_a_breach_and_slowly(walls, velocity):
    walls.points.append((0.2, 0.05))
    walls.step()
    walls.go(2.0)
    walls.step(request=Request.RESET)
    human = (velocity[0], 0.0, 0.0, 0.0, 0.0, velocity[1])
    speeds = []
    for _ in range(100):
        result = walls.step(Human(human, walls.world.now + 0.02))
        speeds.append(result.published)
        assert result.state is State.MANUAL
    out = velocity[0] < 0.0
    assert min(speed[0] for speed in speeds) == pytest.approx(-0.1 if out else 0.0)
    assert all(speed[0] <= 0.0 and speed[5] == 0.0 for speed in speeds)


def test_person_who_is_out_drives_as_fast_as_ever_and_not_into_the_next_thing(walls):
    walls.points.append((0.2, 0.0))
    walls.step()
    walls.go(2.0)
    walls.step(request=Request.RESET)
    human = (-0.4, 0.0, 0.0, 0.0, 0.0, 0.0)
    walls.go(1.0, Human(human, math.inf))
    walls.points[-1] = (0.34, 0.0)
    walls.go(0.1)
    assert Cause.BREACHED in walls.world.results[-1].causes
    walls.points[-1] = (0.36, 0.0)
    for _ in range(100):
        result = walls.step(Human(human, walls.world.now + 0.02))
    assert result.published[0] == pytest.approx(-0.4)
    walls.points.append((-0.25, 0.0))
    result = walls.step(Human(human, walls.world.now + 0.02))
    assert (result.state, result.cause) == (State.ESTOP, Cause.ZONE_STOP)


def test_two_breaches_leave_no_way_out(walls):
    walls.points += [(0.2, 0.0), (-0.2, 0.0)]
    walls.step()
    walls.go(2.0)
    walls.step(request=Request.RESET)
    for speed in (-0.4, 0.4):
        for _ in range(20):
            human = Human((speed, 0.0, 0.0, 0.0, 0.0, 0.0), walls.world.now + 0.02)
            assert walls.step(human).published == ZERO


def test_breach_of_a_still_robot_blocks_and_frees_without_arming(make_walls):
    walls = make_walls(velocity=(0.0, 0.0)).armed()
    walls.points.append((0.2, 0.0))
    walls.step()
    walls.world.velocity = (0.3, 0.2)
    result = walls.go(5.0)
    assert (result.state, result.cause) == (State.ACTIVE, Cause.BREACHED)
    assert (result.published, result.allowed, result.speed_scale) == (ZERO, ZERO, 0.0)
    assert result.wanted[0] == 0.3
    walls.points.pop()
    assert walls.go(0.4).published == ZERO
    assert walls.go(2.0).published[0] == pytest.approx(0.3)
    kinds = [event for result in walls.world.results for event in result.events]
    speed = [event.text for event in kinds if event.kind is EventKind.SPEED]
    assert speed == [
        'blocked: BREACHED: stop zone, front 0.2 m, limit 0.3 m (zones.stop.front)',
        'full speed after: BREACHED',
    ]


def test_noise_at_the_border_of_a_blocked_robot_does_not_free_it(make_walls):
    walls = make_walls(velocity=(0.0, 0.0)).armed()
    walls.points.append((0.29, 0.0))
    walls.step()
    walls.points[-1], walls.noise = (0.3, 0.0), 0.9 * RELEASE
    walls.world.velocity = (0.3, 0.2)
    walls.go(20.0)
    assert {result.published for result in walls.world.results[-900:]} == {ZERO}
    assert walls.world.states[-1] is State.ACTIVE


@pytest.mark.parametrize(('points', 'breached'), [(1, False), (2, False), (3, True)])
def test_breach_needs_its_points(make_walls, points, breached):
    walls = make_walls(min_points=3).armed()
    walls.points += [(0.2, 0.01 * i) for i in range(points)]
    assert (walls.step().state is State.ESTOP) is breached


def test_what_is_too_little_for_a_breach_does_not_free_the_robot_by_coming_nearer(make_walls):
    walls = make_walls(min_points=3, approach=1.0).armed()
    few = [(0.31, 0.01), (0.31, -0.01)]
    walls.points += few
    assert walls.go(0.5).published[0] == pytest.approx(0.3)
    walls.points += [(0.31, 0.0)]
    assert walls.go(0.5).published[0] < 0.05
    walls.points = [BEHIND, *few, (0.25, 0.0)]
    assert walls.go(0.5).published[0] < 0.05


def test_approach_counts_what_is_in_the_box_as_at_its_side():
    approach = Approach(STOP, 1.0, Limits((1.0,) * 6, (1.0,) * 6, (1.0,) * 6))
    approach.take(np.array([(0.25, 0.0)]), 0.0)
    assert approach.scale((0.3, 0.0, 0.0, 0.0, 0.0, 0.0), 0.0) < 0.001
    assert approach.scale((-0.3, 0.0, 0.0, 0.0, 0.0, 0.0), 0.0) == 1.0
    assert approach.scale((0.0, 0.3, 0.0, 0.0, 0.0, 0.0), 0.0) == 1.0


def test_smallest_of_all_speeds_is_no_error():
    approach = Approach(STOP, 0.3, Limits((1.0,) * 6, (1.0,) * 6, (1.0,) * 6))
    approach.take(np.array([(1.0, 0.0)]), 0.0)
    assert approach.scale((5e-324, 0.0, 0.0, 0.0, 0.0, 0.0), 0.0) == 1.0


def test_way_out_leads_no_deeper_into_the_side_that_is_nearest():
    zone = Zone(Box(1.0, 1.0, 0.3, 0.3), 1)
    zone.take(np.array([(0.5, 0.29)]))
    assert zone.escape((-0.06, 0.08, 0.0, 0.0, 0.0, 0.0)) == ZERO
    for velocity in ((-0.06, -0.08), (-0.06, 0.0)):
        assert zone.escape((*velocity, 0.0, 0.0, 0.0, 0.0))[:2] == velocity


def test_slow_zone_slows_at_once_and_recovers_late(make_walls):
    walls = make_walls(slow=SLOW).armed()
    walls.points.append((0.7, 0.0))
    result = walls.step()
    assert (result.speed_scale, result.cause) == (0.5, Cause.ZONE_SLOW)
    assert (result.state, result.allowed[0]) == (State.ACTIVE, pytest.approx(0.15))
    event = result.events[0]
    assert (event.kind, event.cause) == (EventKind.SPEED, Cause.ZONE_SLOW)
    assert (event.axis, event.limit) == ('slow zone, front', 0.8)
    assert event.parameter == 'zones.slow.front'
    assert walls.go(1.0).published[0] == pytest.approx(0.15)
    walls.points.pop()
    assert walls.go(0.9).speed_scale == 0.5
    result = walls.go(2.0)
    assert (result.speed_scale, result.cause) == (1.0, Cause.NONE)
    assert result.published[0] == pytest.approx(0.3)


def test_slow_zone_is_not_why_a_robot_is_stopped(make_walls):
    walls = make_walls(slow=SLOW)
    walls.points.append((0.7, 0.0))
    walls.until(State.STOPPED)
    result = walls.step()
    assert (result.cause, result.causes) == (Cause.NONE, (Cause.ZONE_SLOW,))


def test_slow_zone_slows_a_person_too(make_walls):
    walls = make_walls(slow=SLOW).armed()
    walls.points.append((0.7, 0.0))
    for _ in range(100):
        result = walls.step(Human((0.4, 0, 0, 0, 0, 0.0), walls.world.now + 0.02))
    assert (result.state, result.published[0]) == (State.MANUAL, pytest.approx(0.2))


def test_approach_never_reaches_the_wall(make_walls):
    """A robot that is told to drive on for ever, towards a wall, with scans ten times a second."""
    walls = make_walls(approach=1.0, odom_on=True, velocity=(0.6, 0.0))
    walls.armed()
    x, scan = 0.0, None
    for step in range(600):
        if step % 5 == 0:
            walls.points = [(1.5 - x, y) for y in np.linspace(-1.0, 1.0, 41)]
            scan = walls.scan()
        result = walls.world.step(*([scan] if step % 5 == 0 else []))
        x += result.published[0] * 0.02
        assert result.state is State.ACTIVE
    assert 1.1 < x < 1.2 - STANDOFF / 2.0
    assert result.cause is Cause.ZONE_APPROACH
    assert result.published[0] < 0.01


def test_approach_that_is_slower_than_the_zone_is_named_beside_it(make_walls):
    walls = make_walls(slow=SLOW, approach=1.0, velocity=(0.6, 0.0)).armed()
    walls.points.append((0.5, 0.0))
    result = walls.step()
    assert result.cause is Cause.ZONE_APPROACH
    assert result.causes == (Cause.ZONE_SLOW, Cause.ZONE_APPROACH)


@pytest.mark.parametrize(
    ('velocity', 'slowed'), [((0.3, 0.0), True), ((-0.3, 0.0), False), ((0.0, 0.0), False)]
)
def test_approach_looks_where_the_robot_goes(make_walls, velocity, slowed):
    walls = make_walls(approach=1.0, velocity=(0.0, 0.0)).armed()
    walls.points = [(0.5, 0.0)]
    walls.go(0.1)
    walls.world.velocity = velocity
    assert (walls.go(0.1).speed_scale < 1.0) is slowed


@pytest.mark.parametrize(
    ('point', 'velocity', 'seconds'),
    [
        ((1.32, 0.0), (0.5, 0, 0, 0, 0, 0), 2.0),
        ((1.3, 0.0), (-0.5, 0, 0, 0, 0, 0), math.inf),
        ((-1.32, 0.0), (-0.5, 0, 0, 0, 0, 0), 2.0),
        ((0.0, 1.32), (0.0, 0.5, 0, 0, 0, 0), 2.0),
        ((0.0, 0.8), (0, 0, 0, 0, 0, 1.0), math.inf),
        ((0.4, 0.3), (0, 0, 0, 0, 0, 0.5), math.inf),
        ((0.42, -0.3), (0, 0, 0, 0, 0, 0.5), 0.1 / (0.5 * 0.3)),
        ((1.3, 0.0), (0, 0, 0, 0, 0, 0), math.inf),
    ],
)
def test_time_to_reach_a_point(make_world, point, velocity, seconds):
    limits = Limits((1.0, 1.0, 0, 0, 0, 2.0), (1.0,) * 6, (1.0,) * 6)
    approach = Approach(STOP, 3.0, limits)
    approach.take(np.array([point]), 10.0)
    scale = approach.scale(velocity, 10.0)
    assert approach.seconds == pytest.approx(seconds)
    assert scale == pytest.approx(min(1.0, seconds / 3.0))
    assert approach.scale(velocity, 11.0) <= scale


@given(
    x=st.floats(-3.0, 3.0),
    y=st.floats(-3.0, 3.0),
    velocity=st.tuples(*[st.floats(-1.0, 1.0)] * 3),
)
def test_scaled_velocity_reaches_nothing_in_time(x, y, velocity):
    """Drive the scaled velocity for a small time: the gap closes no faster than it may."""
    limits = Limits((1.0, 1.0, 0, 0, 0, 1.0), (1.0,) * 6, (1.0,) * 6)
    approach = Approach(STOP, 2.0, limits)
    points = np.array([(x, y)])
    if STOP.holds(x, y):
        return
    approach.take(points, 0.0)
    scale = approach.scale((velocity[0], velocity[1], 0, 0, 0, velocity[2]), 0.0)
    gap = _gap(x, y)
    tiny = 1e-6
    vx, vy, turn = (value * scale * tiny for value in velocity)
    moved = (x - vx + turn * y, y - vy - turn * x)
    assert gap - _gap(*moved) <= max(gap - STANDOFF, 1e-6) / 2.0 * tiny * 1.001 + 1e-11


def _gap(x, y):
    return math.hypot(max(0.0, abs(x) - 0.3), max(0.0, abs(y) - 0.3))


@pytest.mark.parametrize('age', [0.0, 0.25, 0.5])
def test_old_scan_slows_more_even_for_the_farthest_point(age):
    limits = Limits((1.0, 0, 0, 0, 0, 0), (1.0,) * 6, (1.0,) * 6)
    approach = Approach(STOP, 2.0, limits)
    approach.take(np.array([(0.3 + STANDOFF + 2.2, 0.0)]), 0.0)
    scale = approach.scale((1.0, 0, 0, 0, 0, 0), age)
    assert scale == pytest.approx(min(1.0, 2.2 / (2.0 + age)))


def test_reach_covers_every_zone(make_walls):
    robot = make_walls(slow=SLOW, approach=1.0).world.robot
    assert reach(robot) >= SLOW.radius + RELEASE
    assert reach(robot) >= STOP.radius + 0.6 + 1.2 * STOP.radius


def test_reach_is_that_of_the_scanner(make_walls):
    robot = make_walls().world.robot
    moved = replace(robot, scan=replace(SCANNER, x=0.2, y=-0.1))
    assert reach(moved) == pytest.approx(reach(robot) + math.hypot(0.2, 0.1))


@pytest.mark.parametrize(
    ('point', 'velocity', 'free'),
    [
        ((0.2, 0.0), (-0.1, 0.0), True),
        ((0.2, 0.0), (-0.1, 0.05), True),
        ((0.2, 0.0), (0.0, 0.1), False),
        ((0.0, 0.2), (0.1, 0.0), False),
        ((0.2, 0.0), (0.0, 0.0), False),
    ],
)
def test_way_out_of_the_stop_zone_leads_away(point, velocity, free):
    zone = Zone(STOP, 1)
    zone.take(np.array([point]))
    found = zone.escape((*velocity, 0.1, 0.1, 0.1, 0.3))
    assert found == ((*velocity, 0.0, 0.0, 0.0, 0.0) if free else ZERO)


def test_robot_without_zones_has_no_reach(driving):
    assert reach(driving.robot) == 0.0


def test_slow_zone_alone_is_enough(make_walls):
    walls = make_walls(stop=None, slow=SLOW).armed()
    assert reach(walls.world.robot) >= SLOW.radius
    walls.points.append((0.1, 0.0))
    assert (walls.step().state, walls.go(0.1).speed_scale) == (State.ACTIVE, 0.5)


# -- scans that are not there ------------------------------------------------------------------


def test_gate_waits_in_init_for_the_first_scan(make_walls):
    walls = make_walls()
    result = walls.world.go(3.0)
    assert result.state is State.INIT
    assert any('scan was never heard' in blocker for blocker in result.blockers)
    walls.until(State.STOPPED)


@pytest.mark.parametrize(('span', 'lost'), [(0.48, False), (0.52, True)])
@pytest.mark.parametrize('bad', [(), (Rejected('scan', 'blind'),)])
def test_lost_scan_is_a_controlled_stop(walls, span, lost, bad):
    result = walls.world.go(span, *bad)
    cause = Cause.SCAN_INVALID if bad else Cause.SCAN_LOST
    assert (result.state is State.CONTROLLED_STOP) is lost
    assert (cause in result.causes) is lost
    if lost:
        event = next(e for r in walls.world.results[-5:] for e in r.events if e.cause is cause)
        assert (event.limit, event.parameter) == (0.5, 'scan.timeout')


def test_person_does_not_drive_without_scans(walls):
    walls.go(0.1, Human((0.3, 0, 0, 0, 0, 0), walls.world.now + 0.1))
    assert walls.world.gate.state is State.MANUAL
    for _ in range(30):
        result = walls.world.step(Human((0.3, 0, 0, 0, 0, 0), walls.world.now + 0.02))
    assert (result.state, result.cause) == (State.CONTROLLED_STOP, Cause.SCAN_LOST)


def test_scan_counts_its_stamp_age(walls):
    for _ in range(5):
        result = walls.world.step(walls.scan(at=walls.world.now - 0.6))
    assert result.state is State.ACTIVE
    for _ in range(25):
        result = walls.world.step(walls.scan(at=walls.world.now - 0.6))
    assert result.state is State.CONTROLLED_STOP


@pytest.mark.parametrize(
    ('ahead', 'accepted'), [(0.049, True), (0.051, False), (math.nan, False), (math.inf, False)]
)
def test_scan_from_the_future_is_refused(walls, ahead, accepted):
    before = walls.world.results[-1].counts['errors']
    result = walls.world.step(walls.scan(at=walls.world.now + 0.02 + ahead))
    assert (result.counts['errors'] == before) is accepted


def test_older_scan_frees_nothing(make_walls):
    walls = make_walls(velocity=(0.0, 0.0)).armed()
    free = walls.scan(at=walls.world.now)
    walls.points.append((0.2, 0.0))
    walls.step()
    for _ in range(50):
        result = walls.step(free)
    assert Cause.BREACHED in result.causes


@pytest.mark.parametrize('moving', [True, False])
def test_frozen_scanner_stops_a_robot_that_moves(make_walls, moving):
    walls = make_walls(velocity=(0.3, 0.0) if moving else (0.0, 0.0)).armed()
    walls.frozen = True
    result = walls.go(0.6)
    assert (result.state is State.CONTROLLED_STOP) is moving
    assert (result.cause is Cause.SCAN_FROZEN) is moving


def test_scanner_that_sees_nothing_is_not_frozen(walls):
    walls.points = []
    for _ in range(100):
        result = walls.world.step(walls.scan(signature=0))
    assert result.state is State.ACTIVE


def test_zones_are_judged_without_odom(make_walls):
    walls = make_walls(odom_required=False, odom_on=False).armed()
    walls.points.append((0.2, 0.0))
    assert walls.step().cause is Cause.ZONE_STOP


def test_scan_of_a_robot_without_zones_is_nothing(driving):
    scan = Scan(np.array([(0.1, 0.0)]), driving.now + 0.02, 1)
    assert driving.step(scan).state is State.ACTIVE


# -- the ladder --------------------------------------------------------------------------------


def test_request_to_be_slow_lasts_and_recovers(driving):
    result = driving.go(0.3, Stop(StopLevel.SLOW, 'monitor', 'odd actions'))
    assert (result.state, result.cause) == (State.ACTIVE, Cause.SLOW_REQUESTED)
    assert result.allowed[0] == pytest.approx(0.15)
    assert driving.go(2.5).published[0] == pytest.approx(0.3)
    events = [event for result in driving.results for event in result.events]
    # A request has no number, so nothing follows its name.
    assert [event.text for event in events if event.kind is EventKind.SPEED] == [
        'slower: SLOW_REQUESTED',
        'full speed after: SLOW_REQUESTED',
    ]


def test_every_rung_in_order(make_walls):
    walls = make_walls(slow=SLOW).armed()
    walls.points.append((0.7, 0.0))
    slow = walls.step()
    hold = walls.step(Stop(StopLevel.HOLD))
    stop = walls.step(Stop(StopLevel.CONTROLLED_STOP))
    walls.points.append((0.2, 0.0))
    estop = walls.step()
    states = [result.state for result in (slow, hold, stop, estop)]
    assert states == [State.ACTIVE, State.HOLD, State.CONTROLLED_STOP, State.ESTOP]
    assert slow.speed_scale == 0.5
    causes = [result.cause for result in (slow, hold, stop, estop)]
    assert causes == [
        Cause.ZONE_SLOW,
        Cause.HOLD_REQUESTED,
        Cause.STOP_REQUESTED,
        Cause.ZONE_STOP,
    ]


@pytest.mark.parametrize('distance', [0.8, 0.5])
@pytest.mark.parametrize('noise', [0.01, 0.03])
def test_speed_never_oscillates_under_noise(make_walls, distance, noise):
    """For 15 s at the border of a zone, or near a wall: the scale settles, and nothing is said."""
    walls = make_walls(slow=SLOW, approach=1.0).armed()
    walls.points, walls.noise = [(distance, 0.0)], noise
    walls.go(4.0)
    start = len(walls.world.results)
    walls.go(15.0)
    results = walls.world.results[start:]
    scales = [result.speed_scale for result in results]
    rises = sum(b > a for a, b in pairwise(scales))
    assert rises == 0
    assert sum(len(result.events) for result in results) == 0
    assert {result.state for result in results} == {State.ACTIVE}


def test_zone_takes_the_deepest_point():
    zone = Zone(STOP, 1)
    zone.take(np.array([(0.29, 0.0), (0.0, 0.1), (5.0, 0.0)]))
    assert (zone.hit.side, zone.hit.distance) == ('left', 0.1)
    zone.take(np.array([(0.34, 0.0)]))
    assert zone.breached
    zone.take(np.array([(0.36, 0.0)]))
    assert not zone.breached
    zone.take(np.array([(0.34, 0.0)]))
    assert not zone.breached
