"""Run one node in one process, and end it in an orderly way (SAFETY section 6, pitfall 2)."""

from collections.abc import Callable
import signal
import sys
import threading
from typing import Protocol

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from vla_core.errors import VlaError


class Closable(Protocol):
    """A node that has something to do while its context is still valid."""

    def close(self) -> None:
        """Publish last words, stop threads."""
        ...


def run(make_node: Callable[[], Node], args: list[str] | None = None) -> int:
    """Spin the node until SIGINT or SIGTERM; return the exit status.

    rclpy's own handlers would invalidate the context before a last message could leave, so they
    are not installed. If the node has `close()`, it is called while publishing still works.

    Args:
        make_node: makes the node; a VlaError from it ends the process with status 2 and its
            message.
        args: command line, for tests; the process's own by default.
    """
    stop = threading.Event()
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    node: Node | None = None
    try:
        node = make_node()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.05)
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
