"""Closed-loop evaluation through the real graph: `make evaluate`.

Settings come from the environment: EPISODES per category (50), SEED of the first layout (500000;
with FINAL=1: 1000001), JOBS graphs side by side (one per core), POLICY (demo), CATEGORIES (all).
Results are in build/evaluate.json and build/evaluate.png.
"""

from __future__ import annotations

import os
from pathlib import Path
import signal
import sys
from types import FrameType
from typing import NoReturn

from rich.console import Console

from vla_core.errors import VlaError
from vla_learning.evaluation.blocks import evaluate, Settings
from vla_learning.evaluation.report import draw, show, write


def main() -> int:
    """Run the command; return its exit status."""
    if len(sys.argv) > 1:
        print(__doc__)
        return 0 if sys.argv[1:] in (['-h'], ['--help']) else 2
    signal.signal(signal.SIGTERM, _end)
    console = Console()
    folder = Path('build')
    try:
        results = evaluate(Settings.of(os.environ), folder / 'evaluate_logs', console)
    except VlaError as error:
        print(f'evaluate: {error}', file=sys.stderr)
        return 2
    write(results, folder / 'evaluate.json')
    draw(results, folder / 'evaluate.png')
    show(results, console)
    return 0


def _end(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == '__main__':
    sys.exit(main())
