"""How the chunks of a policy follow one another without jerks; pure, time injected.

A policy answers every frame with a plan of the next second or so. This module brings each plan to
the gate's rate, blends it with the older ones where that is wanted, and lets it begin where the
robot is told to be at that moment. The gate stays the last word on speed and acceleration.

Shape legend: H steps of the policy, K steps at the gate's period, D axes of an action.
"""

from collections import deque
from dataclasses import dataclass, replace
import math

import numpy as np

from vla_core.gate.limits import approach, Limits
from vla_core.player import ROUNDING
from vla_core.resample import POSITION, to_velocities, velocity_units
from vla_core.robot import RobotConfig
from vla_core.types import PolicySpec

#: s between the steps of what is sent: the gate's own.
PERIOD = 0.02
_PERIOD_NS = round(1e9 * PERIOD)
_ROUNDING_NS = round(1e9 * ROUNDING)
#: Limit of an axis that the robot does not have: the gate makes its command zero.
_NO_AXIS = 1e6
OVERLAPS = ('latest', 'weighted', 'temporal_ensemble')


@dataclass(frozen=True)
class Blending:
    """How a new chunk takes over.

    Attributes:
        overlap: `latest`: the newest chunk counts alone; `weighted`: where it overlaps with what
            was planned before, it has the share `newest_share`; `temporal_ensemble`: the mean of
            all chunks of the instruction that speak of a moment, weight exp(-age/ensemble_time).
        newest_share: in (0, 1].
        ensemble_time: s.
        splice_time: s in which the command goes over from the old plan to the new one.
    """

    overlap: str = 'latest'
    newest_share: float = 0.7
    ensemble_time: float = 0.4
    splice_time: float = 0.2


@dataclass(frozen=True)
class _Plan:
    """What the gate was told: rows [K, D] from `start_ns` on, given up at `until_ns`.

    `before` is the row before the first one.
    """

    start_ns: int
    rows: np.ndarray
    until_ns: int
    before: np.ndarray


def _row_at(span_ns: int) -> int:
    """Return which row is due so many ns after the start of the first; it may be past the last."""
    return (span_ns + _ROUNDING_NS) // _PERIOD_NS


def _from(rows: np.ndarray, span_ns: int, moving: np.ndarray) -> np.ndarray:
    """Return what rows [K, D] say from so many ns after their start on; before it, the first.

    Between two rows lies their mean, but for axes [D] that are not velocities.
    """
    whole = _row_at(span_ns)
    part = max(0, span_ns - whole * _PERIOD_NS) / _PERIOD_NS
    index = np.arange(whole, len(rows))
    here, then = (rows[np.clip(index + more, 0, len(rows) - 1)] for more in (0, 1))
    if part <= ROUNDING / PERIOD:
        return here
    return np.where(moving, (1.0 - part) * here + part * then, here)


def _later(rows: np.ndarray, span: float) -> np.ndarray:
    """Return the rows that are left s after their start, in steps that begin then."""
    whole = math.floor(max(0.0, span) / PERIOD)
    part = max(0.0, span) / PERIOD - whole
    left = rows[whole:]
    return (1.0 - part) * left[:-1] + part * left[1:] if part > ROUNDING else left


def _limits(spec: PolicySpec, robot: RobotConfig) -> Limits:
    """Return the robot's limits in the order of the policy's D axes."""
    axes = {axis.source: axis for axis in robot.axes if axis is not None}
    found = [axes.get(name) for name in spec.action_names]
    return Limits(
        speed=tuple(axis.max_speed if axis else _NO_AXIS for axis in found),
        accel=tuple(axis.max_accel if axis else _NO_AXIS for axis in found),
        decel=tuple(axis.max_decel if axis else _NO_AXIS for axis in found),
    )


_DEFAULT = Blending()


