"""What a run needs to go on: one file, written at once or not at all, without pickled code."""

from __future__ import annotations

from collections.abc import Mapping
import os
from pathlib import Path
from typing import Any

import torch

from vla_core.errors import CheckpointError

#: In the run folder.
STATE_FILE = 'state.pt'
_KEYS = frozenset(
    {'experiment', 'data', 'step', 'model', 'average', 'optimizer', 'scaler', 'best'}
    | {'validated'}
)


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a run's state; a crash in mid-write leaves the old one.

    Args:
        folder: of the run.
        state: tensors and plain values by the names that `read_state` expects.
    """
    draft = folder / f'{STATE_FILE}.draft'
    with draft.open('wb') as stream:
        torch.save(dict(state), stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(folder / STATE_FILE)


def read_state(folder: Path) -> dict[str, Any] | None:
    """Read a run's state; None if the folder holds none.

    Raises:
        CheckpointError: if the file is damaged, or is no state of a run.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        # weights_only: tensors and plain values; no code can come out of the file.
        state = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # of bytes that are no state torch makes what it pleases
        # Behind its first sentence torch explains itself, and how to trust the file nevertheless.
        found = str(error).partition('\n')[0].partition('. ')[0] or type(error).__name__
        raise CheckpointError(
            f'{path}: {found}: expected the state of a run; remove the file to begin anew'
        ) from error
    if not isinstance(state, dict) or set(state) != _KEYS:
        found = sorted(map(str, state)) if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(f'{path}: holds {found}: expected {sorted(_KEYS)}')
    return state
