"""The worker: newest wins, nothing is lost unseen, a hang is survived; threads meet at events."""

import threading

import pytest

from vla_core.errors import VlaError
from vla_core.worker import Activity, Incident, LatestWorker, RestartBudget

WAIT = 10.0


class Clock:
    """Time that only a test moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Rig:
    """A worker whose handler stops at a gate, and everything that it delivered."""

    def __init__(self, **options):
        self.outcomes = []
        self.started = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.delivered = threading.Semaphore(0)
        self.closed = threading.Semaphore(0)
        self.threads = []
        self.clock = Clock()
        self.worker = LatestWorker(self.make, self.deliver, clock=self.clock, **options)

    def make(self):
        self.threads.append(threading.current_thread())
        return self

    def handle(self, item):
        self.threads.append(threading.current_thread())
        self.started.release()
        assert self.gate.acquire(timeout=WAIT)
        if isinstance(item, Exception):
            raise item
        return f'done {item}'

    def close(self):
        self.closed.release()

    def deliver(self, outcome):
        self.outcomes.append(outcome)
        self.delivered.release()

    def begin(self, item, lane=''):
        """Submit and wait until the handler holds the item."""
        self.worker.submit(item, lane)
        assert self.started.acquire(timeout=WAIT)

    def finish(self, count=1):
        """Let `count` items pass and wait for their outcomes."""
        for _ in range(count):
            self.gate.release()
            assert self.delivered.acquire(timeout=WAIT)


@pytest.fixture
def rig():
    made = []

    def make(**options):
        made.append(Rig(**options))
        made[-1].worker.start()
        return made[-1]

    yield make
    for one in made:
        for _ in range(100):
            one.gate.release()
        one.worker.close()


def test_newest_item_waits_and_older_ones_are_counted_as_dropped(rig):
    one = rig()
    one.begin(0)
    for item in range(1, 100):
        one.worker.submit(item)
    one.finish(2)
    assert [outcome.item for outcome in one.outcomes] == [0, 99]
    assert one.worker.dropped == 98
    assert one.worker.progress == 2


def test_lanes_do_not_drop_each_other(rig):
    one = rig()
    one.begin('frame 1', 'frame')
    one.worker.submit('text 1', 'text')
    one.worker.submit('frame 2', 'frame')
    one.worker.submit('text 2', 'text')
    one.finish(3)
    assert [outcome.item for outcome in one.outcomes] == ['frame 1', 'frame 2', 'text 2']


def test_every_item_is_processed_in_order_in_lockstep(rig):
    one = rig(every_item=True)
    for item in range(50):
        one.worker.submit(item)
    one.finish(50)
    assert [outcome.item for outcome in one.outcomes] == list(range(50))
    assert one.worker.dropped == 0


def test_errors_come_back_as_values_and_the_worker_goes_on(rig):
    one = rig()
    error = ValueError('no')
    one.begin(error)
    one.finish()
    one.begin('fine')
    one.finish()
    assert one.outcomes[0].error is error
    assert one.outcomes[0].result is None
    assert one.outcomes[1].error is None
    assert one.outcomes[1].result == 'done fine'
    assert one.worker.progress == 2


def test_one_thread_makes_and_uses_the_model(rig):
    one = rig()
    one.begin(1)
    one.finish()
    assert len(set(one.threads)) == 1
    assert one.threads[0] is not threading.current_thread()


def test_activity_says_since_when(rig):
    one = rig()
    one.clock.now += 3.0
    assert one.worker.activity() == (Activity.WAITING, 3.0)
    one.begin(1)
    one.clock.now += 0.5
    assert one.worker.activity() == (Activity.BUSY, 0.5)
    one.finish()
    assert one.worker.activity()[0] is Activity.WAITING


def test_factory_error_is_raised_by_start():
    def make():
        raise VlaError('no such model')

    worker = LatestWorker(make, print)
    with pytest.raises(VlaError, match='no such model'):
        worker.start()
    assert worker.close()


def test_start_gives_up_a_factory_that_never_returns():
    never = threading.Event()
    worker = LatestWorker(never.wait, print)
    with pytest.raises(VlaError, match=r'not ready after 0\.01 s'):
        worker.start(0.01)
    never.set()
    assert worker.close()


def test_close_ends_the_thread_and_releases_the_model(rig):
    one = rig()
    one.begin(1)
    one.finish()
    assert one.worker.close(WAIT)
    assert not one.threads[0].is_alive()
    assert one.closed.acquire(timeout=WAIT)
    one.worker.submit(2)
    assert one.worker.progress == 1


def test_failing_delivery_does_not_end_the_thread(rig):
    one = rig()
    kept = one.deliver

    def fail(outcome):
        kept(outcome)
        raise RuntimeError('receiver is gone')

    one.worker._deliver = fail
    for item in (1, 2):
        one.begin(item)
        one.finish()
    assert one.worker.progress == 2


def test_hung_thread_is_replaced_after_its_delay_and_its_result_is_discarded(rig):
    one = rig(hang_timeout=2.0)
    one.begin('hangs')
    one.worker.submit('lost')
    one.clock.now += 2.0
    assert one.worker.supervise() is None
    one.clock.now += 0.1
    assert one.worker.supervise() is Incident.HUNG
    one.clock.now += 0.9
    assert one.worker.supervise() is None
    assert one.worker.activity() == (Activity.BUSY, pytest.approx(3.0))
    one.clock.now += 0.2
    assert one.worker.supervise() is Incident.RESTARTED
    one.worker.submit('new')
    assert one.started.acquire(timeout=WAIT)
    one.gate.release()
    one.gate.release()
    assert one.delivered.acquire(timeout=WAIT)
    assert one.closed.acquire(timeout=WAIT)
    assert [outcome.item for outcome in one.outcomes] == ['new']
    assert one.worker.dropped == 1
    assert one.worker.activity()[0] is Activity.WAITING


def test_three_restarts_then_given_up_for_good(rig):
    one = rig(hang_timeout=1.0)
    seen = []
    for delay in (1.0, 2.0, 4.0, None):
        one.begin('hangs')
        one.clock.now += 1.1
        seen.append(one.worker.supervise())
        if delay is not None:
            one.clock.now += delay
            assert one.worker.supervise() is Incident.RESTARTED
    assert seen == [Incident.HUNG] * 3 + [Incident.GAVE_UP]
    one.clock.now += 1000.0
    assert one.worker.supervise() is None
    assert one.worker.activity() == (Activity.BUSY, pytest.approx(1001.1))


def test_model_that_fails_to_load_again_uses_up_the_budget(rig):
    one = rig(hang_timeout=1.0)
    one.begin('hangs')
    failed = threading.Semaphore(0)

    def fail():
        failed.release()
        raise VlaError('out of memory')

    one.worker._factory = fail
    one.clock.now += 1.1
    seen = []
    while Incident.GAVE_UP not in seen:
        incident = one.worker.supervise()
        if incident is Incident.RESTARTED:
            assert failed.acquire(timeout=WAIT)
            one.worker._life.thread.join(WAIT)
        seen.append(incident)
        one.clock.now += 0.5
    assert seen.count(Incident.RESTARTED) == 3


def test_budget_is_whole_again_after_ten_minutes():
    budget = RestartBudget()
    assert [budget.take(now) for now in (0.0, 10.0, 20.0, 30.0)] == [1.0, 2.0, 4.0, None]
    assert budget.take(600.0) == 4.0
    assert budget.take(10000.0) == 1.0
