"""Any laser scan is points near the robot, or refused by an error of ours.

FUZZ=100000 in the environment tries harder than `make test` does.
"""

import math
import os

from hypothesis import example, given, settings
from hypothesis import strategies as st
import numpy as np

from vla_core.errors import ObservationError
from vla_core.gate.scan import measure, Rays
from vla_core.surroundings import ScanConfig

SCANNER = ScanConfig(frame_id='laser', x=0.1, y=0.0, yaw=0.0, field_of_view=3.0)
REACH = 3.0
RANGES = st.floats(0.0, 12.0, width=32) | st.floats(width=32)


@st.composite
def scans(draw) -> Rays:
    """Mostly almost right: the interesting mistakes are single ones."""
    ranges = np.array(draw(st.lists(RANGES, min_size=20, max_size=40)), np.float32)
    step = math.tau / len(ranges)
    good = {
        'frame_id': 'laser',
        'angle_min': -math.pi,
        'angle_max': -math.pi + step * (len(ranges) - 1),
        'angle_increment': step,
        'range_min': 0.1,
        'range_max': 10.0,
        'ranges': ranges,
    }
    floats = st.floats() | st.floats(-7.0, 7.0)
    bad = st.fixed_dictionaries(
        {},
        optional={
            'frame_id': st.text(max_size=5),
            'ranges': st.lists(RANGES, max_size=5).map(lambda some: np.array(some, np.float32)),
            **dict.fromkeys(('angle_min', 'angle_max', 'angle_increment'), floats),
            **dict.fromkeys(('range_min', 'range_max'), floats),
        },
    )
    return Rays(**(good | draw(bad | st.just({}))))


@settings(max_examples=int(os.environ.get('FUZZ', '100')))
@given(scan=scans())
@example(scan=Rays('laser', 1e308, 1e308, 1e-300, 0.1, 10.0, np.full(20, 1.0, np.float32)))
@example(scan=Rays('x' * 100_000, 0.0, 1.0, 0.1, 0.1, 10.0, np.full(11, 1.0, np.float32)))
def test_any_scan_is_points_within_reach_or_refused(scan):
    try:
        points, signature = measure(scan, SCANNER, REACH)
    except ObservationError as error:
        reason = str(error)
    else:
        assert points.shape[1:] == (2,)
        assert np.isfinite(points).all()
        assert np.hypot(*(points - (SCANNER.x, SCANNER.y)).T).max(initial=0.0) <= REACH + 1e-6
        assert isinstance(signature, int)
        return
    assert 'expected' in reason
