"""Laser scans: what is refused, what is a point, and where it is."""

from dataclasses import replace
import math

import numpy as np
import pytest

from vla_core.errors import ObservationError
from vla_core.gate.scan import measure, MOST_RAYS, Rays
from vla_core.surroundings import ScanConfig

CONFIG = ScanConfig('base_scan', 0.1, 0.0, 0.0, 6.2)
REACH = 3.0
COUNT = 360
#: m; as it travels in a message.
CLOSEST = float(np.float32(0.12))


def _rays(distance=2.0, **changes):
    step = 2.0 * math.pi / COUNT
    rays = Rays(
        'base_scan',
        0.0,
        step * (COUNT - 1),
        step,
        CLOSEST,
        8.0,
        np.full(COUNT, distance, np.float32),
    )
    return replace(rays, **changes)


def _with(values):
    ranges = np.full(COUNT, np.inf, np.float32)
    for index, value in values.items():
        ranges[index] = value
    return _rays(ranges=ranges)


def test_circle_around_the_scanner():
    points, signature = measure(_rays(), CONFIG, REACH)
    assert points.shape == (COUNT, 2)
    assert np.hypot(points[:, 0] - 0.1, points[:, 1]) == pytest.approx(2.0)
    assert points[0] == pytest.approx((2.1, 0.0))
    assert points[90] == pytest.approx((0.1, 2.0))
    assert signature


@pytest.mark.parametrize(
    ('config', 'point'),
    [
        ({}, (0.1, 1.0)),
        ({'x': 0.3, 'y': -0.2}, (0.3, 0.8)),
        ({'yaw': math.pi / 2.0}, (-0.9, 0.0)),
        ({'yaw': -math.pi / 2.0}, (1.1, 0.0)),
        ({'upside_down': True}, (0.1, -1.0)),
        ({'upside_down': True, 'yaw': math.pi}, (0.1, 1.0)),
    ],
)
def test_ray_to_the_left_by_mounting(config, point):
    points, _ = measure(_with({90: 1.0}), replace(CONFIG, **config), REACH)
    assert points == pytest.approx(np.array([point]))


def test_negative_increment_turns_right():
    step = 2.0 * math.pi / COUNT
    rays = replace(_with({90: 1.0}), angle_increment=-step, angle_max=-step * (COUNT - 1))
    assert measure(rays, CONFIG, REACH)[0] == pytest.approx(np.array([(0.1, -1.0)]))


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (1.0, 1.0),
        (CLOSEST, CLOSEST),
        (-math.inf, CLOSEST),
        (math.inf, None),
        (math.nan, None),
        (0.0, None),
        (0.11, CLOSEST),
        (1e-6, CLOSEST),
        (-1.0, None),
        (3.1, None),
        (8.1, None),
        (65.5, None),
    ],
)
def test_what_one_ray_means(value, expected):
    points, _ = measure(_with({0: value}), CONFIG, REACH)
    found = [float(points[0, 0]) - 0.1] if len(points) else []
    assert found == ([] if expected is None else [pytest.approx(expected)])


@pytest.mark.parametrize('value', [math.nan, 0.0, -2.0])
@pytest.mark.parametrize(('share', 'refused'), [(0.5, False), (0.51, True), (1.0, True)])
def test_blind_scanner_is_refused(value, share, refused):
    rays = _with(dict.fromkeys(range(round(share * COUNT)), value))
    if refused:
        with pytest.raises(ObservationError, match='max_invalid'):
            measure(rays, CONFIG, REACH)
    else:
        measure(rays, CONFIG, REACH)


def test_scanner_that_measures_nothing_in_the_stop_zone_is_refused():
    measure(_rays(), CONFIG, REACH, CLOSEST + 0.01)
    with pytest.raises(ObservationError, match=r'range_min 0\.12.*where the stop zone ends'):
        measure(_rays(), CONFIG, REACH, CLOSEST)


def test_two_rays_do_not_cover_a_turn():
    rays = Rays(CONFIG.frame_id, -1.1, 1.1, 2.2, CLOSEST, 8.0, np.array([5.0, 5.0]))
    with pytest.raises(ObservationError, match=r'covers 2\.20 rad'):
        measure(rays, CONFIG, REACH)


def test_open_space_is_no_blind_scanner():
    points, signature = measure(_rays(math.inf), CONFIG, REACH)
    assert (len(points), signature) == (0, 0)


def test_signature_changes_with_any_ray():
    one, other = _rays(), _rays()
    assert measure(one, CONFIG, REACH)[1] == measure(other, CONFIG, REACH)[1]
    other.ranges[200] = 5.0
    assert measure(one, CONFIG, REACH)[1] != measure(other, CONFIG, REACH)[1]


@pytest.mark.parametrize(
    ('changes', 'part'),
    [
        ({'frame_id': 'laser'}, "'laser'"),
        ({'frame_id': ''}, "''"),
        ({'ranges': np.zeros(0, np.float32)}, '0 rays'),
        ({'ranges': np.ones(1, np.float32)}, '1 rays'),
        ({'ranges': np.ones(MOST_RAYS + 1, np.float32)}, '10001 rays'),
        ({'ranges': np.ones(COUNT // 2, np.float32)}, 'angle_max'),
        ({'angle_increment': 0.0}, 'increment'),
        ({'angle_increment': math.nan}, 'finite'),
        ({'angle_increment': math.radians(360.0)}, 'below pi'),
        # Two rays of it are infinitely many of any other: the points would be NaN.
        ({'angle_increment': 9e307}, 'below pi'),
        ({'angle_increment': math.radians(3.0)}, 'angle_max'),
        ({'angle_min': math.inf}, 'finite'),
        ({'angle_max': math.nan}, 'finite'),
        ({'angle_max': 3.0}, 'angle_max'),
        ({'range_min': math.nan}, 'range_min'),
        ({'range_min': -0.1}, 'range_min'),
        ({'range_min': math.inf}, 'range_min'),
        ({'range_max': math.nan}, 'range_max'),
        ({'range_max': math.inf}, 'range_max'),
        ({'range_max': 2.9}, 'as far as the zones reach'),
    ],
)
def test_scan_that_cannot_be_trusted_is_refused(changes, part):
    with pytest.raises(ObservationError, match=part):
        measure(_rays(**changes), CONFIG, REACH)


@pytest.mark.parametrize(('view', 'refused'), [(3.1, False), (3.3, True)])
def test_scan_must_cover_the_field_of_view(view, refused):
    step = math.pi / 180.0
    rays = _rays(
        angle_min=-math.pi / 2.0,
        angle_max=math.pi / 2.0,
        angle_increment=step,
        ranges=np.ones(181, np.float32),
    )
    config = replace(CONFIG, field_of_view=view)
    if refused:
        with pytest.raises(ObservationError, match='field_of_view'):
            measure(rays, config, REACH)
    else:
        assert len(measure(rays, config, REACH)[0]) == 181


def test_more_than_a_turn_is_refused():
    step = math.radians(2.0)
    rays = _rays(angle_increment=step, angle_max=step * (COUNT - 1))
    with pytest.raises(ObservationError, match='no more than a turn'):
        measure(rays, CONFIG, REACH)
