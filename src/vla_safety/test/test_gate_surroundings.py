"""Fence and zones of the gate node: laser scans and poses through its topics."""

import math

import pytest

from vla_core.errors import ConfigError
from vla_interfaces.msg import Cause, SafetyEvent, SafetyState

ZONES = """
scan: {frame_id: scanner, x: 0.0, y: 0.0, yaw: 0.0, field_of_view: 6.2}
zones:
  stop: {front: 0.4, rear: 0.4, left: 0.4, right: 0.4}
  slow: {front: 1.0, rear: 1.0, left: 1.0, right: 1.0, speed_scale: 0.5}
"""
FENCE = 'geofence: {points: [[-2.0, -2.0], [2.0, -2.0], [2.0, 2.0], [-2.0, 2.0]]}'


def _transition(rig, cause):
    found = [event for event in rig.heard['safety/events'] if event.cause == cause]
    return found[-1] if found else None


def _approach_something(rig):
    """Drive, and let a wall come nearer; False if the machine stalled and the gate stopped."""
    rig.wall = 2.0
    rig.drive()
    stopped, estop = SafetyState.STATE_STOPPED, SafetyState.STATE_ESTOP
    rig.wall = 0.8
    rig.until(
        lambda: rig.last('safety/decision').speed_scale == 0.5 or rig.state() == stopped, 'slow'
    )
    rig.wall = 0.3
    rig.until(lambda: rig.state() in (estop, stopped), 'a stop')
    return rig.state() == estop


def test_scans_slow_and_then_stop(make_rig):
    rig = make_rig(sections=ZONES)
    assert any(_approach_something(rig) for _ in range(5))
    rig.until(lambda: _transition(rig, Cause.ZONE_SLOW), 'an event')
    assert _transition(rig, Cause.ZONE_SLOW).kind == SafetyEvent.KIND_SPEED
    rig.until(lambda: _transition(rig, Cause.ZONE_STOP), 'an event')
    event = _transition(rig, Cause.ZONE_STOP)
    assert event.to_state == SafetyState.STATE_ESTOP
    assert event.parameter.startswith('zones.stop.')
    assert (round(event.limit, 6), event.value < 0.4) == (0.4, True)


@pytest.mark.parametrize('bad', ['frame', 'blind', 'empty'])
def test_bad_scans_are_counted_and_keep_the_gate_in_init(make_rig, bad):
    rig = make_rig(sections=ZONES)
    rig.scan_frame = 'laser' if bad == 'frame' else 'scanner'
    rig.wall = math.nan if bad == 'blind' else 2.0
    rig.rays = 0 if bad == 'empty' else rig.rays
    rig.until(
        lambda: rig.heard['safety/state'] and rig.last('safety/state').errors_total > 5, 'errors'
    )
    state = rig.last('safety/state')
    assert state.state == SafetyState.STATE_INIT
    assert any('scan was never heard' in blocker for blocker in state.blockers)
    text = {'frame': 'laser', 'blind': 'max_invalid', 'empty': '0 rays'}[bad]
    events = rig.heard['safety/events']
    assert any(event.axis == 'scan' and text in event.text for event in events)


def test_pose_outside_the_fence_stops(make_rig):
    rig = make_rig(sections=FENCE)
    rig.drive()
    rig.x = 5.0

    def stopped_by_it():
        # A machine that stalls stops the robot before the fence does: back, and once more.
        if rig.state() == SafetyState.STATE_STOPPED and not _transition(rig, Cause.GEOFENCE):
            rig.x = 0.0
            rig.drive()
            rig.x = 5.0
        return _transition(rig, Cause.GEOFENCE)

    rig.until(stopped_by_it, 'an event')
    event = _transition(rig, Cause.GEOFENCE)
    assert event.to_state == SafetyState.STATE_CONTROLLED_STOP
    assert (event.axis, event.parameter) == ('inside the fence', 'geofence.points')
    assert event.value == pytest.approx(-3.0)
    rig.until_state(SafetyState.STATE_STOPPED)
    assert 'fence' in rig.call('arm').message


def test_lockstep_with_zones_is_refused(make_rig):
    with pytest.raises(ConfigError, match='zones: expected steady'):
        make_rig({'clock': 'lockstep', 'use_sim_time': True}, sections=ZONES)
