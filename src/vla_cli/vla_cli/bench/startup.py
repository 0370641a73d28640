"""How long each process takes to be ready, and how much memory it holds then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
import os
from pathlib import Path
import statistics
import sys
from tempfile import TemporaryDirectory
import time

import psutil

from vla_cli.bench.child import printed
from vla_cli.bench.load import class_of
from vla_cli.bench.report import Row
from vla_cli.bench.turning import NODES
from vla_cli.live import live_graph, LiveGraph
from vla_core.errors import VlaError
from vla_core.manifest import LanguageReference, load_manifest
from vla_core.policy import policy_names
from vla_ros.files import checkpoint_path

#: s after which memory counts as steady.
_STEADY = 5.0
#: MB that the policy's process may hold.
POLICY_MEMORY = 200.0
_MB = 1e6
#: What the policy's child does (vla_inference.folding), which then says how much it took.
_FOLD = r"""
import pathlib, re, sys
from vla_core.manifest import load_manifest
from vla_inference.encoder import locate
from vla_inference.folding import fold
checkpoint, folder = map(pathlib.Path, sys.argv[1:])
fold(locate(load_manifest(checkpoint).language), folder / 'graph.onnx')
status = pathlib.Path('/proc/self/status').read_text()
print(int(re.search(r'VmHWM:\s+(\d+)', status)[1]) * 1024)
"""


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
    notes = {'peak of the child that folds the encoder, MB': _folding_peak(policy)}
    return rows(starts, imports, scheduling, notes)


def rows(
    starts: Mapping[str, list[Start]],
    imports: Mapping[str, list[float]],
    scheduling: Mapping[str, str],
    notes: Mapping[str, object],
) -> list[Row]:
    """Return two rows per process: time, and memory.

    Args:
        starts: of each process.
        imports: s that importing its modules takes, alone.
        scheduling: class of each process.
        notes: beside the policy's memory.
    """
    result = []
    for name, every in starts.items():
        alone: dict[str, object] = {'imports alone, s': round(statistics.median(imports[name]), 3)}
        if sys.dont_write_bytecode:
            alone['PYTHONDONTWRITEBYTECODE'] = 'every start compiles what is imported'
        ready = [start.ready for start in every]
        kind = scheduling[name]
        result.append(Row(f'startup_{name}', 's', ready, notes=alone, scheduling=kind))
        policy = name == 'policy'
        held = {
            **{label: round(_median(every, label.lower()), 1) for label in ('PSS', 'USS')},
            'peak': round(max(start.peak for start in every), 1),
            **(notes if policy else {}),
        }
        limits = {'max': POLICY_MEMORY} if policy else {}
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
    what = f'import {script.module}'
    return [float(printed(['-c', program], what)) for _ in range(count)]


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


def _folding_peak(policy: str) -> object:
    """Return the largest memory of the child that prepares a policy's encoder, MB.

    Raises:
        VlaError: if the child fails.
    """
    if policy in policy_names():
        return 'none'
    folder = checkpoint_path(policy)
    if not isinstance(load_manifest(folder).language, LanguageReference):
        return 'none'
    with TemporaryDirectory(prefix='vla_startup_') as empty:
        text = printed(['-c', _FOLD, str(folder), empty], 'the child that folds the encoder')
    return round(int(text) / _MB, 1)
