"""Which converter is used, and that both give the same where both exist."""

import array
from pathlib import Path
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import Image

from vla_camera.decoding import choose_decoder, decode, Decoder
from vla_core.errors import ObservationError
from vla_core.image import BYTES_PER_PIXEL


def message(encoding: str, width: int, height: int, padding: int = 0) -> Image:
    step = width * BYTES_PER_PIXEL[encoding] + padding
    data = np.random.default_rng(0).bytes(step * height)
    msg = Image(encoding=encoding, width=width, height=height, step=step, is_bigendian=1)
    msg.data = array.array('B', data)
    return msg


def test_without_a_ros_cv_bridge_the_small_converter_is_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, 'cv_bridge', SimpleNamespace(CvBridge=object))
    monkeypatch.setenv('AMENT_PREFIX_PATH', '/nowhere')
    assert choose_decoder() is decode


@pytest.fixture
def bridged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Decoder:
    """Return the decoder over a stand-in that notes what it is asked and fails on mono8."""

    class Bridge:
        def imgmsg_to_cv2(self, msg: Image, desired_encoding: str) -> Any:
            if msg.encoding == 'mono8':
                raise RuntimeError('no such conversion')
            return msg.encoding, msg.is_bigendian, desired_encoding

    index = tmp_path / 'share/ament_index/resource_index/packages'
    index.mkdir(parents=True)
    (index / 'cv_bridge').touch()
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    monkeypatch.setitem(sys.modules, 'cv_bridge', SimpleNamespace(CvBridge=Bridge))
    return choose_decoder()


def test_cv_bridge_is_asked_in_words_that_it_knows(bridged: Decoder) -> None:
    native = int(sys.byteorder == 'big')
    assert bridged(message('uyvy', 4, 2)) == ('yuv422', native, 'rgb8')
    assert bridged(message('bgr8', 4, 2)) == ('bgr8', native, 'rgb8')


def test_cv_bridge_never_sees_padded_rows(bridged: Decoder) -> None:
    rows = np.arange(2 * 16, dtype=np.uint8).reshape(2, 16)
    msg = message('rgb8', 4, 2)
    msg.step, msg.data = 16, array.array('B', rows.tobytes())
    np.testing.assert_array_equal(bridged(msg), rows[:, :12].reshape(2, 4, 3))


def test_cv_bridge_never_sees_a_header_that_lies(bridged: Decoder) -> None:
    msg = message('bgr8', 4, 2)
    msg.height = 1000
    with pytest.raises(ObservationError, match='24 bytes of data: expected'):
        bridged(msg)


def test_what_cv_bridge_raises_is_a_bad_frame(bridged: Decoder) -> None:
    with pytest.raises(ObservationError, match='no such conversion'):
        bridged(message('mono8', 4, 2))


def test_cv_bridge_gives_the_same_bytes() -> None:
    pytest.importorskip('cv_bridge')
    real = choose_decoder()
    assert real is not decode, 'cv_bridge is importable, but no ROS package'
    for encoding in BYTES_PER_PIXEL:
        for width, height, padding in ((640, 480, 0), (2, 1, 6), (34, 7, 5)):
            msg = message(encoding, width, height, padding)
            own = decode(msg)
            assert np.array_equal(real(msg), own), encoding
