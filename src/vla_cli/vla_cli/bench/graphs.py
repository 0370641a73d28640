"""Whole graphs, live: latency from camera to command, hop by hop, and the gate's period."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sensor_msgs.msg import CameraInfo

from vla_cli.bench.load import busy, class_of, CLASSES, put_into
from vla_cli.bench.report import Row
from vla_cli.bench.turning import NODES, turn
from vla_cli.live import live_graph, LiveGraph
from vla_interfaces.msg import ActionChunk
from vla_ros import qos
from vla_ros.conversion import to_ns

_PERIOD = 0.02
_WARM_UP = 2.0
#: p99.9, ms, that is promised of the period's error; without the privilege nothing is.
_IDLE = 5.0
_LOADED = {'fifo': 10.0, 'nice': 20.0}


def camera_to_cmd_vel(policy: str, frames: int, folder: Path) -> list[Row]:
    """Measure from a frame's stamp to the first command that was computed from it."""
    with live_graph(folder / 'drive.log', {'robot': 'sim', 'policy': policy}) as live:
        live.until_active()
        hops = Hops(live)
        whole = _camera_to_cmd_vel(live, hops, frames)
        return [whole, *hops.rows(whole.scheduling)]


class Hops:
    """When each frame left each process: the middleware's stamps of the messages that tell it.

    A picture's camera_info leaves right behind it, and costs whoever listens nothing.
    """

    #: Process -> what it adds to the way of a frame.
    NAMES = ('sim', 'camera', 'policy', 'gate')

    def __init__(self, live: LiveGraph) -> None:
        """Listen to a graph with one camera, of slot `front`."""
        self._left: dict[str, dict[int, int]] = {name: {} for name in self.NAMES}
        for kind, topic, name in (
            (CameraInfo, 'camera/color/camera_info', 'sim'),
            (CameraInfo, 'vla/image/front/camera_info', 'camera'),
            (ActionChunk, 'vla/action_chunk', 'policy'),
        ):
            live.node.create_subscription(kind, topic, self._noting(name), qos.SENSOR)

    def _noting(self, name: str) -> Callable[[Any, dict[str, int]], None]:
        left = self._left[name]

        def note(msg: Any, info: dict[str, int]) -> None:
            frame = msg.observation_stamp if name == 'policy' else msg.header.stamp
            left.setdefault(to_ns(frame), info['source_timestamp'])

        return note

    def command(self, frame_ns: int, stamp_ns: int) -> None:
        """Note the first command that was computed from a frame."""
        self._left['gate'].setdefault(frame_ns, stamp_ns)

    def rows(self, scheduling: str) -> list[Row]:
        """Return a row for each hop of the frames that were seen everywhere."""
        whole = set.intersection(*(set(left) for left in self._left.values()))
        rows, before = [], {frame: frame for frame in whole}
        for name in self.NAMES:
            left = self._left[name]
            samples = [(left[frame] - before[frame]) * 1e-6 for frame in sorted(whole)]
            rows.append(Row(f'hop_{name}', 'ms', samples, scheduling=scheduling))
            before = left
        return rows


def _camera_to_cmd_vel(live: LiveGraph, hops: Hops, frames: int) -> Row:
    found = turn(live, frames, hops.command)
    missing = max(0, found.frames - len(found.latencies))
    notes = {
        'frames per s': round(found.rate, 1),
        'without a command': f'{missing} of {found.frames}',
        **{name: f'{found.cpu[name]:.0f} % CPU {found.memory[name]:.0f} MiB' for name in NODES},
    }
    limits = {'p50': 20.0, 'p99': 60.0}
    scheduling = class_of(live.process('gate').pid)
    samples = list(found.latencies.values())
    return Row('camera_to_cmd_vel', 'ms', samples, {}, notes, limits, scheduling=scheduling)


def gate_period_error(count: int, folder: Path) -> list[Row]:
    """Measure how far the gate's steps are from 20 ms apart, in the class that it was granted."""
    with _gate_alone(folder) as live:
        return [_period_error(live, count, 'gate_period_error', _IDLE)]


def gate_period_error_loaded(count: int, folder: Path) -> list[Row]:
    """Measure the same on a busy machine, in every scheduling class that can be had."""
    with _gate_alone(folder) as live, busy(folder):
        rows = []
        gate = live.process('gate')
        for name in CLASSES:
            if put_into(gate.pid, name):
                limit = _LOADED.get(name)
                rows.append(_period_error(live, count, f'gate_period_error_loaded_{name}', limit))
        return rows


def _gate_alone(folder: Path) -> AbstractContextManager[LiveGraph]:
    """Start a gate that gets no chunks: it steps by its timer only."""
    arguments = {'robot': 'sim', 'sim': 'false', 'policy': 'hold'}
    return live_graph(folder / 'alone.log', arguments)


def _period_error(live: LiveGraph, count: int, name: str, limit: float | None) -> Row:
    live.spin(_WARM_UP)
    live.forget()
    ticks: list[int] = []
    samples: list[float] = []
    while len(samples) < count:
        live.spin(1.0)
        live.graph.check()
        ticks += [decision.tick for decision in live.decisions]
        samples += [1e3 * abs(decision.dt - _PERIOD) for decision in live.decisions]
        live.forget()
    lost = ticks[-1] - ticks[0] + 1 - len(ticks)
    return Row(
        name,
        'ms',
        samples[:count],
        notes={'decisions that did not reach the watcher': lost},
        limits={'p99.9': limit} if limit else {},
        scheduling=class_of(live.process('gate').pid),
    )
