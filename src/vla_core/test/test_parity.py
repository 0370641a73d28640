"""Reports of optimised checkpoints: what is within the limits, and what is no report at all."""

from dataclasses import replace
import math

from hypothesis import given
from hypothesis import strategies as st
import pytest

from vla_core.errors import CheckpointError
from vla_core.parity import (
    AxisError,
    FEWEST_FRAMES,
    FEWEST_TIMED,
    LARGEST_RMS,
    LARGEST_SINGLE,
    Parity,
    Reference,
    slower,
    Timing,
)

AXIS = AxisError('m/s', mean=0.001, rms=0.002, max=0.01, deviation=0.2)
TIMING = Timing('a processor', 2, 100, p50=0.002, reference_p50=0.004)
GOOD = Parity(
    files_sha256='ab' * 32,
    settings_sha256='ef' * 32,
    policy='onnx',
    variant='onnx_int8',
    reference=Reference('demo', 'cd' * 32, '../demo'),
    source='500 frames of layouts',
    frames=500,
    axes={'linear.x': AXIS, 'angular.z': replace(AXIS, unit='rad/s')},
    timings=(TIMING,),
)
SHARES = st.floats(0.0, 2.0, allow_nan=False)


def with_axis(**changes):
    return replace(GOOD, axes={'linear.x': replace(AXIS, **changes)})


def test_report_survives_plain_values():
    assert Parity.from_plain(GOOD.plain()) == GOOD


@given(SHARES, SHARES, st.floats(1e-6, 10.0))
def test_exactly_what_exceeds_a_limit_is_refused(rms, largest, deviation):
    rms, largest = rms * deviation, max(rms, largest) * deviation
    report = with_axis(mean=0.0, rms=rms, max=largest, deviation=deviation)
    within = rms <= LARGEST_RMS * deviation and largest <= LARGEST_SINGLE * deviation
    assert (report.excess() == '') == within


@pytest.mark.parametrize('name', ['rms', 'max', 'deviation'])
def test_nan_is_within_no_limit(name):
    assert 'linear.x' in with_axis(**{name: math.nan}).excess()


def test_message_names_axis_value_and_limit():
    text = with_axis(rms=0.05, max=0.05).excess()
    assert text == (
        'root mean square difference on linear.x is 0.05 m/s: expected at most 0.01, '
        '5 % of the deviation'
    )


def test_too_few_frames_prove_nothing():
    assert str(FEWEST_FRAMES) in replace(GOOD, frames=FEWEST_FRAMES - 1).excess()
    assert str(FEWEST_TIMED) in slower(replace(TIMING, frames=FEWEST_TIMED - 1))


@pytest.mark.parametrize('changes', [{'mean': 0.003}, {'rms': 0.0001}, {'max': 0.0}])
def test_differences_that_no_numbers_have_are_refused(changes):
    assert 'expected in ascending order' in with_axis(**changes).excess()


@pytest.mark.parametrize(
    ('p50', 'refused'), [(0.004, False), (0.0041, True), (math.nan, True), (0.0, True)]
)
def test_only_slower_is_slower(p50, refused):
    assert bool(slower(replace(TIMING, p50=p50))) == refused


def test_timing_is_of_one_kind_of_machine():
    other = replace(TIMING, cores=8)
    newer = replace(TIMING, p50=0.003)
    report = GOOD.timed(other).timed(newer)
    assert report.timing('a processor', 2) == newer
    assert report.timing('a processor', 8) == other
    assert report.timing('another', 2) is None
    assert len(report.timings) == 2


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'frames': '500'}, r'parity\.frames'),
        ({'frames': -500}, r'parity\.frames is -500: expected 0 to'),
        ({'frames': 10**30}, r'parity\.frames is 10+: expected 0 to'),
        ({'timings': [{**vars(TIMING), 'frames': 10**30}]}, r'parity\.timings\.frames'),
        ({'axes': []}, r'parity\.axes'),
        ({'axes': {'linear.x': {'unit': 'm/s'}}}, r'parity\.axes\.linear\.x'),
        ({'axes': {'x': {**vars(AXIS), 'rms': math.nan}}}, r'parity\.axes\.x\.rms'),
        ({'axes': {'x': {**vars(AXIS), 'max': -1.0}}}, r'parity\.axes\.x\.max'),
        ({'timings': {}}, r'parity\.timings'),
        ({'timings': [{**vars(TIMING), 'cores': True}]}, r'parity\.timings\.cores'),
        ({'reference': None}, r'parity\.reference'),
        ({'more': 1}, 'more'),
    ],
)
def test_what_is_no_report_is_named(change, message):
    with pytest.raises(CheckpointError, match=message):
        Parity.from_plain(GOOD.plain() | change)


def test_report_that_lacks_a_key_is_none():
    plain = GOOD.plain()
    del plain['files_sha256']
    with pytest.raises(CheckpointError, match='files_sha256'):
        Parity.from_plain(plain)
