"""The tables of docs/reference/safety.md, made from the code: python -m vla_core.gate.table."""

from collections.abc import Iterator

from vla_core.gate.causes import Cause, Severity, severity, State
from vla_core.gate.config import (
    BUSY_GRACE,
    CHUNK_FAULT,
    ERRORS_TO_LATCH,
    ESTOP_INPUT_TIMEOUT,
    FREEZE_TIMEOUT,
    HOLD_BUDGET,
    HOLD_WINDOW,
    HUMAN_TIMEOUT,
    ODOM_TIMEOUT,
    REQUEST_SPAN,
    STEP_TIMEOUT,
    STOP_LIMIT,
    Timing,
)
from vla_core.gate.debounce import CLEAR_AFTER
from vla_core.gate.reasons import PARAMETERS
from vla_core.gate.states import Facts, transition

_REACTIONS = {
    Severity.DEGRADED: 'slower',
    Severity.OPERATIONAL: 'target zero',
    Severity.HICCUP: 'HOLD',
    Severity.FAULT: 'CONTROLLED_STOP',
    Severity.EMERGENCY: 'ESTOP',
    Severity.ASSERTION: 'FAULT',
}
#: The facts that are no causes, each alone.
FACTS = {
    'initialised': Facts(initialised=True),
    'arm': Facts(arm=True),
    'reset': Facts(reset=True),
    'human': Facts(human=True),
    'ramped': Facts(ramped=True),
    'at rest': Facts(at_rest=True),
}
_AT_ONCE = 'at once'
#: When a reason becomes a cause; a cause that is not named does so at once.
_RAISED = {
    Cause.HEARTBEAT_LATE: f'{Timing.heartbeat_late} s',
    Cause.BUSY_TOO_LONG: 'the parameter',
    Cause.CHUNK_LAPSED: 'the parameter, or the end of the chunk',
    Cause.HEARTBEAT_LOST: f'{Timing.heartbeat_lost} s',
    Cause.POLICY_HUNG: f'the parameter + {BUSY_GRACE} s',
    Cause.ESTOP_INPUT_LOST: f'{ESTOP_INPUT_TIMEOUT} s',
    Cause.CHUNK_LOST: f'CHUNK_LAPSED for {CHUNK_FAULT} s',
    Cause.ODOM_LOST: f'{ODOM_TIMEOUT} s',
    Cause.ODOM_INVALID: f'{ODOM_TIMEOUT} s',
    Cause.CAMERA_FROZEN: f'{FREEZE_TIMEOUT} s',
    Cause.HUMAN_LOST: f'{HUMAN_TIMEOUT} s',
    Cause.HOLD_BUDGET: f'the {HOLD_BUDGET + 1}th hold in {HOLD_WINDOW:g} s',
    Cause.SCAN_LOST: 'the parameter',
    Cause.SCAN_INVALID: 'the parameter',
    Cause.SCAN_FROZEN: f'{FREEZE_TIMEOUT} s',
    Cause.GATE_HUNG: f'{STEP_TIMEOUT} s',
    Cause.ERRORS_IN_ROW: f'the {ERRORS_TO_LATCH}th in a row',
    Cause.STOP_TIMEOUT: f'{STOP_LIMIT} s',
}
_ENDS = {cause: f'{span} s' for cause, span in CLEAR_AFTER.items()} | dict.fromkeys(
    (
        Cause.SLOW_REQUESTED,
        Cause.HOLD_REQUESTED,
        Cause.STOP_REQUESTED,
        Cause.POLICY_RESTARTED,
        Cause.DISARMED,
    ),
    f'{REQUEST_SPAN} s',
)


def events() -> Iterator[tuple[str, Facts]]:
    """Return every event alone: each cause, each fact that is no cause, and no event."""
    yield 'nothing', Facts()
    yield from FACTS.items()
    for cause in Cause:
        if cause:
            yield cause.name, Facts(causes=frozenset({cause}))
    for cause in Cause:
        if severity(cause) is Severity.HICCUP:
            name = f'{cause.name} and no holds left'
            yield name, Facts(causes=frozenset({cause}), holds_left=0)


def rows() -> dict[tuple[State, ...], list[str]]:
    """Return the next state from every state, with the events that lead there."""
    found: dict[tuple[State, ...], list[str]] = {}
    for name, facts in events():
        after = tuple(transition(state, facts)[0] for state in State)
        found.setdefault(after, []).append(name)
    return found


def state_table() -> str:
    """Return state x event as Markdown; a dot is "stays"."""
    lines = [
        '| event | ' + ' | '.join(state.name for state in State) + ' |',
        '|---' * (len(State) + 1) + '|',
    ]
    for after, names in rows().items():
        cells = ['·' if new is old else new.name for old, new in zip(State, after, strict=True)]
        lines.append(f'| {", ".join(names)} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def cause_table() -> str:
    """Return every cause as Markdown: reaction, debounce, and what sets its limit."""
    lines = [
        '| cause | number | reaction | active after | ends after | parameter |',
        '|---|---|---|---|---|---|',
    ]
    for cause in Cause:
        if cause:
            latched = severity(cause) >= Severity.EMERGENCY
            ends = 'latched' if latched else _ENDS.get(cause, _AT_ONCE)
            reaction = _REACTIONS[severity(cause)]
            parameter = f'`{PARAMETERS[cause]}`' if cause in PARAMETERS else '–'
            raised = _RAISED.get(cause, _AT_ONCE)
            lines.append(
                f'| {cause.name} | {cause.value} | {reaction} | {raised} | {ends} | {parameter} |'
            )
    return '\n'.join(lines)


def main() -> None:
    """Print both."""
    print(state_table(), cause_table(), sep='\n\n')  # noqa: T201


if __name__ == '__main__':
    main()
