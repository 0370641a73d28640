"""Drive a live graph steadily, break something, and read the answer from the gate's own stamps."""

from __future__ import annotations

import math

from vla_cli.graph import GraphError
from vla_cli.live import LiveGraph
from vla_cli.reaction import react, SLOWER
from vla_core.gate.causes import State
from vla_ros.conversion import to_ns

#: A layout with 3 m of free floor before the robot.
SEED = 500_399
#: m/s of "move forward" within 0.01 by every policy here.
SPEED = 0.3
#: Share of it, or of the robot's own limit, that is driving.
_SHARE = 0.7
_STEADY_STEPS = 25
_ATTEMPTS = 5
_ATTEMPT = 6.0


def drive(live: LiveGraph, speed: float = SPEED) -> float:
    """Drive straight on, steadily; a hiccup of a busy machine is waited out.

    A latched stop is released and the gate armed, as a person would.

    Args:
        live: the graph.
        speed: m/s that the robot is able to drive at.

    Returns:
        The speed, m/s.

    Raises:
        GraphError: if half a second of steady driving is not to be had.
    """
    least = _SHARE * min(speed, SPEED)
    for attempt in range(_ATTEMPTS):
        live.place(SEED)
        if live.decision.state == State.ESTOP:
            live.reset()
        if live.decision.state not in (State.ACTIVE, State.ARMING):
            live.until(lambda: live.decision.state == State.STOPPED, 'gate STOPPED')
            live.arm()
        live.say('move forward')
        live.forget()
        try:
            live.until(lambda: _steady(live, least), 'steady drive', _ATTEMPT)
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
    points = [
        ((to_ns(decision.header.stamp) - fault_ns) * 1e-9, decision.published.linear.x)
        for decision in live.decisions
    ]
    found = react(points, speed)
    if not (math.isfinite(found.start) and math.isfinite(found.zero)):
        raise GraphError(f'the robot went on at {speed:.2f} m/s after the fault')
    return found.start, found.zero


def _steady(live: LiveGraph, least: float) -> bool:
    """Say whether the last half second was driven evenly."""
    last = live.decisions[-_STEADY_STEPS:]
    speeds = [decision.published.linear.x for decision in last]
    return (
        len(last) == _STEADY_STEPS
        and all(decision.state == State.ACTIVE for decision in last)
        and min(speeds) > least
        and max(speeds) - min(speeds) < SLOWER / 2
    )
