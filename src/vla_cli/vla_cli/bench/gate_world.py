"""What a gate hears in mid-drive, for measurements of its core without a graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_core.gate.messages import Beat, Chunk, Inputs, Odom, Rejected, Request
from vla_core.types import ActionChunk, NATIVE_AXES, NATIVE_UNITS, Status

#: s between two steps; a chunk comes with every second one.
PERIOD, CHUNK_EVERY = 0.02, 2
#: Steps until the gate is armed and the robot drives, and those in which a person arms.
DRIVING, _ARMED = 300, (220, 240, 260)
#: m/s.
SPEED = 0.3


def inputs(step: int, now: float, chunks: Sequence[Chunk | Rejected]) -> Inputs:
    """Return what a healthy world sends with a chunk or without; a person arms in time."""
    request = Request.ARM if step in _ARMED else None
    messages = (Odom((0.0,) * 6, now), Beat('policy', now, policy_run=1), *chunks)
    return Inputs(wall=now, messages=messages, request=request, writers=1)


def chunk(step: int, now: float, rows: np.ndarray, start_ns: int | None = None) -> ActionChunk:
    """Return a chunk of these velocities, float64 [H, 7].

    Args:
        step: of the gate; names the chunk.
        now: s, when its frame was taken.
        rows: velocities.
        start_ns: when the first one is due; None: at once.
    """
    stamp_ns = round(now * 1e9)
    return ActionChunk(
        stamp_ns=stamp_ns if start_ns is None else start_ns,
        observation_stamp_ns=stamp_ns,
        step_dt=PERIOD,
        sequence=step + 1,
        names=NATIVE_AXES,
        units=NATIVE_UNITS,
        data=rows,
        status=Status.RUNNING,
        policy_run=1,
        instruction_id=1,
        inference_seconds=0.005,
    )


def ahead(steps: int) -> np.ndarray:
    """Return so many steps straight ahead, float64 [steps, 7]."""
    rows = np.zeros((steps, len(NATIVE_AXES)))
    rows[:, 0] = SPEED
    return rows


def sent(one: ActionChunk, now: float) -> Chunk:
    """Return a chunk that arrives at once."""
    return Chunk(one, now, now, now)
