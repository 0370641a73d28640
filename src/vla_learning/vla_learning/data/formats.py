"""Open a data set by what lies at its path."""

from __future__ import annotations

from pathlib import Path

from vla_learning.data.episodes import Recording
from vla_learning.data.errors import DataError, Problems


def open_recording(path: Path, skip_bad: bool = False, fps: float | None = None) -> Recording:
    """Open a JSON file of records, a LeRobotDataset v3 or a folder of RLDS episodes.

    Args:
        path: `x.json`, or a folder with meta/info.json, or one with features.json.
        skip_bad: leave bad records out and list them in `problems`.
        fps: frames per second where the format does not say.

    Raises:
        DataError: if there is no data set, or a record is bad and not to be skipped.
    """
    if fps is not None and not fps > 0:
        raise DataError(f'{fps} frames per second: expected more than 0')
    problems = Problems(skip_bad)
    if path.suffix == '.json' and path.is_file():
        from vla_learning.data.records import JsonRecording

        return JsonRecording(path, problems, fps)
    if (path / 'meta/info.json').is_file():
        from vla_learning.data.lerobot import LeRobotRecording

        return LeRobotRecording(path, problems)
    if (path / 'features.json').is_file():
        from vla_learning.data.rlds import RldsRecording

        return RldsRecording(path, problems, fps)
    raise DataError(
        f'{path} is no data set: expected a .json file of records, or a folder with '
        'meta/info.json (LeRobotDataset v3) or features.json (RLDS)'
    )
