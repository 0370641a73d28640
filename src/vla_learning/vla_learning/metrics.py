"""How far actions are from what was shown: five figures, and errors per axis in SI units.

An action is the first step of a chunk: the one that is due next. Only axes that the data teach
count. Everything else is in native units, [-1, 1] per axis. Whether an action is right is judged
by how the robot would move, which is not at all where the text is refused or "done" is said;
errors are those of the network's answer itself, a gripper's among them.

Shape legend: N answers, H horizon, D axes, A taught axes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vla_core.types import PolicySpec
from vla_learning.answers import Answers, Kind
from vla_learning.bootstrap import by_group, mean, Measure, ratio

#: An action is right if it is nearer than this (L2, native units).
SUCCESS_DISTANCE = 0.1
#: Shorter target actions are rest and have no direction.
REST = 1e-3
#: Cells per axis of the action space, and the share of the actions that makes a cell visited.
CELLS = 20
VISITED = 0.005


def known(answers: Answers) -> Answers:
    """Keep the answers to instructions whose right action is known."""
    keep = (answers.kind == Kind.INSTRUCTION) & answers.valid[:, 0].any(axis=-1)
    return answers.rows(keep)


def measures(answers: Answers) -> dict[str, Measure]:
    """Return the five figures, and the coverage of the target beside that of the policy."""
    kept = known(answers)
    valid = kept.valid[:, 0]
    predicted = np.where(valid, kept.predicted[:, 0], 0.0).astype(np.float64)
    target = np.where(valid, kept.target[:, 0], 0.0).astype(np.float64)
    error = predicted - target
    counted = valid.sum(axis=-1)

    def per_number(total: np.ndarray) -> Measure:
        return Measure(by_group(kept.group, np.stack([total, counted], axis=1)), ratio, -1)

    asked = np.where(kept.moving, target, 0.0)
    moves = np.linalg.norm(asked, axis=-1) >= REST
    done = np.where(valid, kept.behaviour, 0.0).astype(np.float64)
    right = np.linalg.norm(done - asked, axis=-1) < SUCCESS_DISTANCE
    answered = np.where(kept.moving, predicted, 0.0)
    return {
        'mse': per_number((error**2).sum(axis=-1)),
        'mae': per_number(np.abs(error).sum(axis=-1)),
        'cosine': mean(kept.group[moves], _cosine(answered[moves], asked[moves]), 1),
        'success': mean(kept.group, right, 1, rate=True),
        'coverage': _coverage(kept.group, predicted, valid),
        'target_coverage': _coverage(kept.group, target, valid),
    }


def axis_measures(answers: Answers, spec: PolicySpec) -> dict[str, dict[str, Measure]]:
    """Return mean absolute error, root mean square error and bias per taught axis, in its unit."""
    kept = known(answers)
    table = {}
    for axis in kept.axes:
        taught = kept.valid[:, 0, axis]
        error = (spec.to_si(kept.predicted) - spec.to_si(kept.target))[taught, 0, axis]
        groups = kept.group[taught]
        square = mean(groups, error**2, -1)
        table[spec.action_names[axis]] = {
            'mae': mean(groups, np.abs(error), -1),
            'rmse': Measure(square.sums, _root(ratio), -1),
            'bias': mean(groups, error),
        }
    return table


def step_errors(answers: Answers) -> list[float]:
    """Return the mean absolute error of each step of the chunk, native; NaN where unknown."""
    kept = known(answers)
    error = np.abs(np.where(kept.valid, kept.predicted - kept.target, 0.0))
    total, count = error.sum(axis=(0, 2)), kept.valid.sum(axis=(0, 2))
    return ratio(np.stack([total, count], axis=-1).astype(np.float64)).tolist()


def _cosine(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Cosine of the angle between actions [N, D]; 0 where the policy rests instead of moving."""
    lengths = np.linalg.norm(predicted, axis=-1) * np.linalg.norm(target, axis=-1)
    product = (predicted * target).sum(axis=-1)
    return np.divide(product, lengths, out=np.zeros_like(product), where=lengths >= REST**2)


def _coverage(groups: np.ndarray, actions: np.ndarray, valid: np.ndarray) -> Measure:
    """Share of the cells of [-1, 1] that actions [N, D] visit, averaged over the taught axes."""
    axes = np.flatnonzero(valid.any(axis=0))
    cell = np.clip(np.floor((actions[:, axes] + 1) / 2 * CELLS), 0, CELLS - 1).astype(int)
    visits = (cell[..., None] == np.arange(CELLS)) & valid[:, axes, None]
    sums = by_group(groups, visits.reshape(len(actions), -1).astype(np.float64))
    return Measure(sums, _visited_share)


def _visited_share(sums: np.ndarray) -> np.ndarray:
    visits = sums.reshape(*sums.shape[:-1], -1, CELLS)
    enough = np.maximum(VISITED * visits.sum(axis=-1, keepdims=True), 1e-9)
    if visits.shape[-2] == 0:
        return np.full(visits.shape[:-2], np.nan)
    return (visits >= enough).mean(axis=(-2, -1))


def _root(figure: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda sums: np.sqrt(figure(sums))
