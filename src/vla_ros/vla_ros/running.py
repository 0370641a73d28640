"""Run one node in one process, and end it in an orderly way."""

from collections.abc import Callable
import signal
import sys
import threading

import rclpy
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from vla_core.errors import VlaError
from vla_ros.memory import keep_freed_memory
from vla_ros.transport import keep_off_shared_memory


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
    make_executor: Callable[[], Executor] = SingleThreadedExecutor,
) -> int:
    """Spin the node until SIGINT or SIGTERM; return the exit status.

    rclpy's own handlers would invalidate the context before a last message could leave, so they
    are not installed. If the node has `close()`, it is called while publishing still works. What
    escapes a callback, or the middleware when it takes a message, is logged and handed to the
    node's `failed(error)` if it has one: one bad message must not end a process.

    Args:
        make_node: makes the node; a VlaError from it ends the process with status 2 and its
            message.
        args: command line, for tests; the process's own by default.
        frames: whether whole camera frames come or go; nothing else is worth shared memory.
        make_executor: makes what calls the node's callbacks; the default serves all in turn.
    """
    stop = threading.Event()
    if frames:
        keep_freed_memory()
    else:
        keep_off_shared_memory()
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    node: Node | None = None
    try:
        node = make_node()
        executor = make_executor()
        executor.add_node(node)
        while not stop.is_set():
            try:
                executor.spin_once(timeout_sec=0.05)
            except Exception as error:
                if not rclpy.ok():
                    raise
                _report(node, error)
        return 0
    except VlaError as error:
        sys.stderr.write(f'error: {error}\n')
        return 2
    finally:
        if node is not None:
            close = getattr(node, 'close', None)
            if close is not None:
                close()
            node.destroy_node()
        rclpy.try_shutdown()


def _report(node: Node, error: Exception) -> None:
    node.get_logger().error(f'{type(error).__name__}: {error}', throttle_duration_sec=5.0)
    failed = getattr(node, 'failed', None)
    if failed is not None:
        failed(error)
