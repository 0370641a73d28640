"""From another thread into the thread that spins the node."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from rclpy.node import Node

ItemT = TypeVar('ItemT')


class Mailbox(Generic[ItemT]):
    """What another thread puts in, the node's executor takes out, in order and at once."""

    def __init__(self, node: Node, take: Callable[[ItemT], None]) -> None:
        """Call `take` in the executor's thread for every item."""
        self._items: deque[ItemT] = deque()
        self._take = take
        self._wake = node.create_guard_condition(self._empty)

    def put(self, item: ItemT) -> None:
        """Hand an item over; from any thread."""
        self._items.append(item)
        self._wake.trigger()

    def _empty(self) -> None:
        while self._items:
            self._take(self._items.popleft())
