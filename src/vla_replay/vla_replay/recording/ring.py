"""The last seconds, in memory."""

from collections import deque
from collections.abc import Callable

from vla_replay.bag.latched import Latched
from vla_replay.bag.topics import Message, Topic
from vla_replay.recording.queue import OVERHEAD


class Ring:
    """Keeps the newest messages, bounded by time and by bytes.

    The time is that of their arrival, which is monotonic: stamps follow a clock that may be set.
    Of a latched topic the newest message that fell out is kept too, of transforms that of each
    frame: it is still true.
    """

    def __init__(
        self,
        seconds: float,
        max_bytes: int,
        topic: Callable[[str], Topic] = lambda name: Topic(name, ''),
    ) -> None:
        """Begin with nothing.

        Args:
            seconds: kept.
            max_bytes: kept at most.
            topic: returns the topic of a name.
        """
        self._span = seconds
        self._max = max_bytes
        self._topic = topic
        # When it came, itself.
        self._messages: deque[tuple[float, Message]] = deque()
        self._before = Latched()
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
            topic = self._topic(oldest.topic)
            if topic.latched:
                self._before.add(oldest, topic)

    def contents(self) -> list[Message]:
        """Return what is kept; first what latched topics said before, with the first stamp."""
        if not self._messages:
            return self._before.messages()
        kept = [message for _, message in self._messages]
        begin = kept[0].stamp_ns
        before = [Message(one.topic, begin, one.data) for one in self._before.messages()]
        return before + kept
