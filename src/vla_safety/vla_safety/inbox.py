"""Subscriptions of the gate: a message becomes one value of the gate's core, or a rejection."""

from collections.abc import Callable
import enum
import time
from typing import Any

from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Bool, String

from vla_core.errors import ActionRejected, ObservationError
from vla_core.gate.config import GateConfig, STAMP_AHEAD
from vla_core.gate.hearing import LONGEST_TEXT
from vla_core.gate.messages import (
    Beat,
    Chunk,
    Command,
    Estop,
    Human,
    Message,
    Odom,
    Record,
    Rejected,
    Scan,
    Stop,
    StopLevel,
)
from vla_core.gate.scan import measure, Rays
from vla_core.gate.zones import nearest, reach
from vla_core.robot import RobotConfig
from vla_core.text import printable
from vla_interfaces.msg import ActionChunk, Heartbeat, Instruction, StopRequest
from vla_ros import qos
from vla_ros.clock import ProcessClock
from vla_ros.conversion import chunk_from_msg, pose_from_msg, to_ns, twist_from_msg
from vla_safety.unheard import Unheard

#: Longest name of a node or camera slot, in characters; the gate remembers some of them.
LONGEST_NAME = 64


class Urgency(enum.Enum):
    """When a message wants a step of the gate."""

    NEXT = 'with the next tick'
    SOON = 'on arrival, at most every 5 ms'
    NOW = 'on arrival'


