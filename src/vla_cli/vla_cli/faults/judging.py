"""Compare what a gate did with what it had to do. Pure: samples in, complaints out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import itertools
import math

from vla_cli.faults.expectation import BASE_TIMEOUT, Expected, Kind
from vla_cli.reaction import Point, react, Reaction, SLOWER, travelled
from vla_core.commanded import beyond, follows, LONGEST_LEAD, run_ahead
from vla_core.gate.causes import ARMED, Cause, State
from vla_core.gate.limits import clamp, holds, Limits, Vector, ZERO

#: m/s at which a base counts as standing, by its odometry.
_STILL = 0.02
#: s without odometry over which its speed may be interpolated.
_LONGEST_GAP = 0.2


@dataclass(frozen=True)
class Sample:
    """One step of the gate.

    Attributes:
        at: s after the fault; negative: before it.
        tick: number of the step.
        dt: s since the step before.
        state: of the gate.
        cause: of the state.
        causes: active.
        velocity: published; m/s, rad/s of the six axes.
    """

    at: float
    tick: int
    dt: float
    state: State
    cause: Cause
    causes: frozenset[Cause]
    velocity: Vector


@dataclass(frozen=True)
class Record:
    """All that is known of one repetition.

    Attributes:
        speed: m/s, before the fault.
        samples: steps of the gate, from just before the fault to the end of the watch.
        odometry: of the base, s after the fault and m/s; it may have fallen silent.
        frame_rate: Hz of the camera, just before the fault.
        pause: s, the longest for which the machine itself stood still meanwhile.
        trouble: what else went wrong, in words.
    """

    speed: float
    samples: Sequence[Sample]
    odometry: Sequence[Point] = ()
    frame_rate: float = 0.0
    pause: float = 0.0
    trouble: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """One repetition, judged.

    Attributes:
        speed: m/s, before the fault.
        frame_rate: Hz of the camera, before the fault.
        pause: s, the longest for which the machine itself stood still meanwhile.
        reaction: when it slowed down and stood.
        distance: m from the fault to standing; NaN: it never stood.
        measured_by: what the distance comes from, odom or command.
        state: the gate's last; None: the gate has ended.
        cause: of that state.
        causes: active at any time since the fault.
        rested: whether it published nothing but zero after the first zero.
        complaints: what was not as expected.
    """

    speed: float
    frame_rate: float
    pause: float
    reaction: Reaction
    distance: float
    measured_by: str
    state: State | None
    cause: Cause
    causes: frozenset[Cause]
    rested: bool
    complaints: tuple[str, ...]


def judge(record: Record, expected: Expected, limits: Limits) -> Outcome:
    """Judge one repetition.

    Args:
        record: what happened; at least one sample.
        expected: what should have.
        limits: of the robot.
    """
    commands = [(sample.at, sample.velocity[0]) for sample in record.samples]
    last = record.samples[-1]
    by_base = react(record.odometry, record.speed, _STILL)
    by_odometry = _covers(record.odometry, by_base.zero)
    reaction = Reaction(math.inf, math.inf)
    if expected.kind is Kind.BASE_STOPS:
        reaction = by_base
    elif expected.kind is not Kind.LIMITED:
        reaction = react(commands, record.speed)
    distance = math.nan
    if math.isfinite(reaction.zero):
        path = record.odometry if by_odometry else commands
        standing = by_base.zero if by_odometry else reaction.zero
        driven = [point for point in path if point[0] <= standing]
        distance = travelled(driven, record.speed)
    seen = frozenset(itertools.chain.from_iterable(s.causes for s in record.samples if s.at >= 0))
    complaints = [
        *record.trouble,
        *_out_of_limits(record.samples, limits),
        *_CHECKS[expected.kind](reaction, record, expected, limits),
    ]
    if expected.kind is not Kind.BASE_STOPS:
        complaints += _silences(record.samples)
    if expected.ends and last.state not in expected.ends:
        ends = '/'.join(sorted(state.name for state in expected.ends))
        complaints.append(f'the gate ends in {last.state.name}: expected {ends}')
    if expected.causes and not expected.causes & seen:
        wanted = ' or '.join(cause.name for cause in sorted(expected.causes))
        found = ', '.join(cause.name for cause in sorted(seen)) or 'none'
        complaints.append(f'causes {found}: expected {wanted}')
    if complaints and record.pause:
        complaints.append(f'meanwhile the machine itself stood still for {record.pause:.2f} s')
    return Outcome(
        record.speed,
        record.frame_rate,
        record.pause,
        reaction,
        distance,
        'odom' if by_odometry else 'command',
        last.state if expected.ends else None,
        last.cause,
        seen,
        _rested(record.samples),
        tuple(complaints),
    )


def _stops(reaction: Reaction, record: Record, expected: Expected, limits: Limits) -> list[str]:
    complaints = []
    if not reaction.start <= expected.within:
        complaints.append(f'slower after {_s(reaction.start)}: expected {expected.within:.2f} s')
    zero = expected.within
    if expected.brakes:
        zero += abs(record.speed) / limits.decel[0]
    if not reaction.zero <= zero:
        complaints.append(f'zero after {_s(reaction.zero)}: expected {zero:.2f} s')
    # A gate that has ended says nothing more.
    if expected.ends and not _rested(record.samples):
        complaints.append('moved again before anybody armed')
    return complaints


def _goes_on(reaction: Reaction, record: Record, expected: Expected, limits: Limits) -> list[str]:
    worst = [sample for sample in record.samples if sample.state not in ARMED]
    if worst:
        return [f'{worst[0].state.name} for {worst[0].cause.name}: expected no stop']
    speed = record.samples[-1].velocity[0]
    if not speed >= record.speed - SLOWER:
        return [f'{speed:.2f} m/s at the end: expected {record.speed:.2f}']
    return []


def _limited(reaction: Reaction, record: Record, expected: Expected, limits: Limits) -> list[str]:
    worst = [sample for sample in record.samples if sample.state not in ARMED]
    if worst:
        return [f'{worst[0].state.name} for {worst[0].cause.name}: expected no stop']
    velocity, allowed = record.samples[-1].velocity, clamp(expected.asked, limits.speed)
    return [] if reaches(velocity, allowed) else [f'{velocity} at the end: expected {allowed}']


def reaches(velocity: Vector, allowed: Vector) -> bool:
    """Say whether a command is as good as the one that is allowed, axis by axis."""
    return all(abs(a - b) <= SLOWER for a, b in zip(velocity, allowed, strict=True))


def _unharmed(reaction: Reaction, record: Record, expected: Expected, limits: Limits) -> list[str]:
    stopped = record.samples[-1].state is State.STOPPED
    return ['moved again before anybody armed'] if stopped and not _rested(record.samples) else []


_CHECKS = {
    Kind.STOPS: _stops,
    Kind.GOES_ON: _goes_on,
    Kind.LIMITED: _limited,
    Kind.UNHARMED: _unharmed,
    Kind.BASE_STOPS: _stops,
}


def _covers(odometry: Sequence[Point], standing: float) -> bool:
    """Say whether odometry went on from the fault until the base stood."""
    stopping = [at for at, _ in odometry if 0.0 <= at <= standing]
    gaps = [later - sooner for sooner, later in itertools.pairwise((0.0, *stopping))]
    return math.isfinite(standing) and max(gaps, default=math.inf) < _LONGEST_GAP


def _rested(samples: Sequence[Sample]) -> bool:
    """Say whether nothing but zero was published after the first zero that followed the fault."""
    after = (sample for sample in samples if sample.at >= 0.0)
    rest = itertools.dropwhile(lambda sample: any(sample.velocity), after)
    return not any(any(sample.velocity) for sample in rest)


def _out_of_limits(samples: Sequence[Sample], limits: Limits) -> list[str]:
    """Find the first command beyond the robot file's speed or acceleration, or a dt not true."""
    lead = 0.0
    for before, sample in itertools.pairwise((None, *samples)):
        if not holds(sample.velocity, limits):
            return [f'published {sample.velocity}: expected within {limits.speed}']
        known = before if before and sample.tick == before.tick + 1 else None
        lead = run_ahead(lead, sample.dt, sample.at - known.at) if known else 0.0
        if lead >= LONGEST_LEAD:
            return [
                f'dt runs ahead of the stamps by {lead:.2f} s: expected less than {LONGEST_LEAD} s'
            ]
        if not follows(sample.state, sample.dt):
            if sample.velocity != ZERO:
                return [f'published {sample.velocity} in {sample.state.name}: expected zero']
            continue
        if known and beyond(known.velocity, sample.velocity, limits, sample.dt):
            return [
                f'published {known.velocity}, then {sample.velocity} after {sample.dt:.3f} s: '
                f'expected acceleration within {limits.accel}, deceleration within {limits.decel}'
            ]
    return []


def _silences(samples: Sequence[Sample]) -> list[str]:
    """Find a silence of the gate in which a base would have stopped by itself."""
    gaps = [later.at - sooner.at for sooner, later in itertools.pairwise(samples)]
    longest = max(gaps, default=0.0)
    if longest < BASE_TIMEOUT:
        return []
    return [f'the gate was silent for {longest:.2f} s: expected less than {BASE_TIMEOUT} s']


def _s(seconds: float) -> str:
    return f'{seconds:.2f} s' if math.isfinite(seconds) else 'never'
