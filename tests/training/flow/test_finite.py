"""Gradient flow of the loss of a finite population, against an integration of the same gradient in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from scipy.integrate import solve_ivp

import tegum as tg
from tegum.core.population.kernel import xla_calls
from tegum.core.population.kernel.rows import listed_rows
from tegum.core.stopping import Stop
from tegum.training.flow import fields

RNG = np.random.default_rng(1)
ROWS = np.where(RNG.random((40, 3)) < 0.4, RNG.random((40, 3)), 0.0)
IMPORTANCE = np.array([1.0, 0.5, 2.0])
BOTH = ["explicit", "implicit"]


def spec(solver="explicit", x=ROWS, importance=tuple(IMPORTANCE), duration=5.0, **changes):
    training = tg.Flow(solver=solver, duration=duration, steps=10, rtol=1e-8, atol=1e-11)
    values = {"features": [tg.Empirical(x, importance)], "hidden": 2, "seeds": 3, "snapshots": 5}
    return tg.Spec(**values | {"training": training} | changes)


def slope(theta):
    """∂L/∂θ by hand."""
    weights, bias = theta[:6].reshape(3, 2), theta[6:]
    h = ROWS @ weights
    z = h @ weights.T + bias
    dz = 2 * IMPORTANCE * (np.maximum(z, 0) - ROWS) * (z > 0) / len(ROWS)
    return np.concatenate([(dz.T @ h + ROWS.T @ (dz @ weights)).ravel(), dz.sum(0)])


@pytest.fixture(scope="module")
def runs():
    return {solver: tg.train(spec(solver), threads=1) for solver in BOTH}


@pytest.mark.parametrize("solver", BOTH)
def test_the_flow_is_that_of_the_gradient(runs, solver):
    run = runs[solver]
    assert set(run.result.values) == {"completed"}
    assert run.gradient_error.values.max() < 1e-14
    for number in range(3):
        theta = np.concatenate([run.weights.values[number].reshape(6, 6), run.bias.values[number]], 1)
        # The gradient jumps where outputs begin: steps must be short for both.
        theirs = solve_ivp(
            lambda _, y: -slope(y), (0, 5), theta[0], "DOP853", run.time[0].values, rtol=1e-9, atol=1e-12, max_step=0.1
        )
        np.testing.assert_allclose(theta, theirs.y.T, atol=1e-6)
        exact = tg.population_loss(run.weights.values[number], run.bias.values[number], spec().features)
        np.testing.assert_allclose(run.loss[number], exact, rtol=1e-12)


def test_stiff_stretches_are_implicit_and_lead_to_the_same_end():
    """Along the valley that an importance far apart leaves, steps of the explicit solver are short."""
    ends = {}
    for solver in BOTH:
        *_, last = tg.iterate(spec(solver, importance=(1e3, 1.0, 1e-2), duration=200.0, seeds=1), threads=1)
        ends[solver] = last
    one, other = ends.values()
    assert other.state.second[0, 0] < one.state.second[0, 0] / 2
    np.testing.assert_allclose(other.state.bias, one.state.bias, atol=1e-4)
    np.testing.assert_allclose(other.recorded.loss[:, -1], one.recorded.loss[:, -1], rtol=1e-4)


@pytest.mark.quick_form  # It trains four times.
@pytest.mark.parametrize("solver", BOTH)
def test_bits_depend_on_the_spec_and_the_seed_alone(runs, solver):
    sparse = spec(solver, x=scipy.sparse.csr_matrix(ROWS), seeds=2)
    beside = spec(solver, features=[tg.Independent(3, 0.4)], seeds=2)
    other = tg.train([sparse, beside], threads=2)
    np.testing.assert_array_equal(other.weights[0], runs[solver].weights[:2])
    np.testing.assert_array_equal(other.loss[0], runs[solver].loss[:2])
    segments = list(tg.iterate(spec(solver), threads=1, segment_seconds=1e-9))
    assert len(segments) == 10
    state = type(segments[0].state).from_arrays(segments[3].state.arrays())
    for last in (segments[-1], list(tg.iterate(spec(solver), state, threads=2))[-1]):
        np.testing.assert_array_equal(last.recorded.weights[:, -1], runs[solver].weights[:, -1])


def test_the_hessian_is_that_of_finite_differences():
    theta = np.array([0.5, -0.4, 0.3, 0.8, -0.6, 0.2, 0.1, -0.05, 0.2])
    xla_calls.register_finite()
    population = xla_calls.Population(listed_rows(tg.Empirical(ROWS).data, 2, 0.0), IMPORTANCE, Stop())
    import jax

    with jax.enable_x64(True):
        found = fields.HESSIANS["finite"](theta, population.address, 0)
        moves = 1e-4 * np.eye(9)
        expected = np.stack([(slope(theta + move) - slope(theta - move)) / 2e-4 for move in moves])
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)
        with pytest.raises(jax.errors.JaxRuntimeError, match=f"INVALID_ARGUMENT: {xla_calls.FINITE_GRADIENT} takes"):
            fields.examine_finite(np.ones((2, 8)), population.address)


def test_a_raised_flag_ends_the_work():
    stop = Stop()
    stop.set()
    xla_calls.register_finite()
    population = xla_calls.Population(listed_rows(tg.Empirical(ROWS).data, 2, 0.0), IMPORTANCE, stop)
    import jax

    with jax.enable_x64(True):
        assert np.isnan(fields.examine_finite(np.full((2, 9), 0.3), population.address)[:, -1]).all()
