"""From a press of the emergency stop to the zero that the base receives, thousands of times.

A latched stop is released a second after its cause is gone, so one robot can be stopped about
every 1.5 s. Several gates, each the only one of its robot, take turns: their robots are driven by
a person (MANUAL, without arming), and each is stopped while it is commanded to move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import os
from pathlib import Path
import random
import time

from geometry_msgs.msg import Twist
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from vla_cli.bench.gates import gates, processes, spaces
from vla_cli.bench.load import busy, class_of, CLASSES, put_into
from vla_cli.bench.pauses import Pauses
from vla_cli.bench.report import Row
from vla_cli.live import LiveGraph
from vla_core.gate.causes import State
from vla_core.gate.config import CLEAR_SPAN, REQUEST_SPAN
from vla_interfaces.msg import SafetyState, StopRequest
from vla_ros import qos
from vla_ros.clock import STEADY

ROBOTS = 8
SPEED = 0.2
#: s between two commands of the person.
_COMMAND_PERIOD = 0.1
_PERIOD = 0.02
#: s for a stop to arrive; a longer one counts as this long.
PATIENCE = 2.0
#: p99.9, ms.
_IDLE = 20.0
_LOADED = 40.0


class Robot:
    """One gate, the person who drives, and the hand at the button."""

    def __init__(self, live: LiveGraph, space: str) -> None:
        """Join the gate in that namespace."""
        node = live.node
        self.driven = False
        self.speed = 0.0
        self.zero_at = 0.0
        self.state = State.INIT
        self.human = node.create_publisher(Twist, f'{space}/cmd_vel_human', qos.VELOCITY)
        self.button = node.create_publisher(Bool, f'{space}/safety/estop', 10)
        self.requests = node.create_publisher(StopRequest, f'{space}/safety/request', qos.REQUEST)
        self.trigger = node.create_client(Trigger, f'{space}/safety/trigger_estop')
        self.release = node.create_client(Trigger, f'{space}/safety/reset')
        node.create_subscription(Twist, f'{space}/cmd_vel', self._on_twist, qos.EVERY)
        node.create_subscription(SafetyState, f'{space}/safety/state', self._on_state, qos.STATE)
        node.create_timer(_COMMAND_PERIOD, self._drive, clock=STEADY)

    @property
    def connected(self) -> bool:
        """Whether the gate hears everything that is said here."""
        heard = (self.human, self.button, self.requests)
        asked = (self.trigger, self.release)
        return all(one.get_subscription_count() > 0 for one in heard) and all(
            one.service_is_ready() for one in asked
        )

    def _on_twist(self, msg: Twist) -> None:
        now = time.monotonic()
        if msg.linear.x == 0.0 and self.speed != 0.0:
            self.zero_at = now
        self.speed = msg.linear.x

    def _on_state(self, msg: SafetyState) -> None:
        self.state = State(msg.state)

    def _drive(self) -> None:
        if self.driven:
            twist = Twist()
            twist.linear.x = SPEED
            self.human.publish(twist)


@dataclass(frozen=True)
class Way:
    """A way to stop a robot at once.

    Attributes:
        name: of its row.
        press: stops a robot.
        span: s until the cause is over by itself.
    """

    name: str
    press: Callable[[Robot], object]
    span: float = 0.0


WAYS = (
    Way('estop_to_zero', lambda robot: robot.button.publish(Bool(data=True))),
    Way(
        'estop_service_to_zero',
        lambda robot: robot.trigger.call_async(Trigger.Request()),
        REQUEST_SPAN,
    ),
    Way(
        'stop_request_to_zero',
        lambda robot: robot.requests.publish(
            StopRequest(level=StopRequest.ESTOP, source='bench', reason='measured')
        ),
        REQUEST_SPAN,
    ),
)


def estop_to_zero(count: int, folder: Path) -> list[Row]:
    """Stop robots in every way, each `count` times."""
    with _robots(folder) as (live, robots), Pauses() as pauses:
        return [_measure(live, robots, pauses, way, count, way.name, _IDLE) for way in WAYS]


def estop_to_zero_loaded(count: int, folder: Path) -> list[Row]:
    """Press the button on a busy machine, `count` times in every scheduling class of the gate."""
    rows = []
    with _robots(folder) as (live, robots), Pauses() as pauses, busy(folder):
        pids = _pids(live)
        for name in CLASSES:
            if all(put_into(pid, name) for pid in pids):
                limit = None if name == 'other' else _LOADED
                row = f'estop_to_zero_loaded_{name}'
                rows.append(_measure(live, robots, pauses, WAYS[0], count, row, limit))
    return rows


def _measure(
    live: LiveGraph,
    robots: list[Robot],
    pauses: Pauses,
    way: Way,
    count: int,
    name: str,
    limit: float | None,
) -> Row:
    samples: list[float] = []
    paused: list[float] = []
    order = random.Random(count)
    with promptly() as prompt:
        while len(samples) < count:
            _set_off(live, robots)
            for robot in order.sample(robots, len(robots)):
                # Where in the gate's period the press falls must not be of our making.
                live.spin(order.uniform(0.0, _PERIOD))
                began = time.monotonic()
                latency = 1e3 * _stop(live, robot, way)
                stalled = pauses.between(began, time.monotonic())
                (paused if stalled else samples).append(latency)
            _release(live, robots, way)
    notes = {
        'commanded before': f'{SPEED} m/s in MANUAL, every time',
        'gates': f'{len(robots)}, stopped one after the other',
        'class of the watcher': 'FIFO 10' if prompt else 'other',
    }
    return Row(
        name,
        'ms',
        samples[:count],
        notes=notes,
        limits={'p99.9': limit} if limit else {},
        paused=paused,
        scheduling=class_of(_pids(live)[0]),
    )


def _set_off(live: LiveGraph, robots: list[Robot]) -> None:
    """Let every robot be driven by a person, to the same speed."""
    for robot in robots:
        robot.driven = True
    live.until(lambda: all(robot.speed == SPEED for robot in robots), 'robots that are driven')


def _stop(live: LiveGraph, robot: Robot, way: Way) -> float:
    """Stop a robot; return s until its base received zero."""
    robot.driven = False
    robot.zero_at = 0.0
    pressed = time.monotonic()
    way.press(robot)
    end = pressed + PATIENCE
    while robot.zero_at < pressed and time.monotonic() < end:
        live.spin_once(end - time.monotonic())
    return (robot.zero_at if robot.zero_at >= pressed else end) - pressed


def _release(live: LiveGraph, robots: list[Robot], way: Way) -> None:
    """Let every gate be reset, once nothing has been wrong for long enough."""
    for robot in robots:
        robot.button.publish(Bool(data=False))
    live.spin(CLEAR_SPAN + way.span)
    left = list(robots)
    while left:
        left = _reset(live, left)
        live.spin(_PERIOD)


def _reset(live: LiveGraph, robots: list[Robot]) -> list[Robot]:
    """Ask for resets; return the robots for which it was too early."""
    answers = [(robot, robot.release.call_async(Trigger.Request())) for robot in robots]
    live.until(lambda: all(answer.done() for _, answer in answers), 'answers to a reset')
    return [robot for robot, answer in answers if not answer.result().success]


@contextmanager
def promptly() -> Iterator[bool]:
    """Watch in real-time class where that is granted: a late watcher is no late gate."""
    granted = put_into(os.getpid(), 'fifo')
    try:
        yield granted
    finally:
        if granted:
            put_into(os.getpid(), 'other')


@contextmanager
def _robots(folder: Path) -> Iterator[tuple[LiveGraph, list[Robot]]]:
    """Start gates of several robots, and nothing else."""
    with gates(ROBOTS, 'estop', folder) as live:
        robots = [Robot(live, space) for space in spaces(ROBOTS)]
        live.until(lambda: all(robot.connected for robot in robots), 'all gates')
        stopped = State.STOPPED
        live.until(lambda: all(robot.state is stopped for robot in robots), 'STOPPED')
        yield live, robots


def _pids(live: LiveGraph) -> list[int]:
    return [process.pid for process in processes(live).values()]
