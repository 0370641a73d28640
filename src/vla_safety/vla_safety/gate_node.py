"""The gate node: the only writer of cmd_vel. All rules are in vla_core.gate."""

from collections.abc import Callable
import sys
import time
from typing import Any

from rclpy.node import Node
from std_srvs.srv import Trigger

from vla_core.gate.causes import State
from vla_core.gate.config import GateConfig, Timing
from vla_core.gate.core import Gate
from vla_core.gate.messages import Request
from vla_core.robot import load_robot
from vla_ros.clock import ProcessClock
from vla_ros.files import robot_path
from vla_ros.guard import guarded
from vla_ros.heartbeat import Activity, HeartbeatPublisher, Vitals
from vla_ros.parameters import declare
from vla_ros.running import run
from vla_safety.inbox import Inbox
from vla_safety.outbox import Outbox
from vla_safety.process import collect_only_when, discovery_warning, raise_priority
from vla_safety.stepper import Stepper


class GateNode(Node):
    """Wire topics, services and clock to the gate's core; owns no rule."""

    def __init__(self, warnings: tuple[str, ...] = (), **kwargs: Any) -> None:
        """Declare, check, connect.

        Args:
            warnings: of the process.
            **kwargs: for rclpy's Node.

        Raises:
            ConfigError: if a parameter or the robot file is not allowed; nothing was published.
        """
        super().__init__('gate', **kwargs)
        config = declare(self, GateConfig)
        robot = load_robot(robot_path(config.robot))
        robot.check_clock(config.clock)
        self._process_clock = ProcessClock(self, config.clock, self._tick)
        lockstep = self._process_clock.lockstep
        self._gate = Gate(
            robot,
            Timing.lockstep(config.lockstep_latency) if lockstep else Timing(),
            config.speed_scale,
        )
        known = tuple(text for text in (*warnings, discovery_warning(robot)) if text)
        for text in known:
            self.get_logger().warning(text)
        self._outbox = Outbox(
            *(self, robot, config, self._process_clock, known),
            unheard=lambda: self._inbox.unheard.look(),  # noqa: PLW0108 (made later)
        )
        self._stepper = Stepper(
            self._gate,
            self._process_clock,
            self._outbox,
            lambda: self._inbox.estop_publishers,
            robot.odom_required,
        )
        self._inbox = Inbox(
            *(self, robot, config, self._process_clock, self._stepper.deliver, self._guard)
        )
        for request in Request:
            self.create_service(Trigger, f'safety/{request.value}', self._service(request))
        self._started = time.monotonic()
        self._heartbeat = HeartbeatPublisher(self, 'gate', self._vitals)
        if not lockstep:
            self._stepper.start(self, self._guard)

    @property
    def stopped(self) -> bool:
        """Whether nothing can move the robot at present without somebody's doing."""
        return self._gate.state is State.STOPPED

    def close(self) -> None:
        """Publish zeros while the context is still valid."""
        self._outbox.last_words()

    def failed(self, error: Exception) -> None:
        """Stop for an error that no callback's guard has seen."""
        self._stepper.fail(error)

    def _guard(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        return guarded(self, callback, self._stepper.fail)

    def _tick(self, stamp_ns: int) -> None:
        self._guard(self._stepper.on_tick)(stamp_ns)

    def _service(self, request: Request) -> Callable[..., Trigger.Response]:
        def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            response.message = 'internal error'
            reply = self._guard(self._stepper.ask)(request)
            if reply is not None:
                response.success, response.message = reply.accepted, reply.text
            return response

        return answer

    def _vitals(self) -> Vitals:
        return Vitals(
            state=Activity.WAITING,
            state_age=time.monotonic() - self._started,
            errors_total=self._gate.errors_total,
        )


def main() -> None:
    """Run the gate until SIGINT or SIGTERM."""
    warning = raise_priority()

    def make() -> GateNode:
        node = GateNode((warning,))
        collect_only_when(node, lambda: node.stopped)
        return node

    sys.exit(run(make))
