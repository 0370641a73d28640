"""The gate: one step from everything that was heard to the one command that is published.

Order of a step: latch, validity of every input, human override, staleness, clamp of every axis
and one ratio, fence and zones, scale, acceleration and deceleration, final assertion. No clock is
read and nothing is published here: the same calls give the same commands.
"""

from collections import deque
import math

from vla_core.gate.causes import Cause, MOVING, State
from vla_core.gate.config import (
    ARMING_SPAN,
    CLEAR_SPAN,
    GREEN_SPAN,
    HOLD_BUDGET,
    HOLD_WINDOW,
    HUMAN_TIMEOUT,
    LONGEST_HOLD,
    REQUEST_SPAN,
    Timing,
)
from vla_core.gate.drive import Drive
from vla_core.gate.hearing import Hearing, LONGEST_TEXT
from vla_core.gate.limits import holds, Limits, ZERO
from vla_core.gate.messages import Estop, Event, EventKind, Inputs, Reply, Request, Result
from vla_core.gate.operators import answer
from vla_core.gate.reasons import NO_REASON, Reason
from vla_core.gate.states import Facts, transition
from vla_core.robot import RobotConfig

#: What keeps a stopped robot where it is, although nobody stops it any more.
HELD = f'cmd_vel_human is held, or broken: expected zeros, or {HUMAN_TIMEOUT} s of silence, first'