class Inbox:
    """Turn messages into values on the gate's time line and hand them on."""

    def __init__(
        self,
        node: Node,
        robot: RobotConfig,
        config: GateConfig,
        clock: ProcessClock,
        deliver: Callable[[Message, Urgency], None],
        guard: Callable[[Callable[..., Any]], Callable[..., Any]],
    ) -> None:
        """Subscribe.

        Args:
            node: the node.
            robot: says whether odom and scans are heard.
            config: says whether people send stamped velocities.
            clock: of the process.
            deliver: takes a value and its urgency.
            guard: wraps every callback.
        """
        self._clock = clock
        self._deliver = deliver
        self._scanner = robot.scan
        self._reach, self._nearest = reach(robot), nearest(robot)
        human = TwistStamped if config.enable_stamped_cmd_vel_human else Twist
        chunk = qos.chunk(clock.lockstep, robot.max_observation_age)
        wanted = [
            (Heartbeat, 'vla/heartbeat', self._beat, qos.HEARTBEAT),
            (ActionChunk, 'vla/action_chunk', self._chunk, chunk),
            (Instruction, 'vla/instruction', self._record, qos.INSTRUCTION),
            (String, 'command', self._command, qos.COMMAND),
            (human, 'cmd_vel_human', self._human, qos.VELOCITY),
            # Only the first hears the last word of a latched button that was pressed before; it
            # does not match a default publisher, nor the second a best effort one.
            (Bool, 'safety/estop', self._estop('latched'), qos.ESTOP_LATCHED),
            (Bool, 'safety/estop', self._estop('reliable'), qos.ESTOP_RELIABLE),
            (Bool, 'safety/estop', self._estop('plain'), qos.ESTOP_PLAIN),
            (StopRequest, 'safety/request', self._stop, qos.REQUEST),
        ]
        if robot.odom_required:
            wanted.append((Odometry, 'odom', self._odom, qos.odom(clock.lockstep)))
        if robot.scan is not None:
            wanted.append((LaserScan, 'scan', self._scan, qos.SENSOR))
        subscriptions = [
            (topic, node.create_subscription(kind, topic, guard(callback), profile))
            for kind, topic, callback, profile in wanted
        ]
        self._estops = [one for topic, one in subscriptions if topic == 'safety/estop']
        #: Tells of publishers that none of them hears.
        self.unheard = Unheard(node, (one for _, one in subscriptions))

    @property
    def estop_publishers(self) -> int:
        """Publishers whose presses are heard here; one of another type is none."""
        return max(one.get_publisher_count() for one in self._estops)

    def _at(self, stamp: Any) -> float:
        """Return a stamp on the gate's time line."""
        return self._clock.now() - self._clock.stamp_age(to_ns(stamp))

    def _measured(self, stamp: Any) -> float:
        """Return when something was measured, on the gate's time line.

        Raises:
            ObservationError: if it has no time: simulated time alone begins at 0.
        """
        if not (to_ns(stamp) or self._clock.lockstep):
            raise ObservationError('stamp 0: expected the ROS time of the measurement')
        return self._at(stamp)

    def _beat(self, msg: Heartbeat) -> None:
        if msg.node == 'gate':
            return
        for name in (msg.node, msg.slot):
            if len(name) > LONGEST_NAME or not name.isprintable():
                text = (
                    f'heartbeat of {name[:40]!r} of {len(name)} characters: '
                    f'expected at most {LONGEST_NAME}, all printable'
                )
                self._deliver(Rejected('beat', text), Urgency.NEXT)
                return
        beat = Beat(
            node=msg.node,
            at=time.monotonic(),
            slot=msg.slot,
            policy_run=msg.policy_run,
            busy=msg.state == Heartbeat.STATE_BUSY,
            state_age=msg.state_age,
            consecutive_errors=msg.consecutive_errors,
            unchanged_age=msg.unchanged_age,
        )
        self._deliver(beat, Urgency.NEXT)

    def _chunk(self, msg: ActionChunk) -> None:
        try:
            chunk = chunk_from_msg(msg)
        except ActionRejected as error:
            self._deliver(Rejected('chunk', str(error)), Urgency.SOON)
            return
        message = Chunk(
            chunk, self._clock.now(), self._at(msg.header.stamp), self._at(msg.observation_stamp)
        )
        self._deliver(message, Urgency.SOON)

    def _record(self, msg: Instruction) -> None:
        record = Record(msg.text, msg.source_stamp, msg.policy_run, msg.id)
        self._deliver(record, Urgency.SOON)

    def _command(self, msg: String, info: dict[str, Any]) -> None:
        self._deliver(Command(msg.data, info['source_timestamp']), Urgency.SOON)

    def _human(self, msg: Twist | TwistStamped) -> None:
        now = at = self._clock.now()
        if isinstance(msg, TwistStamped):
            # What a stalled link kept back is as old as it says; no stamp says nothing.
            stamp, msg = msg.header.stamp, msg.twist
            if to_ns(stamp):
                at = self._at(stamp)
        if at > now + STAMP_AHEAD:
            text = f'stamp {at - now:.3f} s ahead: expected at most {STAMP_AHEAD}'
            self._deliver(Rejected('human', text), Urgency.SOON)
            return
        self._deliver(Human(twist_from_msg(msg), min(at, now)), Urgency.NEXT)

    def _odom(self, msg: Odometry) -> None:
        try:
            at = self._measured(msg.header.stamp)
        except ObservationError as error:
            self._deliver(Rejected('odom', str(error)), Urgency.NEXT)
            return
        twist, pose = twist_from_msg(msg.twist.twist), pose_from_msg(msg.pose.pose)
        self._deliver(Odom(twist, at, pose, msg.header.frame_id), Urgency.NEXT)

    def _scan(self, msg: LaserScan) -> None:
        rays = Rays(
            msg.header.frame_id,
            msg.angle_min,
            msg.angle_max,
            msg.angle_increment,
            msg.range_min,
            msg.range_max,
            np.asarray(msg.ranges, dtype=np.float32),
        )
        try:
            at = self._measured(msg.header.stamp)
            points, signature = measure(rays, self._scanner, self._reach, self._nearest)
        except ObservationError as error:
            self._deliver(Rejected('scan', str(error)), Urgency.SOON)
            return
        self._deliver(Scan(points, at, signature), Urgency.SOON)

    def _estop(self, subscription: str) -> Callable[[Bool], None]:
        def hear(msg: Bool) -> None:
            self._deliver(Estop(msg.data, subscription), Urgency.NOW if msg.data else Urgency.NEXT)

        return hear

    def _stop(self, msg: StopRequest) -> None:
        known = msg.level in tuple(StopLevel)
        # Somebody wants a stop and says it wrongly: the strongest one is the answer.
        level = StopLevel(msg.level) if known else StopLevel.ESTOP
        reason = _line(msg.reason)
        if not known:
            reason = f'unknown level {msg.level}; {reason}'
        self._deliver(Stop(level, _line(msg.source), reason), Urgency.NOW)


def _line(text: str) -> str:
    """Return what of a foreign text may stand in an event and in the log."""
    return printable(text[:LONGEST_TEXT])
