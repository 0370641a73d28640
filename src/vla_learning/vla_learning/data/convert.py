"""`vla-learn convert` and `vla-learn data`: one format for recordings, and what is in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
import io
import json
from pathlib import Path
import shutil
import tempfile
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tqdm import tqdm
import tyro

from vla_learning.data.derived import Derived
from vla_learning.data.episodes import Recording
from vla_learning.data.errors import DataError
from vla_learning.data.formats import open_recording
from vla_learning.data.lerobot_write import LeRobotWriter
from vla_learning.data.video import check_video_sizes, encode_png


@dataclass(frozen=True)
class Convert:
    """Write a data set as LeRobotDataset v3.

    Attributes:
        source: `x.json`, a folder of RLDS episodes, or a LeRobotDataset v3.
        dest: new folder; appears when it is complete.
        fps: frames per second, where the source does not say (JSON, RLDS).
        gripper: what 1 means of a gripper, `closed` or `open`, where the source does not say
            (RLDS, LeRobot).
        cameras: pictures to take along; empty for all.
        video: write H.264 video, small but lossy, instead of the pictures as they are.
        skip_bad: leave bad records out, count and list them (also in meta/bad_records.json of the
            new folder), instead of stopping at the first.
    """

    source: Annotated[Path, tyro.conf.Positional]
    dest: Annotated[Path, tyro.conf.Positional]
    fps: float | None = None
    gripper: Literal['', 'closed', 'open'] = ''
    cameras: tuple[str, ...] = ()
    video: bool = False
    skip_bad: bool = False


@dataclass(frozen=True)
class Listing:
    """Say what is in a data set: episodes, frames, texts, statistics, bad records.

    Attributes:
        path: `x.json`, a folder of RLDS episodes, or a LeRobotDataset v3.
        pictures: decode every picture too.
        derived: folder for what is computed from the data set; else `<path>.vla` beside it.
    """

    path: Annotated[Path, tyro.conf.Positional]
    pictures: bool = False
    derived: Path | None = None


def command(options: Convert) -> int:
    """Run `vla-learn convert`."""
    recording = convert(options)
    left_out = len(recording.problems.found)
    print(f'{options.dest}: {open_recording(options.dest).frames} frames, {left_out} left out')
    for problem in recording.problems.found:
        print(f'  {problem}')
    return 0


def convert(options: Convert) -> Recording:
    """Write a data set as LeRobotDataset v3; the folder appears when it is complete.

    Returns:
        The source, whose problems say what was left out.

    Raises:
        DataError: if the source cannot be used, the folder exists, or a video would have an odd
            side.
    """
    if options.dest.exists():
        raise DataError(f'{options.dest} exists: expected a new folder')
    recording = open_recording(options.source, options.skip_bad, options.fps)
    recording.turn_gripper(options.gripper)
    cameras = options.cameras or recording.cameras
    unknown = sorted(set(cameras) - set(recording.cameras))
    if unknown:
        raise DataError(f'camera {unknown[0]!r}: expected some of {recording.cameras}')
    if recording.fps is None:
        raise DataError(f'{options.source.name} does not say its frames per second: expected fps')
    sizes = _sizes(recording, cameras)
    if options.video:
        check_video_sizes(sizes)
    options.dest.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f'.{options.dest.name}.', dir=options.dest.parent))
    try:
        _write(recording, sizes, draft, options.video)
        if recording.problems.found:
            left_out = json.dumps(recording.problems.report(), indent=1)
            (draft / 'meta/bad_records.json').write_text(left_out, 'utf-8')
        draft.chmod(0o755)  # mkdtemp's folders are the owner's alone
        draft.rename(options.dest)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return recording


def _sizes(recording: Recording, cameras: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Return each camera's (height, width): that of the first frame that can be decoded."""
    for row in np.flatnonzero(recording.good).tolist():
        try:
            shapes = {camera: recording.image(row, camera).shape for camera in cameras}
        except DataError as error:
            if error.problem is None or not recording.problems.skip:
                raise
            continue  # noted when its turn to be written comes
        return {camera: (height, width) for camera, (height, width, _) in shapes.items()}
    raise DataError(f'{recording.path.name}: no usable frame: expected at least one')


