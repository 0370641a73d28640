"""The whole graph, live: latency from camera to command, hop by hop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sensor_msgs.msg import CameraInfo

from vla_cli.bench.load import class_of
from vla_cli.bench.report import Row
from vla_cli.bench.turning import NODES, turn
from vla_cli.live import live_graph, LiveGraph
from vla_interfaces.msg import ActionChunk
from vla_ros import qos
from vla_ros.conversion import to_ns


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
