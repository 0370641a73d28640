"""Whole graphs, live: latency from camera to command, faults of the policy, the gate's period."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import subprocess
import sys
import time

import psutil
from std_msgs.msg import Bool

from vla_cli.bench.driving import drive, reaction
from vla_cli.bench.report import Row
from vla_cli.faults.processes import frozen, killed, scheduling
from vla_cli.live import live_graph, LiveGraph
from vla_core.gate.causes import State
from vla_core.types import Status
from vla_ros.conversion import to_ns

_NODES = ('gate', 'policy', 'camera', 'monitor', 'sim')
#: s of "turn left" after which it is said again: it ends by itself after 10 s.
_TURN = 8.0
_PERIOD = 0.02
_WARM_UP = 2.0


def whole_graphs(policy: str, frames: int, faults: int, steps: int, folder: Path) -> list[Row]:
    """Measure live graphs.

    Args:
        policy: checkpoint or built-in policy that drives.
        frames: of camera_to_cmd_vel.
        faults: of each kind.
        steps: of gate_period_error.
        folder: for what the graphs say.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arguments = {'robot': 'sim', 'policy': policy, 'policy_respawns': '-1'}
    with live_graph(folder / 'drive.log', arguments) as live:
        live.until_active()
        rows = [camera_to_cmd_vel(live, frames), *policy_faults(live, faults)]
        rows.append(estop_to_zero(live, faults))
    alone = {'robot': 'sim', 'sim': 'false', 'policy': 'hold'}
    with live_graph(folder / 'alone.log', alone) as live:
        rows.append(gate_period_error(live, steps, 'gate_period_error'))
        with busy():
            rows.append(gate_period_error(live, steps, 'gate_period_error_loaded'))
    return rows


def camera_to_cmd_vel(live: LiveGraph, frames: int) -> Row:
    """Measure from a frame's stamp to the first command that was computed from it."""
    processes = {name: live.process(name) for name in _NODES}
    live.say('turn left')
    live.spin(_WARM_UP)
    began, sent = time.monotonic(), live.heartbeats['sim'].progress
    cpu = {name: _cpu(process) for name, process in processes.items()}
    latencies: dict[int, float] = {}
    said = time.monotonic() - _TURN
    while len(latencies) < frames:
        if time.monotonic() - said >= _TURN:
            live.say('turn left')
            said = time.monotonic()
        live.forget()
        live.spin(1.0)
        for decision in live.decisions:
            observed = to_ns(decision.observation_stamp)
            if decision.chunk_status == Status.RUNNING and observed not in latencies:
                latencies[observed] = (to_ns(decision.header.stamp) - observed) * 1e-6
    wall, rendered = time.monotonic() - began, live.heartbeats['sim'].progress - sent
    notes = {
        'frames per s': round(rendered / wall, 1),
        'without a command': f'{max(0, rendered - len(latencies))} of {rendered}',
        **{
            f'{name}': f'{100 * (_cpu(process) - cpu[name]) / wall:.0f} % CPU '
            f'{process.memory_info().rss / 2**20:.0f} MiB'
            for name, process in processes.items()
        },
    }
    return Row('camera_to_cmd_vel', 'ms', list(latencies.values()), notes=notes)


def policy_faults(live: LiveGraph, count: int) -> list[Row]:
    """Kill and freeze the policy in mid-drive."""
    rows = []
    for kind, break_ in (('kill', killed), ('freeze', frozen)):
        starts, zeros, speeds = [], [], []
        for _ in range(count):
            speeds.append(drive(live))
            policy = live.process('policy')
            live.forget()
            with break_(policy) as fault_ns:
                live.spin(1.2)
            live.spin(0.3)
            start, zero = reaction(live, fault_ns, speeds[-1])
            starts.append(start)
            zeros.append(zero)
        notes = {'zero after s, max': round(max(zeros), 3), 'from m/s': round(max(speeds), 2)}
        rows.append(Row(f'policy_{kind}_to_deceleration', 's', starts, notes=notes))
    return rows


def estop_to_zero(live: LiveGraph, count: int) -> Row:
    """Press the emergency stop in mid-drive: from publishing to the decision that is zero."""
    button = live.node.create_publisher(Bool, 'safety/estop', 10)
    live.until(lambda: button.get_subscription_count() > 0, 'the button is heard')
    samples = []
    for _ in range(count):
        drive(live)
        live.forget()
        pressed_ns = time.time_ns()
        button.publish(Bool(data=True))
        live.until(lambda: live.decision.state == State.ESTOP, 'ESTOP')
        stamps = [to_ns(d.header.stamp) for d in live.decisions if d.published.linear.x == 0.0]
        samples.append((stamps[0] - pressed_ns) * 1e-6)
        button.publish(Bool(data=False))
        live.reset()
    return Row('estop_to_zero', 'ms', samples)


def gate_period_error(live: LiveGraph, count: int, name: str) -> Row:
    """Measure how far the gate's steps are from 20 ms apart, by its own clock, without chunks."""
    live.spin(_WARM_UP)
    live.forget()
    live.until(lambda: len(live.decisions) >= count, 'steps of the gate', 10 + 0.1 * count)
    samples = [1e3 * abs(decision.dt - _PERIOD) for decision in live.decisions[:count]]
    gate = live.process('gate')
    notes = {'scheduling class': scheduling(gate), 'nice': gate.nice()}
    return Row(name, 'ms', samples, notes=notes)


@contextmanager
def busy() -> Iterator[None]:
    """Keep every core busy with one process."""
    command = [sys.executable, '-c', 'while True: pass']
    processes = [subprocess.Popen(command) for _ in range(psutil.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
