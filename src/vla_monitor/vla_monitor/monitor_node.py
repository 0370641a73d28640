"""Monitor node: how well the graph does, once a second; it can ask for a stop and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
import sys
import time
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from vla_core.errors import ActionRejected
from vla_core.graph_health import CAMERA, GraphHealth, MonitorConfig
from vla_core.robot import load_robot
from vla_interfaces.msg import ActionChunk, Decision, Heartbeat, Instruction, SafetyEvent
from vla_monitor import messages
from vla_monitor.black_box import BlackBox
from vla_monitor.outbox import Outbox
from vla_ros import qos
from vla_ros.clock import ProcessClock, STEADY
from vla_ros.conversion import answer_from_msg, chunk_from_msg, to_ns
from vla_ros.files import find_spec, robot_path
from vla_ros.guard import guarded
from vla_ros.heartbeat import HeartbeatPublisher, Vitals
from vla_ros.parameters import declare
from vla_ros.running import events_executor, run

REPORT_PERIOD = 1.0
#: s between two looks whether the black box has something to write without a decision.
WATCH_PERIOD = 0.25


class MonitorNode(Node):
    """Hear every hop, sum up what was heard."""

    def __init__(self, **options: Any) -> None:
        """Listen to all nodes; small messages only, never to images."""
        super().__init__('monitor', **options)
        config = declare(self, MonitorConfig)
        robot = load_robot(robot_path(config.robot))
        robot.check_clock(config.clock)
        self._time = ProcessClock(self, config.clock)
        spec = find_spec(config.checkpoint) if config.checkpoint else None
        self._health = GraphHealth(config, spec)
        self._black_box = BlackBox(
            *(config.black_box_folder, robot, self.get_namespace()), self._time.lockstep
        )
        self._errors = 0
        self._outbox = Outbox(self, self._time)
        self._heartbeat = HeartbeatPublisher(self, 'monitor', self._vitals)
        self._listen(Heartbeat, 'vla/heartbeat', self._on_heartbeat, qos.DECISION)
        self._listen(ActionChunk, 'vla/action_chunk', self._on_chunk, qos.DECISION)
        self._listen(Decision, 'safety/decision', self._on_decision, qos.DECISION)
        self._listen(SafetyEvent, 'safety/events', self._black_box.event, qos.EVENTS)
        self._listen(Instruction, 'vla/instruction', self._on_instruction, qos.INSTRUCTION)
        for camera in filter(lambda name: name.startswith(CAMERA), config.nodes.split()):
            topic = f'vla/image/{camera.removeprefix(CAMERA)}/camera_info'
            heard = partial(self._on_image, camera)
            self._listen(CameraInfo, topic, heard, qos.image(self._time.lockstep))
        report = guarded(self, self._report, self.failed)
        self.create_timer(REPORT_PERIOD, report, clock=STEADY)
        watch = guarded(self, self._black_box.poll, self.failed)
        self.create_timer(WATCH_PERIOD, watch, clock=STEADY)
        self.get_logger().info(f'training envelope: {self._health.basis}')

    def close(self) -> None:
        """Write what the black box still holds of a robot that could move."""
        self._black_box.close()

    def failed(self, error: Exception) -> None:
        """Count an error of a callback, or one that no callback's guard has seen."""
        self._errors += 1

    def _listen(self, kind: type, topic: str, callback: Callable[..., None], profile: Any) -> None:
        self.create_subscription(kind, topic, guarded(self, callback, self.failed), profile)

    def _on_heartbeat(self, msg: Heartbeat) -> None:
        self._health.heartbeat(
            messages.name_of(msg), time.monotonic(), messages.beat_from_msg(msg)
        )

    def _on_image(self, camera: str, msg: CameraInfo) -> None:
        stamp = to_ns(msg.header.stamp)
        self._health.image(camera, stamp, time.monotonic(), self._time.stamp_age(stamp))

    def _on_chunk(self, msg: ActionChunk) -> None:
        now = time.monotonic()
        try:
            chunk = replace(chunk_from_msg(msg), predicted=answer_from_msg(msg))
            self._health.chunk(chunk, now)
        except ActionRejected:  # The gate reports it; here it is an anomaly like any other.
            self._health.reject_chunk()
        self._outbox.request(*self._health.request(), now)

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
        self._outbox.report(report, self._black_box.status('/black_box'))

    def _vitals(self) -> Vitals:
        return Vitals(errors_total=self._errors)


def main() -> None:
    """Run the node until a signal."""
    sys.exit(run(MonitorNode, make_executor=events_executor))
