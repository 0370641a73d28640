"""How far the gate's steps are from 20 ms apart: its `dt`, of every decision."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vla_cli.bench.gates import gates, processes, spaces
from vla_cli.bench.load import busy, class_of, CLASSES, put_into
from vla_cli.bench.report import Row
from vla_cli.live import LiveGraph
from vla_interfaces.msg import Decision

#: Gates that step beside each other on an idle machine; each takes a tenth of a core.
PAIR = 2
_PERIOD = 0.02
_WARM_UP = 2.0
#: Decisions that wait while the watcher starves: 40 s.
_DEPTH = 2000
#: p99.9, ms, that is promised of the error; without the privilege nothing is.
_IDLE = 5.0
_LOADED = {'fifo': 10.0, 'nice': 20.0}


class Steps:
    """What one gate says of its steps.

    Attributes:
        space: its namespace.
        ticks: their numbers.
        errors: |dt - 20 ms|, ms.
    """

    def __init__(self, live: LiveGraph, space: str) -> None:
        """Listen to the gate in that namespace."""
        self.space = space
        self.ticks: list[int] = []
        self.errors: list[float] = []
        live.node.create_subscription(Decision, f'{space}/safety/decision', self._note, _DEPTH)

    @property
    def lost(self) -> int:
        """Steps of which nothing was heard here."""
        return self.ticks[-1] - self.ticks[0] + 1 - len(self.ticks)

    def forget(self) -> None:
        """Begin again."""
        self.ticks.clear()
        self.errors.clear()

    def _note(self, msg: Decision) -> None:
        self.ticks.append(msg.tick)
        self.errors.append(1e3 * abs(msg.dt - _PERIOD))


def gate_period_error(count: int, folder: Path) -> list[Row]:
    """Measure `count` steps, half of either of two gates, in the class that they were granted."""
    with gates(PAIR, 'period', folder) as live:
        pair = [Steps(live, space) for space in spaces(PAIR)]
        _listen(live, pair, -(-count // PAIR))
        return [_row(live, pair, 'gate_period_error', _IDLE, count)]


def gate_period_error_loaded(count: int, folder: Path) -> list[Row]:
    """Measure the same on a busy machine: one gate in each class that can be had, side by side."""
    with gates(len(CLASSES), 'period_loaded', folder) as live, busy(folder):
        every = [Steps(live, space) for space in spaces(len(CLASSES))]
        live.until(lambda: all(one.ticks for one in every), 'a step of every gate')
        found = processes(live)
        granted = {
            name: one
            for name, one in zip(CLASSES, every, strict=True)
            if put_into(found[one.space].pid, name)
        }
        _listen(live, list(granted.values()), count)
        return [
            _row(live, [one], f'gate_period_error_loaded_{name}', _LOADED.get(name), count)
            for name, one in granted.items()
        ]


def _listen(live: LiveGraph, watched: Sequence[Steps], count: int) -> None:
    """Hear `count` steps of each, none of the first two seconds."""
    live.until(lambda: all(one.ticks for one in watched), 'a step of every gate')
    live.spin(_WARM_UP)
    for one in watched:
        one.forget()
    while any(len(one.ticks) < count for one in watched):
        live.spin(1.0)
        live.graph.check()


def _row(
    live: LiveGraph, watched: Sequence[Steps], name: str, limit: float | None, count: int
) -> Row:
    share = -(-count // len(watched))
    samples = [error for one in watched for error in one.errors[:share]]
    return Row(
        name,
        'ms',
        samples[:count],
        notes={
            'gates': len(watched),
            'decisions that did not reach the watcher': sum(one.lost for one in watched),
        },
        limits={'p99.9': limit} if limit else {},
        scheduling=class_of(processes(live)[watched[0].space].pid),
    )
