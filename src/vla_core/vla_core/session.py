"""The life of an instruction, from the text to its end; pure, time injected.

Every `now` is in s on the clock that judges ages. Methods return the records to publish, in order.
"""

from collections import deque
from dataclasses import dataclass, replace
import enum
import math

from vla_core.errors import ObservationError
from vla_core.text import clean_text, is_stop_word
from vla_core.types import Intent, Language, Status

#: A robot is at rest below these (docs/reference/safety.md).
STILL_SPEED = 0.02
STILL_TURN_RATE = 0.05
#: The termination head speaks above this.
DONE_THRESHOLD = 0.5
#: A search turns on the spot; this speed over this distance is driving, and ends it.
DRIVING_SPEED = 0.05
DRIVING_DISTANCE = 0.25
#: rad/s; one sample that says more, a broken number, must not pass for turns.
FASTEST_TURN = 10.0
#: Texts within a second, stop words apart; the next one is refused: each costs an encoding.
MOST_TEXTS = 50
#: Older odometry counts as none: then what was commanded is integrated instead.
ODOM_TIMEOUT = 0.5
#: The termination head speaks for less than this after an answer; so one answer is never enough.
ANSWER_TIMEOUT = 0.5


class Source(enum.IntEnum):
    """Where a text came from; the numbers of Instruction.SOURCE_*."""

    TOPIC = 0
    ACTION = 1


class Fate(enum.IntEnum):
    """What became of a text; the numbers of Instruction.STATUS_*, which begin with Status."""

    IDLE = 0
    RUNNING = 1
    DONE = 2
    NOT_FOUND = 3
    REFUSED = 4
    TIMED_OUT = 5
    MALFORMED = 6
    REPLACED = 7
    STOPPED = 8


@dataclass(frozen=True)
class Record:
    """One publication on `vla/instruction`; fields as in the message."""

    id: int
    text: str
    fate: Fate
    reason: str
    source: Source = Source.TOPIC
    source_stamp: int = 0


@dataclass(frozen=True)
class Times:
    """How long things may take, in s and rad."""

    instruction: float = 120.0
    motion: float = 10.0
    search: float = 60.0
    search_angle: float = 4 * math.pi
    rest: float = 0.5


_TIMES = Times()


@dataclass(frozen=True)
class Heard:
    """Answer to a text.

    Attributes:
        id: its id; 0 if it is malformed.
        records: to publish now.
        text: what the policy must encode before anything else happens; None: nothing.
    """

    id: int
    records: tuple[Record, ...]
    text: str | None = None


@dataclass(frozen=True)
class _Instruction:
    id: int
    text: str
    source: Source
    source_stamp: int
    began: float
    limit: float
    intent: Intent = Intent.REFUSED

    def record(self, fate: Fate, reason: str) -> Record:
        return Record(self.id, self.text, fate, reason, self.source, self.source_stamp)


class _Search:
    """How far the robot turned, and for how long it did, since it last drove anywhere."""

    def __init__(self, now: float) -> None:
        self.seconds = 0.0
        self._then = now
        self._yaw = self._least = self._most = self._driven = 0.0

    @property
    def turned(self) -> float:
        """Largest net turn in one direction, rad."""
        return self._most - self._least

    def move(self, now: float, speed: float, turn_rate: float) -> None:
        # A gap in the input is not taken for one long turn.
        span = min(max(now - self._then, 0.0), 0.2)
        self._then = now
        self._yaw += min(max(turn_rate, -FASTEST_TURN), FASTEST_TURN) * span
        self._least, self._most = min(self._least, self._yaw), max(self._most, self._yaw)
        # A robot that stands still, unarmed perhaps, does not search.
        if abs(turn_rate) >= STILL_TURN_RATE:
            self.seconds += span
        if abs(speed) >= DRIVING_SPEED:
            self._driven += abs(speed) * span
        if self._driven >= DRIVING_DISTANCE:
            self.seconds = 0.0
            self._yaw = self._least = self._most = self._driven = 0.0


