"""The command `vla bench`.

Settings come from the environment: POLICY (demo), BENCH_FRAMES of camera_to_cmd_vel (1000),
BENCH_KILLS faults of each kind (5), BENCH_STEPS of the gate's period (1500).
"""

from __future__ import annotations

from collections.abc import Mapping
import os
from pathlib import Path

from rich.console import Console

from vla_cli.bench.graphs import whole_graphs
from vla_cli.bench.parts import parts
from vla_cli.bench.report import show, write
from vla_core.errors import ConfigError

DEFAULTS = {'BENCH_FRAMES': 1000, 'BENCH_KILLS': 5, 'BENCH_STEPS': 1500}


def bench(environment: Mapping[str, str] = os.environ) -> int:
    """Measure, print the table, write build/bench.json; return the exit status.

    Raises:
        ConfigError: if a setting is no positive integer.
        GraphError: if a graph does not start or does not drive.
    """
    console = Console()
    policy = environment.get('POLICY') or 'demo'
    counts = {name: _number(environment, name, value) for name, value in DEFAULTS.items()}
    folder = Path('build')
    with console.status('parts, in this process'):
        rows = parts(policy)
    with console.status('live graphs: a drive, faults of the policy, the gate alone'):
        rows = whole_graphs(policy, *counts.values(), folder / 'bench_logs') + rows
    write(rows, {'POLICY': policy, **counts}, folder / 'bench.json')
    show(rows, console)
    return 0


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ConfigError(f'{name} is {text!r}: expected a positive integer')
    return int(text)
