"""The black box of the gate, kept by another process than the gate's own (docs/decisions/0006)."""

from datetime import datetime, UTC
from pathlib import Path
import time

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.logging import get_logging_directory

from vla_core.black_box.record import Header, Note, Step
from vla_core.black_box.recorder import Recorder, Snapshot
from vla_core.black_box.writer import Writer
from vla_core.gate.causes import Cause, State
from vla_core.gate.config import ODOM_TIMEOUT, Timing
from vla_core.gate.messages import EventKind
from vla_core.robot import AXES, RobotConfig
from vla_core.text import name_of
from vla_core.types import Status
from vla_interfaces.msg import Decision, SafetyEvent
from vla_ros.conversion import to_ns, twist_from_msg
from vla_ros.files import expanded

#: Below ROS's own log folder, where no folder is named.
FOLDER = 'black_box'
#: s for the last file when the process ends; launch grants 5 s.
LAST_CHANCE = 3.0
#: Causes and characters of one line that are kept.
_MOST_CAUSES, _LONGEST_TEXT, _LONGEST_AXIS = 16, 300, 40


class BlackBox:
    """Hears every decision and event of the gate, and writes files when the recorder says so."""

    def __init__(
        self, folder: str, robot: RobotConfig, namespace: str, lockstep: bool = False
    ) -> None:
        """Start with nothing; the folder is made with the first file.

        Args:
            folder: of the files; empty: `black_box` below ROS's log folder.
            robot: whose limits are written with the record.
            namespace: of the robot.
            lockstep: whether the gate keeps simulated time.
        """
        self._robot = robot
        self._timing = Timing.lockstep(0.0) if lockstep else Timing()
        self._namespace = namespace.strip('/')
        self._prefix = '-'.join(part for part in (robot.name, *self._namespace.split('/')) if part)
        below = Path(get_logging_directory()) / FOLDER
        path = expanded(folder, 'black_box_folder') if folder else below
        self._recorder = Recorder(self._name)
        self._writer = Writer(path, self._about)

    def decision(self, msg: Decision) -> None:
        """Keep a decision; hand a file over if it is an emergency stop."""
        self._submit(self._recorder.step(time.monotonic(), step_from_msg(msg)))

    def event(self, msg: SafetyEvent) -> None:
        """Keep an event."""
        self._recorder.note(time.monotonic(), note_from_msg(msg))

    def poll(self) -> None:
        """Hand over what time alone makes due."""
        self._submit(self._recorder.poll(time.monotonic()))

    def close(self) -> None:
        """Write what a gate that could still move has done, and what waits."""
        self._submit(self._recorder.close(f'{self._prefix}-ended'))
        self._writer.close(LAST_CHANCE)

    def status(self, name: str) -> DiagnosticStatus:
        """Say how the files do."""
        writer = self._writer
        message = f'newest: {writer.newest}' if writer.newest else 'nothing to write yet'
        values = {
            'lines in memory': self._recorder.held,
            'written': writer.written,
            'failed': writer.failed,
            'dropped': writer.dropped,
            'skipped lines': self._recorder.skipped,
        }
        return DiagnosticStatus(
            level=DiagnosticStatus.WARN if writer.error else DiagnosticStatus.OK,
            name=name,
            message=writer.error or message,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )

    def _submit(self, snapshot: Snapshot | None) -> None:
        if snapshot is not None:
            self._writer.submit(snapshot)

    def _name(self) -> str:
        now = datetime.now(UTC)
        return f'{self._prefix}-{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03}Z'

    def _about(self, snapshot: Snapshot, written: str) -> Header:
        return Header(
            trigger=snapshot.trigger,
            stamp_ns=snapshot.stamp_ns,
            written=written,
            robot=self._robot.name,
            namespace=self._namespace,
            limits=self._limits(),
        )

    def _limits(self) -> dict[str, dict[str, float]]:
        """Return what the gate holds speeds and ages against."""
        robot, timing = self._robot, self._timing
        limits = {
            name: {
                'max_speed': axis.max_speed,
                'max_accel': axis.max_accel,
                'max_decel': axis.max_decel,
            }
            for name, axis in zip(AXES, robot.axes, strict=True)
            if axis is not None
        }
        limits['heartbeat_age'] = {'late': timing.heartbeat_late, 'lost': timing.heartbeat_lost}
        limits['observation_age'] = {'lapsed': robot.max_observation_age}
        if robot.odom_required:
            limits['odom_age'] = {'lost': ODOM_TIMEOUT}
        return limits


def step_from_msg(msg: Decision) -> Step:
    """Return a decision as it is recorded."""
    return Step(
        stamp_ns=to_ns(msg.header.stamp),
        tick=msg.tick,
        dt=msg.dt,
        state=name_of(State, msg.state),
        cause=name_of(Cause, msg.cause),
        causes=tuple(name_of(Cause, cause) for cause in msg.causes[:_MOST_CAUSES]),
        wanted=twist_from_msg(msg.wanted),
        allowed=twist_from_msg(msg.allowed),
        published=twist_from_msg(msg.published),
        speed_scale=msg.speed_scale,
        gripper=msg.gripper,
        heartbeat_age=msg.heartbeat_age,
        chunk_age=msg.chunk_age,
        observation_age=msg.observation_age,
        odom_age=msg.odom_age,
        observation_ns=to_ns(msg.observation_stamp),
        policy_run=msg.policy_run,
        sequence=msg.sequence,
        step_index=msg.step_index,
        instruction_id=msg.instruction_id,
        chunk_status=name_of(Status, msg.chunk_status),
        errors_total=msg.errors_total,
        consecutive_errors=msg.consecutive_errors,
    )


def note_from_msg(msg: SafetyEvent) -> Note:
    """Return an event as it is recorded."""
    return Note(
        stamp_ns=to_ns(msg.header.stamp),
        what=name_of(EventKind, msg.kind),
        from_state=name_of(State, msg.from_state),
        to_state=name_of(State, msg.to_state),
        cause=name_of(Cause, msg.cause),
        axis=msg.axis[:_LONGEST_AXIS],
        value=msg.value,
        limit=msg.limit,
        text=msg.text[:_LONGEST_TEXT],
    )
