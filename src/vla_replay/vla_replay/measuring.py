"""The flight recorder: what it costs, what it misses, and what a kill takes from its bag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
import numpy as np
import psutil
import rclpy
from rclpy.node import Node
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image
from std_msgs.msg import String

from vla_cli.bench.load import class_of
from vla_cli.bench.measurements import Measurement
from vla_cli.bench.report import Row
from vla_cli.graph import GraphError, use_profile
from vla_interfaces.msg import ActionChunk, Decision, Heartbeat
from vla_replay.bag.reader import BagReader
from vla_ros import qos
from vla_ros.domains import ALONE, own_domain

CAMERA, NUMBERS = '/camera/color/image_raw', '/numbers'
#: Pictures that take turns, so that no two in a chunk are alike.
_PICTURES = 16
#: s: for a recorder to hear everything; for what is on its way when the source stops.
_PATIENCE, _SETTLE = 30.0, 1.0
#: A kill comes this long after the recorder hears everything, s.
_KILL_AFTER = (0.5, 4.0)
_STEP = 0.001


class Source:
    """Publishes what a robot does: a camera, a policy's picture, and every small topic."""

    def __init__(self, node: Node, camera: bool = True) -> None:
        """Offer the topics.

        Args:
            node: of this process.
            camera: publish pictures, too.
        """
        chunk = ActionChunk(data=[0.1] * 56, horizon=8, names=['linear.x'] * 7)
        self._sent: Counter[str] = Counter()
        self._parts: list[tuple[Any, float, list[Any]]] = []
        self._numbers = node.create_publisher(String, NUMBERS, qos.EVENTS)
        for name, kind, profile, rate, messages in (
            ('/safety/decision', Decision, qos.DECISION, 50.0, [Decision()]),
            ('/cmd_vel', Twist, qos.VELOCITY, 50.0, [Twist()]),
            ('/odom', Odometry, 10, 50.0, [Odometry()]),
            ('/vla/heartbeat', Heartbeat, qos.HEARTBEAT, 100.0, [Heartbeat(node='camera')]),
            ('/vla/action_chunk', ActionChunk, 1, 25.0, [chunk]),
            (CAMERA, Image, qos.SENSOR, 30.0, _pictures(640, 480) if camera else []),
            ('/vla/image/front', Image, qos.SENSOR, 25.0, _pictures(224, 224) if camera else []),
        ):
            if messages:
                publisher = node.create_publisher(kind, name, profile)
                ready = [serialize_message(message) for message in messages]
                self._parts.append((publisher, rate, ready))

    @property
    def heard(self) -> bool:
        """Whether somebody hears every topic."""
        publishers = [self._numbers, *(publisher for publisher, _, _ in self._parts)]
        return all(one.get_subscription_count() for one in publishers)

    @property
    def sent(self) -> dict[str, int]:
        """Topic -> messages so far."""
        return dict(self._sent)

    def run(self, seconds: float) -> None:
        """Publish for this long; each number holds the monotonic time at which it left, ns."""
        began = time.monotonic()
        due = [began] * len(self._parts)
        number_due = began
        while (now := time.monotonic()) < began + seconds:
            for index, (publisher, rate, ready) in enumerate(self._parts):
                if now >= due[index]:
                    due[index] += 1.0 / rate
                    publisher.publish(ready[self._sent[publisher.topic] % len(ready)])
                    self._sent[publisher.topic] += 1
            if now >= number_due:
                number_due += 0.01
                self._numbers.publish(String(data=f'{self._sent[NUMBERS]} {time.monotonic_ns()}'))
                self._sent[NUMBERS] += 1
            time.sleep(_STEP)


def recorder_cpu(seconds: int) -> list[Row]:
    """Record everything for so many seconds, with pictures as JPEG and as they are."""
    return [_cpu_row(images, seconds) for images in ('jpeg', 'raw')]


def _cpu_row(images: str, seconds: int) -> Row:
    samples = []
    with _source() as (source, folder, environment):
        recorder = _start(folder, environment, images)
        try:
            _until_heard(source, recorder)
            process = psutil.Process(recorder.pid)
            time.sleep(_SETTLE)
            # From here on nothing may be missing.
            before, begin_ns = source.sent, time.time_ns()
            for _ in range(seconds):
                used, began = sum(process.cpu_times()[:2]), time.monotonic()
                source.run(1.0)
                spent = sum(process.cpu_times()[:2]) - used
                samples.append(100.0 * spent / (time.monotonic() - began))
            memory, scheduling = process.memory_info().rss / 2**20, class_of(recorder.pid)
            time.sleep(_SETTLE)
        finally:
            _end(recorder)
        with BagReader(folder / 'bag') as bag:
            earlier = Counter(message.topic for message in bag.messages(end_ns=begin_ns))
            kept = {name: one.count - earlier[name] for name, one in bag.topics.items()}
            size = sum(file.stat().st_size for file in (folder / 'bag').iterdir())
            dropped = bag.custom.get('dropped_messages', 'none')
    sent = source.sent
    expected = {name: sent[name] - before.get(name, 0) for name in sent}
    missing = {
        name: count - kept.get(name, 0) - kept.get(f'{name}/compressed', 0)
        for name, count in expected.items()
    }
    notes = {
        'messages': sum(expected.values()),
        'missing': sum(missing.values()),
        'pictures': expected[CAMERA],
        'missing pictures': missing[CAMERA],
        'dropped by the recorder': dropped,
        'MB/s': round(size / 1e6 / (seconds + 3 * _SETTLE), 1),
        'MiB': round(memory),
    }
    limits = {'missing': 0.0} | ({'p50': 25.0} if images == 'jpeg' else {})
    return Row(
        f'recorder_cpu_{images}',
        '% of one core',
        samples,
        notes=notes,
        limits=limits,
        scheduling=scheduling,
    )


