"""A graph that is fed what it should not get, and what must not come of it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
import time

import psutil
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Bool, String

from vla_cli.bench.targets import round_wall, stamped
from vla_cli.bench.turning import NODES
from vla_cli.graph import Parameters
from vla_cli.live import live_graph
from vla_core.gate.causes import MOVING, State
from vla_core.gate.limits import holds, Limits
from vla_core.robot import load_robot
from vla_ros import qos
from vla_ros.clock import STEADY
from vla_ros.conversion import twist_from_msg
from vla_ros.files import robot_path

#: Added to the simulated robot, so that the gate listens to scans too.
_SECTIONS = """
scan: {frame_id: scanner, x: 0.0, y: 0.0, yaw: 0.0, field_of_view: 6.2}
zones:
  stop: {front: 0.2, rear: 0.2, left: 0.2, right: 0.2}
  slow: {front: 0.5, rear: 0.5, left: 0.5, right: 0.5, speed_scale: 0.5}
"""
#: Nodes whose heartbeats count errors, beside the gate's own count.
_COUNTING = ('policy', 'camera', 'monitor')
_SCAN_PERIOD = 0.1
#: s for the robot to move again.
_PATIENCE = 15.0


@dataclass
class Count:
    """What came of the messages of one type."""

    violations: list[float] = field(default_factory=list)
    moving: int = 0
    died: int = 0
    unbounded: int = 0
    unarmed: int = 0
    commands: int = 0
    errors: int = 0
    restarts: int = 0

    @property
    def bad(self) -> int:
        """All violations."""
        return self.died + self.unbounded + self.unarmed


class Victim:
    """The graph under attack, and the person who sets the robot going again."""

    def __init__(self, folder: Path, policy: str, parameters: Parameters) -> None:
        """Prepare; entering starts the graph.

        Args:
            folder: for the robot file and what the graph says.
            policy: checkpoint or built-in policy that drives.
            parameters: node -> parameter -> value.
        """
        self._file = folder / 'malformed_robot.yaml'
        self._file.write_text(robot_path('sim').read_text() + _SECTIONS)
        self._limits = Limits.of(load_robot(self._file))
        self._log = folder / 'malformed.log'
        self._arguments = {'robot': str(self._file.resolve()), 'sim': 'true'}
        self._arguments |= {'policy': policy, 'policy_respawns': '-1'}
        self._parameters = parameters
        self._stack = ExitStack()
        # Commands in hand that were judged before.
        self._kept = 0

    def __enter__(self) -> Victim:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stack.close()

    def start(self) -> None:
        """Start the graph, a second time if need be."""
        self._stack.close()
        graph = live_graph(self._log, self._arguments, self._parameters)
        self.live = live = self._stack.enter_context(graph)
        node = live.node
        self._button = node.create_publisher(Bool, 'safety/estop', 10)
        self._texts = node.create_publisher(String, 'command', qos.COMMAND)
        self._scans = node.create_publisher(LaserScan, 'scan', qos.SENSOR)
        node.create_timer(_SCAN_PERIOD, self._scan, clock=STEADY)
        live.until(lambda: live.state.state != State.INIT, 'the gate has heard everything')
        self._pids = self._processes()
        self._kept = 0

    def listen(self, seconds: float) -> None:
        """Hear what is said; what is no message for the nodes is none here either."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0.0:
            try:
                self.live.spin_once(left)
            except Exception:  # noqa: S112
                continue

    @property
    def moves(self) -> bool:
        """Whether the robot is commanded to move."""
        twists = self.live.twists
        return bool(twists) and any(twist_from_msg(twists[-1][1]))

    def set_going(self) -> bool:
        """Release, reset, arm, instruct, as often as need be; return whether it moves."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            self._button.publish(Bool(data=False))
            self.listen(0.3)
            if self.moves:
                return True
            state = self.live.state
            if state.state == State.ESTOP:
                self.live.call('safety/reset')
            elif state.state == State.STOPPED and state.ready_to_arm:
                self.live.call('safety/arm')
            elif state.state == State.ACTIVE:
                self._texts.publish(String(data='turn left'))
        return False

    def died(self) -> int:
        """Return how many nodes have ended since the last call.

        Raises:
            GraphError: if the whole graph has.
        """
        self.live.graph.check()
        before, self._pids = self._pids, self._processes()
        return len(before - self._pids)

    def errors(self) -> int:
        """Return the errors that the nodes have counted so far."""
        beats = self.live.heartbeats
        nodes = sum(beats[name].errors_total for name in _COUNTING if name in beats)
        return int(self.live.state.errors_total + nodes)

    def judge(self, count: Count, decisions: bool) -> None:
        """Count what was commanded since the last call, and what should not have been.

        Args:
            count: takes it.
            decisions: whether what is heard on safety/decision is the gate's alone.
        """
        live = self.live
        # The newest one stays from call to call, for who asks whether the robot moves.
        new = live.twists[self._kept :]
        count.commands += len(new)
        count.unbounded += sum(not holds(twist_from_msg(twist), self._limits) for _, twist in new)
        if decisions:
            count.unarmed += sum(
                decision.state not in MOVING and any(twist_from_msg(decision.published))
                for decision in live.decisions
            )
        last = live.twists[-1:]
        live.forget()
        live.twists += last
        self._kept = len(last)
        # Malformed ones hold 1 MB each, by the thousand, and nobody asks for them here.
        live.records.clear()
        live.malformed.clear()

    def _processes(self) -> set[int]:
        children = psutil.Process(self.live.graph.pid).children(recursive=True)
        return {
            child.pid
            for child in children
            if any(Path(word).name in NODES for word in child.cmdline()[:2])
        }

    def _scan(self) -> None:
        self._scans.publish(stamped(round_wall(), self.live.node))
