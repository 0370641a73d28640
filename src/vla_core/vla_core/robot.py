"""Robot file: what one robot can do and what the gate must see before it may move.

A robot file is mandatory in its limits: each is a finite number, and 0, `none` or infinity never
mean "unlimited". Everything is checked here, before a node publishes anything.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from vla_core.errors import ConfigError
from vla_core.parameters import build, load_yaml, parameter
from vla_core.surroundings import FenceConfig, load_surroundings, ScanConfig, section, ZonesConfig

#: The six axes of a Twist, in the order of every velocity vector of the gate.
AXES = ('linear.x', 'linear.y', 'linear.z', 'angular.x', 'angular.y', 'angular.z')
#: SI unit of each axis.
AXIS_UNITS = ('m/s', 'm/s', 'm/s', 'rad/s', 'rad/s', 'rad/s')
#: Keys of a robot file that hold keys of their own.
SECTIONS = ('axes', 'geofence', 'gripper', 'scan', 'zones')
#: Letters of a value in a message.
LONGEST_SHOWN = 100
#: s; with 0.5 s of stillness and the lag of a base on top, a longer stop would end in ESTOP.
LONGEST_STOP = 1.2
#: s; a frame older than this is no reason to move, on any robot.
OLDEST_OBSERVATION = 2.0


@dataclass(frozen=True)
class AxisConfig:
    """One axis that the robot has: where its command comes from and how far it may go."""

    max_speed: float = parameter(
        doc='largest speed, both directions', unit='m/s or rad/s', low=0.001, high=10.0
    )
    max_accel: float = parameter(
        doc='largest growth of the speed', unit='m/s^2 or rad/s^2', low=0.001, high=100.0
    )
    max_decel: float = parameter(
        doc='largest decline of the speed, stops included',
        unit='m/s^2 or rad/s^2',
        low=0.001,
        high=100.0,
    )
    source: str = parameter(doc='axis of the chunk; empty: the same name', default='')
    flip: bool = parameter(doc='reverse the sign', default=False)


@dataclass(frozen=True)
class GripperConfig:
    """The gripper, 0 open to 1 closed."""

    source: str = parameter(doc='axis of the chunk', default='gripper')


@dataclass(frozen=True)
class _Basics:
    """Keys of a robot file beside its axes and gripper."""

    estop: str = parameter(
        doc='whether a publisher of safety/estop must be there; none is a standing warning',
        choices=('required', 'none'),
    )
    odom: str = parameter(
        doc='whether odom must be there; none: stillness is only assumed',
        choices=('required', 'none'),
    )
    discovery: str = parameter(
        doc='ROS_AUTOMATIC_DISCOVERY_RANGE that belongs to this robot',
        choices=('LOCALHOST', 'SUBNET'),
    )
    simulated: bool = parameter(
        doc='no real robot: self_arm and the lock-step clock are allowed', default=False
    )
    self_arm: bool = parameter(
        doc='arm once, when everything is ready at the start', default=False
    )
    max_inference: float = parameter(
        doc='longest healthy inference; the policy may promise less',
        default=0.2,
        unit='s',
        low=0.02,
        high=2.0,
    )
    max_observation_age: float = parameter(
        doc='age of a frame up to which its chunk may be played; the policy may promise less',
        default=0.6,
        unit='s',
        low=0.05,
        high=OLDEST_OBSERVATION,
    )


@dataclass(frozen=True)
class RobotConfig:
    """A checked robot file.

    Attributes:
        name: stem of the file.
        axes: one entry per axis of AXES; None: the robot does not have it, its command is zero.
        gripper: chunk axis of the gripper; None: no gripper.
        estop_required: a publisher of safety/estop must be there.
        odom_required: odom must be there.
        discovery: LOCALHOST or SUBNET.
        simulated: no real robot.
        self_arm: arm once at the start.
        max_inference: s.
        max_observation_age: s.
        fence: what it must not leave; None: no geofence.
        scan: its laser scanner; None: none is heard.
        zones: around it, judged by the scanner; None: none.
    """

    name: str
    axes: tuple[AxisConfig | None, ...]
    estop_required: bool
    odom_required: bool
    discovery: str
    simulated: bool = False
    self_arm: bool = False
    gripper: str | None = None
    max_inference: float = 0.2
    max_observation_age: float = 0.6
    fence: FenceConfig | None = None
    scan: ScanConfig | None = None
    zones: ZonesConfig | None = None

    def check_clock(self, clock: str) -> None:
        """Refuse simulated time where something real moves, or where it would not repeat.

        Raises:
            ConfigError: if `clock` is lockstep and the robot is real, or has zones.
        """
        if clock == 'lockstep' and not self.simulated:
            raise ConfigError(
                f'parameter clock is lockstep and robot {self.name} is real: expected steady'
            )
        if clock == 'lockstep' and self.scan is not None:
            raise ConfigError(
                f'parameter clock is lockstep and robot {self.name} has zones: expected steady, '
                'no tick waits for a scan'
            )


def _name(value: str, where: str) -> str:
    """Return the name of something outside of the file.

    Raises:
        ConfigError: if nothing is called that.
    """
    if not value or value != value.strip() or not value.isprintable():
        raise ConfigError(
            f'{where} is {value!r}: expected a name that can be printed, without spaces around it'
        )
    return value


def _axis(name: str, values: Any, where: str) -> AxisConfig:
    given = section(values, where)
    axis = build(AxisConfig, given, where)
    stop = axis.max_speed / axis.max_decel
    if stop > LONGEST_STOP:
        raise ConfigError(
            f'{where}: max_speed / max_decel is {stop:.3g} s: expected at most '
            f'{LONGEST_STOP} s, or every controlled stop would end in ESTOP; '
            f'max_decel of at least {axis.max_speed / LONGEST_STOP:.3g} would do'
        )
    source = _name(axis.source if 'source' in given else name, f'{where}: parameter source')
    return AxisConfig(axis.max_speed, axis.max_accel, axis.max_decel, source, axis.flip)


def _axes(values: Any, where: str) -> tuple[AxisConfig | None, ...]:
    found = section(values, where)
    unknown = [name for name in found if name not in AXES]
    if unknown:
        raise ConfigError(f'{where}: unknown axis {unknown[0]!r}: expected some of {list(AXES)}')
    if not found:
        raise ConfigError(f'{where} is empty: expected at least one of {list(AXES)}')
    return tuple(
        _axis(name, found[name], f'{where}.{name}') if name in found else None for name in AXES
    )


def _gripper(values: Any, where: str) -> str:
    gripper = build(GripperConfig, section(values, where), where)
    return _name(gripper.source, f'{where}: parameter source')


def _check_keys(values: dict[str, Any], where: str) -> None:
    """Refuse an unknown key before any other fault: what is misspelt seems to be missing."""
    known = sorted({*SECTIONS, *(field.name for field in fields(_Basics))})
    for name, value in values.items():
        if name not in known:
            shown = repr(value)[:LONGEST_SHOWN]
            raise ConfigError(f'{where}: unknown parameter {name!r} is {shown}: expected {known}')


def _check_once(sources: list[str], where: str) -> None:
    """Refuse two movements by one number."""
    twice = [source for source in sources if sources.count(source) > 1]
    if twice:
        raise ConfigError(
            f'{where}: source {twice[0]!r} drives two of axes and gripper: expected one'
        )


def load_robot(path: Path) -> RobotConfig:
    """Read and check a robot file.

    Raises:
        ConfigError: if the file cannot be read, a key is unknown, missing or not allowed, an axis
            could not stop within LONGEST_STOP, a name can be nobody's, or the file contradicts
            itself.
    """
    values = load_yaml(path)
    where = str(path)
    _check_keys(values, where)
    if 'axes' not in values:
        raise ConfigError(f'{where}: axes is missing: expected some of {list(AXES)}')
    axes = _axes(values.pop('axes'), f'{where}: axes')
    gripper = None
    if 'gripper' in values:
        gripper = _gripper(values.pop('gripper'), f'{where}: gripper')
    _check_once([axis.source for axis in axes if axis] + ([gripper] if gripper else []), where)
    odom_required = values.get('odom') == 'required'
    longest_stop = max(axis.max_speed / axis.max_decel if axis else 0.0 for axis in axes[:3])
    around = load_surroundings(values, where, odom_required, longest_stop)
    for key, part in (('geofence', around['fence']), ('scan', around['scan'])):
        if part is not None:
            _name(part.frame_id, f'{where}: {key}: parameter frame_id')
    basics = build(_Basics, values, where)
    if basics.max_inference >= basics.max_observation_age:
        raise ConfigError(
            f'{where}: max_inference is {basics.max_inference} s: expected less than '
            f'max_observation_age, {basics.max_observation_age} s, or what took that long lapses '
            'before it arrives'
        )
    if basics.self_arm and not basics.simulated:
        raise ConfigError(
            f'{where}: self_arm is true: expected false, a real robot is armed by a person'
        )
    if basics.simulated and basics.discovery != 'LOCALHOST':
        raise ConfigError(
            f'{where}: discovery is {basics.discovery}: expected LOCALHOST, a simulated cmd_vel '
            'must never reach a real robot'
        )
    return RobotConfig(
        name=path.stem,
        axes=axes,
        estop_required=basics.estop == 'required',
        odom_required=basics.odom == 'required',
        discovery=basics.discovery,
        simulated=basics.simulated,
        self_arm=basics.self_arm,
        gripper=gripper,
        max_inference=basics.max_inference,
        max_observation_age=basics.max_observation_age,
        **around,
    )
