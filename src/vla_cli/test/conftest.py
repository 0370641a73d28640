"""A robot that the command `vla` can talk to: of a gate and a policy, as little as it takes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import threading
from typing import Any

import pytest
import rclpy
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_core.gate.causes import State
from vla_core.session import Fate
from vla_interfaces.action import FollowInstruction
from vla_interfaces.msg import Decision, Heartbeat, SafetyState
from vla_ros import qos
from vla_ros.domains import process_domain

DOMAIN = process_domain()


class Robot:
    """Answers as its attributes say, notes what it is asked, and drives until it hears "stop"."""

    def __init__(self, node: Node, policy: Node) -> None:
        self.accepts, self.answer = True, 'as you wish'
        self.state = State.ACTIVE
        self.outcome: Fate | None = None
        self.on_running: Callable[[], None] = lambda: None
        self.asked: list[str] = []
        self.texts: list[str] = []
        self.goals: list[str] = []
        self.cancellation = threading.Event()
        self.on_goal: Callable[[], None] = lambda: None
        self.run = 1
        self.silent_after_stop = False
        #: Whether it hears texts; takes effect with its next step.
        self.hears = True
        #: Steps from the word "stop" to the answer to a goal; None: it is answered at once.
        self.consent_after: int | None = None
        self._consent = threading.Event()
        self.gone = threading.Event()
        self._goal: Any = None
        self._node = node
        for name in ('arm', 'disarm', 'reset', 'trigger_estop'):
            node.create_service(Trigger, f'safety/{name}', self._service(name))
        self._ears: Any = None
        self._hear_or_not()
        self._beats = node.create_publisher(Heartbeat, 'vla/heartbeat', qos.HEARTBEAT)
        self._decisions = node.create_publisher(Decision, 'safety/decision', qos.DECISION)
        self._states = node.create_publisher(SafetyState, 'safety/state', qos.STATE)
        self._server = ActionServer(
            policy,
            FollowInstruction,
            'vla/follow_instruction',
            execute_callback=lambda goal: FollowInstruction.Result(),
            handle_accepted_callback=self._accept,
            # Beside all else, so that the robot is alive while it thinks about a goal.
            callback_group=ReentrantCallbackGroup(),
            goal_callback=self._consider,
            cancel_callback=self._cancel,
        )
        node.create_timer(0.02, self._tick)

    def close(self) -> None:
        """Take no goals any more; a second time is allowed."""
        self._consent.set()
        self.gone.set()

    def serve_goals(self, executor: MultiThreadedExecutor) -> None:
        """Take goals until `close`: who waits for the server must not see it destroyed."""
        while not self.gone.is_set():
            executor.spin_once(timeout_sec=0.02)
        executor.shutdown()
        self._server.destroy()

    def _service(self, name: str) -> Callable[..., Trigger.Response]:
        def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            self.asked.append(name)
            response.success, response.message = self.accepts, self.answer
            return response

        return answer

    def _hear_or_not(self) -> None:
        if self.hears and self._ears is None:
            self._ears = self._node.create_subscription(String, 'command', self._hear, qos.COMMAND)
        elif not self.hears and self._ears is not None:
            self._node.destroy_subscription(self._ears)
            self._ears = None

    def _hear(self, message: String) -> None:
        self.texts.append(message.data)

    def _consider(self, _: Any) -> GoalResponse:
        self.on_goal()
        if self.consent_after is not None:
            self._consent.wait(30)
        return GoalResponse.ACCEPT

    def _accept(self, goal: Any) -> None:
        self._goal = goal
        self.goals.append(goal.request.text)
        goal.publish_feedback(FollowInstruction.Feedback(state=int(Fate.RUNNING), elapsed=0.5))
        if self.outcome is not None:
            goal.execute(self._finish)
        else:
            self.on_running()

    def _finish(self, goal: Any) -> FollowInstruction.Result:
        goal.canceled() if self.cancellation.is_set() else goal.succeed()
        fate = Fate.STOPPED if self.cancellation.is_set() else self.outcome
        return FollowInstruction.Result(result=int(fate), reason='because', elapsed=2.0)

    def _cancel(self, _: Any) -> CancelResponse:
        self.cancellation.set()
        return CancelResponse.ACCEPT

    def _tick(self) -> None:
        self._hear_or_not()
        self._beats.publish(Heartbeat(node='policy', policy_run=self.run))
        if 'stop' in self.texts and self.consent_after is not None:
            self.consent_after -= 1
            if self.consent_after == 0:
                self._consent.set()
        if 'stop' in self.texts and self.silent_after_stop:
            return
        decision = Decision()
        decision.published.linear.x = 0.0 if 'stop' in self.texts else 0.5
        self._decisions.publish(decision)
        self._states.publish(SafetyState(state=int(self.state), blockers=['e-stop is pressed']))


@pytest.fixture(autouse=True)
def own_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('ROS_DOMAIN_ID', str(DOMAIN))
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')


@pytest.fixture
def recorder(own_domain: None) -> Iterator[None]:
    """Let somebody else hear every text too."""
    context = rclpy.Context()
    rclpy.init(context=context, args=[])
    node = rclpy.create_node('recorder', context=context)
    node.create_subscription(String, 'command', lambda _: None, qos.COMMAND)
    yield
    node.destroy_node()
    rclpy.try_shutdown(context=context)


@pytest.fixture
def robot(request: pytest.FixtureRequest, own_domain: None) -> Iterator[Robot]:
    """Yield a running robot, in the namespace that the test's parameter names."""
    with running_robot(getattr(request, 'param', '')) as robot:
        yield robot


@pytest.fixture
def other_robot(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> Iterator[Robot]:
    """Yield one more robot of the same names; a busy machine has time to discover it."""
    monkeypatch.setattr('vla_cli.connection.SETTLING', 3.0)
    with running_robot('') as other:
        yield other


@contextmanager
def running_robot(namespace: str) -> Iterator[Robot]:
    """Yield a robot with a thread and a context of its own."""
    context = rclpy.Context()
    rclpy.init(context=context, args=[])
    node = rclpy.create_node('gate', namespace=namespace, context=context)
    policy = rclpy.create_node('policy', namespace=namespace, context=context)
    executor, goals = (MultiThreadedExecutor(num_threads=2, context=context) for _ in range(2))
    executor.add_node(node)
    goals.add_node(policy)
    ended = threading.Event()

    def spin() -> None:
        while not ended.is_set():
            executor.spin_once(timeout_sec=0.02)

    robot = Robot(node, policy)
    threads = [
        threading.Thread(target=spin),
        threading.Thread(target=robot.serve_goals, args=(goals,)),
    ]
    for thread in threads:
        thread.start()
    yield robot
    ended.set()
    robot.close()
    for thread in threads:
        thread.join()
    executor.shutdown()
    policy.destroy_node()
    node.destroy_node()
    rclpy.try_shutdown(context=context)
