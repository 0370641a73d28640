"""One test per port of the camera node, and every frame that must not get through."""

import array
from collections.abc import Callable
import io
import itertools
from pathlib import Path
import struct
from typing import Any
import zlib

from ament_index_python.packages import get_package_share_directory
import numpy as np
from PIL import Image as PillowImage
import pytest
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from vla_camera.camera_node import CameraNode
from vla_core.camera import CameraConfig
from vla_core.errors import ConfigError
from vla_core.parameters import build, load_yaml
from vla_core.preprocess import resize, scale_intrinsics
from vla_core.types import CameraSlot
from vla_ros import heartbeat, qos
from vla_ros.clock import ProcessClock
from vla_ros.conversion import to_time

RAW = 'camera/color/image_raw'
COMPRESSED = 'camera/color/image_raw/compressed'
INFO = 'camera/color/camera_info'
SLOT = CameraSlot('front', 192, 96, 'crop')
SECOND_NS = 1_000_000_000
HOUR_NS = 3600 * SECOND_NS


def picture(seed: int = 0, width: int = 640, height: int = 480) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def raw(bench: Any, pixels: np.ndarray, **changes: Any) -> Image:
    msg = Image(width=pixels.shape[1], height=pixels.shape[0], encoding='rgb8')
    msg.step = pixels.shape[1] * pixels.shape[2]
    msg.data = array.array('B', pixels.tobytes())
    return stamped(bench, msg, **changes)


def compressed(bench: Any, data: bytes, **changes: Any) -> CompressedImage:
    return stamped(bench, CompressedImage(format='jpeg', data=array.array('B', data)), **changes)


def stamped(
    bench: Any, msg: Any, late_ns: int = 0, frame_id: str = 'camera', **changes: Any
) -> Any:
    now = bench.peer.get_clock().now().nanoseconds
    msg.header.stamp = to_time(now - late_ns)
    msg.header.frame_id = frame_id
    for name, value in changes.items():
        setattr(msg, name, value)
    return msg


def pixels_of(msg: Image) -> np.ndarray:
    return np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.width, 3)


def encode(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def png_bomb() -> bytes:
    """Forty kilobytes that claim 8000 x 8000 pixels."""
    chunks = (
        (b'IHDR', struct.pack('>IIBBBBB', 8000, 8000, 8, 2, 0, 0, 0)),
        (b'IDAT', zlib.compress(bytes(40_000_000), 9)),
        (b'IEND', b''),
    )
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
        for kind, body in chunks
    )


def test_a_frame_becomes_the_policys_image_with_stamp_and_frame(bench: Callable[..., Any]) -> None:
    rig = bench()
    source = picture()
    sent = raw(rig, source)
    rig.say(RAW, sent)
    assert rig.until(lambda: bool(rig.images and rig.infos))
    image, info = rig.images[0], rig.infos[0]
    assert image.header == info.header == sent.header
    assert (image.width, image.height, image.encoding, image.step) == (192, 96, 'rgb8', 576)
    assert np.array_equal(pixels_of(image), resize(source, SLOT))
    assert (info.width, info.height) == (192, 96)
    assert not info.k.any(), 'without a calibration the image is uncalibrated'


def test_full_hd_with_an_odd_step_and_a_foreign_byte_order_keeps_its_pixels(
    bench: Callable[..., Any],
) -> None:
    rig = bench()
    source = picture(1, 1920, 1080)
    padded = np.zeros((1080, 1920 * 3 + 5), np.uint8)
    padded[:, : 1920 * 3] = source[..., ::-1].reshape(1080, -1)
    msg = raw(rig, source, encoding='bgr8', step=padded.shape[1], is_bigendian=1)
    msg.data = array.array('B', padded.tobytes())
    rig.say(RAW, msg)
    assert rig.until(lambda: bool(rig.images))
    assert np.array_equal(pixels_of(rig.images[0]), resize(source, SLOT))


