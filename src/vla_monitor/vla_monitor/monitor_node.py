"""Monitor node: how well the graph does, once a second; it can ask for a stop and nothing else."""

from collections.abc import Callable
import sys
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from vla_core.errors import ActionRejected
from vla_core.graph_health import GraphHealth, MonitorConfig
from vla_core.robot import load_robot
from vla_interfaces.msg import (
    ActionChunk,
    Decision,
    HealthReport,
    Heartbeat,
    Instruction,
    SafetyEvent,
    StopRequest,
)
from vla_monitor import messages
from vla_monitor.black_box import BlackBox
from vla_ros import qos
from vla_ros.clock import ProcessClock, STEADY
from vla_ros.conversion import chunk_from_msg, to_ns, to_time
from vla_ros.files import robot_path
from vla_ros.guard import guarded
from vla_ros.heartbeat import HeartbeatPublisher, Vitals
from vla_ros.parameters import declare
from vla_ros.running import run

REPORT_PERIOD = 1.0
#: s between two looks whether the black box has something to write without a decision.
WATCH_PERIOD = 0.25
#: s between two requests: a HOLD lasts 0.3 s in the gate and is renewed while its reason lasts.
REQUEST_PERIOD = 0.2


class MonitorNode(Node):
    """Hear every hop, sum up what was heard."""

    def __init__(self, **options: Any) -> None:
        """Listen to all nodes; small messages only, never to images."""
        super().__init__('monitor', **options)
        config = declare(self, MonitorConfig)
        robot = load_robot(robot_path(config.robot))
        robot.check_clock(config.clock)
        self._time = ProcessClock(self, config.clock)
        self._health = GraphHealth(config)
        self._black_box = BlackBox(config.black_box_folder, robot, self.get_namespace())
        self._errors = 0
        self._requested = -REQUEST_PERIOD
        self._reports = self.create_publisher(HealthReport, 'vla/health', qos.HEALTH)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', qos.REQUEST)
        self._requests = self.create_publisher(StopRequest, 'safety/request', qos.REQUEST)
        self._heartbeat = HeartbeatPublisher(self, 'monitor', self._vitals)
        self._listen(Heartbeat, 'vla/heartbeat', self._on_heartbeat, qos.DECISION)
        self._listen(ActionChunk, 'vla/action_chunk', self._on_chunk, qos.DECISION)
        self._listen(Decision, 'safety/decision', self._on_decision, qos.DECISION)
        self._listen(SafetyEvent, 'safety/events', self._black_box.event, qos.EVENTS)
        self._listen(Instruction, 'vla/instruction', self._on_instruction, qos.INSTRUCTION)
        for camera in filter(lambda name: name.startswith('camera/'), config.nodes.split()):
            topic = f'vla/image/{camera.removeprefix("camera/")}/camera_info'
            self._listen(CameraInfo, topic, self._on_image, qos.image(self._time.lockstep))
        report = guarded(self, self._report, self._count)
        self.create_timer(REPORT_PERIOD, report, clock=STEADY)
        watch = guarded(self, self._black_box.poll, self._count)
        self.create_timer(WATCH_PERIOD, watch, clock=STEADY)

    def close(self) -> None:
        """Write what the black box still holds of a robot that could move."""
        self._black_box.close()

    def _listen(self, kind: type, topic: str, callback: Callable[..., None], profile: Any) -> None:
        self.create_subscription(kind, topic, guarded(self, callback, self._count), profile)

    def _on_heartbeat(self, msg: Heartbeat) -> None:
        self._health.heartbeat(
            messages.name_of(msg), time.monotonic(), messages.beat_from_msg(msg)
        )

    def _on_image(self, msg: CameraInfo) -> None:
        stamp = to_ns(msg.header.stamp)
        self._health.hops.image(stamp, time.monotonic(), self._time.stamp_age(stamp))

    def _on_chunk(self, msg: ActionChunk) -> None:
        now = time.monotonic()
        try:
            self._health.chunk(chunk_from_msg(msg), now)
        except ActionRejected:  # The gate reports it; here it is an anomaly like any other.
            self._health.reject_chunk()
        wanted, reason = self._health.request()
        if wanted != 'none' and now - self._requested >= REQUEST_PERIOD:
            self._requested = now
            self._requests.publish(messages.request_to_msg(wanted, reason, self._header()))

    def _on_decision(self, msg: Decision) -> None:
        if not msg.repeated:
            self._black_box.decision(msg)
            observed = to_ns(msg.observation_stamp)
            age = (to_ns(msg.header.stamp) - observed) * 1e-9
            self._health.hops.decision(observed, time.monotonic(), age)

    def _on_instruction(self, msg: Instruction) -> None:
        self._health.instruction = messages.describe(msg)

    def _report(self) -> None:
        report = self._health.report(time.monotonic())
        header = self._header()
        self._reports.publish(messages.health_to_msg(report, header))
        files = self._black_box.status('/black_box')
        self._diagnostics.publish(
            messages.diagnostics_to_msg(report, header, self.get_namespace(), files)
        )

    def _header(self) -> Header:
        return Header(stamp=to_time(self._time.stamp_ns()))

    def _count(self, error: Exception) -> None:
        self._errors += 1

    def _vitals(self) -> Vitals:
        return Vitals(errors_total=self._errors)


def main() -> None:
    """Run the node until a signal."""
    sys.exit(run(MonitorNode))
