"""The numbers behind a cause: what was judged, its value, its limit, and what sets the limit."""

from collections.abc import Callable
from dataclasses import dataclass
import math

from vla_core.gate.causes import Cause
from vla_core.gate.config import (
    BUSY_GRACE,
    CHUNK_FAULT,
    ERRORS_TO_LATCH,
    ESTOP_INPUT_TIMEOUT,
    FREEZE_TIMEOUT,
    HOLD_BUDGET,
    HUMAN_TIMEOUT,
    ODOM_TIMEOUT,
    STEP_TIMEOUT,
    STOP_LIMIT,
)
from vla_core.gate.signals import Signals
from vla_core.gate.stream import PolicyStream
from vla_core.gate.surroundings import Surroundings
from vla_core.player import ROUNDING
from vla_core.robot import RobotConfig


@dataclass(frozen=True, slots=True)
class Reason:
    """Why, in numbers.

    Attributes:
        axis: what was judged.
        value: of it; NaN: none.
        limit: of the value; NaN: none.
        unit: of both.
        parameter: key of the robot file that sets the limit; empty: a fixed figure of the gate.
    """

    axis: str = ''
    value: float = math.nan
    limit: float = math.nan
    unit: str = ''
    parameter: str = ''

    def __str__(self) -> str:
        """Return them for a person; empty if there are none."""
        if math.isnan(self.limit):
            return self.axis
        unit = f' {self.unit}' if self.unit else ''
        change = f' ({self.parameter})' if self.parameter else ''
        return f'{self.axis} {self.value:.3g}{unit}, limit {self.limit:.3g}{unit}{change}'


NO_REASON = Reason()
#: Key of the robot file that sets the limit of a cause; {side} is a side of the zone.
PARAMETERS = {
    Cause.BUSY_TOO_LONG: 'max_inference',
    Cause.POLICY_HUNG: 'max_inference',
    Cause.CHUNK_LAPSED: 'max_observation_age',
    Cause.CHUNK_LOST: 'max_observation_age',
    Cause.ESTOP_INPUT_LOST: 'estop',
    Cause.ODOM_LOST: 'odom',
    Cause.ODOM_INVALID: 'odom',
    Cause.GEOFENCE: 'geofence.points',
    Cause.FENCE_NEAR: 'geofence.slow_within',
    Cause.SCAN_LOST: 'scan.timeout',
    Cause.SCAN_INVALID: 'scan.timeout',
    Cause.ZONE_STOP: 'zones.stop.{side}',
    Cause.ZONE_SLOW: 'zones.slow.{side}',
    Cause.ZONE_APPROACH: 'zones.approach.time',
}


@dataclass(frozen=True, slots=True)
class Moment:
    """What a reason may depend on.

    Attributes:
        robot: the robot.
        signals: what was heard.
        stream: of the policy.
        around: fence and zones.
        errors_in_row: the largest count.
        since: s, when the present state was entered.
        now: s.
        wall: s, monotonic.
    """

    robot: RobotConfig
    signals: Signals
    stream: PolicyStream
    around: Surroundings
    errors_in_row: int
    since: float
    now: float
    wall: float


def explain(cause: Cause, moment: Moment) -> Reason:
    """Return the numbers behind a cause that is active."""
    judge = _JUDGES.get(cause)
    return judge(moment) if judge else NO_REASON


def _heartbeat(moment: Moment) -> Reason:
    signals = moment.signals
    age, timing = signals.heartbeat_age(moment.wall), signals.timing
    late = age < timing.heartbeat_lost
    limit = timing.heartbeat_late if late else timing.heartbeat_lost
    return Reason('policy heartbeat', age, limit, 's')


def _busy(moment: Moment, grace: float) -> Reason:
    limit = moment.robot.max_inference + grace
    return Reason('policy busy', moment.signals.busy_age, limit, 's', 'max_inference')


def _lapsed(moment: Moment) -> Reason:
    stream, most = moment.stream, moment.robot.max_observation_age
    age = stream.observation_age(moment.now)
    if age < most - ROUNDING:
        return Reason('past the end of the chunk', stream.lapsed_span(moment.now), 0.0, 's')
    return Reason('observation age', age, most, 's', 'max_observation_age')


def _odom(moment: Moment) -> Reason:
    return Reason('odom age', moment.signals.odom_age(moment.now), ODOM_TIMEOUT, 's', 'odom')


