"""A gate node, its world as one other node, both in one private context."""

from collections.abc import Callable, Iterator
import math
import random
import time
from typing import Any

from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import LaserScan
from std_srvs.srv import Trigger

from vla_core.types import NATIVE_AXES, NATIVE_UNITS
from vla_interfaces.msg import ActionChunk, Decision, Heartbeat, SafetyEvent, SafetyState
from vla_ros import qos
from vla_ros.clock import STEADY
from vla_ros.domains import process_domain
from vla_ros.in_turn import in_turn_executor
from vla_safety.gate_node import GateNode

DOMAIN = process_domain()
RUN = 1234
ROBOT = """
simulated: true
self_arm: {self_arm}
estop: {estop}
odom: {odom}
discovery: LOCALHOST
axes:
  linear.x: {{max_speed: 0.6, max_accel: 1.0, max_decel: 1.0}}
  angular.z: {{max_speed: 1.2, max_accel: 3.0, max_decel: 3.0}}
{sections}
"""


class Rig:
    """The world of one gate: a policy that sends, a base that moves, ears for the rest."""

    def __init__(self, context: Context, robot: str, parameters: dict[str, Any], start: bool):
        self.context = context
        self.node = Node('world', context=context)
        self.heard: dict[str, list[Any]] = {}
        self.running = True
        self.velocity = (0.3, 0.0)
        self.sequence = 0
        self.x = 0.0
        # What the scanner in the robot's middle sees all around, m.
        self.wall = 2.0
        self.scan_frame = 'scanner'
        self.rays = 360
        self.speed = Twist()
        self._beats = self.node.create_publisher(Heartbeat, 'vla/heartbeat', qos.HEARTBEAT)
        self.chunks = self.node.create_publisher(ActionChunk, 'vla/action_chunk', 1)
        self.odom = self.node.create_publisher(Odometry, 'odom', 1)
        self.scans = self.node.create_publisher(LaserScan, 'scan', 1)
        stamped = parameters.get('enable_stamped_cmd_vel', False)
        self.hear(TwistStamped if stamped else Twist, 'cmd_vel', qos.VELOCITY)
        self.hear(Decision, 'safety/decision', qos.DECISION)
        self.hear(SafetyState, 'safety/state', qos.STATE)
        self.hear(SafetyEvent, 'safety/events', qos.EVENTS)
        self.node.create_timer(0.05, self._live, clock=STEADY)
        self._values = {'robot': robot} | parameters
        self.gate: GateNode | None = None
        self.executor = in_turn_executor(context)
        self.executor.add_node(self.node)
        if start:
            self.start()

    def start(self) -> None:
        """Start the gate."""
        overrides = [Parameter(key, value=value) for key, value in self._values.items()]
        self.gate = GateNode(context=self.context, parameter_overrides=overrides)
        self.executor.add_node(self.gate)

    def hear(self, kind: type, topic: str, profile: Any = 10) -> list[Any]:
        messages = self.heard.setdefault(topic, [])
        stamped = kind is TwistStamped

        def listen(msg: Any) -> None:
            messages.append(msg)
            if topic == 'cmd_vel':
                self.speed = msg.twist if stamped else msg

        self.node.create_subscription(kind, topic, listen, profile)
        return messages

    def last(self, topic: str) -> Any:
        return self.heard[topic][-1]

    def chunk(self, **changes: Any) -> ActionChunk:
        """A good chunk of the policy; fields can be changed."""
        self.sequence += 1
        msg = ActionChunk(
            step_dt=0.1,
            sequence=self.sequence,
            horizon=8,
            names=list(NATIVE_AXES),
            units=list(NATIVE_UNITS),
            data=[self.velocity[0], 0.0, 0.0, 0.0, 0.0, self.velocity[1], 0.0] * 8,
            status=ActionChunk.STATUS_RUNNING,
            policy_run=RUN,
            instruction_id=1,
        )
        msg.header.stamp = msg.observation_stamp = self.node.get_clock().now().to_msg()
        for name, value in changes.items():
            setattr(msg, name, value)
        return msg

    def _live(self) -> None:
        if not self.running:
            return
        self._beats.publish(Heartbeat(node='policy', policy_run=RUN, state=1))
        self.chunks.publish(self.chunk())
        odom = Odometry()
        odom.header.stamp = self.node.get_clock().now().to_msg()
        odom.header.frame_id = 'odom'
        odom.pose.pose.position.x = self.x
        odom.twist.twist = self.speed
        self.odom.publish(odom)
        if self.scans.get_subscription_count():
            self.scans.publish(self.scan())

    def scan(self) -> LaserScan:
        """A scan of a round wall; a real one never repeats to the bit."""
        step = 2.0 * math.pi / max(1, self.rays)
        msg = LaserScan(
            angle_max=step * (self.rays - 1),
            angle_increment=step,
            range_min=0.1,
            range_max=10.0,
            ranges=[self.wall + random.uniform(0.0, 0.01) for _ in range(self.rays)],
        )
        msg.header.frame_id = self.scan_frame
        msg.header.stamp = self.node.get_clock().now().to_msg()
        return msg

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f'never: {what}'
            self.executor.spin_once(timeout_sec=0.05)

    def send(self, send: Callable[[], None], condition: Callable[[], Any], what: str) -> None:
        """Send again every second until it is heard: a stalled machine lets messages expire."""
        for _ in range(10):
            send()
            end = time.monotonic() + 1.0
            while time.monotonic() < end:
                if condition():
                    return
                self.executor.spin_once(timeout_sec=0.05)
        raise AssertionError(f'never: {what}')

    def state(self) -> int:
        decisions = self.heard['safety/decision']
        return decisions[-1].state if decisions else -1

    def until_state(self, state: int) -> None:
        self.until(lambda: self.state() == state, f'state {state}')

    def call(self, name: str) -> Trigger.Response:
        client = self.node.create_client(Trigger, f'safety/{name}')
        self.until(client.service_is_ready, f'service {name}')
        future = client.call_async(Trigger.Request())
        self.until(future.done, f'answer of {name}')
        return future.result()

    def drive(self) -> None:
        """Arm and wait until the robot moves."""

        def ready() -> bool:
            states = self.heard['safety/state']
            return bool(states) and states[-1].ready_to_arm

        # A machine that stalls for half a second makes the gate stop, rightly: arm again.
        stopped, active = SafetyState.STATE_STOPPED, SafetyState.STATE_ACTIVE
        for _ in range(5):
            self.until(ready, 'ready')
            if not self.call('arm').success:
                continue
            self.until(lambda: self.state() != stopped, 'arming')
            self.until(lambda: self.state() in (stopped, active), 'ACTIVE')
            self.until(lambda: self.state() == stopped or self.speed.linear.x > 0.25, 'speed')
            if self.state() == active:
                return
        raise AssertionError('the robot never drove')

    def close(self) -> None:
        self.executor.shutdown()
        for node in (self.gate, self.node):
            if node is not None:
                node.destroy_node()


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """An initialised context that hears nobody outside this machine."""
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    monkeypatch.setenv('ROS_DOMAIN_ID', str(DOMAIN))
    context = Context()
    rclpy.init(args=[], context=context, domain_id=DOMAIN)
    yield context
    rclpy.try_shutdown(context=context)


@pytest.fixture
def make_rig(context, tmp_path) -> Iterator[Callable[..., Rig]]:
    """Make a rig; keywords are keys of the robot file, the rest goes to the node."""
    rigs = []

    def make(parameters=None, start=True, **changes) -> Rig:
        values = {'self_arm': 'false', 'estop': 'none', 'odom': 'required', 'sections': ''}
        values |= changes
        path = tmp_path / 'robot.yaml'
        path.write_text(ROBOT.format(**values))
        rigs.append(Rig(context, str(path), parameters or {}, start))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(make_rig) -> Rig:
    """A gate that waits to be armed."""
    return make_rig()
