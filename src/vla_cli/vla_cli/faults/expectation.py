"""What a gate has to do about a fault by the rules (docs/reference/safety.md). Pure."""

from __future__ import annotations

from dataclasses import dataclass
import enum
import math

from vla_core.gate.causes import Cause, State
from vla_core.gate.limits import Vector, ZERO

#: s on top of a limit of the gate for the way there: a heartbeat (0.05), a step (0.02), and what
#: is left of the 0.30 s in which a killed policy (limit 0.20) must be noticed.
MARGIN = 0.10
#: s of silence on cmd_vel after which a base has to stop by itself.
BASE_TIMEOUT = 0.5
#: Velocities that a chunk may ask for: beyond every robot's limit and not yet nonsense; nonsense.
TOO_FAST: Vector = (5.0, *ZERO[1:])
BACK_AND_ROUND: Vector = (-5.0, *ZERO[1:5], 5.0)
GROSS: Vector = (1000.0, *ZERO[1:])


class Kind(enum.Enum):
    """What sort of reaction is right."""

    STOPS = 'the gate stops the robot, which rests until a person arms'
    GOES_ON = 'the robot goes on; a hold that ends by itself is allowed'
    LIMITED = 'the robot does what is asked as far as its limits allow'
    UNHARMED = 'the robot goes on or is stopped, within its limits; no process dies'
    BASE_STOPS = 'the gate is silent: the base stops by itself; nothing moves before a person arms'


@dataclass(frozen=True)
class Expected:
    """The right reaction to one fault.

    Attributes:
        kind: of reaction.
        within: s from the fault to the first smaller command.
        brakes: whether the robot may take v / max_decel on top of that until zero.
        ends: states in which the gate may be at last; empty: the gate has ended.
        causes: at least one of them must have been active; empty: whichever.
        asked: velocity of the six axes that the chunks ask for, if the kind is LIMITED.
    """

    kind: Kind
    within: float = math.inf
    brakes: bool = True
    ends: frozenset[State] = frozenset()
    causes: frozenset[Cause] = frozenset()
    asked: Vector = ZERO

    def __str__(self) -> str:
        """Say it in a few words."""
        if self.kind is Kind.GOES_ON:
            return 'goes on'
        if self.kind is Kind.LIMITED:
            return 'does it within its limits'
        if self.kind is Kind.UNHARMED:
            return 'within its limits, no process dies'
        ends = '/'.join(sorted(state.name for state in self.ends)) or 'graph ends'
        if self.kind is Kind.BASE_STOPS:
            return f'≤ {self.within:.2f} s, by the base itself; {ends}'
        causes = '/'.join(cause.name for cause in sorted(self.causes))
        return f'≤ {self.within:.2f} s, {causes}; {ends}'


def stops(limit: float, *causes: Cause, latched: bool = False, brakes: bool = True) -> Expected:
    """Return "slower MARGIN after a limit of the gate, then STOPPED, or ESTOP if latched"."""
    end = State.ESTOP if latched else State.STOPPED
    return Expected(Kind.STOPS, limit + MARGIN, brakes, frozenset({end}), frozenset(causes))


def limited(asked: Vector) -> Expected:
    """Return "commands what is asked as far as the robot's limits allow"."""
    return Expected(Kind.LIMITED, ends=frozenset({State.ACTIVE}), asked=asked)


GOES_ON = Expected(Kind.GOES_ON, ends=frozenset({State.ACTIVE}))
UNHARMED = Expected(
    Kind.UNHARMED,
    ends=frozenset({State.ACTIVE, State.HOLD, State.CONTROLLED_STOP, State.STOPPED}),
)
