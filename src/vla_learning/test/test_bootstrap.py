"""Intervals cover, differences are found, and exact tests agree with counting."""

import math

import numpy as np
import pytest

pytest.importorskip('scipy')

from scipy import stats

from vla_learning import bootstrap
from vla_learning.bootstrap import by_group, difference, estimate, mean, Measure, paired_outcomes


def clustered(random, groups=30, each=6):
    """Samples of a group share a part of their value; the true mean is 0."""
    shared = np.repeat(random.normal(size=groups), each)
    return np.repeat(np.arange(groups), each), shared + random.normal(scale=0.5, size=len(shared))


def test_value_is_the_plain_mean_and_group_order_does_not_matter():
    random = np.random.default_rng(0)
    groups, values = clustered(random)
    order = random.permutation(len(groups))
    assert mean(groups, values).value == pytest.approx(values.mean())
    np.testing.assert_allclose(
        mean(groups, values).sums, mean(groups[order], values[order]).sums, atol=1e-12
    )


def test_interval_covers_the_truth_about_95_times_of_100(monkeypatch):
    monkeypatch.setattr(bootstrap, 'RESAMPLES', 300)
    random = np.random.default_rng(1)
    grouped = single = 0
    trials = 200
    for trial in range(trials):
        groups, values = clustered(random)
        found = estimate(mean(groups, values), trial)
        grouped += found.low <= 0.0 <= found.high
        alone = values.std(ddof=1) / math.sqrt(len(values)) * 1.96
        single += abs(values.mean()) <= alone
    assert 0.9 <= grouped / trials <= 0.985
    # Taking correlated samples for independent ones would be far too sure.
    assert single / trials < 0.75


def test_interval_of_a_ratio_agrees_with_the_delta_method():
    random = np.random.default_rng(2)
    sums = np.stack([random.gamma(20, 1, 400), random.gamma(30, 1, 400)], axis=1)
    found = estimate(Measure(sums, bootstrap.ratio))
    top, bottom = sums.mean(axis=0)
    residual = (sums[:, 0] - top / bottom * sums[:, 1]) / bottom
    half = 1.96 * residual.std(ddof=1) / math.sqrt(len(sums))
    assert found.low == pytest.approx(top / bottom - half, abs=0.15 * half)
    assert found.high == pytest.approx(top / bottom + half, abs=0.15 * half)


def test_the_same_seed_gives_the_same_interval():
    measure = mean(*clustered(np.random.default_rng(3)))
    assert estimate(measure, 5) == estimate(measure, 5)
    assert estimate(measure, 5) != estimate(measure, 6)


def test_a_perfect_rate_is_not_certain():
    groups = np.repeat(np.arange(20), 3)
    found = estimate(mean(groups, np.ones(60), rate=True))
    z2 = 1.959964**2
    assert found.value == 1.0
    assert found.low == pytest.approx(20 / (20 + z2), abs=1e-6)
    assert found.high == 1.0


def test_constant_values_have_an_interval_of_no_width():
    found = estimate(mean(np.arange(9), np.full(9, 0.25)))
    assert (found.low, found.value, found.high) == (0.25, 0.25, 0.25)


def test_one_group_has_no_interval_and_nothing_no_value():
    alone = estimate(mean(np.zeros(5, int), np.arange(5.0)))
    assert alone.value == 2.0
    assert math.isnan(alone.low)
    nothing = estimate(mean(np.zeros(0, int), np.zeros(0)))
    assert math.isnan(nothing.value)
    assert nothing.groups == 0


def test_groups_that_add_nothing_do_not_count():
    sums = np.array([[1.0, 2.0], [0.0, 0.0], [3.0, 4.0], [2.0, 2.0]])
    assert estimate(Measure(sums, bootstrap.ratio)).groups == 3


def test_paired_difference_is_found_where_unpaired_noise_would_hide_it():
    random = np.random.default_rng(4)
    groups, values = clustered(random)
    better = values + 0.2 + random.normal(scale=0.1, size=len(values))
    first, second = mean(groups, values), mean(groups, better)
    found = difference(first, second)
    assert found.value == pytest.approx(0.2, abs=0.03)
    assert 0.15 < found.low < found.value < found.high < 0.25
    assert found.p < 0.01
    reverse = difference(second, first)
    assert reverse.value == pytest.approx(-found.value)
    t_test = stats.ttest_1samp(
        by_group(groups, (better - values)[:, None])[:, 0] / 6, 0.0
    ).confidence_interval()
    assert found.low == pytest.approx(t_test.low, abs=0.01)
    assert found.high == pytest.approx(t_test.high, abs=0.01)


def test_no_difference_is_rarely_found(monkeypatch):
    monkeypatch.setattr(bootstrap, 'RESAMPLES', 200)
    random = np.random.default_rng(5)
    found = 0
    for trial in range(100):
        groups, values = clustered(random, groups=15)
        other = values + random.normal(scale=0.3, size=len(values))
        found += difference(mean(groups, values), mean(groups, other), trial).p < 0.05
    assert found <= 12


def test_a_policy_does_not_differ_from_itself():
    measure = mean(*clustered(np.random.default_rng(6)))
    found = difference(measure, measure)
    assert (found.low, found.value, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_rates_without_a_difference_leave_doubt_where_groups_are_few():
    few, many = (mean(np.repeat(np.arange(n), 3), np.ones(3 * n), rate=True) for n in (2, 50))
    found = difference(few, few)
    assert (found.value, found.p) == (0.0, 1.0)
    assert found.low == -found.high < -0.5
    assert difference(many, many).high == 0.0


def outcomes(both, only_first, only_second, neither):
    first = [True] * both + [True] * only_first + [False] * only_second + [False] * neither
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return np.array(first), np.array(second)


@pytest.mark.parametrize(('lost', 'won'), [(8, 1), (3, 3), (0, 5), (12, 2)])
def test_p_value_is_that_of_exact_mcnemar(lost, won):
    discordant = lost + won
    tail = sum(math.comb(discordant, k) for k in range(min(lost, won) + 1)) / 2**discordant
    found = paired_outcomes(*outcomes(30, lost, won, 4))
    assert found.p == pytest.approx(min(1.0, 2 * tail))
    assert found.value == pytest.approx((won - lost) / (34 + discordant))


def test_interval_of_paired_rates_covers_the_truth():
    random = np.random.default_rng(7)
    covered, trials = 0, 200
    for _ in range(trials):
        cell = random.choice(4, size=60, p=[0.8, 0.08, 0.03, 0.09])
        found = paired_outcomes((cell == 0) | (cell == 1), (cell == 0) | (cell == 2))
        covered += found.low <= -0.05 <= found.high
    assert 0.93 <= covered / trials <= 0.99


def test_equal_outcomes_still_leave_doubt():
    few = paired_outcomes(*outcomes(9, 0, 0, 1))
    many = paired_outcomes(*outcomes(900, 0, 0, 100))
    assert few.value == many.value == 0.0
    assert few.p == 1.0
    assert few.low < many.low < 0.0 < many.high < few.high


def test_exchanging_the_policies_mirrors_the_interval():
    first, second = outcomes(20, 7, 2, 5)
    one, other = paired_outcomes(first, second), paired_outcomes(second, first)
    assert one.low == pytest.approx(-other.high)
    assert one.high == pytest.approx(-other.low)
