"""What `vla top` shows: the newest message of every kind, its age, and how often it comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
import math
import time
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from vla_core.gate.causes import Cause, State
from vla_core.session import Fate

# Rates are measured over this span, s.
_WINDOW = 2.0
# A heartbeat older than this is late (docs/reference/safety.md), s.
_LATE = 0.5
# The gate repeats its state every 1 s and decides many times in one; what is older is lost, s.
_STATE_LOST, _DECISION_LOST = 2.0, 0.5
_ACTIVITY = {0: 'IDLE', 1: 'WAITING', 2: 'BUSY'}
_GOOD, _DOUBTFUL, _BAD = 'green', 'yellow', 'bold red'
_COLOURS = {
    State.ACTIVE: _GOOD,
    State.MANUAL: _GOOD,
    State.ESTOP: _BAD,
    State.FAULT: _BAD,
}


class Arrivals:
    """Newest message, its age and its rate, by this machine's monotonic clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.message: Any = None
        self._now = now
        self._times: deque[float] = deque(maxlen=200)

    def add(self, message: Any) -> None:
        """Take a message that has just arrived."""
        self.message = message
        self._times.append(self._now())

    @property
    def age(self) -> float:
        """Age of the newest message, s; NaN: there is none."""
        return self._now() - self._times[-1] if self._times else math.nan

    @property
    def rate(self) -> float:
        """Messages per second within the window; NaN: fewer than two."""
        recent = [moment for moment in self._times if self._now() - moment <= _WINDOW]
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else math.nan


class GraphView:
    """Collects messages and renders them.

    Args:
        namespace: shown in the heading.
        now: monotonic clock, s.
    """

    def __init__(self, namespace: str, now: Callable[[], float] = time.monotonic) -> None:
        self.decision = Arrivals(now)
        self.state = Arrivals(now)
        self.instruction = Arrivals(now)
        self.health = Arrivals(now)
        self._nodes: dict[str, Arrivals] = {}
        self._namespace = namespace
        self._now = now

    def on_heartbeat(self, heartbeat: Any) -> None:
        """Take a node's heartbeat."""
        name = f'{heartbeat.node}/{heartbeat.slot}' if heartbeat.slot else heartbeat.node
        self._nodes.setdefault(name, Arrivals(self._now)).add(heartbeat)

    def render(self) -> Group:
        """Draw everything; what was never heard is said to be unknown."""
        return Group(self._gate(), self._velocities(), self._node_table(), self._hops())

    def _gate(self) -> Table:
        table = Table.grid(padding=(0, 2))
        state = self.state.message
        if state is None:
            table.add_row('gate', Text('not heard', _BAD))
        else:
            name = State(state.state)
            age = self.state.age
            lost = age > _STATE_LOST
            if lost:
                text = Text(f'not heard for {age:.0f} s (was {name.name})', _BAD)
            else:
                text = Text(name.name, _COLOURS.get(name, _DOUBTFUL))
                text.append(f'  {state.since + age:.0f} s  {_causes(state.causes)}', 'default')
            table.add_row(f'gate {self._namespace}'.strip(), text)
            for label, lines in (('blocked by', state.blockers), ('warning', state.warnings)):
                for line in () if lost else lines:
                    table.add_row(label, Text(line, _DOUBTFUL))
        instruction = self.instruction.message
        if instruction is not None:
            reason = f' ({instruction.reason})' if instruction.reason else ''
            text = f'{instruction.text!r} {Fate(instruction.status).name}{reason}'
            table.add_row('instruction', Text(text))
        return table

    def _velocities(self) -> Table:
        table = _table('cmd_vel', 'v m/s', 'ω rad/s', 'age of', 's')
        decision = self.decision.message
        if decision is None:
            return table
        if self.decision.age > _DECISION_LOST:
            # No figure: the last ones look as if the robot still moved by them.
            table.add_row(Text(f'not heard for {self.decision.age:.1f} s', _BAD))
            return table
        rows = (
            ('wanted', decision.wanted, 'heartbeat', decision.heartbeat_age),
            ('allowed', decision.allowed, 'chunk', decision.chunk_age),
            ('published', decision.published, 'observation', decision.observation_age),
        )
        for name, twist, of, age in rows:
            speeds = (f'{twist.linear.x:+.2f}', f'{twist.angular.z:+.2f}')
            table.add_row(name, *speeds, of, _number(age))
        rate = f'{_number(self.decision.rate, 0)} Hz'
        table.add_row('', '', rate, 'odom', _number(decision.odom_age))
        return table

    def _node_table(self) -> Table:
        table = _table('node', 'state', 'heartbeat Hz', 'age s', 'done', 'errors', 'last error')
        for name, arrivals in sorted(self._nodes.items()):
            heartbeat = arrivals.message
            late = arrivals.age > _LATE
            activity = _ACTIVITY.get(heartbeat.state, str(heartbeat.state))
            table.add_row(
                name,
                Text('SILENT', _BAD) if late else activity,
                _number(arrivals.rate, 0),
                Text(_number(arrivals.age), _BAD if late else ''),
                str(heartbeat.progress),
                Text(str(heartbeat.errors_total), _DOUBTFUL if heartbeat.errors_total else ''),
                Text(heartbeat.detail, overflow='ellipsis', no_wrap=True),
            )
        return table

    def _hops(self) -> Table:
        table = _table('latency', 'Hz', 'p50 ms', 'p95 ms', 'p99 ms', 'max ms')
        health = self.health.message
        if health is None:
            return table
        for hop in health.hops:
            spans = (_number(span * 1e3, 1) for span in (hop.p50, hop.p95, hop.p99, hop.max))
            table.add_row(hop.name, _number(hop.rate, 1), *spans)
        for alarm in health.alarms:
            table.add_row(Text(alarm, _BAD))
        return table


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style='dim', padding=(0, 1))
    for number, column in enumerate(columns):
        numeric = number > 0 and column not in ('age of', 'state', 'last error')
        table.add_column(column, justify='right' if numeric else 'left', min_width=9)
    return table


def _number(value: float, digits: int = 2) -> str:
    return '?' if math.isnan(value) else f'{value:.{digits}f}'


def _causes(causes: Iterable[int]) -> str:
    return ', '.join(Cause(cause).name for cause in causes if cause != Cause.NONE)
