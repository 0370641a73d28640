"""What other threads ask of a recorder, done by the thread that writes."""

from collections.abc import Callable
import time

from vla_replay.recording.queue import Queue
from vla_replay.recording.recorders import Recorder


class Desk:
    """Passes requests on, in their turn between the messages."""

    def __init__(
        self, queue: Queue, recorder: Recorder, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Pass on to `recorder` through `queue`; `clock` says when something was asked, s."""
        self._queue, self._recorder, self._clock = queue, recorder, clock

    def attach(self, name: str, data: bytes) -> None:
        """Store a file beside the messages."""
        self._queue.call(lambda: self._recorder.attach(name, data))

    def note(self, key: str, value: str) -> None:
        """Store a fact."""
        self._queue.call(lambda: self._recorder.note(key, value))

    def trigger(self, reason: str, *, often: bool = False) -> None:
        """Ask for the last seconds; `often`: unless they are in a bag already."""
        now = self._clock()
        self._queue.call(lambda: self._recorder.trigger(reason, now, often=often))
