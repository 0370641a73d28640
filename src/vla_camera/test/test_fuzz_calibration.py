"""Any calibration is scaled to finite numbers, or refused by an error of ours.

FUZZ=100000 in the environment tries harder than `make test` does.
"""

import os

from hypothesis import example, given, settings
from hypothesis import strategies as st
import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from vla_camera.calibration import read_calibration, scaled_info
from vla_core.errors import ObservationError
from vla_core.types import CameraSlot

FLOATS = st.floats(-4000.0, 4000.0) | st.floats()
SIDES = st.integers(0, 2**32 - 1) | st.integers(0, 9) | st.just(640)


def matrix(size: int) -> st.SearchStrategy[list[float]]:
    return st.lists(FLOATS, min_size=size, max_size=size)


@settings(max_examples=int(os.environ.get('FUZZ', '100')))
@given(
    sides=st.tuples(SIDES, SIDES),
    k=matrix(9),
    p=matrix(12),
    r=matrix(9),
    d=st.lists(FLOATS, max_size=16),
    mode=st.sampled_from(['stretch', 'pad', 'crop']),
)
@example(sides=(1, 1), k=[1.7e308] * 9, p=[0.0] * 12, r=[0.0] * 9, d=[], mode='stretch').via(
    'finite numbers can overflow when they are scaled'
)
def test_any_calibration_is_scaled_to_finite_numbers_or_refused(sides, k, p, r, d, mode):
    slot = CameraSlot('front', 192, 96, mode)
    info = CameraInfo(width=sides[0], height=sides[1], k=k, p=p, r=r, d=d)
    try:
        known = read_calibration(info, slot)
    except ObservationError as error:
        reason = str(error)
    else:
        scaled = scaled_info(Header(), sides, slot, known)
        for numbers in (scaled.k, scaled.p, scaled.r, scaled.d):
            assert np.isfinite(numbers).all()
        return
    assert 'expected' in reason
    assert len(reason) < 1000
