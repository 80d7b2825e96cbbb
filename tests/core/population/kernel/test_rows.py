"""The kernel of a finite population: loss and gradient against sums over rows in NumPy, and odd input."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

import tegum as tg
from tegum.core.population.kernel.rows import ROWS, evaluate_rows, listed_rows, room_for_rows

RNG = np.random.default_rng(5)


def samples(count, features, density=0.4):
    return np.where(RNG.random((count, features)) < density, RNG.exponential(1.0, (count, features)), 0.0)


def loss(theta, x, hidden, importance, floor):
    """Straight from the definition: a mean over rows of squared errors, weighted by importance."""
    n = x.shape[1]
    weights, bias = theta[:-n].reshape(n, hidden), theta[-n:]
    return (importance * (x - np.maximum(x @ weights @ weights.T + bias, floor)) ** 2).sum() / len(x)


def evaluated(theta, x, hidden, importance, floor=0.0, stop=0):
    rows = listed_rows(tg.Empirical(x).data, hidden, floor)
    gradient, room = np.empty(theta.size), np.full(room_for_rows(x.shape[1], hidden), np.nan)
    return evaluate_rows(rows, theta, importance, gradient, room, np.array([stop])), gradient


@pytest.mark.parametrize(
    ("count", "n", "m"),
    [(1, 1, 1), (ROWS - 1, 3, 2), (ROWS, 5, 3), (ROWS + 1, 4, 1), (3 * ROWS + 7, 9, 5), (200, 2, 9)],
)
@pytest.mark.parametrize("floor", [0.0, -0.25])
def test_the_gradient_is_that_of_finite_differences(count, n, m, floor):
    x, importance = samples(count, n), RNG.uniform(0.2, 2.0, n)
    for _ in range(3):
        theta = np.concatenate([0.7 * RNG.standard_normal(n * m), 0.2 * RNG.standard_normal(n)])
        value, gradient = evaluated(theta, x, m, importance, floor)
        assert value == pytest.approx(loss(theta, x, m, importance, floor), rel=1e-13)
        moves = 1e-6 * np.eye(theta.size)
        both = [[loss(theta + sign * move, x, m, importance, floor) for sign in (1, -1)] for move in moves]
        differences = np.subtract(*np.transpose(both)) / 2e-6
        np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-7)


def test_a_dense_and_a_sparse_matrix_are_one_list():
    x = samples(75, 6, 0.2)
    x[3], x[:, 2] = 0.0, 0.0
    dense = listed_rows(tg.Empirical(x).data, 2, 0.0)
    # Another set of data, so that the dense one is not recalled by its digest.
    sparse = listed_rows(type(tg.Empirical(x).data)(scipy.sparse.csr_array(x), "0" * 32), 2, 0.0)
    assert all(np.array_equal(one, other) for one, other in zip(dense, sparse, strict=True))
    np.testing.assert_allclose(dense.powers(), (x**2).mean(0), rtol=1e-15)
    rebuilt = np.zeros((3 * ROWS, 6))
    for block, (begin, end) in enumerate(zip(dense.first, dense.first[1:], strict=False)):
        rebuilt[block * ROWS + dense.place[begin:end] % ROWS, dense.place[begin:end] // ROWS] = dense.value[begin:end]
    np.testing.assert_array_equal(rebuilt[:75], x)
    assert not rebuilt[75:].any()


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf, 1e200])
@pytest.mark.parametrize("where", [0, -2])
def test_what_is_not_finite_is_seen_in_the_loss(broken, where):
    theta = np.full(9, 0.3)
    theta[where] = broken
    value, _ = evaluated(theta, samples(40, 3, 1.0), 2, np.ones(3))
    # A bias of −∞ only silences its output.
    assert np.isfinite(value) == (broken == -np.inf and where == -2)


def test_a_raised_flag_ends_it():
    value, _ = evaluated(np.full(9, 0.3), samples(40, 3), 2, np.ones(3), stop=1)
    assert np.isnan(value)
