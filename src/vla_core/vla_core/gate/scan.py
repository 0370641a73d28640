"""One laser scan, checked, as points around the base."""

from dataclasses import dataclass
import math

import numpy as np

from vla_core.errors import ObservationError
from vla_core.surroundings import ScanConfig

MOST_RAYS = 10_000
#: rad by which a scan may fall short of the field of view, two rays at most: drivers differ.
SLACK = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Rays:
    """The fields of sensor_msgs/LaserScan that matter; m, rad."""

    frame_id: str
    angle_min: float
    angle_max: float
    angle_increment: float
    range_min: float
    range_max: float
    ranges: np.ndarray


def _check(rays: Rays, config: ScanConfig, reach: float, nearest: float) -> None:
    count = len(rays.ranges)
    if rays.frame_id != config.frame_id:
        raise ObservationError(
            f'scan in frame {rays.frame_id!r}: expected {config.frame_id!r}, whose place on the '
            'base the robot file names'
        )
    if not 2 <= count <= MOST_RAYS:
        raise ObservationError(f'scan of {count} rays: expected 2 to {MOST_RAYS}')
    angles = (rays.angle_min, rays.angle_max, rays.angle_increment)
    # What is compared below allows for rays, so an increment of half a turn would allow anything.
    if not (all(map(math.isfinite, angles)) and 0.0 < abs(rays.angle_increment) < math.pi):
        raise ObservationError(
            f'scan with angles {angles}: expected finite ones and an increment that is not 0 '
            'and below pi in magnitude'
        )
    step, span = abs(rays.angle_increment), abs(rays.angle_increment) * (count - 1)
    # Drivers differ by one ray in what angle_max means.
    last = rays.angle_min + rays.angle_increment * (count - 1)
    if not (abs(last - rays.angle_max) <= 2.0 * step and span <= 2.0 * math.pi + 2.0 * step):
        raise ObservationError(
            f'scan of {count} rays every {rays.angle_increment:g} rad from {rays.angle_min:g}: '
            f'expected the last at angle_max {rays.angle_max:g}, and no more than a turn'
        )
    if not span + min(2.0 * step, SLACK) >= config.field_of_view:
        raise ObservationError(
            f'scan covers {span:.2f} rad: expected field_of_view {config.field_of_view:.2f}'
        )
    if not rays.range_min < nearest:
        raise ObservationError(
            f'scan with range_min {rays.range_min:g}: expected less than {nearest:.2f} m, where '
            'the stop zone ends'
        )
    if not (rays.range_min >= 0.0 and reach <= rays.range_max < math.inf):
        raise ObservationError(
            f'scan with range_min {rays.range_min:g}, range_max {rays.range_max:g}: expected '
            f'finite ones, range_max at least {reach:.2f} m, as far as the zones reach'
        )


def measure(
    rays: Rays, config: ScanConfig, reach: float, nearest: float = math.inf
) -> tuple[np.ndarray, int]:
    """Turn a scan into points of the base's frame.

    -Inf is "too close to be measured", +Inf and anything beyond range_max is "nothing there"
    (https://www.ros.org/reps/rep-0117.html). A number between 0 and range_min is not to be trusted
    as a distance, but something is near: like -Inf it is a point at range_min. NaN, and the 0 of
    some drivers, say nothing about their direction.

    Args:
        rays: the scan.
        config: the scanner.
        reach: m from the scanner, beyond which nothing matters.
        nearest: m from the scanner to the nearest side of the stop zone.

    Returns:
        Points within reach, float64 [N, 2] m, and a number that changes with what was measured;
        0 if nothing was.

    Raises:
        ObservationError: if the scan is not the scanner's, contradicts itself, does not reach or
            cover what it must, or is blind.
    """
    _check(rays, config, reach, nearest)
    ranges = np.asarray(rays.ranges, dtype=np.float64)
    close = np.isneginf(ranges) | ((ranges > 0.0) & (ranges < rays.range_min))
    # Written so that NaN is invalid.
    invalid = ~((ranges >= rays.range_min) | close)
    share = float(np.count_nonzero(invalid)) / len(ranges)
    if not share <= config.max_invalid:
        raise ObservationError(
            f'scan: {share:.2f} of the rays are NaN or not above 0: '
            f'expected at most max_invalid {config.max_invalid:g}'
        )
    ranges = np.where(close, rays.range_min, ranges)
    hits = np.flatnonzero(~invalid & (ranges <= rays.range_max))
    signature = hash(ranges[hits].tobytes()) or 1 if len(hits) else 0
    hits = hits[ranges[hits] <= reach]
    found = ranges[hits]
    angles = rays.angle_min + rays.angle_increment * hits
    angles = config.yaw + (-angles if config.upside_down else angles)
    points = np.column_stack(
        (config.x + found * np.cos(angles), config.y + found * np.sin(angles))
    )
    return points, signature
