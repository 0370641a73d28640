"""The last seconds, in memory."""

from collections import deque
from collections.abc import Callable

from vla_replay.bag.topics import Message
from vla_replay.recording.queue import OVERHEAD


class Ring:
    """Keeps the newest messages, bounded by time and by bytes.

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
        self._span = round(seconds * 1e9)
        self._max = max_bytes
        self._latched = latched
        self._messages: deque[Message] = deque()
        self._before: dict[str, Message] = {}
        self._bytes = 0
        self._newest = 0

    @property
    def held(self) -> int:
        """Bytes kept."""
        return self._bytes

    def add(self, message: Message) -> None:
        """Keep a message; the oldest give way."""
        self._messages.append(message)
        self._bytes += len(message.data) + OVERHEAD
        self._newest = max(self._newest, message.stamp_ns)
        while self._messages and (
            self._bytes > self._max or self._messages[0].stamp_ns < self._newest - self._span
        ):
            oldest = self._messages.popleft()
            self._bytes -= len(oldest.data) + OVERHEAD
            if self._latched(oldest.topic):
                self._before[oldest.topic] = oldest

    def contents(self) -> list[Message]:
        """Return what is kept; first what latched topics said before, with the first stamp."""
        if not self._messages:
            return list(self._before.values())
        begin = self._messages[0].stamp_ns
        before = [Message(one.topic, begin, one.data) for one in self._before.values()]
        return before + list(self._messages)
