"""Foreign pixels: every encoding, every lie a header can tell, hostile files."""

import array
from collections.abc import Callable
import io
import random
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
    MAX_COMPRESSED,
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


def compressed(image: Image.Image, kind: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))


def png(header: tuple[int, ...], *rows: bytes) -> bytes:
    """Return a file of this header (side, side, depth, colours, 0, 0, interlaced) and data."""
    chunks = [png_chunk(b'IHDR', struct.pack('>IIBBBBB', *header))]
    chunks += [png_chunk(b'IDAT', part) for part in rows]
    return b''.join((b'\x89PNG\r\n\x1a\n', *chunks, png_chunk(b'IEND', b'')))


def png_bomb(width: int, height: int) -> bytes:
    """A few kilobytes that unpack to width x height x 3 zeros."""
    return png((width, height, 8, 2, 0, 0, 0), zlib.compress(bytes(3_000_000), 9))


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
        pytest.param(bytes(MAX_COMPRESSED + 1), 'compressed bytes: expected 1 to', id='too many'),
        (b'\xff\xd8\xff' + bytes(range(256)) * 4, 'expected JPEG or PNG'),
        (compressed(Image.new('RGB', (64, 48)), 'GIF'), 'expected JPEG or PNG'),
        (compressed(Image.new('RGB', (64, 48), 'red'), 'JPEG')[:300], 'expected JPEG or PNG'),
        (compressed(Image.new('I;16', (8, 8)), 'PNG'), 'of mode I;16'),
        (compressed(Image.new('CMYK', (8, 8)), 'JPEG'), 'of mode CMYK'),
        (compressed(Image.new('RGB', (8200, 8)), 'JPEG'), 'compressed image of 8200x8'),
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


