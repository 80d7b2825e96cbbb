"""Training on the exact loss of a finite population, against loops and solvers on the same loss in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import minimize

import tegum as tg

RNG = np.random.default_rng(1)
ROWS = np.where(RNG.random((50, 5)) < 0.4, RNG.random((50, 5)), 0.0)
OTHERS = np.where(RNG.random((70, 5)) < 0.2, RNG.random((70, 5)), 0.0)
TOLERANCE = 1e-9


def spec(training=None, x=ROWS, importance=1.0, **changes):
    values = {"features": [tg.Empirical(x, importance)], "hidden": 2, "snapshots": 4, "seeds": 4}
    return tg.Spec(**values | {"training": training or tg.Exact(steps=1000)} | changes)


def loss(theta, x=ROWS, m=2, importance=1.0):
    """The mean over rows and its gradient by hand."""
    n = x.shape[1]
    weights, bias = theta[:-n].reshape(n, m), theta[-n:]
    h = x @ weights
    error = np.maximum(h @ weights.T + bias, 0) - x
    slope = 2 * importance * error * (h @ weights.T + bias > 0) / len(x)
    gradient = np.concatenate([(slope.T @ h + x.T @ (slope @ weights)).ravel(), slope.sum(0)])
    return (importance * error**2).sum() / len(x), gradient


def parameters(run, number, step):
    return np.concatenate([run.weights.values[number, step].ravel(), run.bias.values[number, step]])


def recorded(several, state=None, **options):
    """The last state, and all that was recorded, one segment after the other."""
    segments = list(tg.iterate(several, state, **options))
    values = [
        np.concatenate([getattr(each.recorded, name) for each in segments], 1) for name in ("weights", "bias", "loss")
    ]
    return segments, values


def assert_same(one, other, runs=slice(None)):
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(ours[runs], theirs)


@pytest.fixture(scope="module")
def converged():
    return tg.train(spec(seeds=12), threads=1)


def test_runs_converge_to_where_the_gradient_vanishes(converged):
    assert set(converged.result.values) == {"converged"}
    for number in range(12):
        value, gradient = loss(parameters(converged, number, -1))
        assert np.linalg.norm(gradient) <= 1.05 * TOLERANCE
        assert float(converged.loss[number, -1]) == pytest.approx(value, rel=1e-12)


def test_an_end_is_the_one_that_scipy_finds(converged):
    """From starts beside optima, from which there is one way down."""
    near = [parameters(converged, number, -1) + 0.003 * RNG.standard_normal(15) for number in range(4)]
    start = np.stack([each[:10].reshape(5, 2) for each in near]), np.stack([each[10:] for each in near])
    run = tg.train(spec(start=start), threads=1)
    assert set(run.result.values) == {"converged"}
    for number, begin in enumerate(near):
        np.testing.assert_array_equal(parameters(run, number, 0), begin)
        theirs = minimize(loss, begin, jac=True, method="BFGS", options={"gtol": 1e-9})
        assert float(run.loss[number, -1]) == pytest.approx(theirs.fun, abs=1e-13)
        weights, bias = theirs.x[:10].reshape(5, 2), theirs.x[10:]
        ours = run.weights.values[number, -1]
        # Up to rotations of hidden space, which the loss does not see.
        np.testing.assert_allclose(ours @ ours.T, weights @ weights.T, atol=1e-6)
        np.testing.assert_allclose(run.bias.values[number, -1], bias, atol=1e-6)


def test_with_room_for_all_features_the_loss_is_zero():
    """On a corner, where all outputs are at 0 in the rows in which their features are not active."""
    run = tg.train(spec(hidden=6, seeds=8, snapshots=1), threads=1)
    assert set(run.result.values) == {"converged"}
    assert run.loss.values[:, -1].max() < 1e-16


def test_adam_is_adamw_on_the_exact_gradient():
    steps, rate, decay, beta1, beta2, eps = 60, 0.02, 0.02, 0.8, 0.95, 1e-6
    training = tg.Exact(
        optimiser="adam", steps=steps, rate=rate, weight_decay=decay, betas=(beta1, beta2), eps=eps
    )  # fmt: skip
    importance = (1.0, 0.5, 2.0, 1.0, 0.1)
    run = tg.train(spec(training, importance=importance, snapshots=steps), threads=1)
    for number in range(4):
        theta, first, second = parameters(run, number, 0), np.zeros(15), np.zeros(15)
        for step in range(1, steps + 1):
            value, gradient = loss(theta, importance=np.array(importance))
            assert float(run.loss[number, step - 1]) == pytest.approx(value, rel=1e-9)
            theta = theta * (1 - rate * decay)
            first = beta1 * first + (1 - beta1) * gradient
            second = beta2 * second + (1 - beta2) * gradient**2
            theta = theta - rate * (first / (1 - beta1**step)) / (np.sqrt(second / (1 - beta2**step)) + eps)
        np.testing.assert_allclose(parameters(run, number, -1), theta, atol=1e-10)


def test_gradient_descent_has_momentum_and_coupled_decay():
    steps, rate, decay, momentum = 60, 0.2, 0.01, 0.7
    training = tg.Exact(optimiser="gd", steps=steps, rate=rate, weight_decay=decay, momentum=momentum)
    run = tg.train(spec(training, x=OTHERS, snapshots=1), threads=1)
    theta, velocity = parameters(run, 2, 0), np.zeros(15)
    for _ in range(steps):
        velocity = momentum * velocity + loss(theta, OTHERS)[1] + decay * theta
        theta = theta - rate * velocity
    np.testing.assert_allclose(parameters(run, 2, -1), theta, atol=1e-10)
    # Nothing but rounding in the noiseless trajectory's own loss, computed along another way.
    np.testing.assert_allclose(tg.population_loss_along(run, progress=False), run.loss, rtol=1e-12)


@pytest.mark.parametrize("options", [{}, {"optimiser": "adam", "rate": 0.01}, {"optimiser": "gd", "rate": 0.1}])
def test_bits_depend_on_spec_and_seed_alone(options):
    """Beside other matrices, other importances and a distribution with a series; however it is cut."""
    training = tg.Exact(steps=130, accuracy=1e-4, **options)
    several = [
        spec(training, seeds=3),
        spec(training, seeds=3, x=OTHERS),
        spec(training, seeds=3, importance=0.5),
        spec(training, seeds=3, features=[tg.Independent(5, density=0.3)]),
    ]
    _, whole = recorded(several, threads=1)
    segments, cut = recorded(several, threads=2, segment_seconds=1e-9)
    assert len(segments) > 10
    assert_same(cut, whole)
    state = type(segments[0].state).from_arrays(segments[4].state.arrays())
    _, rest = recorded(several, state, threads=1)
    np.testing.assert_array_equal(rest[0][:, -1], whole[0][:, -1])
    for number, each in enumerate(several):
        _, alone = recorded(each.replace(seeds=2), threads=1)
        assert_same(whole, alone, slice(3 * number, 3 * number + 2))


def test_a_sparse_matrix_trains_as_the_dense_one():
    dense = tg.train(spec(), threads=1)
    sparse = tg.train(spec(x=scipy.sparse.csc_matrix(ROWS)), threads=1)
    np.testing.assert_array_equal(sparse.weights, dense.weights)


def test_a_run_that_cannot_converge_stops_and_does_not_say_that_it_has():
    run = tg.train(spec(tg.Exact(gradient_tolerance=1e-30, steps=100_000)), threads=1)
    assert list(run.result.values) == ["completed"] * 4
    assert list(run.converged_at.values) == [-1] * 4
    np.testing.assert_array_equal(run.weights[:, 1], run.weights[:, -1])
    for number in range(4):
        assert np.linalg.norm(loss(parameters(run, number, -1))[1]) < 1e-12


def test_a_start_without_weights_is_where_training_ends():
    """No output is let through, so that nothing has a gradient: a critical point by the convention of the ReLU."""
    run = tg.train(spec(start=np.zeros((5, 2)), seeds=1), threads=1)
    assert int(run.converged_at[0]) == 0
    np.testing.assert_allclose(run.loss[0], (ROWS**2).sum(1).mean(), rtol=1e-14)


def test_a_run_that_diverges_is_marked_while_others_go_on():
    calm = tg.Exact(optimiser="gd", steps=60, rate=1e-3)
    run = tg.train([spec(calm), spec(calm.replace(rate=1e30))], threads=1)
    assert list(run.result.values[0]) == ["completed"] * 4
    assert list(run.result.values[1]) == ["diverged"] * 4
    np.testing.assert_array_equal(run.weights[0], tg.train(spec(calm), threads=1).weights)


def test_a_linear_model_finds_the_principal_components_of_its_rows():
    """What is left is the variance along the others; rows beside other sets have no covariance with them."""
    training = tg.Exact(steps=2000)
    alone = tg.train(spec(training, activation="linear", snapshots=1), threads=1)
    assert set(alone.result.values) == {"converged"}
    left = np.linalg.eigvalsh(np.cov(ROWS.T, bias=True))[:3].sum()
    np.testing.assert_allclose(alone.loss.values[:, -1], left, rtol=1e-9)
    sets = [tg.Independent(1, 0.5), tg.Empirical(ROWS), tg.Equivariant(3, 0.2, 0.8)]
    beside = tg.train(spec(training, features=sets, activation="linear", snapshots=1), threads=1)
    covariance = np.zeros((9, 9))
    covariance[0, 0] = 0.5 / 3 - 0.25**2
    covariance[1:6, 1:6] = np.cov(ROWS.T, bias=True)
    odd = tg.FeatureDistribution(sets[2:])
    covariance[6:, 6:] = odd.second_moment() - np.outer(odd.first_moment(), odd.first_moment())
    left = np.linalg.eigvalsh(covariance)[:7].sum()
    np.testing.assert_allclose(beside.loss.values[:, -1], left, rtol=1e-9)
