"""`vla say TEXT`: give the robot an instruction and follow it to its end; Ctrl-C stops it."""

from __future__ import annotations

from typing import Any

from rclpy.action import ActionClient

from vla_cli.connection import (
    ANSWER,
    connect,
    Connection,
    Interrupted,
    SEND_GOAL,
    SeveralRobotsError,
)
from vla_cli.gate import report_still, SERVICES, Stillness, StopWord
from vla_cli.telling import tell
from vla_core.errors import ConfigError
from vla_core.gate.causes import State
from vla_core.session import Fate
from vla_core.text import name_of, printable
from vla_interfaces.action import FollowInstruction
from vla_interfaces.msg import Heartbeat, SafetyState
from vla_ros import qos

ACTION = 'vla/follow_instruction'
# The policy answers a goal at once; a busy machine may take longer, s.
ACCEPTED_TIMEOUT = 5.0
# Once the robot is still, how long a late acceptance is waited for, to cancel it, s.
LATE_TIMEOUT = 5.0
_ARMED = (State.ACTIVE, State.ARMING, State.HOLD, State.MANUAL)


def say(text: str, deadline: float, namespace: str) -> int:
    """Send `text` as a goal; return 0 when it is DONE, 130 after Ctrl-C, else 1.

    SIGTERM and SIGHUP stop the robot as Ctrl-C does; they return 143 and 129.

    Raises:
        ConfigError: `text` has bytes that are no UTF-8: what was meant is a guess.
        SeveralRobotsError: several gates or policies would take it; none has been told.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f'text {text!r} has bytes that are no text: expected UTF-8') from error
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
        self._word = StopWord(connection)
        self._stillness = Stillness(connection)
        # States of the gate and of the instruction, as last heard; unknown numbers too.
        self._gate: int | None = None
        self._fate: int | None = None
        self._stopping = False
        self._cancellation: Any = None
        # Run of the policy: the newest heard of, and the one that accepted the goal.
        self._run: int | None = None
        self._accepted_by: int | None = None
        node.create_subscription(Heartbeat, 'vla/heartbeat', self._on_heartbeat, qos.HEARTBEAT)
        node.create_subscription(SafetyState, 'safety/state', self._on_gate, qos.STATE)

    def follow(self, text: str, deadline: float) -> int:
        connection = self._connection
        sent = None
        try:
            connection.find(self._gate_known, SERVICES['arm'], 'gate')
            connection.find(self._policy_known, ACTION, 'policy')
            # Ctrl-C may come at once, and then "stop" must have somebody to hear it.
            self._word.wait()
            if several := connection.several(SERVICES['arm'], ACTION + SEND_GOAL):
                raise SeveralRobotsError(several)
            # By whom it is accepted, if anyone: the answer may come after word of the next run.
            self._accepted_by = self._run
            sent = self._client.send_goal_async(
                FollowInstruction.Goal(text=text, deadline=deadline), self._on_feedback
            )
            if not connection.wait(sent.done, ACCEPTED_TIMEOUT):
                silent = f'the policy does not answer within {ACCEPTED_TIMEOUT} s'
                return self._give_up(silent, sent)
            goal = sent.result()
            if not goal.accepted:
                tell('the policy did not accept the goal', failed=True)
                return 1
            result = goal.get_result_async()
            lost = self._wait(result)
            return self._give_up(lost, None) if lost else self._report(result.result().result)
        except Interrupted as interrupted:
            return self._stop(sent) or interrupted.status
        except BaseException:
            # Whatever it is: nobody follows any more what the robot does.
            if sent is not None:
                self._stop(sent)
            raise

    def close(self) -> None:
        """Give back what keeps the node's participant alive: `destroy_node` knows no actions."""
        self._client.destroy()

    def _policy_known(self) -> bool:
        return self._client.server_is_ready() and self._run is not None

    def _gate_known(self) -> bool:
        return self._gate is not None and self._stillness.heard()

    def _wait(self, result: Any) -> str:
        """Wait for the result; return why there will be none, else nothing."""
        lost = ''

        def ended() -> bool:
            nonlocal lost
            lost = '' if result.done() else self._lost()
            return bool(lost) or result.done()

        self._connection.wait(ended)
        return lost

    def _lost(self) -> str:
        """Say why nobody follows the goal any more; empty: somebody does."""
        if not self._client.server_is_ready():
            return 'the policy is gone'
        if self._run != self._accepted_by:
            return 'the policy has started anew and knows nothing of the text'
        return ''

    def _give_up(self, reason: str, sent: Any) -> int:
        """Leave the robot still, since nobody will follow what it does."""
        tell(f'{reason}: expected it to follow the text to its end', failed=True)
        self._stop(sent)
        return 1

    def _stop(self, sent: Any) -> int:
        """Stop by both ways: the cancelled goal, and the gate's own word; return 1 if it moves."""
        self._stopping = True
        late = sent is not None and not sent.done()
        self._word.say()
        if sent is not None:
            # A goal whose answer is still on its way is cancelled as soon as that arrives.
            sent.add_done_callback(self._cancel)
        tell('stopping')
        try:
            status = report_still(self._stillness)
            if late:
                status |= self._settle(sent)
        except Interrupted:
            tell('left before the robot was sure to stay still', failed=True)
            status = 1
        return status

    def _settle(self, sent: Any) -> int:
        """Wait for an answer that is late, and for the end of what it began; return the status."""
        wait = self._connection.wait
        if not wait(sent.done, LATE_TIMEOUT):
            tell(
                'the policy has not answered yet: should it accept the text later, the robot '
                'obeys it; expected an answer: `vla stop`',
                failed=True,
            )
            return 1
        # The callback may still wait for its turn.
        self._cancel(sent)
        if self._cancellation is None:
            return 0
        if not wait(self._cancellation.done, ANSWER):
            tell(
                f'the policy accepted the text late and has not cancelled it within {ANSWER} s; '
                'expected an answer: `vla stop`',
                failed=True,
            )
            return 1
        tell('the policy accepted the text late: cancelled')
        return 0

    def _cancel(self, sent: Any) -> None:
        if sent.result().accepted and self._cancellation is None:
            self._cancellation = sent.result().cancel_goal_async()

    def _report(self, result: FollowInstruction.Result) -> int:
        reason = f': {printable(result.reason)}' if result.reason else ''
        tell(f'{name_of(Fate, result.result)} after {result.elapsed:.1f} s{reason}')
        return 0 if result.result == Fate.DONE else 1

    def _on_feedback(self, message: Any) -> None:
        fate = message.feedback.state
        if fate != self._fate and not self._stopping:
            self._fate = fate
            tell(f'{name_of(Fate, fate)} {message.feedback.elapsed:.1f} s')

    def _on_heartbeat(self, beat: Heartbeat) -> None:
        if beat.node == 'policy':
            self._run = beat.policy_run

    def _on_gate(self, message: SafetyState) -> None:
        state = message.state
        if state == self._gate:
            return
        self._gate = state
        if state not in _ARMED:
            blockers = printable('; '.join(message.blockers)) or '`vla arm`'
            tell(f'the gate is {name_of(State, state)}, the robot will not move: {blockers}')
