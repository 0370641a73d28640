"""The end of a process in which Python stands still, so that launch can start another.

A policy whose native call holds the interpreter hangs every thread, the one that would restart its
worker too. The gate has stopped the robot by then; this only brings the policy back.
"""

import faulthandler
import time

#: s beyond the worker's own hang_timeout: what releases the interpreter is its worker's affair.
GRACE = 3.0


class Watchdog:
    """Ends the process with the stacks of its threads on standard error if it is not fed."""

    def __init__(self, timeout: float) -> None:
        """Prepare; the first `feed` starts it.

        Args:
            timeout: s without food.
        """
        self._timeout = timeout
        self._fed = -timeout

    def feed(self) -> None:
        """Say that Python runs; cheap when called often."""
        now = time.monotonic()
        # Each call starts a thread in C, which needs no interpreter to end the process.
        if now - self._fed >= self._timeout / 8.0:
            self._fed = now
            faulthandler.dump_traceback_later(self._timeout, exit=True)

    def close(self) -> None:
        """Let the process take its time: it loads, or ends."""
        self._fed = -self._timeout
        faulthandler.cancel_dump_traceback_later()
