"""When the gate steps: in lock-step once per tick, else by a timer and on arrival."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vla_core.gate.causes import Cause, State
from vla_core.gate.config import Timing
from vla_core.gate.core import Gate
from vla_core.gate.messages import Chunk, Estop, Odom, Rejected, Request, Stop, StopLevel
from vla_core.robot import load_robot
from vla_core.types import ActionChunk, NATIVE_AXES, NATIVE_UNITS, Status
from vla_safety.inbox import Urgency
from vla_safety.stepper import Stepper

ROBOT = Path(__file__).parents[3] / 'config' / 'robots' / 'sim.yaml'
TICK_NS = 20_000_000


@dataclass
class _Clock:
    lockstep: bool = True


@dataclass
class _Outbox:
    published: list = field(default_factory=list)

    def writers(self):
        return 1

    def publish(self, result, tick, repeated):
        self.published.append((tick, repeated, result))


class _World:
    """A driver, a base and a policy in lock-step; the last two can be faster than /clock."""

    def __init__(self):
        self.outbox = _Outbox()
        gate = Gate(load_robot(ROBOT), Timing.lockstep(0.02))
        self.stepper = Stepper(gate, _Clock(), self.outbox, lambda: 0, odom_required=True)
        self.tick = 0

    def _odom(self):
        speed = self.outbox.published[-1][2].published if self.outbox.published else (0.0,) * 6
        self.stepper.deliver(Odom(speed, self.tick * 0.02), Urgency.NEXT)

    def _clock(self):
        self.stepper.on_tick(self.tick * TICK_NS)

    def _chunk(self):
        data = np.zeros((8, 7))
        data[:, 0] = 0.3 if self.tick % 40 < 20 else -0.2
        now = self.tick * 0.02
        chunk = ActionChunk(
            stamp_ns=self.tick * TICK_NS,
            observation_stamp_ns=self.tick * TICK_NS,
            step_dt=0.1,
            sequence=self.tick,
            names=NATIVE_AXES,
            units=NATIVE_UNITS,
            data=data,
            status=Status.RUNNING,
            policy_run=1,
            instruction_id=1,
        )
        self.stepper.deliver(Chunk(chunk, now, now, now), Urgency.SOON)

    def advance(self, order):
        """One tick; `order` says when odom, /clock and (every other tick) the chunk arrive."""
        self.tick += 1
        arrivals = {'o': self._odom, 'c': self._clock, 'p': self._chunk}
        for letter in order:
            if letter != 'p' or self.tick % 2 == 0:
                arrivals[letter]()


@pytest.mark.parametrize('odd', ['ocp', 'cop'])
@pytest.mark.parametrize('even', ['ocp', 'opc', 'cop', 'cpo', 'poc', 'pco'])
def test_commands_do_not_depend_on_the_order_of_arrival(odd, even):
    runs = []
    for orders in (('ocp', 'ocp'), (odd, even)):
        world = _World()
        for tick in range(300):
            world.advance(orders[tick % 2])
        steps = [entry for entry in world.outbox.published if not entry[1]]
        assert [entry[0] for entry in steps] == list(range(1, 301))
        runs.append(
            [(tick, result.state, result.published, result.wanted) for tick, _, result in steps]
        )
    assert runs[0] == runs[1]
    assert runs[0][-1][1] is State.ACTIVE
    assert any(speed[0] > 0.2 for _, _, speed, _ in runs[0])


def test_last_decision_of_a_tick_names_its_frame():
    for order in ('ocp', 'cpo', 'pco'):
        world = _World()
        for _ in range(10):
            world.advance(order)
        tick, repeated, result = world.outbox.published[-1]
        assert (tick, repeated, result.observation_ns) == (10, True, 10 * TICK_NS)


def test_repeated_decision_holds_the_command():
    world = _World()
    for _ in range(250):
        world.advance('ocp')
    for (tick, repeated, result), (before, _, earlier) in zip(
        world.outbox.published[1:], world.outbox.published[:-1], strict=True
    ):
        if repeated:
            assert tick == before
            assert result.published == earlier.published


def test_tick_waits_for_its_odom():
    world = _World()
    world.tick = 1
    world._clock()
    assert world.outbox.published == []
    world._odom()
    assert [entry[0] for entry in world.outbox.published] == [1]


def test_estop_does_not_wait_for_the_tick():
    world = _World()
    for _ in range(250):
        world.advance('ocp')
    assert world.outbox.published[-1][2].published[0] != 0.0
    world.stepper.deliver(Estop(True, 'plain'), Urgency.NOW)
    tick, repeated, result = world.outbox.published[-1]
    assert (tick, repeated, result.state) == (250, True, State.ESTOP)
    assert not any(result.published)


@pytest.mark.parametrize('request_', [Request.ARM, Request.RESET])
def test_services_are_answered_between_ticks(request_):
    world = _World()
    for _ in range(10):
        world.advance('ocp')
    assert not world.stepper.ask(request_).accepted
    assert world.outbox.published[-1][:2] == (10, True)


def _broken():
    raise RuntimeError('no graph')


@pytest.mark.parametrize('broken', ['writers', 'estop_publishers'])
def test_graph_that_cannot_be_asked_is_an_emergency_stop_in_that_step(broken):
    world = _World()
    for _ in range(250):
        world.advance('ocp')
    assert world.outbox.published[-1][2].published[0] != 0.0
    owner, name = (
        (world.outbox, 'writers') if broken == 'writers' else (world.stepper, '_estop_publishers')
    )
    setattr(owner, name, _broken)
    told = len(world.outbox.published)
    for _ in range(100):
        world.advance('oc')
    results = [result for _, _, result in world.outbox.published[told:]]
    assert len(results) == 100
    assert {result.state for result in results} == {State.ESTOP}
    assert results[0].cause is Cause.INTERNAL_ERROR
    assert not any(any(result.published) for result in results)
    assert 'RuntimeError: no graph' in [event.text for event in results[0].events]


# -- steady ------------------------------------------------------------------------------------


class _Timer:
    def __init__(self, period, callback):
        self.period, self.callback = period, callback
        self.waits = True

    def cancel(self):
        self.waits = False

    def reset(self):
        self.waits = True


class _Steady:
    """A stepper on the monotonic clock, whose time and timers are this test's."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        self.timers = []
        self.outbox = _Outbox()
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr('vla_safety.stepper.time', clock)
        gate = Gate(load_robot(ROBOT), Timing())
        self.stepper = Stepper(gate, _Clock(lockstep=False), self.outbox, lambda: 1, False)
        self.stepper.start(self, lambda callback: callback)

    def create_timer(self, period, callback, clock):
        self.timers.append(_Timer(period, callback))
        return self.timers[-1]

    @property
    def steps(self):
        return len(self.outbox.published)


