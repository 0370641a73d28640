"""The last seconds, in memory."""

from collections import deque
from collections.abc import Callable

from vla_replay.bag.topics import Message
from vla_replay.recording.queue import OVERHEAD


class Ring:
    """Keeps the newest messages, bounded by time and by bytes.

    The time is that of their arrival, which is monotonic: stamps follow a clock that may be set.
    Of a latched topic the newest message that fell out is kept too: it is still true.
    """

    def __init__(
        self, seconds: float, max_bytes: int, latched: Callable[[str], bool] = lambda name: False
    ) -> None:
        """Begin with nothing.

        Args:
            seconds: kept.
            max_bytes: kept at most.
            latched: whether a topic is latched.
        """
        self._span = seconds
        self._max = max_bytes
        self._latched = latched
        # When it came, itself.
        self._messages: deque[tuple[float, Message]] = deque()
        self._before: dict[str, Message] = {}
        self._bytes = 0

    @property
    def held(self) -> int:
        """Bytes kept."""
        return self._bytes

    def add(self, message: Message, now: float) -> None:
        """Keep a message that came at monotonic `now`, s; the oldest give way."""
        self._messages.append((now, message))
        self._bytes += len(message.data) + OVERHEAD
        while self._messages and (
            self._bytes > self._max or self._messages[0][0] < now - self._span
        ):
            _, oldest = self._messages.popleft()
            self._bytes -= len(oldest.data) + OVERHEAD
            if self._latched(oldest.topic):
                self._before[oldest.topic] = oldest

    def contents(self) -> list[Message]:
        """Return what is kept; first what latched topics said before, with the first stamp."""
        if not self._messages:
            return list(self._before.values())
        kept = [message for _, message in self._messages]
        begin = kept[0].stamp_ns
        before = [Message(one.topic, begin, one.data) for one in self._before.values()]
        return before + kept