def _fence(moment: Moment, near: bool) -> Reason:
    fence = moment.around.fence
    if fence is None:
        return NO_REASON
    if near:
        limit, parameter = fence.config.slow_within, 'geofence.slow_within'
    else:
        limit, parameter = 0.0, 'geofence.points'
    return Reason('inside the fence', fence.inside, limit, 'm', parameter)


def _zone(moment: Moment, name: str) -> Reason:
    zones = moment.around.zones
    zone = getattr(zones, name, None)
    if zone is None or not zone.hit.side:
        return NO_REASON
    hit = zone.hit
    parameter = f'zones.{name}.{hit.side}'
    return Reason(f'{name} zone, {hit.side}', hit.distance, hit.limit, 'm', parameter)


def _approach(moment: Moment) -> Reason:
    zones = moment.around.zones
    if zones is None or zones.approach is None:
        return NO_REASON
    approach = zones.approach
    return Reason('time to reach', approach.seconds, approach.time, 's', 'zones.approach.time')


def _scan(moment: Moment) -> Reason:
    scan = moment.robot.scan
    limit = scan.timeout if scan else math.nan
    return Reason('scan age', moment.around.scan_age(moment.now), limit, 's', 'scan.timeout')


def _breached(moment: Moment) -> Reason:
    zone = _zone(moment, 'stop')
    return zone if zone.axis else _fence(moment, near=False)


_JUDGES: dict[Cause, Callable[[Moment], Reason]] = {
    Cause.BREACHED: _breached,
    Cause.ZONE_SLOW: lambda moment: _zone(moment, 'slow'),
    Cause.ZONE_APPROACH: _approach,
    Cause.FENCE_NEAR: lambda moment: _fence(moment, near=True),
    Cause.HEARTBEAT_LATE: _heartbeat,
    Cause.BUSY_TOO_LONG: lambda moment: _busy(moment, 0.0),
    Cause.CHUNK_LAPSED: _lapsed,
    Cause.HEARTBEAT_LOST: _heartbeat,
    Cause.ESTOP_INPUT_LOST: lambda moment: Reason(
        'safety/estop without publisher',
        moment.signals.estop_input_span(moment.now),
        ESTOP_INPUT_TIMEOUT,
        's',
        'estop',
    ),
    Cause.CHUNK_LOST: lambda moment: Reason(
        'no playable chunk',
        moment.stream.lapsed_span(moment.now),
        CHUNK_FAULT,
        's',
        'max_observation_age',
    ),
    Cause.ODOM_LOST: _odom,
    Cause.ODOM_INVALID: _odom,
    Cause.CAMERA_FROZEN: lambda moment: Reason(
        'camera unchanged', moment.signals.unchanged_age(moment.wall), FREEZE_TIMEOUT, 's'
    ),
    Cause.HOLD_BUDGET: lambda _: Reason(
        'holds in a minute', HOLD_BUDGET + 1.0, float(HOLD_BUDGET)
    ),
    Cause.HUMAN_LOST: lambda moment: Reason(
        'cmd_vel_human silent',
        moment.signals.human_silence(moment.now),
        HUMAN_TIMEOUT,
        's',
    ),
    Cause.POLICY_HUNG: lambda moment: _busy(moment, BUSY_GRACE),
    Cause.GEOFENCE: lambda moment: _fence(moment, near=False),
    Cause.SCAN_LOST: _scan,
    Cause.SCAN_INVALID: _scan,
    Cause.SCAN_FROZEN: lambda moment: Reason(
        'scan unchanged', moment.around.unchanged_age(moment.now), FREEZE_TIMEOUT, 's'
    ),
    Cause.GATE_HUNG: lambda moment: Reason(
        'gate silent', moment.signals.silence, STEP_TIMEOUT, 's'
    ),
    Cause.ERRORS_IN_ROW: lambda moment: Reason(
        'errors in a row', float(moment.errors_in_row), float(ERRORS_TO_LATCH)
    ),
    Cause.SECOND_WRITER: lambda moment: Reason(
        'publishers of cmd_vel', float(moment.signals.writers), 1.0
    ),
    Cause.STOP_TIMEOUT: lambda moment: Reason(
        'controlled stop', moment.now - moment.since, STOP_LIMIT, 's'
    ),
    Cause.ZONE_STOP: lambda moment: _zone(moment, 'stop'),
}
