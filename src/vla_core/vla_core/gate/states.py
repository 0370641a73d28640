"""The transition table of the gate as one pure function (docs/reference/safety.md)."""

from dataclasses import dataclass

from vla_core.gate.causes import (
    ARMED,
    Cause,
    first,
    POLICY_CAUSES,
    Severity,
    severity,
    State,
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a transition may depend on.

    Attributes:
        causes: active now.
        initialised: e-stop input known, odom seen if required, sole writer.
        arm: an arming that was granted.
        reset: a reset that was granted.
        human: a fresh non-zero human command.
        ramped: ARMING has lasted its second.
        at_rest: the published command is zero and the robot is still.
        holds_left: further holds that the budget allows.
    """

    causes: frozenset[Cause] = frozenset()
    initialised: bool = False
    arm: bool = False
    reset: bool = False
    human: bool = False
    ramped: bool = False
    at_rest: bool = False
    holds_left: int = 3


def emergencies(state: State, causes: frozenset[Cause]) -> frozenset[Cause]:
    """Return the causes that latch ESTOP in this state.

    Errors never latch in INIT and STOPPED; in INIT other writers are waited for.
    """
    exempt = set()
    if state in (State.INIT, State.STOPPED):
        exempt.add(Cause.ERRORS_IN_ROW)
    if state is State.INIT:
        exempt.add(Cause.SECOND_WRITER)
    return frozenset(cause for cause in causes - exempt if severity(cause) is Severity.EMERGENCY)


def stops_human(causes: frozenset[Cause]) -> frozenset[Cause]:
    """Return the faults that stop even a person's command: all but those of the policy."""
    return frozenset(
        cause for cause in causes - POLICY_CAUSES if severity(cause) is Severity.FAULT
    )


def transition(state: State, facts: Facts) -> tuple[State, Cause]:
    """Return the next state and the cause of the change; (state, NONE) if nothing changes.

    Causes only escalate: FAULT beats ESTOP beats CONTROLLED_STOP beats HOLD.
    """
    causes = facts.causes
    if state is State.FAULT:
        return state, Cause.NONE
    if Cause.ASSERTION in causes:
        return State.FAULT, Cause.ASSERTION
    if state is State.ESTOP:
        return (State.STOPPED if facts.reset else state), Cause.NONE
    emergency = first(emergencies(state, causes), Severity.EMERGENCY)
    if emergency:
        return State.ESTOP, emergency
    if state is State.INIT:
        return (State.STOPPED if facts.initialised else state), Cause.NONE
    if state is State.STOPPED:
        return _from_stopped(facts)
    if state is State.CONTROLLED_STOP:
        return (State.STOPPED if facts.at_rest else state), Cause.NONE
    human_fault = first(stops_human(causes), Severity.FAULT)
    if human_fault:
        return State.CONTROLLED_STOP, human_fault
    if state is State.ACTIVE and facts.human:
        return State.MANUAL, Cause.NONE
    if state in ARMED:
        return _from_armed(state, facts)
    return state, Cause.NONE


def _from_stopped(facts: Facts) -> tuple[State, Cause]:
    if facts.arm:
        return State.ARMING, Cause.NONE
    # A state that would be left at once is not entered: no toggling under a pressed joystick.
    blocked = stops_human(facts.causes) or Cause.ERRORS_IN_ROW in facts.causes
    if facts.human and not blocked:
        return State.MANUAL, Cause.NONE
    return State.STOPPED, Cause.NONE


def _from_armed(state: State, facts: Facts) -> tuple[State, Cause]:
    fault = first(facts.causes, Severity.FAULT)
    if fault:
        return State.CONTROLLED_STOP, fault
    hiccup = first(facts.causes, Severity.HICCUP)
    if hiccup:
        if state is State.HOLD:
            return state, Cause.NONE
        if facts.holds_left > 0:
            return State.HOLD, hiccup
        return State.CONTROLLED_STOP, Cause.HOLD_BUDGET
    if state is State.HOLD or (state is State.ARMING and facts.ramped):
        return State.ACTIVE, Cause.NONE
    return state, Cause.NONE
