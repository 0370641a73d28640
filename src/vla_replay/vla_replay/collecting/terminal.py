"""Keys from a terminal, one at a time, and the terminal as it was at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import os
import select
import sys
import termios
import tty

from vla_core.errors import ConfigError

_LONGEST = 16


@contextmanager
def single_keys() -> Iterator[None]:
    """Let every key through at once, without its echo.

    Raises:
        ConfigError: if the standard input is no terminal.
    """
    if not sys.stdin.isatty():
        raise ConfigError('the standard input is no terminal: expected one, keys drive the robot')
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def next_key(timeout: float) -> str:
    """Return the next key, an arrow with its whole escape sequence; empty: none came in time."""
    if not select.select([sys.stdin], [], [], timeout)[0]:
        return ''
    data = os.read(sys.stdin.fileno(), _LONGEST).decode(errors='ignore')
    # The end of the input is Ctrl-D. Of keys that repeat only the last one counts.
    if not data:
        return '\x04'
    return data[-3:] if data[-3:].startswith('\x1b[') else data[-1]
