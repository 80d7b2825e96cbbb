"""The fused kernel: what it samples, its gradient, its optimisers, and that its bits depend on nothing else."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import kstest, norm

import tegum as tg
from tegum.core.loss.empirical import empirical_gradient, empirical_loss
from tegum.training.sampled.cpu import KernelEngine

NOTHING = np.zeros(0, np.int64)

DISTRIBUTIONS = {
    # Few patterns: binomial count and alias table.
    "pairs": [tg.Correlated(2, 0.05)] * 3,
    "dense pairs": [tg.Correlated(2, 0.6)] * 3,
    "one feature": [tg.Independent(1, 0.3)],
    "one certain feature": [tg.Correlated(1, 1.0)],
    "mixed, few": [tg.Independent(3, [0.01, 0.5, 1.0]), tg.Anticorrelated(3, 0.4), tg.PartiallyCorrelated(3, 0.2, 0.5)],
    # Many patterns: drawn densely, by comparisons (few components) or gathers (many).
    "independent": [tg.Independent(20, 0.05)],
    "unequal": [tg.Independent(33, np.linspace(0.01, 1, 33))],
    "large sets": [tg.Correlated(10, 0.1), tg.PartiallyCorrelated(15, 0.2, 0.7), tg.Anticorrelated(12, 0.9)],
    # Few values that are not zero, and with eight hidden units and more listed as pairs.
    "sparse": [tg.Independent(61, 0.03), tg.Correlated(20, 0.02)],
    "nested": [tg.Correlated(6, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), tg.Independent(30, 0.3)],
}


def spec(features, hidden=2, **settings):
    training = {"steps": 50, **settings.pop("training", {})}
    return tg.Spec(features=features, hidden=hidden, training=tg.Sampled(**training), **settings)


def advance(engine, state, stop):
    return engine.advance(state, stop, NOTHING)[0]


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_samples_have_the_exact_moments(name):
    features = tg.FeatureDistribution(DISTRIBUTIONS[name])
    x = KernelEngine([spec(features, training={"batch": 1000})]).batches(0, 200).reshape(-1, features.n).astype(float)
    count = len(x)
    active = x > 0
    # Squares and products of features in [0, 1]: their standard deviations come from the sample itself.
    second = x.T @ x / count
    fourth = (x**2).T @ (x**2) / count
    deviation = np.sqrt(np.maximum(fourth - second**2, 1e-12) / count)
    z_second = (second - features.second_moment()) / deviation
    p = features.density
    z_active = (active.mean(0) - p)[p < 1] / np.sqrt(p * (1 - p) / count)[p < 1]
    # Bonferroni at 1e-6 over all comparisons.
    bound = norm.isf(1e-6 / (2 * (z_second.size + z_active.size + 1)))
    assert np.abs(z_second).max() < bound
    assert (active.mean(0) == 1)[p == 1].all()
    if z_active.size:
        assert np.abs(z_active).max() < bound


@pytest.mark.parametrize("name", ["pairs", "mixed, few", "independent", "large sets"])
def test_active_magnitudes_are_uniform(name):
    x = KernelEngine([spec(DISTRIBUTIONS[name])]).batches(0, 40)
    assert kstest(x[x > 0], "uniform").pvalue > 1e-4
    assert x.max() <= 1


def test_batches_vary_in_how_many_samples_are_active_as_a_binomial_number_does():
    batches = KernelEngine([spec([tg.Correlated(2, 0.05)] * 3)]).batches(0, 2000)
    counts = (batches > 0).any(2).sum(1)
    p = 1 - 0.95**3
    assert abs(counts.mean() - 1024 * p) / np.sqrt(1024 * p * (1 - p) / 2000) < 5
    # The variance of a sample variance is close to 2 σ⁴ / N.
    assert abs(counts.var() / (1024 * p * (1 - p)) - 1) < 5 * np.sqrt(2 / 2000)


@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("hidden", [1, 2, 5, 20])
@pytest.mark.parametrize("name", ["pairs", "mixed, few", "unequal", "large sets", "one feature", "sparse"])
def test_gradient_of_the_training_batch_agrees_with_the_closed_form_in_double_precision(name, hidden, activation):
    features = tg.FeatureDistribution(DISTRIBUTIONS[name])
    features = features.replace(sets=[each.replace(importance=0.3 + k) for k, each in enumerate(features.sets)])
    rng = np.random.default_rng(1)
    weights, bias = rng.normal(size=(features.n, hidden)), 0.2 * rng.normal(size=features.n)
    # An odd batch has lanes that must count for nothing.
    one = spec(
        features, hidden, activation=activation, start=(weights, bias), seeds=2,
        training={"optimiser": "sgd", "batch": 1001},
    )  # fmt: skip
    with KernelEngine([one]) as engine:
        state = advance(engine, engine.start(), 1)
        x = engine.batches(1, 1)[0]
    expected = empirical_gradient(weights.astype("f"), bias.astype("f"), x, features.importance, activation)
    expected = np.concatenate([expected[0].ravel(), expected[1]])
    # SGD's momentum after one step is the gradient itself.
    np.testing.assert_allclose(state.first[1], expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_gradient_agrees_with_finite_differences_of_the_loss():
    features = tg.FeatureDistribution([tg.PartiallyCorrelated(4, 0.3, 0.5), tg.Independent(2, 0.4)])
    rng = np.random.default_rng(2)
    weights, bias = rng.normal(size=(6, 2)).astype("f"), 0.3 * rng.normal(size=6).astype("f")
    one = spec(features, start=(weights, bias), training={"optimiser": "sgd"})
    with KernelEngine([one]) as engine:
        gradient = advance(engine, engine.start(), 1).first[0]
        x = engine.batches(0, 1)[0]

    parameters = np.concatenate([weights.ravel(), bias]).astype(float)
    for k in range(len(parameters)):
        ends = []
        for sign in (1, -1):
            moved = parameters.copy()
            moved[k] += sign * 1e-5
            ends.append(empirical_loss(moved[:12].reshape(6, 2), moved[12:], x, features.importance))
        # Few of 1,024 samples cross the kink within 1e-5.
        assert gradient[k] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=2e-3, abs=2e-4)


@pytest.mark.parametrize(
    ("settings", "optimiser"),
    [
        ({}, optax.adamw(1e-3, weight_decay=0.01)),
        (
            {"rate": 0.02, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1},
            optax.adamw(0.02, b1=0.8, b2=0.95, eps=1e-4, weight_decay=0.1),
        ),
        (
            {"rate": 0.01, "schedule": "cosine", "warmup": 10},
            optax.adamw(
                lambda t: jnp.where(t < 10, 1e-3 * (t + 1), 5e-3 * (1 + jnp.cos(jnp.pi * (t - 10) / 40))),
                weight_decay=0.01,
            ),
        ),
        ({"optimiser": "sgd", "rate": 0.1}, optax.sgd(0.1)),
        (
            {"optimiser": "sgd", "rate": 0.1, "momentum": 0.9, "weight_decay": 0.03},
            optax.chain(optax.add_decayed_weights(0.03), optax.sgd(0.1, momentum=0.9)),
        ),
        (
            {"optimiser": "sgd", "rate": 0.2, "schedule": "linear"},
            optax.sgd(lambda t: 0.2 * (1 - t / 50)),
        ),
    ],
    ids=["adamw", "adamw, all options", "adamw, warm-up and cosine", "sgd", "sgd, momentum and decay", "sgd, linear"],
)
def test_optimisers_agree_with_optax_step_by_step(settings, optimiser):
    features = tg.FeatureDistribution([tg.Correlated(3, 0.3), tg.Independent(3, 0.4, [0.5, 1, 2])])
    one = spec(features, training=settings, initial_scale=0.5)
    importance = features.importance
    with KernelEngine([one]) as engine, jax.enable_x64(True):
        state = engine.start()
        batches = engine.batches(0, 50)
        params = (jnp.asarray(state.weights[0], jnp.float64), jnp.asarray(state.bias[0], jnp.float64))
        optimiser_state = optimiser.init(params)
        for step in range(50):
            gradient = empirical_gradient(np.asarray(params[0]), np.asarray(params[1]), batches[step], importance)
            gradient = tuple(map(jnp.asarray, gradient))
            updates, optimiser_state = optimiser.update(gradient, optimiser_state, params)
            params = optax.apply_updates(params, updates)
            state = advance(engine, state, step + 1)
            # Adam divides by the root of a moment: where a gradient is nearly zero, rounding decides the first steps.
            np.testing.assert_allclose(state.weights[0], params[0], rtol=1e-4, atol=2e-5)
            np.testing.assert_allclose(state.bias[0], params[1], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("hidden", [2, 9])
@pytest.mark.parametrize("name", ["pairs", "independent", "large sets", "sparse"])
def test_a_run_has_the_same_bits_alone_in_a_batch_and_on_any_number_of_threads(name, hidden):
    many = spec(DISTRIBUTIONS[name], hidden, seeds=11, training={"steps": 20})
    whole = tg.train(many, threads=2)
    for runs, threads in ((1, 1), (4, 3), (11, 1)):
        part = tg.train(many.replace(seeds=runs), threads=threads)
        for variable in ("weights", "bias", "loss"):
            np.testing.assert_array_equal(part[variable], whole[variable][:runs])


def test_a_thousand_runs_hold_the_run_that_is_trained_alone():
    one = spec(DISTRIBUTIONS["pairs"], seeds=1000, training={"steps": 30})
    whole = tg.train(one)
    np.testing.assert_array_equal(tg.train(one.replace(seeds=1)).weights[0], whole.weights[0])
    assert len(np.unique(whole.weights[:, -1, 0, 0])) == 1000


def test_stopping_and_resuming_gives_the_same_bits():
    one = spec(DISTRIBUTIONS["large sets"], 3, seeds=3, training={"steps": 60, "schedule": "cosine"}, snapshots=7)
    whole = tg.train(one)
    with KernelEngine([one], threads=1) as engine:
        state = engine.start()
        for stop in (1, 2, 17, 18, 44, 60):
            # Through a file's worth of plain arrays, as a checkpoint would go.
            state = tg.TrainingState.from_arrays(advance(engine, state, stop).arrays())
    np.testing.assert_array_equal(state.weights, whole.weights[:, -1])
    np.testing.assert_array_equal(state.bias, whole.bias[:, -1])


def test_what_is_recorded_does_not_change_what_is_trained():
    one = spec(DISTRIBUTIONS["pairs"], seeds=2, snapshots=1)
    often = one.replace(snapshots=50, training=one.training.replace(evaluation=10_000))
    np.testing.assert_array_equal(tg.train(one).weights[:, -1], tg.train(often).weights[:, -1])


def test_recorded_loss_is_the_loss_on_a_fixed_sample():
    features = tg.FeatureDistribution([tg.Correlated(2, 0.3, 2.0)] * 3)
    one = spec(features, seeds=4, training={"evaluation": 200_000, "batch": 1000, "rate": 1e-12})
    run = tg.train(one)
    # Weights that hardly move on a sample that is kept: the loss hardly moves.
    np.testing.assert_allclose(run.loss - run.loss.isel(step=0), 0, atol=1e-5)
    x = features.sample(3, 200_000)
    squares = np.square(x - np.maximum(x @ run.weights[0, 0].values @ run.weights[0, 0].values.T, 0)).sum(1) * 2
    error = squares.std() * np.sqrt(2 / 200_000)
    assert abs(run.loss[0, 0] - squares.mean()) < 5 * error


def test_runs_are_recorded_on_one_sample_and_trained_on_their_own():
    start = np.random.default_rng(0).normal(size=(6, 2)) / 2
    one = spec(DISTRIBUTIONS["pairs"], seeds=3, start=start, snapshots=1)
    run = tg.train(one)
    # The same weights, the same number; then each goes its own way.
    assert len(set(run.loss.values[:, 0])) == 1
    assert len(set(run.loss.values[:, 1])) == 3
    # It is run 0's, whatever other runs there are, and another base seed has another.
    np.testing.assert_array_equal(tg.train(one.replace(seeds=1)).loss[0], run.loss[0])
    assert tg.train(one.replace(base_seed=1)).loss.values[0, 0] != run.loss.values[0, 0]


def test_a_run_that_diverges_is_marked_and_the_others_go_on():
    calm, wild = (
        spec([tg.Independent(5, 0.5)], seeds=3, training={"optimiser": "sgd", "rate": rate, "steps": 40}, snapshots=40)
        for rate in (0.01, 50.0)
    )
    both = tg.train([calm, wild])
    assert (both.result == [["completed"] * 3, ["diverged"] * 3]).all()
    np.testing.assert_array_equal(both.weights[0], tg.train(calm).weights)
    for seed in range(3):
        at = int(both.diverged_at[1, seed])
        assert 0 < at < 40
        assert np.isfinite(both.loss[1, seed, :at]).all()
        assert np.isfinite(both.weights[1, seed, :at]).all()
        assert np.isnan(both.loss[1, seed, at:]).all()
        assert np.isnan(both.weights[1, seed, at:]).all()


@pytest.mark.parametrize("engine", ["kernel", "jax"])
def test_a_run_whose_gradients_are_too_large_to_be_squared_is_marked_and_does_not_stand_still(engine):
    # Its losses are finite, but AdamW would divide by infinity.
    some = [spec([tg.Independent(5, 0.2, each)], training={"steps": 20}, snapshots=2) for each in (1e15, 1e25)]
    run = tg.train(some, engine=engine)
    assert run.diverged_at.values.ravel().tolist() == [-1, 10]
    assert run.loss.values[0, 0, 2] < run.loss.values[0, 0, 0]
    assert np.isnan(run.loss.values[1, 0, 1:]).all()


@pytest.mark.parametrize("hidden", [2, 10])
def test_a_run_that_diverges_leaves_nothing_behind_for_the_next_one_of_its_thread(hidden):
    # Sparse and wide enough for the path that lists values; runs of one thread share its working memory.
    calm, wild = (
        spec(
            [tg.Independent(100, 0.01)], hidden, seeds=1, snapshots=5,
            training={"optimiser": "sgd", "rate": rate, "steps": 40},
        )
        for rate in (0.05, 500.0)
    )  # fmt: skip
    alone = tg.train(calm)
    for threads in (1, 16):
        run = tg.train([wild, calm] * 8, threads=threads)
        assert (run.result[::2] == "diverged").all()
        assert (run.result[1::2] == "completed").all()
        for number in range(1, 16, 2):
            np.testing.assert_array_equal(run.weights[number], alone.weights)


def test_weights_that_are_not_finite_are_never_called_completed():
    for start in (np.full((5, 2), 1e25), np.full((5, 2), 1e15)):
        run = tg.train(spec([tg.Independent(5, 0.5)], 2, start=start, training={"steps": 10}))
        assert np.isfinite(run.weights.where(run.result == "completed", 0)).all()
        assert np.isfinite(run.loss.where(run.result == "completed", 0)).all()
    assert (run.result == "diverged").all() or np.isfinite(run.weights).all()
    assert (tg.train(spec([tg.Independent(5, 0.5)], 2, start=np.full((5, 2), 1e25))).result == "diverged").all()


def test_what_is_recorded_of_a_diverging_run_does_not_depend_on_segments():
    one = spec(
        [tg.Independent(5, 0.5)], seeds=16, snapshots=40,
        training={"optimiser": "sgd", "rate": 3.0, "steps": 40, "batch": 4, "evaluation": 4},
    )  # fmt: skip
    whole = tg.train(one)
    assert (whole.result == "diverged").sum() > 0
    columns = []
    with KernelEngine([one], threads=1) as engine:
        state = engine.start()
        for step in range(41):
            state, recorded = engine.advance(state, step, np.array([step]))
            columns.append(recorded.loss[:, 0])
    np.testing.assert_array_equal(np.stack(columns, axis=1), whole.loss)
    np.testing.assert_array_equal(state.diverged_at, whole.diverged_at)


@pytest.mark.slow
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_ten_million_samples_have_the_exact_moments(name):
    features = tg.FeatureDistribution(DISTRIBUTIONS[name])
    engine = KernelEngine([spec(features, training={"batch": 4096}, seeds=25)])
    second, fourth, count = 0.0, 0.0, 0
    for run in range(25):
        for x in engine.batches(run, 100):
            x = x.astype(float)
            second, fourth, count = second + x.T @ x, fourth + (x**2).T @ (x**2), count + len(x)
    second, fourth = second / count, fourth / count
    z = (second - features.second_moment()) / np.sqrt(np.maximum(fourth - second**2, 1e-12) / count)
    assert np.abs(z).max() < norm.isf(1e-6 / (2 * z.size))


def test_training_finds_antipodal_pairs_in_one_dimension():
    # Two sparse features in one dimension end as a digon, w and −w (Elhage et al. 2022).
    run = tg.train(spec([tg.Independent(2, 0.05)], 1, seeds=16, training={"steps": 6000}))
    ends = run.weights[:, -1, :, 0].values
    digons = (ends[:, 0] * ends[:, 1] < 0) & (np.abs(ends).min(1) > 0.8)
    assert digons.mean() > 0.5
