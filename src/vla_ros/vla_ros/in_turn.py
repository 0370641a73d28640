"""An executor that serves everybody in turn, for a fraction of what rclpy's own costs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from importlib import metadata
from typing import Any

from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.task import Future, Task

#: What a node calls its entities, and what a wait set calls them, in the order of service.
_KINDS = {
    'timers': 'timer',
    'subscriptions': 'subscription',
    'guards': 'guard_condition',
    'clients': 'client',
    'services': 'service',
}
#: What a wait set is made for, in the order of its arguments.
_COUNTED = ('subscription', 'guard_condition', 'timer', 'client', 'service', 'event')
#: Jazzy's rclpy, whose inner parts InTurnExecutor knows; they change from one to the next.
_KNOWN = '7.'


def in_turn_executor(context: Context | None = None) -> SingleThreadedExecutor:
    """Make an InTurnExecutor, or rclpy's own where its parts are not those of Jazzy."""
    try:
        known = metadata.version('rclpy').startswith(_KNOWN)
    except metadata.PackageNotFoundError:
        known = False
    return (InTurnExecutor if known else SingleThreadedExecutor)(context=context)


class InTurnExecutor(SingleThreadedExecutor):
    """Wait, then serve once each entity that is ready, and only then wait again.

    SingleThreadedExecutor does that too. But it makes its wait set anew for every look, and each
    of its handlers wakes it twice, whereupon it looks again in vain. Here everything happens in
    one thread, so nobody is to be woken, and the wait set is made when an entity comes or goes.

    An entity that is destroyed lives until the next wait, or until `shutdown`, which must come
    from the thread that spins, or after it. A callback that awaits something does not hold up the
    others of its callback group.
    """

    def __init__(self, *, context: Context | None = None) -> None:
        """Serve the nodes that will be added.

        Args:
            context: of those nodes; the process's own by default.
        """
        super().__init__(context=context)
        self._tasks: list[Any]
        self._ready: deque[tuple[Callable[[Any], Any], Any]] = deque()
        self._known: dict[str, list[Any]] = {}
        self._usable: dict[str, list[Any]] = {}
        self._held = ExitStack()
        self._wait_set: Any = None

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Serve one entity that is ready; wait if none is, until one is or something else wakes.

        Args:
            timeout_sec: longest wait, s; None: as long as it takes.

        Raises:
            ExternalShutdownException: if the context was shut down.
            Exception: whatever the callback raised.
        """
        if self._is_shutdown:
            return
        self._go_on()
        if not self._ready:
            self._wait(-1 if timeout_sec is None else int(timeout_sec * 1e9))
        while self._ready:
            take, entity = self._ready.popleft()
            execute = self._unless_destroyed(take, entity)
            if execute is not None:
                self._run(Task(execute, executor=self))
                return
            # It may be gone without its node's knowledge: look at every one before the next wait.
            self._known = {}

    def spin_once_until_future_complete(self, future: Future, timeout_sec: Any = None) -> None:
        """Do the same, but return at once when the future is done."""
        if not future.done():
            future.add_done_callback(lambda _: self.wake())
            self.spin_once(getattr(timeout_sec, 'timeout', timeout_sec))

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Let go of all entities."""
        self._held.close()
        self._ready.clear()
        self._known, self._usable, self._wait_set = {}, {}, None
        return bool(super().shutdown(timeout_sec))

    def _go_on(self) -> None:
        """Continue what awaits something, as a goal in execution may."""
        for _ in range(len(self._tasks)):
            with self._tasks_lock:
                if not self._tasks:
                    return
                task, *_ = self._tasks.pop(0)
            self._run(task)
            if task.done():
                # Another one may have waited for it.
                self.wake()

    def _run(self, task: Task) -> None:
        task()
        if not (task.done() or task.cancelled()):
            with self._tasks_lock:
                self._tasks.append((task, None, None))
        elif task.exception() is not None:
            raise task.exception()

    def _take_timer(self, timer: Any) -> Any:
        # It may have been cancelled since it was due.
        return super()._take_timer(timer) if timer.handle.is_timer_ready() else None

    @staticmethod
    def _unless_destroyed(take: Callable[[Any], Any], entity: Any) -> Any:
        try:
            return take(entity)
        except rclpy_implementation.InvalidHandle:
            return None

    def _wait(self, timeout_ns: int) -> None:
        self._require_context()
        self._look_for_changes()
        wait_set, entities = self._wait_set, self._usable
        wait_set.clear_entities()
        for kind, name in _KINDS.items():
            add = getattr(wait_set, f'add_{name}')
            for one in entities[kind]:
                add(one.handle)
        for guard in (self._guard, self._sigint_gc):
            wait_set.add_guard_condition(guard.handle)
        try:
            for one in entities['waitables']:
                one.add_to_wait_set(wait_set)
        except rclpy_implementation.InvalidHandle:
            self._known = {}  # without the one that is gone, next time
            return
        wait_set.wait(timeout_ns)
        self._require_context()
        for kind, name in _KINDS.items():
            ready = wait_set.get_ready_entities(name)
            if ready:
                take = getattr(self, f'_take_{name}')
                due = (one for one in entities[kind] if one.handle.pointer in ready)
                self._ready.extend((take, one) for one in due)
        waitables = (one for one in entities['waitables'] if one.is_ready(wait_set))
        self._ready.extend((self._take_waitable, one) for one in waitables)

    def _require_context(self) -> None:
        if not self.context.ok():
            raise ExternalShutdownException

    def _look_for_changes(self) -> None:
        entities = {
            kind: [one for node in self.get_nodes() for one in getattr(node, kind)]
            for kind in (*_KINDS, 'waitables')
        }
        if entities != self._known:
            self._hold(entities)

    def _hold(self, entities: dict[str, list[Any]]) -> None:
        """Keep entities alive while they may be waited for, and make a wait set of that size."""
        self._known = {}
        self._held.close()
        self._usable = {
            kind: [
                one for one in found if self._can_hold(one if kind == 'waitables' else one.handle)
            ]
            for kind, found in entities.items()
        }
        counts = dict.fromkeys(_COUNTED, 0)
        for kind, name in _KINDS.items():
            counts[name] = len(self._usable[kind])
        counts['guard_condition'] += 2  # those of the executor itself
        for one in self._usable['waitables']:
            parts = one.get_num_entities()
            for name in _COUNTED:
                counts[name] += getattr(parts, f'num_{name}s')
        self._wait_set = rclpy_implementation.WaitSet(*counts.values(), self.context.handle)
        self._known = entities

    def _can_hold(self, one: Any) -> bool:
        """Hold it, unless it is destroyed and its node does not know."""
        try:
            self._held.enter_context(one)
        except rclpy_implementation.InvalidHandle:
            return False
        return True
