"""A simulated world around the gate: a living policy, a perfect base, and faults on demand."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from vla_core.gate.causes import State
from vla_core.gate.config import Timing
from vla_core.gate.core import Gate
from vla_core.gate.limits import ZERO
from vla_core.gate.messages import Beat, Chunk, Inputs, Message, Odom, Request, Result
from vla_core.robot import AxisConfig, RobotConfig
from vla_core.types import ActionChunk, NATIVE_AXES, NATIVE_UNITS, Representation, Status

PERIOD = 0.02
RUN = 1000


def make_robot(**changes) -> RobotConfig:
    robot = RobotConfig(
        name='test',
        axes=(
            AxisConfig(0.6, 1.0, 1.0, 'linear.x'),
            None,
            None,
            None,
            None,
            AxisConfig(1.2, 3.0, 3.0, 'angular.z'),
        ),
        estop_required=False,
        odom_required=True,
        discovery='LOCALHOST',
    )
    return replace(robot, **changes)


@dataclass
class World:
    """Steps a gate; everything that arrives by itself can be switched off or changed."""

    robot: RobotConfig = field(default_factory=make_robot)
    timing: Timing = field(default_factory=Timing)
    speed_scale: float = 1.0
    beating: bool = True
    chunking: bool = True
    odom_on: bool = True
    odom: tuple[float, ...] | None = None
    velocity: tuple[float, float] = (0.3, 0.2)
    status: Status = Status.RUNNING
    run: int = RUN
    instruction_id: int = 1
    horizon: int = 8
    writers: int = 1
    estop_publishers: int = 1
    busy_age: float = 0.0
    node_errors: int = 0
    extra_beats: Callable[[float], Iterable[Beat]] | None = None

    def __post_init__(self):
        self.gate = Gate(self.robot, self.timing, self.speed_scale)
        self.now = 10.0
        self.sequence = 0
        self.published = ZERO
        self.results: list[Result] = []

    def beat(self, at: float | None = None) -> Beat:
        return Beat(
            'policy',
            self.now if at is None else at,
            policy_run=self.run,
            busy=self.busy_age > 0.0,
            state_age=self.busy_age,
            consecutive_errors=self.node_errors,
        )

    def chunk(self, velocity: tuple[float, float] | None = None, **changes) -> Chunk:
        """A fresh chunk as the policy would send it now."""
        self.sequence += 1
        linear, angular = self.velocity if velocity is None else velocity
        data = np.zeros((self.horizon, 7))
        data[:, 0], data[:, 5] = linear, angular
        start = changes.pop('start', self.now)
        observed = changes.pop('observed', start)
        values = {
            'stamp_ns': round(start * 1e9),
            'observation_stamp_ns': round(observed * 1e9),
            'step_dt': 0.1,
            'sequence': self.sequence,
            'names': NATIVE_AXES,
            'units': NATIVE_UNITS,
            'data': data,
            'status': self.status,
            'policy_run': self.run,
            'instruction_id': self.instruction_id,
            'representation': Representation.VELOCITY,
        }
        return Chunk(ActionChunk(**(values | changes)), self.now, start, observed)

    def step(
        self,
        *messages: Message,
        dt: float = PERIOD,
        request: Request | None = None,
        quiet: bool = False,
    ) -> Result:
        """Let `dt` pass, then step with what arrives by itself (unless `quiet`) and `messages`."""
        self.now = round(self.now + dt, 9)
        arrived: list[Message] = []
        if self.odom_on and not quiet:
            arrived.append(Odom(self.odom or self.published, self.now))
        if self.beating and not quiet:
            arrived.append(self.beat())
        if self.extra_beats and not quiet:
            arrived.extend(self.extra_beats(self.now))
        if self.chunking and not quiet:
            arrived.append(self.chunk())
        inputs = Inputs(
            wall=self.now,
            messages=(*arrived, *messages),
            request=request,
            writers=self.writers,
            estop_publishers=self.estop_publishers,
        )
        result = self.gate.step(self.now, inputs)
        self.published = result.published
        self.results.append(result)
        return result

    def go(self, seconds: float, *messages: Message) -> Result:
        """Step for a while; `messages` arrive in every step."""
        for _ in range(round(seconds / PERIOD)):
            result = self.step(*messages)
        return result

    def until(self, state: State, seconds: float = 5.0, *messages: Message) -> Result:
        """Step until a state is reached."""
        for _ in range(round(seconds / PERIOD)):
            if self.step(*messages).state is state:
                return self.results[-1]
        raise AssertionError(f'{self.gate.state.name} after {seconds} s: expected {state.name}')

    def armed(self) -> 'World':
        """Get to ACTIVE as an operator would, at speed."""
        self.until(State.STOPPED)
        self.go(1.1)
        assert self.step(request=Request.ARM).reply.accepted
        self.until(State.ACTIVE)
        self.go(1.0)
        return self

    @property
    def states(self) -> list[State]:
        """States in the order in which they were entered."""
        order: list[State] = []
        for result in self.results:
            if not order or order[-1] is not result.state:
                order.append(result.state)
        return order


@pytest.fixture
def make_world() -> Callable[..., World]:
    """Make a world; keywords are fields of World, or else of the robot."""

    def make(**changes) -> World:
        own = {name: changes.pop(name) for name in list(changes) if name in World.__annotations__}
        return World(**({'robot': make_robot(**changes)} | own))

    return make


@pytest.fixture
def world(make_world) -> World:
    """A world in INIT."""
    return make_world()


@pytest.fixture
def driving(make_world) -> World:
    """A world whose robot drives at 0.3 m/s in ACTIVE."""
    return make_world().armed()
