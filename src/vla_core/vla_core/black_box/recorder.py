"""The ring of the last seconds, and when it is worth a file. Pure; time is injected."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from vla_core.black_box.record import line_of, Note, Step
from vla_core.gate.causes import MOVING, State

#: s before the trigger.
SPAN = 10.0
#: s after it, with which the file is written a second time.
AFTERMATH = 1.0
#: s without a decision, in a state that can move, after which the gate is taken for dead.
SILENCE = 0.5
#: Bytes of lines, whatever arrives: 11 s hold 0.5 MB at 50 Hz and 2 MB at the 200 Hz of a storm.
MAX_BYTES = 4 << 20
#: Bytes of one line that is kept; longer ones come from no gate of ours.
MAX_LINE = 4096
_MOVING = frozenset(state.name for state in MOVING)
_LATCHED = frozenset({State.ESTOP.name, State.FAULT.name})


@dataclass(frozen=True)
class Snapshot:
    """What belongs into one file.

    Attributes:
        name: of the file without suffix, robot-when; a second snapshot of one name replaces the
            first.
        trigger: why.
        stamp_ns: ROS time of the trigger.
        lines: without the header.
    """

    name: str
    trigger: str
    stamp_ns: int
    lines: tuple[bytes, ...]


class Recorder:
    """Keeps the last seconds and says when they must be written.

    Triggers: the gate enters ESTOP or FAULT; it falls silent in a state that can move the robot;
    this process ends while the gate is in such a state.
    """

    def __init__(
        self, name: Callable[[], str], span: float = SPAN, max_bytes: int = MAX_BYTES
    ) -> None:
        """Start with nothing.

        Args:
            name: makes a new file name for every trigger.
            span: s kept before a trigger.
            max_bytes: of lines kept.
        """
        self._name = name
        self._span = span
        self._max_bytes = max_bytes
        # When it was heard, its line.
        self._lines: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._state = ''
        self._heard = 0.0
        self._stamp_ns = 0
        self._silent = False
        # Of the trigger whose aftermath is awaited: when it happened, name, reason, stamp.
        self._pending: tuple[float, str, str, int] | None = None
        self.skipped = 0

    @property
    def held(self) -> int:
        """Lines in memory."""
        return len(self._lines)

    def step(self, now: float, step: Step) -> Snapshot | None:
        """Keep a decision, heard at monotonic `now`; return what must be written, if anything."""
        self._keep(now, line_of(step))
        before, self._state = self._state, step.state
        self._heard, self._stamp_ns, self._silent = now, step.stamp_ns, False
        # A gate that was found latched has no past here.
        if before and step.state in _LATCHED and before != step.state:
            return self._trigger(now, f'{step.state}: {step.cause}')
        return None

    def note(self, now: float, note: Note) -> None:
        """Keep an event."""
        self._keep(now, line_of(note))

    def poll(self, now: float) -> Snapshot | None:
        """Return what time alone makes due: the aftermath of a trigger, or a dead gate."""
        if self._pending is not None and now - self._pending[0] >= AFTERMATH:
            _, name, trigger, stamp_ns = self._pending
            self._pending = None
            return self._snapshot(name, trigger, stamp_ns)
        if self._state in _MOVING and not self._silent and now - self._heard > SILENCE:
            self._silent = True
            return self._trigger(now, f'SILENT: no decision for {SILENCE} s in {self._state}')
        return None

    def close(self, name: str) -> Snapshot | None:
        """Return what must be written before the process ends: a gate that could still move."""
        if self._pending is not None:
            _, name, trigger, stamp_ns = self._pending
            return self._snapshot(name, trigger, stamp_ns)
        if self._state in _MOVING and not self._silent:
            return self._snapshot(name, f'ENDED: in {self._state}', self._stamp_ns)
        return None

    def _trigger(self, now: float, reason: str) -> Snapshot:
        name = self._name()
        self._pending = (now, name, reason, self._stamp_ns)
        return self._snapshot(name, reason, self._stamp_ns)

    def _snapshot(self, name: str, trigger: str, stamp_ns: int) -> Snapshot:
        return Snapshot(name, trigger, stamp_ns, tuple(line for _, line in self._lines))

    def _keep(self, now: float, line: bytes) -> None:
        if len(line) > MAX_LINE:
            self.skipped += 1
            return
        self._lines.append((now, line))
        self._bytes += len(line)
        oldest = now - self._span - AFTERMATH
        while self._lines[0][0] < oldest or self._bytes > self._max_bytes:
            self._bytes -= len(self._lines.popleft()[1])
