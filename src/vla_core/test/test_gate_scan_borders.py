"""Exactly at the borders of a scan and of zones, around a base whose four sides all differ."""

from dataclasses import replace
import math

import numpy as np
import pytest

from vla_core.errors import ObservationError
from vla_core.gate.causes import Cause, State
from vla_core.gate.config import STAMP_AHEAD
from vla_core.gate.limits import Limits
from vla_core.gate.messages import Scan
from vla_core.gate.scan import measure, MOST_RAYS, Rays
from vla_core.gate.surroundings import Surroundings
from vla_core.gate.zones import in_box, nearest, outwards, reach, RELEASE, STANDOFF, Zone, Zones
from vla_core.surroundings import Box, ScanConfig, SlowBox, ZonesConfig

SCANNER = ScanConfig('base_scan', 0.0, 0.0, 0.0, 6.2)
REACH = 3.0
COUNT = 360
STEP = 2.0 * math.pi / COUNT
BOX = Box(1.0, 0.8, 0.6, 0.4)
SLOW = SlowBox(0.8, 0.5, 0.5, 0.5, 0.5)
SIDES = {'front': (1.0, 0.0), 'rear': (-1.0, 0.0), 'left': (0.0, 1.0), 'right': (0.0, -1.0)}
FAST = Limits((1.0, 1.0, 0.0, 0.0, 0.0, 2.0), (1.0,) * 6, (1.0,) * 6)


def _turn(count=COUNT, step=STEP, distance=2.0, **changes):
    """A scan of `count` rays whose angles agree with each other, unless changed."""
    last = step * (count - 1)
    rays = Rays('base_scan', 0.0, last, step, 0.1, 8.0, np.full(count, distance, np.float32))
    return replace(rays, **changes)


def _beyond(side, gap):
    """One point on the middle of a side of the box, further out by `gap`."""
    x, y = SIDES[side]
    distance = getattr(BOX, side) + gap
    return np.array([(x * distance, y * distance)])


def _approach(time, limits=FAST):
    return Zones(ZonesConfig(BOX, approach_time=time), limits).approach


# -- scans -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'rays',
    [
        pytest.param(_turn(MOST_RAYS, 2.0 * math.pi / MOST_RAYS), id='most rays'),
        pytest.param(_turn(362, 2.0 * math.pi / 359.5), id='a turn and 1.5 rays'),
        pytest.param(_turn(range_min=0.0), id='range_min 0'),
        pytest.param(_turn(range_max=REACH), id='range_max as far as the zones'),
        pytest.param(_turn(angle_max=STEP * (COUNT + 1)), id='angle_max off by two rays'),
        pytest.param(_turn(5, math.pi / 2.0, angle_max=2.0 * math.pi), id='a turn in steps of 90'),
        pytest.param(_turn(distance=REACH), id='as far as the zones'),
    ],
)
def test_scan_at_the_limit_is_taken(rays):
    points, _ = measure(rays, SCANNER, REACH)
    assert len(points) == len(rays.ranges)


@pytest.mark.parametrize(
    ('rays', 'part'),
    [
        pytest.param(_turn(2, math.radians(200.0)), 'below pi', id='increment of 200 degrees'),
        pytest.param(
            _turn(363, 2.0 * math.pi / 359.5), 'no more than a turn', id='a turn and 2.5 rays'
        ),
        pytest.param(_turn(2, math.pi), 'not 0 and below pi in', id='increment of half a turn'),
        pytest.param(_turn(range_min=math.inf), 'range_min inf', id='endless range_min'),
        pytest.param(
            _turn(frame_id='other'), 'the base the robot file names', id='frame of another'
        ),
    ],
)
def test_scan_just_beyond_the_limit_is_refused(rays, part):
    with pytest.raises(ObservationError, match=part):
        measure(rays, SCANNER, REACH)


@pytest.mark.parametrize(
    ('off', 'taken'),
    [(-2.1, False), (-1.9, True), (-1.0, True), (1.0, True), (1.9, True), (2.1, False)],
)
def test_angle_max_may_be_off_by_two_rays(off, taken):
    rays = _turn(angle_max=STEP * (COUNT - 1 + off))
    if taken:
        assert len(measure(rays, SCANNER, REACH)[0]) == COUNT
    else:
        with pytest.raises(ObservationError, match='angle_max'):
            measure(rays, SCANNER, REACH)


def test_scanner_shows_that_it_lives_by_what_is_beyond_the_zones():
    (near, one), (far, other) = (measure(_turn(distance=m), SCANNER, REACH) for m in (5.0, 6.0))
    assert len(near) == len(far) == 0
    assert one
    assert other
    assert one != other


@pytest.mark.parametrize(('distance', 'heard'), [(8.0, True), (8.001, False)])
def test_what_is_at_range_max_was_measured(distance, heard):
    _, signature = measure(_turn(distance=distance), SCANNER, REACH)
    assert bool(signature) is heard


