"""Hold what a graph does with a recording against what it did before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from vla_core.gate.causes import Cause, State
from vla_core.robot import AXES
from vla_core.types import Status
from vla_replay.errors import BagError
from vla_replay.trace import Chunks, Decisions, TICK, Trace


@dataclass(frozen=True)
class Tolerance:
    """How far apart two runs may be.

    Attributes:
        linear: m/s.
        angular: rad/s.
        other: every other unit, the gripper's 0 to 1 among them.
        unmatched: share of frames that only one run has a chunk for, or that obey another
            instruction or have another status.
    """

    linear: float = 1e-6
    angular: float = 1e-6
    other: float = 1e-6
    unmatched: float = 0.0

    def of(self, unit: str) -> float:
        """Return the tolerance for a unit."""
        return {'m/s': self.linear, 'rad/s': self.angular}.get(unit, self.other)


@dataclass(frozen=True)
class Check:
    """One line of the table.

    Attributes:
        name: what was compared.
        unit: of the numbers.
        n: how many were.
        worst: largest difference.
        mean: mean difference.
        limit: largest one allowed.
        failure: one sentence that names the place; empty if it passed.
    """

    name: str
    unit: str
    n: int
    worst: float
    mean: float
    limit: float
    failure: str = ''


def compare(golden: Trace, found: Trace, tolerance: Tolerance) -> tuple[Check, ...]:
    """Compare chunk by chunk, and decision by decision where both runs were in lock-step.

    Raises:
        BagError: if the policies have other axes, units or horizons.
    """
    live = golden.decisions is None
    checks = _chunks(golden.chunks, found.chunks, tolerance, live)
    if golden.decisions is not None and found.decisions is not None:
        checks += _decisions(golden.decisions, found.decisions, tolerance)
    return tuple(checks)


def matched(golden: Chunks, found: Chunks) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Pair the chunks of two runs.

    Returns:
        Indices in golden and in found, int64 [M]; and what is wrong with each frame that has no
        pair.
    """
    both, left, right = np.intersect1d(golden.frame, found.frame, return_indices=True)
    lonely = [
        f'{stamp_text(frame)} has a chunk in one run only'
        for frame in np.setxor1d(golden.frame, found.frame)
    ]
    same_text = np.array([golden.texts[i] for i in golden.text[left]], dtype=object) == np.array(
        [found.texts[i] for i in found.text[right]], dtype=object
    )
    same = same_text & (golden.status[left] == found.status[right])
    for number in np.flatnonzero(~same):
        one, other = left[number], right[number]
        lonely.append(
            f'{stamp_text(both[number])}: {golden.texts[golden.text[one]]!r} '
            f'{Status(golden.status[one]).name} against {found.texts[found.text[other]]!r} '
            f'{Status(found.status[other]).name}'
        )
    return left[same], right[same], lonely


def stamp_text(stamp_ns: int) -> str:
    """Name a frame by its recorded stamp."""
    return f'frame {int(stamp_ns) // 10**9}.{int(stamp_ns) % 10**9:09d}'


def _chunks(golden: Chunks, found: Chunks, tolerance: Tolerance, live: bool) -> list[Check]:
    here, there = _contract(golden), _contract(found)
    if here != there:
        raise BagError(f'policy has (axes, units, steps) {there}: expected {here}')
    if live:
        # A busy policy skips frames; in lock-step it answers all of them.
        golden = _told(golden, found)
        found = _where(found, np.isin(found.frame, golden.frame))
    left, right, lonely = matched(golden, found)
    total = len(np.union1d(golden.frame, found.frame))
    share = len(lonely) / total if total else 1.0
    failure = ''
    if not share <= tolerance.unmatched:
        first = lonely[0] if lonely else 'no chunk in either run'
        failure = f'{len(lonely)} of {total} frames have no pair, the first: {first}'
    checks = [
        Check('frames without a pair', 'share', total, share, share, tolerance.unmatched, failure)
    ]
    apart = np.abs(golden.data[left] - found.data[right])
    for axis, (name, unit) in enumerate(zip(golden.names, golden.units, strict=True)):

        def place(flat: int) -> str:
            number, step = divmod(flat, apart.shape[1])
            frame = left[number]
            return (
                f'step {step} of {stamp_text(golden.frame[frame])} '
                f'({frame + 1} of {len(golden.frame)})'
            )

        checks.append(
            _check(f'chunk {name}', unit, apart[:, :, axis].ravel(), tolerance.of(unit), place)
        )
    return checks