class Gate:
    """All that lies between the policy and the robot; owned by one thread."""

    def __init__(
        self, robot: RobotConfig, timing: Timing | None = None, speed_scale: float = 1.0
    ) -> None:
        """Start in INIT; the first step starts the clock."""
        self._limits = Limits.of(robot)
        self._hearing = Hearing(robot, self._limits, timing or Timing())
        self._drive = Drive(self._limits, self._hearing.around, speed_scale)
        self._state = State.INIT
        self._cause = Cause.NONE
        self._since = self._now = self._wall = math.nan
        self._tick = 0
        self._gripper = math.nan
        self._self_arm = robot.self_arm
        # When all was green (STOPPED) or clear (ESTOP) for the last time; inf: it is not.
        self._good_since = math.inf
        self._holds: deque[float] = deque()
        # A person must let go first: what is held while the robot is stopped does not start it.
        self._let_go = False
        self._warnings: tuple[str, ...] = ()
        # What slows or blocks at present, and was reported.
        self._slowed_by = Cause.NONE

    @property
    def state(self) -> State:
        """Present state."""
        return self._state

    @property
    def errors_total(self) -> int:
        """Inputs that were rejected, and exceptions, since the start."""
        return self._hearing.errors_total

    def step(self, now: float, inputs: Inputs) -> Result:
        """Decide what is published now.

        Args:
            now: s on the gate's time line; one that goes back counts as standing still.
            inputs: all that arrived since the step before, and the levels of the moment.

        Returns:
            The decision. An unexpected exception is one too: ESTOP with exact zero.
        """
        # The last net: whatever is wrong with the code below, the robot stops and steps go on.
        try:
            return self._step(now, inputs)
        except Exception as error:
            return self._crashed(now, inputs, error)

    def _step(self, now: float, inputs: Inputs) -> Result:
        if not math.isfinite(now):
            raise ValueError(f'time {now}: expected a finite number')
        if math.isnan(self._now):
            self._now = self._since = now
        dt, self._now, self._wall = max(0.0, now - self._now), now, inputs.wall
        self._tick += 1
        hearing, request = self._hearing, inputs.request
        hearing.signals.level(now, dt, inputs, self._drive.published)
        for message in inputs.messages:
            hearing.receive(message, self._state, now)
        if request is Request.TRIGGER_ESTOP:
            hearing.signals.raise_momentary(Cause.ESTOP_SERVICE, now)
        elif request is Request.DISARM and self._state in MOVING:
            hearing.signals.raise_momentary(Cause.DISARMED, now)
        causes = hearing.causes(self._state, self._since, now, inputs.wall)
        if Cause.GATE_HUNG in causes:
            # The base may have stopped by itself meanwhile: nothing follows from the last command.
            self._drive.published = ZERO
        blockers = self._blockers(causes, now, inputs.wall)
        reply = self._answer(request, blockers) if request else None
        self._change(now, causes, blockers, request)
        causes = self._count_long_hold(now, causes)
        # Again, for the state may be another one.
        blockers = self._blockers(causes, now, inputs.wall)
        return self._decide(now, inputs.wall, dt, causes, blockers, reply)

    def _crashed(self, now: float, inputs: Inputs, error: Exception) -> Result:
        self._drive.published = ZERO
        # A button says once that it is pressed.
        for message in inputs.messages if isinstance(inputs, Inputs) else ():
            if isinstance(message, Estop):
                self._hearing.signals.estop(message)
        at = now if math.isfinite(now) else self._now
        self._hearing.internal_error(f'{type(error).__name__}: {error}', self._state, at)
        if self._state not in (State.ESTOP, State.FAULT):
            self._enter(State.ESTOP, Cause.INTERNAL_ERROR, at)
        return Result(
            tick=self._tick,
            dt=0.0,
            state=self._state,
            cause=self._cause,
            causes=(Cause.INTERNAL_ERROR,),
            since=at - self._since,
            gripper=self._gripper,
            blockers=('internal error',),
            counts=self._counts(),
            events=self._take_events(),
            reply=Reply(False, 'internal error'),
        )

    # -- operators ---------------------------------------------------------------------------

    def _blockers(self, causes: frozenset[Cause], now: float, wall: float) -> tuple[str, ...]:
        """Return what keeps the gate from leaving a state that waits for somebody."""
        hearing = self._hearing
        if self._state is State.INIT:
            return hearing.initial_blockers(now)
        if self._state is State.STOPPED:
            blockers, span = hearing.arming_blockers(causes, now, wall), GREEN_SPAN
            if not self._let_go:
                blockers = (*blockers, HELD)
        elif self._state is State.ESTOP:
            blockers, span = hearing.rest_blockers(causes, now), CLEAR_SPAN
        else:
            return ()
        self._good_since = math.inf if blockers else min(self._good_since, now)
        good = now - self._good_since
        if not blockers and good < span:
            return (f'nothing is wrong for only {good:.2f} s: expected {span} s',)
        return blockers

    def _answer(self, request: Request, blockers: tuple[str, ...]) -> Reply:
        if request is Request.DISARM:
            self._self_arm = False
        reply = answer(request, self._state, blockers)
        if not reply.accepted:
            self._event(EventKind.REFUSED, f'{request.value} refused: {reply.text}')
        return reply

    # -- states ------------------------------------------------------------------------------

    def _change(
        self,
        now: float,
        causes: frozenset[Cause],
        blockers: tuple[str, ...],
        request: Request | None,
    ) -> None:
        signals = self._hearing.signals
        while self._holds and now - self._holds[0] >= HOLD_WINDOW:
            self._holds.popleft()
        facts = Facts(
            causes=causes,
            initialised=self._state is State.INIT and not blockers,
            arm=not blockers and (request is Request.ARM or self._self_arm),
            reset=not blockers and request is Request.RESET,
            human=self._wants_to_drive(now),
            ramped=now - self._since >= ARMING_SPAN,
            at_rest=not any(self._drive.published) and signals.still(now),
            holds_left=HOLD_BUDGET - len(self._holds),
        )
        state, cause = transition(self._state, facts)
        if state is not self._state:
            self._enter(state, cause, now)

    def _wants_to_drive(self, now: float) -> bool:
        """Say whether a person moves the robot, and has let go since it was stopped."""
        signals = self._hearing.signals
        rests = signals.human_rests(now)
        if self._state in (State.INIT, State.ESTOP):
            self._let_go = rests
        elif rests:
            self._let_go = True
        return self._let_go and signals.human_moves(now)

    def _enter(self, state: State, cause: Cause, now: float) -> None:
        if state is State.CONTROLLED_STOP:
            self._let_go = self._hearing.signals.human_rests(now)
        if state is State.ARMING:
            # Whoever arms has decided that the robot may follow what is obeyed at present.
            self._hearing.stream.stop.end()
        if state is State.HOLD:
            self._holds.append(now)
        if self._state is not State.INIT or state is not State.STOPPED:
            self._self_arm = False
        text = f'{self._state.name} to {state.name}'
        reason = NO_REASON
        # After an unexpected exception nothing is asked that might raise another one.
        if cause and cause is not Cause.INTERNAL_ERROR:
            reason = self._hearing.explain(cause, self._since, now, self._wall)
        if cause:
            text = f'{text}: {cause.name}' + (f': {reason}' if str(reason) else '')
        self._event(EventKind.TRANSITION, text, cause, state, reason)
        # STOPPED goes on saying why, until somebody resets, arms or drives.
        if state is not State.STOPPED or self._state is State.ESTOP:
            self._cause = cause
        self._state, self._since, self._good_since = state, now, math.inf

    def _count_long_hold(self, now: float, causes: frozenset[Cause]) -> frozenset[Cause]:
        """Count a hold again that is renewed: asked for again, or by one hiccup after another."""
        requested = Cause.HOLD_REQUESTED in causes
        span = REQUEST_SPAN if requested else LONGEST_HOLD
        if self._state is not State.HOLD or now - self._holds[-1] < span:
            return causes
        if len(self._holds) < HOLD_BUDGET:
            self._holds.append(now)
            return causes
        self._enter(State.CONTROLLED_STOP, Cause.HOLD_BUDGET, now)
        return causes | {Cause.HOLD_BUDGET}

    # -- command -----------------------------------------------------------------------------

    def _decide(
        self,
        now: float,
        wall: float,
        dt: float,
        causes: frozenset[Cause],
        blockers: tuple[str, ...],
        reply: Reply | None,
    ) -> Result:
        signals, stream = self._hearing.signals, self._hearing.stream
        due = None if stream.stop.waiting else stream.due(now)
        wanted = due[1].velocity if due else ZERO
        if self._state is State.MANUAL:
            wanted = signals.human_velocity(now)
        drive = self._drive
        # A silence of the gate is no time to speed up in.
        span = 0.0 if signals.hung() else dt
        allowed, scale = drive.allow(wanted, self._state, self._since, causes, now, span)
        if drive.pace.cause is Cause.ZONE_APPROACH:
            causes |= {Cause.ZONE_APPROACH}
        published = drive.publish(allowed, self._state, span)
        if not holds(published, self._limits):
            text = f'command {published}: expected finite, within {self._limits.speed}'
            self._event(EventKind.WARNING, text, Cause.ASSERTION)
            self._enter(State.FAULT, Cause.ASSERTION, now)
            causes |= {Cause.ASSERTION}
            published = ZERO
        drive.published = published
        blocked = Cause.BREACHED in causes
        acting = self._state is State.ACTIVE and not blocked
        if due and acting and not math.isnan(due[1].gripper):
            self._gripper = due[1].gripper
        self._warn(wall)
        self._report_pace(now, blocked)
        cause = self._cause
        # These three are entered without a cause.
        if self._state in (State.ARMING, State.ACTIVE, State.MANUAL):
            stopped = self._state is State.ACTIVE and stream.stop.waiting
            cause = Cause.STOP_WORD if stopped else self._slowed_by
        return Result(
            tick=self._tick,
            dt=dt,
            state=self._state,
            cause=cause,
            causes=tuple(sorted(causes)),
            since=now - self._since,
            wanted=wanted,
            allowed=allowed,
            published=published,
            gripper=self._gripper,
            speed_scale=scale,
            observation_ns=stream.observation_ns,
            policy_run=max(0, stream.run),
            sequence=due[2] if due else stream.sequence,
            step_index=due[0] if due else -1,
            instruction_id=stream.instruction_id,
            chunk_status=stream.status,
            heartbeat_age=signals.heartbeat_age(wall),
            chunk_age=stream.chunk_age(now),
            observation_age=stream.observation_age(now),
            odom_age=signals.odom_age(now),
            consecutive_errors=self._hearing.errors_in_row(now, wall),
            ready_to_arm=self._state is State.STOPPED and not blockers,
            blockers=blockers,
            warnings=self._warnings,
            counts=self._counts(),
            events=self._take_events(),
            reply=reply,
        )

    # -- for the record ----------------------------------------------------------------------

    def _warn(self, wall: float) -> None:
        warnings = self._hearing.warnings(wall)
        if self._state is State.STOPPED and not self._let_go:
            warnings = (*warnings, HELD)
        for warning in warnings:
            if warning not in self._warnings:
                self._event(EventKind.WARNING, warning)
        self._warnings = warnings

    def _report_pace(self, now: float, blocked: bool) -> None:
        """Report when the robot becomes slower or blocked, and when it is free again."""
        cause = Cause.BREACHED if blocked else self._drive.pace.cause
        # While it is slow for one cause or another, only the first is an event.
        if bool(cause) is not bool(self._slowed_by) or blocked is not (
            self._slowed_by is Cause.BREACHED
        ):
            named = cause or self._slowed_by
            reason = self._hearing.explain(named, self._since, now, self._wall)
            what = 'blocked' if blocked else 'slower' if cause else 'full speed after'
            text = f'{what}: {named.name}' + (f': {reason}' if cause and str(reason) else '')
            self._event(EventKind.SPEED, text, named, reason=reason)
        self._slowed_by = cause

    def _event(
        self,
        kind: EventKind,
        text: str,
        cause: Cause = Cause.NONE,
        to: State | None = None,
        reason: Reason = NO_REASON,
    ) -> None:
        self._hearing.events.append(
            Event(
                kind,
                self._state,
                self._state if to is None else to,
                text[:LONGEST_TEXT],
                cause,
                reason.axis,
                reason.value,
                reason.limit,
                reason.parameter,
            )
        )

    def _take_events(self) -> tuple[Event, ...]:
        events = tuple(self._hearing.events)
        self._hearing.events.clear()
        return events

    def _counts(self) -> dict[str, int]:
        return {
            **self._hearing.stream.counts,
            'rejected': self._hearing.chunks_rejected,
            'errors': self._hearing.errors_total,
        }
