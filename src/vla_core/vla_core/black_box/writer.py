"""Files of the black box, written by a thread of its own that sleeps until there is one to write.

A disk that is full, read-only or slow costs nobody else anything: what could not be written stays
in memory, bounded, and is tried again.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import datetime, UTC
import logging
import os
from pathlib import Path
import re
import threading

from vla_core.black_box.record import Header, header_line
from vla_core.black_box.recorder import Snapshot

SUFFIX = '.jsonl'
#: What a name ends with, behind the robot's own: a robot `sim` is not the `sim-one` beside it.
_WHEN = r'(\d{8}T\d{6}\.\d{3}Z|ended)'
#: Files kept of one robot, so that no simulated one pushes out a real one's.
KEEP = 20
#: Snapshots that wait for a disk at most; the oldest give way.
MAX_WAITING = 4
#: s after which a failed write is tried again.
RETRY = 10.0
_LOGGER = logging.getLogger(__name__)


def write_atomically(path: Path, lines: Iterable[bytes]) -> None:
    """Write a file so that it is there as a whole or not at all.

    Raises:
        OSError: if it cannot be written; nothing of it is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix('.part')
    try:
        with draft.open('wb') as stream:
            stream.writelines(line + b'\n' for line in lines)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


class Writer:
    """Writes snapshots into a folder, newest name last.

    Attributes:
        written: files written; a second snapshot of one name counts too.
        failed: attempts that failed.
        dropped: snapshots that gave way to newer ones before a disk took them.
        error: of the newest attempt; empty if it went well.
        newest: path of the newest file; None: none yet.
    """

    def __init__(
        self,
        folder: Path,
        about: Callable[[Snapshot, str], Header],
        write: Callable[[Path, Iterable[bytes]], None] = write_atomically,
        retry: float = RETRY,
    ) -> None:
        """Start the thread; the folder is made with the first file.

        Args:
            folder: of the files.
            about: makes the header of a snapshot; its second argument is the time, UTC.
            write: writes a file or raises OSError.
            retry: s.
        """
        self._folder = folder
        self._about = about
        self._write = write
        self._retry = retry
        self._waiting: OrderedDict[str, Snapshot] = OrderedDict()
        self._changed = threading.Condition()
        self._closing = False
        self.written = self.failed = self.dropped = 0
        self.error = ''
        self.newest: Path | None = None
        self._thread = threading.Thread(target=self._run, name='black_box', daemon=True)
        self._thread.start()

    def submit(self, snapshot: Snapshot) -> None:
        """Hand a snapshot over; returns at once, whatever the disk does."""
        with self._changed:
            self._waiting[snapshot.name] = snapshot
            self._waiting.move_to_end(snapshot.name)
            while len(self._waiting) > MAX_WAITING:
                self._waiting.popitem(last=False)
                self.dropped += 1
            self._changed.notify()

    def close(self, timeout: float) -> bool:
        """Let the thread write once what waits; return whether nothing is left in `timeout` s."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)
        return not self._waiting

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closing or (bool(self._waiting) and not self.error),
                    None if not self.error else self._retry,
                )
                waiting, closing = tuple(self._waiting.values()), self._closing
            for snapshot in waiting:
                self._try(snapshot)
            if closing:
                return

    def _try(self, snapshot: Snapshot) -> None:
        """Write one snapshot, or note why not."""
        path = self._folder / f'{snapshot.name}{SUFFIX}'
        written = datetime.now(UTC).isoformat(timespec='milliseconds')
        header = header_line(self._about(snapshot, written))
        try:
            self._write(path, (header, *snapshot.lines))
        except OSError as error:
            with self._changed:
                self.failed += 1
                self.error = f'{path}: {error.strerror or error}'
            _LOGGER.error('black box not written: %s; tried again', self.error)
            return
        with self._changed:
            self.written += 1
            self.error, self.newest = '', path
            # A newer one of the same name may have come meanwhile.
            if self._waiting.get(snapshot.name) is snapshot:
                del self._waiting[snapshot.name]
        _LOGGER.info('black box: %s', path)
        try:
            self._make_room(path)
        except OSError as error:
            _LOGGER.warning('black box: an old file stays: %s', error)

    def _make_room(self, newest: Path) -> None:
        robot = re.escape(newest.stem.rpartition('-')[0])
        ours = re.compile(f'{robot}-{_WHEN}{re.escape(SUFFIX)}')
        files = sorted(
            (path for path in self._folder.glob(f'*{SUFFIX}') if ours.fullmatch(path.name)),
            key=lambda path: path.stat().st_mtime,
        )
        for path in [path for path in files if path != newest][: max(0, len(files) - KEEP)]:
            path.unlink(missing_ok=True)
