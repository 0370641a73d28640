"""Drive a running graph tick by tick: the lock-step clock (docs/explanation/way-of-a-frame.md).

Whoever drives, a simulator or a replay, sends the inputs of a tick and goes on to the next one
only when the gate has decided this one and holds the last frame and text, so that a run is
repeatable to the bit whatever the machine does meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import time
from typing import Any

from builtin_interfaces.msg import Time
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_core.errors import VlaError
from vla_interfaces.msg import Decision, Instruction
from vla_ros import qos
from vla_ros.conversion import to_ns, to_time
from vla_ros.in_turn import in_turn_executor

TICK = 0.02
TICK_NS = 20_000_000
#: s of wall time after which a hop is missing.
PATIENCE = 5.0
#: s of wall time for three processes to start; a policy may have to load.
START_PATIENCE = 120.0
#: s of wall time between the last sign of a complete graph and the first tick: peers that this
#: node cannot see (camera and policy, policy and gate) have matched by then.
GRACE = 1.0
#: Topic -> subscribers that must be there before the first tick; every node that takes its time
#: from /clock listens to it twice, and this node hears the instructions too.
_LISTENERS = {
    '/clock': 6,
    'odom': 2,
    'command': 2,
    'vla/image/front': 1,
    'vla/action_chunk': 1,
    'vla/instruction': 2,
}
_SPEAKERS = ('safety/decision', 'vla/action_chunk', 'vla/instruction')


class LockstepError(VlaError):
    """A hop of the graph is missing: the graph must be started anew."""


class LockstepClock:
    """The clock of one graph whose processes run with `clock: lockstep`; also the person at it.

    Not thread-safe. Errors are LockstepError; they name the hop that is missing.

    Attributes:
        node: the driver's node, to publish and to subscribe with.
        decision: the newest decision.
        records: newest record of each instruction.
        malformed: records of texts that got no id.
    """

    def __init__(
        self, name: str, listeners: Mapping[str, int], domain_id: int | None = None
    ) -> None:
        """Join the graph's domain.

        Args:
            name: of the node.
            listeners: topic that this driver feeds -> subscribers that it must have.
            domain_id: of the graph; None: that of the environment.
        """
        self.decision = Decision()
        self.records: dict[int, Instruction] = {}
        self.malformed: list[Instruction] = []
        self._listeners = {**_LISTENERS, **listeners}
        self._tick = 0
        self._frame_ns = 0
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        # Nothing here may wait for the clock that it publishes itself.
        self.node = node = Node(name, context=self._context, use_global_arguments=False)
        self._executor = in_turn_executor(self._context)
        self._executor.add_node(node)
        self._clock = node.create_publisher(Clock, '/clock', qos.EVERY)
        self._texts = node.create_publisher(String, 'command', qos.COMMAND)
        node.create_subscription(Decision, 'safety/decision', self._on_decision, qos.DECISION)
        node.create_subscription(Instruction, 'vla/instruction', self._on_record, qos.INSTRUCTION)
        self._arm = node.create_client(Trigger, 'safety/arm')
        self._reset = node.create_client(Trigger, 'safety/reset')

    @property
    def tick_number(self) -> int:
        """Ticks so far."""
        return self._tick

    @property
    def tick_ns(self) -> int:
        """Stamp of the last tick, ns."""
        return self._tick * TICK_NS

    @property
    def time(self) -> float:
        """Simulated s since the start."""
        return self._tick * TICK

    def wait_for_graph(self, alive: Callable[[], None] = lambda: None) -> None:
        """Wait until every hop has its listeners.

        Args:
            alive: called again and again; raises if waiting is in vain.

        Raises:
            LockstepError: if they do not come; the message names the missing ones.
        """
        end = time.monotonic() + START_PATIENCE
        while missing := self._missing():
            alive()
            if time.monotonic() > end:
                raise LockstepError(f'graph is not complete after {START_PATIENCE:g} s: {missing}')
            self._executor.spin_once(timeout_sec=0.05)
        end = time.monotonic() + GRACE
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)

    def step(self, send: Callable[[Time], bool]) -> Decision:
        """Let one tick pass; return the gate's decision on it.

        Args:
            send: publishes the inputs of the tick, odometry always among them, with this stamp;
                returns whether a frame was one of them.

        Raises:
            LockstepError: if a hop is silent for 5 s of wall time.
        """
        self._tick += 1
        stamp = to_time(self.tick_ns)
        if send(stamp):
            self._frame_ns = self.tick_ns
        self._clock.publish(Clock(clock=stamp))
        self.wait_for(self._decided, self._missing_hop)
        return self.decision

    def frame_lost(self) -> bool:
        """Whether the last frame is known to be lost, so that nobody waits for it."""
        return False

    def say(self, text: str) -> int:
        """Publish a text on `command` and wait until policy and gate have taken it in.

        Returns:
            The id that the policy gave it.

        Raises:
            LockstepError: if it is not held after 5 s of wall time.
        """
        newest = self.decision.instruction_id
        self.send(text)
        self.wait_for(
            lambda: (
                self.decision.instruction_id > newest
                and self.decision.instruction_id in self.records
            ),
            lambda: f'text {text[:40]!r}: no decision holds an instruction after {newest}',
        )
        return self.decision.instruction_id

    def send(self, text: str) -> None:
        """Publish a text on `command` and wait for nothing: for texts that get no id."""
        self._texts.publish(String(data=text))

    def status(self, instruction_id: int) -> int:
        """Return the newest status of an instruction, one of Instruction.STATUS_*."""
        return int(self.records[instruction_id].status)

    def arm(self) -> tuple[bool, str]:
        """Ask the gate to arm; return whether it does, and what it says."""
        return self._ask(self._arm)

    def release(self) -> tuple[bool, str]:
        """Ask the gate to release its emergency stop; return whether it does, and what it says."""
        return self._ask(self._reset)

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _on_decision(self, msg: Decision) -> None:
        self.decision = msg

    def _on_record(self, msg: Instruction) -> None:
        if msg.id:
            self.records[msg.id] = msg
        else:
            self.malformed.append(msg)

    def _decided(self) -> bool:
        decision = self.decision
        held = to_ns(decision.observation_stamp)
        return decision.tick == self._tick and (held >= self._frame_ns or self.frame_lost())

    def _missing_hop(self) -> str:
        decision = self.decision
        if decision.tick != self._tick:
            return f'tick {self._tick}: newest decision is on tick {decision.tick} (gate)'
        return (
            f'tick {self._tick}: the gate holds the frame of '
            f'{to_ns(decision.observation_stamp) / 1e9:.2f} s, expected '
            f'{self._frame_ns / 1e9:.2f} s (camera or policy)'
        )

    def _missing(self) -> list[str]:
        node = self.node
        topics = {
            topic: node.resolve_topic_name(topic) for topic in (*self._listeners, *_SPEAKERS)
        }
        return [
            *(
                f'{topic} has {node.count_subscribers(topics[topic])} of {count} subscribers'
                for topic, count in self._listeners.items()
                if node.count_subscribers(topics[topic]) < count
            ),
            *(
                f'{topic} has no publisher'
                for topic in _SPEAKERS
                if not node.count_publishers(topics[topic])
            ),
        ]

    def _ask(self, client: Any) -> tuple[bool, str]:
        future = client.call_async(Trigger.Request())
        self.wait_for(future.done, lambda: f'no answer from {client.srv_name}')
        answer = future.result()
        return bool(answer.success), str(answer.message)

    def wait_for(self, done: Callable[[], bool], why: Callable[[], str]) -> None:
        """Listen between two ticks until something has happened.

        Args:
            done: whether it has.
            why: what to say if it has not.

        Raises:
            LockstepError: after 5 s of wall time.
        """
        end = time.monotonic() + PATIENCE
        while not done():
            if time.monotonic() > end:
                raise LockstepError(f'no progress for {PATIENCE:g} s: {why()}')
            self._executor.spin_once(timeout_sec=0.1)
