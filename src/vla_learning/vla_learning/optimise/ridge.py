"""Ridge regression of a last layer.

Shape legend: N frames, U hidden units, O outputs.
"""

from __future__ import annotations

import numpy as np


def ridge(
    hidden: np.ndarray, wanted: np.ndarray, strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Find the linear layer that gives what is wanted, its weights kept small.

    Args:
        hidden: what goes in, [N, U].
        wanted: what comes out, [N, O].
        strength: of the penalty, in units of the mean variance of a hidden unit.

    Returns:
        Weight [O, U] and bias [O], float64.
    """
    middle, level = hidden.mean(axis=0, dtype=np.float64), wanted.mean(axis=0, dtype=np.float64)
    known = hidden - middle
    square = known.T @ known
    penalty = strength * np.trace(square) / len(square)
    # lstsq, because units that never move leave a singular square where the penalty is 0.
    weight = np.linalg.lstsq(
        square + penalty * np.eye(len(square)), known.T @ (wanted - level), rcond=None
    )[0].T
    return weight, level - weight @ middle
