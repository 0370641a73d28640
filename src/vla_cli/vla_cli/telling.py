"""Lines for a reader who may have left: the robot must not care."""

from __future__ import annotations

from contextlib import suppress
import os
from pathlib import Path
import sys
from typing import TextIO


def tell(line: str, failed: bool = False) -> None:
    """Print a line at once, where errors go if it `failed`; never raises OSError."""
    stream = sys.stderr if failed and sys.stderr else sys.stdout
    try:
        print(line, file=stream, flush=True)
    except OSError:
        # A closed pipe, a lost terminal, a full disk.
        silence(stream)


def silence(stream: TextIO) -> None:
    """Lead nowhere what waits in a stream: Python writes it once more when it ends, and fails."""
    with suppress(OSError), Path(os.devnull).open('w') as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
