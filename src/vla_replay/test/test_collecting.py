"""A person demonstrates: keys, episodes with labels, a data set of them."""

from __future__ import annotations

from collections.abc import Iterator
import math
import os
from pathlib import Path
import termios
import threading
import time
from types import SimpleNamespace

from geometry_msgs.msg import Twist
from hypothesis import given
from hypothesis import strategies as st
from nav_msgs.msg import Odometry
import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image

from vla_core.errors import ConfigError
from vla_replay.bag.reader import BagReader
from vla_replay.bag.topics import Topic
from vla_replay.bag.types import types_of
from vla_replay.collecting.command import collect, Collector
from vla_replay.collecting.episode import Episode
from vla_replay.collecting.keys import Ask, Keys
from vla_replay.collecting.terminal import next_key, single_keys
from vla_replay.conversion.dataset import to_dataset
from vla_replay.conversion.drive import Drive
from vla_replay.conversion.film import Film
from vla_replay.errors import BagError
from vla_replay.options import Collect, ToDataset, ToVideo
from vla_replay.recording.recorders import Continuous
from vla_ros.conversion import to_time
from vla_ros.domains import process_domain

HEIGHT, WIDTH = 48, 64
TEXT = 'go to the red box'


@given(st.text(alphabet='wasdqe+-fx \r\x1b[ABCD', max_size=60))
def test_no_key_is_faster_than_full_speed_and_recording_alternates(text: str):
    keys = Keys(0.4, 0.8)
    recording = False
    for key in text:
        asked = keys.press(key)
        if asked is Ask.BEGIN:
            assert not recording
            recording = True
        elif asked in (Ask.SUCCESS, Ask.FAILURE, Ask.DISCARD):
            assert recording
            recording = False
        assert keys.recording is recording
        forward, left = keys.velocity
        assert abs(forward) <= 0.4 + 1e-12
        assert abs(left) <= 0.8 + 1e-12
        assert not (forward < -0.2 - 1e-12)


def test_keys_drive_and_what_has_no_meaning_stops():
    keys = Keys(0.5, 1.0, share=1.0)
    keys.press('\x1b[A')
    assert keys.velocity == (0.5, 0.0)
    keys.press('q')
    assert keys.velocity == (0.5, 1.0)
    keys.press('s')
    assert keys.velocity == (-0.25, 0.0)
    keys.press('z')
    assert keys.velocity == (0.0, 0.0)
    keys.press('w')
    assert keys.press('\x04') is Ask.QUIT
    assert keys.velocity == (0.0, 0.0)
    assert keys.press('f') is None


class Robot:
    """What a base and its camera publish, and what they hear; a person's keys."""

    def __init__(self, context: Context, folder: Path) -> None:
        node = self.node = Node('robot', context=context, namespace='/one')
        self.heard: list[Twist] = []
        self._images = node.create_publisher(Image, 'camera/color/image_raw', 10)
        self._odom = node.create_publisher(Odometry, 'odom', 10)
        self._command = node.create_publisher(Twist, 'cmd_vel', 10)
        node.create_subscription(Twist, 'cmd_vel_human', self.heard.append, 10)
        node.create_timer(0.05, self._publish)
        person = Node('person', context=context, namespace='/one')
        self.waiting: list[str] = []
        options = Collect(TEXT, dest=folder)
        self.collector = Collector(
            person, options, lambda: self.waiting.pop(0) if self.waiting else ''
        )
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(node)
        self._executor.add_node(person)
        self._frames = 0

    def press(self, key: str, seconds: float) -> None:
        self.waiting.append(key)
        end = time.monotonic() + seconds
        while time.monotonic() < end or self.waiting:
            self._executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        self.collector.close()
        self._executor.shutdown()

    def _publish(self) -> None:
        stamp = to_time(time.time_ns())
        self._frames += 1
        image = Image(height=HEIGHT, width=WIDTH, encoding='rgb8', step=3 * WIDTH)
        image.header.stamp = stamp
        image.data = np.full((HEIGHT, WIDTH, 3), self._frames % 200 + 20, np.uint8).tobytes()
        self._images.publish(image)
        odom = Odometry()
        odom.header.stamp = stamp
        odom.twist.twist.linear.x = 0.2
        self._odom.publish(odom)
        self._command.publish(self.heard[-1] if self.heard else Twist())


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[Robot]:
    context = Context()
    rclpy.init(context=context, domain_id=process_domain())
    robot = Robot(context, tmp_path / 'demonstrations')
    yield robot
    robot.close()
    rclpy.try_shutdown(context=context)


def test_demonstrations_become_a_data_set(robot: Robot, tmp_path: Path):
    robot.press('w', 0.5)
    for end in ('\r', 'f', 'x', '\r'):
        robot.press('\r', 0.2)
        robot.press('w', 1.5)
        robot.press(end, 0.3)
    robot.press('\r', 0.5)
    robot.press('\x04', 0.1)
    assert robot.collector.ended
    robot.collector.close()
    assert robot.collector.kept == 3
    folders = sorted((tmp_path / 'demonstrations').iterdir())
    labels = []
    for folder in folders:
        with BagReader(folder) as bag:
            labels.append(bag.custom['label'])
            assert bag.custom['instruction'] == TEXT
            assert bag.topics['/one/odom'].count > 10
    assert labels == ['success', 'failure', 'success']
    assert max(twist.linear.x for twist in robot.heard) == pytest.approx(0.24)

    pytest.importorskip('pyarrow')
    from vla_learning.data.formats import open_recording

    dest = tmp_path / 'dataset'
    options = ToDataset(dest, tuple(folders), fps=10.0, actions='/one/cmd_vel')
    tally = to_dataset(options, lambda text: None)
    assert tally.left_out.pop('episode that ended failure') == 1
    recording = open_recording(dest)
    assert len(recording.names) == tally.episodes >= 2
    assert recording.texts == (TEXT,)
    assert recording.fps == 10.0
    assert np.isclose(recording.actions[:, 0], 0.24, atol=1e-6).any()
    assert not recording.actions[:, 1:].any()
    assert np.allclose(recording.state, (0.2, 0.0))
    (camera,) = recording.cameras
    pixels = recording.pixels(0, camera, recording.fetch(0, camera))
    assert pixels.shape == (HEIGHT, WIDTH, 3)


