"""A file that can be cut back to what was safe when the disk refuses more."""

from contextlib import suppress
import os
from pathlib import Path
import threading


class Stream:
    """Unbuffered file, written from its beginning to its end.

    Attributes:
        size: bytes written.
        safe: bytes of them that are whole by themselves.
    """

    def __init__(self, path: Path) -> None:
        """Make a new file.

        Raises:
            OSError: if it exists or cannot be made.
        """
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self.size = self.safe = 0
        self._syncing: threading.Thread | None = None
        self._error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write all of it, or raise OSError."""
        if self._error is not None:
            raise self._error
        left = memoryview(data)
        while left:
            written = os.write(self._file, left)
            self.size += written
            left = left[written:]
        return len(data)

    def tell(self) -> int:
        """Return the position of the next byte."""
        return self.size

    def flush(self) -> None:
        """Nothing is held back."""

    def mark(self) -> None:
        """Call what is written whole, and have it brought to the disk in the background.

        There it survives a power failure; here a slow disk does not hold up the next message. What
        the disk says comes with the next `write`.
        """
        self.safe = self.size
        if self._syncing is None or not self._syncing.is_alive():
            self._syncing = threading.Thread(target=self._sync, name='sync', daemon=True)
            self._syncing.start()

    def sync(self) -> None:
        """Wait until everything is on the disk, or raise OSError."""
        self._wait()
        if self._error is not None:
            # The system tells each failure once: to ask it again would get no answer.
            raise self._error
        os.fdatasync(self._file)

    def cut(self) -> None:
        """Take back what came after the last `mark`, as far as the disk lets us."""
        with suppress(OSError):
            os.ftruncate(self._file, self.safe)

    def close(self) -> None:
        """Close the file; a second time is nothing."""
        self._wait()
        if self._file >= 0:
            descriptor, self._file = self._file, -1
            os.close(descriptor)

    def _sync(self) -> None:
        try:
            os.fdatasync(self._file)
        except OSError as error:
            self._error = error

    def _wait(self) -> None:
        if self._syncing is not None:
            self._syncing.join()
