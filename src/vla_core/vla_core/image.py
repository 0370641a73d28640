"""Foreign pixels to RGB: every header is checked before a byte of the data is touched.

All supported encodings have 8 bits per number, so `is_bigendian` says nothing about them and is
not read: drivers set it either way.
"""

import array
import io
import struct
from typing import TypeAlias
import zlib

import numpy as np
from PIL import Image
from simplejpeg import decode_jpeg, decode_jpeg_header  # type: ignore[import-untyped]

from vla_core.errors import ObservationError

#: What a message's data may be; a list is not among them.
Bytes: TypeAlias = 'bytes | bytearray | memoryview | array.array[int]'
#: Largest side and area that are even looked at: a header may promise anything.
MAX_SIDE = 8192
MAX_PIXELS = 1 << 24
#: Largest compressed frame, bytes.
MAX_COMPRESSED = 1 << 25
#: Bytes per pixel of each encoding that is understood (sensor_msgs/image_encodings.hpp).
BYTES_PER_PIXEL = {
    'rgb8': 3,
    'bgr8': 3,
    'rgba8': 4,
    'bgra8': 4,
    'mono8': 1,
    'yuv422': 2,
    'uyvy': 2,
    'yuv422_yuy2': 2,
    'yuyv': 2,
}
#: Pillow's mode and raw layout of the packed encodings.
_PACKED = {
    'bgr8': ('RGB', 'BGR'),
    'rgba8': ('RGB', 'RGBX'),
    'bgra8': ('RGB', 'BGRX'),
    'mono8': ('L', 'L'),
}
_JPEG_START, _JPEG_END = b'\xff\xd8', b'\xff\xd9'
#: Mode of what is read, by libjpeg's name of the colours in the file.
_JPEG_MODES = {'Gray': 'L', 'YCbCr': 'RGB', 'RGB': 'RGB'}
#: What libjpeg says of bytes between the last pixel and the end.
_BEFORE_END = 'extraneous bytes before marker 0xd9'
#: Numbers per pixel of each of PNG's colour types.
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
#: Where U, the first Y, V and the second Y are in the four bytes of two pixels.
_UYVY, _YUYV = (0, 1, 2, 3), (1, 0, 3, 2)
_YUV = {'yuv422': _UYVY, 'uyvy': _UYVY, 'yuv422_yuy2': _YUYV, 'yuyv': _YUYV}
#: ITU-R BT.601, studio range, as 20-bit fixed point: 1.164, 2.018, 0.391, 0.813, 1.596. The
#: rounding is that of OpenCV's color_yuv.simd.hpp, so that cv_bridge gives the same bytes.
_SHIFT, _HALF = 20, 1 << 19
_Y, _U_BLUE, _U_GREEN, _V_GREEN, _V_RED = 1220542, 2116026, -409993, -852492, 1673527


def check_header(encoding: str, width: int, height: int, step: int, size: int) -> None:
    """Compare an image's header with the number of bytes that came with it.

    Args:
        encoding: name from sensor_msgs/image_encodings.hpp.
        width: pixels.
        height: pixels.
        step: bytes from one row to the next.
        size: bytes of data.

    Raises:
        ObservationError: if the encoding is not understood, a side is not in 1..MAX_SIDE, the
            area exceeds MAX_PIXELS, two-pixel groups do not fill a row, a row is longer than
            `step`, or `size` is not step x height.
    """
    if encoding not in BYTES_PER_PIXEL:
        raise ObservationError(f'encoding {encoding[:40]!r}: expected one of {[*BYTES_PER_PIXEL]}')
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise ObservationError(
            f'image of {width}x{height}: expected sides of 1 to {MAX_SIDE} '
            f'and at most {MAX_PIXELS} pixels'
        )
    if encoding in _YUV and width % 2:
        raise ObservationError(f'{encoding} of width {width}: expected an even width')
    if step < width * BYTES_PER_PIXEL[encoding]:
        raise ObservationError(
            f'step {step}: expected at least {width * BYTES_PER_PIXEL[encoding]} '
            f'for {width} pixels of {encoding}'
        )
    if size != step * height:
        raise ObservationError(
            f'{size} bytes of data: expected step {step} x height {height} = {step * height}'
        )