def recorder_loss(kills: int) -> list[Row]:
    """Kill the recorder at random moments; a sample is what the kill took from the end, s."""
    chance = random.Random(kills)
    losses: list[float] = []
    gaps, unopened, scheduling = 0, 0, ''
    for _ in range(kills):
        # A source that never met the recorder before: it would count the dead one as a listener.
        with _source() as (source, folder, environment):
            recorder = _start(folder, environment, 'jpeg')
            try:
                _until_heard(source, recorder)
                scheduling = class_of(recorder.pid)
                source.run(chance.uniform(*_KILL_AFTER))
                recorder.kill()
                killed_ns = time.monotonic_ns()
            finally:
                recorder.kill()
                recorder.wait()
            found = numbers(folder / 'bag')
        if found:
            losses.append((killed_ns - found[-1][1]) * 1e-9)
            gaps += found[-1][0] - found[0][0] + 1 - len(found)
        else:
            unopened += 1
    notes = {'without a message': unopened, 'missing before the end': gaps}
    return [
        Row(
            'recorder_loss',
            's',
            losses,
            notes=notes,
            limits={'max': 1.0, 'without a message': 0.0, 'missing before the end': 0.0},
            scheduling=scheduling,
        )
    ]


def numbers(bag: Path) -> list[tuple[int, int]]:
    """Return the numbers in a bag and when each left, monotonic ns.

    Raises:
        BagError: if the bag cannot be opened.
    """
    with BagReader(bag) as reader:
        texts = (
            deserialize_message(message.data, String).data
            for message in reader.messages({NUMBERS} & set(reader.topics))
        )
        return [(int(text.split()[0]), int(text.split()[1])) for text in texts]


def _pictures(width: int, height: int) -> list[Image]:
    """Return smooth pictures with the noise of a camera."""
    chance = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    smooth = np.stack([columns / 3, rows / 2, (rows + columns) / 5], -1)
    pictures = []
    for number in range(_PICTURES):
        pixels = smooth + 8 * number + chance.integers(-6, 7, smooth.shape)
        data = (pixels % 256).astype(np.uint8).tobytes()
        pictures.append(
            Image(height=height, width=width, encoding='rgb8', step=3 * width, data=data)
        )
    return pictures


@contextmanager
def _source() -> Iterator[tuple[Source, Path, dict[str, str]]]:
    """Yield a source in a domain of its own, a folder, and the environment of a recorder."""
    use_profile()
    with own_domain() as domain, tempfile.TemporaryDirectory(prefix='vla_record_') as folder:
        before = {name: os.environ.get(name) for name in ALONE}
        os.environ.update(ALONE)
        context = rclpy.Context()
        rclpy.init(
            context=context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO
        )
        node = rclpy.create_node('source', context=context)
        try:
            yield Source(node), Path(folder), {**os.environ, 'ROS_DOMAIN_ID': str(domain)}
        finally:
            node.destroy_node()
            rclpy.try_shutdown(context=context)
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _start(folder: Path, environment: dict[str, str], images: str) -> subprocess.Popen[bytes]:
    values = {'folder': folder, 'name': 'bag', 'images': images}
    settings = [word for key, value in values.items() for word in ('-p', f'{key}:={value}')]
    return subprocess.Popen(
        [sys.executable, '-m', 'vla_replay.recorder_node', '--ros-args', *settings],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _until_heard(source: Source, recorder: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _PATIENCE
    while not source.heard:
        if recorder.poll() is not None:
            raise GraphError(f'the recorder ended with {recorder.returncode}')
        if time.monotonic() > end:
            raise GraphError(f'the recorder does not hear every topic in {_PATIENCE:g} s')
        time.sleep(0.05)
    source.run(_SETTLE)


def _end(recorder: subprocess.Popen[bytes]) -> None:
    recorder.send_signal(signal.SIGINT)
    try:
        recorder.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        recorder.kill()
        recorder.wait()


def measurements() -> tuple[Measurement, ...]:
    """Return what `vla bench` can measure of the recorder."""
    return (
        Measurement(
            'recorder_cpu',
            'seconds, JPEG and raw',
            20,
            60,
            lambda setting, count: recorder_cpu(count),
        ),
        Measurement('recorder_loss', 'kills', 5, 100, lambda setting, count: recorder_loss(count)),
    )
