"""Limits on a velocity: clamp, one ratio, acceleration; written so that NaN can only give zero.

`max(-1.0, min(1.0, nan))` is 1.0: every number is tested with isfinite before it is compared.
"""

from dataclasses import dataclass
import math

from vla_core.gate.config import LONGEST_ACCEL_STEP
from vla_core.robot import RobotConfig

#: Velocity of the six axes of vla_core.robot.AXES, m/s and rad/s.
Vector = tuple[float, ...]
ZERO: Vector = (0.0,) * 6


@dataclass(frozen=True)
class Limits:
    """Limits of the six axes; all zero for an axis that the robot does not have."""

    speed: Vector
    accel: Vector
    decel: Vector

    @classmethod
    def of(cls, robot: RobotConfig) -> 'Limits':
        """Take the limits from a robot file."""
        return cls(
            speed=tuple(axis.max_speed if axis else 0.0 for axis in robot.axes),
            accel=tuple(axis.max_accel if axis else 0.0 for axis in robot.axes),
            decel=tuple(axis.max_decel if axis else 0.0 for axis in robot.axes),
        )


def clamp(wanted: Vector, speed: Vector, scale: float = 1.0) -> Vector:
    """Scale a velocity by one ratio so that every axis is within `speed * scale`.

    One ratio for the whole vector keeps the arc: a robot that cannot turn as fast as wanted also
    drives slower. A number that is not finite gives zero on every axis.

    Args:
        wanted: six velocities, any floats.
        speed: six limits, >= 0; 0: the axis does not exist, its command is zero.
        scale: in [0, 1], factor on the limits.
    """
    ratio = 1.0
    for value, most in zip(wanted, speed, strict=True):
        if not math.isfinite(value):
            return ZERO
        if most > 0.0 and abs(value) > most * scale:
            ratio = min(ratio, most * scale / abs(value))
    # min and max take back the rounding of the product; + 0.0 turns -0.0 into 0.0.
    return tuple(
        max(-most * scale, min(most * scale, value * ratio)) + 0.0
        for value, most in zip(wanted, speed, strict=True)
    )


def approach(previous: Vector, target: Vector, limits: Limits, dt: float) -> Vector:
    """Move from the previous towards the target velocity within acceleration and deceleration.

    A change of direction brakes to zero first. Every axis is on its own, so that braking never
    waits for an axis that speeds up.

    Args:
        previous: six velocities that were published, finite.
        target: six velocities, finite.
        limits: limits of the robot.
        dt: s since the previous ones, >= 0.
    """
    accel_dt = min(dt, LONGEST_ACCEL_STEP)
    result = []
    for now, goal, accel, decel in zip(previous, target, limits.accel, limits.decel, strict=True):
        # Not now * goal < 0: that product may underflow.
        aim = 0.0 if now > 0.0 > goal or now < 0.0 < goal else goal
        rate = accel * accel_dt if abs(aim) > abs(now) else decel * dt
        if aim > now + rate:
            result.append(now + rate)
        elif aim < now - rate:
            result.append(now - rate)
        else:
            result.append(aim)
    return tuple(result)


def holds(velocity: Vector, limits: Limits) -> bool:
    """Say whether a velocity is finite and within the speed limits: the final assertion."""
    return len(velocity) == len(limits.speed) and all(
        math.isfinite(value) and abs(value) <= most
        for value, most in zip(velocity, limits.speed, strict=True)
    )
