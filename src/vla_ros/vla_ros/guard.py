"""No exception in a callback may end a node silently, or at all."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from rclpy.node import Node


def guarded(
    node: Node, callback: Callable[..., Any], on_error: Callable[[Exception], None]
) -> Callable[..., Any]:
    """Wrap a callback: what it raises is logged (throttled), handed to `on_error`, and not raised.

    Args:
        node: whose logger is used.
        callback: any rclpy callback.
        on_error: counts, or latches a stop; must not raise.
    """

    # rclpy looks at a subscription callback's signature, which `wraps` keeps visible.
    @wraps(callback)
    def run(*args: Any) -> Any:
        try:
            return callback(*args)
        except Exception as error:
            name = getattr(callback, '__name__', 'callback')
            node.get_logger().error(
                f'{name}: {type(error).__name__}: {error}', throttle_duration_sec=5.0
            )
            on_error(error)
            return None

    return run
