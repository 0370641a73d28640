"""What becomes of each camera frame: an image for the policy, or a reason why not."""

from collections.abc import Callable
from dataclasses import dataclass
import math

import numpy as np

from vla_core.errors import ObservationError
from vla_core.image import exposure_fault, PictureAge
from vla_core.parameters import parameter
from vla_core.preprocess import resize
from vla_core.types import CameraSlot

#: s by which a stamp may be ahead of this computer's clock.
MAX_LEAD = 0.05
#: s of one picture after which the next other one is news for the gate.
FROZEN = 0.5
#: Longest name of a coordinate frame, in characters; those of ROS are far shorter.
LONGEST_FRAME_ID = 256


@dataclass(frozen=True)
class CameraConfig:
    """Parameters of a camera node."""

    checkpoint: str = parameter(
        doc='checkpoint of vla_bringup by name, a checkpoint folder, or a built-in policy by name'
    )
    robot: str = parameter(doc='robot file: a name from config/robots, or a path')
    slot: str = parameter(default='front', doc='camera slot of the checkpoint that is filled')
    clock: str = parameter(
        default='steady',
        choices=('steady', 'lockstep'),
        doc='steady for robots, lockstep for evaluation and replay',
    )
    transport: str = parameter(
        default='raw',
        choices=('raw', 'compressed'),
        doc='raw: Image; compressed: JPEG or PNG in CompressedImage',
    )
    dark: int = parameter(default=8, low=0, high=127, doc='numbers up to this one show nothing')
    bright: int = parameter(
        default=247, low=128, high=255, doc='numbers from this one on show nothing'
    )
    blind_share: float = parameter(
        default=0.99, low=0.5, high=1.0, doc='share of such numbers at which a frame is dropped'
    )


def check_frame_id(name: str) -> None:
    """Refuse a coordinate frame that is no name: everybody behind the camera gets a copy of it.

    Raises:
        ObservationError: if it is longer than LONGEST_FRAME_ID.
    """
    if len(name) > LONGEST_FRAME_ID:
        raise ObservationError(
            f'frame_id of {len(name)} characters: expected at most {LONGEST_FRAME_ID}'
        )


class UnusableFrame(ObservationError):
    """A well-formed frame from which nothing can be learned; dropping it lets the chunk lapse.

    It is counted, but not as one of the errors in a row that latch an emergency stop.
    """


class FrameGate:
    """Lets usable frames through at the slot's size, and keeps the counts of a heartbeat."""

    def __init__(self, config: CameraConfig, slot: CameraSlot, max_age: float) -> None:
        """Fill `slot`; refuse frames whose stamps are older than `max_age` s."""
        self._config = config
        self._slot = slot
        self._max_age = max_age
        self._picture = PictureAge()
        self.progress = 0
        self.errors_total = 0
        self.consecutive_errors = 0
        self.detail = ''

    @property
    def unchanged_age(self) -> float:
        """S for which the pixels have not changed."""
        return self._picture.age

    def admit(
        self, decode: Callable[[], np.ndarray], stamp_age: float, now: float
    ) -> tuple[np.ndarray, tuple[int, int], bool]:
        """Turn a frame into the policy's image.

        Args:
            decode: returns uint8 [height, width, 3], or raises ObservationError.
            stamp_age: s since the frame was taken; NaN where stamps are not judged (lock-step).
            now: s, on the process's clock.

        Returns:
            uint8 [slot.height, slot.width, 3]; the frame's width and height; whether the picture
            changed after it had been frozen.

        Raises:
            UnusableFrame: if the stamp is wrong or old, or the frame is black or saturated.
            ObservationError: if the frame is malformed.
        """
        try:
            image = decode()
            self._check(image, stamp_age)
            pixels = resize(image, self._slot)
        except ObservationError as error:
            self.count(error, in_a_row=not isinstance(error, UnusableFrame))
            raise
        self.progress += 1
        self.consecutive_errors = 0
        self.detail = ''
        before = self._picture.age
        self._picture.update(pixels.tobytes(), now)
        thawed = before >= FROZEN and self._picture.age == 0.0
        return pixels, (image.shape[1], image.shape[0]), thawed

    def count(self, error: Exception, in_a_row: bool = True) -> None:
        """Count what failed; `in_a_row`: as one of the errors that may latch an emergency stop."""
        self.errors_total += 1
        self.consecutive_errors += in_a_row
        self.detail = str(error)

    def _check(self, image: np.ndarray, stamp_age: float) -> None:
        if not math.isnan(stamp_age) and not -MAX_LEAD <= stamp_age <= self._max_age:
            raise UnusableFrame(
                f'stamp is {stamp_age:.3f} s old: expected {-MAX_LEAD} to {self._max_age} s by '
                "this computer's clock"
            )
        config = self._config
        fault = exposure_fault(image, config.dark, config.bright, config.blind_share)
        if fault:
            raise UnusableFrame(f'frame is {fault}: expected a picture')
