import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import approx_fprime, minimize

from tegum.core.loss.linear import linear_loss, loss_at_best_bias, missed_at_best_bias, moment_form, squared_errors

RNG = np.random.default_rng(0)
SAMPLES = RNG.random((40, 5)) * (RNG.random((40, 5)) < 0.4)
"""A population of forty, whose moments are means over it."""
MEAN, SECOND = SAMPLES.mean(0), SAMPLES.T @ SAMPLES / len(SAMPLES)
IMPORTANCE = np.array([1.0, 0.5, 2.0, 0.0, 1.5])
W, B = RNG.normal(size=(5, 2)), RNG.normal(size=5)


def over_the_population(weights, bias):
    """Squared errors of each output, by definition."""
    return np.square(SAMPLES @ weights @ weights.T + bias - SAMPLES).mean(0)


def test_the_loss_is_the_mean_over_a_population():
    expected = IMPORTANCE @ over_the_population(W, B)
    assert linear_loss(W, B, MEAN, SECOND, IMPORTANCE) == pytest.approx(expected, rel=1e-12)
    form, aim = moment_form(MEAN, SECOND)
    rows = np.column_stack([W @ W.T, B])
    assert_allclose(squared_errors(rows, rows @ form, aim, np.diag(SECOND)), over_the_population(W, B), rtol=1e-12)


def test_with_the_best_bias_it_is_the_least_over_biases():
    covariance = SECOND - np.outer(MEAN, MEAN)
    least = minimize(lambda bias: IMPORTANCE @ over_the_population(W, bias), np.zeros(5), tol=1e-12).fun
    assert loss_at_best_bias(W, covariance, IMPORTANCE) == pytest.approx(least, rel=1e-8)
    many = np.stack([W, 0.3 * W])
    found = loss_at_best_bias(many, covariance, IMPORTANCE)
    assert_allclose(found, [float(loss_at_best_bias(each, covariance, IMPORTANCE)) for each in many])
    _, slope = missed_at_best_bias(W, covariance, IMPORTANCE)
    numeric = approx_fprime(
        W.ravel(), lambda row: float(loss_at_best_bias(row.reshape(5, 2), covariance, IMPORTANCE)), 1e-7
    )
    assert_allclose((-2 * (slope + slope.T) @ W).ravel(), numeric, atol=1e-4)
