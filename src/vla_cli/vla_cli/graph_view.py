"""What `vla top` shows: the newest message of every kind, its age, and how often it comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
import math
import time
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from vla_core.gate.causes import Cause, State
from vla_core.robot import AXES, AXIS_UNITS
from vla_core.session import Fate
from vla_core.text import name_of, printable
from vla_ros.conversion import twist_from_msg

# Rates are measured over this span, s.
_WINDOW = 2.0
# A heartbeat older than this is late (docs/reference/safety.md), s.
_LATE = 0.5
# The gate repeats its state every 1 s and decides many times in one, the monitor reports every
# 1 s; what is older is lost, s.
_STATE_LOST, _DECISION_LOST, _HEALTH_LOST = 2.0, 0.5, 3.0
# Characters of a foreign text that are shown: of a name, of anything else.
_LONGEST_NAME, _LONGEST_TEXT = 64, 300
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
        """Messages per second within the window; NaN: fewer than two moments.

        The gap that is not over yet counts from when on it is longer than the others.
        """
        now = self._now()
        recent = [moment for moment in self._times if now - moment <= _WINDOW]
        if not recent or not recent[-1] > recent[0]:
            return math.nan
        return min((len(recent) - 1) / (recent[-1] - recent[0]), len(recent) / (now - recent[0]))


class Fitting:
    """Shows as many lines as there is room for, and how many are left out; None: all of them."""

    def __init__(self, content: RenderableType, room: int | None) -> None:
        self._content = content
        self._room = room

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the lines from the top."""
        lines = console.render_lines(self._content, options.update(height=None), pad=False)
        room = self._room or len(lines)
        if len(lines) > room:
            lines[room - 1 :] = [[Segment(f'… {len(lines) - room + 1} more')]]
        for line in lines:
            yield from line
            yield Segment.line()


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
        self._nodes.setdefault(name[:_LONGEST_NAME], Arrivals(self._now)).add(heartbeat)

    def render(self, room: int | None = None) -> Fitting:
        """Draw what has room, in lines, what matters most on top; never heard is unknown."""
        tables = self._velocities(), self._node_table(), self._hops()
        return Fitting(Group(self._gate(), *self._alarms(), *tables), room)

    def _alarms(self) -> list[Text]:
        health, age = self.health.message, self.health.age
        if age > _HEALTH_LOST:
            return [Text(f'monitor not heard for {age:.0f} s', _BAD)]
        return [_text(alarm, _BAD) for alarm in (health.alarms if health else ())]

    def _gate(self) -> Table:
        table = Table.grid(padding=(0, 2))
        state = self.state.message
        if state is None:
            table.add_row('gate', Text('not heard', _BAD))
        else:
            name = name_of(State, state.state)
            age = self.state.age
            lost = age > _STATE_LOST
            if lost:
                text = Text(f'not heard for {age:.0f} s (was {name})', _BAD)
            else:
                text = Text(name, _COLOURS.get(state.state, _DOUBTFUL))
                text.append(f'  {state.since + age:.0f} s  {_causes(state.causes)}', 'default')
            table.add_row(_text(f'gate {self._namespace}'.strip()), text)
            for label, lines in (('blocked by', state.blockers), ('warning', state.warnings)):
                for line in () if lost else lines:
                    table.add_row(label, _text(line, _DOUBTFUL))
        instruction = self.instruction.message
        if instruction is not None:
            reason = f' ({instruction.reason})' if instruction.reason else ''
            fate = name_of(Fate, instruction.status)
            table.add_row('instruction', _text(f'{instruction.text!r} {fate}{reason}'))
        return table

    def _velocities(self) -> Table:
        decision = self.decision.message
        if decision is None:
            return _table('cmd_vel')
        said = (decision.wanted, decision.allowed, decision.published)
        twists = [twist_from_msg(twist) for twist in said]
        axes = _axes(twists)
        names = [f'{AXES[axis]} {AXIS_UNITS[axis]}' for axis in axes]
        table = _table('cmd_vel', *names, 'age of', 's')
        if self.decision.age > _DECISION_LOST:
            # No figure: the last ones look as if the robot still moved by them.
            table.add_row(Text(f'not heard for {self.decision.age:.1f} s', _BAD))
            return table
        rows = (
            ('wanted', 'heartbeat', decision.heartbeat_age),
            ('allowed', 'chunk', decision.chunk_age),
            ('published', 'observation', decision.observation_age),
        )
        for (name, of, age), twist in zip(rows, twists, strict=True):
            speeds = (f'{twist[axis]:+.2f}' for axis in axes)
            table.add_row(name, *speeds, of, _number(age))
        rate = f'{_number(self.decision.rate, 0)} Hz'
        table.add_row(*[''] * len(axes), rate, 'odom', _number(decision.odom_age))
        return table

    def _node_table(self) -> Table:
        table = _table('node', 'state', 'heartbeat Hz', 'age s', 'done', 'errors', 'last error')
        for name, arrivals in sorted(self._nodes.items()):
            heartbeat = arrivals.message
            late = arrivals.age > _LATE
            activity = _ACTIVITY.get(heartbeat.state, str(heartbeat.state))
            table.add_row(
                _text(name),
                Text('SILENT', _BAD) if late else activity,
                _number(arrivals.rate, 0),
                Text(_number(arrivals.age), _BAD if late else ''),
                str(heartbeat.progress),
                Text(str(heartbeat.errors_total), _DOUBTFUL if heartbeat.errors_total else ''),
                _text(heartbeat.detail, no_wrap=True),
            )
        return table

    def _hops(self) -> Table:
        table = _table('latency', 'Hz', 'p50 ms', 'p95 ms', 'p99 ms', 'max ms')
        health = self.health.message
        if health is None or self.health.age > _HEALTH_LOST:
            return table
        for hop in health.hops:
            spans = (_number(span * 1e3, 1) for span in (hop.p50, hop.p95, hop.p99, hop.max))
            table.add_row(_text(hop.name[:_LONGEST_NAME]), _number(hop.rate, 1), *spans)
        return table


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style='dim', padding=(0, 1))
    for number, column in enumerate(columns):
        numeric = number > 0 and column not in ('age of', 'state', 'last error')
        table.add_column(column, justify='right' if numeric else 'left', min_width=9)
    return table


def _text(foreign: str, style: str = '', no_wrap: bool = False) -> Text:
    """Return what somebody else wrote: neither markup nor control of the terminal."""
    shown = printable(foreign[:_LONGEST_TEXT])
    return Text(shown, style, overflow='ellipsis', no_wrap=no_wrap)


def _axes(twists: Iterable[Sequence[float]]) -> list[int]:
    """Return the axes that are not zero, and those of most robots."""
    moved = {axis for twist in twists for axis, value in enumerate(twist) if value != 0.0}
    return sorted(moved | {AXES.index('linear.x'), AXES.index('angular.z')})


def _number(value: float, digits: int = 2) -> str:
    return '?' if math.isnan(value) else f'{value:.{digits}f}'


def _causes(causes: Iterable[int]) -> str:
    return ', '.join(name_of(Cause, cause) for cause in causes if cause != Cause.NONE)