@pytest.mark.parametrize('kind', ['PNG', 'JPEG'])
def test_compressed_frames_are_unpacked(bench: Callable[..., Any], kind: str) -> None:
    rig = bench(transport='compressed')
    source = np.asarray(PillowImage.fromarray(picture(2, 20, 15)).resize((640, 480)))
    data = encode(source, kind)
    rig.say(COMPRESSED, compressed(rig, data))
    assert rig.until(lambda: bool(rig.images))
    expected = np.asarray(PillowImage.open(io.BytesIO(data)).convert('RGB'))
    assert np.array_equal(pixels_of(rig.images[0]), resize(expected, SLOT))


def test_the_calibration_is_scaled_with_the_image(bench: Callable[..., Any]) -> None:
    rig = bench()
    k = (600.0, 0.0, 320.0, 0.0, 610.0, 240.0, 0.0, 0.0, 1.0)
    p = (600.0, 0.0, 320.0, 0.0, 0.0, 610.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    sent = CameraInfo(width=640, height=480, k=k, p=p, d=[0.1, 0.2], distortion_model='plumb_bob')

    def calibrated() -> bool:
        rig.say(INFO, sent)
        rig.say(RAW, raw(rig, picture(len(rig.images))))
        rig.until(lambda: False, 0.05)
        return bool(rig.infos) and rig.infos[-1].k.any()

    assert rig.until(calibrated)
    info = rig.infos[-1]
    assert tuple(info.k) == scale_intrinsics(k, 640, 480, SLOT)
    assert tuple(info.p) == scale_intrinsics(p, 640, 480, SLOT)
    assert list(info.d) == [0.1, 0.2]
    rig.say(RAW, raw(rig, picture(99, 320, 240)))
    assert rig.until(lambda: not rig.infos[-1].k.any()), 'a calibration of another size is none'


def test_malformed_frames_are_dropped_counted_and_named(bench: Callable[..., Any]) -> None:
    rig = bench()
    cases: list[tuple[dict[str, Any], str]] = [
        ({'data': array.array('B', bytes(1000))}, '1000 bytes of data: expected'),
        ({'data': array.array('B')}, '0 bytes of data: expected'),
        ({'step': 1919}, 'step 1919: expected at least 1920'),
        ({'step': 4_294_967_295}, 'bytes of data: expected step 4294967295'),
        ({'width': 0, 'height': 0, 'step': 0}, 'image of 0x0: expected sides'),
        ({'width': 100_000, 'height': 100_000}, 'image of 100000x100000: expected sides'),
        ({'encoding': 'mono16', 'step': 1280}, "encoding 'mono16': expected one of"),
        ({'encoding': ''}, "encoding '': expected one of"),
        ({'encoding': 'rgb8' + 'x' * 1_000_000}, 'expected one of'),
        ({'frame_id': 'x' * 1_000_000}, 'frame_id of 1000000 characters'),
    ]
    for number, (changes, complaint) in enumerate(cases, 1):
        beat = rig.refused(RAW, raw(rig, picture(), **changes))
        assert complaint in beat.detail
        assert (beat.errors_total, beat.consecutive_errors) == (number, number)
    assert not rig.images
    rig.say(RAW, raw(rig, picture()))
    assert rig.until(lambda: bool(rig.images) and rig.beat.progress == 1)
    assert (rig.beat.errors_total, rig.beat.consecutive_errors) == (len(cases), 0)
    assert not rig.beat.detail


def test_hostile_files_are_dropped_counted_and_named(bench: Callable[..., Any]) -> None:
    rig = bench(transport='compressed')
    whole = encode(picture(), 'JPEG')
    cases = [
        (np.random.default_rng(0).bytes(5000), 'expected JPEG or PNG'),
        (b'', '0 compressed bytes: expected'),
        (whole[: len(whole) // 2], 'expected JPEG or PNG'),
        (whole[:2000] + whole[2512:], 'Corrupt JPEG data'),
        (png_bomb(), 'compressed image of 8000x8000: expected'),
    ]
    for number, (data, complaint) in enumerate(cases, 1):
        beat = rig.refused(COMPRESSED, compressed(rig, data))
        assert complaint in beat.detail
        assert beat.consecutive_errors == number
    rig.say(COMPRESSED, compressed(rig, whole))
    assert rig.until(lambda: bool(rig.images) and rig.beat.consecutive_errors == 0)


def test_frames_that_show_nothing_are_dropped_but_latch_nothing(bench: Callable[..., Any]) -> None:
    rig = bench()
    black, white = np.zeros((480, 640, 3), np.uint8), np.full((480, 640, 3), 255, np.uint8)
    cases: list[tuple[np.ndarray, int, str]] = [
        (black, 0, 'black'),
        (white, 0, 'saturated'),
        (picture(), HOUR_NS, 'stamp is 3600'),
        (picture(), -HOUR_NS, 'stamp is -3599'),
        (picture(), 3 * SECOND_NS, 'expected -0.05 to 2.0 s'),
    ]
    for number, (pixels, late_ns, complaint) in enumerate(cases, 1):
        beat = rig.refused(RAW, raw(rig, pixels, late_ns=late_ns))
        assert complaint in beat.detail
        assert (beat.errors_total, beat.consecutive_errors) == (number, 0)
    assert not rig.images


def test_a_calibration_that_is_not_finite_or_endless_is_refused_and_frames_go_on(
    bench: Callable[..., Any],
) -> None:
    rig = bench()
    good = [600.0, 0.0, 320.0, 0.0, 600.0, 240.0, 0.0, 0.0, 1.0]
    bad = [float('nan'), *good[1:]]
    assert (
        'expected 9 or 12 finite' in rig.refused(INFO, CameraInfo(width=4, height=4, k=bad)).detail
    )
    endless = CameraInfo(width=640, height=480, k=good, d=[0.0] * 1000)
    assert '1000 coefficients' in rig.refused(INFO, endless).detail
    infinite = CameraInfo(width=640, height=480, k=good, d=[float('-inf')])
    assert 'expected finite' in rig.refused(INFO, infinite).detail
    for model in ('x' * 65, 'x' * 1_000_000, 'plumb\x1b[2Jbob'):
        named = CameraInfo(width=640, height=480, k=good, distortion_model=model)
        detail = rig.refused(INFO, named).detail
        assert f'of {len(model)} characters: expected at most 64, all printable' in detail
        assert 'distortion_model' in detail
    assert rig.beat.consecutive_errors == 0, 'nothing that drives uses a calibration'
    rig.say(RAW, raw(rig, picture()))
    assert rig.until(lambda: bool(rig.infos))
    assert not rig.infos[-1].k.any()


def test_no_calibration_is_none_and_no_error(bench: Callable[..., Any]) -> None:
    rig = bench()
    k = (600.0, 0.0, 320.0, 0.0, 610.0, 240.0, 0.0, 0.0, 1.0)

    def heard(info: CameraInfo, known: bool) -> Callable[[], bool]:
        def told() -> bool:
            rig.say(INFO, info)
            rig.say(RAW, raw(rig, picture(len(rig.images))))
            rig.until(lambda: False, 0.05)
            return bool(rig.infos) and rig.infos[-1].k.any() == known

        return told

    for nothing in (
        CameraInfo(),
        CameraInfo(k=k),
        CameraInfo(width=640, height=480, d=[0.0] * 1000),
    ):
        assert rig.until(heard(CameraInfo(width=640, height=480, k=k), True))
        assert rig.until(heard(nothing, False)), 'the calibration before was kept'
    beat = rig.refused(RAW, raw(rig, picture(), encoding=''))
    assert (beat.errors_total, beat.consecutive_errors) == (1, 1), 'that of the frame'


def test_unchanged_pixels_are_timed_in_the_heartbeat(bench: Callable[..., Any]) -> None:
    rig = bench()

    def show(seed: int) -> Callable[[], bool]:
        def shown() -> bool:
            rig.say(RAW, raw(rig, picture(seed)))
            rig.until(lambda: False, 0.05)
            return bool(rig.beat.unchanged_age > 0.5) == (seed == 0)

        return shown

    assert rig.until(show(0)), 'one picture with new stamps was not reported'
    assert rig.until(show(1)), 'a new picture did not end it'
    assert rig.beat.unchanged_age < 0.5


def test_a_picture_that_thaws_is_told_without_waiting_for_the_next_beat(
    bench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, 'PERIOD', 3600.0)
    seconds, frames = itertools.count(), itertools.count()
    monkeypatch.setattr(ProcessClock, 'now', lambda clock: float(next(seconds)))
    rig = bench()

    def told() -> bool:
        rig.say(RAW, raw(rig, picture(next(frames) // 3)))
        rig.until(lambda: False, 0.05)
        return bool(rig.beat.progress)

    assert rig.until(told)
    assert rig.beat.unchanged_age == 0.0


def test_the_quality_of_service_of_frames_can_be_overridden(bench: Callable[..., Any]) -> None:
    name = 'qos_overrides./camera/color/image_raw.subscription.reliability'
    rig = bench(**{name: 'reliable'})
    endpoint = rig.peer.get_subscriptions_info_by_topic('/camera/color/image_raw')[0]
    assert endpoint.qos_profile.reliability.name == 'RELIABLE'
    # Everybody else's profile stays what it is.
    assert qos.SENSOR.reliability.name == 'BEST_EFFORT'


def test_in_lock_step_every_frame_passes_whatever_its_stamp(bench: Callable[..., Any]) -> None:
    rig = bench(clock='lockstep', use_sim_time=True)
    stamps = []
    for number in range(1, 11):
        sent = raw(rig, picture())
        sent.header.stamp = to_time(number * 40_000_000)
        stamps.append(sent.header.stamp)
        rig.say(RAW, sent)
        assert rig.until(lambda expected=number: len(rig.images) == expected)
    assert [image.header.stamp for image in rig.images] == stamps


def test_the_shipped_parameters_are_all_of_them_and_allowed() -> None:
    share = Path(get_package_share_directory('vla_bringup'))
    values = load_yaml(share / 'config/camera.yaml')['/**/camera']['ros__parameters']
    by_launch = {'checkpoint': 'hold', 'robot': 'sim', 'slot': 'front'}
    config = build(CameraConfig, values | by_launch, 'camera.yaml')
    assert set(vars(config)) == set(values) | set(by_launch)


@pytest.mark.parametrize(
    ('parameters', 'complaint'),
    [
        ({'slot': 'wrist'}, "slot 'wrist' of hold: expected one of \\['front'\\]"),
        ({'checkpoint': 'nothing'}, "checkpoint 'nothing': expected a path or one of"),
        ({'robot': 'nothing'}, "robot 'nothing': expected a path or one of"),
        ({'robot': 'turtlebot3', 'clock': 'lockstep', 'use_sim_time': True}, 'expected steady'),
        ({'clock': 'lockstep'}, 'expected use_sim_time true'),
        ({'dark': 300}, 'parameter dark is 300'),
        ({'darkness': 3}, "unknown parameter 'darkness'"),
        (
            {'qos_overrides./camera/color/image_raw.subscription.reliability': 'relaible'},
            '/camera/color/image_raw: .*`reliability`: `relaible`: expected',
        ),
    ],
)
def test_a_wrong_start_is_refused_with_a_reason(
    bench: Callable[..., Any], parameters: dict[str, Any], complaint: str
) -> None:
    rig = bench()
    values = {'checkpoint': 'hold', 'robot': 'sim'} | parameters
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    with pytest.raises(ConfigError, match=complaint):
        CameraNode(context=rig.peer.context, parameter_overrides=overrides)


def test_error_that_no_guard_has_seen_is_counted(bench):
    rig = bench()
    rig.camera.failed(ValueError('cannot take'))
    assert rig.until(lambda: rig.beat.errors_total == 1)
    assert rig.beat.detail == 'cannot take'
