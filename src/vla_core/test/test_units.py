"""Degrees for radians and millimetres for metres are named; scatter is not."""

import math

from hypothesis import given
from hypothesis import strategies as st
import pytest

from vla_core.units import compare_reach, FAR, suspect

FACTORS = {'rad': 180 / math.pi, 'rad/s': 180 / math.pi, 'm': 1000.0, 'm/s': 1000.0}
NAMES = {
    'rad': 'degrees',
    'rad/s': 'degrees per second',
    'm': 'millimetres',
    'm/s': 'millimetres per second',
}
units = st.sampled_from([*FACTORS])
reaches = st.floats(1e-3, 1e3)


@given(unit=units, reach=reaches, share=st.floats(-1, 1))
def test_value_in_the_small_unit_is_named_when_it_is_far_beyond(unit, reach, share):
    value = share * reach * FACTORS[unit] * (1 - 1e-9)
    found = suspect(value, -reach, reach, unit)
    if abs(value) > FAR * reach:
        assert found == f'{NAMES[unit]} instead of {unit}'
    else:
        assert found == ''


@given(unit=units, reach=reaches, share=st.floats(-FAR, FAR))
def test_overshoot_is_no_unit(unit, reach, share):
    assert suspect(share * reach, -reach, reach, unit) == ''


@given(value=st.floats(), low=st.floats(), high=st.floats(), unit=units | st.just('1'))
def test_whatever_comes_is_judged(value, low, high, unit):
    found = suspect(value, low, high, unit)
    assert isinstance(found, str)
    if not math.isfinite(value):
        assert not found


def test_quantity_without_a_unit_may_be_either():
    assert suspect(90.0, -2.0, 2.0, '') == 'degrees or millimetres instead of SI units'
    assert suspect(800.0, -1.2, 1.2, '') == 'millimetres instead of SI units'
    assert suspect(5e6, -1.0, 1.0, '') == ''


def test_sign_counts():
    assert suspect(-90.0, -0.1, 2.0, 'rad') == ''
    assert suspect(90.0, -0.1, 2.0, 'rad') == 'degrees instead of rad'


def test_share_of_full_scale_has_no_other_unit():
    assert suspect(100.0, 0.0, 1.0, '1') == ''


@given(unit=units, limit=st.floats(0.01, 10), ratio=st.floats(1 / 3.2, 3.2))
def test_a_faster_or_slower_robot_is_no_mistake(unit, limit, ratio):
    assert compare_reach(limit, limit * ratio, unit) == ('', False)


@given(unit=units, limit=st.floats(0.01, 10), ratio=st.floats(0.4, 2.5))
def test_training_in_the_small_unit_rules_the_policy_out(unit, limit, ratio):
    trained = limit * ratio * FACTORS[unit]
    assert compare_reach(limit, trained, unit) == (f'{NAMES[unit]} instead of {unit}', True)


@given(unit=units, trained=st.floats(0.01, 10), ratio=st.floats(0.4, 2.5))
def test_limit_in_the_small_unit_is_only_suspected(unit, trained, ratio):
    limit = trained * ratio * FACTORS[unit]
    assert compare_reach(limit, trained, unit) == (f'{NAMES[unit]} instead of {unit}', False)


@pytest.mark.parametrize(('limit', 'trained'), [(0.26, 0.94), (0.94, 0.26)])
def test_kilometres_per_hour_are_only_suspected(limit, trained):
    assert compare_reach(limit, trained, 'm/s') == ('kilometres per hour instead of m/s', False)
    assert compare_reach(limit, trained, 'rad/s') == ('', False)


def test_an_axis_that_was_never_used_says_nothing():
    assert compare_reach(0.5, 0.0, 'm/s') == ('', False)
