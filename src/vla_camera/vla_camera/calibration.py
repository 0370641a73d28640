"""CameraInfo of the image that a policy sees, from the one that the driver publishes."""

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from vla_core.errors import ObservationError
from vla_core.preprocess import scale_intrinsics
from vla_core.types import CameraSlot

#: Most distortion coefficients that a model of OpenCV has.
MAX_DISTORTION = 14
#: Longest name of a distortion model, in characters: it travels with every frame.
MAX_MODEL_NAME = 64


def read_calibration(info: CameraInfo, slot: CameraSlot) -> CameraInfo | None:
    """Return a calibration that can be scaled; None for zeros, ROS's word for "uncalibrated".

    Raises:
        ObservationError: if a number is not finite, there are too many, or the name of the
            distortion model is endless or not printable.
    """
    if info.width == 0 or info.height == 0 or info.k[0] == 0.0:
        return None
    scale_intrinsics(info.k, info.width, info.height, slot)
    scale_intrinsics(info.p, info.width, info.height, slot)
    if len(info.d) > MAX_DISTORTION:
        raise ObservationError(f'{len(info.d)} coefficients: expected at most {MAX_DISTORTION}')
    model = info.distortion_model
    if len(model) > MAX_MODEL_NAME or not model.isprintable():
        raise ObservationError(
            f'distortion_model {model[:40]!r} of {len(model)} characters: '
            f'expected at most {MAX_MODEL_NAME}, all printable'
        )
    # Zeros on the way through the check above would hide what is not finite here.
    for number in (*info.d, *info.r):
        if not abs(number) < float('inf'):
            raise ObservationError(f'distortion or rotation {number}: expected finite numbers')
    return info


def scaled_info(
    header: Header, size: tuple[int, int], slot: CameraSlot, info: CameraInfo | None
) -> CameraInfo:
    """Return the CameraInfo of a resized frame.

    Args:
        header: of the frame.
        size: width and height of the frame before it was resized.
        slot: what it was resized to.
        info: checked calibration of the camera, if one was heard.

    Returns:
        Scaled intrinsics; zeros, which mean "uncalibrated", without a calibration of that size.
    """
    scaled = CameraInfo(header=header, width=slot.width, height=slot.height)
    if info is None or (info.width, info.height) != size:
        return scaled
    # Distortion and rectification act on normalised coordinates: no pixel is in them.
    scaled.distortion_model, scaled.d, scaled.r = info.distortion_model, info.d, info.r
    scaled.k = scale_intrinsics(info.k, info.width, info.height, slot)
    scaled.p = scale_intrinsics(info.p, info.width, info.height, slot)
    return scaled