@pytest.mark.parametrize('step', [0.01, 0.09])
@pytest.mark.parametrize(('share', 'taken'), [(-0.99, True), (0.5, True), (1.01, False)])
def test_scan_may_fall_short_by_two_rays_and_by_a_tenth_of_a_radian(step, share, taken):
    rays = _turn(50, step)
    view = 49 * step + share * min(2.0 * step, 0.1)
    config = replace(SCANNER, field_of_view=view)
    if taken:
        assert len(measure(rays, config, REACH)[0]) == 50
    else:
        with pytest.raises(ObservationError, match='scan covers'):
            measure(rays, config, REACH)


# -- zones -------------------------------------------------------------------------------------


@pytest.mark.parametrize(('gap', 'inside'), [(-0.01, True), (0.0, True), (0.01, False)])
@pytest.mark.parametrize('side', SIDES)
def test_each_side_of_a_box_is_where_it_is_said_to_be(side, gap, inside):
    assert in_box(_beyond(side, gap), BOX, 0.0).tolist() == [inside]


@pytest.mark.parametrize('side', SIDES)
def test_way_out_of_a_box_is_through_the_nearest_side(side):
    assert outwards(_beyond(side, -0.05), BOX).tolist() == [list(SIDES[side])]


@pytest.mark.parametrize('side', SIDES)
def test_each_side_of_a_breached_zone_is_further_out(side):
    zone = Zone(BOX, 1)
    for gap, breached in ((-0.01, True), (RELEASE - 0.01, True), (RELEASE + 0.01, False)):
        zone.take(_beyond(side, gap))
        assert zone.breached is breached


@pytest.mark.parametrize('age', [0.0, 0.25])
@pytest.mark.parametrize('side', SIDES)
def test_time_to_reach_starts_at_the_side_and_runs_with_the_age_of_the_scan(side, age):
    approach = _approach(3.0)
    approach.take(_beyond(side, 0.5), 10.0)
    x, y = SIDES[side]
    approach.scale((0.5 * x, 0.5 * y, 0.0, 0.0, 0.0, 0.0), 10.0 + age)
    assert approach.seconds == pytest.approx((0.5 - STANDOFF) / 0.5 - age)


def test_point_in_the_box_hides_none_that_is_ahead():
    approach = _approach(3.0)
    approach.take(np.array([(0.2, 0.0), (1.5, 0.0)]), 0.0)
    assert approach.scale((1.0, 0.0, 0.0, 0.0, 0.0, 0.0), 0.0) < 1.0


def test_farthest_point_that_matters_by_the_oldest_scan_slows():
    approach = _approach(2.0, replace(FAST, speed=(1.0, 0.0, 0.0, 0.0, 0.0, 0.0)))
    approach.take(_beyond('front', STANDOFF + 2.49), 0.0)
    assert approach.scale((1.0, 0.0, 0.0, 0.0, 0.0, 0.0), 0.5) == pytest.approx(2.49 / 2.5)


@pytest.mark.parametrize('time', [0.5, 3.0])
def test_approach_looks_as_far_as_the_fastest_corner_comes(time):
    limits = replace(FAST, speed=(0.3, 0.4, 9.0, 9.0, 9.0, 2.0))
    corner = math.hypot(0.3, 0.4) + 2.0 * math.hypot(1.0, 0.6)
    assert _approach(time, limits).reach == pytest.approx(corner * (time + 0.5) + STANDOFF)


def test_approach_slows_nothing_before_a_scan():
    approach = _approach(3.0)
    assert approach.seconds == math.inf
    assert approach.scale((1.0, 1.0, 0.0, 0.0, 0.0, 1.0), 0.0) == 1.0
    assert approach.seconds == math.inf


def test_scanner_reaches_as_far_as_a_breached_slow_zone(make_world):
    robot = make_world(scan=SCANNER, zones=ZonesConfig(slow=SLOW)).robot
    assert reach(robot) == pytest.approx(SLOW.radius + RELEASE)


@pytest.mark.parametrize(
    ('place', 'gap'),
    [
        ((0.0, 0.0), BOX.right),
        ((0.9, 0.0), BOX.front - 0.9),
        ((-0.7, 0.0), BOX.rear - 0.7),
        ((0.0, 0.5), BOX.left - 0.5),
        ((0.0, -0.3), BOX.right - 0.3),
    ],
)
def test_nearest_side_of_the_stop_zone_is_where_the_scanner_is_nearest(make_world, place, gap):
    scanner = replace(SCANNER, x=place[0], y=place[1])
    robot = make_world(scan=scanner, zones=ZonesConfig(BOX)).robot
    assert nearest(robot) == pytest.approx(gap)


@pytest.mark.parametrize(
    'without', [{'scan': None}, {'zones': None}, {'zones': ZonesConfig(slow=SLOW)}]
)
def test_without_a_stop_zone_nothing_is_too_near_to_be_seen(make_world, without):
    parts = {'scan': SCANNER, 'zones': ZonesConfig(BOX)} | without
    assert nearest(replace(make_world().robot, **parts)) == math.inf


