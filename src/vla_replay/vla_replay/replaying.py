"""Play a recording to a graph of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
import hashlib
import heapq
import math
from pathlib import Path

import numpy as np
import yaml

from vla_cli.driven_graph import driven_graph
from vla_core.errors import ConfigError
from vla_core.parameters import load_yaml
from vla_core.robot import load_robot
from vla_replay.bag.clock_set import refuse_clock_set
from vla_replay.bag.reader import BagReader
from vla_replay.bag.types import require_installed
from vla_replay.driver import ReplayDriver
from vla_replay.options import Playing
from vla_replay.schedule import COMPRESSED, find_sources, playable, Sources, texts_of, Tick, ticks
from vla_replay.trace import TICK, Trace
from vla_ros.files import robot_path

#: A tick never waits for a scan (docs/reference/safety.md).
_LEFT_OUT = ('scan', 'zones')
#: Ticks between two signs of life.
_NEWS = 50


@dataclass(frozen=True)
class Speed:
    """How long it took, wall s.

    Attributes:
        per_tick: of each tick.
        to_chunk: from each frame to its chunk.
        inference: of the policy, for frames that it was asked about.
    """

    per_tick: list[float]
    to_chunk: list[float]
    inference: list[float]

    def __str__(self) -> str:
        """Say it in one line."""
        wall = np.array(self.per_tick) * 1e3
        recorded = len(wall) * TICK
        text = (
            f'{recorded:.1f} s in {wall.sum() / 1e3:.1f} s, '
            f'{1e3 * recorded / wall.sum():.1f} times real time; ms per tick: p50 '
            f'{np.median(wall):.1f}, p99 {np.quantile(wall, 0.99):.1f}'
        )
        for what, seconds in (
            ('from frame to chunk', self.to_chunk),
            ('of it inference', self.inference),
        ):
            if seconds:
                text += f'; {what}: p50 {1e3 * float(np.median(seconds)):.1f}'
        return text


def replay(
    bag: BagReader, options: Playing, progress: Callable[[str], None], note: Callable[[str], None]
) -> tuple[Trace, Speed]:
    """Play a recording in lock-step.

    Args:
        bag: the recording.
        options: what of it, and to whom.
        progress: takes what is happening.
        note: takes what a person should know.

    Returns:
        What the graph did, and how fast.

    Raises:
        BagError: if the recording lacks what a graph needs, its clock was set, or a message is
            malformed.
        ConfigError: if an option or the robot file is wrong, or the output cannot be written.
        LockstepError: if a hop falls silent.
        GraphError: if the graph ends.
    """
    check_part(options)
    refuse_clock_set(bag)
    sources = find_sources(playable(bag, options.camera), options.camera)
    for topic in sources.topics:
        require_installed(topic)
    facts = {
        'recording': options.bag.name,
        'content': _content(bag, sources),
        'part': f'{options.start:g} to {"the end" if options.stop is None else options.stop} s',
        'instruction': options.instruction,
        'frames from': sources.frames.name,
    }
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        robot = _robot_file(robot_path(options.robot), options.output, note)
    except OSError as error:
        raise ConfigError(
            f'output {options.output}: {error.strerror}: expected a folder for what is written'
        ) from error
    transport = 'compressed' if sources.frames.type == COMPRESSED else 'raw'
    with driven_graph(
        lambda domain_id: ReplayDriver(sources, domain_id),
        str(robot),
        options.policy,
        options.output / 'graph.log',
        {'camera': {'transport': transport}},
    ) as driver:
        schedule = _announced(ticks(bag, sources, options.start, options.stop), progress)
        chunks, decisions = driver.run(schedule, options.instruction)
        facts |= {'policy': driver.model, 'robot': Path(options.robot).stem}
        if driver.skipped or driver.dropped:
            note(
                f'{driver.skipped} frames shared a tick of {TICK} s with a newer one, '
                f'{len(driver.dropped)} were refused by the graph ({options.output}/graph.log)'
            )
        speed = Speed(driver.seconds, driver.to_chunk, [one for one in driver.inference if one])
        return Trace(facts, chunks, decisions), speed


def check_part(options: Playing) -> None:
    """Refuse a part that is none.

    Raises:
        ConfigError: if start or stop is negative, not finite, or the wrong way round.
    """
    start, stop = options.start, options.stop
    if not 0.0 <= start < math.inf:
        raise ConfigError(f'start is {start}: expected a finite number >= 0')
    if stop is not None and not start < stop < math.inf:
        raise ConfigError(f'stop is {stop}: expected a finite number above start, {start}')


def _content(bag: BagReader, sources: Sources) -> str:
    """Return a hash of what is played, with its times."""
    seen = bag.messages({sources.frames.name, sources.odom.name})
    digest = hashlib.sha256()
    for message in heapq.merge(seen, texts_of(bag, sources), key=lambda one: one.stamp_ns):
        digest.update(f'{message.topic} {message.stamp_ns} {len(message.data)} '.encode())
        digest.update(message.data)
    return digest.hexdigest()


def _robot_file(given: Path, folder: Path, note: Callable[[str], None]) -> Path:
    """Write a copy of a robot file for a graph that moves nothing: it arms itself, in lock-step.

    Raises:
        ConfigError: if the file is wrong.
    """
    load_robot(given)
    values = load_yaml(given)
    for name in _LEFT_OUT:
        if values.pop(name, None) is not None:
            note(f'{given.name}: {name} is left out: scans are not replayed')
    values |= {
        'simulated': True,
        'self_arm': True,
        'estop': 'none',
        'odom': 'required',
        'discovery': 'LOCALHOST',
    }
    file = folder / f'{given.stem}.yaml'
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding='utf-8')
    return file.resolve()


def _announced(schedule: Iterator[Tick], progress: Callable[[str], None]) -> Iterator[Tick]:
    for number, tick in enumerate(schedule):
        if number % _NEWS == 0:
            progress(f'{number * TICK:.0f} s of the recording')
        yield tick
