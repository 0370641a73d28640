"""A recorder as its parameters want it."""

from datetime import datetime, UTC
from pathlib import Path
import shutil

from vla_core.errors import ConfigError
from vla_replay.bag.writer import BagWriter
from vla_replay.recording.config import MEGABYTE, RecorderConfig
from vla_replay.recording.recorders import Continuous, OnDemand, Recorder


def make_recorder(config: RecorderConfig, folder: Path) -> Recorder:
    """Begin a bag, or a ring.

    Args:
        config: of the recorder.
        folder: of the bags; made if it is not there.

    Raises:
        ConfigError: if the folder cannot be made.
        BagError: if the bag is there already or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f'folder {folder}: {error.strerror}: expected one for bags') from error

    def make(path: Path) -> BagWriter:
        return BagWriter(
            path,
            split_bytes=config.split_mb * MEGABYTE,
            split_seconds=config.split_seconds,
        )

    def free() -> int:
        return shutil.disk_usage(folder).free

    def dated() -> Path:
        now = datetime.now(UTC)
        stem = f'{config.name or "bag"}-{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03}Z'
        return folder / stem

    if config.mode == 'ring':
        return OnDemand(
            dated,
            make,
            config.ring_seconds,
            config.after_seconds,
            config.ring_mb * MEGABYTE,
        )
    path = folder / config.name if config.name else dated()
    return Continuous(path, make, free, config.reserve_mb * MEGABYTE)
