"""The standard deviation of the loss of one sample, and samples with something active."""

import numpy as np
import pytest

import tegum as tg
from tegum.core.loss.sample_spread import sample_active, standard_deviations

DISTRIBUTIONS = {
    "independent": [tg.Independent(6, 0.05)],
    "unequal": [tg.Independent(3, (0.01, 0.3, 1e-3)), tg.Independent(3, 0.1)],
    "pairs": [tg.Correlated(2, (0.1, 0.3))] * 3,
    "anticorrelated": [tg.Anticorrelated(4, 0.2), tg.Independent(2, 0.1)],
    "partial": [tg.PartiallyCorrelated(3, 0.2, 0.5)] * 2,
    "equivariant": [tg.Equivariant(6, 0.3, 0.5)],
    "always": [tg.Independent(3, 1.0), tg.Correlated(3, 0.2)],
    "rows": [tg.Empirical(np.eye(4)[[0, 0, 1, 2]] / 2), tg.Independent(2, 0.1)],
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_samples_with_something_active_have_the_moments_of_all(name):
    features, count = tg.FeatureDistribution(DISTRIBUTIONS[name]), 50_000
    x, probability = sample_active(features, np.random.default_rng(0), count)
    if name != "rows":  # whose rows count as active
        assert (x > 0).any(1).all()
    for found, exact in (
        (x, features.first_moment()),
        (x[:, :, None] * x[:, None], features.second_moment()),
    ):
        z = (probability * found.mean(0) - exact) / (probability * found.std(0) / np.sqrt(count) + 1e-12)
        assert np.abs(z).max() < 4.5


def test_how_often_something_is_active():
    for density, exact in ((0.2, 1 - 0.8**6), (1e-12, 6e-12)):
        of = tg.FeatureDistribution([tg.Independent(4, density), tg.Independent(2, density)])
        assert abs(sample_active(of, np.random.default_rng(0), 1)[1] / exact - 1) < 1e-9
    pairs = tg.FeatureDistribution([tg.Anticorrelated(4, 0.2), tg.Correlated(2, (0.1, 0.3))])
    assert abs(sample_active(pairs, np.random.default_rng(0), 1)[1] - (1 - 0.8 * 0.7)) < 1e-12


def test_deviations_in_closed_form():
    # One feature without weight: the loss of a sample is (x − b)², and of the density p there is
    # E (x − b)⁴ = (1 − p) b⁴ + p ((1 − b)⁵ + b⁵) / 5, E (x − b)² = (1 − p) b² + p ((1 − b)³ + b³) / 3.
    for p in (1.0, 0.1, 1e-3, 1e-7):
        b = np.array([[0.0], [0.3]])
        fourth = (1 - p) * b**4 + p * ((1 - b) ** 5 + b**5) / 5
        second = (1 - p) * b**2 + p * ((1 - b) ** 3 + b**3) / 3
        features = tg.FeatureDistribution([tg.Independent(1, p)])
        found = standard_deviations(np.zeros((2, 1, 1)), b, features, "relu")
        np.testing.assert_allclose(found, np.sqrt(fourth - second**2)[:, 0], rtol=0.03)
