"""What waits for the disk: bounded by bytes, and what does not fit is counted."""

from collections import deque
from collections.abc import Callable
import threading

from vla_replay.bag.topics import Message

#: Bytes from which a message is large; large ones leave room for the others, which are worth more.
LARGE = 1 << 16
_SHARE = 0.75
#: Bytes that a message occupies beside its data.
OVERHEAD = 200


class Queue:
    """Between the callbacks, which never wait, and the one thread that writes."""

    def __init__(self, max_bytes: int) -> None:
        """Begin with nothing.

        Args:
            max_bytes: of messages that wait; a large one may take three quarters of it.
        """
        self._max = max_bytes
        self._items: deque[Message | Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._bytes = 0
        self._dropped: dict[str, int] = {}

    @property
    def held(self) -> int:
        """Bytes that wait."""
        return self._bytes

    @property
    def dropped(self) -> dict[str, int]:
        """Topic -> messages that did not fit."""
        with self._changed:
            return dict(self._dropped)

    def put(self, message: Message) -> None:
        """Hand a message over, or drop and count it."""
        size = len(message.data) + OVERHEAD
        with self._changed:
            limit = self._max if size < LARGE else _SHARE * self._max
            if self._closed or self._bytes + size > limit:
                self._dropped[message.topic] = self._dropped.get(message.topic, 0) + 1
                return
            self._bytes += size
            self._items.append(message)
            self._changed.notify()

    def call(self, work: Callable[[], None]) -> None:
        """Have something done by the thread that writes, in its turn."""
        with self._changed:
            if not self._closed:
                self._items.append(work)
                self._changed.notify()

    def take(self, timeout: float) -> Message | Callable[[], None] | None:
        """Return the oldest item; None: nothing came within `timeout` s, or ever will."""
        with self._changed:
            if not self._items and not self._closed:
                self._changed.wait(timeout)
            if not self._items:
                return None
            item = self._items.popleft()
            if isinstance(item, Message):
                self._bytes -= len(item.data) + OVERHEAD
            return item

    def close(self) -> None:
        """Accept nothing more; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    @property
    def ended(self) -> bool:
        """Whether nothing will come any more."""
        return self._closed and not self._items
