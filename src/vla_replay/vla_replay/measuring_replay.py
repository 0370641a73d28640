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
_LIMITS = {
    'share_of_real_time': 0.5,
    'largest_difference_to_live': 1e-6,
    'largest_share_unlike_to_live': 0.0,
    'largest_difference_of_two_replays': 0.0,
    'largest_share_unlike_of_two_replays': 0.0,
}


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
    took = sum(speed.per_tick) / recorded
    notes = {
        'times_real_time': round(1.0 / took, 2),
        'share_of_real_time': round(took, 3),
        'frame_to_chunk_ms_p50': _milliseconds(speed.to_chunk),
        'inference_ms_p50': _milliseconds(speed.inference),
        'frames': len(first.chunks.frame),
        **differences(live, first, 'to_live'),
        **differences(first, second, 'of_two_replays'),
    }
    samples = [1e3 * one for one in speed.per_tick]
    return [Row('replay_tick', 'ms', samples, notes=notes, limits=_LIMITS)]


def measurements() -> tuple[Measurement, ...]:
    """Return what can be measured here."""
    return (Measurement('replay', 's of a drive', 10, 60, lockstep_replay),)


def differences(golden: Trace, found: Trace, what: str) -> dict[str, float]:
    """Return how many answers were compared, and what was not alike, as notes about `what`.

    Where nothing was compared, or a number is none, the largest difference is infinite.
    """
    checks: tuple[Check, ...] = compare(golden, found, _NONE)
    shares = [check for check in checks if check.unit == 'share']
    numbers = [check for check in checks if check.unit != 'share']
    worst = [check.worst if check.n else np.inf for check in numbers]
    compared = min(check.n for check in numbers if check.name.startswith('chunk '))
    return {
        f'answers_compared_{what}': compared // found.chunks.data.shape[1],
        f'largest_difference_{what}': float(
            np.nan_to_num(np.max(worst), nan=np.inf, posinf=np.inf)
        ),
        f'largest_share_unlike_{what}': max(check.worst for check in shares),
    }


def _milliseconds(seconds: list[float]) -> float:
    return round(1e3 * float(np.median(seconds)), 2) if seconds else 0.0


def _silent(text: str) -> None:
    """Tell nobody."""
