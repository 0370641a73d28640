"""The command `vla bench`.

Settings come from the environment: POLICY (demo), BENCH_FRAMES of camera_to_cmd_vel (1000),
BENCH_KILLS faults of each kind (5), BENCH_STEPS of the gate's period (1500), BENCH_BATCHES of
feeding the network (100; these rows need the train extra).
"""

from __future__ import annotations

from collections.abc import Mapping
import importlib.util
import json
import os
from pathlib import Path
import subprocess
import sys

from rich.console import Console

from vla_cli.bench.graphs import whole_graphs
from vla_cli.bench.parts import parts
from vla_cli.bench.report import Row, show, write
from vla_core.errors import ConfigError, VlaError

DEFAULTS = {
    'BENCH_FRAMES': 1000,
    'BENCH_KILLS': 5,
    'BENCH_STEPS': 1500,
    'BENCH_BATCHES': 100,
}


def bench(environment: Mapping[str, str] = os.environ) -> int:
    """Measure, print the table, write build/bench.json; return the exit status.

    Raises:
        ConfigError: if a setting is no positive integer.
        GraphError: if a graph does not start or does not drive.
        VlaError: if the process that measures learning fails.
    """
    console = Console()
    policy = environment.get('POLICY') or 'demo'
    counts = {name: _number(environment, name, value) for name, value in DEFAULTS.items()}
    folder = Path('build')
    *live, batches = counts.values()
    with console.status('parts, in this process'):
        rows = parts(policy)
    with console.status('feeding the network, in a process of its own'):
        rows += feeding(batches, console)
    with console.status('live graphs: a drive, faults of the policy, the gate alone'):
        rows = whole_graphs(policy, *live, folder / 'bench_logs') + rows
    write(rows, {'POLICY': policy, **counts}, folder / 'bench.json')
    show(rows, console)
    return 0


def feeding(batches: int, console: Console) -> list[Row]:
    """Measure the input pipeline and the training step, where there is a torch to do it with.

    Raises:
        VlaError: if the process that measures fails.
    """
    missing = [name for name in ('torch', 'torchvision') if not importlib.util.find_spec(name)]
    if missing:
        console.print(
            f'input_pipeline, training_step: left out, for {missing[0]} is missing '
            '(make setup-train)'
        )
        return []
    done = subprocess.run(
        [sys.executable, '-m', 'vla_learning.cli', 'bench', '--batches', str(batches)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise VlaError(f'the learning part of the benchmark ended with {done.returncode}: {last}')
    return [Row(**row) for row in json.loads(done.stdout)]


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ConfigError(f'{name} is {text!r}: expected a positive integer')
    return int(text)
