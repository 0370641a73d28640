"""The arithmetic of an hour's driving: what grows is found, what only scatters is not."""

import math

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from vla_cli.bench.soak import interruptions, rows, Sample
from vla_cli.bench.trend import means, student_quantile, trend
from vla_core.gate.causes import State

BOUND = 'slope, upper 95 % bound, MB/h'


@given(
    st.integers(5, 60),
    st.floats(-100.0, 100.0),
    st.floats(-1e3, 1e3),
    st.floats(0.0, 10.0),
    st.integers(0, 2**32 - 1),
)
def test_slope_is_that_of_numpy(count, slope, offset, noise, seed):
    random = np.random.default_rng(seed)
    times = np.sort(random.uniform(0.0, 1.0, count)) + np.arange(count)
    values = offset + slope * times + random.normal(0.0, noise, count)
    found = trend(times, values)
    assert found.slope == pytest.approx(np.polyfit(times, values, 1)[0], abs=1e-6)
    assert found.upper >= found.slope


@pytest.mark.parametrize('count', [5, 10, 45, 200])
def test_bound_is_that_of_scipy(count):
    stats = pytest.importorskip('scipy.stats')
    random = np.random.default_rng(count)
    times = np.arange(count) / 60.0
    values = random.normal(100.0, 1.0, count)
    reference = stats.linregress(times, values)
    upper = reference.slope + stats.t.ppf(0.95, count - 2) * reference.stderr
    assert trend(times, values).upper == pytest.approx(upper, rel=1e-3)


@pytest.mark.parametrize('probability', [0.9, 0.95, 0.975, 0.99])
@pytest.mark.parametrize('freedom', [3, 5, 10, 43, 1000])
def test_quantile_is_that_of_scipy(probability, freedom):
    stats = pytest.importorskip('scipy.stats')
    reference = stats.t.ppf(probability, freedom)
    assert student_quantile(probability, freedom) == pytest.approx(reference, rel=5e-3)


# Gosset's distribution in every textbook: 95 %, one-sided.
@pytest.mark.parametrize(('freedom', 'value'), [(5, 2.015), (10, 1.812), (30, 1.697)])
def test_quantile_is_that_of_the_tables(freedom, value):
    assert student_quantile(0.95, freedom) == pytest.approx(value, abs=1e-3)


def test_bound_holds_in_95_of_100():
    random = np.random.default_rng(1)
    times = np.arange(45) / 60.0
    above = sum(trend(times, random.normal(0.0, 1.0, 45)).upper >= 0.0 for _ in range(2000))
    # Four standard deviations of a binomial count.
    assert abs(above / 2000 - 0.95) < 4.0 * math.sqrt(0.95 * 0.05 / 2000)


def test_means_are_of_whole_spans():
    times = np.arange(0.0, 190.0, 1.0) + 5.0
    at, values = means(times, times, 60.0)
    assert at.tolist() == values.tolist() == [34.5, 94.5, 154.5]


def driven(minutes: float, growth: float = 0.0, descriptors=20, threads=9) -> list[Sample]:
    """Samples of a process once a second; its memory scatters by 0.2 MB and grows, MB/h."""
    random = np.random.default_rng(0)
    return [
        Sample(
            1000.0 + second,
            100.0 + growth * second / 3600.0 + random.normal(0.0, 0.2),
            descriptors if second >= 30 * minutes else 20,
            threads,
        )
        for second in range(int(60 * minutes))
    ]


def test_process_that_only_scatters_keeps_every_promise():
    (row,) = rows({'gate': driven(60)}, 900.0, {'minutes': 60}, 'FIFO 10')
    assert row.name == 'soak_rss_gate'
    assert len(row.samples) == 60 * 60 - 900
    assert row.notes['minutes in the slope'] == 44
    assert row.verdicts() == {BOUND: True, 'descriptors, change': True, 'threads, change': True}


@pytest.mark.parametrize('growth', [6.0, 20.0])
def test_process_that_grows_is_found(growth):
    (row,) = rows({'gate': driven(60, growth)}, 900.0, {}, 'other')
    assert row.notes['slope, MB/h'] == pytest.approx(growth, abs=1.0)
    assert not row.verdicts()[BOUND]


def test_growth_of_the_warm_up_counts_for_nothing():
    samples = driven(60)
    early = [Sample(one.at, one.rss - 50.0, 5, 2) for one in samples[:800]]
    (row,) = rows({'gate': early + samples[800:]}, 900.0, {}, 'other')
    assert all(row.verdicts().values())


def test_descriptors_that_leak_are_found():
    (row,) = rows({'gate': driven(60, descriptors=21)}, 900.0, {}, 'other')
    assert row.notes['descriptors'] == '20 to 21'
    assert not row.verdicts()['descriptors, change']


def test_thread_that_is_renewed_is_none_too_many():
    samples = driven(60)
    twice = [Sample(one.at, one.rss, one.descriptors, 10) for one in samples[2000::50]]
    samples[2000::50] = twice
    (row,) = rows({'gate': samples}, 900.0, {}, 'other')
    assert row.notes['threads'] == '9 to 10'
    assert row.verdicts()['threads, change']


def test_slope_of_a_few_minutes_is_unknown_and_no_promise_is_kept():
    (row,) = rows({'gate': driven(2)}, 0.0, {}, 'other')
    assert 'unknown' in row.notes['slope, MB/h']
    assert row.verdicts()[BOUND] is None


def test_interruptions_are_counted_once_each():
    active, hold, stop = State.ACTIVE, State.HOLD, State.CONTROLLED_STOP
    states = [
        State.ARMING,
        active,
        active,
        hold,
        active,
        stop,
        State.STOPPED,
        State.ARMING,
        active,
    ]
    assert interruptions(states) == 2
    assert interruptions([]) == 0
