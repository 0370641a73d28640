"""Run one node in one process, and end it in an orderly way."""

from collections.abc import Callable
import signal
import sys

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from vla_core.errors import ConfigError, VlaError
from vla_ros.in_turn import in_turn_executor
from vla_ros.memory import keep_freed_memory
from vla_ros.parameters import check_overrides
from vla_ros.transport import keep_off_shared_memory

#: s that a node has, once a signal has come, to be made after all: then it is closed in order.
#: Less than the 5 s after which launch sends the next, firmer signal.
_GRACE = 1.0


class _Ended(BaseException):
    """A signal while the node is made; like KeyboardInterrupt, for no one to catch."""


class _Ending:
    """Notes SIGINT and SIGTERM; ends what takes longer than _GRACE s to make by `_Ended`."""

    def __init__(self) -> None:
        self.asked = False
        self.made = False
        signal.signal(signal.SIGALRM, self._give_up)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._end)

    def _end(self, *_: object) -> None:
        if not self.made:
            signal.setitimer(signal.ITIMER_REAL, _GRACE)
        self.asked = True

    def _give_up(self, *_: object) -> None:
        if not self.made:
            raise _Ended


def events_executor() -> Executor:
    """Make the executor that wakes for what has arrived instead of asking every entity in turn.

    It takes a quarter of the CPU time, and serves in order of arrival: a flood on one topic delays
    all others, and the timers. So it is not for the gate. An rclpy that has none gives the usual.
    """
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:
        return SingleThreadedExecutor()
    return EventsExecutor()


def run(
    make_node: Callable[[], Node],
    args: list[str] | None = None,
    *,
    frames: bool = False,
    make_executor: Callable[[], Executor] = in_turn_executor,
) -> int:
    """Spin the node until SIGINT or SIGTERM; return the exit status.

    A signal while the node is made, which may take a model's time to load, ends that after 1 s.
    rclpy's own handlers would invalidate the context before a last message could leave, so they
    are not installed. If the node has `close()`, it is called while publishing still works. What
    escapes a callback, or the middleware when it takes a message, is logged and handed to the
    node's `failed(error)` if it has one: one bad message must not end a process.

    Args:
        make_node: makes the node; a VlaError from it ends the process with status 2 and its
            message, and so does what ROS cannot read of its own arguments and parameters.
        args: command line, for tests; the process's own by default.
        frames: whether whole camera frames come or go; nothing else is worth shared memory.
        make_executor: makes what calls the node's callbacks; the default serves all in turn.
    """
    if frames:
        keep_freed_memory()
    else:
        keep_off_shared_memory()
    node: Node | None = None
    executor: Executor | None = None
    ending = _Ending()
    try:
        _init(args)
        node = make_node()
        check_overrides(node)
        ending.made = True
        executor = make_executor()
        _spin(node, executor, ending)
        return 0
    except _Ended:
        return 0
    except (VlaError, ParameterException) as error:
        sys.stderr.write(f'error: {error}\n')
        return 2
    finally:
        ending.made = True
        try:
            if node is not None:
                _end(node, executor)
        finally:
            rclpy.try_shutdown()


def _init(args: list[str] | None) -> None:
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # all that rclpy's C code raises
        # Two lines of a parameter file may stand in it.
        why = ' '.join(str(error).split())
        raise ConfigError(f'ROS 2 does not start: {why}') from error


def _end(node: Node, executor: Executor | None) -> None:
    close = getattr(node, 'close', None)
    try:
        if close is not None:
            close()
    finally:
        # Not before: a node that closes may need it.
        if executor is not None:
            executor.shutdown()
        node.destroy_node()


def _spin(node: Node, executor: Executor, ending: _Ending) -> None:
    executor.add_node(node)
    while not ending.asked:
        try:
            executor.spin_once(timeout_sec=0.05)
        except Exception as error:
            if not rclpy.ok():
                raise
            _report(node, error)


def _report(node: Node, error: Exception) -> None:
    node.get_logger().error(f'{type(error).__name__}: {error}', throttle_duration_sec=5.0)
    failed = getattr(node, 'failed', None)
    if failed is not None:
        failed(error)
