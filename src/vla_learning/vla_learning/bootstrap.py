"""Figures with intervals, and differences between two policies with intervals and p-values.

Answers to one layout or recording resemble each other, so what is drawn again is never a single
answer but a whole group. Every figure is written as a function of sums over groups, which makes
one bootstrap serve means, ratios and histograms alike.

Shape legend: G groups, M sums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import math
import warnings

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 2000
#: Groups below which rates without a single difference are not yet known to be equal.
FEW = 20


@dataclass(frozen=True)
class Measure:
    """A figure as a function of sums over groups.

    Attributes:
        sums: float64 [G, M], what each group adds.
        of: sums [..., M] to figures [...].
        better: +1 where more is better, -1 where less is, 0 where it depends.
        rate: whether it is a share of answers, in [0, 1].
    """

    sums: np.ndarray
    of: Callable[[np.ndarray], np.ndarray]
    better: int = 0
    rate: bool = False

    @property
    def value(self) -> float:
        """The figure over all groups; NaN where nothing was counted."""
        return float(self.of(self.sums.sum(axis=0)))


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval.

    Attributes:
        value: NaN: nothing to measure.
        low: NaN: fewer than two groups.
        high: NaN: fewer than two groups.
        groups: independent groups behind it.
    """

    value: float
    low: float
    high: float
    groups: int


@dataclass(frozen=True)
class Difference(Estimate):
    """How much larger a figure is for B than for A, on the same groups.

    Attributes:
        p: two-sided p-value of "there is no difference".
    """

    p: float


def ratio(sums: np.ndarray) -> np.ndarray:
    """Divide the first sum by the second; NaN where the second is 0."""
    top, bottom = sums[..., 0], sums[..., 1]
    return np.divide(top, bottom, out=np.full_like(top, math.nan), where=bottom != 0)


def by_group(groups: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Add up rows [N, M] by group number [N]: float64 [G, M], groups in ascending order."""
    names, index = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, index, rows)
    return sums


def mean(groups: np.ndarray, values: np.ndarray, better: int = 0, rate: bool = False) -> Measure:
    """Make a mean of values [N] a measure."""
    rows = np.stack([values, np.ones(len(values))], axis=1)
    return Measure(by_group(groups, rows), ratio, better, rate)


def estimate(measure: Measure, seed: int = 0) -> Estimate:
    """Bootstrap a figure over its groups.

    Bias-corrected and accelerated (Efron, J. Am. Stat. Assoc. 82, 171, 1987). A rate that is the
    same in all groups gives the bootstrap nothing to draw; then each group counts as one trial.
    """
    sums = measure.sums[measure.sums.any(axis=1)]
    value, groups = measure.value, len(sums)
    if groups < 2 or math.isnan(value):
        return Estimate(value, math.nan, math.nan, groups)
    if measure.rate and value in (0.0, 1.0):
        low, high = proportion(round(value * groups), groups)
        return Estimate(value, low, high, groups)
    low, high = _bootstrap(lambda rows: measure.of(sums[rows].sum(axis=-2)), groups, seed)
    return Estimate(value, low, high, groups)


def difference(first: Measure, second: Measure, seed: int = 0) -> Difference:
    """Compare two policies on the same groups, in the same order.

    The interval draws groups with both policies' sums; the p-value comes from exchanging the
    policies' names in random groups, which changes nothing if they are equally good.
    """
    counted = first.sums.any(axis=1) | second.sums.any(axis=1)
    both = np.concatenate([first.sums[counted], second.sums[counted]])
    groups, value = int(counted.sum()), second.value - first.value
    if groups < 2 or math.isnan(value):
        return Difference(value, math.nan, math.nan, groups, math.nan)

    def between(ones: np.ndarray, others: np.ndarray, axis: int = -1) -> np.ndarray:
        return first.of(both[others].sum(axis=-2)) - first.of(both[ones].sum(axis=-2))

    if np.array_equal(both[:groups], both[groups:]):
        # That no group differs says little if there are few: then each counts as one trial.
        half = proportion(0, groups)[1] if first.rate and groups < FEW else 0.0
        return Difference(value, value - half, value + half, groups, 1.0)
    low, high = _bootstrap(lambda rows: between(rows, rows + groups), groups, seed)
    ones = np.arange(groups)
    test = stats.permutation_test(
        (ones, ones + groups),
        between,
        permutation_type='samples',
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=200,
        rng=np.random.default_rng(seed),
    )
    return Difference(value, low, high, groups, float(test.pvalue))


def proportion(successes: int, trials: int) -> tuple[float, float]:
    """Return the interval of a rate of independent trials (Wilson, 1927)."""
    interval = stats.binomtest(successes, trials).proportion_ci(CONFIDENCE, method='wilson')
    return float(interval.low), float(interval.high)


def paired_outcomes(first: np.ndarray, second: np.ndarray) -> Difference:
    """Compare successes bool [N] of two policies in the same episodes.

    The p-value is McNemar's, exact; the interval is Newcombe's for paired proportions (method 10
    of Stat. Med. 17, 2635, 1998), which does not shrink to nothing when no episode differs.
    """
    trials = len(first)
    if trials == 0:
        return Difference(math.nan, math.nan, math.nan, 0, math.nan)
    table = np.array([[(first & second).sum(), (first & ~second).sum()]])
    table = np.concatenate([table, [[(~first & second).sum(), (~first & ~second).sum()]]])
    lost, won = int(table[0, 1]), int(table[1, 0])
    p = float(stats.binomtest(lost, lost + won).pvalue) if lost + won else 1.0
    rates = second.mean(), first.mean()
    (low2, high2), (low1, high1) = (proportion(int(x.sum()), trials) for x in (second, first))
    product = float(np.prod(table.sum(axis=0)) * np.prod(table.sum(axis=1)))
    phi = 0.0
    if product > 0:
        agreement = int(table[0, 0]) * int(table[1, 1]) - lost * won
        # Newcombe's correction for continuity, only where the two agree more than by chance.
        agreement = max(agreement - trials / 2, 0.0) if agreement > 0 else agreement
        phi = agreement / math.sqrt(product)
    value = float(rates[0] - rates[1])
    down = _spread(rates[0] - low2, high1 - rates[1], phi)
    up = _spread(high2 - rates[0], rates[1] - low1, phi)
    return Difference(value, max(value - down, -1.0), min(value + up, 1.0), trials, p)


def _spread(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(one**2 - 2 * phi * one * other + other**2, 0.0))


def _bootstrap(
    figure: Callable[[np.ndarray], np.ndarray], groups: int, seed: int
) -> tuple[float, float]:
    """Return the interval of a figure of group numbers [..., G]."""

    def run(method: str) -> tuple[float, float]:
        # A distribution of one value cannot be corrected: scipy warns and answers NaN.
        with warnings.catch_warnings(), np.errstate(invalid='ignore', divide='ignore'):
            warnings.simplefilter('ignore', stats.DegenerateDataWarning)
            interval = stats.bootstrap(
                (np.arange(groups),),
                lambda rows, axis=-1: figure(rows),
                vectorized=True,
                n_resamples=RESAMPLES,
                batch=200,
                confidence_level=CONFIDENCE,
                method=method,
                rng=np.random.default_rng(seed),
            ).confidence_interval
        return float(interval.low), float(interval.high)

    low, high = run('BCa')
    return run('percentile') if math.isnan(low) or math.isnan(high) else (low, high)
