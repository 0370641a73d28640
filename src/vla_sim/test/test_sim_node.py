"""The node `sim`: what it publishes and what it obeys."""

import math
import time

from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from vla_core.errors import ConfigError
from vla_interfaces.msg import Heartbeat, SceneTruth
from vla_interfaces.srv import ResetSimulation
from vla_ros import qos
from vla_ros.conversion import to_ns
from vla_ros.domains import process_domain
from vla_sim import messages, robot
from vla_sim.layout import sample_layout
from vla_sim.sim_node import SimNode

DOMAIN = process_domain()
TOPICS = {
    'camera/color/image_raw': (Image, qos.SENSOR),
    'camera/color/camera_info': (CameraInfo, qos.SENSOR),
    'odom': (Odometry, qos.ODOM),
    'tf': (TFMessage, qos.EVENTS),
    'sim/truth': (SceneTruth, qos.VELOCITY),
    'robot_description': (String, qos.STATE),
    'vla/heartbeat': (Heartbeat, qos.HEARTBEAT),
}


class Bench:
    """The node, a listener on all of its topics, and one executor."""

    def __init__(self, context, **parameters):
        given = [Parameter(name, value=value) for name, value in parameters.items()]
        self.executor = SingleThreadedExecutor(context=context)
        self.sim = SimNode(context=context, parameter_overrides=given)
        self.listener = Node('listener', context=context)
        self.newest = {}
        for topic, (kind, profile) in TOPICS.items():
            self.listener.create_subscription(kind, topic, self._keeper(topic), profile)
        self.commands = self.listener.create_publisher(Twist, 'cmd_vel', qos.VELOCITY)
        self.reset = self.listener.create_client(ResetSimulation, 'sim/reset')
        self.executor.add_node(self.sim)
        self.executor.add_node(self.listener)

    def _keeper(self, topic):
        def keep(message):
            self.newest[topic] = message

        return keep

    def until(self, condition, what, limit=20.0):
        deadline = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < deadline, f'no {what} within {limit} s'
            self.executor.spin_once(timeout_sec=0.05)

    def close(self):
        self.sim.close()
        for node in (self.sim, self.listener):
            node.destroy_node()
        self.executor.shutdown()


@pytest.fixture
def context(monkeypatch):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    context = Context()
    rclpy.init(args=[], context=context, domain_id=DOMAIN)
    yield context
    rclpy.try_shutdown(context=context)


@pytest.fixture
def bench(context):
    bench = Bench(context, seed=3, frame_rate=10.0)
    yield bench
    bench.close()


def test_publishes_everything_a_robot_has(bench):
    bench.until(lambda: set(bench.newest) == set(TOPICS), f'all of {set(TOPICS)}')
    newest = bench.newest
    image, info = newest['camera/color/image_raw'], newest['camera/color/camera_info']
    assert (image.height, image.width, image.encoding, image.step) == (480, 640, 'rgb8', 1920)
    assert len(np.unique(np.frombuffer(image.data, np.uint8))) > 10
    assert image.header.frame_id == info.header.frame_id == 'camera_color_optical_frame'
    assert 2 * math.atan(320 / info.k[0]) == pytest.approx(robot.HORIZONTAL_FOV)
    age = time.time_ns() - to_ns(image.header.stamp)
    assert 0 < age < 20e9
    frames = [(t.header.frame_id, t.child_frame_id) for t in newest['tf'].transforms]
    assert frames == [
        ('odom', 'base_link'),
        ('base_link', 'camera_color_optical_frame'),
    ]
    assert '<robot name=' in newest['robot_description'].data
    truth, layout = newest['sim/truth'], sample_layout(3)
    assert truth.seed == 3
    assert not truth.contact
    assert [(item.colour, item.shape) for item in truth.objects] == [
        (item.colour, item.shape) for item in layout.objects
    ]
    assert truth.objects[layout.target].gap > 0.35
    assert newest['vla/heartbeat'].node == 'sim'
    odometry = newest['odom']
    assert odometry.pose.pose.position.x == pytest.approx(layout.start[0], abs=0.01)


def _drive(bench, speed, turn_rate):
    twist = Twist()
    twist.linear.x, twist.angular.z = speed, turn_rate
    bench.commands.publish(twist)


def test_obeys_cmd_vel_and_stops_without_it(bench):
    def speed():
        _drive(bench, 0.1, 0.0)
        return 'odom' in bench.newest and bench.newest['odom'].twist.twist.linear.x > 0.09

    bench.until(speed, 'motion')
    bench.until(lambda: bench.newest['odom'].twist.twist.linear.x < 0.001, 'stop')


def test_command_that_is_not_finite_is_counted_and_the_older_one_goes_on(bench, monkeypatch):
    monkeypatch.setattr('vla_sim.live.COMMAND_TIMEOUT', math.inf)

    def moving():
        _drive(bench, 0.1, 0.0)
        return 'odom' in bench.newest and bench.newest['odom'].twist.twist.linear.x > 0.09

    def counted():
        _drive(bench, math.nan, 0.0)
        beat = bench.newest.get('vla/heartbeat')
        return beat is not None and beat.errors_total > 0

    def place():
        position = bench.newest['odom'].pose.pose.position
        return position.x, position.y

    bench.until(moving, 'motion')
    bench.until(counted, 'error in the heartbeat')
    begin = place()
    bench.until(lambda: math.dist(place(), begin) > 0.05, 'motion after the error')


def test_reset_service_sets_up_the_layout_of_the_seed(bench):
    assert bench.reset.wait_for_service(timeout_sec=20.0)
    future = bench.reset.call_async(ResetSimulation.Request(seed=1_000_007))
    bench.until(future.done, 'answer')
    assert future.result().success
    assert sample_layout(1_000_007).objects[0].name in future.result().message
    bench.until(
        lambda: 'sim/truth' in bench.newest and bench.newest['sim/truth'].seed == 1_000_007,
        'truth of the new layout',
    )


def test_unknown_parameter_is_refused_by_name(context):
    with pytest.raises(ConfigError, match='sead'):
        SimNode(context=context, parameter_overrides=[Parameter('sead', value=3)])


def test_simulated_time_is_refused(context):
    with pytest.raises(ConfigError, match='use_sim_time'):
        SimNode(context=context, parameter_overrides=[Parameter('use_sim_time', value=True)])


def test_optical_frame_looks_forward():
    rotation = messages._OPTICAL
    x, y, z, w = rotation.x, rotation.y, rotation.z, rotation.w
    forward = (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y))
    right = (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y))
    assert forward == pytest.approx((1, 0, 0))
    assert right == pytest.approx((0, -1, 0))