def test_a_label_is_written_by_the_thread_that_writes_messages(
    robot: Robot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    threads: dict[str, str] = {}
    note = Continuous.note

    def noted(recorder: Continuous, key: str, value: str) -> None:
        threads[key] = threading.current_thread().name
        note(recorder, key, value)

    monkeypatch.setattr(Continuous, 'note', noted)
    robot.press('\r', 0.3)
    robot.press('\r', 0.1)
    assert threads['label'] == 'writing'


def test_an_episode_that_a_disk_has_refused_is_a_failure_and_says_so(
    robot: Robot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.setattr('shutil.disk_usage', lambda folder: SimpleNamespace(free=10**6))
    robot.press('\r', 1.0)
    assert 'NOT RECORDED: 1 MB are free: expected 500 MB' in capsys.readouterr().out
    robot.press('\r', 0.1)
    (folder,) = (tmp_path / 'demonstrations').iterdir()
    said = capsys.readouterr().out
    assert f'{folder}: failure, 1 MB are free: expected 500 MB' in said
    with BagReader(folder) as bag:
        assert bag.custom['label'] == 'failure'


@pytest.mark.parametrize('key', ['\r', 'f', 'x'])
def test_the_robot_stops_before_a_disk_is_waited_for(
    robot: Robot, monkeypatch: pytest.MonkeyPatch, key: str
):
    robot.press('\r', 0.1)
    robot.press('w', 0.2)
    done: list[str] = []
    end = Episode.end

    def ended(episode: Episode, label: str) -> str:
        done.append('disk')
        return end(episode, label)

    monkeypatch.setattr(Episode, 'end', ended)
    human = SimpleNamespace(publish=lambda twist: done.append(f'{twist.linear.x:.1f} m/s'))
    monkeypatch.setattr(robot.collector, '_human', human)
    robot.press(key, 0.2)
    assert done.index('0.0 m/s') < done.index('disk')


def test_a_film_shows_every_moment(robot: Robot, tmp_path: Path):
    robot.press('\r', 0.2)
    robot.press('w', 1.0)
    robot.press('\r', 0.3)
    (folder,) = (tmp_path / 'demonstrations').iterdir()
    with BagReader(folder) as bag:
        drive = Drive(bag)
        pictures = list(Film(drive).pictures(25.0))
        seconds = (drive.stamps[-1] - drive.stamps[0]) / 1e9
    assert abs(len(pictures) - seconds * 25.0) <= 2
    assert all(picture.dtype == np.uint8 for picture in pictures)
    (shape,) = {picture.shape for picture in pictures}
    assert not shape[0] % 2
    assert not shape[1] % 2


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'instruction': '  '}, 'instruction is empty'),
        ({'speed': 0.0}, 'speed is 0.0'),
        ({'turn_rate': math.nan}, 'turn_rate is nan'),
    ],
)
def test_wrong_options_are_named(change: dict, said: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=said):
        collect(Collect(**({'instruction': TEXT, 'dest': tmp_path} | change)))


def test_without_a_terminal_nothing_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr('sys.stdin', (tmp_path / 'in').open('w+'))
    with pytest.raises(ConfigError, match='no terminal'):
        collect(Collect(TEXT, dest=tmp_path))


def test_what_cannot_become_a_data_set_or_a_film_is_named(tmp_path: Path):
    with pytest.raises(BagError, match='exists: expected a new folder'):
        to_dataset(ToDataset(tmp_path, ()), print)
    pytest.importorskip('av')
    from vla_replay.conversion.film import to_video

    with pytest.raises(BagError, match='fps is nan'):
        to_video(ToVideo(tmp_path / 'bag', tmp_path / 'x.mp4', fps=math.nan))
    with pytest.raises(BagError, match='no such file'):
        to_video(ToVideo(tmp_path / 'bag', tmp_path / 'x.mp4'))
    assert not list(tmp_path.glob('*.mp4'))


def test_keys_come_from_a_terminal_one_at_a_time(monkeypatch: pytest.MonkeyPatch):
    ours, theirs = os.openpty()
    with os.fdopen(theirs, 'r') as terminal:
        monkeypatch.setattr('sys.stdin', terminal)
        before = termios.tcgetattr(terminal)
        with single_keys():
            assert next_key(0.0) == ''
            for sent, expected in (
                (b'w', 'w'),
                (b'wwwd', 'd'),
                (b'\x1b[A', '\x1b[A'),
                (b'\r', '\r'),
                (b'\x03', '\x03'),
                (b'\xff', ''),
            ):
                os.write(ours, sent)
                assert next_key(5.0) == expected
        assert termios.tcgetattr(terminal) == before
    os.close(ours)


def test_a_name_that_is_none_never_becomes_code():
    with pytest.raises(BagError, match='expected PACKAGE/msg/NAME'):
        types_of(Topic('/a', "x'):\n  import os #/msg/A", definition='int32 a'))
