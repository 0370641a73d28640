"""Record a drive of the simulated robot: the regression bag, and whatever tests need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
import tempfile
import time
from typing import Any

from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rich.console import Console
from sensor_msgs.msg import Image
from std_msgs.msg import String

from vla_cli.live import live_graph, LiveGraph
from vla_core.session import Fate
from vla_interfaces.msg import ActionChunk, Decision, Instruction
from vla_replay.bag.writer import BagWriter
from vla_replay.message_types import type_name
from vla_replay.options import Drive
from vla_ros import qos

#: s of standing before the first text and after the last.
_REST = 0.6
#: Sensors are sent best effort; none of what arrives may be lost here.
_SENSORS = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
_ALL = 200
TOPICS: dict[str, tuple[type, Any]] = {
    'odom': (Odometry, _SENSORS),
    'command': (String, _ALL),
    'cmd_vel': (Twist, _ALL),
    'vla/action_chunk': (ActionChunk, _ALL),
    'vla/instruction': (Instruction, qos.INSTRUCTION),
    'safety/decision': (Decision, _ALL),
}


def drive(options: Drive) -> int:
    """Run `vla demo drive`; return 0 if every text was DONE, else 1."""
    console = Console()
    texts = [(text, options.seconds) for text in options.texts]
    fates = record_drive(options.output, texts, options.seed, options.policy, options.camera)
    for text, fate in zip(options.texts, fates, strict=True):
        console.print(f'{text}: {fate.name}', markup=False)
    return 0 if all(fate is Fate.DONE for fate in fates) else 1


def record_drive(
    folder: Path,
    texts: Sequence[tuple[str, float]],
    seed: int,
    policy: str = 'demo',
    camera: str = 'camera/color/image_raw',
) -> list[Fate]:
    """Start the graph with the simulated robot, say texts and record what happens.

    Args:
        folder: new bag.
        texts: instruction, and s that it may take; it is replaced by the next one after that.
        seed: of the layout.
        policy: checkpoint or built-in policy.
        camera: topic of the frames.

    Returns:
        What became of each text.

    Raises:
        GraphError: if the graph does not start, or nobody obeys.
        BagError: if the bag cannot be written.
    """
    with tempfile.TemporaryDirectory() as logs:
        parameters = {'sim': {'seed': seed}}
        log = Path(logs) / 'graph.log'
        with live_graph(log, {'policy': policy}, parameters) as live:
            live.until_active()
            facts = {'policy': policy, 'seed': str(seed)}
            with BagWriter(folder, custom=facts) as bag:
                _listen(live, bag, TOPICS | {camera: (Image, _SENSORS)})
                live.spin(_REST)
                fates = [_say(live, text, seconds) for text, seconds in texts]
                live.spin(_REST)
                return fates


def _listen(live: LiveGraph, bag: BagWriter, topics: dict[str, tuple[type, Any]]) -> None:
    for name, (kind, profile) in topics.items():
        topic = f'/{name}'
        bag.add_topic(topic, type_name(kind))
        live.node.create_subscription(
            kind,
            name,
            lambda data, topic=topic: bag.write(topic, time.time_ns(), data),
            profile,
            raw=True,
        )
    live.until(lambda: _heard(live, topics), 'everything that is recorded has a publisher')


def _heard(live: LiveGraph, names: Iterable[str]) -> bool:
    # This process publishes the texts.
    return all(live.node.count_publishers(name) for name in names)


def _say(live: LiveGraph, text: str, seconds: float) -> Fate:
    number = live.say(text)
    end = time.monotonic() + seconds
    while live.records[number].status == Fate.RUNNING and time.monotonic() < end:
        live.spin(0.05)
    return Fate(live.records[number].status)
