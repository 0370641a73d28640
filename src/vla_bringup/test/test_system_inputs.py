"""Broken and hostile inputs while the robot moves: counted, and no command leaves the limits."""

import array
from collections.abc import Callable, Iterator
import math
from typing import Any

import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Bool

from vla_core.gate.causes import Cause, State
from vla_interfaces.msg import ActionChunk, Decision, Heartbeat
from vla_learning.evaluation.episodes import make_ready
from vla_ros import qos
from vla_ros.conversion import twist_from_msg
from vla_sim.layout import sample_layout
from vla_sim.lockstep import LockstepDriver

LAYOUT = sample_layout(500115)
TURN_LIMIT = 1.2
ZERO = (0.0,) * 6


class Intruder:
    """Publishes what nobody should, and knows the newest of what is published by right."""

    def __init__(self, driver: LockstepDriver) -> None:
        self.driver = driver
        self.chunk = ActionChunk()
        self.heartbeats: dict[str, Heartbeat] = {}
        node = driver.node
        self._chunks = node.create_publisher(ActionChunk, 'vla/action_chunk', qos.EVERY)
        self._images = node.create_publisher(Image, 'camera/color/image_raw', qos.EVERY)
        # What `ros2 topic pub` and most buttons offer: reliable, volatile, depth 10.
        self._estop = node.create_publisher(Bool, 'safety/estop', 10)
        node.create_subscription(ActionChunk, 'vla/action_chunk', self._on_chunk, qos.EVERY)
        node.create_subscription(Heartbeat, 'vla/heartbeat', self._on_beat, qos.HEARTBEAT)

    def send_chunk(self, spoil: Callable[[ActionChunk], Any]) -> None:
        chunk = self.chunk
        spoil(chunk)
        self._chunks.publish(chunk)

    def send_image(self, **fields: Any) -> None:
        self._images.publish(Image(**fields))

    def press(self, pressed: bool) -> None:
        self._estop.publish(Bool(data=pressed))

    def errors(self, node: str) -> int:
        return self.heartbeats[node].errors_total if node in self.heartbeats else 0

    def _on_chunk(self, msg: ActionChunk) -> None:
        if msg.sequence > self.chunk.sequence:
            self.chunk = msg

    def _on_beat(self, msg: Heartbeat) -> None:
        self.heartbeats[msg.node] = msg


@pytest.fixture(scope='module')
def intruder(driver: LockstepDriver) -> Intruder:
    return Intruder(driver)


@pytest.fixture(autouse=True)
def turning(intruder: Intruder) -> Iterator[None]:
    """Turn to the left, armed."""
    driver = intruder.driver
    driver.reset(LAYOUT)
    make_ready(driver)
    driver.say('turn left')
    driver.tick(40)
    assert driver.decision.published.angular.z > 0.5
    yield
    driver.say('stop')
    driver.tick(25)


def sane(decision: Decision) -> Decision:
    """Assert that what was published is finite and within the limits."""
    velocity = twist_from_msg(decision.published)
    assert all(math.isfinite(value) for value in velocity)
    assert velocity[:5] == (0.0,) * 5
    assert abs(velocity[5]) <= TURN_LIMIT
    return decision


def tick_until(driver: LockstepDriver, condition: Callable[[], bool], what: str) -> None:
    for _ in range(100):
        if condition():
            return
        sane(driver.tick())
    pytest.fail(f'not in 2 s: {what}')


def with_nan(chunk: ActionChunk) -> None:
    chunk.data[0] = math.nan


def with_infinity(chunk: ActionChunk) -> None:
    chunk.data[-1] = math.inf


def too_narrow(chunk: ActionChunk) -> None:
    chunk.names = chunk.names[:-1]


def too_wide(chunk: ActionChunk) -> None:
    chunk.data = array.array('d', [*chunk.data, 1.0])


def ahead(chunk: ActionChunk) -> None:
    chunk.sequence += 1
    chunk.header.stamp.sec += 3600


SPOILED = (with_nan, with_infinity, too_narrow, too_wide, ahead)


@pytest.mark.parametrize('spoil', SPOILED)
def test_spoiled_chunk_is_counted_and_the_next_good_one_goes_on(intruder, spoil):
    driver = intruder.driver
    before = driver.decision.errors_total
    intruder.send_chunk(spoil)
    tick_until(driver, lambda: driver.decision.errors_total > before, 'the error is counted')
    for _ in range(50):
        sane(driver.tick())
    assert State(driver.decision.state) is State.ACTIVE
    assert driver.decision.published.angular.z > 0.5


def test_fifth_spoiled_chunk_in_a_row_latches_the_emergency_stop(intruder):
    driver = intruder.driver
    for _ in range(5):
        intruder.send_chunk(with_nan)
    tick_until(driver, lambda: driver.decision.state == State.ESTOP, 'ESTOP')
    assert driver.decision.cause == Cause.ERRORS_IN_ROW
    for _ in range(20):
        assert twist_from_msg(driver.tick().published) == ZERO


@pytest.mark.parametrize(
    'fields',
    [
        {'encoding': 'mono16', 'height': 480, 'width': 640, 'step': 1280, 'data': bytes(614_400)},
        {'encoding': 'rgb8', 'height': 480, 'width': 640, 'step': 1920, 'data': bytes(1000)},
        {'encoding': 'rgb8', 'height': 2**31, 'width': 2**31, 'step': 1, 'data': bytes(10)},
        {'encoding': 'rgb8', 'height': 0, 'width': 0, 'step': 0},
    ],
    ids=['mono16', 'truncated', 'huge header', 'empty'],
)
def test_broken_image_is_dropped_and_counted(intruder, fields):
    driver = intruder.driver
    tick_until(driver, lambda: 'camera' in intruder.heartbeats, 'the camera beats')
    before = intruder.errors('camera')
    intruder.send_image(**fields)
    tick_until(driver, lambda: intruder.errors('camera') > before, 'the error is counted')
    for _ in range(25):
        sane(driver.tick())
    assert State(driver.decision.state) is State.ACTIVE
    assert driver.decision.published.angular.z > 0.5


def test_emergency_stop_from_a_default_publisher(intruder):
    driver = intruder.driver
    intruder.press(True)
    tick_until(driver, lambda: driver.decision.state == State.ESTOP, 'ESTOP')
    assert driver.decision.cause == Cause.ESTOP_INPUT
    assert twist_from_msg(driver.decision.published) == ZERO

    accepted, message = driver.release()
    assert not accepted, message
    intruder.press(False)
    driver.tick(100)
    assert State(driver.decision.state) is State.ESTOP
    accepted, message = driver.release()
    assert accepted, message
    for _ in range(50):
        assert twist_from_msg(driver.tick().published) == ZERO
    assert State(driver.decision.state) is State.STOPPED
