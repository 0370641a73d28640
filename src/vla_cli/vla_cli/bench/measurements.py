"""Everything that can be measured, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from vla_cli.bench import (
    estop,
    graphs,
    growth,
    learning,
    limits,
    malformed,
    parts,
    period,
    soak,
    startup,
)
from vla_cli.bench.policy_faults import policy_faults
from vla_cli.bench.report import Row
from vla_core.errors import ConfigError

#: Group of entry points: functions of other packages that return theirs.
GROUP = 'vla.measurements'
#: Drives in the long rows of faults: `hold`, which they were first asked for with, never moves,
#: so that it could never be seen to decelerate.
SCRIPTED = 'scripted'


@dataclass(frozen=True)
class Setting:
    """What a measurement may need beside its count.

    Attributes:
        policy: checkpoint or built-in policy.
        folder: for logs.
        peer: checkout of the peer's repository; None: it is left out.
    """

    policy: str
    folder: Path
    peer: Path | None = None


@dataclass(frozen=True)
class Measurement:
    """One measurement.

    Attributes:
        name: on the command line.
        counted: what its number counts.
        usual: number in `vla bench`; 0: only by name, or in the long run.
        long: number in `vla bench --long`, that of docs/reference/figures.md.
        run: measures; gives its rows, one by one where each takes long.
    """

    name: str
    counted: str
    usual: int
    long: int
    run: Callable[[Setting, int], Iterable[Row]]


def _part(measure: Callable[[int], Row]) -> Callable[[Setting, int], list[Row]]:
    return lambda setting, count: [measure(count)]


def _faults(name: str, kind: str, real: bool = False) -> Callable[[Setting, int], list[Row]]:
    return lambda setting, count: policy_faults(
        name, kind, setting.policy if real else SCRIPTED, count, setting.folder
    )


MEASUREMENTS = (
    Measurement(
        'camera_to_cmd_vel',
        'frames',
        1000,
        3000,
        lambda setting, count: graphs.camera_to_cmd_vel(setting.policy, count, setting.folder),
    ),
    Measurement('policy_kill', 'kills', 5, 300, _faults('policy_kill', 'kill')),
    Measurement('policy_freeze', 'freezes', 5, 300, _faults('policy_freeze', 'freeze')),
    Measurement(
        'real_policy_kill', 'kills', 2, 20, _faults('real_policy_kill', 'kill', real=True)
    ),
    Measurement(
        'real_policy_freeze', 'freezes', 2, 20, _faults('real_policy_freeze', 'freeze', real=True)
    ),
    Measurement(
        'estop',
        'presses of each kind',
        40,
        3000,
        lambda setting, count: estop.estop_to_zero(count, setting.folder),
    ),
    Measurement(
        'estop_loaded',
        'presses in each class',
        40,
        3000,
        lambda setting, count: estop.estop_to_zero_loaded(count, setting.folder),
    ),
    Measurement(
        'gate_period',
        'steps',
        1500,
        100_000,
        lambda setting, count: period.gate_period_error(count, setting.folder),
    ),
    Measurement(
        'gate_period_loaded',
        'steps in each class',
        1500,
        100_000,
        lambda setting, count: period.gate_period_error_loaded(count, setting.folder),
    ),
    Measurement('gate_step', 'steps', 20_000, 20_000, _part(parts.gate_step)),
    Measurement('invalid_chunk', 'chunks', 10_000, 10_000, _part(parts.invalid_chunk_to_zero)),
    Measurement(
        'malformed',
        'messages of each type',
        40,
        10_000,
        lambda setting, count: malformed.malformed(count, setting.policy, setting.folder),
    ),
    Measurement(
        'soak',
        'minutes',
        0,
        60,
        lambda setting, count: soak.soak(count, setting.policy, setting.folder),
    ),
    Measurement('preprocess', 'pictures', 500, 500, _part(parts.preprocess)),
    Measurement(
        'monitor_record',
        'chunks',
        20_000,
        20_000,
        lambda setting, count: parts.monitor_record(count),
    ),
    Measurement('observation_record', 'frames', 5_000, 5_000, _part(parts.observation_record)),
    Measurement(
        'inference',
        'frames',
        300,
        300,
        lambda setting, count: [parts.inference(setting.policy, count)],
    ),
    Measurement('limits', 'round trips', 300, 3000, lambda setting, count: limits.limits(count)),
    Measurement(
        'startup',
        'starts',
        3,
        20,
        lambda setting, count: startup.startup(setting.policy, count, setting.folder),
    ),
    Measurement(
        'growth',
        'frames of each robot',
        0,
        1000,
        lambda setting, count: growth.growth(setting.policy, count, setting.folder),
    ),
    Measurement(
        'smoothness',
        'commands',
        3000,
        100_000,
        lambda setting, count: learning.smoothness(setting.policy, count),
    ),
    Measurement(
        'learning',
        'batches',
        100,
        300,
        lambda setting, count: learning.feeding(count),
    ),
    Measurement(
        'variants',
        'frames of each',
        0,
        200,
        lambda setting, count: learning.variants(setting.policy, count),
    ),
)


def measurements() -> tuple[Measurement, ...]:
    """Return all of them, those of other packages last."""
    others = (found.load()() for found in entry_points(group=GROUP))
    return (*MEASUREMENTS, *(one for group in others for one in group))


def chosen(only: Sequence[str], long: bool) -> list[tuple[Measurement, int]]:
    """Return what to measure, and how often.

    Args:
        only: `NAME` or `NAME=N`; none: everything that is usual.
        long: take the long numbers where none is given.

    Raises:
        ConfigError: if a name is unknown or a number is not a positive integer.
    """
    known = {one.name: one for one in measurements()}
    if not only:
        plans = [(one, one.long if long else one.usual) for one in known.values()]
        return [(one, count) for one, count in plans if count]
    result = []
    for text in only:
        name, given, number = text.partition('=')
        if name not in known:
            raise ConfigError(f'measurement {name!r}: expected one of {list(known)}')
        one = known[name]
        usual = one.long if long or not one.usual else one.usual
        result.append((one, positive(name, number) if given else usual))
    return result


def positive(name: str, text: str) -> int:
    """Return a positive integer.

    Raises:
        ConfigError: if it is none.
    """
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ConfigError(f'{name} is {text!r}: expected a positive integer')
    return int(text)
