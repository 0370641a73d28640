"""Normalisation statistics of actions, in one pass over whatever does not fit into memory.

Shape legend: N rows, D axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vla_learning.data.errors import DataError

#: Rows up to which quantiles are exact. Beyond it they come from a uniform sample of this many,
#: whose 1 % quantile is off by 0.02 percentage points (two standard deviations).
EXACT_ROWS = 1_000_000


@dataclass(frozen=True)
class Statistics:
    """What a data set's actions are like, per axis; each tuple has D numbers.

    Attributes:
        axes: names.
        count: rows they were computed from.
        mean: of the rows.
        std: population standard deviation.
        min: smallest value.
        max: largest value.
        q01: quantile 0.01, linear between rows.
        q99: quantile 0.99.
    """

    axes: tuple[str, ...]
    count: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    min: tuple[float, ...]
    max: tuple[float, ...]
    q01: tuple[float, ...]
    q99: tuple[float, ...]

    @property
    def action_scale(self) -> tuple[float, ...]:
        """Value of ±1 of the native action: 98 % of the rows fit; 1 for an axis that rests."""
        larger = (max(abs(low), abs(high)) for low, high in zip(self.q01, self.q99, strict=True))
        return tuple(scale if scale > 1e-9 else 1.0 for scale in larger)

    def dict(self) -> dict[str, Any]:
        """Return plain values for JSON, YAML and the manifest."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Statistics:
        """Read what `dict` wrote."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})


class Accumulator:
    """Takes rows in pieces and gives their statistics.

    Args:
        axes: D names.
        exact_rows: as EXACT_ROWS.
        seed: of the sample beyond that.
    """

    def __init__(self, axes: Sequence[str], exact_rows: int = EXACT_ROWS, seed: int = 0) -> None:
        self._axes = tuple(axes)
        self._random = np.random.default_rng(seed)
        self._exact_rows = exact_rows
        self._count = 0
        self._mean = np.zeros(len(self._axes))
        self._squares = np.zeros(len(self._axes))
        self._min = np.full(len(self._axes), np.inf)
        self._max = np.full(len(self._axes), -np.inf)
        self._sample = np.empty((0, len(self._axes)))

    def add(self, rows: np.ndarray) -> None:
        """Take float [N, D]; all finite."""
        if not len(rows):
            return
        rows = rows.astype(np.float64)
        # Chan, Golub, LeVeque 1979, "Updating formulae and a pairwise algorithm": merge two parts.
        count, mean = self._count + len(rows), rows.mean(0)
        apart = mean - self._mean
        self._squares += ((rows - mean) ** 2).sum(0) + apart**2 * self._count * len(rows) / count
        self._mean += apart * len(rows) / count
        self._min = np.minimum(self._min, rows.min(0))
        self._max = np.maximum(self._max, rows.max(0))
        self._keep(rows)
        self._count = count

    def finish(self) -> Statistics:
        """Return the statistics of all rows.

        Raises:
            DataError: if there were none.
        """
        low, high = self.quantiles((0.01, 0.99))
        return Statistics(
            axes=self._axes,
            count=self._count,
            mean=tuple(self._mean.tolist()),
            std=tuple(np.sqrt(self._squares / self._count).tolist()),
            min=tuple(self._min.tolist()),
            max=tuple(self._max.tolist()),
            q01=tuple(low.tolist()),
            q99=tuple(high.tolist()),
        )

    def quantiles(self, levels: Sequence[float]) -> np.ndarray:
        """Return quantiles of the rows so far, float64 [len(levels), D].

        Raises:
            DataError: if there were none.
        """
        if not self._count:
            raise DataError('statistics of 0 rows: expected at least one good record')
        return np.quantile(self._sample, levels, axis=0)

    def _keep(self, rows: np.ndarray) -> None:
        """Keep a uniform sample (Vitter 1985, algorithm R, a piece at a time)."""
        room = self._exact_rows - len(self._sample)
        self._sample = np.concatenate((self._sample, rows[:room]))
        rest = rows[room:] if room < len(rows) else rows[:0]
        numbers = self._count + len(rows) - len(rest) + np.arange(len(rest))
        places = self._random.integers(0, numbers + 1)
        taken = places < self._exact_rows
        self._sample[places[taken]] = rest[taken]  # of two for one place the later stays, as in R
