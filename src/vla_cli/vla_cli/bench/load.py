"""Circumstances of a measurement: a busy machine, and the scheduling class of a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
import os
from pathlib import Path
import subprocess
import sys
import time

import psutil

from vla_cli.graph import Graph, GraphError
from vla_ros.domains import own_domain

#: s for the simulator of the load to draw its first picture.
_PATIENCE = 60.0
#: Class -> policy, real-time priority, nice value; the gate asks for them in this order.
CLASSES = {
    'fifo': (os.SCHED_FIFO, 10, 0),
    'nice': (os.SCHED_OTHER, 0, -15),
    'other': (os.SCHED_OTHER, 0, 0),
}


def class_of(pid: int) -> str:
    """Return the scheduling class of a process in words."""
    if os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO:
        return f'FIFO {os.sched_getparam(pid).sched_priority}'
    nice = os.getpriority(os.PRIO_PROCESS, pid)
    return f'nice {nice}' if nice else 'other'


def put_into(pid: int, name: str) -> bool:
    """Put every thread of a process into one of CLASSES; return whether the system allows it.

    With a nice value goes the weight of the process's session (vla_safety.process).
    """
    policy, priority, nice = CLASSES[name]
    # Who raises itself must not raise the load that it starts.
    alone = os.SCHED_RESET_ON_FORK if pid == os.getpid() and priority else 0
    try:
        for thread in Path(f'/proc/{pid}/task').iterdir():
            os.sched_setscheduler(int(thread.name), policy | alone, os.sched_param(priority))
            os.setpriority(os.PRIO_PROCESS, int(thread.name), nice)
    except PermissionError:
        return False
    if pid != os.getpid():
        with suppress(OSError):
            Path(f'/proc/{pid}/autogroup').write_text(str(nice))
    return True


@contextmanager
def busy(folder: Path) -> Iterator[None]:
    """Keep every core busy with one process, beside a simulator that draws at 30 Hz.

    Args:
        folder: for what the simulator says.

    Raises:
        GraphError: if the simulator does not start.
    """
    command = [sys.executable, '-c', 'while True: pass']
    with own_domain() as domain_id:
        simulator = Graph(domain_id, folder / 'load.log', {}, launch_file='sim.launch.xml')
        loops: list[subprocess.Popen[bytes]] = []
        try:
            end = time.monotonic() + _PATIENCE
            while 'camera are live' not in simulator.output:
                simulator.check()
                if time.monotonic() > end:
                    raise GraphError(f'the simulator of the load is not live in {_PATIENCE:g} s')
                time.sleep(0.1)
            loops += [subprocess.Popen(command) for _ in range(psutil.cpu_count() or 1)]
            yield
        finally:
            for loop in loops:
                loop.kill()
                loop.wait()
            simulator.close()
