"""The action FollowInstruction: a goal is a text that somebody waits for."""

from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.node import Node

from vla_core.session import Fate, Record, Source
from vla_inference.pilot import Pilot
from vla_interfaces.action import FollowInstruction
from vla_ros.clock import STEADY
from vla_ros.guard import guarded

#: s between two feedbacks.
FEEDBACK_PERIOD = 0.2
#: Callbacks that may still run when the node closes: one per open goal, and a few frames.
_LAST_SPINS = 10
#: Fates after which nobody has to wait any longer; IDLE: a stop word was the goal.
_ENDS = frozenset(Fate) - {Fate.RUNNING}


class Goals:
    """Serves `vla/follow_instruction`.

    A goal is executed only at its end: rclpy's executors poll a coroutine that awaits something,
    and would keep one core busy for as long as a robot drives.
    """

    def __init__(self, node: Node, pilot: Pilot) -> None:
        """Offer the action on `node`."""
        self._node = node
        self._pilot = pilot
        self._open: dict[int, tuple[Any, float]] = {}
        self._clock = STEADY
        pilot.follow(self._follow)
        self._server = ActionServer(
            node,
            FollowInstruction,
            'vla/follow_instruction',
            execute_callback=lambda goal: FollowInstruction.Result(),
            handle_accepted_callback=guarded(node, self._accept, pilot.count),
            cancel_callback=guarded(node, self._cancel, pilot.count),
        )
        feed_back = guarded(node, self._give_feedback, pilot.count)
        node.create_timer(FEEDBACK_PERIOD, feed_back, clock=STEADY)

    def _follow(self, record: Record) -> None:
        """End the goal that a record speaks of, if it is over."""
        if record.fate in _ENDS and record.id in self._open:
            goal, began = self._open.pop(record.id)
            self._finish(goal, record, began)

    def close(self) -> None:
        """Let the results of goals that have just ended leave, then withdraw the action."""
        if self._node.executor is not None:
            for _ in range(_LAST_SPINS):
                try:
                    self._node.executor.spin_once(timeout_sec=0.0)
                except Exception as error:  # of whatever else was served
                    self._node.get_logger().error(f'{type(error).__name__}: {error}')
        self._server.destroy()

    def _now(self) -> float:
        return float(self._clock.now().nanoseconds) * 1e-9

    def _accept(self, goal: Any) -> None:
        began = self._now()
        request = goal.request
        heard = self._pilot.hear(request.text, Source.ACTION, deadline=request.deadline)
        own = [record for record in heard.records if record.id == heard.id]
        if own:
            self._finish(goal, own[-1], began)
        else:
            self._open[heard.id] = (goal, began)

    def _cancel(self, goal: Any) -> CancelResponse:
        """Stop the robot, whoever's goal it is; the record of the stop ends the goal."""
        if not any(goal == other for other, _ in self._open.values()):
            return CancelResponse.REJECT
        self._pilot.hear('stop', Source.ACTION)
        return CancelResponse.ACCEPT

    def _finish(self, goal: Any, record: Record, began: float) -> None:
        def end(goal: Any) -> FollowInstruction.Result:
            if goal.is_cancel_requested:
                goal.canceled()
            elif record.fate in (Fate.DONE, Fate.IDLE):
                goal.succeed()
            else:
                goal.abort()
            return FollowInstruction.Result(
                result=int(Fate.DONE if record.fate is Fate.IDLE else record.fate),
                reason=record.reason,
                instruction_id=record.id,
                elapsed=self._now() - began,
            )

        # The executor runs this later: a cancelled goal is in its cancelling state by then.
        goal.execute(end)

    def _give_feedback(self) -> None:
        obeyed, status, _ = self._pilot.feedback()
        for instruction_id, (goal, began) in self._open.items():
            state = status if instruction_id == obeyed else Fate.IDLE
            goal.publish_feedback(
                FollowInstruction.Feedback(state=int(state), elapsed=self._now() - began)
            )
