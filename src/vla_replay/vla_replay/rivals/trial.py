"""One contender on recorded frames: from a frame's stamp to the first command computed from it.

Run as a process of its own (`python -m vla_replay.rivals.trial`, see `command`): a peer's messages
are found only by a process that was started with their paths. Prints a JSON list of ms. Time ends
at the middleware's stamp of the message with the command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
import json
import os
from pathlib import Path
import subprocess
import sys
import time
from typing import Any

from geometry_msgs.msg import Twist
import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

from vla_cli.graph import GraphError, use_profile
from vla_cli.live import live_graph
from vla_core.types import Status
from vla_interfaces.msg import Decision
from vla_replay.message_types import message_class
from vla_replay.rivals import peer
from vla_replay.rivals.feed import Feed
from vla_ros.conversion import to_ns
from vla_ros.domains import ALONE, own_domain
from vla_ros.in_turn import in_turn_executor

CAMERA, TEXT = 'camera/color/image_raw', 'turn left'
#: s after which the text is said again: ours ends by itself after 10 s, the peer's after 5.
_AGAIN = 4.0
#: s until a contender acts; from its first command until what it does counts.
_PATIENCE, _WARM_UP = 60.0, 2.0
#: s without any command after which a contender is given up.
_SILENCE = 10.0
_DEPTH = 200


@dataclass
class Latencies:
    """What was measured of one contender, and when it last acted."""

    samples: dict[int, float] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    since: float = 0.0
    heard: float = 0.0

    def command(self, stamp_ns: int, left_ns: int) -> None:
        """Note a command: the stamp of its frame, and when it left."""
        self.heard = time.monotonic()
        # A gate repeats the stamp of a frame; the first time counts, also from before `since`.
        new = stamp_ns not in self.seen
        self.seen.add(stamp_ns)
        if stamp_ns and new and self.since and self.heard > self.since:
            self.samples[stamp_ns] = (left_ns - stamp_ns) * 1e-6


def ours(pictures: Sequence[np.ndarray], frames: int, policy: str, log: Path) -> list[float]:
    """Measure this workspace's graph, without the simulator."""
    found = Latencies()
    with live_graph(log, {'robot': 'sim', 'sim': 'false', 'policy': policy}) as live:

        def on_decision(msg: Decision, info: dict[str, int]) -> None:
            if msg.chunk_status == Status.RUNNING:
                found.command(to_ns(msg.observation_stamp), info['source_timestamp'])

        live.node.create_subscription(Decision, 'safety/decision', on_decision, _DEPTH)
        with _feeding(live.node, pictures):
            live.until_active()

            def spin(seconds: float) -> None:
                live.graph.check()
                live.forget()
                live.spin(seconds)

            _collect(found, frames, lambda: live.say(TEXT), spin)
    return list(found.samples.values())


def seed_way(pictures: Sequence[np.ndarray], frames: int, folder: str, log: Path) -> list[float]:
    """Measure the straightforward node."""
    line = [sys.executable, '-m', 'vla_replay.rivals.seed_way', folder]
    return _foreign(pictures, frames, line, log, 'command', Twist, 'cmd_vel', _seed_frame)


def peers(
    pictures: Sequence[np.ndarray], frames: int, rate: float | None, log: Path
) -> list[float]:
    """Measure the peer's node; this process was started in its environment."""
    kind = message_class('vla_ros2_msgs/msg/VLAAction')
    topics = peer.INSTRUCTION, kind, 'vla/action'
    return _foreign(pictures, frames, peer.command(rate), log, *topics, _peer_frame)


def _seed_frame(msg: Any) -> int:
    return int(msg.linear.z)


def _peer_frame(msg: Any) -> int:
    return int(msg.data[-1])


def _foreign(
    pictures: Sequence[np.ndarray],
    frames: int,
    line: Sequence[str],
    log: Path,
    said: str,
    kind: type,
    acted: str,
    frame_of: Callable[[Any], int],
) -> list[float]:
    """Measure a process that knows a frame by its first number only."""
    found = Latencies()
    with _alone(line, log) as (node, process, spin), _feeding(node, pictures) as feed:

        def on_action(msg: Any, info: dict[str, int]) -> None:
            found.command(feed.stamps.get(frame_of(msg), 0), info['source_timestamp'])

        node.create_subscription(kind, acted, on_action, _DEPTH)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        texts = node.create_publisher(String, said, latched)

        def checked(seconds: float) -> None:
            if process.poll() is not None:
                last = log.read_text(errors='replace').strip().splitlines()[-1:]
                raise GraphError(f'it ended with {process.returncode}: {last}')
            spin(seconds)

        _collect(found, frames, lambda: texts.publish(String(data=TEXT)), checked)
    return list(found.samples.values())


def _collect(
    found: Latencies,
    frames: int,
    say: Callable[[], object],
    spin: Callable[[float], None],
) -> None:
    """Let a contender act until there are enough samples."""
    said, began = -_AGAIN, time.monotonic()
    while len(found.samples) < frames:
        now = time.monotonic()
        if now - said > _AGAIN:
            say()
            said = now
        spin(0.2)
        if found.heard and not found.since:
            found.since = time.monotonic() + _WARM_UP
        patience = _SILENCE if found.heard else _PATIENCE
        if time.monotonic() - max(found.heard, began) > patience:
            raise GraphError(f'no command for {patience:g} s')


@contextmanager
def _feeding(node: Node, pictures: Sequence[np.ndarray]) -> Iterator[Feed]:
    feed = Feed(node, list(pictures), CAMERA)
    feed.start()
    try:
        yield feed
    finally:
        feed.close()


@contextmanager
def _alone(
    line: Sequence[str], log: Path
) -> Iterator[tuple[Node, subprocess.Popen[bytes], Callable[[float], None]]]:
    """Start a process in a domain of its own; yield a node beside it and a way to spin it."""
    use_profile()
    os.environ.update(ALONE)
    with own_domain() as domain, log.open('wb') as output:
        environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain)}
        context = rclpy.Context()
        rclpy.init(
            context=context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO
        )
        node = rclpy.create_node('watcher', context=context)
        executor = in_turn_executor(context)
        executor.add_node(node)

        def spin(seconds: float) -> None:
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0.0:
                executor.spin_once(timeout_sec=left)

        process = subprocess.Popen(line, env=environment, stdout=output, stderr=output)
        try:
            yield node, process, spin
        finally:
            process.terminate()
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            executor.shutdown()
            node.destroy_node()
            rclpy.try_shutdown(context=context)


def command(contender: str, pictures: Path, frames: int, what: str, log: Path) -> list[str]:
    """Return what Python is told for a trial.

    Args:
        contender: ours, seed_way or peer.
        pictures: .npy file, uint8 [N, height, width, 3].
        frames: samples to take.
        what: policy; folder of its checkpoint for seed_way; for peer its rate, empty for its own.
        log: file for the contender's output.
    """
    words = [contender, str(pictures), str(frames), what, str(log)]
    return ['-m', 'vla_replay.rivals.trial', *words]


def main() -> int:
    """Run one trial; return the exit status."""
    contender, pictures, frames, what, log = sys.argv[1:]
    shown = np.load(pictures, mmap_mode='r', allow_pickle=False)
    try:
        if contender == 'peer':
            samples = peers(shown, int(frames), float(what) if what else None, Path(log))
        else:
            measure = {'ours': ours, 'seed_way': seed_way}[contender]
            samples = measure(shown, int(frames), what, Path(log))
    except GraphError as error:
        sys.stderr.write(f'{contender}: {error}\n')
        return 1
    sys.stdout.write(json.dumps(samples) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
