"""Gradient flow of the exact loss, against solutions by other means."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from reference.population_truth import truth
from scipy.integrate import solve_ivp

import tegum as tg
from tegum.training.flow import FlowEngine

PAIRS = [tg.Correlated(2, 0.1)] * 3
SHORT = {"duration": 20.0, "steps": 20, "accuracy": 1e-7}
BOTH = ["explicit", "implicit"]


def spec(solver="explicit", **changes):
    values = {"features": PAIRS, "hidden": 2, "seeds": 4, "snapshots": 5}
    training = tg.Flow(solver=solver, **SHORT)
    return tg.Spec(**values | {"training": training} | changes)


@pytest.fixture(scope="module")
def runs():
    return {solver: tg.train(spec(solver)) for solver in BOTH}


@pytest.mark.parametrize("solver", BOTH)
def test_a_small_model_follows_the_exact_gradient(solver):
    features = [tg.Independent(2, 0.3)]
    weights, bias = np.array([[0.5], [-0.4]]), np.array([0.05, 0.1])
    training = tg.Flow(solver=solver, duration=5.0, steps=5, rtol=1e-8, atol=1e-11)
    run = tg.train(tg.Spec(features=features, hidden=1, start=(weights, bias), training=training, snapshots=5))

    def field(_, y):
        return -truth(y[:2, None], y[2:], tg.FeatureDistribution(features), 1)[1]

    times = run.time[0].values
    expected = solve_ivp(field, (0, 5), [0.5, -0.4, 0.05, 0.1], "DOP853", times, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(run.weights[0, :, :, 0], expected.y[:2].T, atol=1e-6)
    np.testing.assert_allclose(run.bias[0], expected.y[2:].T, atol=1e-6)
    losses = [truth(y[:2, None], y[2:], tg.FeatureDistribution(features)) for y in expected.y.T]
    np.testing.assert_allclose(run.loss[0], losses, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("solver", BOTH)
def test_a_linear_model_of_one_feature_against_an_independent_integration(solver):
    # L = E[((g − 1) x + b)²], g = w², with E x = p/2 and E x² = p/3 (Saxe et al. 2014 have no bias).
    p = 0.5
    training = tg.Flow(solver=solver, duration=30.0, steps=10, rtol=1e-9, atol=1e-12)
    run = tg.train(
        tg.Spec(
            features=[tg.Independent(1, p)],
            hidden=1,
            activation="linear",
            start=([[0.1]], [0.0]),
            training=training,
            snapshots=10,
        )
    )

    def field(_, y):
        w, b = y
        off = w * w - 1
        return [-(2 * off * p / 3 + b * p) * 2 * w, -(2 * off * p / 2 + 2 * b)]

    expected = solve_ivp(field, (0, 30), [0.1, 0.0], "DOP853", run.time[0].values, rtol=1e-11, atol=1e-13).y
    np.testing.assert_allclose(run.weights[0, :, 0, 0], expected[0], atol=1e-7)
    np.testing.assert_allclose(run.bias[0, :, 0], expected[1], atol=1e-7)


def test_both_solvers_agree(runs):
    one, other = runs.values()
    np.testing.assert_allclose(one.weights, other.weights, atol=2e-4)
    np.testing.assert_allclose(one.bias, other.bias, atol=2e-4)
    np.testing.assert_allclose(one.loss, other.loss, atol=2e-6)


@pytest.mark.parametrize("solver", BOTH)
def test_the_loss_falls_and_times_are_those_asked_for(runs, solver):
    run = runs[solver]
    assert (np.diff(run.loss, axis=1) < 1e-9).all()
    np.testing.assert_array_equal(run.time[0], [0, 4, 8, 12, 16, 20])
    assert run.time.shape == (4, 6)
    assert run.weights.dtype == np.float64
    assert list(run.result.values) == ["completed"] * 4


@pytest.mark.slow
def test_the_loss_falls_by_the_integral_of_the_squared_gradient():
    from tegum.core.population import evaluate

    run = tg.train(spec(seeds=1, snapshots=100, training=tg.Flow(solver="explicit", **SHORT | {"steps": 100})))
    found = evaluate(run.weights[0].values, run.bias[0].values, spec().features, order=1, tol=1e-7, strict=False)
    squares = (found.gradient**2).sum(1)
    # Simpson's rule over pairs of intervals of length 1/5.
    integral = (squares[:-2:2] + 4 * squares[1:-1:2] + squares[2::2]).sum() / 15
    np.testing.assert_allclose(run.loss[0, 0] - run.loss[0, -1], integral, rtol=1e-3)


@pytest.mark.slow
def test_descent_of_small_rate_converges_to_the_flow_at_first_order(runs):
    from tegum.core.population_kernel import value_and_gradient

    gaps = []
    for steps in (100, 200):
        weights, bias = runs["explicit"].weights[:, 0].values, runs["explicit"].bias[:, 0].values
        for _ in range(steps):
            _, along_w, along_b, _ = value_and_gradient(weights, bias, spec().features, frequencies=256)
            weights, bias = weights - 4 / steps * along_w, bias - 4 / steps * along_b
        gaps.append(np.abs(weights - runs["explicit"].weights[:, 1].values).max())
    assert gaps[0] < 0.04
    assert 1.8 < gaps[0] / gaps[1] < 2.2


@pytest.mark.parametrize("solver", BOTH)
def test_bits_depend_on_the_spec_and_the_seed_alone(runs, solver):
    whole = runs[solver]
    other = tg.train([spec(solver, seeds=3), spec(solver, seeds=3, base_seed=1)], threads=2)
    np.testing.assert_array_equal(other.weights[0], whole.weights[:3])
    alone = tg.train(spec(solver, seeds=1), threads=1)
    np.testing.assert_array_equal(alone.weights[0], whole.weights[0])
    segments = list(tg.iterate(spec(solver), segment_seconds=1e-9))
    assert len(segments) == 20
    np.testing.assert_array_equal(segments[-1].recorded.weights[:, -1], whole.weights[:, -1])
    state = type(segments[0].state).from_arrays(segments[7].state.arrays())
    *_, last = tg.iterate(spec(solver), state)
    np.testing.assert_array_equal(last.recorded.weights[:, -1], whole.weights[:, -1])
    np.testing.assert_array_equal(last.recorded.loss[:, -1], whole.loss[:, -1])
    assert dataclasses.asdict(last.state)["second"].tolist() == segments[-1].state.second.tolist()


@pytest.mark.slow
def test_a_plateau_costs_an_implicit_solver_few_steps():
    taken = {}
    for solver in BOTH:
        training = tg.Flow(solver=solver, duration=20_000, steps=4, accuracy=1e-6)
        features = [tg.Correlated(3, 0.05)] * 2
        still = spec(solver, features=features, hidden=3, initial_scale=0.01, seeds=1, training=training, snapshots=1)
        *_, last = tg.iterate(still)
        taken[solver] = last.state.second[0, 0]
        assert last.state.diverged_at[0] == -1
    # A step costs about 15 evaluations and a matrix of slopes, or 6 evaluations.
    assert taken["implicit"] < taken["explicit"] / 10


@pytest.mark.parametrize("solver", BOTH)
def test_a_critical_point_is_left_nowhere_and_at_once(solver):
    training = tg.Flow(solver=solver, duration=1e9, steps=20, accuracy=1e-7)
    still = spec(solver, start=np.zeros((6, 2)), training=training)
    *_, last = tg.iterate(still)
    np.testing.assert_array_equal(last.recorded.weights[:, -1], np.zeros((4, 6, 2)))
    np.testing.assert_array_equal(last.state.second, [[20, 0]] * 4)


def test_a_run_without_a_finite_loss_has_diverged_and_others_go_on(runs):
    start = np.stack([np.full((6, 2), 1e200), *runs["explicit"].weights[1:, 0].values])
    with pytest.raises(ValueError, match="at most 1e30"):
        spec(start=start)
    engine = FlowEngine([spec()], 1)
    with engine:
        state = engine.start()
        state.weights[0] = 1e200
        state, recorded = engine.advance(state, 20, np.array([0, 4, 8, 12, 16, 20]))
    np.testing.assert_array_equal(state.diverged_at, [0, -1, -1, -1])
    assert np.isnan(recorded.loss[0]).all()
    assert np.isnan(recorded.weights[0]).all()
    np.testing.assert_array_equal(recorded.weights[1:, -1], runs["explicit"].weights[1:, -1])


def test_legs_end_at_snapshots_and_hundredths():
    engine = FlowEngine([spec(training=tg.Flow(steps=1000), snapshots=[0, 13, 999])])
    assert [engine.stop_at(step) for step in (0, 1, 10, 11, 14, 991, 2000)] == [0, 10, 10, 13, 20, 999, 1000]


def test_the_kernel_is_not_handed_single_precision():
    import jax.numpy as jnp

    from tegum.training.integrate import examine

    with pytest.raises(TypeError, match="the kernel takes float64, not float32"):
        examine(jnp.zeros((8, 3)), jnp.zeros(1, int))
