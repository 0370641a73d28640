"""Does it grow? A straight line through noisy values, and how steep it may be at most."""

from __future__ import annotations

from dataclasses import dataclass
import math
from statistics import NormalDist

import numpy as np

#: One-sided.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Trend:
    """Slope of a least-squares line, per unit of time, and its upper 95 % bound."""

    slope: float
    upper: float


def trend(times: np.ndarray, values: np.ndarray) -> Trend:
    """Fit a line; the bound is Student's, for independent residuals.

    Memory is no independent noise: give means over spans that are longer than what it remembers.

    Args:
        times: float [N], N >= 5, not all the same.
        values: float [N].
    """
    n = len(times)
    centred = times - times.mean()
    square = float(centred @ centred)
    slope = float(centred @ values) / square
    residuals = values - values.mean() - slope * centred
    error = math.sqrt(float(residuals @ residuals) / (n - 2) / square)
    return Trend(slope, slope + student_quantile(CONFIDENCE, n - 2) * error)


def student_quantile(probability: float, freedom: int) -> float:
    """Return a quantile of Student's distribution, to 0.2 % from 3 degrees of freedom on.

    Four terms of the expansion about the normal quantile: Abramowitz and Stegun, 26.7.5.
    """
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom ** (index + 1) for index, term in enumerate(terms))


def means(times: np.ndarray, values: np.ndarray, span: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of times and values over consecutive spans; the last one must be whole.

    Args:
        times: float [N], rising.
        values: float [N].
        span: length of each, in the unit of the times.
    """
    index = ((times - times[0]) // span).astype(int)
    whole = int((times[-1] - times[0]) // span)
    groups = [index == number for number in range(whole)]
    kept = [group for group in groups if group.any()]
    return (
        np.array([times[group].mean() for group in kept]),
        np.array([values[group].mean() for group in kept]),
    )
