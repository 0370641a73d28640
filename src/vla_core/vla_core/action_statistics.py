"""What is ordinary and what is odd about a policy's actions, learned while it runs.

Shape legend: H horizon, D axes of an action.
"""

from collections.abc import Sequence
from dataclasses import dataclass
import math

import numpy as np

from vla_core.health import ALPHA, MINIMUM, Share

#: |action| in SI above which nothing is learned from it: the gate plays none.
GROSS = 10.0


@dataclass(frozen=True)
class ActionLimits:
    """From where on an action is odd.

    Attributes:
        z_score: deviations from the mean of an axis.
        sigma_floor: SI; smallest deviation assumed, so that a steady robot may start to move.
        jump: SI; change of an axis from one chunk's first step to the next one's.
        saturation: SI; |action| from which an axis is at its end.
        window: chunks whose memory the means keep.
        odd_share: share of odd chunks, 0..1, above which there is an alarm; below half of it that
            ends.
    """

    z_score: float
    sigma_floor: float
    jump: float
    saturation: float
    window: int
    odd_share: float = 0.2


class _Axis:
    """Running mean, variance and saturation of one axis."""

    __slots__ = ('mean', 'newest', 'saturation', 'variance')

    def __init__(self) -> None:
        self.mean = self.variance = self.saturation = 0.0
        self.newest = math.nan


class ActionStatistics:
    """Mean, variance and oddities of the actions of one policy run."""

    def __init__(self, names: Sequence[str], limits: ActionLimits) -> None:
        """Watch the axes `names`, D of them."""
        self.names = tuple(names)
        self._limits = limits
        self._axes = [_Axis() for _ in names]
        self._learned = 0
        self._previous: tuple[np.ndarray, int] | None = None
        # Ten times faster than the means: oddities matter before a slow drift does.
        weight = min(1.0, 10.0 / limits.window)
        self._odd = Share(weight, limits.odd_share, 0.5 * limits.odd_share)
        self._disagreement = math.nan
        self.anomalies = 0
        self.counts = dict.fromkeys(('non_finite', 'gross', 'z_score', 'jump'), 0)

    def record(
        self, data: np.ndarray, stamp_ns: int, step_dt: float, answer: np.ndarray | None = None
    ) -> frozenset[str]:
        """Judge a chunk, then learn from it.

        Args:
            data: float [H >= 1, D], SI; may hold anything, NaN too.
            stamp_ns: when step 0 is due, ns.
            step_dt: s between steps, > 0.
            answer: [steps, D] of the policy, before it was spliced into the command of the moment,
                which hides what it does from one frame to the next; None: the chunk is the answer.

        Returns:
            What is odd about it, keys of `counts`; empty for an ordinary chunk.
        """
        parts = (data,) if answer is None else (data, answer)
        if all(map(_within_gross, parts)):
            odd = self._learn(parts[-1][0].tolist())
            self._compare(data, stamp_ns, step_dt)
        else:
            finite = all(np.isfinite(part).all() for part in parts)
            odd = frozenset(('gross' if finite else 'non_finite',))
        self._count(odd)
        return odd

    def reject(self) -> None:
        """Count a chunk that did not even become an array: NaN, infinity or a wrong shape."""
        self._count(frozenset(('non_finite',)))

    @property
    def known(self) -> bool:
        """Say whether enough chunks were learned for the numbers below to mean anything."""
        return self._learned >= MINIMUM

    @property
    def variance(self) -> tuple[float, ...]:
        """Variance of each axis' first steps over the window, SI squared; NaN while unknown."""
        return tuple(axis.variance if self.known else math.nan for axis in self._axes)

    @property
    def saturation(self) -> tuple[float, ...]:
        """Share of first steps at the end of each axis, 0..1; NaN while unknown."""
        return tuple(axis.saturation if self.known else math.nan for axis in self._axes)

    @property
    def odd_share(self) -> float:
        """Share of odd chunks lately, 0..1."""
        return self._odd.value

    @property
    def odd(self) -> bool:
        """Say whether that is too many."""
        return self._odd.alarm

    @property
    def disagreement(self) -> float:
        """Mean |difference| of overlapping chunks on the worst axis, SI; NaN while none did."""
        return self._disagreement

    def _learn(self, first: list[float]) -> frozenset[str]:
        # Plain floats: for seven axes one loop is faster than twenty numpy calls.
        known, odd = self.known, set()
        limits = self._limits
        floor, jump, saturation = limits.sigma_floor, limits.jump, limits.saturation
        self._learned += 1
        weight = max(1.0 / self._learned, 1.0 / limits.window)
        for axis, value in zip(self._axes, first, strict=True):
            delta = value - axis.mean
            if known:
                deviation = math.sqrt(axis.variance)
                reach = limits.z_score * (deviation if deviation > floor else floor)
                if not -reach <= delta <= reach:
                    odd.add('z_score')
                    # An outlier teaches no more than the reach: one alone moves little, a
                    # lasting change is learned all the same.
                    delta = math.copysign(reach, delta)
            if abs(value - axis.newest) > jump:
                odd.add('jump')
            # West 1979, with exponential weights once the window is full.
            step = weight * delta
            axis.mean += step
            axis.variance = (1.0 - weight) * (axis.variance + delta * step)
            axis.saturation += weight * ((abs(value) >= saturation) - axis.saturation)
            axis.newest = value
        return frozenset(odd)

    def _compare(self, data: np.ndarray, stamp_ns: int, step_dt: float) -> None:
        """Measure how far the chunk contradicts the one before where both speak."""
        if self._previous is not None:
            older, older_ns = self._previous
            shift = round((stamp_ns - older_ns) * 1e-9 / step_dt)
            overlap = min(len(older) - shift, len(data)) if shift >= 0 else 0
            if overlap > 0:
                apart = np.abs(data[:overlap] - older[shift : shift + overlap])
                # The ufunc itself: apart.sum(axis=0).max() takes four times as long here.
                difference = max(np.add.reduce(apart).tolist()) / overlap
                if math.isnan(self._disagreement):
                    self._disagreement = difference
                self._disagreement += ALPHA * (difference - self._disagreement)
        self._previous = data, stamp_ns

    def _count(self, odd: frozenset[str]) -> None:
        for kind in odd:
            self.counts[kind] += 1
        self.anomalies += bool(odd)
        self._odd.record(bool(odd))


def _within_gross(part: np.ndarray) -> bool:
    # Whose squares add up to no more is within: a third of the time that abs and max take.
    return bool(np.vdot(part, part) <= GROSS**2 or np.abs(part).max() <= GROSS)
