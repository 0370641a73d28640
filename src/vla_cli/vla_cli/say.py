"""`vla say TEXT`: give the robot an instruction and follow it to its end; Ctrl-C stops it."""

from __future__ import annotations

import sys
from typing import Any

from rclpy.action import ActionClient
from std_msgs.msg import String

from vla_cli.connection import connect, Connection, Interrupted
from vla_cli.gate import report_still, SERVICES, Stillness
from vla_core.gate.causes import State
from vla_core.session import Fate
from vla_interfaces.action import FollowInstruction
from vla_interfaces.msg import SafetyState
from vla_ros import qos

ACTION = 'vla/follow_instruction'
# The policy answers a goal at once; a busy machine may take longer, s.
ACCEPTED_TIMEOUT = 5.0
# What a shell reports of a command that Ctrl-C ended.
_INTERRUPTED_STATUS = 130
_ARMED = (State.ACTIVE, State.ARMING, State.HOLD, State.MANUAL)


def say(text: str, deadline: float, namespace: str) -> int:
    """Send `text` as a goal; return 0 when it is DONE, 130 after Ctrl-C, else 1."""
    with connect(namespace) as connection:
        goal = _Goal(connection)
        try:
            return goal.follow(text, deadline)
        finally:
            goal.close()


class _Goal:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        node = connection.node
        self._client = ActionClient(node, FollowInstruction, ACTION)
        self._commands = node.create_publisher(String, 'command', qos.COMMAND)
        self._stillness = Stillness(connection)
        self._gate: State | None = None
        self._fate: Fate | None = None
        self._stopping = False
        node.create_subscription(SafetyState, 'safety/state', self._on_gate, qos.STATE)

    def follow(self, text: str, deadline: float) -> int:
        connection = self._connection
        sent = None
        try:
            connection.find(self._stillness.heard, SERVICES['arm'], 'gate')
            connection.find(self._client.server_is_ready, ACTION, 'policy')
            # Ctrl-C may come at once, and then "stop" must have somebody to hear it.
            connection.find(self._heard, 'command', 'gate')
            sent = self._client.send_goal_async(
                FollowInstruction.Goal(text=text, deadline=deadline), self._on_feedback
            )
            if not connection.wait(sent.done, ACCEPTED_TIMEOUT):
                print(f'the policy does not answer within {ACCEPTED_TIMEOUT} s', file=sys.stderr)
                return 1
            goal = sent.result()
            if not goal.accepted:
                print('the policy did not accept the goal', file=sys.stderr)
                return 1
            result = goal.get_result_async()
            connection.wait(result.done)
            return self._report(result.result().result)
        except Interrupted:
            return self._stop(sent)

    def close(self) -> None:
        """Give back what keeps the node's participant alive: `destroy_node` knows no actions."""
        self._client.destroy()

    def _stop(self, sent: Any) -> int:
        """Stop by both ways: the cancelled goal, and the word that the gate itself understands."""
        self._stopping = True
        self._commands.publish(String(data='stop'))
        if sent is not None:
            # A goal whose answer is still on its way is cancelled as soon as that arrives.
            sent.add_done_callback(self._cancel)
        print('stopping')
        try:
            status = report_still(self._stillness)
        except Interrupted:
            print('left before the robot was still', file=sys.stderr)
            status = 1
        return status or _INTERRUPTED_STATUS

    def _heard(self) -> bool:
        return self._commands.get_subscription_count() > 0

    def _cancel(self, sent: Any) -> None:
        if sent.result().accepted:
            sent.result().cancel_goal_async()

    def _report(self, result: FollowInstruction.Result) -> int:
        fate = Fate(result.result)
        reason = f': {result.reason}' if result.reason else ''
        print(f'{fate.name} after {result.elapsed:.1f} s{reason}')
        return 0 if fate is Fate.DONE else 1

    def _on_feedback(self, message: Any) -> None:
        fate = Fate(message.feedback.state)
        if fate is not self._fate and not self._stopping:
            self._fate = fate
            print(f'{fate.name} {message.feedback.elapsed:.1f} s')

    def _on_gate(self, message: SafetyState) -> None:
        state = State(message.state)
        if state is self._gate:
            return
        self._gate = state
        if state not in _ARMED:
            blockers = '; '.join(message.blockers)
            print(f'the gate is {state.name}, the robot will not move: {blockers or "`vla arm`"}')
