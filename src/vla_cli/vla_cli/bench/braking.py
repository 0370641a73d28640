"""What a fault did to the robot, read from what its base received."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math

from vla_cli.reaction import react

#: Monotonic receive time, s, and forward speed, m/s.
Commands = Sequence[tuple[float, float]]
#: Monotonic receive time, s, and place, m.
Places = Sequence[tuple[float, float, float]]


@dataclass(frozen=True)
class Braking:
    """Answer to one fault.

    Attributes:
        start: s from the fault to the first clearly smaller command.
        zero: s from the fault to the first command that is zero.
        distance: m from where the robot was at the fault to where it was last seen.
        complete: false if the robot went on; what did not come took at least as long as stated.
    """

    start: float
    zero: float
    distance: float
    complete: bool


def braking(commands: Commands, places: Places, fault: float, speed: float, end: float) -> Braking:
    """Read the answer to a fault.

    Args:
        commands: everything received on cmd_vel, in order.
        places: everything received on odom, in order; at least one from before the fault.
        fault: monotonic time of the fault, s.
        speed: m/s before it.
        end: until when was listened, s.
    """
    found = react([(at - fault, value) for at, value in commands], speed)
    span = end - fault
    before = [place for place in places if place[0] <= fault]
    return Braking(
        min(found.start, span),
        min(found.zero, span),
        math.dist(before[-1][1:], places[-1][1:]),
        found.zero < span,
    )
