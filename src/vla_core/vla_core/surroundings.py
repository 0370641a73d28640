"""Sections of a robot file about what is around it: geofence, laser scanner, zones.

A section that is missing is the only "off"; inside a section no number means "disabled".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
import math
from typing import Any, TypeVar

from vla_core.errors import ConfigError
from vla_core.parameters import build, parameter

Point = tuple[float, float]
ZoneT = TypeVar('ZoneT')
MOST_POINTS = 64
#: m; a fence further away than this is a mistake of unit.
FARTHEST = 10_000.0
SMALLEST_AREA = 0.01  # m^2


@dataclass(frozen=True)
class _FenceBasics:
    """Keys of the section `geofence` beside its points."""

    frame_id: str = parameter(doc='frame of the points, and of the poses in odom', default='odom')
    slow_within: float = parameter(
        doc='distance to the fence, inside, from which the robot is slow',
        default=0.5,
        unit='m',
        low=0.01,
        high=100.0,
    )
    slow_scale: float = parameter(
        doc='factor on every speed there', default=0.5, low=0.05, high=0.95
    )


@dataclass(frozen=True)
class FenceConfig:
    """A polygon in odom's frame that the robot must not leave.

    Attributes:
        points: m, at least three; the polygon is closed by itself and does not cross itself.
        frame_id: of odom.
        slow_within: m.
        slow_scale: factor on every speed within `slow_within` of the fence.
    """

    points: tuple[Point, ...]
    frame_id: str = 'odom'
    slow_within: float = 0.5
    slow_scale: float = 0.5


@dataclass(frozen=True)
class ScanConfig:
    """The laser scanner: where it sits on the base, and when its scans are believed."""

    frame_id: str = parameter(doc='frame_id that every scan must carry')
    x: float = parameter(doc='of the scanner, forward of the base', unit='m', low=-5.0, high=5.0)
    y: float = parameter(doc='of the scanner, to the left', unit='m', low=-5.0, high=5.0)
    yaw: float = parameter(
        doc='of its zero angle, to the left', unit='rad', low=-math.pi, high=math.pi
    )
    field_of_view: float = parameter(
        doc='angle that every scan must cover', unit='rad', low=0.1, high=2.0 * math.pi
    )
    upside_down: bool = parameter(
        doc='mounted upside down: angles turn to the right', default=False
    )
    timeout: float = parameter(
        doc='age at which a scan is lost', default=0.5, unit='s', low=0.05, high=0.5
    )
    max_invalid: float = parameter(
        doc='share of rays that may be NaN or not above 0; more is a blind scanner',
        default=0.5,
        low=0.0,
        high=0.95,
    )


@dataclass(frozen=True)
class Box:
    """A rectangle around the base, by the distances of its sides from the base's origin."""

    front: float = parameter(doc='forward', unit='m', low=0.05, high=20.0)
    rear: float = parameter(doc='backward', unit='m', low=0.05, high=20.0)
    left: float = parameter(doc='to the left', unit='m', low=0.05, high=20.0)
    right: float = parameter(doc='to the right', unit='m', low=0.05, high=20.0)

    @property
    def radius(self) -> float:
        """Distance of the farthest corner, m."""
        return math.hypot(max(self.front, self.rear), max(self.left, self.right))

    def holds(self, x: float, y: float) -> bool:
        """Say whether a point of the base's frame is inside."""
        return -self.rear <= x <= self.front and -self.right <= y <= self.left


@dataclass(frozen=True)
class SlowBox(Box):
    """A rectangle in which anything slows the robot."""

    speed_scale: float = parameter(doc='factor on every speed', default=0.5, low=0.05, high=0.95)


@dataclass(frozen=True)
class _Approach:
    """Key of the section `zones.approach`."""

    time: float = parameter(
        doc='the robot is slowed so that it would reach nothing sooner',
        unit='s',
        low=0.1,
        high=10.0,
    )


@dataclass(frozen=True)
class _ZonesBasics:
    """Keys of the section `zones` beside its zones."""

    min_points: int = parameter(
        doc='points of one scan that make a breach', default=1, low=1, high=100
    )


@dataclass(frozen=True)
class ZonesConfig:
    """Zones around the base, judged by the laser scanner.

    Attributes:
        stop: anything in it is an ESTOP while the robot moves; None: no such zone.
        slow: anything in it slows the robot; None: no such zone.
        approach_time: s, within which the stop zone must reach nothing; None: not judged.
        min_points: points of one scan that make a breach.
    """

    stop: Box | None = None
    slow: SlowBox | None = None
    approach_time: float | None = None
    min_points: int = 1


def section(values: Any, where: str) -> dict[str, Any]:
    """Return a copy of a mapping.

    Raises:
        ConfigError: if it is none.
    """
    if not isinstance(values, dict):
        raise ConfigError(f'{where} is {values!r}: expected a mapping')
    return dict(values)


def _point(value: Any, where: str) -> Point:
    fits = isinstance(value, list) and len(value) == 2 and all(type(v) is float for v in value)
    if not fits or not all(abs(number) <= FARTHEST for number in value):
        raise ConfigError(
            f'{where} is {value!r}: expected two finite floats within {FARTHEST:g} m, with a '
            'decimal point'
        )
    return (value[0], value[1])


