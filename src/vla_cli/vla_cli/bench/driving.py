"""Drive a live graph steadily, break something, and read the answer from the gate's own stamps."""

from __future__ import annotations

from vla_cli.graph import GraphError
from vla_cli.live import LiveGraph
from vla_core.gate.causes import State
from vla_ros.conversion import to_ns

#: A layout with 3 m of free floor before the robot.
SEED = 500_399
#: m/s of "move forward" within 0.01 by every policy here; a command below is slower.
_SLOWER = 0.02
_STEADY_STEPS = 25
_ATTEMPTS = 5
_ATTEMPT = 6.0


def drive(live: LiveGraph) -> float:
    """Drive straight on, steadily; a hiccup of a busy machine is waited out.

    Returns:
        The speed, m/s.

    Raises:
        GraphError: if half a second of steady driving is not to be had.
    """
    for attempt in range(_ATTEMPTS):
        live.place(SEED)
        if live.decision.state not in (State.ACTIVE, State.ARMING):
            live.until(lambda: live.decision.state == State.STOPPED, 'gate STOPPED')
            live.arm()
        live.say('move forward')
        live.forget()
        try:
            live.until(lambda: _steady(live), 'steady drive', _ATTEMPT)
        except GraphError:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            break
    return float(live.decision.published.linear.x)


def reaction(live: LiveGraph, fault_ns: int, speed: float) -> tuple[float, float]:
    """Return s from a fault to the first clearly smaller command, and to zero.

    Raises:
        GraphError: if the robot went on.
    """
    slower = zero = None
    for decision in live.decisions:
        age = (to_ns(decision.header.stamp) - fault_ns) * 1e-9
        now = decision.published.linear.x
        if age < 0.0:
            continue
        if slower is None and now < speed - _SLOWER:
            slower = age
        if now == 0.0:
            zero = age
            break
    if slower is None or zero is None:
        raise GraphError(f'the robot went on at {speed:.2f} m/s after the fault')
    return slower, zero


def _steady(live: LiveGraph) -> bool:
    """Say whether the last half second was driven evenly."""
    last = live.decisions[-_STEADY_STEPS:]
    speeds = [decision.published.linear.x for decision in last]
    return (
        len(last) == _STEADY_STEPS
        and all(decision.state == State.ACTIVE for decision in last)
        and min(speeds) > 0.2
        and max(speeds) - min(speeds) < _SLOWER / 2
    )
