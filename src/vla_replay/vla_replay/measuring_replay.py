"""A live drive and its replay: how fast, and how much alike."""

from __future__ import annotations

from pathlib import Path
import tempfile

import numpy as np

from vla_cli.bench.measurements import Measurement, Setting
from vla_cli.bench.report import Row
from vla_replay.bag.reader import BagReader
from vla_replay.compare import Check, compare, Tolerance
from vla_replay.demo_drive import record_drive
from vla_replay.messages import recorded_trace
from vla_replay.options import Bless
from vla_replay.replaying import replay
from vla_replay.trace import Trace

_TEXT, _SEED = 'go to the red box', 501169
#: Of the tolerances, none is a bound here: what was found is told.
_NONE = Tolerance(np.inf, np.inf, np.inf, np.inf)


def lockstep_replay(setting: Setting, seconds: int) -> list[Row]:
    """Record so many seconds of a live drive, play them twice in lock-step."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / 'drive'
        texts = ((_TEXT, float(seconds)),)
        record_drive(path, texts, _SEED, setting.policy, 'camera/color/image_raw')
        options = Bless(path, policy=setting.policy, output=folder / 'log')
        with BagReader(path) as bag:
            live = recorded_trace(bag, {'source': 'the live drive'})
            first, speed = replay(bag, options, _silent, _silent)
        with BagReader(path) as bag:
            second, _ = replay(bag, options, _silent, _silent)
    recorded = len(speed.per_tick) * 0.02
    notes = {
        'times_real_time': round(recorded / sum(speed.per_tick), 2),
        'frame_to_chunk_ms_p50': _milliseconds(speed.to_chunk),
        'inference_ms_p50': _milliseconds(speed.inference),
        'frames': len(first.chunks.frame),
        'largest_difference_to_live': _worst(live, first),
        'largest_difference_of_two_replays': _worst(first, second),
    }
    samples = [1e3 * one for one in speed.per_tick]
    limits = {'largest_difference_to_live': 1e-6, 'largest_difference_of_two_replays': 0.0}
    return [Row('replay_tick', 'ms', samples, notes=notes, limits=limits)]


def measurements() -> tuple[Measurement, ...]:
    """Return what can be measured here."""
    return (Measurement('replay', 's of a drive', 10, 60, lockstep_replay),)


def _worst(golden: Trace, found: Trace) -> float:
    checks: tuple[Check, ...] = compare(golden, found, _NONE)
    return max(check.worst for check in checks if check.unit != 'share')


def _milliseconds(seconds: list[float]) -> float:
    return round(1e3 * float(np.median(seconds)), 2) if seconds else 0.0


def _silent(text: str) -> None:
    """Tell nobody."""
