"""How smoothly a policy drives: pilot, gate and simulator in one process, without ROS.

`python -m vla_learning.sim.smoothness POLICY COMMANDS` prints two rows of the benchmark as JSON.
The chunks are those that the pilot sends in lock-step. Beside the gate that drives the robot, a
second one plays the first action of every chunk alone and holds it, as a policy is commonly
driven; its commands are written down and move nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
import json
import sys

import numpy as np

from vla_core.commanded import beyond
from vla_core.errors import VlaError
from vla_core.execution import PERIOD
from vla_core.gate.causes import State
from vla_core.gate.config import Timing
from vla_core.gate.core import Gate
from vla_core.gate.limits import Limits, Vector, ZERO
from vla_core.gate.messages import Beat, Chunk, Inputs, Odom, Result
from vla_core.preprocess import resize
from vla_core.robot import load_robot, RobotConfig
from vla_core.session import Record, Session, Source
from vla_core.types import ActionChunk, Status
from vla_core.worker import Activity, Incident, Outcome
from vla_inference.config import PolicyConfig
from vla_inference.loading import Loader
from vla_inference.pilot import Pilot
from vla_inference.runner import Actions, Answer, Job, Runner
from vla_learning.evaluation.tasks import GO_TO, task
from vla_ros.files import robot_path
from vla_sim.arena import Arena

FIRST_SEED = 500_000
#: As the evaluation has them (vla_sim.lockstep).
_TICK_NS = 20_000_000
_TICKS_PER_FRAME = 2
_LATENCY = 0.02
_READY_TICKS = 250
_EPISODE_TICKS = 3000
#: Axes of the robot that are judged, and their names.
_AXES = {0: 'linear', 5: 'angular'}
#: Share of the first action's jerk that is promised (docs/reference/figures.md).
_PROMISED = 1 / 3


class _Tick:
    """The clock of lock-step: only stamps count."""

    lockstep = True

    def now(self) -> float:
        raise VlaError('lock-step asked for the time')

    def stamp_age(self, stamp_ns: int) -> float:
        raise VlaError('lock-step asked for an age')


class _AtOnce:
    """A worker that does every job in the caller's thread, and remembers the last actions."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.pilot: Pilot | None = None
        self.actions: Actions | None = None

    def submit(self, item: Job, lane: str = '') -> None:
        answer: Answer = self._runner.handle(item)
        self.actions = answer if isinstance(answer, Actions) else None
        if self.pilot is not None:
            self.pilot.outcome(Outcome(item, answer, None, 0.0))

    def activity(self) -> tuple[Activity, float]:
        return Activity.WAITING, 0.0

    def supervise(self) -> Incident | None:
        return None


class _Rig:
    """Pilot, both gates and the robot; each tick gives a command."""

    def __init__(self, policy: str) -> None:
        self.robot: RobotConfig = load_robot(robot_path('sim'))
        config = PolicyConfig(checkpoint=policy, robot='sim', clock='lockstep', device='cpu')
        loader = Loader(config, self.robot, lambda text, severe: None)
        runner = loader()
        self.spec = loader.spec
        self._worker = _AtOnce(runner)
        self._pilot = Pilot(Session(), self._worker, _Tick(), 1, self)
        self._worker.pilot = self._pilot
        self._pilot.fit(self.spec, loader.make_execution())
        self._pilot.activate()
        self._gates = [Gate(self.robot, Timing.lockstep(_LATENCY)) for _ in range(2)]
        self._arena = Arena()
        self._tick = 0
        self._sent: list[ActionChunk] = []

    # -- the pilot's sink --------------------------------------------------------------------

    def record(self, record: Record) -> None:
        """Let the life of the instruction go by: the status of the chunks says enough."""

    def chunk(self, chunk: ActionChunk) -> None:
        """Keep a chunk for the gates."""
        self._sent.append(chunk)

    def report(self, text: str, severe: bool) -> None:
        """Fail: no frame of the simulator may.

        Raises:
            VlaError: always.
        """
        raise VlaError(text)

    # -- driving -----------------------------------------------------------------------------

    def tick(self) -> tuple[Result, Result]:
        """Let 20 ms pass; return what the gate decides, and the one of the first actions."""
        self._tick += 1
        stamp_ns, now = self._tick * _TICK_NS, self._tick * PERIOD
        speed, turn_rate = self._arena.wheel_velocity
        self._pilot.odometry(stamp_ns, speed, turn_rate)
        self._sent.clear()
        if self._tick % _TICKS_PER_FRAME == 0:
            for slot in self.spec.cameras:
                picture = resize(self._arena.render(), slot)
                self._pilot.image(slot.name, picture, stamp_ns)
        velocity = (speed, *(0.0,) * 4, turn_rate)
        common = (Odom(velocity, now), Beat('policy', now, policy_run=1))
        first = [self._first(chunk) for chunk in self._sent]
        ours, other = (
            gate.step(now, Inputs(now, (*common, *(_received(chunk, now) for chunk in chunks))))
            for gate, chunks in zip(self._gates, (self._sent, first), strict=True)
        )
        self._arena.command(ours.published[0], ours.published[5])
        self._arena.advance(PERIOD)
        return ours, other

    def until_active(self) -> None:
        """Let the gate arm itself, once.

        Raises:
            VlaError: if it does not.
        """
        for _ in range(_READY_TICKS):
            if self.tick()[0].state is State.ACTIVE:
                return
        raise VlaError(f'the gate is not ACTIVE after {_READY_TICKS * PERIOD:g} s')

    def episode(self, number: int) -> Iterator[tuple[Result, Result]]:
        """Drive to the object that `make evaluate` names in this layout, tick by tick.

        Raises:
            VlaError: if the gate stops the robot.
        """
        asked = task(GO_TO, FIRST_SEED, number)
        self._arena.reset(asked.layout)
        self._pilot.hear(asked.text, Source.TOPIC)
        obeyed = False
        for _ in range(_EPISODE_TICKS):
            decided = self.tick()
            yield decided
            if decided[0].state is not State.ACTIVE:
                raise VlaError(f'{asked.text!r}: the gate is {decided[0].state.name}')
            running = decided[0].chunk_status is Status.RUNNING
            obeyed |= running
            if obeyed and not running and not any(decided[0].published):
                return

    def _first(self, chunk: ActionChunk) -> ActionChunk:
        """Return a chunk as it would be if the first action of the policy were all that counts."""
        data = np.zeros((self.spec.horizon, len(chunk.names)))
        if self._worker.actions is not None and chunk.data.any():
            data[:] = self._worker.actions.data[0]
        stamp_ns = chunk.observation_stamp_ns
        return replace(chunk, stamp_ns=stamp_ns, step_dt=self.spec.step_dt, data=data)


