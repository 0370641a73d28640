"""Messages that no node should get, thousands of each type, while the robot moves.

Counted for every message: processes that died, and commands that were not finite, beyond a limit,
or other than zero in a state in which nothing may move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import random
import sys
from typing import Any

from rclpy._rclpy_pybind11 import RCLError
from rclpy.publisher import Publisher

from vla_cli.bench.garbling import garble, spoil
from vla_cli.bench.load import class_of
from vla_cli.bench.report import Row
from vla_cli.bench.targets import COMPRESSED, stamped, Target, TARGETS
from vla_cli.bench.victim import Count, Victim
from vla_cli.graph import GraphError
from vla_interfaces.msg import Decision
from vla_ros import qos

#: A run of the policy later than the true one ends the true one for good, and is no accident.
_KEPT = frozenset({'policy_run'})
#: s after the last message of a round in which its effect is seen.
_SETTLE = 0.3
#: s; "turn left" must outlast the attack.
_LONG = 600.0
#: Messages between two looks whether a person should help the robot to move again.
_ROUND = 100
#: One in so many is broken bytes instead of odd values.
_KINDS = 4
_ATTEMPTS = 100


def malformed(count: int, policy: str, folder: Path) -> Iterator[Row]:
    """Send `count` malformed messages of every type to a graph that drives; yield each row."""
    folder.mkdir(parents=True, exist_ok=True)
    patience = {'motion_timeout': _LONG, 'instruction_timeout': _LONG}
    driving = Victim(folder, policy, {'policy': patience})
    other = Victim(folder, policy, {'camera': {'transport': 'compressed'}})
    with _silent(folder / 'malformed_watcher.log'):
        with driving:
            for target in TARGETS:
                yield _attack(driving, target, count)
        with other:
            yield _attack(other, COMPRESSED, count)


def _attack(victim: Victim, target: Target, count: int) -> Row:
    chance = random.Random(target.topic)
    found = Count()
    scheduling = class_of(victim.live.process('gate').pid)
    broken = -(-count // _KINDS)
    # Bytes that still are a message may latch the emergency stop at once: they keep to themselves.
    rounds = [(spoil, size) for size in _sizes(count - broken)]
    rounds += [(garble, size) for size in _sizes(broken)]
    for damage, size in rounds:
        try:
            _round(victim, target, chance, damage, found, size)
        except GraphError:
            # The gate has ended, and the graph with it.
            found.died += 1
            found.violations.append(1.0)
            found.restarts += 1
            victim.start()
    return row(found, target, scheduling)


def _sizes(count: int) -> list[int]:
    """Divide messages into rounds."""
    return [min(_ROUND, count - begun) for begun in range(0, count, _ROUND)]


def _round(
    victim: Victim,
    target: Target,
    chance: random.Random,
    damage: Callable[[Any, random.Random, frozenset[str]], Any],
    found: Count,
    count: int,
) -> None:
    """Set the robot going, and send messages.

    Raises:
        GraphError: if the gate ends.
    """
    if target is not COMPRESSED and not victim.moves and not victim.set_going():
        found.restarts += 1
        victim.start()
        victim.set_going()
    node = victim.live.node
    heard: list[Any] = [target.message()]
    publisher = node.create_publisher(target.kind, target.topic, target.profile)
    ear = node.create_subscription(target.kind, target.topic, heard.append, qos.SENSOR)
    victim.listen(_SETTLE)
    victim.judge(Count(), decisions=False)
    errors = victim.errors()
    for _ in range(count):
        bad = found.bad
        good = stamped(heard[-1], node)
        del heard[:-1]
        _publish(publisher, lambda good=good: damage(good, chance, _KEPT))
        victim.listen(1.0 / target.rate)
        found.moving += victim.moves
        victim.judge(found, decisions=target.kind is not Decision)
        found.violations.append(float(found.bad - bad))
    node.destroy_subscription(ear)
    node.destroy_publisher(publisher)
    # The last ones are on their way, and the true heartbeats follow.
    victim.listen(_SETTLE)
    bad = found.bad
    found.died += victim.died()
    victim.judge(found, decisions=target.kind is not Decision)
    found.violations[-1] += found.bad - bad
    found.errors += max(0, victim.errors() - errors)


def row(found: Count, target: Target, scheduling: str) -> Row:
    """Return the row of a type."""
    notes = {
        'topic': target.topic,
        'processes that died': found.died,
        'commands not finite or over a limit': found.unbounded,
        # Behind malformed decisions nobody can tell which are the gate's.
        'commands other than zero where nothing may move': (
            found.unarmed if target.kind is not Decision else 'not judged'
        ),
        'commands': found.commands,
        'sent while the robot moved': f'{found.moving} of {len(found.violations)}',
        'errors that gate, policy, camera and monitor counted': found.errors,
        'graphs started anew': found.restarts,
    }
    name = f'malformed_{target.name or target.kind.__name__}'
    samples, limits = found.violations, {'max': 0.0}
    return Row(name, 'violations', samples, {}, notes, limits, scheduling=scheduling)


def _publish(publisher: Publisher, make: Callable[[], Any]) -> None:
    """Publish a message, malformed in a way that the middleware is willing to carry."""
    for _ in range(_ATTEMPTS):
        try:
            publisher.publish(make())
        except RCLError:  # longer than any message of a type of fixed size
            continue
        return
    raise GraphError(f'{publisher.topic_name}: the middleware carries nothing that is malformed')


@contextmanager
def _silent(file: Path) -> Iterator[None]:
    """Let the middleware of this process complain into a file: it hears it all too."""
    sys.stderr.flush()
    screen = os.dup(2)
    with file.open('ab') as output:
        os.dup2(output.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(screen, 2)
        os.close(screen)
