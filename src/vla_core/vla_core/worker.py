"""One thread owns the model: the newest input waits, errors are values, a hang is survived.

The worker knows nothing of policies. It calls a factory in its own thread and feeds what the
factory made. A model whose native calls hold the GIL needs a process of its own: its handler is
then a proxy that talks to that process, and nothing here or above changes.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
import enum
import logging
import threading
import time
from typing import Generic, Protocol, TypeVar

from vla_core.errors import VlaError

_logger = logging.getLogger(__name__)

ItemT = TypeVar('ItemT')
ResultT = TypeVar('ResultT')
ItemIn = TypeVar('ItemIn', contravariant=True)
ResultOut = TypeVar('ResultOut', covariant=True)


class Handler(Protocol[ItemIn, ResultOut]):
    """What the factory makes; it lives and dies in the worker's thread."""

    def handle(self, item: ItemIn) -> ResultOut:
        """Turn one input into a result; whatever it raises becomes an outcome's error."""
        ...

    def close(self) -> None:
        """Release the model."""
        ...


@dataclass(frozen=True)
class Outcome(Generic[ItemT, ResultT]):
    """What became of one input: exactly one of `result` and `error` is set.

    Attributes:
        item: the input.
        result: what the handler returned.
        error: what it raised.
        seconds: time spent on it.
    """

    item: ItemT
    result: ResultT | None
    error: Exception | None
    seconds: float


class Activity(enum.Enum):
    """What the worker is doing."""

    WAITING = 'waiting'
    BUSY = 'busy'


class Incident(enum.Enum):
    """What `supervise` found or did."""

    HUNG = 'hung'
    RESTARTED = 'restarted'
    GAVE_UP = 'gave up'


class RestartBudget:
    """How soon and how often a hung worker may be started again (docs/reference/safety.md)."""

    DELAYS = (1.0, 2.0, 4.0)
    WINDOW = 600.0

    def __init__(self) -> None:
        """Start with the whole budget."""
        self._used: list[float] = []

    def take(self, now: float) -> float | None:
        """Return the s to wait before the next restart, or None if the budget is spent."""
        self._used = [moment for moment in self._used if now - moment < self.WINDOW]
        if len(self._used) == len(self.DELAYS):
            return None
        self._used.append(now)
        return self.DELAYS[len(self._used) - 1]


class _Life(Generic[ItemT, ResultT]):
    """One thread with its handler, from the factory to the end; abandoned if it hangs."""

    def __init__(self, began: float, run: 'Callable[[_Life[ItemT, ResultT]], None]') -> None:
        # A hung thread can only be left behind; as a daemon it does not keep the process alive.
        self.thread = threading.Thread(target=run, args=(self,), name='model', daemon=True)
        self.waiting: deque[tuple[str, ItemT]] = deque()
        self.loaded = False
        self.failure: Exception | None = None
        self.closing = False
        self.abandoned = False
        self.busy_since: float | None = began
        self.idle_since = began