def _received(chunk: ActionChunk, now: float) -> Chunk:
    return Chunk(chunk, now, chunk.stamp_ns * 1e-9, chunk.observation_stamp_ns * 1e-9)


def measure(policy: str, commands: int) -> list[dict[str, object]]:
    """Drive until there are so many commands; return rows of the benchmark.

    Raises:
        VlaError: if the policy cannot be loaded or does not drive.
    """
    rig = _Rig(policy)
    limits = Limits.of(rig.robot)
    rig.until_active()
    before = last = rig.tick()[0]
    published: list[tuple[Vector, Vector]] = []
    breaches: list[float] = []
    asked, boundaries, stops = 0, 0, 0
    for number in count():
        for ours, other in rig.episode(number):
            before, last = last, ours
            published.append((ours.published, other.published))
            breaches.append(float(beyond(before.published, ours.published, limits, PERIOD)))
            boundaries += ours.sequence != before.sequence
            if beyond(before.wanted, ours.wanted, limits, PERIOD):
                stops += ours.wanted == ZERO
                asked += ours.wanted != ZERO
            if len(published) == commands:
                break
        if len(published) == commands:
            break
    series = np.array(published)
    rows = [_jerk(name, series[:, :, axis]) for axis, name in _AXES.items()]
    notes = {
        'chunk boundaries': boundaries,
        'steps beyond it that a chunk asked of the gate': asked,
        'that a stop asked of it': stops,
        'episodes': number + 1,
    }
    limit = {'max': 0.0, 'steps beyond it that a chunk asked of the gate': 0.0}
    return [*rows, _row('splice_step', 'beyond a dt', breaches, notes, limit)]


def _jerk(name: str, series: np.ndarray) -> dict[str, object]:
    """Compare the jerk of the commands of both gates, float [N, 2].

    Raises:
        VlaError: if there is none.
    """
    jerk = np.diff(series, 2, axis=0) / PERIOD**2
    ours, other = np.sqrt(np.square(jerk).mean(axis=0)).tolist()
    if not ours > 0.0:
        raise VlaError(f'{len(series)} commands: expected so many that {name} moves')
    notes = {
        'rms': round(ours, 2),
        'rms of the first action alone': round(other, 2),
        'times lower': round(other / ours, 2),
        'share': round(ours / other, 3),
    }
    unit = {'linear': 'm/s^3', 'angular': 'rad/s^3'}[name]
    samples = np.abs(jerk[:, 0]).tolist()
    return _row(f'commanded_jerk_{name}', unit, samples, notes, {'share': _PROMISED})


def _row(
    name: str, unit: str, samples: list[float], notes: object, limits: object
) -> dict[str, object]:
    return {'name': name, 'unit': unit, 'samples': samples, 'notes': notes, 'limits': limits}


def main() -> int:
    """Run the command; return its exit status."""
    try:
        rows = measure(sys.argv[1], int(sys.argv[2]))
    except VlaError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(rows))
    return 0


if __name__ == '__main__':
    sys.exit(main())
