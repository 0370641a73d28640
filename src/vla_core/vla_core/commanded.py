"""Whether the commands of a drive kept to the robot's limits, from what the gate said of each."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from vla_core.gate.causes import Cause, State
from vla_core.gate.limits import approach, holds, Limits, Vector, ZERO

#: m/s, rad/s; a sum of floats is no breach.
ROUNDING = 1e-9
#: In these the gate changes a velocity within acceleration and deceleration; in all others it
#: commands zero at once.
SMOOTH = (State.ARMING, State.ACTIVE, State.MANUAL, State.HOLD, State.CONTROLLED_STOP)


@dataclass(frozen=True)
class Commanded:
    """One step of the gate.

    Attributes:
        number: of the step; the next one has the next number.
        dt: s since the step before.
        state: of the gate.
        cause: of the state.
        chunk: run and sequence of the chunk that is played; None: none moves the robot.
        published: six velocities, m/s and rad/s.
    """

    number: int
    dt: float
    state: State
    cause: Cause
    chunk: tuple[int, int] | None
    published: Vector


@dataclass
class Audit:
    """What was found, by the gate's own word on how long its steps took.

    Attributes:
        commands: that were looked at.
        seconds: that they cover.
        boundaries: steps of a policy's drive at which another chunk began to be played.
        too_fast: commands that are not finite, or beyond a speed limit.
        too_sudden: commands beyond acceleration or deceleration × dt from the one before.
        at_boundaries: of these, how many at a boundary of chunks.
        not_zero: commands other than zero in a state that commands zero.
        stops: cause -> how often zero was commanded at once to a robot that moved, on purpose.
        gaps: steps whose predecessor is not there, so that the change is not judged.
    """

    commands: int = 0
    seconds: float = 0.0
    boundaries: int = 0
    too_fast: int = 0
    too_sudden: int = 0
    at_boundaries: int = 0
    not_zero: int = 0
    stops: Counter[Cause] = field(default_factory=Counter)
    gaps: int = 0

    @property
    def kept(self) -> bool:
        """Whether changes could be judged, and no command was against the limits."""
        judged = self.commands > self.gaps
        return judged and not (self.too_fast or self.too_sudden or self.not_zero)


def beyond(before: Vector, after: Vector, limits: Limits, dt: float) -> bool:
    """Say whether a change is larger than acceleration and deceleration allow in `dt` s.

    Args:
        before: six velocities.
        after: six velocities; of what is not finite nothing is said.
        limits: of the robot.
        dt: s, finite, >= 0.
    """
    allowed = approach(before, after, limits, dt)
    return any(abs(a - b) > ROUNDING for a, b in zip(allowed, after, strict=True))


def audit(steps: Iterable[Commanded], limits: Limits) -> Audit:
    """Hold every command against the limits, and every change from one to the next."""
    found = Audit()
    before: Commanded | None = None
    for step in steps:
        found.commands += 1
        found.too_fast += not holds(step.published, limits)
        found.not_zero += step.state not in SMOOTH and step.published != ZERO
        if before is None or step.number != before.number + 1:
            found.gaps += 1
        else:
            _change(found, before, step, limits)
        before = step
    return found


def _change(found: Audit, before: Commanded, step: Commanded, limits: Limits) -> None:
    found.seconds += step.dt
    driven = step.state in (State.ARMING, State.ACTIVE) and step.chunk is not None
    boundary = driven and step.chunk != before.chunk
    found.boundaries += boundary
    if not beyond(before.published, step.published, limits, step.dt):
        return
    if step.state in SMOOTH:
        found.too_sudden += 1
        found.at_boundaries += boundary
    elif step.published == ZERO:
        found.stops[step.cause] += 1
