"""Every fault: its name, what is done, and what the rules ask of a robot. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
import enum

from vla_cli.faults.expectation import (
    BACK_AND_ROUND,
    BASE_TIMEOUT,
    Expected,
    GOES_ON,
    Kind,
    limited,
    MARGIN,
    stops,
    TOO_FAST,
    UNHARMED,
)
from vla_core.errors import ConfigError
from vla_core.gate.causes import Cause, State
from vla_core.gate.config import (
    ESTOP_INPUT_TIMEOUT,
    FREEZE_TIMEOUT,
    ODOM_TIMEOUT,
    STAMP_AHEAD,
    Timing,
)
from vla_core.robot import RobotConfig

#: s between two frames. With each the camera node says for how long it has seen no other picture;
#: with the next one the policy does what it was told to do wrong.
FRAME = 0.04
#: s to the next /clock (0.01) and to the next odometry that is judged by it (0.02), and what is
#: left open where steps are timed by their spans (0.02).
CLOCK = 0.05
#: s in which a new publisher is found by the middleware, on one machine.
DISCOVERY = 0.1
_TIMING = Timing()
_LAPSE = (Cause.CHUNK_LAPSED, Cause.CHUNK_LOST)
_SILENT = (Cause.HEARTBEAT_LOST,)


class Graph(enum.Enum):
    """Which graph a fault is played in."""

    PLAIN = 'as launched'
    RECORDED = 'with record:=FOLDER, a temporary one'
    FAULTY = 'with the policy "faulty", which drives until a text tells it what to do wrong'
    SIM_TIME = 'with use_sim_time'


@dataclass(frozen=True)
class Fault:
    """One way to break a graph.

    Attributes:
        name: for `--only`.
        does: what is done.
        expected: what the rules say for a robot; None: the fault does not concern it.
        graph: it is played in.
        span: s until it is mended.
        ruins: whether the graph must be started anew.
        kills: process that ends by it; empty: none.
        hangs: process that no longer does anything meanwhile; empty: none.
    """

    name: str
    does: str
    expected: Callable[[RobotConfig], Expected | None]
    graph: Graph = Graph.PLAIN
    span: float = 1.5
    ruins: bool = False
    kills: str = ''
    hangs: str = ''


def _lapse(robot: RobotConfig) -> Expected:
    """No more frames reach the policy: its last chunk lapses with the age of its frame."""
    return stops(robot.max_observation_age, *_LAPSE)


def _errors(limit: float = 0.0) -> Callable[[RobotConfig], Expected]:
    """Zero from the first error on, latched at the fifth."""
    return lambda robot: stops(limit, Cause.ERRORS_IN_ROW, latched=True)


def _always(expected: Expected) -> Callable[[RobotConfig], Expected]:
    return lambda robot: expected


def _odom_drops(robot: RobotConfig) -> Expected:
    return stops(ODOM_TIMEOUT, Cause.ODOM_LOST) if robot.odom_required else GOES_ON


def _odom_nan(robot: RobotConfig) -> Expected:
    """The policy rejects the same messages: five in a row without a good frame between latch."""
    if not robot.odom_required:
        return replace(UNHARMED, ends=UNHARMED.ends | {State.ESTOP})
    ends = frozenset({State.STOPPED, State.ESTOP})
    causes = frozenset({Cause.ODOM_INVALID, Cause.ERRORS_IN_ROW})
    return Expected(Kind.STOPS, ODOM_TIMEOUT + MARGIN, ends=ends, causes=causes)


def _base_dies(robot: RobotConfig) -> Expected:
    """Without odometry nobody can say that the robot stands: a stop that does not end."""
    if not robot.odom_required:
        return _lapse(robot)
    return stops(ODOM_TIMEOUT, Cause.ODOM_LOST, latched=True)


def _base_hangs(robot: RobotConfig) -> Expected:
    return stops(ODOM_TIMEOUT, Cause.ODOM_LOST) if robot.odom_required else _lapse(robot)


def _stamps_ahead(robot: RobotConfig) -> Expected:
    """Stamps run ahead of a clock that stands: odometry is invalid, frames are dropped."""
    if robot.odom_required:
        return stops(
            CLOCK + STAMP_AHEAD + ODOM_TIMEOUT, Cause.ODOM_INVALID, Cause.ODOM_LOST, *_LAPSE
        )
    return stops(CLOCK + 2 * STAMP_AHEAD + robot.max_observation_age, *_LAPSE)


def _stamps_old(robot: RobotConfig) -> Expected:
    """What comes is older than what was heard, and no news: that goes on ageing."""
    if robot.odom_required:
        return stops(ODOM_TIMEOUT, Cause.ODOM_LOST, *_LAPSE)
    return _lapse(robot)


def _estop_unplugged(robot: RobotConfig) -> Expected | None:
    if not robot.estop_required:
        return None
    return stops(ESTOP_INPUT_TIMEOUT, Cause.ESTOP_INPUT_LOST)


def _busy(robot: RobotConfig) -> Expected:
    return stops(FRAME + robot.max_inference, Cause.BUSY_TOO_LONG, Cause.POLICY_HUNG, *_LAPSE)


def _memory(robot: RobotConfig) -> Expected:
    """A process without memory fails in more than one way, and may die of it."""
    ends = frozenset({State.STOPPED, State.ESTOP})
    causes = frozenset({Cause.ERRORS_IN_ROW, Cause.HEARTBEAT_LOST, Cause.POLICY_HUNG})
    within = FRAME + _TIMING.heartbeat_late + MARGIN
    return Expected(Kind.STOPS, within, ends=ends, causes=causes)


_DEAD = _always(stops(_TIMING.heartbeat_late, *_SILENT))
_GATE_KILLED = Expected(Kind.BASE_STOPS, BASE_TIMEOUT + MARGIN)
_GATE_HANGS = Expected(
    Kind.BASE_STOPS, BASE_TIMEOUT + MARGIN, ends=frozenset({State.STOPPED, State.ESTOP})
)
_WRITER = stops(DISCOVERY, Cause.SECOND_WRITER, latched=True, brakes=False)
_BUTTON = stops(0.0, Cause.ESTOP_INPUT, latched=True, brakes=False)

# What the robot has to bear comes first: holds of other faults must not use up its budget of them.
# Faults of one graph stand together, those that ruin it last.
FAULTS = (
    Fault(
        'monitor-freeze',
        'the monitor hangs (SIGSTOP)',
        _always(GOES_ON),
        span=2.0,
        hangs='monitor',
    ),
    Fault(
        'clock-foreign',
        '/clock runs, jumps by ±1000 s and stops, in a graph without use_sim_time',
        _always(GOES_ON),
    ),
    Fault('flood-commands', '20 texts of 1 MB per s on command', _always(GOES_ON)),
    Fault('flood-odom', 'every odometry message ten times', _always(GOES_ON)),
    Fault('flood-images', 'every frame ten times', _always(UNHARMED)),
    Fault('image-drop', 'no frame arrives', _lapse, span=2.0),
    Fault(
        'image-freeze',
        'the same pixels with new stamps',
        _always(stops(FREEZE_TIMEOUT + FRAME, Cause.CAMERA_FROZEN)),
    ),
    Fault('image-delay', 'frames arrive 0.4 s too old to be of use', _lapse, span=2.0),
    Fault(
        'image-corrupt',
        'wrong sizes, encodings and lengths in turn',
        lambda robot: stops(robot.max_observation_age, Cause.ERRORS_IN_ROW, latched=True),
    ),
    Fault('image-black', 'all pixels are zero', _lapse, span=2.0),
    Fault('odom-drop', 'no odometry arrives', _odom_drops),
    Fault('odom-nan', 'the speed in odometry is NaN', _odom_nan),
    Fault('chunk-nan', 'chunks hold NaN', _errors()),
    Fault('chunk-gross', 'chunks ask for 1000 m/s', _errors()),
    Fault('chunk-future', 'chunks are due in one hour', _errors()),
    Fault('chunk-replay', 'one old chunk is sent again and again', _errors()),
    Fault('chunk-over-range', 'chunks ask for 5 m/s', _always(limited(TOO_FAST))),
    Fault(
        'chunk-jump',
        'chunks ask for full speed back and a full turn at once',
        _always(limited(BACK_AND_ROUND)),
    ),
    Fault('chunk-end', 'the plan ends, nothing follows, the heart beats on', _lapse, span=2.0),
    Fault('policy-kill', 'the policy is killed (SIGKILL)', _DEAD, kills='policy'),
    Fault('policy-segv', 'the policy crashes (SIGSEGV)', _DEAD, kills='policy'),
    Fault('policy-freeze', 'the policy hangs (SIGSTOP)', _DEAD, hangs='policy'),
    Fault('camera-freeze', 'the camera node hangs (SIGSTOP)', _lapse, span=2.0, hangs='camera'),
    Fault(
        'base-freeze',
        'the base and its camera hang (SIGSTOP of the simulator)',
        _base_hangs,
        hangs='base',
    ),
    Fault(
        'base-kill',
        'the base and its camera die (SIGKILL of the simulator)',
        _base_dies,
        span=4.0,
        kills='base',
    ),
    Fault('gate-freeze', 'the gate hangs (SIGSTOP)', _always(_GATE_HANGS), hangs='gate'),
    Fault('estop-unplugged', 'safety/estop loses its publisher', _estop_unplugged),
    Fault('second-writer', 'somebody else publishes on cmd_vel', _always(_WRITER)),
    Fault(
        'disk-full', 'no byte can be written while an emergency stop is pressed', _always(_BUTTON)
    ),
    Fault(
        'camera-kill',
        'the camera node dies (SIGKILL)',
        _lapse,
        span=2.0,
        ruins=True,
        kills='camera',
    ),
    Fault(
        'monitor-kill',
        'the monitor dies (SIGKILL)',
        _always(GOES_ON),
        span=2.0,
        ruins=True,
        kills='monitor',
    ),
    Fault(
        'gate-kill',
        'the gate dies (SIGKILL)',
        _always(_GATE_KILLED),
        span=2.0,
        ruins=True,
        kills='gate',
    ),
    Fault(
        'recorder-freeze',
        'the recorder hangs (SIGSTOP): a reader of every topic takes nothing',
        _always(GOES_ON),
        Graph.RECORDED,
        span=2.0,
        hangs='recorder',
    ),
    # Launch starts it again three times in all: more repetitions need a fresh graph.
    Fault(
        'recorder-kill',
        'the recorder dies (SIGKILL)',
        _always(GOES_ON),
        Graph.RECORDED,
        span=2.0,
        ruins=True,
        kills='recorder',
    ),
    Fault(
        'policy-hold-interpreter',
        'an endless native call holds the GIL',
        _always(stops(FRAME + _TIMING.heartbeat_late, *_SILENT)),
        Graph.FAULTY,
        hangs='policy',
    ),
    Fault('policy-sleep', 'one inference never returns', _busy, Graph.FAULTY, span=2.0),
    Fault('policy-raise', 'every inference raises an exception', _errors(FRAME), Graph.FAULTY),
    Fault('policy-nan', 'the policy answers NaN', _errors(FRAME), Graph.FAULTY),
    Fault('policy-memory', 'the policy has no memory left', _memory, Graph.FAULTY),
    Fault('sim-clock-stop', '/clock stops, stamps go on', _stamps_ahead, Graph.SIM_TIME),
    Fault('sim-clock-back', '/clock jumps back by 10 s', _stamps_ahead, Graph.SIM_TIME),
    Fault('sim-clock-ahead', '/clock jumps ahead by 10 s', _stamps_old, Graph.SIM_TIME, span=1.0),
)
NAMES = tuple(fault.name for fault in FAULTS)


def chosen(only: Sequence[str], robot: RobotConfig) -> list[tuple[Fault, Expected]]:
    """Return the faults to play, with what this robot has to do about each.

    Raises:
        ConfigError: if a name is unknown, or a named fault does not concern the robot.
    """
    unknown = [name for name in only if name not in NAMES]
    if unknown:
        raise ConfigError(f'fault {unknown[0]!r}: expected some of {", ".join(NAMES)}')
    found = []
    for fault in FAULTS:
        if only and fault.name not in only:
            continue
        expected = fault.expected(robot)
        if expected is not None:
            found.append((fault, expected))
        elif only:
            raise ConfigError(f'fault {fault.name!r} does not concern robot {robot.name}')
    return found
