"""Raw image messages to RGB arrays."""

from collections.abc import Callable
import sys

from ament_index_python.packages import get_package_prefix, PackageNotFoundError
import numpy as np
from sensor_msgs.msg import Image

from vla_core.errors import ObservationError
from vla_core.image import BYTES_PER_PIXEL, check_header, decode_raw

Decoder = Callable[[Image], np.ndarray]
#: Newer names of the same bytes, which cv_bridge may not know.
_OLD_NAMES = {'uyvy': 'yuv422', 'yuyv': 'yuv422_yuy2'}


def decode(msg: Image) -> np.ndarray:
    """Return the RGB image of a message, by vla_core's converter.

    Raises:
        ObservationError: see `vla_core.image.check_header`.
    """
    return decode_raw(msg.data, msg.encoding, msg.width, msg.height, msg.step)


def choose_decoder() -> Decoder:
    """Return cv_bridge's converter where ROS installed it, else `decode`; both give the same.

    A cv_bridge that is importable without being a ROS package is ROS 1's from PyPI, which fails on
    present numpy.
    """
    try:
        get_package_prefix('cv_bridge')
        from cv_bridge import CvBridge
    except (PackageNotFoundError, ImportError):
        return decode
    return _bridged(CvBridge())


def _bridged(bridge: object) -> Decoder:
    def decode_bridged(msg: Image) -> np.ndarray:
        # cv_bridge believes what a header says.
        check_header(msg.encoding, msg.width, msg.height, msg.step, len(msg.data))
        # It reckons rows in whole pixels, so that padded ones would come out sheared.
        if msg.step != msg.width * BYTES_PER_PIXEL[msg.encoding]:
            return decode(msg)
        msg.encoding = _OLD_NAMES.get(msg.encoding, msg.encoding)
        # Bytes have no byte order; told of a foreign one, cv_bridge calls what numpy 2 removed.
        msg.is_bigendian = int(sys.byteorder == 'big')
        try:
            return bridge.imgmsg_to_cv2(msg, desired_encoding='rgb8')  # type: ignore[attr-defined]
        except Exception as error:  # OpenCV's own kinds, which only exist where it does
            raise ObservationError(
                f'{msg.encoding}: cv_bridge: {error}: expected an image'
            ) from error

    return decode_bridged
