"""The node `policy`: frames and texts in, action chunks out; owns no policy logic."""

from collections.abc import Callable
import sys
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from vla_core.errors import ConfigError
from vla_core.robot import load_robot
from vla_core.session import Session, Times
from vla_core.worker import LatestWorker, Outcome
from vla_inference.config import PolicyConfig
from vla_inference.goals import Goals
from vla_inference.inbox import Inbox
from vla_inference.loading import check_modes, Loader
from vla_inference.outbox import Outbox, vitals
from vla_inference.pilot import Pilot
from vla_inference.runner import Answer, Job
from vla_inference.watchdog import GRACE, Watchdog
from vla_ros.clock import ProcessClock, STEADY
from vla_ros.files import robot_path
from vla_ros.guard import guarded
from vla_ros.heartbeat import HeartbeatPublisher, RUN
from vla_ros.mailbox import Mailbox
from vla_ros.parameters import declare
from vla_ros.running import run

#: s between two looks at the worker and at what is overdue.
SUPERVISION_PERIOD = 0.05
#: s for which the executor may keep the interpreter from a worker that has a frame; Python's 5 ms
#: are longer than an inference.
SWITCH_INTERVAL = 0.0002


class PolicyNode(LifecycleNode):
    """Obey texts with one policy: configure loads it, activate publishes its chunks."""

    def __init__(self, **kwargs: Any) -> None:
        """Read the parameters; the policy is loaded later.

        Raises:
            ConfigError: if a parameter is wrong, or is not for this robot.
        """
        super().__init__('policy', **kwargs)
        self._config = config = declare(self, PolicyConfig)
        self._robot = load_robot(robot_path(config.robot))
        check_modes(config, self._robot)
        self._time = ProcessClock(self, config.clock)
        self._outbox = Outbox(self, self._time)
        self._loader = Loader(config, self._robot, self._outbox.report)
        outcomes = Mailbox(self, self._guarded(self._on_outcome))
        self._worker: LatestWorker[Job, Answer] = LatestWorker(
            self._loader,
            outcomes.put,
            every_item=self._time.lockstep,
            hang_timeout=config.hang_timeout,
            load_timeout=config.load_timeout,
        )
        times = Times(config.instruction_timeout, config.motion_timeout, config.search_timeout)
        self._pilot = Pilot(
            *(Session(times), self._worker, self._time, RUN, self._outbox),
            slot_tolerance=config.slot_tolerance,
            replan_after=config.replan_after,
        )
        self._goals = Goals(self, self._pilot)
        self._heartbeat = HeartbeatPublisher(self, 'policy', lambda: vitals(self._pilot))
        self._trouble = ''
        self._watchdog: Watchdog | None = None
        self.create_timer(SUPERVISION_PERIOD, self._guarded(self._pilot.supervise), clock=STEADY)
        self._inbox = Inbox(self, self._pilot, self._time.lockstep, self._guarded)

    def start(self) -> None:
        """Configure and activate, unless a lifecycle manager does.

        Raises:
            ConfigError: if the policy cannot be loaded.
        """
        done = TransitionCallbackReturn.SUCCESS
        if self._config.autostart and not (
            self.trigger_configure() == done and self.trigger_activate() == done
        ):
            raise ConfigError(self._trouble)

    def watch(self) -> None:
        """End the process if a policy holds the interpreter: only for a process of its own."""
        self._watchdog = Watchdog(self._config.hang_timeout + GRACE)
        self.create_timer(SUPERVISION_PERIOD, self._watchdog.feed, clock=STEADY)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load, verify and warm up the policy; open what its contract asks for."""
        if self._watchdog is not None:
            self._watchdog.close()
        try:
            self._worker.start()
            spec = self._loader.spec
            self._pilot.fit(spec, self._loader.make_execution(), self._loader.make_guard())
        except Exception as error:  # rclpy would swallow it, whatever it is
            self._trouble = f'{self._config.checkpoint}: {type(error).__name__}: {error}'
            self.get_logger().error(self._trouble)
            self._worker.close()
            return TransitionCallbackReturn.FAILURE
        self._outbox.open(spec, self._robot.max_observation_age)
        self._inbox.open(spec)
        self.get_logger().info(f'{spec.model_id} is ready for robot {self._robot.name}')
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Obey texts and publish chunks."""
        result = super().on_activate(state)
        self._pilot.activate()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Publish zeros while the publisher still works, then fall silent."""
        self._pilot.deactivate('the policy is deactivated')
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the policy and what its contract asked for."""
        self._worker.close()
        self._inbox.close()
        self._outbox.close()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Publish zeros while the publisher still works, then release the policy."""
        self._pilot.deactivate('the policy is shut down')
        self._worker.close()
        return super().on_shutdown(state)

    def close(self) -> None:
        """Send zeros a last time and end the worker's thread."""
        if self._watchdog is not None:
            self._watchdog.close()
        self._pilot.deactivate('the policy is shut down')
        self._goals.close()
        if not self._worker.close():
            self.get_logger().error('the policy does not return: its thread is left behind')

    def failed(self, error: Exception) -> None:
        """Count an error of a callback, or one that no callback's guard has seen."""
        self._pilot.count(error)

    def _guarded(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        return guarded(self, callback, self.failed)

    def _on_outcome(self, outcome: Outcome[Job, Answer]) -> None:
        self._pilot.outcome(outcome)


def make_node() -> PolicyNode:
    """Make the node and, unless a manager does, bring it to life."""
    node = PolicyNode()
    node.start()
    node.watch()
    return node


def main() -> None:
    """Run the executable `policy`."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    sys.exit(run(make_node))
