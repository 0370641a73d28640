"""What in the graph triggers a recording, and what is noted about it."""

from typing import Any

from rcl_interfaces.msg import Log
from rclpy.node import Node

from vla_core.gate.causes import State
from vla_interfaces.msg import ActionChunk, SafetyState
from vla_replay.recording.config import RecorderConfig
from vla_replay.recording.desk import Desk
from vla_ros import qos

_LATCHED = (State.ESTOP, State.FAULT)
#: Characters of a log message that name a trigger.
_LONGEST = 200


class Watching:
    """Hears the gate, the policy and the log."""

    def __init__(self, node: Node, config: RecorderConfig, desk: Desk) -> None:
        """Listen to what the configuration asks for."""
        self._node, self._desk = node, desk
        self._state: int | None = None
        self._model: Any = None
        node.create_subscription(ActionChunk, 'vla/action_chunk', self._on_chunk, qos.VELOCITY)
        if config.mode == 'ring' and config.on_estop:
            node.create_subscription(SafetyState, 'safety/state', self._on_state, qos.STATE)
        if config.mode == 'ring' and config.on_warn:
            node.create_subscription(Log, '/rosout', self._on_log, qos.EVENTS)

    def _on_chunk(self, msg: ActionChunk) -> None:
        model = msg.model_id, msg.model_sha256
        if model != self._model:
            self._model = model
            self._desk.note('model_id', msg.model_id)
            self._desk.note('model_sha256', msg.model_sha256)

    def _on_state(self, msg: SafetyState) -> None:
        before, self._state = self._state, msg.state
        # A gate that was found latched has no past here.
        if before not in (None, *_LATCHED) and msg.state in _LATCHED:
            self._desk.trigger(State(msg.state).name)

    def _on_log(self, msg: Log) -> None:
        if msg.level >= Log.WARN and msg.name != self._node.get_logger().name:
            self._desk.trigger(f'{msg.name}: {msg.msg[:_LONGEST]}', often=True)
