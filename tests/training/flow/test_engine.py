"""Gradient flow of the exact loss, against solutions by other means."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from reference.population_truth import truth
from scipy.integrate import solve_ivp

import tegum as tg
from tegum.core.population.evaluate import evaluate
from tegum.core.population.kernel.evaluate import value_and_gradient
from tegum.training.flow.engine import FlowEngine

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
    run = tg.train(spec(seeds=1, snapshots=100, training=tg.Flow(solver="explicit", **SHORT | {"steps": 100})))
    found = evaluate(run.weights[0].values, run.bias[0].values, spec().features, order=1, tol=1e-7, strict=False)
    squares = (found.gradient**2).sum(1)
    # Simpson's rule over pairs of intervals of length 1/5.
    integral = (squares[:-2:2] + 4 * squares[1:-1:2] + squares[2::2]).sum() / 15
    np.testing.assert_allclose(run.loss[0, 0] - run.loss[0, -1], integral, rtol=1e-3)


@pytest.mark.slow
def test_descent_of_small_rate_converges_to_the_flow_at_first_order(runs):
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
    np.testing.assert_array_equal(last.state.second[:, :2], [[20, 0]] * 4)


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


def test_legs_end_at_snapshots_and_fiftieths():
    engine = FlowEngine([spec(training=tg.Flow(steps=1000), snapshots=[0, 13, 999])])
    assert [engine.stop_at(step) for step in (0, 1, 20, 11, 14, 991, 2000)] == [0, 13, 20, 13, 20, 999, 1000]


def test_the_kernel_is_not_handed_single_precision():
    import jax.numpy as jnp

    from tegum.training.flow.fields import examine

    with pytest.raises(TypeError, match="the kernel takes float64, not float32"):
        examine(jnp.zeros((8, 3)), jnp.zeros(1, int))


ESCAPES = {"features": [tg.Correlated(3, 0.1)] * 2, "hidden": 3, "initial_scale": 0.01}
"""Starts near a saddle: escapes, jumps, and then plateaus on which explicit steps are limited by stability."""


@pytest.mark.parametrize("solver", BOTH)
def test_a_linear_model_follows_logistic_curves(solver):
    # Features in pairs (1, 1) and (2, 2) of equal densities: u = (1, -1)/√2 of a pair is an eigenvector of E[x xᵀ] with
    # E[x]·u = 0 and the eigenvalue c = var x. From W = [s u, …] and b = E[x], each s² grows as in Saxe et al. 2014,
    # ds/dt = 4 c s (1 − s²), and b stays. So s² = 1 / (1 + (1/s₀² − 1) exp(−8ct)).
    densities = np.array([0.5, 0.2])
    modes = np.array([[1, -1, 0, 0], [0, 0, 1, -1]]).T / np.sqrt(2)
    start = 0.01 * modes, np.repeat(densities / 2, 2)
    training = tg.Flow(solver=solver, duration=40.0, steps=10, rtol=1e-9, atol=1e-12)
    features = [tg.Independent(2, density) for density in densities.tolist()]
    run = tg.train(
        tg.Spec(features=features, hidden=2, activation="linear", start=start, training=training, snapshots=10)
    )
    variances = densities / 3 - densities**2 / 4
    squares = 1 / (1 + (1e4 - 1) * np.exp(-8 * variances * run.time[0].values[:, None]))
    assert squares[-1].min() > 0.9
    expected = np.sqrt(squares)[:, None] * modes
    np.testing.assert_allclose(run.weights[0], expected, atol=2e-7)
    np.testing.assert_allclose(run.bias[0], np.tile(start[1], (11, 1)), atol=2e-7)
    assert 0 < run.gradient_error[0] < 1e-12


@pytest.fixture(scope="module")
def escapes():
    training = {"duration": 1000.0, "steps": 40, "accuracy": 1e-6}
    segments = {
        solver: list(tg.iterate(spec(training=tg.Flow(solver=solver, **training), snapshots=40, **ESCAPES)))
        for solver in BOTH
    }
    weights = {key: np.concatenate([each.recorded.weights for each in found], 1) for key, found in segments.items()}
    bias = {key: np.concatenate([each.recorded.bias for each in found], 1) for key, found in segments.items()}
    return weights, bias, {solver: found[-1].state for solver, found in segments.items()}


def test_the_exact_loss_never_rises_over_escapes_from_saddles(escapes):
    weights, bias, _ = escapes
    for solver in BOTH:
        loss = tg.population_loss(weights[solver], bias[solver], spec(**ESCAPES).features, tol=1e-9)
        falls = -np.diff(loss, axis=1)
        # Both losses are exact to 1e-9.
        assert falls.min() > -2e-9
        # After the first fall: a plateau, an escape from it that is faster by far, and another plateau.
        fastest = falls[:, 2:].max(1)
        assert (fastest > 3 * falls[:, 1:3].min(1)).all()
        assert (fastest > 100 * falls[:, -1]).all()


def test_implicit_steps_lead_where_explicit_ones_do(escapes):
    weights, bias, states = escapes
    np.testing.assert_allclose(weights["implicit"], weights["explicit"], atol=1e-3)
    np.testing.assert_allclose(bias["implicit"], bias["explicit"], atol=1e-3)
    taken = {solver: state.second[:, 0].sum() for solver, state in states.items()}
    assert taken["implicit"] < 0.95 * taken["explicit"]


@pytest.mark.parametrize("solver", BOTH)
def test_a_run_has_the_same_bits_alone_and_among_others(solver):
    training = tg.Flow(solver=solver, duration=1500.0, steps=6, accuracy=1e-4, rtol=1e-4, atol=1e-7)
    many = tg.train(spec(training=training, snapshots=3, seeds=9, **ESCAPES))
    for run in (3, 8):
        start = many.weights[run, 0].values, many.bias[run, 0].values
        changes = {name: value for name, value in ESCAPES.items() if name != "initial_scale"}
        alone = tg.train(spec(training=training, snapshots=3, seeds=1, start=start, **changes))
        np.testing.assert_array_equal(alone.weights[0], many.weights[run])
        np.testing.assert_array_equal(alone.bias[0], many.bias[run])
        np.testing.assert_array_equal(alone.gradient_error[0], many.gradient_error[run])


def _gradient_on_a_circle(y, n, density, width):
    """∂L/∂(W, b) for one hidden dimension: x = a κ(θ − θ_i), averaged over angles θ, and exactly over a in [0, 1]."""
    w, b = y[:n], y[n:]
    theta = 2 * np.pi * (np.arange(8192) + 0.5) / 8192
    kappa = np.exp((np.cos(theta[:, None] - 2 * np.pi * np.arange(n) / n) - 1) / width**2)
    reach = (kappa @ w)[:, None] * w
    # z = b + a r is positive for a in [low, high]; polynomials of degree 3 there, so two nodes are exact.
    with np.errstate(divide="ignore", invalid="ignore"):
        zero = np.clip(np.nan_to_num(-b / reach), 0, 1)
    low = np.where(reach > 0, zero, 0.0)
    high = np.where(reach < 0, zero, np.where((reach == 0) & (b <= 0), 0.0, 1.0))
    through, lift = np.zeros((n, n)), np.zeros(n)
    for node in (-1, 1):
        a = (low + high) / 2 + node * (high - low) / np.sqrt(12)
        pull = 2 * (b + a * reach - a * kappa) * (high - low) / 2
        through += (pull * a).T @ kappa
        lift += pull.sum(0)
    # With nothing active x = 0, and every positive bias costs its square.
    idle = 2 * (1 - density) * np.maximum(b, 0)
    return np.concatenate([density / 8192 * (through + through.T) @ w, density / 8192 * lift + idle])


@pytest.mark.slow
def test_equivariant_features_follow_their_gradient():
    density, width, n = 0.6, 1.0, 2
    weights, bias = np.array([[0.7], [-0.3]]), np.array([0.05, 0.1])
    training = tg.Flow(solver="explicit", duration=2.0, steps=1, accuracy=1e-3, rtol=1e-4, atol=1e-6)
    features = [tg.Equivariant(n, density, width)]
    run = tg.train(tg.Spec(features=features, hidden=1, start=(weights, bias), training=training, snapshots=1))

    def field(_, y):
        return -_gradient_on_a_circle(y, n, density, width)

    start = np.concatenate([weights[:, 0], bias])
    expected = solve_ivp(field, (0, 2), start, "DOP853", run.time[0].values, rtol=1e-9, atol=1e-12).y
    np.testing.assert_allclose(run.weights[0, :, :, 0], expected[:n].T, atol=2e-4)
    np.testing.assert_allclose(run.bias[0], expected[n:].T, atol=2e-4)
    assert 0 < run.gradient_error[0] < 5e-3


def test_an_accuracy_that_was_not_reached_is_told(runs):
    assert runs["explicit"].gradient_error.dims == ("seed",)
    assert (runs["explicit"].gradient_error > 0).all()
    assert (runs["explicit"].gradient_error < 1e-6).all()
    # Features that are hardly coupled, and biases of nearly zero: a corner that no number of frequencies shows.
    rng = np.random.default_rng(0)
    weights, bias = np.eye(6, 2) + 1e-5 * rng.normal(size=(6, 2)), 1e-5 * rng.normal(size=6)
    training = tg.Flow(solver="explicit", duration=1e-6, steps=1, accuracy=1e-9)
    run = tg.train(spec(start=(weights, bias), seeds=1, training=training, snapshots=1))
    features = spec().features
    fine = value_and_gradient(weights[None], bias[None], features, frequencies=2**17)
    most = value_and_gradient(weights[None], bias[None], features, frequencies=2**12)
    off = max(np.abs(fine[1] - most[1]).max(), np.abs(fine[2] - most[2]).max())
    assert off > 1e-6
    assert off / 2 < run.gradient_error[0] < 10 * off
    assert run.result[0] == "completed"


def test_the_kernel_refuses_buffers_of_other_sizes():
    import jax
    import jax.numpy as jnp

    from tegum.core.population.kernel import tables as population_tables
    from tegum.core.population.kernel.xla_calls import GRADIENT, SLOPES, RunBlock, register

    register()
    group = population_tables.groups([spec().features], np.zeros(1, int), 2)[0]
    columns = [group.tables.reshape(-1, 8)[:, 0]]
    block = RunBlock(group.plan, columns, 32, 32)
    with pytest.raises(ValueError, match="must be 1 to 8 columns of shape"):
        RunBlock(group.plan, [columns[0][1:]], 32, 32)

    def call(name, result, *arguments):
        out = jax.ShapeDtypeStruct(result, np.float64)
        return np.asarray(jax.jit(lambda *given: jax.ffi.ffi_call(name, out)(*given))(*arguments))

    address, zero = block.address, np.int64(0)
    with jax.enable_x64(True):
        assert call(GRADIENT, (8, 20), np.ones((8, 18)), address).shape == (8, 20)
        assert call(SLOPES, (18, 18), np.ones(18), address, zero).shape == (18, 18)
        for result, *arguments in (
            [(8, 20), np.ones((8, 17)), address],
            [(7, 20), np.ones((7, 18)), address],
            [(8, 18), np.ones((8, 18)), address],
            [(8, 20), np.ones((8, 18), np.float32), address],
            [(8, 20), np.ones(144), address],
            [(8, 20), np.ones((8, 18)), address.astype(np.float64)],
            [(8, 20), np.ones((8, 18)), 0 * address],
            [(8, 20), np.ones((8, 18)), np.repeat(address, 8)],
            [(8, 20), np.ones((8, 18))],
        ):
            with pytest.raises(jax.errors.JaxRuntimeError, match=f"INVALID_ARGUMENT: {GRADIENT} takes the parameters"):
                call(GRADIENT, result, *arguments)
        for result, *arguments in (
            [(18, 18), np.ones(17), address, zero],
            [(18, 17), np.ones(18), address, zero],
            [(18, 18), np.ones((1, 18)), address, zero],
            [(18, 18), np.ones(18), address, zero + 8],
            [(18, 18), np.ones(18), address, zero - 1],
            [(18, 18), np.ones(18), address, np.int32(0)],
            [(18, 18), jnp.ones(18, np.float32), address, zero],
            [(18, 18), np.ones(18), address],
        ):
            with pytest.raises(jax.errors.JaxRuntimeError, match=f"INVALID_ARGUMENT: {SLOPES} takes the parameters"):
                call(SLOPES, result, *arguments)


def test_the_slopes_of_a_gradient_are_those_of_the_run_in_its_lane():
    import jax

    from tegum.core.population.kernel import tables as population_tables
    from tegum.core.population.kernel.xla_calls import SLOPES, RunBlock, register

    register()
    distributions = [tg.FeatureDistribution([tg.Correlated(3, 0.1 + 0.1 * lane)]) for lane in range(8)]
    group = population_tables.groups(distributions, np.arange(8), 2)[0]
    block = RunBlock(group.plan, list(group.tables.reshape(-1, 8).T), 512, 512)
    theta = np.random.default_rng(0).normal(size=9) / 2
    with jax.enable_x64(True):
        for lane in (0, 5):
            found = jax.ffi.ffi_call(SLOPES, jax.ShapeDtypeStruct((9, 9), np.float64))(
                theta, block.address, np.int64(lane)
            )
            weights, bias = theta[None, :6].reshape(1, 3, 2), theta[None, 6:]
            expected = evaluate(weights, bias, distributions[lane], order=2, tol=1e-9).hessian[0]
            np.testing.assert_allclose(found, expected, atol=2e-5)
