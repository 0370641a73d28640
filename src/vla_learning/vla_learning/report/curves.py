"""Learning curves of a training run, from its TensorBoard event files."""

from __future__ import annotations

import logging
from pathlib import Path

from vla_core.errors import ConfigError

#: Name of a curve -> steps and values.
Curves = dict[str, tuple[list[int], list[float]]]


def read_curves(run: Path) -> Curves:
    """Read every scalar of a run that was not zero all the time.

    Raises:
        ConfigError: if the folder holds no event file.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # It reports its way through the files at the level of information.
    logging.getLogger('tensorboard').setLevel(logging.WARNING)
    folders = sorted({file.parent for file in run.rglob('events.out.tfevents.*')})
    if not folders:
        raise ConfigError(f'run {run}: no TensorBoard event file: expected a training run')
    curves: Curves = {}
    for folder in folders:
        accumulator = EventAccumulator(str(folder), size_guidance={'scalars': 0})
        accumulator.Reload()
        part = folder.relative_to(run).as_posix()
        for tag in accumulator.Tags()['scalars']:
            events = accumulator.Scalars(tag)
            if not any(event.value for event in events):
                continue
            name = tag if len(folders) == 1 or part == '.' else f'{part}/{tag}'
            curves[name] = [event.step for event in events], [event.value for event in events]
    return curves
