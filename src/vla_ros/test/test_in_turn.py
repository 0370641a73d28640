"""InTurnExecutor: what is ready is served once each, whatever else comes; nothing is forgotten."""

from importlib import metadata
import threading
import time

from action_msgs.msg import GoalStatus
import pytest
import rclpy
from rclpy.action import ActionClient, ActionServer
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from vla_interfaces.action import FollowInstruction
from vla_ros.in_turn import in_turn_executor, InTurnExecutor

#: s after which something that must come has not come.
PATIENCE = 20.0


@pytest.fixture
def node(context):
    node = rclpy.create_node('served', context=context)
    yield node
    node.destroy_node()


@pytest.fixture
def executor(context, node):
    executor = InTurnExecutor(context=context)
    executor.add_node(node)
    yield executor
    executor.shutdown()


def spin_until(executor, condition):
    """Spin by waits so long that a wake-up that is lost is seen."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, 'it never came true'
        executor.spin_once(timeout_sec=PATIENCE)


@pytest.fixture
def ticking(node):
    """What the graph discovers wakes nobody: a timer looks."""
    return node.create_timer(0.02, lambda: None)


def connected(*publishers):
    return lambda: all(one.get_subscription_count() for one in publishers)


def test_everything_that_a_node_can_have_is_served(node, executor, ticking):
    served = []
    node.create_timer(0.01, lambda: served.append('timer'))
    node.create_subscription(Bool, 'here', lambda msg: served.append('subscription'), 10)
    guard = node.create_guard_condition(lambda: served.append('guard'))

    def answer(request, response):
        served.append('service')
        return response

    node.create_service(Trigger, 'ask', answer)
    client = node.create_client(Trigger, 'ask')
    publisher = node.create_publisher(Bool, 'here', 10)
    spin_until(executor, lambda: client.service_is_ready() and connected(publisher)())
    publisher.publish(Bool())
    guard.trigger()
    future = client.call_async(Trigger.Request())
    spin_until(executor, future.done)
    spin_until(executor, lambda: set(served) == {'timer', 'subscription', 'guard', 'service'})


def test_a_goal_that_awaits_is_continued(node, executor, ticking):
    gate = rclpy.task.Future()

    async def execute(goal):
        await gate
        goal.succeed()
        return FollowInstruction.Result()

    server = ActionServer(node, FollowInstruction, 'act', execute)
    client = ActionClient(node, FollowInstruction, 'act')
    spin_until(executor, client.server_is_ready)
    accepted = client.send_goal_async(FollowInstruction.Goal())
    spin_until(executor, accepted.done)
    result = accepted.result().get_result_async()
    for _ in range(20):
        executor.spin_once(timeout_sec=0.01)
    assert not result.done()
    gate.set_result(None)
    spin_until(executor, result.done)
    assert result.result().status == GoalStatus.STATUS_SUCCEEDED
    server.destroy()
    client.destroy()


def test_a_flood_on_one_topic_delays_neither_a_timer_nor_another_topic(node, executor, ticking):
    order = []
    node.create_subscription(String, 'flood', lambda msg: order.append('flood'), 1000)
    node.create_subscription(Bool, 'rare', lambda msg: order.append('rare'), 10)
    flood = node.create_publisher(String, 'flood', 1000)
    rare = node.create_publisher(Bool, 'rare', 10)
    spin_until(executor, connected(flood, rare))
    node.create_timer(0.0, lambda: order.append('timer'))
    for _ in range(500):
        flood.publish(String(data='x'))
    rare.publish(Bool())
    spin_until(executor, lambda: order.count('flood') > 100)
    assert 'rare' in order[order.index('flood') :][:50]
    # A timer that is always due had its turn between any two messages of the flood.
    between = ''.join(name[0] for name in order if name != 'rare')
    assert 'ff' not in between


def test_two_nodes_are_served_alike(context, node, executor, ticking):
    other = rclpy.create_node('other', context=context)
    executor.add_node(other)
    heard = []
    for one, name in ((node, 'first'), (other, 'second')):
        one.create_subscription(Bool, 'both', lambda msg, name=name: heard.append(name), 10)
    publisher = node.create_publisher(Bool, 'both', 10)
    spin_until(executor, lambda: publisher.get_subscription_count() == 2)
    publisher.publish(Bool())
    spin_until(executor, lambda: set(heard) == {'first', 'second'})
    executor.remove_node(other)
    publisher.publish(Bool())
    spin_until(executor, lambda: len(heard) == 3)
    assert heard[-1] == 'first'
    other.destroy_node()


def test_an_entity_may_come_and_go_in_a_callback(node, executor, ticking):
    heard = []
    second = node.create_subscription(Bool, 'second', lambda msg: heard.append('second'), 10)

    def first(msg):
        heard.append('first')
        node.destroy_subscription(second)
        node.create_subscription(Bool, 'third', lambda msg: heard.append('third'), 10)

    node.create_subscription(Bool, 'first', first, 10)
    ends = {name: node.create_publisher(Bool, name, 10) for name in ('first', 'second', 'third')}
    spin_until(executor, connected(ends['first'], ends['second']))
    ends['first'].publish(Bool())
    spin_until(executor, lambda: heard)
    spin_until(executor, connected(ends['third']))
    spin_until(executor, lambda: not ends['second'].get_subscription_count())
    for name in ('second', 'third'):
        ends[name].publish(Bool())
    spin_until(executor, lambda: 'third' in heard)
    assert heard == ['first', 'third']


def test_what_was_destroyed_since_it_was_ready_is_not_served(node, executor, ticking):
    heard, subscriptions = [], []

    def hear(name):
        heard.append(name)
        for one in subscriptions:
            node.destroy_subscription(one)

    subscriptions += [
        node.create_subscription(Bool, 'here', lambda msg, name=name: hear(name), 10)
        for name in 'ab'
    ]
    publisher = node.create_publisher(Bool, 'here', 10)
    spin_until(executor, lambda: publisher.get_subscription_count() == 2)
    publisher.publish(Bool())
    time.sleep(0.2)  # both are ready
    for _ in range(20):
        executor.spin_once(timeout_sec=0.01)
    assert heard == ['a']


def test_what_was_cancelled_since_it_was_due_is_not_served(node, executor):
    served, timers = [], []

    def cancel_all(mine):
        served.append(mine)
        for timer in timers:
            timer.cancel()

    timers += [node.create_timer(0.001, lambda name=name: cancel_all(name)) for name in 'ab']
    time.sleep(0.01)  # both are due
    for _ in range(5):
        executor.spin_once(timeout_sec=0.01)
    assert served == ['a']
    timers[1].reset()
    spin_until(executor, lambda: served == ['a', 'b'])


@pytest.mark.parametrize('held', [False, True])
def test_what_was_destroyed_behind_its_node_s_back_is_left_out(node, executor, ticking, held):
    served = []
    publisher = node.create_publisher(Bool, 'here', 10)
    gone = [
        node.create_subscription(Bool, 'here', lambda msg: served.append('gone'), 10),
        node.create_timer(0.001, lambda: served.append('gone')),
    ]
    spin_until(executor, connected(publisher))
    if held:
        publisher.publish(Bool())
    else:
        executor.remove_node(node)
        executor.spin_once(timeout_sec=0.0)
        executor.add_node(node)
    for one in gone:
        one.destroy()
    del served[:]
    node.create_timer(0.01, lambda: served.append('here'))
    began = time.monotonic()
    spins = 0
    while time.monotonic() < began + 0.5:
        executor.spin_once(timeout_sec=0.05)
        spins += 1
    assert 'here' in served
    assert 'gone' not in served
    # Two timers, of 10 and 20 ms: it did not spin for the one that is gone.
    assert spins < 200


def test_an_error_reaches_the_caller_and_the_rest_goes_on(node, executor):
    count = 0

    def fail_once():
        nonlocal count
        count += 1
        if count == 1:
            raise ValueError('once')

    node.create_timer(0.001, fail_once)
    with pytest.raises(ValueError, match='once'):
        spin_until(executor, lambda: False)
    spin_until(executor, lambda: count > 3)


def test_a_task_that_fails_takes_no_other_with_it(executor):
    done = []

    def fail():
        raise ValueError('first')

    executor.create_task(fail)
    executor.create_task(lambda: done.append('second'))
    with pytest.raises(ValueError, match='first'):
        executor.spin_once(timeout_sec=0.0)
    executor.spin_once(timeout_sec=0.0)
    assert done == ['second']


def test_a_task_that_another_one_frees_is_continued_without_a_wait(executor):
    first, second = rclpy.task.Future(), rclpy.task.Future()
    ended = []

    async def waits():
        await second
        ended.append('waits')

    async def frees():
        await first
        second.set_result(None)

    executor.create_task(waits())
    executor.create_task(frees())
    executor.spin_once(timeout_sec=0.0)
    first.set_result(None)
    spin_until(executor, lambda: ended)


def test_a_task_that_was_cancelled_is_forgotten(executor):
    async def waits():
        await rclpy.task.Future()

    task = executor.create_task(waits())
    executor.spin_once(timeout_sec=0.0)
    task.cancel()
    for _ in range(3):
        executor.spin_once(timeout_sec=0.0)
    assert executor._tasks == []


def test_it_may_spin_within_what_it_serves(node, executor):
    inner = []
    node.create_guard_condition(lambda: inner.append('guard')).trigger()

    def outer():
        executor.spin_once(timeout_sec=PATIENCE)
        inner.append('outer')

    executor.create_task(outer)
    executor.create_task(lambda: inner.append('task'))
    spin_until(executor, lambda: len(inner) == 3)
    assert set(inner) == {'guard', 'outer', 'task'}


def test_another_thread_wakes_it(node, executor):
    asked = []
    guard = node.create_guard_condition(lambda: asked.append(time.monotonic()))
    executor.spin_once(timeout_sec=0.0)
    threading.Timer(0.1, guard.trigger).start()
    spin_until(executor, lambda: asked)


def test_an_entity_of_another_thread_is_served(node, executor):
    served = []

    def create():
        node.create_timer(0.001, lambda: served.append(1))

    threading.Timer(0.1, create).start()
    spin_until(executor, lambda: served)


@pytest.mark.parametrize('timeout', [0.0, 0.01])
def test_it_comes_back_if_nothing_happens(node, executor, timeout):
    began = time.monotonic()
    for _ in range(20):
        executor.spin_once(timeout_sec=timeout)
    assert time.monotonic() < began + PATIENCE / 2


def test_a_future_ends_the_wait(node, executor):
    future = rclpy.task.Future()
    threading.Timer(0.1, future.set_result, (None,)).start()
    began = time.monotonic()
    executor.spin_until_future_complete(future, timeout_sec=PATIENCE)
    assert future.done()
    assert time.monotonic() < began + PATIENCE / 2


def test_a_context_that_ends_is_said(context, node, executor):
    executor.spin_once(timeout_sec=0.0)
    threading.Timer(0.1, rclpy.shutdown, (), {'context': context}).start()
    for _ in range(2):
        with pytest.raises(ExternalShutdownException):
            spin_until(executor, lambda: False)


def test_shutdown_lets_go_of_what_was_destroyed(context, executor, node, ticking):
    other = rclpy.create_node('looking', context=context)
    node.create_subscription(Bool, 'left', lambda msg: None, 10)
    publisher = other.create_publisher(Bool, 'left', 10)
    spin_until(executor, connected(publisher))
    executor.shutdown()
    executor.spin_once(timeout_sec=0.0)  # does nothing any more
    node.destroy_node()
    end = time.monotonic() + PATIENCE
    while publisher.get_subscription_count():
        assert time.monotonic() < end, 'its subscription lives on'
        time.sleep(0.01)
    other.destroy_node()


@pytest.mark.parametrize(
    ('version', 'kind'), [('7.1.5', InTurnExecutor), ('9.0.0', SingleThreadedExecutor)]
)
def test_an_rclpy_that_is_not_known_serves_by_its_own(monkeypatch, context, version, kind):
    monkeypatch.setattr(metadata, 'version', lambda name: version)
    executor = in_turn_executor(context)
    assert type(executor) is kind
    executor.shutdown()
