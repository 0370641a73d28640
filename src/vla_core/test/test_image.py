"""Foreign pixels: every encoding, every lie a header can tell, hostile files."""

import array
from collections.abc import Callable
import io
import struct
from typing import Any
import zlib

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
from PIL import Image
import pytest

from vla_core.errors import ObservationError
from vla_core.image import (
    BYTES_PER_PIXEL,
    decode_compressed,
    decode_raw,
    exposure_fault,
    MAX_SIDE,
    PictureAge,
)

COLOURS = {
    'rgb8': ((10, 200, 30), bytes((10, 200, 30))),
    'bgr8': ((10, 200, 30), bytes((30, 200, 10))),
    'rgba8': ((10, 200, 30), bytes((10, 200, 30, 99))),
    'bgra8': ((10, 200, 30), bytes((30, 200, 10, 99))),
    'mono8': ((77, 77, 77), bytes((77,))),
}


def outcome(decode: Callable[..., np.ndarray], *args: Any) -> tuple[tuple[int, ...], str]:
    try:
        return decode(*args).shape, ''
    except ObservationError as error:
        return (), str(error)


def rgb_of_yuv(y: int, u: int, v: int) -> tuple[float, ...]:
    """ITU-R BT.601 in plain floating point, written apart from the code under test."""
    red = 1.164 * max(y - 16, 0) + 1.596 * (v - 128)
    green = 1.164 * max(y - 16, 0) - 0.813 * (v - 128) - 0.391 * (u - 128)
    blue = 1.164 * max(y - 16, 0) + 2.018 * (u - 128)
    return tuple(min(max(value, 0.0), 255.0) for value in (red, green, blue))


@pytest.mark.parametrize('encoding', COLOURS)
@pytest.mark.parametrize('padding', [0, 1, 13])
@pytest.mark.parametrize('kind', [bytes, bytearray, memoryview, lambda b: array.array('B', b)])
def test_each_encoding_gives_its_colour(encoding: str, padding: int, kind: type) -> None:
    rgb, pixel = COLOURS[encoding]
    width, height = 7, 5
    data = kind((pixel * width + b'\xee' * padding) * height)
    image = decode_raw(data, encoding, width, height, len(pixel) * width + padding)
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    assert (image == rgb).all()


@pytest.mark.parametrize(
    ('encoding', 'order'),
    [
        ('yuv422', (0, 1, 2, 3)),
        ('uyvy', (0, 1, 2, 3)),
        ('yuv422_yuy2', (1, 0, 3, 2)),
        ('yuyv', (1, 0, 3, 2)),
    ],
)
@given(numbers=st.tuples(*[st.integers(0, 255)] * 4), padding=st.integers(0, 5))
def test_yuv_is_bt601(
    encoding: str, order: tuple[int, ...], numbers: tuple[int, ...], padding: int
) -> None:
    u, y0, v, y1 = numbers
    row = bytes(numbers[place] for place in order) * 2 + b'\xee' * padding
    image = decode_raw(row * 3, encoding, 4, 3, len(row))
    expected = np.array([rgb_of_yuv(y0, u, v), rgb_of_yuv(y1, u, v)] * 2)
    assert np.abs(image - expected).max() <= 0.51


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'rgba8', 'bgra8'])
def test_full_hd_with_an_odd_step_keeps_every_pixel(encoding: str) -> None:
    size = BYTES_PER_PIXEL[encoding]
    pixels = np.random.default_rng(0).integers(0, 256, (1080, 1920, size), np.uint8)
    padded = np.zeros((1080, 1920 * size + 7), np.uint8)
    padded[:, : 1920 * size] = pixels.reshape(1080, -1)
    image = decode_raw(padded.tobytes(), encoding, 1920, 1080, padded.shape[1])
    order = (2, 1, 0) if encoding.startswith('bgr') else (0, 1, 2)
    assert np.array_equal(image, pixels[..., order])


@pytest.mark.parametrize(
    ('encoding', 'width', 'height', 'step', 'size', 'complaint'),
    [
        ('mono16', 4, 4, 8, 32, "encoding 'mono16': expected one of"),
        ('', 4, 4, 12, 48, "encoding '': expected one of"),
        ('x' * 100_000, 4, 4, 12, 48, 'expected one of'),
        ('bayer_rggb8', 4, 4, 4, 16, 'expected one of'),
        ('rgb8', 0, 0, 0, 0, 'image of 0x0'),
        ('rgb8', 0, 4, 12, 48, 'image of 0x4'),
        ('rgb8', 100_000, 100_000, 300_000, 100, 'image of 100000x100000'),
        ('rgb8', MAX_SIDE, MAX_SIDE, 3 * MAX_SIDE, 100, f'image of {MAX_SIDE}x{MAX_SIDE}'),
        ('rgb8', 4, 4, 11, 44, 'step 11: expected at least 12'),
        ('rgb8', 4, 4, 0, 0, 'step 0: expected at least 12'),
        ('rgb8', 4, 4, 12, 47, '47 bytes of data'),
        ('rgb8', 4, 4, 12, 0, '0 bytes of data'),
        ('rgb8', 4, 4, 12, 96, '96 bytes of data'),
        ('rgb8', 4, 4, 4_294_967_295, 48, '48 bytes of data'),
        ('yuv422', 3, 4, 6, 24, 'expected an even width'),
    ],
)
def test_a_header_that_lies_is_named(
    encoding: str, width: int, height: int, step: int, size: int, complaint: str
) -> None:
    with pytest.raises(ObservationError, match='expected') as caught:
        decode_raw(bytes(size), encoding, width, height, step)
    assert complaint in str(caught.value)
    assert len(str(caught.value)) < 300


