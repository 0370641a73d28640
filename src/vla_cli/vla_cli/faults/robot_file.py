"""The user's robot file, made fit for the simulator: limits stay, surroundings go. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vla_core.errors import ConfigError
from vla_core.parameters import load_yaml
from vla_core.robot import load_robot, RobotConfig

#: m/s below which a drive cannot be told from its own ripple.
SLOWEST = 0.1
#: Sections about a place that the simulated arena is not.
_PLACES = ('geofence', 'scan', 'zones')


@dataclass(frozen=True)
class Subject:
    """The robot that the faults are played on.

    Attributes:
        file: the robot file as the graph reads it.
        robot: what it says.
        given: the user's file.
        left_out: what of that file does not count here.
    """

    file: Path
    robot: RobotConfig
    given: Path
    left_out: tuple[str, ...]


def prepare(given: Path, folder: Path) -> Subject:
    """Write a copy of a robot file for the simulator.

    It is marked as simulated, which it is, and heard on this computer only; it never arms itself,
    so that a person's arming is part of every repetition.

    Args:
        given: the user's file.
        folder: takes the copy, under the same name.

    Raises:
        ConfigError: if the file is wrong, or the robot cannot drive straight on at SLOWEST.
    """
    load_robot(given)
    values = load_yaml(given)
    left_out = [name for name in _PLACES if name in values]
    for name in left_out:
        del values[name]
    axes: dict[str, dict[str, Any]] = values['axes']
    for name, axis in axes.items():
        # The simulated base is mounted the right way round.
        if axis.pop('flip', False):
            left_out.append(f'axes.{name}.flip')
    values |= {'simulated': True, 'self_arm': False, 'discovery': 'LOCALHOST'}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f'{given.stem}.yaml'
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding='utf-8')
    robot = load_robot(file)
    ahead = robot.axes[0]
    if ahead is None or ahead.max_speed < SLOWEST:
        found = 'no axis linear.x' if ahead is None else f'linear.x of {ahead.max_speed} m/s'
        raise ConfigError(
            f'{given}: {found}: the faults are played while it drives straight on, at '
            f'{SLOWEST} m/s at least'
        )
    return Subject(file, robot, given, tuple(left_out))
