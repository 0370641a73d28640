"""Everything that the gate heard, checked at the door, and the causes that follow from it."""

import math

from vla_core.errors import VlaError
from vla_core.gate.causes import ARMED, Cause, MOVING, Severity, severity, State
from vla_core.gate.config import (
    ERROR_SPAN,
    ERRORS_TO_LATCH,
    MONITOR_TIMEOUT,
    STOP_LIMIT,
    Timing,
)
from vla_core.gate.debounce import Debounce
from vla_core.gate.limits import Limits
from vla_core.gate.messages import (
    Beat,
    Chunk,
    Command,
    Estop,
    Event,
    EventKind,
    Human,
    InternalError,
    Message,
    Odom,
    Record,
    Rejected,
    Scan,
    Stop,
    StopLevel,
)
from vla_core.gate.reasons import explain, Moment, Reason
from vla_core.gate.signals import Signals
from vla_core.gate.stream import PolicyStream
from vla_core.gate.surroundings import Surroundings
from vla_core.robot import RobotConfig

_REQUESTED = {
    StopLevel.SLOW: Cause.SLOW_REQUESTED,
    StopLevel.HOLD: Cause.HOLD_REQUESTED,
    StopLevel.CONTROLLED_STOP: Cause.STOP_REQUESTED,
    StopLevel.ESTOP: Cause.ESTOP_REQUESTED,
}
#: Characters of an event's text; what came from outside may be a megabyte.
LONGEST_TEXT = 400


