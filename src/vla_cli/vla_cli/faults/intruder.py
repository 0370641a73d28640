"""Who is between base and graph: passes odometry on, spoils it, plays others' parts."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
import threading
import time
from typing import Any

from nav_msgs.msg import Odometry
import rclpy
from rclpy.context import Context
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Bool

from vla_cli.faults.spoiling import onward, pass_on, Spoiler
from vla_core.robot import RobotConfig
from vla_interfaces.msg import ActionChunk, Heartbeat
from vla_ros import qos
from vla_ros.clock import STEADY
from vla_ros.conversion import to_ns, to_time
from vla_ros.heartbeat import PERIOD as BEAT_PERIOD
from vla_ros.in_turn import in_turn_executor

CLOCK_PERIOD = 0.01
CHUNK_PERIOD = 0.033
_SPIN = 0.05

#: A wrong clock: ROS time, ns, to what /clock says; None: nothing.
Reading = Callable[[int], int | None]
#: What a false policy says instead of a chunk that would be right; None: nothing.
Lie = Callable[[ActionChunk], ActionChunk | None]


class Intruder:
    """A node in a thread of its own.

    Attributes:
        node: to publish with.
        odometry: what becomes of every odometry message.
        reading: what /clock says; None: nothing is published on it.
        track: stamp, ns, and speed, m/s, of all odometry of the base since `forget`.
    """

    def __init__(self, context: Context, robot: RobotConfig, sim_time: bool) -> None:
        """Begin to pass on.

        Args:
            context: of the graph's domain.
            robot: says whether an emergency stop button must be there.
            sim_time: give the time on /clock.
        """
        self.node = node = rclpy.create_node('intruder', context=context)
        self.odometry: Spoiler[Odometry] = pass_on
        self.reading: Reading | None = (lambda now_ns: now_ns) if sim_time else None
        self.track: list[tuple[int, float]] = []
        self._odometry = node.create_publisher(Odometry, 'odom', qos.VELOCITY)
        self._clock = node.create_publisher(Clock, '/clock', 10)
        if robot.estop_required:
            self.plug()
        node.create_subscription(Odometry, 'faults/odom', self._on_odometry, qos.VELOCITY)
        node.create_timer(CLOCK_PERIOD, self._tick, clock=STEADY)
        self.policy = FalsePolicy(node, robot.max_observation_age)
        self._executor = in_turn_executor(context)
        self._executor.add_node(node)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._spin, name='intruder', daemon=True)
        self._thread.start()

    def plug(self) -> None:
        """Connect an emergency stop button, which nobody presses."""
        self._button = self.node.create_publisher(Bool, 'safety/estop', qos.ESTOP_LATCHED)

    def unplug(self) -> None:
        """Take it away."""
        self.node.destroy_publisher(self._button)

    def forget(self) -> None:
        """Drop the track so far."""
        self.track = []

    def close(self) -> None:
        """Leave."""
        self._ended.set()
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()

    def _spin(self) -> None:
        while not self._ended.is_set():
            # What the main thread takes away while it is served is no reason to fall silent.
            try:
                self._executor.spin_once(timeout_sec=_SPIN)
            except Exception as error:
                self.node.get_logger().error(f'{type(error).__name__}: {error}')

    def _on_odometry(self, msg: Odometry) -> None:
        self.track.append((to_ns(msg.header.stamp), msg.twist.twist.linear.x))
        self._tick()
        for passed in self.odometry(msg):
            self._odometry.publish(passed)

    def _tick(self) -> None:
        """Give the time; also before every stamp, so that none is ahead of it."""
        now_ns = self.reading(time.time_ns()) if self.reading is not None else None
        if now_ns is not None:
            self._clock.publish(Clock(clock=to_time(now_ns)))


class FalsePolicy:
    """Goes on in the name of a policy that was silenced: its heart beats, its chunks are lies."""

    def __init__(self, node: Any, validity: float) -> None:
        """Listen to the true one."""
        profile = qos.chunk(False, validity)
        self._chunk = ActionChunk()
        self._lie: Lie | None = None
        self._chunks = node.create_publisher(ActionChunk, 'vla/action_chunk', profile)
        self._beats = node.create_publisher(Heartbeat, 'vla/heartbeat', qos.HEARTBEAT)
        node.create_subscription(ActionChunk, 'vla/action_chunk', self._on_chunk, profile)
        node.create_timer(BEAT_PERIOD, self._beat, clock=STEADY)
        node.create_timer(CHUNK_PERIOD, self._speak, clock=STEADY)

    @property
    def newest(self) -> ActionChunk:
        """The newest chunk."""
        return deepcopy(self._chunk)

    def speak(self, lie: Lie) -> None:
        """Take the true one's place."""
        self._lie = lie

    def fall_silent(self) -> None:
        """Say nothing more."""
        self._lie = None

    def _on_chunk(self, msg: ActionChunk) -> None:
        if self._lie is None:
            self._chunk = msg

    def _beat(self) -> None:
        if self._lie is not None:
            run = self._chunk.policy_run
            self._beats.publish(
                Heartbeat(node='policy', policy_run=run, state=Heartbeat.STATE_WAITING)
            )

    def _speak(self) -> None:
        lie = self._lie
        if lie is None:
            return
        self._chunk = onward(self._chunk, time.time_ns())
        said = lie(self._chunk)
        if said is not None:
            self._chunks.publish(said)
