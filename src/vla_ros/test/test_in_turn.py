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


def spin_until(executor, condition, patience=20.0):
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, 'it never came true'
        executor.spin_once(timeout_sec=0.05)


def test_everything_that_a_node_can_have_is_served(node, executor):
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
    spin_until(executor, lambda: client.service_is_ready() and publisher.get_subscription_count())
    publisher.publish(Bool())
    guard.trigger()
    future = client.call_async(Trigger.Request())
    spin_until(executor, future.done)
    spin_until(executor, lambda: set(served) == {'timer', 'subscription', 'guard', 'service'})


def test_a_goal_that_awaits_is_continued(node, executor):
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


def test_a_flood_on_one_topic_delays_neither_a_timer_nor_another_topic(node, executor):
    order = []
    node.create_subscription(String, 'flood', lambda msg: order.append('flood'), 1000)
    node.create_subscription(Bool, 'rare', lambda msg: order.append('rare'), 10)
    timer = node.create_timer(0.001, lambda: order.append('timer'))
    flood = node.create_publisher(String, 'flood', 1000)
    rare = node.create_publisher(Bool, 'rare', 10)
    both = (flood, rare)
    spin_until(executor, lambda: all(one.get_subscription_count() for one in both))
    for _ in range(500):
        flood.publish(String(data='x'))
    rare.publish(Bool())
    spin_until(executor, lambda: order.count('flood') > 100)
    first = order.index('flood')
    assert 'rare' in order[first:][:50]
    # Of two messages of the flood that follow each other, the timer had its turn between, if due.
    timer.cancel()
    node.create_timer(0.0, lambda: order.append('always'))
    del order[:]
    spin_until(executor, lambda: order.count('flood') > 50)
    between = ''.join(name[0] for name in order if name in ('flood', 'always'))
    assert 'ff' not in between


def test_an_entity_may_come_and_go_in_a_callback(node, executor):
    heard = []
    second = node.create_subscription(Bool, 'second', lambda msg: heard.append('second'), 10)

    def first(msg):
        heard.append('first')
        node.destroy_subscription(second)
        node.create_subscription(Bool, 'third', lambda msg: heard.append('third'), 10)

    node.create_subscription(Bool, 'first', first, 10)
    ends = {name: node.create_publisher(Bool, name, 10) for name in ('first', 'second', 'third')}
    early = (ends['first'], ends['second'])
    spin_until(executor, lambda: all(one.get_subscription_count() for one in early))
    ends['first'].publish(Bool())
    spin_until(executor, lambda: heard)
    spin_until(executor, ends['third'].get_subscription_count)
    spin_until(executor, lambda: not ends['second'].get_subscription_count())
    for name in ('second', 'third'):
        ends[name].publish(Bool())
    spin_until(executor, lambda: 'third' in heard)
    assert heard == ['first', 'third']


def test_what_was_destroyed_or_cancelled_since_it_was_ready_is_not_served(node, executor):
    served = []
    timers = []

    def end_the_other(mine):
        served.append(mine)
        for timer in timers:
            timer.cancel()

    timers += [node.create_timer(0.001, lambda name=name: end_the_other(name)) for name in 'ab']
    time.sleep(0.01)  # both are due
    for _ in range(5):
        executor.spin_once(timeout_sec=0.01)
    assert served == ['a']


def test_what_was_destroyed_behind_its_node_s_back_is_left_out(node, executor):
    served = []
    gone = node.create_timer(0.001, lambda: served.append('gone'))
    node.create_timer(0.001, lambda: served.append('here'))
    gone.destroy()
    for _ in range(5):
        executor.spin_once(timeout_sec=0.05)
    assert set(served) == {'here'}


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


def test_another_thread_wakes_it(node, executor):
    asked = []
    guard = node.create_guard_condition(lambda: asked.append(1))
    threading.Timer(0.1, guard.trigger).start()
    executor.spin_once()  # no end of its own
    while not asked:
        executor.spin_once()


def test_no_wait_and_a_short_wait_come_back_empty(node, executor):
    for timeout in (0.0, 0.01):
        for _ in range(50):
            executor.spin_once(timeout_sec=timeout)


def test_a_context_that_ends_is_said(context, node, executor):
    rclpy.shutdown(context=context)
    with pytest.raises(ExternalShutdownException):
        executor.spin_once(timeout_sec=0.01)


def test_shutdown_lets_go_of_what_was_destroyed(context):
    node = rclpy.create_node('left', context=context)
    other = rclpy.create_node('looking', context=context)
    executor = InTurnExecutor(context=context)
    executor.add_node(node)
    node.create_subscription(Bool, 'left', lambda msg: None, 10)
    publisher = other.create_publisher(Bool, 'left', 10)
    spin_until(executor, publisher.get_subscription_count)
    executor.shutdown()
    node.destroy_node()
    end = time.monotonic() + 20.0
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