@given(
    st.sampled_from([*BYTES_PER_PIXEL, 'mono16', '']),
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(0, 60),
    st.binary(max_size=800),
)
def test_any_header_gives_an_image_or_a_reason(
    encoding: str, width: int, height: int, step: int, data: bytes
) -> None:
    shape, reason = outcome(decode_raw, data, encoding, width, height, step)
    assert shape == (height, width, 3) or 'expected' in reason


def compressed(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))


def png_bomb(width: int, height: int) -> bytes:
    """A few kilobytes that unpack to width x height x 3 zeros."""
    rows = zlib.compress(bytes(3_000_000), 9)
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b''.join(
        (
            b'\x89PNG\r\n\x1a\n',
            png_chunk(b'IHDR', header),
            png_chunk(b'IDAT', rows),
            png_chunk(b'IEND', b''),
        )
    )


def test_png_is_exact_and_jpeg_is_near() -> None:
    rows, columns = np.mgrid[0:48, 0:64]
    pixels = np.stack((rows * 5, columns * 4, rows + columns), axis=2).astype(np.uint8)
    assert np.array_equal(decode_compressed(compressed(Image.fromarray(pixels), 'PNG')), pixels)
    jpeg = decode_compressed(compressed(Image.fromarray(pixels), 'JPEG')).astype(int)
    assert np.abs(jpeg - pixels).mean() < 3.0


@pytest.mark.parametrize('mode', ['L', 'RGBA'])
def test_grey_and_transparent_files_become_rgb(mode: str) -> None:
    image = decode_compressed(compressed(Image.new(mode, (6, 4), 77), 'PNG'))
    assert image.shape == (4, 6, 3)


@pytest.mark.parametrize(
    ('data', 'complaint'),
    [
        (b'', '0 compressed bytes'),
        (b'\xff\xd8\xff' + bytes(range(256)) * 4, 'expected JPEG or PNG'),
        (compressed(Image.new('RGB', (64, 48)), 'GIF'), 'expected JPEG or PNG'),
        (compressed(Image.new('RGB', (64, 48), 'red'), 'JPEG')[:300], 'expected JPEG or PNG'),
        (compressed(Image.new('I;16', (8, 8)), 'PNG'), 'of mode I;16'),
        (compressed(Image.new('CMYK', (8, 8)), 'JPEG'), 'of mode CMYK'),
        (png_bomb(8000, 8000), 'compressed image of 8000x8000'),
        (png_bomb(100_000, 8), 'compressed image of 100000x8'),
        (png_bomb(2_000_000_000, 2_000_000_000), 'Decompression'),
        (png_bomb(0, 0), 'expected JPEG or PNG'),
    ],
)
def test_a_hostile_file_is_refused_with_a_reason(data: bytes, complaint: str) -> None:
    with pytest.raises(ObservationError, match='expected') as caught:
        decode_compressed(data)
    assert complaint in str(caught.value)


JPEG = compressed(Image.new('RGB', (32, 24), 'red'), 'JPEG')
PNG = compressed(Image.new('RGB', (32, 24), 'red'), 'PNG')


@given(
    st.sampled_from([JPEG, PNG]),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8),
)
def test_damaged_files_give_an_image_or_a_reason(
    whole: bytes, damage: list[tuple[int, int]]
) -> None:
    data = bytearray(whole)
    for place, value in damage:
        data[place % len(data)] = value
    shape, reason = outcome(decode_compressed, bytes(data))
    assert shape[2:] == (3,) or 'expected' in reason


@given(st.binary(max_size=400))
def test_random_bytes_are_no_file(data: bytes) -> None:
    with pytest.raises(ObservationError):
        decode_compressed(data)


@pytest.mark.parametrize(
    ('level', 'fault'), [(0, 'black'), (8, 'black'), (9, ''), (128, ''), (246, ''), (247, 'sat')]
)
def test_black_and_saturated_frames_are_found(level: int, fault: str) -> None:
    found = exposure_fault(np.full((480, 640, 3), level, np.uint8), 8, 247, 0.99)
    assert found.startswith(fault)
    assert bool(found) == bool(fault)


def test_hot_pixels_do_not_hide_a_black_frame_and_a_lamp_does() -> None:
    frame = np.zeros((480, 640, 3), np.uint8)
    frame[::50, ::50] = 255
    assert exposure_fault(frame, 8, 247, 0.99)
    frame[100:200, 100:200] = 255
    assert not exposure_fault(frame, 8, 247, 0.99)


def test_picture_age_runs_only_while_equal_pictures_come_in() -> None:
    picture = PictureAge()
    assert picture.age == 0.0
    ages = []
    for now, pixels in ((10.0, b'a'), (10.5, b'a'), (11.0, b'a'), (11.1, b'b'), (12.0, b'a')):
        picture.update(pixels, now)
        ages.append(picture.age)
    assert ages == [0.0, 0.5, 1.0, 0.0, 0.0]
