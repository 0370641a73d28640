"""How long each process takes to be ready, and how much memory it holds then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
import os
from pathlib import Path
import statistics
import subprocess
import sys
import time

import psutil

from vla_cli.bench.graphs import NODES
from vla_cli.bench.load import class_of
from vla_cli.bench.report import Row
from vla_cli.live import live_graph, LiveGraph
from vla_core.errors import VlaError

#: s after which memory counts as steady.
_STEADY = 5.0
#: MB that the policy's process may hold.
POLICY_MEMORY = 200.0
_MB = 1e6


@dataclass(frozen=True)
class Start:
    """One start of one process.

    Attributes:
        ready: s from the start of the process to its first heartbeat.
        rss: MB, resident, steady.
        pss: MB, of which shared pages count by share.
        uss: MB, of this process alone.
        peak: MB, resident at most so far.
    """

    ready: float
    rss: float
    pss: float
    uss: float
    peak: float


def startup(policy: str, count: int, folder: Path) -> list[Row]:
    """Start the graph so often; a policy's first heartbeat says that it hears texts."""
    starts: dict[str, list[Start]] = {name: [] for name in NODES}
    scheduling = {}
    for _ in range(count):
        with live_graph(folder / 'startup.log', {'robot': 'sim', 'policy': policy}) as live:
            live.until(lambda: set(NODES) <= set(live.heard), 'a heartbeat of each node')
            live.spin(_STEADY)
            for name in NODES:
                process = live.process(name)
                scheduling[name] = class_of(process.pid)
                starts[name].append(_look(live, name, process))
    imports = {name: import_seconds(name, count) for name in NODES}
    return rows(starts, imports, scheduling)


def rows(
    starts: Mapping[str, list[Start]],
    imports: Mapping[str, list[float]],
    scheduling: Mapping[str, str],
) -> list[Row]:
    """Return two rows per process: time, and memory.

    Args:
        starts: of each process.
        imports: s that importing its modules takes, alone.
        scheduling: class of each process.
    """
    result = []
    for name, every in starts.items():
        alone: dict[str, object] = {'imports alone, s': round(statistics.median(imports[name]), 3)}
        if sys.dont_write_bytecode:
            alone['PYTHONDONTWRITEBYTECODE'] = 'every start compiles what is imported'
        ready = [start.ready for start in every]
        kind = scheduling[name]
        result.append(Row(f'startup_{name}', 's', ready, notes=alone, scheduling=kind))
        held = {
            **{label: round(_median(every, label.lower()), 1) for label in ('PSS', 'USS')},
            'peak': round(max(start.peak for start in every), 1),
        }
        limits = {'max': POLICY_MEMORY} if name == 'policy' else {}
        rss = [start.rss for start in every]
        row = Row(f'memory_{name}', 'MB', rss, notes=held, limits=limits, scheduling=kind)
        result.append(row)
    return result


def import_seconds(name: str, count: int) -> list[float]:
    """Import what an executable imports, each time in a fresh interpreter; return the times.

    Raises:
        VlaError: if the import fails.
    """
    (script,) = entry_points(group='console_scripts', name=name)
    program = (
        'import time; began = time.perf_counter()\n'
        f'import {script.module}\nprint(time.perf_counter() - began)'
    )
    samples = []
    for _ in range(count):
        done = subprocess.run(
            [sys.executable, '-c', program], capture_output=True, text=True, check=False
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:]
            raise VlaError(f'import {script.module} ended with {done.returncode}: {last}')
        samples.append(float(done.stdout))
    return samples


def since_boot(pid: int) -> float:
    """Return when a process started, s on CLOCK_BOOTTIME, to a hundredth.

    Source: proc_pid_stat(5), field 22, counted behind the name, which may hold blanks.
    """
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return int(fields[22 - 3]) / os.sysconf('SC_CLK_TCK')


def peak_mb(pid: int) -> float:
    """Return the largest resident memory of a process so far, MB."""
    for line in Path(f'/proc/{pid}/status').read_text().splitlines():
        if line.startswith('VmHWM:'):
            return int(line.split()[1]) * 1024 / _MB
    raise VlaError(f'process {pid} has no VmHWM: expected one that lives')


def _median(starts: list[Start], label: str) -> float:
    return statistics.median(getattr(start, label) for start in starts)


def _look(live: LiveGraph, name: str, process: psutil.Process) -> Start:
    # Monotonic time stands still while a machine sleeps; none does during a start.
    offset = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    memory = process.memory_full_info()
    return Start(
        ready=live.heard[name] + offset - since_boot(process.pid),
        rss=memory.rss / _MB,
        pss=memory.pss / _MB,
        uss=memory.uss / _MB,
        peak=peak_mb(process.pid),
    )
