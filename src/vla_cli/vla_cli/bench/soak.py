"""An hour of driving: does memory grow, and do descriptors and threads stay as many?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import itertools
from pathlib import Path
import time

import numpy as np
import psutil

from vla_cli.bench.load import class_of
from vla_cli.bench.report import Row
from vla_cli.bench.trend import means, trend
from vla_cli.bench.turning import NODES, TURN
from vla_cli.graph import GraphError
from vla_cli.live import live_graph, LiveGraph
from vla_core.gate.causes import State

#: MB/h, upper 95 % bound.
GROWTH = 5.0
#: min that count for nothing, of an hour; a shorter soak gives up the same share.
_WARM_UP = 15.0
#: s from sample to sample, and over which memory is averaged: allocators remember for seconds.
_PERIOD = 1.0
_SPAN = 60.0
#: Means that a line needs at least.
_FEWEST = 5
_DRIVING = (State.ACTIVE, State.ARMING, State.HOLD)


@dataclass(frozen=True)
class Sample:
    """A process at one moment: monotonic s, MB, open descriptors, threads."""

    at: float
    rss: float
    descriptors: int
    threads: int


def soak(minutes: int, policy: str, folder: Path) -> list[Row]:
    """Drive for so many minutes with the camera at 30 Hz, turning and obeying.

    Raises:
        GraphError: if a process of the graph ends.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in NODES}
    stops = armed = 0
    with live_graph(folder / 'soak.log', {'robot': 'sim', 'policy': policy}) as live:
        live.until_active()
        processes = {name: live.process(name) for name in NODES}
        scheduling = class_of(processes['gate'].pid)
        began, frames = time.monotonic(), live.heartbeats['sim'].progress
        said = began - TURN
        while (now := time.monotonic()) < began + 60.0 * minutes:
            if now - said >= TURN:
                live.say('turn left')
                said = now
            del live.decisions[:-1], live.twists[:]
            live.spin(_PERIOD)
            stops += interruptions([State(decision.state) for decision in live.decisions])
            if live.decision.state not in _DRIVING:
                _release(live)
                armed += 1
            for name, process in processes.items():
                samples[name].append(_look(name, process))
        rate = (live.heartbeats['sim'].progress - frames) / (time.monotonic() - began)
    notes = {
        'minutes': minutes,
        'frames per s': round(rate, 1),
        'holds and stops that nobody asked for': stops,
        'times a person had to arm': armed,
    }
    warm_up = 60.0 * min(_WARM_UP, minutes * _WARM_UP / 60.0)
    return rows(samples, warm_up, notes, scheduling)


def rows(
    samples: Mapping[str, Sequence[Sample]],
    warm_up: float,
    notes: Mapping[str, object],
    scheduling: str,
) -> list[Row]:
    """Return one row per process, of the samples after the warm-up, s."""
    result = []
    for name, every in samples.items():
        kept = [one for one in every if one.at - every[0].at >= warm_up]
        at, rss = (np.array([getattr(one, name) for one in kept]) for name in ('at', 'rss'))
        growth = _growth(at, rss)
        descriptors = np.array([one.descriptors for one in kept])
        threads = np.array([one.threads for one in kept])
        result.append(
            Row(
                f'soak_rss_{name}',
                'MB',
                rss.tolist(),
                notes={
                    **growth,
                    'descriptors': f'{min(descriptors)} to {max(descriptors)}',
                    'descriptors, change': _change(at, descriptors),
                    'threads': f'{min(threads)} to {max(threads)}',
                    'threads, change': _change(at, threads),
                    **notes,
                },
                limits={
                    'slope, upper 95 % bound, MB/h': GROWTH,
                    'descriptors, change': 0.0,
                    'threads, change': 0.0,
                },
                scheduling=scheduling,
            )
        )
    return result


def _growth(at: np.ndarray, rss: np.ndarray) -> dict[str, object]:
    """Return the slope of the minutes' means and its bound; too few minutes have none."""
    minutes, values = means(at, rss, _SPAN)
    if len(minutes) < _FEWEST:
        return {'slope, MB/h': f'unknown: {len(minutes)} minutes, {_FEWEST} are needed'}
    line = trend(minutes / 3600.0, values)
    return {
        'slope, MB/h': round(line.slope, 2),
        'slope, upper 95 % bound, MB/h': round(line.upper, 2),
        'minutes in the slope': len(minutes),
    }


def _change(at: np.ndarray, counts: np.ndarray) -> float:
    """Return by how much the minutes' medians differ.

    A timer's thread that is being renewed is there twice, or not at all, for a moment.
    """
    minute = (at - at[0]) // _SPAN
    medians = [float(np.median(counts[minute == one])) for one in np.unique(minute)]
    return max(medians) - min(medians)


def _look(name: str, process: psutil.Process) -> Sample:
    try:
        with process.oneshot():
            return Sample(
                time.monotonic(),
                process.memory_info().rss / 1e6,
                process.num_fds(),
                process.num_threads(),
            )
    except psutil.Error as error:
        raise GraphError(f'{name} has ended during the soak: {error}') from error


def interruptions(states: Sequence[State]) -> int:
    """Count how often a robot that was free to move was held or stopped."""
    return sum(
        before is State.ACTIVE and after is not State.ACTIVE
        for before, after in itertools.pairwise(states)
    )


def _release(live: LiveGraph) -> None:
    """Do what a person does after a stop: reset if need be, and arm."""
    stopped = (State.STOPPED, State.ESTOP)
    live.until(lambda: live.decision.state in stopped, 'a stop that ends')
    if live.decision.state == State.ESTOP:
        live.until(lambda: live.call('safety/reset')[0], 'reset')
    live.arm()
