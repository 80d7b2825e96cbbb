"""Gaussian copulas: moments and tables against integrals, and matrices that are none of correlations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from reference import activity_patterns as reference
from scipy.integrate import quad
from scipy.special import ndtr, ndtri

import tegum as tg

property_test = settings(max_examples=40, deadline=None, database=None, derandomize=True)


def matrix(seed: int, size: int) -> np.ndarray:
    """A random correlation matrix of full rank."""
    rows = np.random.default_rng(seed).normal(size=(size, size + 2))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


def test_pairs_against_scipy():
    correlation, density = matrix(0, 5), [0.001, 0.05, 0.2, 0.5, 1.0]
    moment = tg.Copula(density, correlation).second_moment()
    for i in range(4):
        for j in range(i):
            pair = [[1, correlation[i, j]], [correlation[i, j], 1]]
            expected = scipy.stats.multivariate_normal.cdf(ndtri([density[i], density[j]]), cov=pair)
            assert_allclose(4 * moment[i, j], expected, rtol=1e-9)
        assert_allclose(4 * moment[i, 4], density[i], rtol=1e-14)
    assert_allclose(np.diag(moment), np.array(density) / 3)


def test_patterns_of_one_factor_against_quadrature():
    loading, density = np.array([0.9, -0.5, 0.3, 0.0]), np.array([0.3, 0.05, 0.6, 0.2])
    table = tg.Copula(density, factors=loading[:, None]).table()

    def chance(y: float, pattern: np.ndarray) -> float:
        q = ndtr((ndtri(density) - loading * y) / np.sqrt(1 - loading**2))
        return float(np.where(pattern, q, 1 - q).prod() * scipy.stats.norm.pdf(y))

    expected = [quad(chance, -9, 9, args=(pattern,), epsabs=1e-13, limit=200)[0] for pattern in reference.patterns(4)]
    assert_allclose(reference.of_table(table), expected, atol=2e-12)


def test_patterns_of_three_features_against_scipy():
    # Any three have two factors beside equal rests.
    correlation, density = matrix(3, 3), [0.3, 0.1, 0.5]
    three = tg.Copula(density, correlation)
    assert three.gated
    found = reference.of_table(three.table())
    for number, pattern in enumerate(reference.patterns(3)):
        sign = np.where(pattern, 1.0, -1.0)
        expected = scipy.stats.multivariate_normal(cov=correlation * np.outer(sign, sign)).cdf(sign * ndtri(density))
        assert_allclose(found[number], expected, atol=2e-5)  # SciPy's own error


@property_test
@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=6))
def test_uncorrelated_it_is_independent(density: list[float]):
    size = len(density)
    apart = tg.Independent(size, density)
    for each in (tg.Copula(density, np.eye(size)), tg.Copula(density, factors=np.zeros((size, 3)))):
        assert_allclose(each.second_moment(), apart.second_moment(), rtol=1e-10)
        assert each.components == 1
        assert_allclose(each.table().gates, apart.table().gates, rtol=1e-10)


@property_test
@given(st.lists(st.tuples(st.floats(0.001, 1), st.floats(-1, 1)), min_size=1, max_size=6), st.floats(0, 2 * np.pi))
def test_factors_stand_for_their_correlation_matrix_and_may_be_turned(features: list[Any], angle: float):
    density, loading = (list(each) for each in zip(*features, strict=True))
    factors = np.array(loading)[:, None]
    correlation = factors @ factors.T
    np.fill_diagonal(correlation, 1)
    turned = factors * [np.cos(angle), np.sin(angle)]
    moment = tg.Copula(density, factors=factors).second_moment()
    assert_allclose(tg.Copula(density, correlation).second_moment(), moment, rtol=1e-9, atol=1e-13)
    assert_allclose(tg.Copula(density, factors=turned).second_moment(), moment, rtol=1e-6, atol=1e-9)


def test_tables_of_factors_and_of_their_matrix_agree():
    equal = tg.Copula(0.2, np.full((4, 4), 0.36) + 0.64 * np.eye(4))
    factors = tg.Copula(0.2, factors=np.full((4, 1), 0.6))
    assert_allclose(reference.of_table(equal.table()), reference.of_table(factors.table()), atol=2e-12)


def test_the_ends_of_correlation():
    one, minus = np.ones((2, 2)), np.array([[1.0, -1.0], [-1.0, 1.0]])
    same, opposed = tg.Copula([0.1, 0.3], one), tg.Copula([0.1, 0.3], minus)
    assert_allclose(same.second_moment(), tg.Correlated(2, [0.1, 0.3]).second_moment(), rtol=1e-14)
    assert opposed.second_moment()[0, 1] == 0
    assert not same.gated
    x = tg.FeatureDistribution([same, opposed]).sample(0, 10_000) > 0
    assert (x[:, 0] <= x[:, 1]).all()
    assert not (x[:, 2] & x[:, 3]).any()
    assert_allclose(x.mean(0), [0.1, 0.3, 0.1, 0.3], atol=0.02)
    full = tg.Copula([0.7, 0.6], minus)
    assert_allclose(4 * full.second_moment()[0, 1], 0.3)  # they cannot avoid one another more


def test_sparse_activity_is_correlated_less_than_the_variables():
    for density, expected in ((0.5, 0.3333), (0.05, 0.2040), (0.001, 0.0533)):
        pair = tg.Copula(density, [[1, 0.5], [0.5, 1]])
        both = 4 * pair.second_moment()[0, 1]
        assert_allclose((both - density**2) / (density - density**2), expected, atol=1e-4)


def test_as_many_as_synthetic_models_have():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(1000, 25)) / 8
    many = tg.Copula(np.geomspace(0.2, 0.001, 1000), factors=factors)
    assert not many.gated
    x = tg.FeatureDistribution([many]).sample(0, 2000)
    z = ((x > 0).mean(0) - many.active()) / np.sqrt(many.active() / 2000)
    assert np.abs(z).max() < 6
    again = tg.FeatureDistribution(tg.FeatureDistribution([many]).to_json())
    assert again.sets[0] == many


def test_matrices_in_single_precision_are_accepted():
    correlation = matrix(1, 40).astype(np.float32)
    single, exact = tg.Copula(0.1, correlation), tg.Copula(0.1, matrix(1, 40))
    assert_allclose(single.second_moment(), exact.second_moment(), atol=1e-7)
    rows = np.random.default_rng(2).normal(size=(30, 3)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    tg.Copula(0.1, factors=rows)  # squares that sum to 1 up to rounding


NO_MATRIX = "correlation must be a matrix, a list of rows of numbers of equal length"
NOT_BOTH = "correlation must be given, or factors, and not both"

REFUSED: list[tuple[Any, str]] = [
    (lambda: tg.Copula(0.1), f"Copula(): {NOT_BOTH}"),
    (lambda: tg.Copula(0.1, np.eye(2), factors=np.eye(2)), f"Copula(): {NOT_BOTH}"),
    (lambda: tg.Copula(0.1, 0.5), f"Copula(correlation=0.5): {NO_MATRIX}"),
    (lambda: tg.Copula(0.1, [[1, 0], [0]]), f"Copula(correlation=[[1, 0], [0]]): {NO_MATRIX}"),
    (lambda: tg.Copula(0.1, [["a"]]), f"Copula(correlation=[['a']]): {NO_MATRIX}"),
    (
        lambda: tg.Copula(0.1, [[1, 0]]),
        "Copula(correlation=((1.0, 0.0),)): correlation must be square, and its shape is (1, 2)",
    ),
    (
        lambda: tg.Copula(0.1, [[1, 0.2], [0.3, 1]]),
        "Copula(correlation=((1.0, 0.2), (0.3, 1.0))): correlation must be symmetric, and it is not at [0, 1]",
    ),
    (
        lambda: tg.Copula(0.1, [[1, 0], [0, 0.9]]),
        "Copula(correlation=((1.0, 0.0), (0.0, 0.9))): correlation must have 1 on its diagonal, and it has not at [1]",
    ),
    (
        lambda: tg.Copula(0.1, [[1, 1.5], [1.5, 1]]),
        "Copula(correlation=((1.0, 1.5), (1.5, 1.0))): correlation must be positive semidefinite, and has an "
        "eigenvalue of -0.5",
    ),
    (
        lambda: tg.Copula(0.1, [[1, np.nan], [np.nan, 1]]),
        "Copula(correlation=[[1, nan], [nan, 1]]): correlation must be finite",
    ),
    (
        lambda: tg.Copula(0.1, factors=[[0.5], [1.1]]),
        "Copula(factors=((0.5,), (1.1,))): factors must have squares that sum to at most 1 for each feature; those of "
        "1 sum to 1.21",
    ),
    (
        lambda: tg.Copula(0.1, np.zeros((1100, 1100))),
        "Copula(correlation=array of shape (1100, 1100)): correlation must have at most 1,048,576 numbers; a few "
        "factors may take their place",
    ),
    (
        lambda: tg.Copula([0.1, 0.2, 0.3], np.eye(2)),
        "Copula(density=(0.1, 0.2, 0.3)): density must be one number or 2, one for each feature of the set",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_bad_values_are_refused_in_one_sentence(call: Any, message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (compared in full below)
        call()
    assert str(caught.value) == message