class Session:
    """Knows which instruction is obeyed, with which status, and when that ends."""

    def __init__(self, times: Times = _TIMES) -> None:
        """Start idle and not yet active: texts are refused until `activate`."""
        self._times = times
        self._active = False
        self._heard: deque[float] = deque(maxlen=MOST_TEXTS)
        self._last_id = 0
        self._status = Status.IDLE
        self._current: _Instruction | None = None
        self._pending: _Instruction | None = None
        self._search = _Search(0.0)
        self._odom_at: float | None = None
        self._resting_since: float | None = None
        self._done_since: float | None = None
        self._answered_at = 0.0

    @property
    def status(self) -> Status:
        """Status of the chunks."""
        return self._status

    @property
    def instruction_id(self) -> int:
        """Id that the chunks carry: of the newest text that took effect; 0 before any."""
        return self._current.id if self._current is not None else 0

    @property
    def pending_id(self) -> int:
        """Id of the text that waits for the policy's encoding; 0 if none does. No chunks then."""
        return self._pending.id if self._pending is not None else 0

    @property
    def pending_text(self) -> str:
        """The text that waits; empty if none does."""
        return self._pending.text if self._pending is not None else ''

    @property
    def text(self) -> str:
        """What the chunks obey; empty before any text."""
        return self._current.text if self._current is not None else ''

    @property
    def still(self) -> bool:
        """Whether the chunks are zero."""
        return self._status is not Status.RUNNING or self._done_since is not None

    def elapsed(self, now: float) -> float:
        """Return s since the newest text that took effect."""
        return now - self._current.began if self._current is not None else 0.0

    def activate(self) -> None:
        """Obey texts from now on."""
        self._active = True

    def deactivate(self, reason: str) -> tuple[Record, ...]:
        """End what is being done and refuse texts from now on."""
        self._active = False
        return self._end(Fate.STOPPED, reason, Status.IDLE)

    def hear(
        self,
        now: float,
        raw: str,
        source: Source = Source.TOPIC,
        source_stamp: int = 0,
        deadline: float = 0.0,
    ) -> Heard:
        """Take a text in; it replaces what is being done unless it is malformed.

        Args:
            now: s.
            raw: the text as it came.
            source: where it came from.
            source_stamp: ns, the middleware's source timestamp; 0 for goals.
            deadline: s after which it times out, at most the instruction timeout; 0: that.
        """
        try:
            text = clean_text(raw)
            stops = is_stop_word(text)
            if not stops:
                self._admit(now)
            if not 0.0 <= deadline <= self._times.instruction:
                raise ObservationError(
                    f'deadline {deadline} s: expected 0 to {self._times.instruction:g} s'
                )
        except ObservationError as error:
            # The text is left out: what is recorded can stop the robot.
            return Heard(0, (Record(0, '', Fate.MALFORMED, str(error), source, source_stamp),))
        self._last_id += 1
        limit = deadline or self._times.instruction
        heard = _Instruction(self._last_id, text, source, source_stamp, now, limit)
        if stops:
            ended = self._end(Fate.STOPPED, f'stopped by {text!r}', Status.IDLE)
            self._current = heard
            return Heard(heard.id, (*ended, heard.record(Fate.IDLE, 'stop word')))
        if not self._active:
            return Heard(heard.id, self._refuse(heard, 'the policy is not active'))
        ended = self._end(Fate.REPLACED, f'replaced by {text!r}', Status.IDLE)
        self._pending = heard
        return Heard(heard.id, ended, text)

    def _admit(self, now: float) -> None:
        """Refuse a flood.

        Raises:
            ObservationError: if this text is one too many within a second.
        """
        if len(self._heard) == MOST_TEXTS and 0.0 <= now - self._heard[0] < 1.0:
            raise ObservationError(f'more than {MOST_TEXTS} texts within a second')
        self._heard.append(now)

    def understood(
        self, now: float, instruction_id: int, language: Language
    ) -> tuple[Record, ...]:
        """Take the policy's encoding of the pending text; anything older is ignored."""
        pending = self._pending
        if pending is None or pending.id != instruction_id:
            return ()
        self._pending = None
        if language.intent is Intent.REFUSED:
            return self._refuse(pending, 'the policy does not understand the text')
        self._current = replace(pending, intent=language.intent)
        self._status = Status.RUNNING
        self._search = _Search(now)
        self._done_since = None
        return (pending.record(Fate.RUNNING, ''),)

    def not_understood(self, instruction_id: int, reason: str) -> tuple[Record, ...]:
        """Refuse the pending text because its encoding failed; anything older is ignored."""
        pending = self._pending
        if pending is None or pending.id != instruction_id:
            return ()
        self._pending = None
        return self._refuse(pending, reason)

    def odometry(self, now: float, speed: float, turn_rate: float) -> None:
        """Take what the robot really does, in m/s and rad/s.

        Raises:
            ObservationError: if a number is not finite.
        """
        if not (math.isfinite(speed) and math.isfinite(turn_rate)):
            raise ObservationError(
                f'odometry {speed} m/s, {turn_rate} rad/s: expected finite numbers'
            )
        if not self._odom_fresh(now):
            self._resting_since = None
        self._odom_at = now
        if abs(speed) < STILL_SPEED and abs(turn_rate) < STILL_TURN_RATE:
            if self._resting_since is None:
                self._resting_since = now
        else:
            self._resting_since = None
        self._search.move(now, speed, turn_rate)

    def predicted(self, now: float, done: float, speed: float, turn_rate: float) -> None:
        """Take the policy's word on one frame of the current instruction.

        Args:
            now: s.
            done: probability that the instruction is fulfilled.
            speed: m/s that its actions ask for; used where there is no odometry.
            turn_rate: rad/s that they ask for.
        """
        self._answered_at = now
        if done > DONE_THRESHOLD:
            if self._done_since is None:
                self._done_since = now
            speed = turn_rate = 0.0
        else:
            self._done_since = None
        if not self._odom_fresh(now):
            self._search.move(now, speed, turn_rate)

    def unanswered(self) -> None:
        """Note that the policy failed on a frame: the termination head is silent."""
        self._done_since = None

    def advance(self, now: float) -> tuple[Record, ...]:
        """End the instruction if it is fulfilled, hopeless or too old."""
        current, pending = self._current, self._pending
        if pending is not None and now - pending.began >= pending.limit:
            self._current = pending
            return self._end(Fate.TIMED_OUT, 'the policy did not answer', Status.TIMED_OUT)
        if self._status is not Status.RUNNING or current is None:
            return ()
        times = self._times
        age = now - current.began
        if self._at_rest(now):
            return self._end(Fate.DONE, 'fulfilled, at rest', Status.DONE)
        if age >= current.limit:
            return self._end(Fate.TIMED_OUT, f'not done in {current.limit:g} s', Status.TIMED_OUT)
        if current.intent is Intent.MOTION:
            if age >= times.motion:
                return self._end(Fate.DONE, f'motion of {times.motion:g} s is over', Status.DONE)
            return ()
        if self._search.turned >= times.search_angle:
            reason = f'not seen in {self._search.turned:.1f} rad of turning'
            return self._end(Fate.NOT_FOUND, reason, Status.NOT_FOUND)
        if self._search.seconds >= times.search:
            reason = f'not seen in {times.search:g} s of searching'
            return self._end(Fate.NOT_FOUND, reason, Status.NOT_FOUND)
        return ()

    def _odom_fresh(self, now: float) -> bool:
        return self._odom_at is not None and now - self._odom_at <= ODOM_TIMEOUT

    def _at_rest(self, now: float) -> bool:
        if self._done_since is None or not now - self._answered_at < ANSWER_TIMEOUT:
            return False
        since = self._done_since
        if self._odom_fresh(now):
            if self._resting_since is None:
                return False
            since = max(since, self._resting_since)
        return now - since >= self._times.rest

    def _refuse(self, refused: _Instruction, reason: str) -> tuple[Record, ...]:
        ended = self._end(Fate.REPLACED, f'replaced by {refused.text!r}', Status.REFUSED)
        self._current = refused
        return (*ended, refused.record(Fate.REFUSED, reason))

    def _end(self, fate: Fate, reason: str, status: Status) -> tuple[Record, ...]:
        """End what runs or is pending; `status` is that of the chunks until the next text."""
        records = []
        if self._status is Status.RUNNING and self._current is not None:
            records.append(self._current.record(fate, reason))
        if self._pending is not None:
            records.append(self._pending.record(fate, reason))
        self._pending = None
        self._done_since = None
        self._status = status
        return tuple(records)
