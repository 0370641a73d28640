"""The numbers in events: what was judged, its value, its limit, and the key that sets it."""

import numpy as np
import pytest

from vla_core.gate.causes import Cause, State
from vla_core.gate.messages import Beat, Human, Odom, Scan, Stop, StopLevel
from vla_core.surroundings import Box, FenceConfig, ScanConfig, ZonesConfig

STEP = 0.02
SCANNER = ScanConfig('base_scan', 0.0, 0.0, 0.0, 6.2)
SQUARE = ((-2.0, -2.0), (2.0, -2.0), (2.0, 2.0), (-2.0, 2.0))


def _event(world, cause):
    return next(event for r in world.results for event in r.events if event.cause is cause)


def _numbers(world, cause):
    event = _event(world, cause)
    return event.axis, event.value, event.limit, event.parameter


def _policy_falls_silent(world):
    world.beating = False
    world.go(0.6)


def _person_falls_silent(world):
    world.step(Human((0.2, 0.0, 0.0, 0.0, 0.0, 0.0), world.now + STEP))
    world.go(0.6)


def _policy_is_busy(world):
    world.busy_age = 0.25
    world.step()


def _policy_hangs(world):
    world.busy_age = 0.75
    world.step()


def _chunk_ends(world):
    world.horizon = 2
    world.step()
    world.chunking = False
    world.go(0.4)


def _frames_grow_old(world):
    world.chunking = False
    world.go(0.6)


def _odometry_falls_silent(world):
    world.odom_on = False
    world.go(0.6)


def _robot_rolls_on(world):
    world.odom = (0.3, 0.0, 0.0, 0.0, 0.0, 0.0)
    world.step(Stop(StopLevel.CONTROLLED_STOP))
    world.go(2.1)


@pytest.mark.parametrize(
    ('happens', 'cause', 'axis', 'limit'),
    [
        (_policy_falls_silent, Cause.HEARTBEAT_LATE, 'policy heartbeat', 0.2),
        (_policy_falls_silent, Cause.HEARTBEAT_LOST, 'policy heartbeat', 0.5),
        (_person_falls_silent, Cause.HUMAN_LOST, 'cmd_vel_human silent', 0.5),
        (_robot_rolls_on, Cause.STOP_TIMEOUT, 'controlled stop', 2.0),
    ],
)
def test_span_that_is_over_is_said_in_the_step_in_which_it_ends(
    driving, happens, cause, axis, limit
):
    happens(driving)
    event = _event(driving, cause)
    assert (event.axis, event.limit, event.parameter) == (axis, limit, '')
    assert limit <= event.value < limit + 1.5 * STEP


@pytest.mark.parametrize(
    ('happens', 'cause', 'said'),
    [
        (_policy_falls_silent, Cause.HEARTBEAT_LATE, 'policy heartbeat {} s, limit 0.2 s'),
        (_policy_is_busy, Cause.BUSY_TOO_LONG, 'policy busy 0.25 s, limit 0.2 s (max_inference)'),
        (_policy_hangs, Cause.POLICY_HUNG, 'policy busy 0.75 s, limit 0.5 s (max_inference)'),
        (_chunk_ends, Cause.CHUNK_LAPSED, 'past the end of the chunk {} s, limit 0 s'),
        (
            _frames_grow_old,
            Cause.CHUNK_LAPSED,
            'observation age {} s, limit 0.6 s (max_observation_age)',
        ),
        (_odometry_falls_silent, Cause.ODOM_LOST, 'odom age {} s, limit 0.5 s (odom)'),
        (_person_falls_silent, Cause.HUMAN_LOST, 'cmd_vel_human silent {} s, limit 0.5 s'),
        (_robot_rolls_on, Cause.STOP_TIMEOUT, 'controlled stop {} s, limit 2 s'),
    ],
)
def test_numbers_are_said_with_their_unit(driving, happens, cause, said):
    happens(driving)
    event = _event(driving, cause)
    assert event.text.endswith(said.format(f'{event.value:.3g}'))


def test_frozen_camera_says_for_how_long(driving):
    driving.extra_beats = lambda now: [Beat('camera', now, 'front', unchanged_age=0.7)]
    driving.step()
    assert _numbers(driving, Cause.CAMERA_FROZEN) == ('camera unchanged', 0.7, 0.5, '')


def test_nearness_of_the_fence_says_how_near(make_world):
    world = make_world(fence=FenceConfig(SQUARE, 'odom', 0.4, 0.5), odom_on=False)
    for x in (*[0.0] * 80, 1.75):
        world.step(Odom(world.published, world.now + STEP, (x, 0.0, 0.0), 'odom'))
    expected = ('inside the fence', pytest.approx(0.25), 0.4, 'geofence.slow_within')
    assert _numbers(world, Cause.FENCE_NEAR) == expected


@pytest.fixture
def among(make_world):
    """A robot that drives ahead at 0.4 m/s, scanned in every step, a thing at `world.thing`."""
    zones = ZonesConfig(Box(0.3, 0.3, 0.3, 0.3), approach_time=1.0)
    world = make_world(scan=SCANNER, zones=zones, velocity=(0.4, 0.0))
    world.thing, world.pictures = (-2.0, 0.0), lambda now: round(now * 1e9)
    world.extra_beats = lambda now: [Scan(np.array([world.thing]), now, world.pictures(now))]
    return world.armed()


def test_approach_says_when_the_thing_would_be_reached(among):
    among.thing = (0.52, 0.0)
    among.step()
    expected = ('time to reach', pytest.approx(0.5), 1.0, 'zones.approach.time')
    assert _numbers(among, Cause.ZONE_APPROACH) == expected
    said = 'time to reach 0.5 s, limit 1 s (zones.approach.time)'
    assert _event(among, Cause.ZONE_APPROACH).text.endswith(said)


def test_frozen_scanner_says_for_how_long(among):
    among.pictures = lambda _: 7
    among.until(State.CONTROLLED_STOP)
    axis, value, limit, parameter = _numbers(among, Cause.SCAN_FROZEN)
    assert (axis, limit, parameter) == ('scan unchanged', 0.5, '')
    assert limit <= value < limit + 1.5 * STEP


def test_scanner_that_falls_silent_says_since_when(among):
    among.extra_beats = None
    among.until(State.CONTROLLED_STOP)
    axis, value, limit, parameter = _numbers(among, Cause.SCAN_LOST)
    assert (axis, limit, parameter) == ('scan age', SCANNER.timeout, 'scan.timeout')
    assert limit <= value < limit + 1.5 * STEP
    said = f'scan age {value:.3g} s, limit {limit:.3g} s (scan.timeout)'
    assert _event(among, Cause.SCAN_LOST).text.endswith(said)
