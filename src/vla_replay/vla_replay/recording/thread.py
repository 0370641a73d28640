"""The one thread that converts and writes, so that callbacks never wait for a disk."""

from collections.abc import Callable
import logging
import threading
import time

from vla_replay.bag.topics import Message
from vla_replay.recording.clocks import Clocks
from vla_replay.recording.queue import Queue
from vla_replay.recording.recorders import CHECK, DROPPED, Recorder, words

#: s between two looks at the time while nothing comes.
_PATIENCE = 0.1
_LOGGER = logging.getLogger(__name__)


class WritingThread:
    """Takes messages from a queue, converts them and hands them to a recorder."""

    def __init__(
        self,
        queue: Queue,
        recorder: Recorder,
        convert: Callable[[Message], Message],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        """Start.

        Args:
            queue: where messages and work come from.
            recorder: where they go.
            convert: makes of a message what is recorded.
            clock: monotonic, s.
            wall: gives the stamps, ns.
        """
        self._queue, self._recorder = queue, recorder
        self._convert, self._clock = convert, clock
        self._clocks = Clocks(clock, wall)
        self._note_at = float('-inf')
        self._thread = threading.Thread(target=self._run, name='writing', daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, finish the bag, end."""
        self._queue.close()
        self._thread.join()

    def _run(self) -> None:
        while not self._queue.ended:
            item = self._queue.take(_PATIENCE)
            try:
                if isinstance(item, Message):
                    self._recorder.add(self._convert(item), self._clock())
                elif item is not None:
                    item()
                self._poll()
            except Exception:  # one message must not end a recording
                _LOGGER.exception('a message was not recorded')
        try:
            self._note_drops()
            self._recorder.close()
        except Exception as error:  # else nobody would know that the bag is not whole
            _LOGGER.exception('the bag was not finished')
            self._recorder.status.error = f'{type(error).__name__}: {error}'

    def _poll(self) -> None:
        now = self._clock()
        jump = self._clocks.look()
        if jump is not None:
            _LOGGER.warning('the clock was set %s: replay and conversion refuse that', jump)
            self._recorder.clock_set(jump, now)
        if now >= self._note_at:
            self._note_at = now + CHECK
            self._note_drops()
        self._recorder.poll(now)

    def _note_drops(self) -> None:
        dropped = self._queue.dropped
        if dropped:
            self._recorder.note(DROPPED, words(dropped))