@pytest.mark.parametrize('without', ['scan', 'zones'])
def test_without_scanner_or_zones_nothing_has_to_be_seen(make_world, without):
    parts = {'scan': SCANNER, 'zones': ZonesConfig(BOX), without: None}
    assert reach(replace(make_world().robot, **parts)) == 0.0


# -- around a robot ----------------------------------------------------------------------------


@pytest.fixture
def make_among(make_world):
    """Make a world that is scanned in every step, with one thing at `world.thing`."""

    def make(**changes):
        scanner = replace(SCANNER, **changes)
        world = make_world(scan=scanner, zones=ZonesConfig(Box(0.3, 0.3, 0.3, 0.3)))
        world.thing = (2.0, 0.0)
        world.extra_beats = lambda now: [Scan(np.array([world.thing]), now, round(now * 1e9))]
        world.until(State.STOPPED)
        return world

    return make


def test_robot_that_is_pushed_towards_a_thing_is_in_no_emergency(make_among):
    world = make_among()
    world.odom = (0.3, 0.0, 0.0, 0.0, 0.0, 0.0)
    world.go(0.2)
    world.thing = (0.2, 0.0)
    result = world.go(0.2)
    assert result.state is State.STOPPED
    assert Cause.BREACHED in result.causes


def test_scan_is_lost_after_the_robot_files_timeout(make_among):
    world = make_among(timeout=0.2)
    world.extra_beats = None
    assert Cause.SCAN_LOST not in world.go(0.18).causes
    assert Cause.SCAN_LOST in world.go(0.04).causes


@pytest.fixture
def around(make_world):
    robot = make_world(scan=SCANNER, zones=ZonesConfig(Box(0.3, 0.3, 0.3, 0.3))).robot
    return Surroundings(robot, Limits.of(robot))


def test_scan_that_was_never_heard_is_lost_and_not_invalid(around):
    causes = around.causes(State.ACTIVE, False, 0.0, 10.0)
    assert Cause.SCAN_LOST in causes
    assert Cause.SCAN_INVALID not in causes


@pytest.mark.parametrize('signature', [1, 2, 0])
def test_first_picture_of_a_scanner_is_a_new_one(around, signature):
    around.scan(Scan(np.zeros((0, 2)), 10.0, signature), 10.0)
    assert around.unchanged_age(10.0) == 0.0


def test_scan_from_a_clock_that_is_ahead_has_no_age_below_zero(around):
    around.scan(Scan(np.zeros((0, 2)), 10.04, 1), 10.0)
    assert around.scan_age(10.0) == 0.0


@pytest.mark.parametrize(
    ('at', 'said'), [(10.06, 'scan -0.060 s old'), (-math.inf, 'old: expected a stamp')]
)
def test_scan_of_no_possible_time_is_refused_with_its_age(around, at, said):
    with pytest.raises(ObservationError, match=said):
        around.scan(Scan(np.zeros((0, 2)), at, 1), 10.0)


def test_scan_may_be_as_far_ahead_as_clocks_differ(around):
    around.scan(Scan(np.zeros((0, 2)), 10.0 + STAMP_AHEAD, 1), 10.0)
    assert around.scan_age(10.0) == 0.0


def test_second_scan_of_one_stamp_counts_and_an_older_one_does_not(around):
    thing, nothing = np.array([(0.2, 0.0)]), np.zeros((0, 2))
    around.scan(Scan(nothing, 10.0, 1), 10.0)
    around.scan(Scan(thing, 10.0, 2), 10.0)
    assert around.zones.stop.breached
    around.scan(Scan(nothing, 9.9, 3), 10.0)
    assert around.zones.stop.breached


def test_zone_is_breached_until_a_scan_says_otherwise():
    zone = Zone(BOX, 1)
    assert (zone.breached, zone.hit.side) == (True, '')
    # No direction is known to be free.
    assert zone.escape((0.3, 0.1, 0.0, 0.0, 0.0, 0.0)) == (0.0,) * 6
    zone.take(np.zeros((0, 2)))
    assert zone.breached is False


def test_way_out_of_a_breach_is_slow_whatever_its_direction(around):
    around.scan(Scan(np.array([(0.2, 0.0)]), 10.0, 1), 10.0)
    free = around.escape((-0.3, 0.4, 0.0, 0.0, 0.0, 0.0))
    assert free[:2] == pytest.approx((-0.06, 0.08))


@pytest.mark.parametrize('speed', [0.03, 0.07, 0.1])
def test_way_out_of_a_breach_is_no_faster_than_the_person_wants(around, speed):
    around.scan(Scan(np.array([(0.2, 0.0)]), 10.0, 1), 10.0)
    assert around.escape((-speed, 0.0, 0.0, 0.0, 0.0, 0.0))[0] == pytest.approx(-speed)
