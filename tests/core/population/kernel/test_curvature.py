"""Second derivatives in the kernel: exact values, JAX's, differences, closed forms; models on their own."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from reference.population_truth import cases, truth

import tegum as tg
from tegum.core import stopping
from tegum.core.population.evaluate import _by_jax, evaluate
from tegum.core.population.kernel.evaluate import evaluated
from tegum.core.population.parameters import hessian_in_parameters

PAIRS = tg.FeatureDistribution([tg.Correlated(2, 0.05)] * 3)
MIXED = tg.FeatureDistribution(
    [
        tg.PartiallyCorrelated(3, [0.1, 0.2, 0.5], 0.7, [1.0, 2.0, 0.5]),
        tg.Independent(2, [0.3, 1.0]),
        tg.Correlated(2, 0.2, 0.3),
        tg.Anticorrelated(3, 0.9),
        tg.Correlated(3, [0.1, 0.2, 0.2]),
    ]
)
KINDS = {
    "independent": [tg.Independent(4, [0.1, 0.3, 0.2, 1.0], [1.0, 0.5, 2.0, 1.0])],
    "correlated": [tg.Correlated(4, 0.3)],
    "anticorrelated": [tg.Anticorrelated(4, 0.8, [1.0, 0.5, 2.0, 1.0])],
    "partially correlated": [tg.PartiallyCorrelated(4, 0.3, 0.6)],
    "two sets": [tg.PartiallyCorrelated(2, [0.2, 0.4], 0.5), tg.Anticorrelated(2, 0.7)],
    "certain": [tg.Anticorrelated(3, 1.0), tg.Independent(1, 0.4)],
}


def models(n, hidden, runs, seed=0, scale=0.6):
    rng = np.random.default_rng(seed)
    return scale * rng.standard_normal((runs, n, hidden)), 0.1 * rng.standard_normal((runs, n))


def hessian(weights, bias, features, frequencies=4096):
    found = evaluated(weights[None], bias[None], features, frequencies=frequencies, curved=True)
    return hessian_in_parameters(weights, found.slopes[0], found.curvature[0])


SMOOTH = [case for case in cases() if case.exact and case.small and case.smooth == 2]


@pytest.mark.parametrize("case", SMOOTH, ids=lambda case: case.id)
def test_exact_with_many_frequencies(case):
    _, _, expected = truth(case.W, case.b, case.features, derivatives=2)
    size = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(hessian(case.W, case.b, case.features), expected, rtol=0, atol=1e-6 * size)


@pytest.mark.parametrize("sets", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_features_that_leave_one_another_alone(sets, seed):
    """Rows of zeros and rows at right angles, in every kind of set: whose couplings are zero is chance."""
    features = tg.FeatureDistribution(sets)
    rng = np.random.default_rng(seed)
    weights = np.zeros((4, 3))
    weights[np.arange(4), rng.integers(0, 3, 4)] = rng.choice([-1, 1], 4) * rng.uniform(0.4, 1.2, 4)
    weights[rng.random(4) < 0.3] = 0
    bias = rng.choice([-1, 1], 4) * rng.uniform(0.02, 0.3, 4)
    _, _, expected = truth(weights, bias, features, derivatives=2)
    np.testing.assert_allclose(hessian(weights, bias, features), expected, rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("sets", KINDS.values(), ids=KINDS)
def test_agrees_with_jax(sets):
    features = tg.FeatureDistribution(sets)
    weights, bias = models(features.n, 2, 1, seed=4)
    found = evaluate(weights, bias, features, order=2, tol=1e-6)
    other = _by_jax(weights, bias, [features], 2, 1e-6)
    off = np.linalg.norm(found.hessian[0] - other.hessian[0])
    assert off <= found.hessian_error[0] + other.hessian_error[0]
    assert off <= 1e-3 * max(1, np.linalg.norm(found.hessian[0]))


@pytest.mark.parametrize("frequencies", [1, 7, 40])
@pytest.mark.parametrize("features", [MIXED, PAIRS, tg.FeatureDistribution([tg.Independent(9, 0.2)])])
def test_is_the_derivative_of_the_gradient_at_a_frozen_scale(features, frequencies):
    weights, bias = models(features.n, 2, 1, seed=3)
    scale = 2 * (np.abs(weights @ weights.swapaxes(1, 2)).sum(2) + np.abs(bias))
    found = evaluated(weights, bias, features, frequencies=frequencies, scale=scale, curved=True)
    theta, size = np.concatenate([weights.ravel(), bias.ravel()]), weights.size
    moved = theta + 1e-5 * np.concatenate([np.eye(theta.size), -np.eye(theta.size)])
    w, b = moved[:, :size].reshape(-1, *weights.shape[1:]), moved[:, size:]
    slopes = evaluated(w, b, features, frequencies=frequencies, scale=np.tile(scale, (len(moved), 1))).gradient
    up, down = slopes.reshape(2, -1, theta.size)
    expected = hessian_in_parameters(weights[0], found.slopes[0], found.curvature[0])
    np.testing.assert_allclose((up - down) / 2e-5, expected, rtol=0, atol=2e-7 * np.abs(expected).max())


def test_one_feature_in_closed_form():
    """With z = w² x + b, b < 0 < w² + b and r = −b / w², E[(x − z₊)²] is a polynomial in w² and r."""
    p, w, b = 0.3, 0.9, -0.2
    a, r = w * w, 0.2 / 0.81
    # In (a, b): E[x_p x_q (1 + sign z − 2 x δ(z))], and slopes −2 E[(x − z₊) · step(z) · (x, 1)].
    above = [p * (1 - r ** (k + 1)) / (k + 1) for k in range(3)]
    inner = np.array([[2 * above[2], 2 * above[1]], [2 * above[1], 2 * above[0]]])
    inner -= 2 * p / a * np.array([[r**3, r**2], [r**2, r]])
    slope = 2 * ((a - 1) * above[2] + b * above[1])
    expected = np.array([[4 * a * inner[0, 0] + 2 * slope, 2 * w * inner[0, 1]], [2 * w * inner[0, 1], inner[1, 1]]])
    found = hessian(np.array([[w]]), np.array([b]), tg.FeatureDistribution([tg.Independent(1, p)]))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


def test_symmetric_in_every_bit():
    weights, bias = models(MIXED.n, 3, 5)
    found = evaluate(weights, bias, MIXED, order=2, tol=1e-5)
    np.testing.assert_array_equal(found.hessian, found.hessian.swapaxes(1, 2))


def test_models_do_not_influence_one_another():
    densities = [0.02, 0.3, 0.05, 0.5, 0.11, 0.9, 0.07, 0.2, 0.6, 0.04, 0.08]
    features = [
        tg.FeatureDistribution([tg.Correlated(2, p, [1, p]), tg.PartiallyCorrelated(3, p, 0.5), tg.Independent(2, p)])
        for p in densities
    ]
    features[4] = tg.FeatureDistribution([tg.Independent(7, 0.2)])
    weights, bias = models(7, 2, len(features), seed=2)
    weights[1, 3:] = 0
    weights[2] = np.eye(7, 2)
    bias[7] = -5
    bias[8] = 0
    together = evaluate(weights, bias, features, order=2, tol=1e-4, strict=False)
    threaded = evaluate(weights, bias, features, order=2, tol=1e-4, strict=False, threads=3)
    np.testing.assert_array_equal(together.hessian, threaded.hessian)
    np.testing.assert_array_equal(together.hessian_error, threaded.hessian_error)
    for run in range(len(features)):
        alone = evaluate(weights[[run]], bias[[run]], features[run], order=2, tol=1e-4, strict=False)
        np.testing.assert_array_equal(together.hessian[run], alone.hessian[0])
        np.testing.assert_array_equal(together.hessian_error[run], alone.hessian_error[0])


def test_the_highest_derivative_alone_may_be_asked_for():
    weights, bias = models(9, 3, 3)
    features = tg.FeatureDistribution([tg.Independent(9, 0.1)])
    fine = evaluate(weights, bias, features, order=2, tol=1e-7)
    found = evaluate(weights, bias, features, order=2, tol=1e-7, only_highest=True)
    assert (found.frequencies <= fine.frequencies).all()
    off = np.linalg.norm(found.hessian - fine.hessian, axis=(1, 2))
    assert (off <= found.hessian_error + fine.hessian_error).all()
    assert (found.hessian_error <= 1e-4 * np.maximum(1, np.linalg.norm(found.hessian, axis=(1, 2)))).all()
    assert (np.abs(found.loss - fine.loss) <= found.error + fine.error).all()


def test_a_corner_is_worth_its_jump():
    """With a bias of 0, or at the end of a feature's segment: either side is within the error."""
    features = tg.FeatureDistribution([tg.Independent(2, [0.3, 0.2], [2.0, 1.0])])
    weights = np.array([[0.9, 0.0], [0.0, 1.0]])
    for corner in (0.0, -0.81):
        found = evaluate(weights[None], np.array([[corner, -0.1]]), features, order=2, strict=False)
        for side in (-1e-7, 1e-7):
            beside = truth(weights, np.array([corner + side, -0.1]), features, derivatives=2)[2]
            assert np.linalg.norm(found.hessian[0] - beside) <= found.hessian_error[0] < 100
    constant = evaluate(np.zeros((1, 2, 2)), np.zeros((1, 2)), features, order=2, strict=False)
    assert constant.hessian_error[0] == np.inf


def test_it_stops_soon():
    features = tg.FeatureDistribution([tg.Independent(120, 0.05)])
    weights, bias = models(120, 2, 1, scale=0.2)
    evaluated(weights, bias, features, frequencies=8, curved=True)
    stop, ended = stopping.Stop(), []

    def work():
        with pytest.raises(stopping.Stopped):
            stopping._work(lambda: evaluated(weights, bias, features, frequencies=2**16, curved=True), stop)
        ended.append(time.perf_counter())

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.3)
    raised = time.perf_counter()
    assert thread.is_alive()
    stop.set()
    thread.join()
    assert ended[0] - raised < 0.5


def test_more_than_fits_is_refused(monkeypatch):
    monkeypatch.setenv("TEGUM_MEMORY_LIMIT", "200MB")
    weights, bias = models(120, 2, 1, scale=0.2)
    features = tg.FeatureDistribution([tg.Independent(120, 0.05)])
    evaluate(weights, bias, features, order=2, tol=1.0, strict=False)
    monkeypatch.setenv("TEGUM_MEMORY_LIMIT", "40MB")
    with pytest.raises(ValueError, match="Hessian"):
        evaluate(weights, bias, features, order=2, tol=1.0, strict=False)