def decode_raw(data: Bytes, encoding: str, width: int, height: int, step: int) -> np.ndarray:
    """Return the RGB image of raw bytes; without a copy where they are RGB already.

    Args:
        data: step x height bytes.
        encoding: name from sensor_msgs/image_encodings.hpp.
        width: pixels.
        height: pixels.
        step: bytes from one row to the next; what follows a row's pixels is ignored.

    Returns:
        uint8 [height, width, 3], possibly a read-only view of `data`.

    Raises:
        ObservationError: see `check_header`.
    """
    check_header(encoding, width, height, step, len(data))
    if encoding == 'rgb8':
        return np.ndarray((height, width, 3), np.uint8, data, strides=(step, 3, 1))
    if encoding in _PACKED:
        # Pillow's unpackers are several times faster than numpy's copy of a strided view.
        mode, layout = _PACKED[encoding]
        image = Image.frombytes(mode, (width, height), memoryview(data), 'raw', layout, step, 1)
        return np.asarray(image.convert('RGB'))
    groups = np.ndarray((height, width // 2, 4), np.uint8, data, strides=(step, 4, 1))
    return _yuv_to_rgb(groups[..., _YUV[encoding]])


def decode_compressed(data: Bytes) -> np.ndarray:
    """Return the RGB image of a JPEG or PNG file in memory.

    A PNG has a checksum. A JPEG has none: a loss shows where codes are not legal or do not make up
    the blocks of the picture. By chance they may, and then no decoder can tell: the more often,
    the fewer blocks are lost. Of 1000 JPEGs with 61 bytes per 16x16 pixels (quality 90) 173 look
    whole without 64 bytes, 38 without 128, none without 256; of 1000 with 220 bytes (quality 100)
    138 without 512, 69 without 1024, 24 without 2048. A progressive JPEG may also lose its last
    refinement, and is coarser then.

    Returns:
        uint8 [height, width, 3].

    Raises:
        ObservationError: if the data are too many, neither JPEG nor PNG, damaged, larger than
            MAX_SIDE or MAX_PIXELS, an interlaced PNG, or have other channels than L, RGB or RGBA
            of 8 bits.
    """
    if not 0 < len(data) <= MAX_COMPRESSED:
        raise ObservationError(f'{len(data)} compressed bytes: expected 1 to {MAX_COMPRESSED}')
    contents = bytes(data)
    decode = _decode_jpeg if contents.startswith(_JPEG_START) else _decode_png
    try:
        return decode(contents)
    except ObservationError:
        raise
    except Exception as error:  # the decoders raise a dozen kinds on bad bytes
        reason = f'{type(error).__name__}: {error}'[:120]
        raise ObservationError(f'{len(data)} bytes: expected JPEG or PNG: {reason}') from error


def exposure_fault(image: np.ndarray, dark: int, bright: int, share: float) -> str:
    """Say why nothing can be seen in an image; empty if something can.

    Args:
        image: uint8 [height, width, 3]; about 64 rows and columns of it are looked at.
        dark: a number up to this one shows nothing.
        bright: a number from this one on shows nothing.
        share: of the numbers, in (0, 1], that must show nothing.
    """
    stride = max(1, min(image.shape[:2]) // 64)
    sample = image[::stride, ::stride]
    for fault, blind in (
        (f'black: nearly all at most {dark}', sample <= dark),
        (f'saturated: nearly all at least {bright}', sample >= bright),
    ):
        if np.count_nonzero(blind) >= share * sample.size:
            return fault
    return ''


class PictureAge:
    """Times how long the same picture has been coming in.

    It ends at the newest picture, not now: a camera that falls silent is not frozen, it is silent,
    and that is judged by the age of its frames.
    """

    def __init__(self) -> None:
        """Start without a picture."""
        self._pixels = b''
        self._since = 0.0
        self.age = 0.0

    def update(self, pixels: bytes, now: float) -> None:
        """Compare a picture with the one before.

        Args:
            pixels: the picture's bytes.
            now: s, on a monotonic clock.
        """
        if pixels != self._pixels:
            self._pixels, self._since = pixels, now
        self.age = now - self._since


def _check_compressed(width: int, height: int, mode: str) -> None:
    """Judge a file by its header: a bomb is refused before it is unpacked."""
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ObservationError(
            f'compressed image of {width}x{height}: expected sides up to {MAX_SIDE} '
            f'and at most {MAX_PIXELS} pixels'
        )
    if mode not in ('L', 'RGB', 'RGBA'):
        raise ObservationError(
            f'compressed image of mode {mode}: expected L, RGB or RGBA of 8 bits'
        )


def _decode_jpeg(data: bytes) -> np.ndarray:
    """Return RGB; what libjpeg only warns of is an error, but for zeros before the end."""
    height, width, colours, _ = decode_jpeg_header(data, strict=True)
    _check_compressed(width, height, _JPEG_MODES.get(colours, colours))
    try:
        return _decode_strictly(data)
    except ValueError as error:
        if _BEFORE_END not in str(error):
            raise
        return _decode_strictly(_without_padding(data))


def _decode_strictly(jpeg: bytes) -> np.ndarray:
    return np.asarray(decode_jpeg(jpeg, 'RGB', strict=True))


def _without_padding(jpeg: bytes) -> bytes:
    """Leave out the zeros with which some cameras fill up a JPEG before its end."""
    pixels = jpeg[: jpeg.rfind(_JPEG_END)].rstrip(b'\0')
    # After 255 one zero is part of the code.
    return pixels + (b'\0' if pixels.endswith(b'\xff') else b'') + _JPEG_END


def _decode_png(data: bytes) -> np.ndarray:
    """Return RGB, if all rows are there and their checksum is right; Pillow takes fewer."""
    with Image.open(io.BytesIO(data), formats=('PNG',)) as image:
        # Only the header has been read so far.
        _check_compressed(*image.size, image.mode)
        _check_rows(data)
        return np.asarray(image.convert('RGB'))


def _check_rows(png: bytes) -> None:
    """Refuse a PNG whose rows are not as many as its header promises."""
    width, height, depth, colours, _, _, interlaced = struct.unpack_from('>IIBBBBB', png, 16)
    if interlaced:
        raise ObservationError('interlaced PNG: expected one row after the other')
    promised = height * (1 + (width * _PNG_CHANNELS[colours] * depth + 7) // 8)
    packed, place = [], 8
    while place + 8 <= len(png):
        size, kind = struct.unpack_from('>I4s', png, place)
        if kind == b'IDAT':
            packed.append(png[place + 8 : place + 8 + size])
        place += 12 + size
    inflate = zlib.decompressobj()
    found = len(inflate.decompress(b''.join(packed), promised + 1))
    if found != promised or not inflate.eof:
        raise ObservationError(f'PNG unpacks to {found} bytes: expected {promised} and their sum')


def _yuv_to_rgb(groups: np.ndarray) -> np.ndarray:
    """Convert uint8 [height, width / 2, (U, Y, V, Y)] to uint8 [height, width, 3]."""
    chroma = groups[..., 0::2].astype(np.int32) - 128
    luma = np.maximum(groups[..., 1::2].astype(np.int32) - 16, 0) * _Y
    u, v = chroma[..., 0], chroma[..., 1]
    tints = (_V_RED * v, _V_GREEN * v + _U_GREEN * u, _U_BLUE * u)
    height, half = groups.shape[:2]
    rgb = np.empty((height, half, 2, 3), np.uint8)
    for channel, tint in enumerate(tints):
        mixed = (luma + (tint + _HALF)[..., np.newaxis]) >> _SHIFT
        rgb[..., channel] = np.clip(mixed, 0, 255)
    return rgb.reshape(height, 2 * half, 3)
