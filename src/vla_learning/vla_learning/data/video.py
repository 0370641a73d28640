"""Pictures from and into video files, through PyAV."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
import io
import os
from pathlib import Path

import av
import numpy as np
from PIL import Image

from vla_learning.data.errors import DataError

#: Every second picture stands alone, so that any one can be had cheaply (as lerobot does).
_KEYFRAMES = 2
#: Of H.264: hardly visible; 0 is lossless, 51 the worst.
_QUALITY = 18


class VideoFile:
    """Pictures of a video by time; cheap if asked in order, right in any order.

    Args:
        path: of the file.
        tolerance: s by which a picture's time may differ from the one asked for.
    """

    def __init__(self, path: Path, tolerance: float) -> None:
        self._tolerance = tolerance
        self._process = os.getpid()
        self._container = av.open(str(path))
        self._stream = self._container.streams.video[0]
        self._pictures = self._container.decode(self._stream)
        self._next = 0.0  # no picture from here on has been passed

    def usable(self) -> bool:
        """Say whether this process opened it: a file position is shared after a fork."""
        return self._process == os.getpid()

    def picture(self, time: float) -> np.ndarray:
        """Return the picture at a time in s, uint8 [height, width, 3].

        Raises:
            LookupError: if there is none.
            av.FFmpegError: if it cannot be decoded.
        """
        gap = 5 * self._tolerance * _KEYFRAMES
        if not self._next - self._tolerance <= time <= self._next + gap:
            self._container.seek(int(time / self._stream.time_base), stream=self._stream)
            self._pictures = self._container.decode(self._stream)
        for picture in self._pictures:
            self._next = picture.time + 2 * self._tolerance
            if picture.time > time + self._tolerance:
                break
            if picture.time >= time - self._tolerance:
                return picture.to_ndarray(format='rgb24')
        raise LookupError(f'no picture at {time:.3f} s')


def write_video(path: Path, pictures: Iterable[np.ndarray], fps: float) -> int:
    """Encode pictures as H.264 and return how many there were.

    Args:
        path: new file, .mp4.
        pictures: uint8 [height, width, 3], all of one size, even sides.
        fps: pictures per second.
    """
    count = 0
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=rate)
        stream.pix_fmt = 'yuv420p'
        stream.options = {'g': str(_KEYFRAMES), 'crf': str(_QUALITY)}
        for picture in pictures:
            if not count:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, format='rgb24')
            frame.pts, frame.time_base = count, 1 / rate
            container.mux(stream.encode(frame))
            count += 1
        container.mux(stream.encode(None))
    return count


def check_video_sizes(cameras: Mapping[str, tuple[int, int]]) -> None:
    """Refuse what H.264 cannot hold: its colours are stored for every second row and column.

    Args:
        cameras: (height, width) by name.

    Raises:
        DataError: if a side is odd.
    """
    for name, (height, width) in cameras.items():
        if height % 2 or width % 2:
            raise DataError(
                f'camera {name!r}: pictures of {width}x{height} as video: expected even sides '
                '(without video they are kept as they are)'
            )


def encode_png(picture: np.ndarray) -> bytes:
    """Encode uint8 [height, width, 3] without loss."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, 'PNG')
    return stream.getvalue()
