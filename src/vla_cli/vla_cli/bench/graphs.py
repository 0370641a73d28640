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
from vla_core.admission import admit
from vla_core.manifest import IncludedLanguage
from vla_core.policy import policy_names
from vla_interfaces.msg import ActionChunk
from vla_ros import qos
from vla_ros.conversion import to_ns
from vla_ros.files import checkpoint_path

#: px, width and height, of a full-size policy's picture.
_FULL_SIZE = 224


def camera_to_cmd_vel(policy: str, frames: int, folder: Path) -> list[Row]:
    """Measure from a frame's stamp to the first command that was computed from it."""
    limits = promises(policy)
    with live_graph(folder / 'drive.log', {'robot': 'sim', 'policy': policy}) as live:
        live.until_active()
        hops = Hops(live)
        whole = _camera_to_cmd_vel(live, hops, frames, limits)
        return [whole, *hops.rows(whole.scheduling)]


def promises(policy: str) -> dict[str, float]:
    """Return the limits of a policy's way from camera to command, ms.

    Args:
        policy: checkpoint or built-in policy.

    Raises:
        ConfigError: if there is neither.
        CheckpointError: if the folder is refused, and nothing can take its place.
    """
    return {'p50': 45.0} if _full_size(policy) else {'p50': 20.0, 'p99': 60.0}


def _full_size(policy: str) -> bool:
    """Say whether a policy is of the full scale; an export keeps no sizes of its network.

    Only that scale learns its language encoder with the policy, and sees this many pixels.
    """
    if policy in policy_names():
        return False
    manifest = admit(checkpoint_path(policy)).manifest
    return isinstance(manifest.language, IncludedLanguage) and all(
        min(slot.width, slot.height) >= _FULL_SIZE for slot in manifest.spec.cameras
    )


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


def _camera_to_cmd_vel(live: LiveGraph, hops: Hops, frames: int, limits: dict[str, float]) -> Row:
    found = turn(live, frames, hops.command)
    missing = max(0, found.frames - len(found.latencies))
    notes = {
        'frames per s': round(found.rate, 1),
        'without a command': f'{missing} of {found.frames}',
        **{name: f'{found.cpu[name]:.0f} % CPU {found.memory[name]:.0f} MiB' for name in NODES},
    }
    scheduling = class_of(live.process('gate').pid)
    samples = list(found.latencies.values())
    return Row('camera_to_cmd_vel', 'ms', samples, {}, notes, limits, scheduling=scheduling)
