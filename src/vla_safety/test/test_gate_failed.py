"""What reaches the gate past every guard of a callback (vla_ros.running) stops it."""

from geometry_msgs.msg import Twist

from vla_interfaces.msg import Cause, SafetyEvent, SafetyState


def test_error_that_no_guard_has_seen_latches_and_is_counted(rig):
    rig.drive()
    before = rig.last('safety/decision').errors_total
    rig.gate.failed(ValueError('x'))
    rig.until_state(SafetyState.STATE_ESTOP)
    decision = rig.last('safety/decision')
    assert decision.cause == Cause.INTERNAL_ERROR
    assert decision.errors_total == before + 1
    assert decision.published == Twist()
    rig.until(lambda: rig.speed == Twist(), 'zero')

    def told():
        return [
            event.text
            for event in rig.heard['safety/events']
            if event.cause == Cause.INTERNAL_ERROR and event.kind == SafetyEvent.KIND_WARNING
        ]

    rig.until(told, 'an event')
    assert told() == ['ValueError: x']
