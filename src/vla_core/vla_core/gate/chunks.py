"""Validation of a chunk against the robot, and its translation into rows of the six axes."""

from vla_core.errors import ActionRejected
from vla_core.gate.config import GROSS, STAMP_AHEAD
from vla_core.gate.limits import Vector
from vla_core.player import ROUNDING
from vla_core.robot import AXES, AXIS_UNITS, RobotConfig
from vla_core.types import ActionChunk, Representation, Status


def check(chunk: ActionChunk, robot: RobotConfig, ahead: float) -> None:
    """Refuse a chunk that this robot must not play; shape and finiteness are its type's.

    Args:
        chunk: the chunk.
        robot: the robot.
        ahead: s by which its later stamp is in the future.

    Raises:
        ActionRejected: if the representation is not VELOCITY, an axis of the robot is missing or
            in another unit, a stamp is too far ahead, or a number is gross.
    """
    if chunk.representation is not Representation.VELOCITY:
        raise ActionRejected(f'representation {chunk.representation.name}: expected VELOCITY')
    if not ahead <= STAMP_AHEAD + ROUNDING:
        raise ActionRejected(f'stamp {ahead:.3f} s ahead: expected at most {STAMP_AHEAD} s')
    for axis, name, unit in zip(robot.axes, AXES, AXIS_UNITS, strict=True):
        if axis is None:
            continue
        if axis.source not in chunk.names:
            raise ActionRejected(f'names {chunk.names}: expected {axis.source!r} for {name}')
        found = chunk.units[chunk.names.index(axis.source)]
        if found != unit:
            raise ActionRejected(f'unit of {axis.source} is {found!r}: expected {unit!r}')
    if robot.gripper is not None and robot.gripper not in chunk.names:
        raise ActionRejected(f'names {chunk.names}: expected {robot.gripper!r} for the gripper')
    for name, size in zip(chunk.names, abs(chunk.data).max(axis=0).tolist(), strict=True):
        if not size <= GROSS:
            raise ActionRejected(f'{name} of {size:g}: expected at most {GROSS:g}')


def rows(chunk: ActionChunk, robot: RobotConfig) -> tuple[Vector, ...]:
    """Select, rename and flip the axes of a checked chunk: H velocities of the six axes.

    Raises:
        ActionRejected: if a status other than RUNNING comes with a velocity.
    """
    columns = [
        (chunk.names.index(axis.source), -1.0 if axis.flip else 1.0) if axis else None
        for axis in robot.axes
    ]
    result = tuple(
        tuple(row[column[0]] * column[1] if column else 0.0 for column in columns)
        for row in chunk.data.tolist()
    )
    if chunk.status is not Status.RUNNING and any(map(any, result)):
        raise ActionRejected(f'status {chunk.status.name} with a velocity: expected zeros')
    return result


def gripper_rows(chunk: ActionChunk, robot: RobotConfig) -> tuple[float, ...]:
    """Return H gripper positions in [0, 1]; empty if the robot has none, or nothing is obeyed.

    The zeros of an idle chunk mean "stand still"; taken as a position they would open the gripper.
    """
    if robot.gripper is None or chunk.status is not Status.RUNNING:
        return ()
    column = chunk.names.index(robot.gripper)
    return tuple(min(1.0, max(0.0, position)) for position in chunk.data[:, column].tolist())
