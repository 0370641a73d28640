"""Anything at all, millions of times: what must hold of every single step of the gate.

`python test_gate_fuzz.py STEPS SEED` runs it without pytest and prints its figures as JSON.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
import json
import math
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from vla_core.gate.causes import ARMED, MOVING, State
from vla_core.gate.core import Gate
from vla_core.gate.limits import ZERO
from vla_core.gate.messages import (
    Beat,
    Chunk,
    Command,
    Estop,
    Human,
    Inputs,
    InternalError,
    Odom,
    Record,
    Rejected,
    Request,
    Scan,
    Stop,
    StopLevel,
)
from vla_core.robot import AxisConfig, RobotConfig
from vla_core.surroundings import Box, FenceConfig, ScanConfig, SlowBox, ZonesConfig
from vla_core.types import ActionChunk, NATIVE_AXES, NATIVE_UNITS, Representation, Status

SPEED = (0.6, 0.0, 0.0, 0.0, 0.0, 1.2)
ACCEL = (1.0, 0.0, 0.0, 0.0, 0.0, 3.0)
DECEL = (0.8, 0.0, 0.0, 0.0, 0.0, 3.0)
ROBOT = RobotConfig(
    name='fuzz',
    axes=tuple(
        AxisConfig(speed, accel, decel, name) if speed else None
        for speed, accel, decel, name in zip(SPEED, ACCEL, DECEL, NATIVE_AXES, strict=False)
    ),
    estop_required=True,
    odom_required=True,
    discovery='LOCALHOST',
    gripper='gripper',
    fence=FenceConfig(((-3.0, -3.0), (3.0, -3.0), (3.0, 3.0), (-3.0, 3.0))),
    scan=ScanConfig('scan', 0.0, 0.0, 0.0, 6.2),
    zones=ZonesConfig(Box(0.3, 0.3, 0.3, 0.3), SlowBox(0.8, 0.5, 0.5, 0.5, 0.5), 1.0),
)
#: Robots of every kind: with all of it, with nothing, and without odom.
ROBOTS = (
    ROBOT,
    replace(ROBOT, fence=None, scan=None, zones=None, estop_required=False, gripper=None),
    replace(ROBOT, fence=None, odom_required=False),
)
ODD = (math.nan, math.inf, -math.inf, 5e-324, -5e-324, 1e308, -1e308, -0.0, 0.0, 1e-9, 11.0)
#: Every change of state that there is.
ALLOWED = {
    (State.INIT, State.STOPPED),
    (State.STOPPED, State.ARMING),
    (State.STOPPED, State.MANUAL),
    (State.ARMING, State.ACTIVE),
    (State.ARMING, State.HOLD),
    (State.ACTIVE, State.HOLD),
    (State.ACTIVE, State.MANUAL),
    (State.HOLD, State.ACTIVE),
    *((state, State.CONTROLLED_STOP) for state in ARMED | {State.MANUAL}),
    (State.CONTROLLED_STOP, State.STOPPED),
    (State.ESTOP, State.STOPPED),
    *((state, State.ESTOP) for state in State if state is not State.FAULT),
}
#: Rounding of sums of floats.
EPSILON = 1e-9
#: s of silence of the gate after which it commands zero, for the base may have stopped.
HUNG = 0.5


@dataclass
class Fuzz:
    """A gate and a world that is well for a while and then not."""

    robot: RobotConfig
    seed: int
    states: Counter = field(default_factory=Counter)
    changes: Counter = field(default_factory=Counter)

    def __post_init__(self):
        self.random = random.Random(self.seed)
        self.gate = Gate(self.robot)
        self.now = 10.0
        self.run = 1
        self.sequence = 0
        self.instruction = 1
        self.stamp = 0
        self.pose = [0.0, 0.0, 0.0]
        self.wall = 2.0
        self.trouble = 0.0
        self.armed = False
        self.before = self.gate.step(self.now, Inputs(wall=self.now))

    def number(self):
        if self.random.random() < self.trouble:
            return self.random.choice(ODD)
        return self.random.uniform(-1.0, 1.0)

    def vector(self):
        return tuple(self.number() for _ in range(6))

    def age(self):
        return self.number() if self.random.random() < self.trouble else 0.0

    def chunk(self):
        chance = self.random.random
        self.sequence += 1 if chance() > self.trouble else self.random.randint(-3, 3)
        data = np.full((2, 7), [*self.vector(), self.number()])
        if not np.isfinite(data).all():
            return Rejected('chunk', 'not finite')
        status = Status.RUNNING if chance() > self.trouble else self.random.choice(list(Status))
        chunk = ActionChunk(
            stamp_ns=1,
            observation_stamp_ns=1,
            step_dt=0.1,
            sequence=max(0, self.sequence),
            names=NATIVE_AXES,
            units=NATIVE_UNITS,
            data=data,
            status=status,
            policy_run=self.run - (chance() < 0.1 * self.trouble),
            instruction_id=self.instruction - (chance() < self.trouble),
            representation=Representation.VELOCITY,
        )
        return Chunk(chunk, self.now, self.now - self.age(), self.now - self.age())

    def usual(self, dt):
        """What a healthy world sends, as far as it is healthy."""
        chance, messages = self.random.random, []
        published, pose = self.before.published, self.pose
        step = min(dt, 0.1)
        pose[0] += published[0] * math.cos(pose[2]) * step
        pose[1] += published[0] * math.sin(pose[2]) * step
        pose[2] += published[5] * step
        if chance() < 0.0005 or (max(map(abs, pose[:2])) > 3.2 and chance() < 0.01):
            pose[:] = [self.random.uniform(-4.0, 4.0), self.random.uniform(-4.0, 4.0), 0.0]
        if self.before.state is State.STOPPED and chance() < 0.02:
            self.wall, pose[:] = 2.0, [0.0, 0.0, 0.0]
        if chance() > 0.5 * self.trouble:
            velocity = published if chance() > self.trouble else self.vector()
            messages.append(Odom(velocity, self.now - self.age(), tuple(pose), 'odom'))
        if chance() > 0.5 * self.trouble:
            messages.append(
                Beat('policy', self.now, '', self.run, chance() < self.trouble, abs(self.age()))
            )
        if chance() < 0.01:
            # The policy records the stop, and obeys the next instruction.
            messages.append(Record('stop', self.stamp, self.run, self.instruction + 1))
            self.instruction += 2
        if chance() < 0.4:
            messages.append(self.chunk())
        if chance() < 0.3:
            if chance() < 0.02:
                self.wall = self.random.choice((0.2, 0.35, 0.6, 2.0, 2.0, 2.0, 2.0, 2.0))
            at = self.now - self.age()
            signature = self.random.randint(0, 1 << 30)
            messages.append(Scan(np.array(((self.wall, 0.0), (-2.0, 1.0))), at, signature))
        return messages

    def unusual(self):
        """What should not come, or comes from people."""
        pick = self.random.randint(0, 11)
        if pick == 0:
            return Human(self.vector(), self.now - self.age())
        if pick == 1:
            return Estop(self.random.random() < 0.2, self.random.choice(('latched', 'plain')))
        if pick == 2:
            return Stop(self.random.choice(list(StopLevel)))
        if pick == 3:
            self.stamp += self.random.randint(0, 2)
            return Command(self.random.choice(('stop', 'go')), self.stamp)
        if pick == 4:
            text = self.random.choice(('stop', 'go'))
            return Record(text, self.random.randint(0, 3), self.run, self.random.randint(0, 9))
        if pick == 5:
            return Rejected(self.random.choice(('chunk', 'human', 'odom', 'scan', 'beat')), 'bad')
        if pick == 6 and self.random.random() < 0.1:
            return InternalError('bug')
        if pick == 7 and self.random.random() < 0.1:
            self.run += 1
            self.sequence = 0
        if pick == 8:
            return Beat('camera', self.now, 'front', 1, False, 0.0, 0, abs(self.number()))
        if pick == 9:
            errors = self.random.randint(0, 6)
            return Beat('policy', self.now, '', self.run, consecutive_errors=errors)
        return Estop(False, self.random.choice(('latched', 'plain')))

    def request(self):
        chance = self.random.random()
        if self.before.ready_to_arm and chance < 0.2:
            return Request.ARM
        if self.before.state is State.ESTOP and chance < 0.1:
            return Request.RESET
        if chance < 0.002:
            return self.random.choice(list(Request))
        return None

    def step(self):
        chance = self.random.random
        if chance() < 0.01:
            self.trouble = self.random.choice((0.0,) * 12 + (0.001, 0.001, 0.02, 0.3))
        dt = 0.02
        if chance() < 0.1:
            dt = self.random.choice((0.0, 0.001, 0.005, 0.03, 0.3 if self.trouble else 0.02))
        if chance() < 0.05 * self.trouble:
            dt = self.random.choice((-1.0, 3.0, 0.6, math.nan, math.inf))
        then, now = self.now, self.now + dt
        if math.isfinite(now):
            self.now = now
        messages = self.usual(max(0.0, dt) if math.isfinite(dt) else 0.0)
        if self.before.state is State.ESTOP and chance() < 0.05:
            messages += [Estop(False, 'latched'), Estop(False, 'plain')]
        if chance() < 0.002 + 0.3 * self.trouble:
            messages.append(self.unusual())
            self.random.shuffle(messages)
        inputs = Inputs(
            wall=self.now,
            messages=tuple(messages),
            request=self.request(),
            writers=2 if chance() < 0.01 * self.trouble else 1,
            estop_publishers=0 if chance() < 0.5 * self.trouble else 1,
        )
        result = self.gate.step(now, inputs)
        self.judge(result, inputs.request, max(0.0, self.now - then))
        self.before = result

    def judge(self, result, request, passed):
        """`passed`: s by the fuzz's own clock, for the gate's dt is one of the things judged."""
        before = self.before
        old, new = before.state, result.state
        self.states[new.name] += 1
        if new is not old:
            self.changes[old.name, new.name] += 1
            assert (old, new) in ALLOWED, (old, new)
        accepted = result.reply is not None and result.reply.accepted
        # Latched, and nobody but a person arms.
        assert new is not State.FAULT, result.events
        if old is State.ESTOP and new is not State.ESTOP:
            assert (request, accepted) == (Request.RESET, True)
        if new is State.ARMING and old is not State.ARMING:
            assert (request, accepted) == (Request.ARM, True)
        # Finite and within limits; zero where nothing may move.
        assert len(result.published) == 6
        for value, most in zip(result.published, SPEED, strict=True):
            assert math.isfinite(value)
            assert abs(value) <= most
        if new not in MOVING:
            assert result.published == ZERO
        # Within acceleration and deceleration, but for the emergency stop, and after a silence.
        if passed >= HUNG + EPSILON:
            assert result.published == ZERO or old not in MOVING, (old, passed)
        elif new is not State.ESTOP:
            for was, now, up, down in zip(
                before.published, result.published, ACCEL, DECEL, strict=True
            ):
                rate = up if abs(now) > abs(was) and was * now >= 0.0 else down
                assert abs(now - was) <= rate * passed + EPSILON, (was, now)
        # What slows never speeds up, and a stop never moves the gripper.
        assert 0.0 <= result.speed_scale <= 1.0
        if new in (State.HOLD, State.CONTROLLED_STOP):
            for was, now in zip(before.published, result.published, strict=True):
                assert abs(now) <= abs(was)
        same = result.gripper == before.gripper or (
            math.isnan(result.gripper) and math.isnan(before.gripper)
        )
        if not same:
            assert new is State.ACTIVE
            assert 0.0 <= result.gripper <= 1.0


def run(steps, seed):
    """Fuzz every robot for a share of the steps; an assertion fails at the first violation."""
    states, changes, began = Counter(), Counter(), time.process_time()
    for index, robot in enumerate(ROBOTS):
        fuzz = Fuzz(robot, seed * len(ROBOTS) + index)
        for _ in range(steps // len(ROBOTS)):
            fuzz.step()
        states += fuzz.states
        changes += fuzz.changes
    return states, changes, time.process_time() - began


def test_no_step_of_many_violates_anything(figures):
    states, changes, _ = run(15_000, 1)
    # A fuzz that never drove would prove nothing.
    assert set(states) == {state.name for state in State} - {'FAULT'}
    assert states['ACTIVE'] > 700
    assert len(changes) > 15
    figures(f'fuzzed_steps: n {states.total()}, violations 0, changes of state {changes.total()}')


@pytest.mark.slow
def test_ten_million_steps(figures):
    """SAFETY: 1e7 fuzzed steps, 0 violations; FUZZ_STEPS changes their number."""
    steps, workers = int(os.environ.get('FUZZ_STEPS', '10000000')), os.cpu_count() or 1
    share = -(-steps // workers)
    children = [
        subprocess.Popen(
            [sys.executable, __file__, str(share), str(1000 + index)], stdout=subprocess.PIPE
        )
        for index in range(workers)
    ]
    outputs = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0] * workers
    found = [json.loads(output) for output in outputs]
    done = sum(one['steps'] for one in found)
    assert done >= steps - workers * len(ROBOTS)
    changes = sum((Counter(one['changes']) for one in found), Counter())
    figures(f'fuzzed_steps: n {done}, violations 0, changes of state {changes.total()}:')
    for name, number in sorted(changes.items()):
        figures(f'  {name}: {number}')


if __name__ == '__main__':
    found_states, found_changes, seconds = run(int(sys.argv[1]), int(sys.argv[2]))
    named = {f'{old} to {new}': number for (old, new), number in found_changes.items()}
    total = found_states.total()
    written = {'steps': total, 'seconds': seconds, 'states': found_states, 'changes': named}
    sys.stdout.write(json.dumps(written))
