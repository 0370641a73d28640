"""What is measured in a Python process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
import subprocess
import sys

from vla_core.errors import VlaError


def printed(
    arguments: Sequence[str], what: str, environment: Mapping[str, str] | None = None
) -> str:
    """Run Python with these arguments; return what it printed.

    Args:
        arguments: behind the interpreter's name.
        what: it is, for the error.
        environment: beside this process's own.

    Raises:
        VlaError: if it fails; the message ends with its last words.
    """
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ['without a word'])[-1]
        raise VlaError(f'{what} ended with {done.returncode}: {last}')
    return done.stdout
