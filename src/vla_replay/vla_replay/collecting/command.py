"""The command `vla demo collect`."""

from __future__ import annotations

from collections.abc import Callable
import itertools
from pathlib import Path
import sys

from geometry_msgs.msg import Twist
from rclpy.node import Node

from vla_cli.connection import connect
from vla_cli.graph import use_profile
from vla_core.errors import ConfigError
from vla_core.gate.causes import State
from vla_interfaces.msg import SafetyState
from vla_replay.collecting.episode import Episode, FAILURE, SUCCESS
from vla_replay.collecting.keys import Ask, Keys
from vla_replay.collecting.terminal import next_key, single_keys
from vla_replay.options import Collect
from vla_ros import qos
from vla_ros.clock import STEADY

#: s between two commands: the gate takes 0.5 s of silence for the end of the person's wish.
_PERIOD = 0.05
#: m/s, rad/s; the robot file says what the gate really lets through.
_FASTEST = 5.0
_HELP = """\
w a s d or arrows drive, q e turn ahead, any other key stands still, + - change the speed.
Enter begins an episode; Enter ends it as a success, f as a failure, x discards it. Ctrl-D ends.
"""
_LABELS = {Ask.SUCCESS: SUCCESS, Ask.FAILURE: FAILURE, Ask.DISCARD: ''}


def collect(options: Collect) -> int:
    """Let a person demonstrate; return 0 at the end.

    Raises:
        ConfigError: if an option is wrong, or there is no terminal.
        BagError: if a bag cannot be written.
    """
    if not options.instruction.strip():
        raise ConfigError('instruction is empty: expected what the robot is shown to do')
    for name, value, most in (
        ('speed', options.speed, 5.0),
        ('turn_rate', options.turn_rate, 5.0),
    ):
        if not 0.0 < value <= most:
            raise ConfigError(f'{name} is {value}: expected more than 0, at most {most}')
    use_profile()
    with connect(options.namespace) as connection, single_keys():
        _say(_HELP)
        collector = Collector(connection.node, options, lambda: next_key(0.0))
        try:
            connection.wait(lambda: collector.ended)
        finally:
            collector.close()
    _say(
        f'{collector.kept} episodes in {options.dest}. Next:\n'
        f'vla bag to-dataset DATASET {options.dest}/*\n'
    )
    return 0


class Collector:
    """Keys in; velocities for the gate and bags out."""

    def __init__(self, node: Node, options: Collect, key: Callable[[], str]) -> None:
        """Publish and hear, as long as somebody spins the node.

        Args:
            node: of this process.
            options: what is demonstrated.
            key: returns the next key; empty: none was pressed.
        """
        self._node, self._options, self._key = node, options, key
        self._keys = Keys(options.speed, options.turn_rate)
        self._human = node.create_publisher(Twist, 'cmd_vel_human', qos.VELOCITY)
        node.create_subscription(SafetyState, 'safety/state', self._on_state, qos.STATE)
        self._episode: Episode | None = None
        self._state = 'no gate'
        self._moved = False
        self.kept = 0
        self.ended = False
        node.create_timer(_PERIOD, self._turn, clock=STEADY)

    def _turn(self) -> None:
        """Take a key, or its absence, and send a velocity."""
        key = self._key()
        asked = self._keys.press(key) if key else None
        # First of all: whoever stops must not wait for a disk.
        self._drive()
        if asked is Ask.QUIT:
            self.ended = True
            return
        if asked is Ask.BEGIN:
            folder = _next_folder(self._options.dest)
            self._episode = Episode(
                self._node, folder, self._options.instruction, self._options.camera
            )
        elif asked is not None:
            self._end(_LABELS[asked])
        self._tell()

    def _drive(self) -> None:
        forward, left = self._keys.velocity
        if forward or left or self._moved:
            twist = Twist()
            twist.linear.x, twist.angular.z = forward, left
            self._human.publish(twist)
        # One zero more: whoever stops wants to stop now, not after the gate's patience.
        self._moved = bool(forward or left)

    def _tell(self) -> None:
        forward, left = self._keys.velocity
        what = f'recording {self._episode.folder.name}' if self._episode else 'not recording'
        if self._episode is not None and self._episode.problem:
            what = f'NOT RECORDED: {self._episode.problem}'
        _say(f'\r{self._state:<16} {forward:+.2f} m/s {left:+.2f} rad/s  {what:<32}')

    def close(self) -> None:
        """Stand still; an episode that was not ended is no demonstration."""
        self._human.publish(Twist())
        self._end('')

    def _end(self, label: str) -> None:
        episode, self._episode = self._episode, None
        if episode is None:
            return
        label = episode.end(label)
        self.kept += bool(label)
        dropped = f', {episode.dropped} messages dropped' if episode.dropped else ''
        problem = f', {episode.problem}' if label and episode.problem else ''
        _say(f'\r\n{episode.folder}: {label or "discarded"}{dropped}{problem}\r\n')

    def _on_state(self, msg: SafetyState) -> None:
        self._state = State(msg.state).name


def _next_folder(dest: Path) -> Path:
    numbers = (dest / f'episode_{number:04d}' for number in itertools.count(1))
    return next(folder for folder in numbers if not folder.exists())


def _say(text: str) -> None:
    # A raw terminal does not return by itself.
    sys.stdout.write(text.replace('\r\n', '\n').replace('\n', '\r\n'))
    sys.stdout.flush()
