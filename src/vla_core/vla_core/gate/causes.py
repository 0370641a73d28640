"""States of the gate, causes that change them, and which cause beats which."""

from collections.abc import Iterable
import enum


class State(enum.IntEnum):
    """The numbers of SafetyState.STATE_*."""

    INIT = 0
    STOPPED = 1
    ARMING = 2
    ACTIVE = 3
    MANUAL = 4
    HOLD = 5
    CONTROLLED_STOP = 6
    ESTOP = 7
    FAULT = 8


class Cause(enum.IntEnum):
    """The numbers of Cause.msg, where each is explained."""

    NONE = 0
    STOP_WORD = 1
    BREACHED = 2
    SLOW_REQUESTED = 4
    ZONE_SLOW = 5
    ZONE_APPROACH = 6
    FENCE_NEAR = 7
    HEARTBEAT_LATE = 10
    BUSY_TOO_LONG = 11
    CHUNK_LAPSED = 12
    HOLD_REQUESTED = 13
    HEARTBEAT_LOST = 20
    POLICY_RESTARTED = 21
    ESTOP_INPUT_LOST = 22
    CHUNK_LOST = 23
    ODOM_LOST = 24
    CAMERA_FROZEN = 25
    HOLD_BUDGET = 26
    STOP_REQUESTED = 27
    DISARMED = 28
    ODOM_INVALID = 29
    HUMAN_LOST = 30
    POLICY_HUNG = 31
    GEOFENCE = 32
    SCAN_LOST = 33
    SCAN_INVALID = 34
    SCAN_FROZEN = 35
    GATE_HUNG = 36
    ESTOP_INPUT = 40
    ESTOP_SERVICE = 41
    ESTOP_REQUESTED = 42
    ERRORS_IN_ROW = 43
    SECOND_WRITER = 44
    STOP_TIMEOUT = 45
    INTERNAL_ERROR = 46
    ZONE_STOP = 47
    ASSERTION = 60


class Severity(enum.IntEnum):
    """Class of a cause: what it does to a moving robot; the rungs of the ladder."""

    NONE = 0
    DEGRADED = 1  # a lower speed_scale
    OPERATIONAL = 2  # target zero, stays ACTIVE
    HICCUP = 3  # HOLD
    FAULT = 4  # CONTROLLED_STOP
    EMERGENCY = 5  # ESTOP, latched: no debounce, no count of errors, no ramp
    ASSERTION = 6  # FAULT


#: States in which the policy moves the robot, or may go on doing so by itself.
ARMED = frozenset({State.ARMING, State.ACTIVE, State.HOLD})
#: States in which something may move the robot.
MOVING = ARMED | {State.MANUAL, State.CONTROLLED_STOP}
#: Causes that concern the policy only: a person may drive all the same.
POLICY_CAUSES = frozenset(
    {
        Cause.STOP_WORD,
        Cause.HEARTBEAT_LATE,
        Cause.BUSY_TOO_LONG,
        Cause.CHUNK_LAPSED,
        Cause.HEARTBEAT_LOST,
        Cause.POLICY_RESTARTED,
        Cause.CHUNK_LOST,
        Cause.CAMERA_FROZEN,
        Cause.HOLD_BUDGET,
        Cause.POLICY_HUNG,
    }
)
#: First number of each class in Cause.msg.
_CLASSES = (
    (Cause.ASSERTION, Severity.ASSERTION),
    (Cause.ESTOP_INPUT, Severity.EMERGENCY),
    (Cause.HEARTBEAT_LOST, Severity.FAULT),
    (Cause.HEARTBEAT_LATE, Severity.HICCUP),
    (Cause.SLOW_REQUESTED, Severity.DEGRADED),
    (Cause.STOP_WORD, Severity.OPERATIONAL),
    (Cause.NONE, Severity.NONE),
)
_SEVERITY = {
    cause: next(found for lowest, found in _CLASSES if cause >= lowest) for cause in Cause
}


def severity(cause: Cause) -> Severity:
    """Return the class of a cause."""
    return _SEVERITY[cause]


def first(causes: Iterable[Cause], wanted: Severity) -> Cause:
    """Return the cause of one class that comes first in the table; NONE if there is none."""
    return min((cause for cause in causes if _SEVERITY[cause] is wanted), default=Cause.NONE)
