"""What goes into a step of the gate and what comes out of it.

Times are seconds on the gate's own time line (monotonic, or simulated in lock-step); `wall` is
always monotonic. The node turns stamps into that time line when a message arrives.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
import enum
import math

import numpy as np

from vla_core.gate.causes import Cause, State
from vla_core.gate.limits import Vector, ZERO
from vla_core.types import ActionChunk, Status


@dataclass(frozen=True, slots=True)
class Beat:
    """Heartbeat of a node, heard at wall time `at`; the fields of Heartbeat.msg."""

    node: str
    at: float
    slot: str = ''
    policy_run: int = 0
    busy: bool = False
    state_age: float = 0.0
    consecutive_errors: int = 0
    unchanged_age: float = 0.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of right shape and finite.

    Attributes:
        chunk: as it travelled.
        at: s, when it arrived.
        start: s, when its row 0 is due.
        observed: s, when its frame was taken.
    """

    chunk: ActionChunk
    at: float
    start: float
    observed: float


@dataclass(frozen=True, slots=True)
class Command:
    """A text on `command`, with the middleware's source timestamp."""

    text: str
    source_stamp: int


@dataclass(frozen=True, slots=True)
class Record:
    """A record on `vla/instruction`; `id` 0 is a malformed text that changes nothing."""

    text: str
    source_stamp: int
    policy_run: int
    id: int


@dataclass(frozen=True, slots=True)
class Odom:
    """Speed of the robot, true at `at`; pose x, y (m) and yaw (rad) in the frame `frame_id`."""

    velocity: Vector
    at: float
    pose: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    frame_id: str = ''


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """A valid laser scan, true at `at`: points of the base's frame, float64 [N, 2], m.

    `signature` changes with what was measured; 0: nothing was.
    """

    points: np.ndarray
    at: float
    signature: int = 0


@dataclass(frozen=True, slots=True)
class Human:
    """A person's velocity, heard at `at`."""

    velocity: Vector
    at: float


@dataclass(frozen=True, slots=True)
class Estop:
    """Level of the e-stop input on one of its subscriptions."""

    pressed: bool
    subscription: str = ''


class StopLevel(enum.IntEnum):
    """The numbers of StopRequest.msg."""

    HOLD = 0
    CONTROLLED_STOP = 1
    ESTOP = 2
    SLOW = 3


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop request from a tool or the monitor."""

    level: StopLevel
    source: str = ''
    reason: str = ''


@dataclass(frozen=True, slots=True)
class Rejected:
    """An input that could not be converted; `name` is that of its message here, lower case."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class InternalError:
    """An unexpected exception in the gate's own process."""

    text: str


Message = (
    Beat | Chunk | Command | Record | Odom | Scan | Human | Estop | Stop | Rejected | InternalError
)


class Request(enum.Enum):
    """What only an operator may ask for."""

    ARM = 'arm'
    DISARM = 'disarm'
    RESET = 'reset'
    TRIGGER_ESTOP = 'trigger_estop'


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that a step may look at.

    Attributes:
        wall: s, monotonic; equal to `now` with the steady clock.
        messages: arrived since the step before, in that order.
        request: of an operator, at most one a step; the step answers it.
        writers: publishers on cmd_vel, the gate included.
        estop_publishers: publishers on safety/estop.
    """

    wall: float
    messages: tuple[Message, ...] = ()
    request: Request | None = None
    writers: int = 1
    estop_publishers: int = 0


class EventKind(enum.IntEnum):
    """The numbers of SafetyEvent.KIND_*."""

    TRANSITION = 0
    REJECTED = 1
    REFUSED = 2
    WARNING = 3
    SPEED = 4


@dataclass(frozen=True, slots=True)
class Event:
    """One change or refusal; the fields of SafetyEvent.msg."""

    kind: EventKind
    from_state: State
    to_state: State
    text: str
    cause: Cause = Cause.NONE
    axis: str = ''
    value: float = math.nan
    limit: float = math.nan
    parameter: str = ''


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer to an operator's request."""

    accepted: bool
    text: str


@dataclass(frozen=True, slots=True)
class Result:
    """Outcome of one step; `published` is the command. The fields of Decision and SafetyState."""

    tick: int
    dt: float
    state: State
    cause: Cause
    causes: tuple[Cause, ...]
    since: float
    wanted: Vector = ZERO
    allowed: Vector = ZERO
    published: Vector = ZERO
    gripper: float = math.nan
    speed_scale: float = 1.0
    observation_ns: int = 0
    policy_run: int = 0
    sequence: int = 0
    step_index: int = -1
    instruction_id: int = 0
    chunk_status: Status = Status.IDLE
    heartbeat_age: float = math.nan
    chunk_age: float = math.nan
    observation_age: float = math.nan
    odom_age: float = math.nan
    consecutive_errors: int = 0
    ready_to_arm: bool = False
    blockers: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    reply: Reply | None = None
