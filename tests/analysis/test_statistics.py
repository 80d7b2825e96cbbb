import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tegum.analysis.statistics import bootstrap_mean, permutation_p, wilson


@pytest.mark.parametrize(
    ("hits", "n", "interval"),
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_wilson_gives_the_intervals_published_by_newcombe_1998(hits, n, interval):
    assert_allclose(wilson(hits / n, n), interval, atol=5e-5)


def test_wilson_covers_the_truth_in_95_of_100_ensembles():
    rng = np.random.default_rng(0)
    hits = rng.binomial(40, 0.9, size=4000)
    covered = [low <= 0.9 <= high for low, high in (wilson(k / 40, 40) for k in hits.tolist())]
    assert abs(np.mean(covered) - 0.95) < 0.02


def test_wilson_of_nothing_says_nothing():
    assert wilson(0.3, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("share", "n", "name"), [(1.2, 5, "share"), (math.nan, 5, "share"), (0.5, -1, "n")])
def test_wilson_refuses_what_is_no_share(share, n, name):
    with pytest.raises(ValueError, match=rf"wilson\({name}="):
        wilson(share, n)


def test_a_bootstrapped_mean_has_the_interval_of_the_normal_distribution_when_there_are_many_runs():
    values = np.random.default_rng(1).normal(3.0, 2.0, size=2000)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert_allclose(bootstrap_mean(values), (values.mean() - half, values.mean() + half), atol=0.1 * half)


@pytest.mark.parametrize("runs", [2, 3, 5, 8, 20])
def test_a_bootstrapped_mean_of_few_runs_covers_the_truth_as_often_as_it_says(runs):
    rng = np.random.default_rng(runs)
    ends = np.array([bootstrap_mean(rng.normal(3.0, 2.0, size=runs), resamples=400) for _ in range(600)])
    # Three standard errors of the share, and one hundredth that percentiles of few resamples take.
    assert abs(np.mean((ends[:, 0] <= 3) & (ends[:, 1] >= 3)) - 0.95) < 0.01 + 3 * math.sqrt(0.95 * 0.05 / 600)


def test_a_bootstrapped_mean_of_equal_values_or_none():
    assert bootstrap_mean(np.full(5, 2)) == (2.0, 2.0)
    assert np.isnan(bootstrap_mean(np.zeros(0))).all()
    assert np.isnan(bootstrap_mean(np.ones(1))).all()


def test_a_permutation_p_is_that_of_all_orders_by_hand():
    pairs = np.array([[3.0, 0.0, 1.0], [0.0, 3.0, 0.0], [1.0, 0.0, 3.0]])
    # The sums of the six orders: 9, 5 (first and last exchanged), and 3, 3, 1, 1.
    assert permutation_p(pairs) == pytest.approx(1 / 6)
    assert permutation_p(pairs[[2, 1, 0]]) == pytest.approx(2 / 6)
    assert permutation_p(np.ones((3, 3))) == 1
    assert math.isnan(permutation_p(np.zeros((0, 0))))
    assert permutation_p(np.eye(12), draws=500) == pytest.approx(1 / 501)


@pytest.mark.parametrize("runs", [5, 12])
def test_a_permutation_p_is_small_as_often_as_it_says_where_runs_are_all_alike(runs):
    rng = np.random.default_rng(runs)
    # Some rows and some columns are larger, which every order keeps.
    found = np.array(
        [
            permutation_p(
                rng.exponential(size=(runs, runs)) + rng.exponential(size=runs) + rng.exponential(size=(runs, 1)),
                draws=200,
                key=trial,
            )
            for trial in range(1000)
        ]
    )
    for level in (0.05, 0.2):
        assert abs(np.mean(found <= level) - level) < 0.005 + 3 * math.sqrt(level * (1 - level) / 1000)
