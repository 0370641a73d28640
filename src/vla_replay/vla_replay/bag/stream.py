"""A file that can be cut back to what was safe when the disk refuses more."""

from contextlib import suppress
import os
from pathlib import Path


class Stream:
    """Unbuffered file, written from its beginning to its end.

    Attributes:
        size: bytes written.
        safe: bytes of them that `sync` has brought to the disk.
    """

    def __init__(self, path: Path) -> None:
        """Make a new file.

        Raises:
            OSError: if it exists or cannot be made.
        """
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self.size = self.safe = 0

    def write(self, data: bytes) -> int:
        """Write all of it, or raise OSError."""
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

    def sync(self) -> None:
        """Bring everything to the disk, where it survives a power failure."""
        os.fdatasync(self._file)
        self.safe = self.size

    def cut(self) -> None:
        """Take back what came after the last `sync`, as far as the disk lets us."""
        with suppress(OSError):
            os.ftruncate(self._file, self.safe)

    def close(self) -> None:
        """Close the file; a second time is nothing."""
        if self._file >= 0:
            descriptor, self._file = self._file, -1
            os.close(descriptor)
