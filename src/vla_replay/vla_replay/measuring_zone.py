"""A recorded drive with an obstacle in its laser scan: does the gate stop, hold, and only then.

The recording is made here: a base that drives at 0.2 m/s past a round wall with noise, a person
who drives it and never lets go, and an obstacle that appears in the stop zone and stays, or, in a
clean recording, does not come. It is played by `vla play`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import math
import os
from pathlib import Path
import random
import subprocess
import sys
import tempfile
import time

from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import LaserScan

from vla_cli.bench.load import class_of
from vla_cli.bench.measurements import Measurement, Setting
from vla_cli.bench.report import Row
from vla_cli.graph import GraphError
from vla_cli.live import live_graph, LiveGraph
from vla_core.gate.causes import State
from vla_replay.bag.writer import BagWriter
from vla_replay.message_types import type_name
from vla_ros.conversion import to_time
from vla_ros.domains import ALONE
from vla_ros.files import robot_path

#: Added to the simulated robot, so that the gate listens to scans.
_SECTIONS = """
scan: {frame_id: scanner, x: 0.0, y: 0.0, yaw: 0.0, field_of_view: 6.2}
zones:
  stop: {front: 0.3, rear: 0.3, left: 0.3, right: 0.3}
"""
_SPEED = 0.2
#: s: standing, in which a latched stop is released; driving before the obstacle comes, at least;
#: the obstacle's stay.
_STAND, _DRIVE, _STAY = 2.5, 1.5, 2.0
#: Hz.
_ODOMETRY, _SCANS, _PERSON = 50, 10, 20
_RAYS, _WALL, _OBSTACLE = 360, 2.0, 0.25
_PATIENCE = 30.0
#: Whoever the publisher is.
_EARS = QoSProfile(depth=500, reliability=ReliabilityPolicy.BEST_EFFORT)
#: Every so manieth recording is clean.
_CLEAN = 5


@dataclass(frozen=True)
class Found:
    """What one play of a recording showed.

    Attributes:
        stop: s from the first scan with the obstacle to the first zero; NaN in a clean recording.
        held: commands after that zero, while the person still drives.
        moving: of these, those that are not zero.
        driven: commands before the obstacle came, from the first that moves on.
        stopped: of these, those that are zero.
    """

    stop: float
    held: int
    moving: int
    driven: int
    stopped: int


def recording(folder: Path, obstacle_at: float | None) -> None:
    """Write a recording; the obstacle comes at s after the beginning, or never."""
    end = (obstacle_at or _STAND + _DRIVE + 1.0) + _STAY
    topics = {'/odom': Odometry, '/scan': LaserScan, '/cmd_vel_human': Twist}
    with BagWriter(folder) as bag:
        for topic, kind in topics.items():
            bag.add_topic(topic, type_name(kind))
        for at, topic, msg in sorted(_messages(end, obstacle_at), key=lambda one: one[0]):
            bag.write(topic, round(at * 1e9), bytes(serialize_message(msg)))


def _messages(
    end: float, obstacle_at: float | None
) -> Iterator[tuple[float, str, Odometry | LaserScan | Twist]]:
    chance = random.Random(round(1e3 * end))
    for number in range(round(end * _ODOMETRY)):
        at = 1.0 + number / _ODOMETRY
        odometry = Odometry(child_frame_id='base_link')
        odometry.header.frame_id, odometry.header.stamp = 'odom', to_time(round(at * 1e9))
        moved = max(0.0, at - 1.0 - _STAND)
        gone = moved if obstacle_at is None else min(moved, obstacle_at - _STAND)
        odometry.pose.pose.position.x = _SPEED * gone
        odometry.twist.twist.linear.x = _SPEED if 0.0 < moved == gone else 0.0
        yield at, '/odom', odometry
    for number in range(round(end * _SCANS)):
        at = 1.0 + number / _SCANS
        there = obstacle_at is not None and at - 1.0 >= obstacle_at
        yield at, '/scan', scan(chance, there, round(at * 1e9))
    for number in range(round((end - _STAND) * _PERSON)):
        yield 1.0 + _STAND + number / _PERSON, '/cmd_vel_human', _forward()


def scan(chance: random.Random, obstacle: bool, stamp_ns: int) -> LaserScan:
    """Return a scan of a round wall; an obstacle is before the robot, 20 degrees wide."""
    step = 2.0 * math.pi / _RAYS
    msg = LaserScan(
        angle_min=-math.pi,
        angle_max=math.pi - step,
        angle_increment=step,
        range_min=0.1,
        range_max=10.0,
    )
    msg.header.frame_id, msg.header.stamp = 'scanner', to_time(stamp_ns)
    ranges = [_WALL + chance.uniform(-0.02, 0.02) for _ in range(_RAYS)]
    if obstacle:
        for ray in range(_RAYS // 2 - 10, _RAYS // 2 + 10):
            ranges[ray] = _OBSTACLE + chance.uniform(-0.01, 0.01)
    msg.ranges = ranges
    return msg


def judge(
    twists: list[tuple[int, float]], begun_ns: int, obstacle_ns: int | None, let_go_ns: int
) -> Found:
    """Judge what was commanded.

    Args:
        twists: ns and m/s of each command.
        begun_ns: of the first command of the person; what moves before is the play before.
        obstacle_ns: of the first scan with the obstacle; None: there was none.
        let_go_ns: of the last command of the person.

    Raises:
        GraphError: if the robot never moved.
    """
    first = next((at for at, speed in twists if at >= begun_ns and speed > 0.0), None)
    if first is None:
        raise GraphError('the person did not get the robot to move')
    until = let_go_ns if obstacle_ns is None else obstacle_ns
    before = [speed for at, speed in twists if first <= at < until]
    stopped = sum(speed == 0.0 for speed in before)
    if obstacle_ns is None:
        return Found(math.nan, 0, 0, len(before), stopped)
    zero = next((at for at, speed in twists if at >= obstacle_ns and speed == 0.0), None)
    if zero is None:
        return Found(math.inf, 0, 0, len(before), stopped)
    after = [speed for at, speed in twists if zero <= at <= let_go_ns]
    return Found(
        (zero - obstacle_ns) * 1e-9,
        len(after),
        sum(speed != 0.0 for speed in after),
        len(before),
        stopped,
    )


def zone_stop(setting: Setting, plays: int) -> list[Row]:
    """Play so many recordings, each with the obstacle at another moment, some clean.

    Raises:
        GraphError: if the robot does not get going.
    """
    chance = random.Random(plays)
    found: list[Found] = []
    with tempfile.TemporaryDirectory(prefix='vla_zone_') as scratch:
        file = Path(scratch) / 'robot.yaml'
        file.write_text(robot_path('sim').read_text() + _SECTIONS)
        arguments = {'robot': str(file), 'sim': 'false', 'policy': 'hold'}
        with live_graph(setting.folder / 'zone.log', arguments) as live:
            watch = _Watch(live)
            for number in range(plays):
                clean = number % _CLEAN == _CLEAN - 1
                at = None if clean else _STAND + _DRIVE + chance.uniform(0.0, 1.0)
                bag = Path(scratch) / f'drive{number}'
                recording(bag, at)
                found.append(watch.play(bag))
            scheduling = class_of(live.process('gate').pid)
    return rows(found, scheduling)


def rows(found: list[Found], scheduling: str) -> list[Row]:
    """Return the row of the stops, with what was held and what was stopped for nothing."""
    held, driven = sum(one.held for one in found), sum(one.driven for one in found)
    moving, stopped = sum(one.moving for one in found), sum(one.stopped for one in found)
    samples = [one.stop for one in found if not math.isnan(one.stop)]
    notes = {
        'not held, share': moving / held if held else math.nan,
        'held': f'{held - moving} of {held} commands',
        'false stops': stopped,
        'driven': f'{driven} commands',
        'clean recordings': len(found) - len(samples),
    }
    limits = {'max': 0.30, 'not held, share': 0.001, 'false stops': 0.0}
    return [Row('zone_stop', 's', samples, notes=notes, limits=limits, scheduling=scheduling)]


class _Watch:
    """Hears what is played and what is commanded, by the middleware's stamps."""

    def __init__(self, live: LiveGraph) -> None:
        self._live = live
        self._twists: list[tuple[int, float]] = []
        self._obstacles: list[int] = []
        self._person: list[int] = []
        node = live.node
        node.create_subscription(LaserScan, 'scan', self._on_scan, _EARS)
        node.create_subscription(Twist, 'cmd_vel', self._on_twist, _EARS)
        node.create_subscription(Twist, 'cmd_vel_human', self._on_person, _EARS)

    def play(self, bag: Path) -> Found:
        """Play a recording to its end; release the stop of the one before while it stands."""
        self._live.forget()
        for heard in (self._twists, self._obstacles, self._person):
            heard.clear()
        line = [sys.executable, '-m', 'vla_cli.main', 'play', str(bag)]
        environment = {
            **os.environ,
            **ALONE,
            'ROS_DOMAIN_ID': str(self._live.domain_id),
        }
        with subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL) as player:
            end = time.monotonic() + _PATIENCE
            while player.poll() is None:
                self._live.spin(0.1)
                state = self._live.state
                if not self._person and state.state == State.ESTOP and not state.blockers:
                    self._live.call('safety/reset')
                if time.monotonic() > end:
                    player.kill()
                    raise GraphError(f'{bag.name}: not played in {_PATIENCE:g} s')
        self._live.spin(0.2)
        if not self._person:
            raise GraphError('nothing of the recording was heard')
        obstacle = self._obstacles[0] if self._obstacles else None
        return judge(self._twists, self._person[0], obstacle, self._person[-1])

    def _on_scan(self, msg: LaserScan, info: dict[str, int]) -> None:
        if min(msg.ranges) < 2 * _OBSTACLE:
            self._obstacles.append(info['source_timestamp'])

    def _on_twist(self, msg: Twist, info: dict[str, int]) -> None:
        self._twists.append((info['source_timestamp'], msg.linear.x))

    def _on_person(self, msg: Twist, info: dict[str, int]) -> None:
        self._person.append(info['source_timestamp'])


def _forward() -> Twist:
    twist = Twist()
    twist.linear.x = _SPEED
    return twist


def measurements() -> tuple[Measurement, ...]:
    """Return what can be measured here."""
    return (Measurement('zone_stop', 'plays of a recording', 5, 100, zone_stop),)
