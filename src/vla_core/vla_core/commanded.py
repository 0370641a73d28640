"""Whether the commands of a drive kept to the robot's limits, from what the gate said of each."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from vla_core.gate.causes import Cause, State
from vla_core.gate.config import STEP_TIMEOUT
from vla_core.gate.limits import approach, holds, Limits, Vector, ZERO

#: m/s, rad/s; a sum of floats is no breach.
ROUNDING = 1e-9
#: s by which the gate's own time may run ahead of its stamps: a step may be held up between the
#: two, but not for longer, for then it counts as hung.
LONGEST_LEAD = STEP_TIMEOUT
#: In these the gate changes a velocity within acceleration and deceleration; in all others it
#: commands zero at once.
SMOOTH = (State.ARMING, State.ACTIVE, State.MANUAL, State.HOLD, State.CONTROLLED_STOP)


@dataclass(frozen=True)
class Commanded:
    """One step of the gate.

    Attributes:
        number: of the step; the next one has the next number.
        stamp: s, when it was told, by the ROS clock.
        dt: s since the step before, by the gate.
        state: of the gate.
        cause: of the state.
        chunk: run and sequence of the chunk that is played; None: none moves the robot.
        published: six velocities, m/s and rad/s.
    """

    number: int
    stamp: float
    dt: float
    state: State
    cause: Cause
    chunk: tuple[int, int] | None
    published: Vector


@dataclass
class Audit:
    """What was found, by the gate's word on how long its steps took, and whether that is true.

    Attributes:
        commands: that were looked at.
        seconds: that they cover.
        boundaries: steps of a policy's drive at which another chunk began to be played.
        too_fast: commands that are not finite, or beyond a speed limit.
        too_sudden: commands beyond acceleration or deceleration × dt from the one before.
        at_boundaries: of these, how many at a boundary of chunks.
        not_zero: commands other than zero in a state that commands zero, or after a silence in
            which the base stops by itself.
        lead: s, the most by which the steps' dt ran ahead of their stamps.
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
    lead: float = 0.0
    stops: Counter[Cause] = field(default_factory=Counter)
    gaps: int = 0

    @property
    def kept(self) -> bool:
        """Whether changes could be judged, by a true dt, and all was within the limits."""
        judged = self.commands > self.gaps and self.lead < LONGEST_LEAD
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


def follows(state: State, dt: float) -> bool:
    """Say whether a command has to follow from the one before; zero is commanded otherwise."""
    return state in SMOOTH and dt < STEP_TIMEOUT


def run_ahead(lead: float, dt: float, passed: float) -> float:
    """Return by how much the steps' dt is ahead of their stamps after one more step, s.

    Whatever holds a step up between its time and its stamp comes to light as stamps that are
    ahead, so that dt is ahead later by no more than that. A gate that counts more time than
    passes gets further ahead with every such step. A silence, or a clock that was set back,
    begins anew.

    Args:
        lead: after the step before; 0 at the first.
        dt: s, by the gate.
        passed: s, by the stamps.
    """
    return 0.0 if passed < 0.0 or not dt < STEP_TIMEOUT else max(0.0, lead + dt - passed)


def audit(steps: Iterable[Commanded], limits: Limits) -> Audit:
    """Hold every command against the limits, and every change from one to the next."""
    found = Audit()
    before: Commanded | None = None
    lead = 0.0
    for step in steps:
        found.commands += 1
        found.too_fast += not holds(step.published, limits)
        found.not_zero += not follows(step.state, step.dt) and step.published != ZERO
        if before is None or step.number != before.number + 1:
            found.gaps += 1
            lead = 0.0
        else:
            _change(found, before, step, limits)
            lead = run_ahead(lead, step.dt, step.stamp - before.stamp)
            found.lead = max(found.lead, lead)
        before = step
    return found


def _change(found: Audit, before: Commanded, step: Commanded, limits: Limits) -> None:
    found.seconds += step.dt
    driven = step.state in (State.ARMING, State.ACTIVE) and step.chunk is not None
    boundary = driven and step.chunk != before.chunk
    found.boundaries += boundary
    if not beyond(before.published, step.published, limits, step.dt):
        return
    if follows(step.state, step.dt):
        found.too_sudden += 1
        found.at_boundaries += boundary
    elif step.published == ZERO:
        found.stops[step.cause] += 1