def _side(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _meet(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Say whether two edges without a common corner cross or touch."""
    apart = _side(a, b, c) * _side(a, b, d) > 0.0 or _side(c, d, a) * _side(c, d, b) > 0.0
    overlap = all(
        max(a[i], b[i]) >= min(c[i], d[i]) and max(c[i], d[i]) >= min(a[i], b[i]) for i in (0, 1)
    )
    return overlap and not apart


def load_fence(values: Any, where: str) -> FenceConfig:
    """Check the section `geofence`.

    Raises:
        ConfigError: if a key is unknown or not allowed, or the points are no simple polygon.
    """
    keys = section(values, where)
    found = keys.pop('points', None)
    if not isinstance(found, list) or not 3 <= len(found) <= MOST_POINTS:
        raise ConfigError(
            f'{where}: points is {found!r}: expected a list of 3 to {MOST_POINTS} points [x, y]'
        )
    points = tuple(_point(value, f'{where}: points[{i}]') for i, value in enumerate(found))
    edges = list(zip(points, points[1:] + points[:1], strict=True))
    for (i, (a, b)), (j, (c, d)) in combinations(enumerate(edges), 2):
        if j - i not in (1, len(edges) - 1) and _meet(a, b, c, d):
            raise ConfigError(f'{where}: points: edges {i} and {j} meet: expected none to cross')
    area = abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in edges)) / 2.0
    if area < SMALLEST_AREA:
        raise ConfigError(
            f'{where}: points: area of {area:g} m^2: expected at least {SMALLEST_AREA}'
        )
    basics = build(_FenceBasics, keys, where)
    return FenceConfig(points, basics.frame_id, basics.slow_within, basics.slow_scale)


def load_zones(values: Any, where: str, scan: ScanConfig, longest_stop: float) -> ZonesConfig:
    """Check the section `zones`.

    Args:
        values: as read.
        where: for messages.
        scan: the scanner.
        longest_stop: s, largest max_speed / max_decel of the linear axes.

    Raises:
        ConfigError: if a key is unknown or not allowed, no zone is there, the zones do not
            enclose each other and the scanner, or the robot cannot brake within approach.time.
    """
    keys = section(values, where)

    def zone(kind: type[ZoneT], name: str) -> ZoneT | None:
        there = f'{where}.{name}'
        return build(kind, section(keys.pop(name), there), there) if name in keys else None

    stop, slow, approach = zone(Box, 'stop'), zone(SlowBox, 'slow'), zone(_Approach, 'approach')
    basics = build(_ZonesBasics, keys, where)
    if stop is None and slow is None and approach is None:
        raise ConfigError(f'{where} has no zone: expected at least one of stop, slow, approach')
    if stop is None and approach is not None:
        raise ConfigError(f'{where}: approach without stop: expected the zone that reaches things')
    if stop is not None and not stop.holds(scan.x, scan.y):
        raise ConfigError(
            f'{where}: stop does not hold the scanner at ({scan.x:g}, {scan.y:g}): expected it '
            'to, so that what is too close to be measured is a breach'
        )
    if stop is not None and slow is not None:
        for side in ('front', 'rear', 'left', 'right'):
            if getattr(slow, side) <= getattr(stop, side):
                raise ConfigError(
                    f'{where}.slow: {side} is {getattr(slow, side):g}: expected more than '
                    f'{getattr(stop, side):g}, that of stop'
                )
    if approach is not None and approach.time < longest_stop:
        raise ConfigError(
            f'{where}.approach: time is {approach.time:g} s: expected at least '
            f'{longest_stop:.3g} s, the largest max_speed / max_decel: the robot cannot brake so '
            'hard'
        )
    return ZonesConfig(stop, slow, approach.time if approach else None, basics.min_points)


def load_surroundings(
    values: dict[str, Any], where: str, odom_required: bool, longest_stop: float
) -> Mapping[str, Any]:
    """Take the sections about the surroundings out of a robot file.

    Args:
        values: of the file; `geofence`, `scan` and `zones` are removed.
        where: for messages.
        odom_required: a geofence needs poses.
        longest_stop: s, largest max_speed / max_decel of the linear axes.

    Returns:
        The keywords `fence`, `scan` and `zones` of a robot.

    Raises:
        ConfigError: if a section is not allowed, or comes without the one it needs.
    """
    fence = scan = zones = None
    if 'geofence' in values:
        fence = load_fence(values.pop('geofence'), f'{where}: geofence')
        if not odom_required:
            raise ConfigError(f'{where}: geofence with odom none: expected odom required')
    for name, other in (('scan', 'zones'), ('zones', 'scan')):
        if name in values and other not in values:
            raise ConfigError(f'{where}: {name} without {other}: expected both or neither')
    if 'scan' in values:
        there = f'{where}: scan'
        scan = build(ScanConfig, section(values.pop('scan'), there), there)
        zones = load_zones(values.pop('zones'), f'{where}: zones', scan, longest_stop)
    return {'fence': fence, 'scan': scan, 'zones': zones}