class Execution:
    """Makes of the chunks of one policy on one robot what is sent to the gate."""

    def __init__(
        self, spec: PolicySpec, robot: RobotConfig, blending: Blending = _DEFAULT
    ) -> None:
        """Begin at rest.

        Raises:
            CheckpointError: if the policy's actions cannot be made velocities.
        """
        self.units = velocity_units(spec)
        self._spec = spec
        self._limits = _limits(spec, robot)
        self._blending = blending
        longest = min(spec.max_observation_age, robot.max_observation_age)
        self._longest_ns = round(1e9 * longest)
        # The gate plays nothing older; one more, so that it is the age that ends a chunk there.
        self._most = math.ceil(longest / PERIOD) + 1
        self._moving = np.array([unit != POSITION for unit in self.units])
        horizon = self.velocities(np.zeros((spec.horizon, len(self.units))))
        self._still = np.zeros_like(horizon[: self._most])
        self._plan = _Plan(0, self._still, 0, self._still[0])
        # Newest first: stamps and velocities; of `weighted` what they were blended to.
        self._older: deque[tuple[int, np.ndarray]] = deque(maxlen=256)

    def begin(self) -> None:
        """Follow another instruction: what was planned for the one before is no advice."""
        self._older.clear()

    def velocities(self, actions: np.ndarray) -> np.ndarray:
        """Return a chunk of the policy, float [H, D] in SI, as velocities, float64 [K, D]."""
        return to_velocities(actions, self._spec, PERIOD)

    def rest(self, now_ns: int) -> np.ndarray:
        """Stand still from now on; return the zeros to send, float64 [K, D]."""
        self.begin()
        self._plan = replace(self._plan, until_ns=min(self._plan.until_ns, now_ns))
        return self._still

    def follow(self, velocities: np.ndarray, stamp_ns: int, now_ns: int) -> tuple[int, np.ndarray]:
        """Blend a chunk into what is being done.

        Args:
            velocities: float64 [K, D].
            stamp_ns: ROS time of its frame, at which its row 0 is due.
            now_ns: ROS time at which it is sent.

        Returns:
            When the first row to send is due, ns, and the rows: those that are over at `now_ns`
            are left out, and those that the gate would find too old. The first one is what the
            robot is told at present.
        """
        target = self._within(self._blend(velocities, stamp_ns)[: self._most])
        start_ns = self._start(stamp_ns, now_ns, len(target))
        speed, change = self._present(now_ns)
        rows = self._splice(_from(target, start_ns - stamp_ns, self._moving), speed, change)
        end_ns = start_ns + len(rows) * _PERIOD_NS
        until_ns = min(end_ns, stamp_ns + self._longest_ns)
        self._plan = _Plan(start_ns, rows, until_ns, speed - change * PERIOD)
        return start_ns, rows

    def _start(self, stamp_ns: int, now_ns: int, count: int) -> int:
        """Return when the row began that is due now, of so many rows from the frame's stamp on.

        A plan goes on in the steps of the one before: were they counted from each frame anew, a
        row that lasts longer than frames are apart would begin again and again, and never end.
        """
        plan = self._plan
        goes_on = plan.start_ns <= now_ns + _ROUNDING_NS and now_ns < plan.until_ns
        begun = plan.start_ns if goes_on else stamp_ns
        start = begun + max(_row_at(now_ns - begun), 0) * _PERIOD_NS
        return min(start, stamp_ns + (count - 1) * _PERIOD_NS)

    def _within(self, rows: np.ndarray) -> np.ndarray:
        """Bring rows within the robot's speed as the gate will: all axes of a row by one ratio.

        A plan that is faster than the robot would go on at full speed while it comes down to that.
        """
        most = np.array(self._limits.speed)
        ratio = np.min(most / np.maximum(np.abs(rows), most), axis=1, keepdims=True)
        return np.where(self._moving, rows * ratio, rows)

    def _blend(self, newest: np.ndarray, stamp_ns: int) -> np.ndarray:
        blending = self._blending
        if blending.overlap == 'latest':
            return newest
        target = newest.copy()
        if blending.overlap == 'weighted':
            # What was seen later than now was seen before the clock went back.
            if self._older and self._older[0][0] <= stamp_ns:
                older = _later(self._older[0][1], (stamp_ns - self._older[0][0]) * 1e-9)
                both = min(len(older), len(newest))
                share = blending.newest_share
                target[:both] = share * newest[:both] + (1.0 - share) * older[:both]
            self._older.clear()
            self._older.appendleft((stamp_ns, target))
        else:
            while self._older and self._older[0][0] > stamp_ns:
                self._older.popleft()
            self._older.appendleft((stamp_ns, newest))
            weights = np.zeros((len(newest), 1))
            target[:] = 0.0
            for older_ns, rows in self._older:
                age = (stamp_ns - older_ns) * 1e-9
                older = _later(rows, age)
                weight = math.exp(-age / blending.ensemble_time)
                target[: len(older)] += weight * older
                weights[: len(older)] += weight
            target /= weights
            if not len(older):
                self._older.pop()
        target[:, ~self._moving] = newest[:, ~self._moving]
        return target

    def _splice(self, target: np.ndarray, speed: np.ndarray, change: np.ndarray) -> np.ndarray:
        """Go from the present command and its rate of change over to the target.

        The way is a cubic in time from the present to the first row of the target that can be
        reached: of all ways with the same ends that is the one of least mean square jerk (Flash
        and Hogan 1985, for one order less). Done anew with every chunk it is a well damped
        follower of second order. No row is further from the one before than the gate allows, and
        none goes the other way if neither the present nor the target does.
        """
        meet, span, slope = self._aim(target, speed)
        at = np.arange(len(target)) * PERIOD
        x = np.minimum(at / span, 1.0)[:, None]
        way = x * x * (3.0 - 2.0 * x)
        wanted = (1.0 - way) * speed + way * target[meet]
        wanted += span * x * (1.0 - x) * ((1.0 - x) * change - x * slope)
        # A row that is over before it is reached: what follows it may come to meet the way.
        later = (at > at[meet])[:, None]
        back = np.where(
            target[meet] < speed, np.maximum(wanted, target), np.minimum(wanted, target)
        )
        wanted = self._within(np.where(x < 1.0, np.where(later, back, wanted), target))
        both = np.vstack((speed, target))
        wanted = np.clip(
            wanted,
            np.where((both >= 0.0).all(axis=0), 0.0, -np.inf),
            np.where((both <= 0.0).all(axis=0), 0.0, np.inf),
        )
        wanted[:, ~self._moving] = target[:, ~self._moving]
        rows = [tuple(speed.tolist())]
        for row in wanted[1:].tolist():
            rows.append(approach(rows[-1], tuple(row), self._limits, PERIOD))
        result = np.array(rows)
        result[:, ~self._moving] = target[:, ~self._moving]
        return result

    def _aim(self, target: np.ndarray, speed: np.ndarray) -> tuple[int, float, np.ndarray]:
        """Return the row to lead to, after how many s, and its rate of change there.

        It is the first one that can be reached, or the last. Where the target first goes so far
        the other way that no splice hides it, a stop or a turn, it is the furthest row of that.
        """
        strictest = np.minimum(self._limits.accel, self._limits.decel)
        apart = target - speed
        # 1.5: largest slope of the cubic 3 x^2 - 2 x^3.
        needed = 1.5 * np.abs(apart) / strictest
        spans = np.maximum(needed.max(axis=1), self._blending.splice_time)
        at = np.arange(len(target)) * PERIOD
        reached = np.flatnonzero(at >= spans - ROUNDING)
        meet = int(reached[0]) if len(reached) else len(target) - 1
        far = needed[:meet] > self._blending.splice_time
        other = ((apart[:meet] * apart[meet] <= 0.0) & far).any(axis=1)
        if other.any():
            begin = int(other.argmax())
            end = begin + int(np.append(~other[begin:], True).argmax())
            meet = begin + int(spans[begin:end].argmax())
        elif len(reached):
            slope = (target[meet] - target[meet - 1]) / PERIOD
            return meet, float(at[meet]), np.clip(slope, -strictest, strictest)
        return meet, float(spans[meet]), np.zeros(len(speed))

    def _present(self, now_ns: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the velocity that the gate is told now, float64 [D], and its rate of change.

        Past its end a plan brakes, as the gate does.
        """
        plan = self._plan
        due = _row_at(min(now_ns, plan.until_ns) - plan.start_ns)
        index = min(max(due, 0), len(plan.rows) - 1)
        speed = np.where(self._moving, plan.rows[index], 0.0)
        change = (speed - (plan.rows[index - 1] if index else plan.before)) / PERIOD
        if now_ns < plan.until_ns:
            return speed, np.where(self._moving, change, 0.0)
        braked = (now_ns - plan.until_ns) * 1e-9 * np.array(self._limits.decel)
        left = np.where(self._moving, np.maximum(np.abs(speed) - braked, 0.0), 0.0)
        return np.copysign(left, speed), np.zeros(len(speed))