class Hearing:
    """Take messages in the order of their arrival; judge what is wrong at any moment."""

    def __init__(self, robot: RobotConfig, limits: Limits, timing: Timing) -> None:
        """Start deaf."""
        self.robot = robot
        self.signals = Signals(robot, timing)
        self.stream = PolicyStream(robot, limits, timing)
        self.around = Surroundings(robot, limits)
        self._debounce = Debounce()
        self.events: list[Event] = []
        self.errors_total = 0
        self.chunks_rejected = 0
        self._older_run_at = -math.inf
        # In a row, each by what it would have moved the robot with: a joystick that rests at zero
        # must not wipe out the errors of the policy.
        self._in_row = {'chunk': 0, 'human': 0}
        self._error_at = dict.fromkeys(self._in_row, -math.inf)

    def receive(self, message: Message, state: State, now: float) -> None:
        """Take one message; a bad one is counted and reported, never an exception."""
        try:
            self._dispatch(message, state, now)
        except VlaError as error:
            self._reject(type(message).__name__.lower(), str(error), state, now)

    def _dispatch(self, message: Message, state: State, now: float) -> None:
        match message:
            case Beat() | Chunk() | Record():
                self._from_policy(message, state, now)
            case Odom():
                # Both look before either takes anything: half of it is worse than nothing.
                self.signals.check_odom(message, now)
                if not self.signals.is_overtaken(message):
                    self.around.odom(message)
                    self.signals.odom(message, now)
            case Scan():
                self.around.scan(message, now)
            case Human():
                self.signals.human(message)
                self._in_row['human'] = 0
            case Command():
                self.stream.hear_command(message)
            case Estop():
                self.signals.estop(message)
                # A press counts although its release may be in the same step.
                if message.pressed:
                    self.signals.raise_momentary(Cause.ESTOP_INPUT, now)
            case Stop():
                cause = _REQUESTED[message.level]
                self.signals.raise_momentary(cause, now)
                text = f'{message.source} asks for {message.level.name}: {message.reason}'
                self._event(EventKind.WARNING, text, state, cause)
            case Rejected():
                self._reject(message.name, message.text, state, now)
            case InternalError():
                self.internal_error(message.text, state, now)

    def _from_policy(self, message: Beat | Chunk | Record, state: State, now: float) -> None:
        match message:
            case Chunk():
                self._meet(message.chunk.policy_run, state, now)
                if self.stream.take(message):
                    self._in_row['chunk'] = 0
            case Record():
                self._meet(message.policy_run, state, now)
                self.stream.hear_record(message)
            case Beat(node='policy'):
                self._meet(message.policy_run, state, now)
                if message.policy_run == self.stream.run:
                    self.signals.beat(message)
                else:
                    self._older_run_at = message.at
            case Beat():
                self.signals.beat(message)

    def _meet(self, run: int, state: State, now: float) -> None:
        if self.stream.meet(run):
            self._in_row['chunk'] = 0
            if state in ARMED:
                self.signals.raise_momentary(Cause.POLICY_RESTARTED, now)

    def _reject(self, name: str, text: str, state: State, now: float) -> None:
        self.errors_total += 1
        if name in self._in_row:
            self._in_row[name] += 1
            self._error_at[name] = now
        if name == 'chunk':
            self.chunks_rejected += 1
            self.stream.void()
        elif name == 'human':
            self.signals.void_human(now)
        elif name == 'odom':
            self.signals.void_odom()
        elif name == 'scan':
            self.around.void_scan()
        self._event(EventKind.REJECTED, f'{name}: {text}', state, axis=name)

    def internal_error(self, text: str, state: State, now: float) -> None:
        """Note an unexpected exception in the gate's own process."""
        self.errors_total += 1
        self.signals.raise_momentary(Cause.INTERNAL_ERROR, now)
        self._event(EventKind.WARNING, text, state, Cause.INTERNAL_ERROR)

    def _event(
        self, kind: EventKind, text: str, state: State, cause: Cause = Cause.NONE, axis: str = ''
    ) -> None:
        self.events.append(Event(kind, state, state, text[:LONGEST_TEXT], cause, axis))

    def errors_in_row(self, now: float, wall: float) -> int:
        """Return the largest count of consecutive errors, of the nodes and of the gate.

        Who has fallen silent since has no errors any more, as a dead node has none: a joystick
        that was pulled out must not keep the gate from a reset for ever.
        """
        own = [
            count
            for name, count in self._in_row.items()
            if now - self._error_at[name] < ERROR_SPAN
        ]
        return max(0, *own, self.signals.node_errors(wall))

    def causes(self, state: State, since: float, now: float, wall: float) -> frozenset[Cause]:
        """Return every active cause.

        What concerns the policy alone is a cause only while the policy drives or is being stopped;
        elsewhere it is an arming check.

        Args:
            state: present state.
            since: s, when it was entered.
            now: s.
            wall: s, monotonic.
        """
        signals = self.signals
        active = signals.momentary(now)
        if signals.estop_pressed():
            active.append(Cause.ESTOP_INPUT)
        if signals.second_writer():
            active.append(Cause.SECOND_WRITER)
        if state in MOVING and signals.hung():
            active.append(Cause.GATE_HUNG)
        if self.errors_in_row(now, wall) >= ERRORS_TO_LATCH:
            active.append(Cause.ERRORS_IN_ROW)
        if state is not State.INIT:
            if signals.estop_input_lost(now):
                active.append(Cause.ESTOP_INPUT_LOST)
            active.append(signals.odom_cause(now))
            still, moving = signals.still(now), signals.moving_span(now)
            active += self.around.causes(state, still, moving, now)
        if state is State.MANUAL and signals.human_lost(now):
            active.append(Cause.HUMAN_LOST)
        if state in ARMED or state is State.CONTROLLED_STOP:
            active += self._policy_causes(now, wall)
        late = state is State.CONTROLLED_STOP and now - since >= STOP_LIMIT
        # Without odom nobody can say that the robot is not still.
        if late and self.robot.odom_required and not signals.still(now):
            active.append(Cause.STOP_TIMEOUT)
        return self._debounce.settle(active, now) - {Cause.NONE}

    def explain(self, cause: Cause, since: float, now: float, wall: float) -> Reason:
        """Return the numbers behind a cause that is active; `since`: of the present state."""
        errors = self.errors_in_row(now, wall)
        return explain(
            cause,
            Moment(self.robot, self.signals, self.stream, self.around, errors, since, now, wall),
        )

    def _policy_causes(self, now: float, wall: float) -> list[Cause]:
        active = [self.signals.heartbeat_cause(wall)]
        if self.stream.lost(now):
            active.append(Cause.CHUNK_LOST)
        elif self.stream.lapsed(now):
            active.append(Cause.CHUNK_LAPSED)
        if self.signals.camera_frozen(now, wall):
            active.append(Cause.CAMERA_FROZEN)
        if self.stream.stop.waiting:
            active.append(Cause.STOP_WORD)
        return active

    # -- what keeps the gate from going on ---------------------------------------------------

    def initial_blockers(self, now: float) -> tuple[str, ...]:
        """Return what keeps the gate in INIT."""
        blockers = []
        if self.signals.estop_input_lost(now):
            blockers.append('safety/estop has no publisher: the robot file requires one')
        if self.robot.odom_required and math.isnan(self.signals.odom_age(now)):
            blockers.append('odom was never heard: the robot file requires it')
        if self.around.zones is not None and self.around.scan_age(now) == math.inf:
            blockers.append('scan was never heard: the robot file requires it for its zones')
        if not self.signals.settled(now):
            blockers.append('cmd_vel: expected no other publisher for 1.0 s')
        return tuple(blockers)

    def arming_blockers(
        self, causes: frozenset[Cause], now: float, wall: float
    ) -> tuple[str, ...]:
        """Return the arming checks that are not green; a WARN is green."""
        blockers = []
        heartbeat = self.signals.heartbeat_cause(wall)
        if heartbeat:
            age = self.signals.heartbeat_age(wall)
            heard = 'never heard' if math.isnan(age) else f'heard {age:.2f} s ago'
            blockers.append(f'policy heartbeat {heard}: {heartbeat.name}')
        if self.stream.lapsed(now) or not self.stream.playable:
            blockers.append('no playable action chunk')
        errors = self.errors_in_row(now, wall)
        if errors:
            blockers.append(f'{errors} errors in a row: expected 0')
        if Cause.BREACHED in causes:
            blockers.append(f'cause BREACHED: {self.explain(Cause.BREACHED, now, now, wall)}')
        return (*blockers, *self.rest_blockers(causes, now))

    def rest_blockers(self, causes: frozenset[Cause], now: float) -> tuple[str, ...]:
        """Return what must be gone before arming and before a reset: causes, and movement.

        What slows does not count, a stop word neither: arming ends its wait. A breach does not
        keep a robot from a reset, after which a person may drive it out.
        """
        blockers = [
            f'cause {cause.name}' for cause in sorted(causes) if severity(cause) >= Severity.HICCUP
        ]
        if not self.signals.still(now):
            blockers.append('robot is not still')
        return tuple(blockers)

    def warnings(self, wall: float) -> tuple[str, ...]:
        """Return what a person should know although the robot may drive."""
        warnings = []
        if not self.robot.estop_required:
            warnings.append('estop: none in the robot file')
        elif self.signals.estop_publishers > 1:
            warnings.append(
                f'safety/estop has {self.signals.estop_publishers} publishers: expected one, for '
                'a release by one hides that another is pressed'
            )
        elif not self.signals.estop_heard:
            warnings.append('safety/estop has said nothing yet: whether it is pressed is unknown')
        if not self.robot.odom_required:
            warnings.append('odom: none in the robot file: stillness is assumed from zeros sent')
        if self.signals.monitor_absent(wall):
            warnings.append('no heartbeat of a monitor')
        if self.signals.camera_absent(wall):
            warnings.append('no heartbeat of a camera: a frozen picture would not be noticed')
        if wall - self._older_run_at < MONITOR_TIMEOUT:
            warnings.append(
                'a policy of an earlier run is heard and not obeyed: restart the gate if it is '
                'the right one (its clock went back)'
            )
        return tuple(warnings)
