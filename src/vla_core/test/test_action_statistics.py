"""Oddities of actions: found, counted, learned from with measure."""

import math
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
import numpy as np
import pytest

from vla_core.action_statistics import ActionLimits, ActionStatistics, GROSS
from vla_core.health import MINIMUM

NAMES = ('linear.x', 'angular.z')
LIMITS = ActionLimits(z_score=3.0, sigma_floor=0.1, jump=1.0, saturation=0.98, window=500)
STEP_NS = 33_000_000


def chunk(forward: float, turn: float = 0.0, horizon: int = 8) -> np.ndarray:
    return np.tile((forward, turn), (horizon, 1))


def trained(count: int = 100, sigma: float = 0.02) -> ActionStatistics:
    statistics = ActionStatistics(NAMES, LIMITS)
    random = np.random.default_rng(0)
    for index in range(count):
        statistics.record(chunk(*random.normal(0.3, sigma, 2)), index * STEP_NS, 0.1)
    return statistics


def test_few_chunks_are_unknown_not_zero() -> None:
    statistics = trained(MINIMUM - 1)
    assert not statistics.known
    assert all(math.isnan(value) for value in statistics.variance)
    assert all(math.isnan(value) for value in statistics.saturation)
    assert math.isnan(ActionStatistics(NAMES, LIMITS).disagreement)
    assert ActionStatistics((), LIMITS).variance == ()


@given(st.lists(st.floats(-0.4, 0.4), min_size=MINIMUM, max_size=120))
def test_variance_is_that_of_the_first_steps(values: list[float]) -> None:
    wide = ActionLimits(z_score=100.0, sigma_floor=1.0, jump=10.0, saturation=0.98, window=500)
    statistics = ActionStatistics(NAMES, wide)
    for index, value in enumerate(values):
        statistics.record(chunk(value), index * STEP_NS, 0.1)
    assert statistics.variance[0] == pytest.approx(np.var(values), abs=1e-12)
    assert statistics.variance[1] == 0.0
    assert statistics.anomalies == 0


def test_ordinary_actions_are_not_odd() -> None:
    statistics = trained(2000)
    assert statistics.anomalies == 0
    assert statistics.odd_share == 0.0


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('place', [(0, 0), (7, 1)])
def test_one_number_that_is_not_finite_is_an_anomaly(bad: float, place: tuple[int, int]) -> None:
    statistics = trained()
    before = statistics.variance
    data = chunk(0.3, 0.3)
    data[place] = bad
    assert statistics.record(data, 101 * STEP_NS, 0.1) == {'non_finite'}
    assert statistics.variance == before
    assert (statistics.anomalies, statistics.counts['non_finite']) == (1, 1)


@pytest.mark.parametrize('spliced', [True, False])
@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf, GROSS * 1.01, -1e308])
def test_a_bad_number_is_found_in_the_answer_and_in_the_chunk(bad: float, spliced: bool) -> None:
    statistics = trained()
    data, answer = chunk(0.2), chunk(0.2, horizon=4)
    (data if spliced else answer)[3, 1] = bad
    kind = 'gross' if math.isfinite(bad) else 'non_finite'
    assert statistics.record(data, 101 * STEP_NS, 0.1, answer) == {kind}


def test_many_large_numbers_are_not_gross_together() -> None:
    statistics = ActionStatistics(NAMES, LIMITS)
    large = np.full((8, 2), GROSS)
    assert statistics.record(large, 0, 0.1) == set()


def test_a_chunk_without_numbers_counts_as_not_finite() -> None:
    statistics = ActionStatistics((), LIMITS)
    statistics.reject()
    assert (statistics.anomalies, statistics.counts['non_finite']) == (1, 1)


def test_an_outlier_is_odd_and_teaches_little() -> None:
    statistics = trained()
    assert 'z_score' in statistics.record(chunk(0.9, 0.3), 101 * STEP_NS, 0.1)
    assert statistics.record(chunk(0.3, 0.3), 102 * STEP_NS, 0.1) == frozenset()


def test_a_steady_robot_may_start_to_move() -> None:
    statistics = trained(200, sigma=0.0)
    assert statistics.record(chunk(0.55, 0.3), 201 * STEP_NS, 0.1) == frozenset()


def test_a_lasting_change_stops_being_odd() -> None:
    statistics = trained()
    odd = [
        bool(statistics.record(chunk(0.3, -0.8), (101 + index) * STEP_NS, 0.1))
        for index in range(500)
    ]
    assert odd[0]
    assert not any(odd[250:])


def test_a_jump_is_odd_even_before_anything_is_known() -> None:
    statistics = ActionStatistics(NAMES, LIMITS)
    assert statistics.record(chunk(0.6), 0, 0.1) == frozenset()
    assert statistics.record(chunk(-0.6), STEP_NS, 0.1) == {'jump'}


def test_saturation_is_the_share_of_first_steps_at_an_end() -> None:
    statistics = ActionStatistics(NAMES, LIMITS)
    for index in range(100):
        statistics.record(chunk(1.0 if index % 4 else 0.0, -1.0), index * STEP_NS, 0.1)
    assert statistics.saturation == pytest.approx((0.75, 1.0))


def test_chunks_that_agree_disagree_by_nothing() -> None:
    statistics = ActionStatistics(('linear.x',), LIMITS)
    ramp = np.arange(60, dtype=float)[:, np.newaxis] / 60
    for index in range(40):
        statistics.record(ramp[index : index + 8], index * 100_000_000, 0.1)
    assert statistics.disagreement == pytest.approx(0.0, abs=1e-12)


def test_chunks_that_contradict_each_other_show_by_how_much() -> None:
    statistics = ActionStatistics(('linear.x',), LIMITS)
    for index in range(60):
        statistics.record(np.full((8, 1), 0.2 * (index % 2)), index * STEP_NS, 0.1)
    assert statistics.disagreement == pytest.approx(0.2)


@pytest.mark.parametrize('gap_ns', [-STEP_NS * 100, 800_000_000, 3_600_000_000_000])
def test_chunks_that_do_not_overlap_tell_nothing(gap_ns: int) -> None:
    statistics = ActionStatistics(NAMES, LIMITS)
    statistics.record(chunk(0.5), 10_000_000_000, 0.1)
    statistics.record(chunk(-0.5), 10_000_000_000 + gap_ns, 0.1)
    assert math.isnan(statistics.disagreement)


@given(
    st.lists(
        npst.arrays(np.float64, (3, 2), elements=st.floats(allow_nan=True, allow_infinity=True)),
        max_size=60,
    )
)
def test_statistics_stay_finite_whatever_comes(chunks: list[np.ndarray]) -> None:
    statistics = trained(30)
    for index, data in enumerate(chunks):
        statistics.record(data, (31 + index) * STEP_NS, 0.1)
    assert np.isfinite(statistics.variance).all()
    assert all(0.0 <= share <= 1.0 for share in statistics.saturation)
    assert 0.0 <= statistics.odd_share <= 1.0
    assert math.isfinite(statistics.disagreement)
    assert statistics.anomalies <= len(chunks)


def test_memory_is_constant() -> None:
    statistics, data = trained(1000), chunk(0.3, 0.3)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for index in range(1000, 6000):
            statistics.record(data, index * STEP_NS, 0.1)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 4096
