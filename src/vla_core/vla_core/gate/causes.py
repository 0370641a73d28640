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
    ESTOP_INPUT = 40
    ESTOP_SERVICE = 41
    ESTOP_REQUESTED = 42
    ERRORS_IN_ROW = 43
    SECOND_WRITER = 44
    STOP_TIMEOUT = 45
    INTERNAL_ERROR = 46
    ASSERTION = 60


class Severity(enum.IntEnum):
    """Class of a cause: what it does to a moving robot."""

    NONE = 0
    OPERATIONAL = 1  # target zero, stays ACTIVE
    HICCUP = 2  # HOLD
    FAULT = 3  # CONTROLLED_STOP
    EMERGENCY = 4  # ESTOP, latched
    ASSERTION = 5  # FAULT


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
_SEVERITY = {
    cause: (
        Severity.NONE
        if cause == Cause.NONE
        else Severity.OPERATIONAL
        if cause < Cause.HEARTBEAT_LATE
        else Severity.HICCUP
        if cause < Cause.HEARTBEAT_LOST
        else Severity.FAULT
        if cause < Cause.ESTOP_INPUT
        else Severity.EMERGENCY
        if cause < Cause.ASSERTION
        else Severity.ASSERTION
    )
    for cause in Cause
}


def severity(cause: Cause) -> Severity:
    """Return the class of a cause."""
    return _SEVERITY[cause]


def first(causes: Iterable[Cause], wanted: Severity) -> Cause:
    """Return the cause of one class that comes first in the table; NONE if there is none."""
    return min((cause for cause in causes if _SEVERITY[cause] is wanted), default=Cause.NONE)
