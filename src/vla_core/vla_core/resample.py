"""From the steps of a policy to the steps of the gate: velocities at another rate.

Shape legend: H steps of the policy, K steps at the wanted period, D axes of an action.
"""

import math

import numpy as np

from vla_core.errors import CheckpointError
from vla_core.player import ROUNDING
from vla_core.types import PolicySpec, Representation

#: Unit of a column without one: a position of the gripper, which is held and never blended.
POSITION = '1'
_RATES = {'m': 'm/s', 'rad': 'rad/s', POSITION: POSITION}


def velocity_units(spec: PolicySpec) -> tuple[str, ...]:
    """Return the D units in which the actions of a policy reach the gate.

    Raises:
        CheckpointError: if its actions cannot be made velocities: they are absolute poses, or in
            units that do not belong to their representation.
    """
    if spec.representation is Representation.VELOCITY:
        return spec.action_units
    if spec.representation is Representation.ABSOLUTE:
        raise CheckpointError(
            f'{spec.model_id} gives ABSOLUTE poses, which need a controller that knows where the '
            'robot is: expected VELOCITY, DELTA or RELATIVE'
        )
    unknown = [unit for unit in spec.action_units if unit not in _RATES]
    if unknown:
        raise CheckpointError(
            f'{spec.model_id} gives {spec.representation.name} in {unknown[0]!r}: '
            f'expected some of {list(_RATES)}'
        )
    return tuple(_RATES[unit] for unit in spec.action_units)


def to_velocities(actions: np.ndarray, spec: PolicySpec, period: float) -> np.ndarray:
    """Turn a chunk of a policy into velocities at another period.

    Args:
        actions: float [H, D], SI, of the policy's representation.
        spec: contract of the policy; `velocity_units` must accept it.
        period: s between the steps of the result.

    Returns:
        float64 [K, D] in the units of `velocity_units`; its end is within half a period of theirs.
    """
    kind = spec.representation
    rows = resample(actions, spec.step_dt, period, kind, spec.action_units)
    if kind is Representation.RELATIVE:
        rows = _steps_between(rows, spec)
    # Of the last one the chunk may cover a part: it is no slower for that, or left out.
    covered = len(actions) * spec.step_dt - (len(rows) - 1) * period
    if kind is not Representation.VELOCITY:
        moving = np.array([unit != POSITION for unit in spec.action_units])
        spans = np.full((len(rows), 1), period)
        spans[-1] = covered
        rows[:, moving] /= spans
    return rows[:-1] if covered < period / 2 and len(rows) > 1 else rows


def resample(
    data: np.ndarray,
    step_dt: float,
    period: float,
    representation: Representation,
    units: tuple[str, ...],
) -> np.ndarray:
    """Bring a chunk to another rate.

    A velocity is that of the middle of its step, and interpolated between the middles: nothing is
    delayed, and the distance stays the same where a step is a whole number of periods. A delta is
    split: the sum stays the same. A pose is reached at the end of its step, on the straight way
    from the one before, angles the shorter way round; a relative one begins at zero. A position
    without unit is held.

    Args:
        data: float [H, D].
        step_dt: s between its steps.
        period: s between the steps of the result.
        representation: of the data.
        units: D units.

    Returns:
        float64 [K, D]; the last of the K steps may end up to a period later than the chunk.
    """
    horizon = len(data)
    count = max(1, math.ceil(horizon * step_dt / period - ROUNDING))
    edges = np.arange(count + 1) * (period / step_dt)
    middles = (edges[:-1] + edges[1:]) / 2.0
    result = np.empty((count, data.shape[1]))
    for column, unit in enumerate(units):
        values = data[:, column].astype(np.float64)
        if unit == POSITION:
            result[:, column] = values[np.minimum(middles.astype(int), horizon - 1)]
        elif representation is Representation.VELOCITY:
            result[:, column] = np.interp(middles, np.arange(horizon) + 0.5, values)
        elif representation is Representation.DELTA:
            total = np.concatenate(([0.0], np.cumsum(values)))
            result[:, column] = np.diff(np.interp(edges, np.arange(horizon + 1), total))
        else:
            first = 0.0 if representation is Representation.RELATIVE else values[0]
            way = np.concatenate(([first], values))
            way = np.unwrap(way) if unit == 'rad' else way
            result[:, column] = np.interp(edges[1:], np.arange(horizon + 1), way)
    return result


def _steps_between(poses: np.ndarray, spec: PolicySpec) -> np.ndarray:
    """Return the moves from pose to pose, each seen from the pose where it begins.

    Args:
        poses: float64 [K, D], relative to the pose before the first one; planar: of the angles
            only angular.z turns the axes linear.x and linear.y.
        spec: contract of the policy.
    """
    before = np.vstack((np.zeros(poses.shape[1]), poses[:-1]))
    moves: np.ndarray = poses - before
    names = spec.action_names
    held = [column for column, unit in enumerate(spec.action_units) if unit == POSITION]
    moves[:, held] = poses[:, held]
    if {'linear.x', 'angular.z'} <= set(names):
        x, yaw = names.index('linear.x'), names.index('angular.z')
        heading = before[:, yaw] + moves[:, yaw] / 2.0
        ahead = moves[:, x].copy()
        aside = moves[:, names.index('linear.y')] if 'linear.y' in names else np.zeros(len(poses))
        moves[:, x] = np.cos(heading) * ahead + np.sin(heading) * aside
        if 'linear.y' in names:
            moves[:, names.index('linear.y')] = np.cos(heading) * aside - np.sin(heading) * ahead
    return moves
