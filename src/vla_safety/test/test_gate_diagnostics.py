"""What the gate says in /diagnostics, word for word: tools and people filter by it."""

import time
from types import SimpleNamespace

from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
import pytest
from rclpy.logging import get_logger

from vla_core.gate.config import GateConfig, Timing
from vla_core.gate.core import Gate
from vla_core.gate.messages import Beat, Chunk, Estop, Odom, Request
from vla_core.robot import load_robot
from vla_core.types import ActionChunk, NATIVE_AXES, NATIVE_UNITS, Status
from vla_ros.conversion import to_ns
from vla_safety.inbox import Urgency
from vla_safety.outbox import Outbox
from vla_safety.stepper import Stepper

TICK = 0.02
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
#: Standing warnings of a gate without an e-stop, a monitor and a camera.
ALONE = (
    'estop: none in the robot file; no heartbeat of a monitor; '
    'no heartbeat of a camera: a frozen picture would not be noticed'
)
ROBOT = """
simulated: true
self_arm: false
estop: {estop}
odom: required
discovery: LOCALHOST
axes:
  linear.x: {{max_speed: 0.6, max_accel: 1.0, max_decel: 1.0}}
"""


class _Node:
    """Keeps what is published, by topic."""

    def __init__(self):
        self.sent = {}

    def create_publisher(self, _kind, topic, _profile):
        return SimpleNamespace(topic_name=topic, publish=self.sent.setdefault(topic, []).append)

    def count_publishers(self, _topic):
        return 1

    def get_fully_qualified_name(self):
        return '/one/gate'

    def get_logger(self):
        return get_logger('gate')


class _World:
    """A base and a policy in simulated time; `complete` adds a button, a monitor, a camera."""

    lockstep = True

    def __init__(self, path, complete, warnings=()):
        path.write_text(ROBOT.format(estop='required' if complete else 'none'))
        robot = load_robot(path)
        self._complete = complete
        self._tick = 0
        self._node = _Node()
        self.unheard = ()
        config = GateConfig(robot=str(path))
        outbox = Outbox(*(self._node, robot, config, self, warnings), lambda: self.unheard)
        gate = Gate(robot, Timing.lockstep(TICK))
        self.stepper = Stepper(gate, self, outbox, lambda: int(complete), robot.odom_required)

    def now(self):
        return self._tick * TICK

    def stamp_ns(self):
        return round(self.now() * 1e9)

    def _policy(self):
        data = np.zeros((8, 7))
        data[:, 0] = 0.3
        chunk = ActionChunk(
            stamp_ns=self.stamp_ns(),
            observation_stamp_ns=self.stamp_ns(),
            step_dt=0.1,
            sequence=self._tick,
            names=NATIVE_AXES,
            units=NATIVE_UNITS,
            data=data,
            status=Status.RUNNING,
            policy_run=1,
            instruction_id=1,
        )
        now = self.now()
        self.stepper.deliver(Chunk(chunk, now, now, now), Urgency.SOON)

    def run(self, seconds):
        """Let everybody speak for as long; return the newest status, with its counts."""
        for _ in range(round(seconds / TICK)):
            self._tick += 1
            if self._complete:
                self.stepper.deliver(Estop(False, 'plain'), Urgency.NEXT)
                for node in ('monitor', 'camera'):
                    self.stepper.deliver(Beat(node, time.monotonic()), Urgency.NEXT)
            twist = self._node.sent['cmd_vel'][-1:]
            speed = (twist[0].linear.x if twist else 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
            self.stepper.deliver(Odom(speed, self.now()), Urgency.NEXT)
            self.stepper.on_tick(self.stamp_ns())
            self._policy()
        array = self._node.sent['/diagnostics'][-1]
        assert 0.0 <= self.now() - to_ns(array.header.stamp) * 1e-9 < 1.0 + TICK
        (status,) = array.status
        assert (status.name, status.hardware_id) == ('/one/gate: state', '')
        return status, {pair.key: pair.value for pair in status.values}

    def drive(self):
        """Wait until it may be armed, arm it, let it move."""
        self.run(3.0)
        assert self.stepper.ask(Request.ARM).accepted
        return self.run(3.0)


@pytest.fixture
def make_world(tmp_path):
    """Make a world; see _World."""
    return lambda *arguments: _World(tmp_path / 'robot.yaml', *arguments)


@pytest.mark.parametrize(
    ('complete', 'level', 'message'),
    [(True, OK, 'STOPPED'), (False, WARN, f'STOPPED: {ALONE}')],
    ids=['complete', 'alone'],
)
def test_stopped_and_ready(make_world, complete, level, message):
    status, counts = make_world(complete).run(4.0)
    assert (status.level, status.message) == (level, message)
    assert list(counts) == ['accepted', 'discarded', 'clipped', 'rejected', 'errors']


@pytest.mark.parametrize(
    ('complete', 'level', 'message'),
    [(True, OK, 'ACTIVE'), (False, WARN, f'ACTIVE: {ALONE}')],
    ids=['complete', 'alone'],
)
def test_active(make_world, complete, level, message):
    status, counts = make_world(complete).drive()
    assert (status.level, status.message) == (level, message)
    assert int(counts.pop('accepted')) > 200
    assert counts == {'discarded': '0', 'clipped': '0', 'rejected': '0', 'errors': '0'}


def test_emergency_stop(make_world):
    world = make_world(True)
    world.drive()
    world.stepper.fail(ValueError('x'))
    status, counts = world.run(4.0)
    assert (status.level, status.message) == (ERROR, 'ESTOP: INTERNAL_ERROR')
    assert list(counts) == ['accepted', 'discarded', 'clipped', 'rejected', 'errors']
    assert counts['errors'] == '1'


def test_blockers_and_warnings_of_the_process_follow_the_cause(make_world):
    world = make_world(False, ('nobody gave it priority',))
    world.drive()
    world.stepper.ask(Request.TRIGGER_ESTOP)
    status, _ = world.run(1.0)
    why = 'ESTOP_SERVICE; cause ESTOP_SERVICE; robot is not still'
    assert status.level == ERROR
    assert status.message == f'ESTOP: {why}; {ALONE}; nobody gave it priority'


def test_stop_whose_cause_is_over_is_still_named(make_world):
    world = make_world(True)
    world.drive()
    assert world.stepper.ask(Request.DISARM).accepted
    status, _ = world.run(4.0)
    assert (status.level, status.message) == (WARN, 'STOPPED: DISARMED')


def test_publishers_that_nobody_hears_are_an_error_until_they_are_heard(make_world):
    world = make_world(True)
    world.unheard = ('/one/command: not heard',)
    status, _ = world.run(4.0)
    assert (status.level, status.message) == (ERROR, 'STOPPED: /one/command: not heard')
    world.unheard = ()
    status, _ = world.run(2.0)
    assert (status.level, status.message) == (OK, 'STOPPED')