def scene() -> np.ndarray:
    """Return a picture with areas, edges and noise, as a camera sees them."""
    rows, columns = np.mgrid[0:240, 0:320]
    numbers = np.stack((rows, columns // 2, 200 * (rows // 40 % 2)), axis=2)
    noise = np.random.default_rng(0).normal(0, 6, numbers.shape)
    return np.clip(numbers + noise, 0, 255).astype(np.uint8)


SCENE = Image.fromarray(scene())
JPEG = compressed(SCENE, 'JPEG', quality=90)
#: What cameras send.
WAYS: dict[str, dict[str, Any]] = {
    '4:4:4': {'subsampling': 0},
    '4:2:2': {'subsampling': 1},
    '4:2:0': {'subsampling': 2},
    'optimised': {'optimize': True},
    'progressive': {'progressive': True},
    'restart markers': {'restart_marker_rows': 1},
    'many restart markers': {'restart_marker_blocks': 10},
    'comment': {'comment': b'x' * 9000},
    'Exif': {'exif': b'Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0'},
}


def segments(jpeg: bytes) -> list[bytes]:
    """Return the pieces that begin with a marker; the last one holds the blocks."""
    found, place = [jpeg[:2]], 2
    while jpeg[place + 1] != 0xDA:
        size = 2 + int.from_bytes(jpeg[place + 2 : place + 4])
        found.append(jpeg[place : place + size])
        place += size
    return [*found, jpeg[place:]]


def without_tables(jpeg: bytes) -> bytes:
    """Return a frame of a UVC camera: everybody knows the Huffman tables."""
    return b''.join(part for part in segments(jpeg) if part[1] != 0xC4)


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('picture', [SCENE, SCENE.convert('L'), SCENE.crop((0, 0, 53, 37))])
def test_jpeg_of_every_kind_has_the_pixels_that_pillow_reads(
    picture: Image.Image, way: str
) -> None:
    data = compressed(picture, 'JPEG', quality=90, **WAYS[way])
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decode_compressed(data), image.convert('RGB'))


@pytest.mark.parametrize(
    'data',
    [
        JPEG + bytes(1000),
        JPEG + b'\xff' * 7,
        JPEG + b'of the next frame',
        JPEG[:-2] + bytes(1) + JPEG[-2:],
        JPEG[:-2] + bytes(64) + JPEG[-2:],
        JPEG[:-2] + bytes(64) + JPEG[-2:] + bytes(64),
        JPEG[:-2] + b'\xff' * 5 + JPEG[-2:],
        without_tables(JPEG),
        JPEG[:2] + b'\xff\xe0\x00\x10AVI1' + bytes(10) + JPEG[2:],
    ],
    ids=len,
)
def test_what_cameras_add_and_leave_out_is_no_damage(data: bytes) -> None:
    assert np.array_equal(decode_compressed(data), decode_compressed(JPEG))


def test_zero_that_belongs_to_the_last_code_is_no_padding() -> None:
    """Some of these end in 255 and a zero."""
    for side in range(1, 40):
        pixels = np.random.default_rng(side).integers(0, 256, (side, side), np.uint8)
        whole = compressed(Image.fromarray(pixels), 'JPEG')
        padded = whole[:-2] + bytes(64) + whole[-2:]
        assert np.array_equal(decode_compressed(padded), decode_compressed(whole)), side


@pytest.mark.parametrize(
    'data',
    [
        JPEG[: len(JPEG) // 2],
        JPEG[:-2],
        JPEG[: len(JPEG) // 3] + JPEG[-2:],
        JPEG[: len(JPEG) // 3] + JPEG[2 * len(JPEG) // 3 :],
        JPEG[: len(JPEG) // 3] + bytes(len(JPEG) // 3) + JPEG[2 * len(JPEG) // 3 :],
        JPEG[:640] + JPEG[-2:],
        JPEG[:-2] + b'what is this' + JPEG[-2:],
        JPEG[:-100] + bytes(98) + JPEG[-2:],
    ],
    ids=len,
)
def test_part_of_a_jpeg_is_no_picture(data: bytes) -> None:
    with pytest.raises(ObservationError, match=r'Corrupt JPEG data|Premature end'):
        decode_compressed(data)


def unseen(jpeg: bytes, size: int, cuts: int = 200) -> list[float]:
    """Cut out so many bytes, anywhere in the blocks; return the mean errors of what passes."""
    right = decode_compressed(jpeg).astype(int)
    chance, first = random.Random(0), len(jpeg) - len(segments(jpeg)[-1]) + 14
    errors = []
    for _ in range(cuts):
        place = chance.randrange(first, len(jpeg) - 2 - size)
        try:
            image = decode_compressed(jpeg[:place] + jpeg[place + size :])
        except ObservationError:
            continue
        errors.append(float(np.abs(image - right).mean()))
    return errors


@pytest.mark.parametrize('way', [way for way in WAYS if way != 'progressive'])
@pytest.mark.parametrize('size', [512, 1024, 2048])
def test_jpeg_without_a_packet_is_refused(size: int, way: str) -> None:
    assert unseen(compressed(SCENE, 'JPEG', quality=90, **WAYS[way]), size) == []


@pytest.mark.parametrize(
    ('quality', 'size', 'most'),
    [
        (90, 64, 250),
        (90, 128, 60),
        (90, 256, 5),
        (100, 512, 250),
        (100, 1024, 120),
        (100, 2048, 50),
    ],
)
def test_few_jpegs_without_a_small_piece_look_whole(
    quality: int, size: int, most: int, figures: Callable[[str], None]
) -> None:
    """By chance the rest of the codes makes up as many blocks: no decoder sees that."""
    data = compressed(SCENE, 'JPEG', quality=quality)
    found = len(unseen(data, size, 1000))
    per_block = len(data) / (SCENE.width * SCENE.height / 256)
    figures(
        f'JPEGs of quality {quality} ({per_block:.0f} bytes per 16x16 pixels) that look whole '
        f'without {size} bytes: {found} of 1000'
    )
    assert found <= most


@pytest.mark.parametrize('size', [64, 512, 2048])
def test_progressive_jpeg_loses_detail_at_most(size: int) -> None:
    """Its last scans are refinements, whose loss is no damage to what came before."""
    errors = unseen(compressed(SCENE, 'JPEG', quality=90, progressive=True), size)
    assert max(errors, default=0.0) < 3.0


PNG = compressed(SCENE.crop((100, 30, 132, 54)), 'PNG')
ROWS = b''.join(b'\0' + row.tobytes() for row in scene()[:24, :32])
RGB = (32, 24, 8, 2, 0, 0, 0)


def test_png_may_come_in_pieces_and_in_other_depths() -> None:
    packed = zlib.compress(ROWS)
    whole = png(RGB, packed[:9], b'', packed[9:])
    assert np.array_equal(decode_compressed(whole), scene()[:24, :32])
    deep = png((2, 1, 16, 2, 0, 0, 0), zlib.compress(b'\0' + bytes(range(12))))
    assert decode_compressed(deep).ravel().tolist() == [0, 2, 4, 6, 8, 10]
    grey = png((3, 1, 4, 0, 0, 0, 0), zlib.compress(b'\0\x1f\x20'))
    assert decode_compressed(grey)[0, :, 0].tolist() == [17, 255, 34]


@pytest.mark.parametrize(
    ('data', 'complaint'),
    [
        (png(RGB, zlib.compress(ROWS[: 97 * 10])), 'unpacks to 970 bytes: expected 2328'),
        (png(RGB, zlib.compress(ROWS[:-1])), 'unpacks to 2327 bytes: expected 2328'),
        (png(RGB, zlib.compress(ROWS + b'\0')), 'unpacks to 2329 bytes: expected 2328'),
        (png(RGB, zlib.compress(ROWS)[:-4]), 'and their sum'),
        (png(RGB, zlib.compress(ROWS)[:-1] + b'\0'), 'incorrect data check'),
        (png(RGB), 'expected'),
        (png((*RGB[:6], 1), zlib.compress(ROWS)), 'interlaced PNG: expected one row after'),
    ],
    ids=len,
)
def test_png_without_all_of_its_rows_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(ObservationError, match='expected') as caught:
        decode_compressed(data)
    assert complaint in str(caught.value)


DAMAGE = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8)


def damaged(whole: bytes, damage: list[tuple[int, int]]) -> bytes:
    data = bytearray(whole)
    for place, value in damage:
        data[place % len(data)] = value
    return bytes(data)


@given(DAMAGE)
def test_damaged_jpeg_gives_an_image_or_a_reason(damage: list[tuple[int, int]]) -> None:
    shape, reason = outcome(decode_compressed, damaged(JPEG, damage))
    assert shape[2:] == (3,) or 'expected' in reason


@given(DAMAGE)
def test_damaged_png_gives_the_same_image_or_a_reason(damage: list[tuple[int, int]]) -> None:
    data = damaged(PNG, damage)
    shape, reason = outcome(decode_compressed, data)
    assert shape or 'expected' in reason
    if shape:
        assert np.array_equal(decode_compressed(data), decode_compressed(PNG))


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