class LatestWorker(Generic[ItemT, ResultT]):
    """Runs a handler in a thread of its own, on the newest input of each lane.

    An input that arrives while the handler works waits; a newer one of the same lane takes its
    place, so that latency never queues up. `deliver` is called in the worker's thread.
    """

    def __init__(
        self,
        factory: Callable[[], Handler[ItemT, ResultT]],
        deliver: Callable[[Outcome[ItemT, ResultT]], None],
        *,
        every_item: bool = False,
        hang_timeout: float = 2.0,
        load_timeout: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; `start` makes the thread.

        Args:
            factory: makes the handler; called in the worker's thread, again after a hang.
            deliver: takes every outcome; must return at once and not raise.
            every_item: process every input in order and drop none (lock-step).
            hang_timeout: s in one `handle` after which `supervise` gives the thread up.
            load_timeout: s in one `factory` call before the same.
            clock: monotonic, s.
        """
        self._factory = factory
        self._deliver = deliver
        self._every_item = every_item
        self._hang_timeout = hang_timeout
        self._load_timeout = load_timeout
        self._clock = clock
        self._condition = threading.Condition()
        self._budget = RestartBudget()
        self._life: _Life[ItemT, ResultT] | None = None
        self._restart_at: float | None = None
        self._troubled_since: float | None = None
        self._progress = 0
        self._dropped = 0

    @property
    def progress(self) -> int:
        """Inputs finished, well or badly, since the start."""
        return self._progress

    @property
    def dropped(self) -> int:
        """Inputs that a newer one replaced, or that a hung thread took with it."""
        return self._dropped

    def activity(self) -> tuple[Activity, float]:
        """Return what the worker does, for how many s; BUSY from a hang until it works again."""
        with self._condition:
            # Inside: a moment from before the lock could be older than what it is compared with.
            now = self._clock()
            life = self._life
            if self._troubled_since is not None:
                return Activity.BUSY, now - self._troubled_since
            if life is None:
                return Activity.WAITING, 0.0
            if life.busy_since is not None:
                return Activity.BUSY, now - life.busy_since
            return Activity.WAITING, now - life.idle_since

    def start(self, timeout: float | None = None) -> None:
        """Make the thread and wait until its handler is there.

        Args:
            timeout: s to wait; the load timeout by default.

        Raises:
            VlaError: if the factory does not return in time.
            Exception: what the factory raised.
        """
        limit = self._load_timeout if timeout is None else timeout
        with self._condition:
            life = self._new_life()
            done = self._condition.wait_for(lambda: life.loaded or life.failure, limit)
            if not life.loaded:
                self._abandon(life)
        if life.failure is not None:
            raise life.failure
        if not done:
            raise VlaError(f'the model is not ready after {limit:g} s')

    def submit(self, item: ItemT, lane: str = '') -> None:
        """Hand over an input; unless every item counts, it replaces its lane's waiting one."""
        with self._condition:
            life = self._life
            if life is None:
                self._dropped += 1
                return
            if not self._every_item:
                kept = deque(entry for entry in life.waiting if entry[0] != lane)
                self._dropped += len(life.waiting) - len(kept)
                life.waiting = kept
            life.waiting.append((lane, item))
            self._condition.notify_all()

    def supervise(self) -> Incident | None:
        """Give up a hung thread, start another when its delay is over; call it regularly.

        Returns:
            What happened, for a report; None if nothing did. After RESTARTED the new handler knows
            nothing of earlier inputs: submit again what it needs.
        """
        now = self._clock()
        with self._condition:
            if self._restart_at is not None:
                if now < self._restart_at:
                    return None
                self._restart_at = None
                self._new_life()
                return Incident.RESTARTED
            life = self._life
            if life is None or life.busy_since is None:
                return None
            limit = self._hang_timeout if life.loaded else self._load_timeout
            if life.failure is None and now - life.busy_since <= limit:
                return None
            if self._troubled_since is None:
                self._troubled_since = life.busy_since
            self._abandon(life)
            delay = self._budget.take(now)
            if delay is None:
                return Incident.GAVE_UP
            self._restart_at = now + delay
            return Incident.HUNG

    def close(self, timeout: float = 2.0) -> bool:
        """End the thread after its present input; say whether it ended in time."""
        with self._condition:
            life, self._life, self._restart_at = self._life, None, None
            if life is None:
                return True
            life.closing = True
            self._condition.notify_all()
        life.thread.join(timeout)
        with self._condition:
            life.abandoned = True
        return not life.thread.is_alive()

    def _new_life(self) -> _Life[ItemT, ResultT]:
        self._life = life = _Life(self._clock(), self._run)
        life.thread.start()
        return life

    def _abandon(self, life: _Life[ItemT, ResultT]) -> None:
        life.abandoned = True
        self._dropped += len(life.waiting)
        self._life = None

    def _run(self, life: _Life[ItemT, ResultT]) -> None:
        try:
            handler = self._factory()
        except Exception as error:
            with self._condition:
                life.failure = error
                self._condition.notify_all()
            return
        with self._condition:
            life.loaded = True
            life.busy_since, life.idle_since = None, self._clock()
            if not life.abandoned:
                self._troubled_since = None
            self._condition.notify_all()
        while (item := self._next(life)) is not None:
            self._work(life, handler, item[1])
        try:
            handler.close()
        except Exception:
            _logger.exception('the model could not be released')

    def _next(self, life: _Life[ItemT, ResultT]) -> tuple[str, ItemT] | None:
        with self._condition:
            self._condition.wait_for(lambda: life.waiting or life.closing or life.abandoned)
            if life.closing or life.abandoned:
                return None
            life.busy_since = self._clock()
            return life.waiting.popleft()

    def _work(
        self, life: _Life[ItemT, ResultT], handler: Handler[ItemT, ResultT], item: ItemT
    ) -> None:
        began = self._clock()
        result: ResultT | None = None
        error: Exception | None = None
        try:
            result = handler.handle(item)
        except Exception as raised:
            error = raised
        now = self._clock()
        with self._condition:
            life.busy_since, life.idle_since = None, now
            if life.abandoned:
                return
            self._progress += 1
        try:
            self._deliver(Outcome(item, result, error, now - began))
        except Exception:
            _logger.exception('an outcome could not be delivered')