def _write(
    recording: Recording, sizes: Mapping[str, tuple[int, int]], folder: Path, video: bool
) -> None:
    writer = LeRobotWriter(
        folder, recording.fps or 0.0, recording.axes, recording.state_names, sizes, video
    )
    episodes = range(len(recording.names))
    for episode in tqdm(episodes, desc=f'{recording.path.name}: writing', disable=None):
        for rows, pictures in _runs(recording, sizes, episode):
            texts = [recording.texts[recording.text[row]] for row in rows]
            drive = recording.drives[episode]
            writer.add(recording.actions[rows], recording.state[rows], texts, pictures, drive)
    writer.finish()


def _runs(
    recording: Recording, sizes: Mapping[str, tuple[int, int]], episode: int
) -> Iterator[tuple[list[int], dict[str, list[bytes]]]]:
    """Yield the good frames of an episode, in pieces where bad ones interrupt it.

    What follows a bad frame becomes an episode of its own: the format has no gaps in time.
    """
    rows: list[int] = []
    pictures: dict[str, list[bytes]] = {camera: [] for camera in sizes}
    for row in range(*recording.first[episode : episode + 2]):
        coded = _coded(recording, sizes, row) if recording.good[row] else None
        if coded is not None:
            rows.append(row)
            for camera, data in coded.items():
                pictures[camera].append(data)
        elif rows:
            yield rows, pictures
            rows, pictures = [], {camera: [] for camera in sizes}
    if rows:
        yield rows, pictures


def _coded(
    recording: Recording, sizes: Mapping[str, tuple[int, int]], row: int
) -> dict[str, bytes] | None:
    """Return a frame's pictures as RGB image files, unchanged where they are; None if bad."""
    coded = {}
    try:
        for camera, (height, width) in sizes.items():
            data = recording.fetch(row, camera)
            pixels = recording.pixels(row, camera, data)
            if pixels.shape[:2] != (height, width):
                found = f'{pixels.shape[1]}x{pixels.shape[0]}'
                raise recording.bad(row, camera, found, f'{width}x{height} as in the first frame')
            coded[camera] = data if _is_rgb(data) else encode_png(pixels)
    except DataError as error:
        if error.problem is None:
            raise
        recording.problems.add(**vars(error.problem))
        return None
    return coded


def _is_rgb(data: bytes | np.ndarray) -> bool:
    if isinstance(data, np.ndarray):
        return False
    with Image.open(io.BytesIO(data)) as picture:
        return picture.mode == 'RGB'


def listing(options: Listing) -> int:
    """Run `vla-learn data`."""
    recording = open_recording(options.path, skip_bad=True)
    derived = Derived(recording, options.derived)
    if options.pictures:
        for camera in recording.cameras:
            derived.check_pictures(recording, camera)
    statistics = derived.statistics(recording)
    console = Console()
    lengths = np.diff(recording.first)
    facts = Table(title=escape(str(options.path)), show_header=False)
    facts.add_column(no_wrap=True)
    facts.add_column(overflow='fold')
    for name, value in (
        ('episodes', f'{len(lengths)} of {lengths.min()} to {lengths.max()} frames'),
        ('frames', f'{recording.frames}, {recording.good.sum()} good'),
        ('frames per second', 'not said' if recording.fps is None else f'{recording.fps:g}'),
        ('cameras', ', '.join(recording.cameras)),
        ('state', ', '.join(recording.state_names) or 'none'),
        ('SHA-256', derived.sha256),
        ('computed files', str(derived.folder)),
    ):
        facts.add_row(name, escape(value))
    console.print(facts)
    console.print(_texts_table(recording))
    heads = ('mean', 'std', 'min', 'q01', 'q99', 'max', '±1 is')
    numbers = Table('axis', *heads, box=box.SIMPLE, pad_edge=False)
    numbers.columns[0].no_wrap = True
    for n, axis in enumerate(statistics.axes):
        columns = (statistics.mean, statistics.std, statistics.min, statistics.q01)
        columns += (statistics.q99, statistics.max, statistics.action_scale)
        numbers.add_row(escape(axis), *(f'{column[n]:.3g}' for column in columns))
    console.print(numbers)
    report = derived.report(recording)
    if report is not None:
        print(f'{len(recording.problems.found)} bad records, listed in {report}:')
        print('\n'.join(recording.problems.lines()))
    return 0


def _texts_table(recording: Recording, most: int = 20) -> Table:
    counts = np.bincount(recording.text, minlength=len(recording.texts))
    table = Table('frames', 'instruction')
    for text in np.argsort(-counts, kind='stable')[:most]:
        table.add_row(str(counts[text]), escape(recording.texts[text]) or '(none)')
    if len(counts) > most:
        table.add_row('', f'and {len(counts) - most} more')
    return table
