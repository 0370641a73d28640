"""Lines for a reader who may have left: the robot must not care."""

from __future__ import annotations

from contextlib import suppress
import os
from pathlib import Path
import select
import sys
from typing import TextIO

#: s that a reader may take for what he was told before.
_PATIENCE = 0.2


def tell(line: str, failed: bool = False) -> None:
    """Print a line at once, where errors go if it `failed`; never raises OSError.

    A reader who has stopped reading, as after Ctrl-S, misses it: who waits for him follows no
    robot and hears no signal.
    """
    stream = sys.stderr if failed and sys.stderr else sys.stdout
    if not _has_room(stream):
        return
    try:
        print(line, file=stream, flush=True)
    except OSError:
        # A closed pipe, a lost terminal, a full disk.
        silence(stream)


def _has_room(stream: TextIO) -> bool:
    """Say whether a line can be written without waiting for long."""
    try:
        return bool(select.select([], [stream.fileno()], [], _PATIENCE)[1])
    except (OSError, ValueError):  # no file at all
        return True


def silence(stream: TextIO) -> None:
    """Lead nowhere what waits in a stream: Python writes it once more when it ends, and fails."""
    with suppress(OSError), Path(os.devnull).open('w') as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