def _told(golden: Chunks, found: Chunks) -> Chunks:
    """Leave out zeros of before the first text, which an earlier one left behind."""
    told = found.frame[found.status != Status.IDLE]
    first = told.min(initial=np.iinfo(np.int64).max)
    return _where(golden, (golden.frame >= first) | (golden.status == Status.RUNNING))


def _where(chunks: Chunks, keep: np.ndarray) -> Chunks:
    columns = {name: getattr(chunks, name)[keep] for name in ('frame', 'text', 'status', 'data')}
    return replace(chunks, **columns)


def _decisions(golden: Decisions, found: Decisions, tolerance: Tolerance) -> list[Check]:
    rows = min(len(golden.state), len(found.state))
    checks = []
    if len(golden.state) != len(found.state):
        failure = f'{len(found.state)} ticks: expected {len(golden.state)}'
        apart = abs(len(golden.state) - len(found.state))
        checks.append(Check('ticks', 'ticks', rows, apart, apart, 0.0, failure))
    for name, show in (
        ('state', lambda value: State(value).name),
        ('cause', lambda value: Cause(value).name),
        ('frame', stamp_text),
        ('step', str),
    ):
        checks.append(
            _equal(name, getattr(golden, name)[:rows], getattr(found, name)[:rows], show)
        )
    for name in ('wanted', 'allowed', 'published'):
        apart = np.abs(getattr(golden, name)[:rows] - getattr(found, name)[:rows])
        for axis, label in enumerate(AXES):
            unit = 'm/s' if label.startswith('linear') else 'rad/s'
            checks.append(_check(f'{name} {label}', unit, apart[:, axis], tolerance.of(unit), _at))
    grips = _apart_or_none(golden.gripper[:rows], found.gripper[:rows])
    return [*checks, _check('gripper', '1', grips, tolerance.other, _at)]


def _apart_or_none(golden: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return distances, float64 [T]; 0 where both are NaN: neither robot has a gripper."""
    return np.where(np.isnan(golden) & np.isnan(found), 0.0, np.abs(golden - found))


def _equal(name: str, golden: np.ndarray, found: np.ndarray, show: Callable[[int], str]) -> Check:
    other = golden != found
    failure = ''
    if other.any():
        first = int(np.argmax(other))
        failure = (
            f'{int(other.sum())} of {len(other)} ticks differ, the first {_at(first)}: '
            f'{show(found[first])}, expected {show(golden[first])}'
        )
    share = float(other.mean()) if len(other) else 0.0
    return Check(f'decision {name}', 'share', len(other), share, share, 0.0, failure)


def _check(
    name: str, unit: str, apart: np.ndarray, limit: float, place: Callable[[int], str]
) -> Check:
    if not len(apart):
        return Check(name, unit, 0, 0.0, 0.0, limit)
    # NaN is never within a tolerance.
    bad = ~(apart <= limit)
    worst = int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
    failure = ''
    if bad.any():
        failure = (
            f'{apart[worst]:.6g} {unit} apart at {place(worst)}, the first of {int(bad.sum())} at '
            f'{place(int(np.argmax(bad)))}: expected at most {limit:g}'
        )
    return Check(name, unit, len(apart), float(apart[worst]), float(apart.mean()), limit, failure)


def _at(tick: int) -> str:
    return f'tick {tick} ({tick * TICK:.2f} s)'


def _contract(chunks: Chunks) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    return chunks.names, chunks.units, chunks.data.shape[1]
