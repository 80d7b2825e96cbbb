"""Two normal variables below thresholds, and the quadrature over factors: against SciPy's integrals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.special import ndtr, ndtri

from tegum.core.features.gaussian import QUADRATURE_ERROR, both_below, lattice, principal

THRESHOLDS = ndtri([0.001, 0.02, 0.3, 0.5, 0.9])
PAIRS = np.array([(h, k) for h in THRESHOLDS for k in THRESHOLDS])


@pytest.mark.parametrize("r", [-0.97, -0.93, -0.6, 0.0, 0.3, 0.91, 0.93, 0.999])
def test_both_below_against_scipy(r: float):
    expected = [scipy.stats.multivariate_normal.cdf(pair, cov=[[1, r], [r, 1]]) for pair in PAIRS]
    assert_allclose(both_below(*PAIRS.T, np.array(r)), expected, atol=1e-14)


@pytest.mark.parametrize("p", [1e-9, 1e-5, 0.02, 0.5])
@pytest.mark.parametrize("rest", [1e-12, 1e-8, 1e-4, 0.05, 0.079, 0.081, 0.5, 0.9])
def test_both_below_keeps_its_digits_at_small_densities_and_strong_correlations(p: float, rest: float):
    # z = √r y + √(1 − r) ε: given y, both lie below h with the square of Φ((h − √r y) / √(1 − r)).
    r, h = 1 - rest, ndtri(p)
    rest = 1 - r  # to the last digit
    middle, width = h / np.sqrt(r), np.sqrt(rest / r)
    ends = np.unique(np.clip(np.append(np.arange(-40, 41.0), middle + width * np.arange(-40, 41.0)), -40, 40))
    nodes, weights = np.polynomial.legendre.leggauss(24)
    y = (ends[:-1] + ends[1:])[:, None] / 2 + np.diff(ends)[:, None] / 2 * nodes
    expected = (np.diff(ends) / 2) @ (scipy.stats.norm.pdf(y) * ndtr((middle - y) / width) ** 2) @ weights
    assert_allclose(both_below(np.array([h]), np.array([h]), np.array([r])), expected, rtol=1e-9)


def test_both_below_by_hand():
    r = np.array([-1, -0.99, -0.4, 0, 0.7, 0.95, 1.0])
    zero, high, low = np.zeros(7), np.full(7, np.inf), np.full(7, -1.3)
    assert_allclose(both_below(zero, zero, r), 0.25 + np.arcsin(r) / (2 * np.pi), rtol=1e-14, atol=1e-16)
    assert_allclose(both_below(high, low, r), ndtr(-1.3), rtol=1e-15)
    assert_allclose(both_below(-high, low, r), 0)
    assert_allclose(both_below(-low, low, r)[[0, 3, 6]], [0, ndtr(1.3) * ndtr(-1.3), ndtr(-1.3)], rtol=1e-14)
    assert_allclose(both_below(zero, low, r), both_below(low, zero, r), rtol=1e-13, atol=1e-16)
    # One below and the other above: together with both below, the first is below.
    assert_allclose(both_below(low, -low, r) + both_below(low, low, -r), ndtr(-1.3), rtol=1e-12)


@pytest.mark.parametrize("loading", [0.1, 0.6, 0.95])
@pytest.mark.parametrize("size", [2, 12])
@pytest.mark.parametrize("u", [0.0, -1.0, 1j, 0.5 - 0.5j], ids=str)
def test_quadrature_over_one_factor_is_as_good_as_its_bound(loading: float, size: int, u: complex):
    t, f = ndtri(np.linspace(0.02, 0.6, size)), loading * np.cos(np.arange(size))
    spread = np.sqrt(1 - f**2)
    found = lattice(t, f[:, None], spread, 4096)
    assert found is not None
    assert len(found.weights) < 200

    def product(y: np.ndarray) -> np.ndarray:
        return (1 + ndtr((t - f * y) / spread) * (u - 1)).prod(-1)

    expected = sum(
        quad(
            lambda y, part=part, low=low: part(product(low + y)) * scipy.stats.norm.pdf(low + y),
            0, 0.5, epsabs=1e-16, epsrel=1e-13,
        )[0] * unit
        for low in np.arange(-9, 9, 0.5) for part, unit in ((np.real, 1), (np.imag, 1j))
    )  # fmt: skip
    assert abs(found.weights @ product(found.nodes) - expected) < QUADRATURE_ERROR


def test_quadrature_over_two_factors_has_the_probabilities_of_pairs():
    rng = np.random.default_rng(0)
    factors = principal(0.5 * rng.normal(size=(6, 2)))
    spread, t = np.sqrt(1 - np.square(factors).sum(1)), ndtri(np.linspace(0.01, 0.7, 6))
    found = lattice(t, factors, spread, 4096)
    assert found is not None
    q = ndtr((t - found.nodes @ factors.T) / spread)
    upper = np.triu_indices(6, 1)
    expected = both_below(t[upper[0]], t[upper[1]], (factors @ factors.T)[upper])
    assert_allclose(found.weights @ q, ndtr(t), atol=QUADRATURE_ERROR)
    assert_allclose(((q.T * found.weights) @ q)[upper], expected, atol=QUADRATURE_ERROR)


def test_no_quadrature_over_more_factors_or_more_nodes_or_without_spread():
    t = np.zeros(4)
    assert lattice(t, np.full((4, 3), 0.2), np.full(4, 0.5), 10**6) is None
    assert lattice(t, np.full((4, 1), 0.2), np.full(4, 0.9), 10) is None
    assert lattice(t, np.ones((4, 1)), np.zeros(4), 4096) is None
    alone = lattice(t, np.zeros((4, 0)), np.ones(4), 1)
    assert alone is not None
    assert len(alone.weights) == 1


def test_principal_factors_have_the_same_correlations():
    factors = np.random.default_rng(1).normal(size=(5, 2)) @ np.ones((2, 4))
    turned = principal(factors)
    assert turned.shape == (5, 1)
    assert_allclose(turned @ turned.T, factors @ factors.T, atol=1e-12)
