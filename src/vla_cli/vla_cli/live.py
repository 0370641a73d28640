"""Drive and watch a live graph from outside: what benchmarks and system tests have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
import time
from typing import Any

from geometry_msgs.msg import Twist
import psutil
import rclpy
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_cli.graph import Graph, GraphError, Parameters
from vla_core.gate.causes import State
from vla_interfaces.msg import Decision, Heartbeat, Instruction, SafetyState
from vla_interfaces.srv import ResetSimulation
from vla_ros import qos
from vla_ros.domains import own_domain
from vla_ros.in_turn import in_turn_executor

#: s of wall time for anything that a graph is waited for.
PATIENCE = 60.0
_ARMINGS = 5
#: Messages that wait here while a busy machine lets this process starve: 40 s of decisions.
_DEPTH = 2000


class LiveGraph:
    """A running graph, and all that its gate and policy have said since `forget`.

    Attributes:
        domain_id: ROS domain of the graph.
        node: a node beside the graph, to publish and to subscribe with.
        decisions: every decision, in order.
        twists: monotonic receive time and velocity on cmd_vel.
        state: newest state of the gate.
        records: newest record of each instruction of the newest run of the policy.
        malformed: records of texts without an id.
        heartbeats: newest heartbeat of each node.
        heard: monotonic receive time of each node's first heartbeat.
    """

    def __init__(self, graph: Graph, domain_id: int, namespace: str = '') -> None:
        """Join the graph's domain, and its namespace."""
        self.graph = graph
        self.domain_id = domain_id
        self.decisions: list[Decision] = []
        self.twists: list[tuple[float, Twist]] = []
        self.state = SafetyState()
        self.records: dict[int, Instruction] = {}
        self.malformed: list[Instruction] = []
        self.heartbeats: dict[str, Heartbeat] = {}
        self.heard: dict[str, float] = {}
        # Run of the policy, id.
        self._newest = (0, 0)
        self._clients: dict[str, Any] = {}
        self._context = rclpy.Context()
        rclpy.init(context=self._context, args=[], domain_id=domain_id)
        self.node = node = rclpy.create_node('watcher', namespace=namespace, context=self._context)
        self._executor = in_turn_executor(self._context)
        self._executor.add_node(node)
        for kind, topic, callback, profile in (
            (Decision, 'safety/decision', self.decisions.append, _DEPTH),
            (Twist, 'cmd_vel', self._on_twist, _DEPTH),
            (SafetyState, 'safety/state', self._on_state, qos.STATE),
            (Instruction, 'vla/instruction', self._on_record, qos.INSTRUCTION),
            (Heartbeat, 'vla/heartbeat', self._on_heartbeat, qos.HEARTBEAT),
        ):
            node.create_subscription(kind, topic, callback, profile)
        self._texts = node.create_publisher(String, 'command', qos.COMMAND)

    @property
    def decision(self) -> Decision:
        """The newest decision."""
        return self.decisions[-1] if self.decisions else Decision()

    def forget(self) -> None:
        """Drop the decisions and velocities so far."""
        self.decisions.clear()
        self.twists.clear()

    def spin(self, seconds: float) -> None:
        """Listen for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0.0:
            self._executor.spin_once(timeout_sec=left)

    def spin_once(self, timeout: float) -> None:
        """Listen until something arrives, for `timeout` s at most."""
        self._executor.spin_once(timeout_sec=timeout)

    def until(self, condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
        """Listen until a condition holds.

        Raises:
            GraphError: if it does not in time, or the graph ends.
        """
        end = time.monotonic() + timeout
        while not condition():
            self.graph.check()
            if time.monotonic() > end:
                state = State(self.state.state).name
                reasons = list(self.state.blockers)
                said = self.graph.complaint
                raise GraphError(
                    f'not in {timeout:g} s: {what}; gate {state}, {reasons}'
                    f'{"; " if said else ""}{said}'
                )
            self._executor.spin_once(timeout_sec=0.05)

    def until_active(self) -> None:
        """Wait until the gate lets the policy move the robot."""
        self.until(lambda: self.decision.state == State.ACTIVE, 'gate ACTIVE')

    def say(self, text: str, timeout: float = PATIENCE) -> int:
        """Publish a text on `command`; return its id once the policy has recorded it.

        Raises:
            GraphError: if it does not in time.
        """
        known = self._newest
        self.until(lambda: self._texts.get_subscription_count() >= 2, 'command is heard')
        self._texts.publish(String(data=text))
        self.until(lambda: self._newest > known, f'a record of {text[:40]!r}', timeout)
        return self._newest[1]

    def call(self, service: str) -> tuple[bool, str]:
        """Call a Trigger service of the gate; return whether it accepted, and what it said."""
        answer = self._ask(self._client(Trigger, service), Trigger.Request())
        return bool(answer.success), str(answer.message)

    def arm(self) -> None:
        """Arm like a patient person: again, if a hiccup while ARMING leads back to STOPPED.

        Raises:
            GraphError: if that is in vain.
        """
        for _ in range(_ARMINGS):
            self.until(lambda: bool(self.state.ready_to_arm), 'ready to arm')
            accepted, message = self.call('safety/arm')
            if not accepted:
                continue
            self.until(lambda: self.state.state != State.STOPPED, 'gate ARMING')
            self.until(lambda: self.state.state in (State.ACTIVE, State.STOPPED), 'end of ARMING')
            if self.state.state == State.ACTIVE:
                self.until_active()
                return
        raise GraphError(f'not armed after {_ARMINGS} attempts: {message}')

    def reset(self) -> None:
        """Release a latched stop like a patient person.

        Raises:
            GraphError: if that is in vain.
        """
        for _ in range(_ARMINGS):
            self.until(lambda: not self.state.blockers, 'nothing keeps from a reset')
            accepted, message = self.call('safety/reset')
            if accepted:
                self.until(lambda: self.state.state != State.ESTOP, 'end of ESTOP')
                return
        raise GraphError(f'not reset after {_ARMINGS} attempts: {message}')

    def place(self, seed: int) -> None:
        """Put the simulated robot into the layout of a seed."""
        client = self._client(ResetSimulation, 'sim/reset')
        self._ask(client, ResetSimulation.Request(seed=seed))

    def process(self, name: str) -> psutil.Process:
        """Return the process of an executable of the graph, e.g. `policy`.

        Raises:
            GraphError: if there is not exactly one.
        """
        return self.graph.process(name)

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _client(self, kind: type, service: str) -> Any:
        """Return the one client of a service: every other one would be known to all processes."""
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service)
        return self._clients[service]

    def _ask(self, client: Any, request: Any) -> Any:
        self.until(client.service_is_ready, f'service {client.srv_name}')
        future = client.call_async(request)
        self.until(future.done, f'answer of {client.srv_name}')
        return future.result()

    def _on_twist(self, msg: Twist) -> None:
        self.twists.append((time.monotonic(), msg))

    def _on_state(self, msg: SafetyState) -> None:
        self.state = msg

    def _on_record(self, msg: Instruction) -> None:
        if not msg.id:
            self.malformed.append(msg)
            return
        if msg.policy_run > self._newest[0]:
            self.records.clear()
        self.records[msg.id] = msg
        self._newest = max(self._newest, (msg.policy_run, msg.id))

    def _on_heartbeat(self, msg: Heartbeat) -> None:
        self.heard.setdefault(msg.node, time.monotonic())
        self.heartbeats[msg.node] = msg


@contextmanager
def live_graph(
    log: Path, arguments: dict[str, str], parameters: Parameters | None = None
) -> Iterator[LiveGraph]:
    """Start robot.launch.xml in a domain of its own, and watch it.

    Raises:
        GraphError: if the gate says nothing.
    """
    with own_domain() as domain_id:
        graph = Graph(domain_id, log, arguments, parameters)
        try:
            live = LiveGraph(graph, domain_id)
            try:
                live.until(lambda: bool(live.decisions), 'a decision of the gate')
                yield live
            finally:
                live.close()
        finally:
            graph.close()
