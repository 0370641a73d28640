"""Publishers of the gate: one decision of its core becomes what the robot and people hear."""

from collections.abc import Callable
import math
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Twist, TwistStamped
from rclpy.node import Node
from std_msgs.msg import Float64

from vla_core.gate.causes import State
from vla_core.gate.config import GateConfig
from vla_core.gate.limits import Vector, ZERO
from vla_core.gate.messages import Event, EventKind, Result
from vla_core.robot import RobotConfig
from vla_interfaces.msg import Decision, SafetyEvent, SafetyState
from vla_ros import qos
from vla_ros.clock import ProcessClock
from vla_ros.conversion import to_time, twist_to_msg

REPORT_PERIOD = 1.0  # s, of safety/state without a change, and of diagnostics
LAST_WORDS = 0.5  # s of zeros at the end
LAST_WORDS_PERIOD = 0.02


class Outbox:
    """Publish what the gate decides."""

    def __init__(
        self,
        node: Node,
        robot: RobotConfig,
        config: GateConfig,
        clock: ProcessClock,
        warnings: tuple[str, ...],
        unheard: Callable[[], tuple[str, ...]],
    ) -> None:
        """Advertise.

        Args:
            node: the node.
            robot: says whether there is a gripper.
            config: says whether cmd_vel is stamped.
            clock: of the process.
            warnings: of the process itself, beside those of the gate.
            unheard: tells of publishers that the gate does not hear.
        """
        self._node = node
        self._clock = clock
        self._warnings = warnings
        self._look = unheard
        self._unheard: tuple[str, ...] = ()
        self._frame_id = config.frame_id
        self._stamped = config.enable_stamped_cmd_vel
        kind = TwistStamped if self._stamped else Twist
        self._cmd_vel = node.create_publisher(kind, 'cmd_vel', qos.VELOCITY)
        self._decision = node.create_publisher(Decision, 'safety/decision', qos.DECISION)
        self._state = node.create_publisher(SafetyState, 'safety/state', qos.STATE)
        self._events = node.create_publisher(SafetyEvent, 'safety/events', qos.EVENTS)
        self._diagnostics = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._gripper = (
            node.create_publisher(Float64, 'gripper_command', qos.VELOCITY)
            if robot.gripper
            else None
        )
        self._reported: tuple[object, ...] = ()
        self._reported_at = -math.inf

    def writers(self) -> int:
        """Return how many publishers cmd_vel has, this one included (4 us)."""
        return int(self._node.count_publishers(self._cmd_vel.topic_name))

    def publish(self, result: Result, tick: int, repeated: bool) -> None:
        """Publish one decision; velocity first, it is what the robot waits for."""
        if not repeated or result.state in (State.ESTOP, State.FAULT):
            self._publish_velocity(result.published)
        if self._gripper is not None and not math.isnan(result.gripper):
            self._gripper.publish(Float64(data=result.gripper))
        self._decision.publish(self._decision_msg(result, tick, repeated))
        for event in result.events:
            self._publish_event(event)
        self._report(result)

    def last_words(self) -> None:
        """Publish zeros for half a second; whoever follows cmd_vel must hear at least one."""
        end = time.monotonic() + LAST_WORDS
        while time.monotonic() < end:
            self._publish_velocity(ZERO)
            time.sleep(LAST_WORDS_PERIOD)

    def _publish_velocity(self, velocity: Vector) -> None:
        twist = twist_to_msg(velocity)
        if not self._stamped:
            self._cmd_vel.publish(twist)
            return
        msg = TwistStamped(twist=twist)
        msg.header.stamp = to_time(self._clock.stamp_ns())
        msg.header.frame_id = self._frame_id
        self._cmd_vel.publish(msg)

    def _decision_msg(self, result: Result, tick: int, repeated: bool) -> Decision:
        msg = Decision(
            tick=tick,
            dt=result.dt,
            state=int(result.state),
            cause=int(result.cause),
            causes=[int(cause) for cause in result.causes],
            observation_stamp=to_time(result.observation_ns),
            policy_run=result.policy_run,
            sequence=result.sequence,
            step_index=result.step_index,
            instruction_id=result.instruction_id,
            chunk_status=int(result.chunk_status),
            wanted=twist_to_msg(result.wanted),
            allowed=twist_to_msg(result.allowed),
            published=twist_to_msg(result.published),
            gripper=result.gripper,
            speed_scale=result.speed_scale,
            repeated=repeated,
            heartbeat_age=result.heartbeat_age,
            chunk_age=result.chunk_age,
            observation_age=result.observation_age,
            odom_age=result.odom_age,
            errors_total=result.counts['errors'],
            consecutive_errors=result.consecutive_errors,
        )
        msg.header.stamp = to_time(self._clock.stamp_ns())
        msg.header.frame_id = self._frame_id
        return msg

    def _publish_event(self, event: Event) -> None:
        msg = SafetyEvent(
            kind=int(event.kind),
            from_state=int(event.from_state),
            to_state=int(event.to_state),
            cause=int(event.cause),
            axis=event.axis,
            value=event.value,
            limit=event.limit,
            parameter=event.parameter,
            text=event.text,
        )
        msg.header.stamp = to_time(self._clock.stamp_ns())
        self._events.publish(msg)
        log = self._node.get_logger()
        if event.to_state in (State.ESTOP, State.FAULT) and event.from_state != event.to_state:
            log.error(event.text)
        elif event.kind in (EventKind.TRANSITION, EventKind.SPEED):
            log.info(event.text)
        elif event.kind is EventKind.REJECTED:
            log.warning(event.text, throttle_duration_sec=5.0)
        else:
            log.warning(event.text)

    def _report(self, result: Result) -> None:
        facts = (
            result.state,
            result.cause,
            result.causes,
            result.ready_to_arm,
            len(result.blockers),
            result.warnings,
        )
        now = self._clock.now()
        due = not now - self._reported_at < REPORT_PERIOD
        if not due and facts == self._reported:
            return
        self._reported = facts
        if due:
            self._notice()
        msg = SafetyState(
            state=int(result.state),
            cause=int(result.cause),
            causes=[int(cause) for cause in result.causes],
            since=result.since,
            ready_to_arm=result.ready_to_arm,
            blockers=list(result.blockers),
            warnings=[*result.warnings, *self._warnings, *self._unheard],
            speed_scale=result.speed_scale,
            errors_total=result.counts['errors'],
            chunks_accepted=result.counts['accepted'],
            chunks_discarded=result.counts['discarded'],
            chunks_rejected=result.counts['rejected'],
        )
        msg.header.stamp = to_time(self._clock.stamp_ns())
        self._state.publish(msg)
        if due:
            self._reported_at = now
            self._diagnose(result)

    def _notice(self) -> None:
        before, self._unheard = self._unheard, self._look()
        for text in self._unheard:
            if text not in before:
                self._node.get_logger().error(text)

    def _diagnose(self, result: Result) -> None:
        warnings = (*result.warnings, *self._warnings, *self._unheard)
        stopped = result.state in (State.ESTOP, State.FAULT)
        level = DiagnosticStatus.OK
        if stopped or self._unheard:
            level = DiagnosticStatus.ERROR
        elif warnings or result.cause:
            level = DiagnosticStatus.WARN
        why = '; '.join(
            (*((result.cause.name,) if result.cause else ()), *result.blockers, *warnings)
        )
        status = DiagnosticStatus(
            level=level,
            name=f'{self._node.get_fully_qualified_name()}: state',
            message=f'{result.state.name}: {why}' if why else result.state.name,
            values=[KeyValue(key=key, value=str(n)) for key, n in result.counts.items()],
        )
        msg = DiagnosticArray(status=[status])
        msg.header.stamp = to_time(self._clock.stamp_ns())
        self._diagnostics.publish(msg)
