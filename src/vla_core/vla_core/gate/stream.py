"""What the gate holds of the policy: its run, its chunks, its instructions, the stop wait."""

from collections.abc import Mapping
from dataclasses import dataclass
import math

from vla_core.errors import ActionRejected, ObservationError
from vla_core.gate.chunks import check, gripper_rows, rows
from vla_core.gate.config import (
    CHUNK_FAULT,
    ID_SLACK,
    ORDER_SPAN,
    SEQUENCE_RATE,
    SEQUENCE_SLACK,
    Timing,
)
from vla_core.gate.limits import Limits, Vector
from vla_core.gate.messages import Chunk, Command, Record
from vla_core.gate.stopwait import StopWait
from vla_core.player import ChunkPlayer, Playback
from vla_core.robot import RobotConfig
from vla_core.text import is_stop_word
from vla_core.types import Status


@dataclass(frozen=True, slots=True)
class Row:
    """One step of a chunk: velocity of the six axes, and gripper (NaN: leave it)."""

    velocity: Vector
    gripper: float = math.nan


class PolicyStream:
    """Accept, discard or reject what comes from the policy process."""

    def __init__(self, robot: RobotConfig, limits: Limits, timing: Timing) -> None:
        """Start without a policy."""
        self._robot = robot
        self._limits = limits
        self._timing = timing
        self._player: ChunkPlayer[Row] = ChunkPlayer()
        self.stop = StopWait()
        self.run = -1
        self._counts = {'accepted': 0, 'discarded': 0, 'clipped': 0}
        self._forget()

    def _forget(self) -> None:
        self._player.clear()
        self.stop.clear()
        self._void = False
        self._last_sequence = -1
        self._until = -math.inf
        self._observed = math.nan
        self._arrived = math.nan
        self._held_id = -1
        self.instruction_id = 0
        self.observation_ns = 0
        self.sequence = 0
        self.status = Status.IDLE

    @property
    def counts(self) -> Mapping[str, int]:
        """Chunks accepted, discarded without being an error, and accepted beyond a speed limit."""
        return dict(self._counts)

    def meet(self, run: int) -> bool:
        """Note the run of a message of the policy.

        Returns:
            True if this is a new run that replaced an older one, all of which is forgotten.
        """
        if run <= self.run:
            return False
        replaced = self.run >= 0
        self.run = run
        self._forget()
        return replaced

    def take(self, message: Chunk) -> bool:
        """Take a chunk of the present run, or discard it.

        Returns:
            True if it was accepted and is not over already: an action.

        Raises:
            ActionRejected: if the robot must not play it; whoever hears that calls void.
        """
        chunk = message.chunk
        if chunk.policy_run < self.run:
            self._counts['discarded'] += 1
            return False
        start, observed = message.start, message.observed
        self._check_order(chunk.sequence, message.at)
        check(chunk, self._robot, max(start, observed) - message.at)
        velocities = rows(chunk, self._robot)
        self._last_sequence = chunk.sequence
        # A discarded chunk is no silence: it shows a living policy and a living camera.
        until = min(
            start + chunk.horizon * chunk.step_dt, observed + self._robot.max_observation_age
        )
        # What is over long since lapses now: one odd stamp is no silence that has lasted.
        self._until = max(until, min(self._until, message.at))
        self._observed, self._arrived = observed, message.at
        self.observation_ns = chunk.observation_stamp_ns
        if any(map(any, velocities)) and not self.stop.admits(chunk.instruction_id):
            self._counts['discarded'] += 1
            return False
        self.stop.accepted(chunk.instruction_id)
        self._counts['accepted'] += 1
        self._counts['clipped'] += self._exceeds(velocities)
        self._void = False
        self._held_id = chunk.instruction_id
        self.sequence, self.status = chunk.sequence, chunk.status
        grips = gripper_rows(chunk, self._robot) or (math.nan,) * len(velocities)
        self._player.offer(
            Playback(
                tuple(map(Row, velocities, grips)),
                start,
                chunk.step_dt,
                self._until,
                observed + self._timing.latency if self._timing.latency else -math.inf,
                chunk.sequence,
            )
        )
        return self._until > message.at

    def _check_order(self, sequence: int, now: float) -> None:
        """Refuse a sequence that does not increase, or that leaps.

        One that leaps, a broken number for one, would shut out every true one that follows. After
        a silence of ORDER_SPAN any is the first: nothing older could be played, for its age.

        Raises:
            ActionRejected: if it is not more than the last, or more than the time allows.
        """
        silence = max(0.0, self.chunk_age(now))
        if self._last_sequence < 0 or silence >= ORDER_SPAN:
            return
        if sequence <= self._last_sequence:
            raise ActionRejected(f'sequence {sequence}: expected more than {self._last_sequence}')
        most = self._last_sequence + SEQUENCE_SLACK + int(SEQUENCE_RATE * silence)
        if sequence > most:
            raise ActionRejected(
                f'sequence {sequence}: expected at most {most}, {silence:.3f} s after '
                f'{self._last_sequence}'
            )

    def _exceeds(self, velocities: tuple[Vector, ...]) -> bool:
        return any(
            abs(value) > most
            for row in velocities
            for value, most in zip(row, self._limits.speed, strict=True)
        )

    def void(self) -> None:
        """Play nothing until the next valid chunk: to "keep last" would be the wrong answer."""
        self._void = True

    def hear_command(self, message: Command) -> None:
        """Hear a text on `command`; all but stop words is none of the gate's business."""
        if is_stop_word(message.text):
            self.stop.word(message.source_stamp, self._held_id)

    def hear_record(self, message: Record) -> None:
        """Hear a record of the present run on `vla/instruction`.

        Raises:
            ObservationError: if its id leaps: after such a "stop" no instruction would be newer.
        """
        if message.policy_run < self.run or message.id == 0:
            return
        known = max(self.instruction_id, self._held_id)
        if message.id > known + ID_SLACK and known > 0:
            raise ObservationError(
                f'record of instruction {message.id}: expected at most {known + ID_SLACK}'
            )
        self.instruction_id = max(self.instruction_id, message.id)
        if is_stop_word(message.text):
            self.stop.record(message.source_stamp, message.id, self._held_id)

    def due(self, now: float) -> tuple[int, Row, int] | None:
        """Return step, row and sequence of the chunk to play now; None: nothing to play."""
        due = self._player.due(now)
        if due is None or self._void:
            return None
        return due[0], due[1], due[2].chunk_sequence

    def lapsed(self, now: float) -> bool:
        """Say whether the newest chunk must not be played any more."""
        return not now < self._until

    def lost(self, now: float) -> bool:
        """Say whether that has been so for too long."""
        return not now < self._until + CHUNK_FAULT

    def lapsed_span(self, now: float) -> float:
        """Return s since then; inf: there was none."""
        return now - self._until

    def chunk_age(self, now: float) -> float:
        """Return s since the newest chunk arrived; NaN: none."""
        return now - self._arrived

    def observation_age(self, now: float) -> float:
        """Return s since its observation; NaN: none."""
        return now - self._observed

    @property
    def playable(self) -> bool:
        """Say whether the newest chunk was valid."""
        return not self._void
