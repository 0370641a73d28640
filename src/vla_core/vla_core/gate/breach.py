"""A breach of the fence or of the stop zone: when it stops the robot, and when it only blocks."""

from vla_core.gate.causes import Cause


class Breach:
    """One border.

    A breach stops a robot that moves. Once the robot was still, or nothing could move it, the same
    breach only blocks: the policy's target is zero, arming is refused, and a person may drive out.
    """

    def __init__(self, cause: Cause) -> None:
        """Start free.

        Args:
            cause: of a breach by a moving robot.
        """
        self._cause = cause
        self._excused = False

    def judge(self, breached: bool, resting: bool) -> Cause:
        """Return what the border means now.

        Args:
            breached: now, with hysteresis.
            resting: the robot is still, or in a state in which nothing moves it.
        """
        self._excused = breached and (self._excused or resting)
        if not breached:
            return Cause.NONE
        return Cause.BREACHED if self._excused else self._cause