@pytest.fixture
def steady(monkeypatch):
    return _Steady(monkeypatch)


def test_gate_steps_by_a_timer_of_20_ms(steady):
    regular, late = steady.timers
    assert (regular.period, regular.waits, late.period, late.waits) == (0.02, True, 0.005, False)
    regular.callback()
    assert steady.steps == 1


def test_stop_is_stepped_on_arrival_however_short_the_last_step_is_ago(steady):
    for _ in range(3):
        before = steady.steps
        steady.stepper.deliver(Stop(StopLevel.ESTOP, 'test'), Urgency.NOW)
        assert steady.steps == before + 1
    assert Cause.ESTOP_REQUESTED in steady.outbox.published[0][2].causes


def test_chunks_are_stepped_on_arrival_at_most_every_5_ms(steady):
    _, late = steady.timers
    steady.stepper.deliver(Rejected('chunk', 'one'), Urgency.SOON)
    assert (steady.steps, late.waits) == (1, False)
    steady.now += 0.004
    steady.stepper.deliver(Rejected('chunk', 'two'), Urgency.SOON)
    assert (steady.steps, late.waits) == (1, True)
    late.callback()
    assert (steady.steps, late.waits) == (2, False)
    steady.now += 0.006
    steady.stepper.deliver(Rejected('chunk', 'three'), Urgency.SOON)
    assert steady.steps == 3
    errors = [result.consecutive_errors for _, _, result in steady.outbox.published]
    assert errors == [1, 2, 3]


def test_gate_whose_graph_was_never_heard_says_zero_in_every_step(steady):
    steady.outbox.writers = _broken
    for _ in range(100):
        steady.stepper.deliver(Rejected('odom', 'one'), Urgency.NEXT)
        steady.now += 0.02
        steady.timers[0].callback()
    assert steady.steps == 100
    results = [result for _, _, result in steady.outbox.published]
    assert {result.state for result in results} == {State.ESTOP}
    # One of each, and none that was left behind.
    assert [result.counts['errors'] for result in results] == list(range(2, 202, 2))


def test_what_can_wait_waits_for_the_timer(steady):
    steady.stepper.deliver(Rejected('odom', 'one'), Urgency.NEXT)
    assert steady.steps == 0
    steady.timers[0].callback()
    assert steady.outbox.published[0][2].counts['errors'] == 1
