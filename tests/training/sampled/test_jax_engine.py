"""The JAX path: its random numbers, its samples, its gradient, its optimisers, and what its bits depend on."""

from __future__ import annotations

import itertools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import halfnorm, kstest, norm, uniform

import tegum as tg
from tegum.core.loss.empirical import empirical_gradient, empirical_loss
from tegum.training import sizes
from tegum.training.sampled import jax_engine as accelerator
from tegum.training.sampled import jax_programs as programs
from tegum.training.sampled.cpu import KernelEngine
from tegum.training.sampled.jax_engine import JaxEngine
from tegum.training.state import Engine

NOTHING = np.zeros(0, np.int64)

PAIRS = [tg.Correlated(2, 0.2), tg.Correlated(2, 0.3)]

DISTRIBUTIONS = {
    "pairs": PAIRS,
    "certain": [tg.Independent(2, 1.0)],
    "no mixture with two components": [tg.Independent(3, [0.02, 0.5, 1.0])],
    "all kinds": [
        tg.Independent(2, [0.2, 0.8]),
        tg.Anticorrelated(3, 0.4),
        tg.Correlated(3, [0.1, 0.5, 0.3]),
        tg.Independent(1, 0.7),
        tg.PartiallyCorrelated(2, 0.2, 0.5),
    ],
}


class Arc(tg.FeatureSet):
    """A point on a circle, if any; each feature is how near it is. No mixture of independent features."""

    kind: ClassVar[str] = "arc"  # not as an argument of the class, which would add it to the kinds of all tests
    positional: ClassVar[tuple[str, ...]] = ("size", "density")
    size: int

    @property
    def features(self):
        return self.size

    def active(self):
        return self.densities / 2

    def first_moment(self):
        return self.densities / np.pi

    def second_moment(self):
        between = 2 * np.pi * np.subtract.outer(np.arange(self.size), np.arange(self.size)) / self.size
        angle = np.arccos(np.cos(between))
        return self.densities * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (4 * np.pi)

    def draw(self, uniforms, batch):
        angle, gate = 2 * np.pi * uniforms((batch, 1)), uniforms((batch, 1))
        xp = angle.__array_namespace__()
        there = xp.cos(angle - 2 * np.pi * xp.arange(self.size, dtype=angle.dtype) / self.size)
        return xp.where(gate < self.densities[0], xp.where(there > 0, there, 0), 0)


class Wrong(Arc):
    def draw(self, uniforms, batch):
        return super().draw(uniforms, batch).T


def spec(features=PAIRS, hidden=2, **settings):
    training = {"steps": 20, "batch": 64, "evaluation": 128, **settings.pop("training", {})}
    return tg.Spec(features=features, hidden=hidden, training=tg.Sampled(**training), **settings)


def train(specs, state=None, stops=None, snapshots=NOTHING, together=False, threads=2):
    """The last state after advancing to each stop in turn, and what was recorded on the way."""
    specs = [specs] if isinstance(specs, tg.Spec) else specs
    with JaxEngine(specs, threads) as engine:
        engine._together = together
        state = state or engine.start()
        recorded = []
        for stop in stops or [specs[0].training.steps]:
            inside = snapshots[(snapshots > state.step) & (snapshots <= stop) | ((snapshots == 0) & (state.step == 0))]
            state, new = engine.advance(state, stop, inside)
            recorded.append(new)
    return state, recorded


def assert_same_bits(state, other, runs=slice(None)):
    for name, value in state.arrays().items():
        if name != "step":
            np.testing.assert_array_equal(value, other.arrays()[name][runs], err_msg=name)


def test_it_is_an_engine():
    with JaxEngine([spec()], threads=3) as engine:
        assert isinstance(engine, Engine)
        assert (engine.name, engine.threads) == ("jax", 3 if jax.default_backend() == "cpu" else 1)


def test_uniforms_differ_from_batch_to_batch():
    stream = jnp.array([1, 2], jnp.uint32)
    drawn = np.stack([programs.uniforms(stream, number, 5, 1001) for number in range(3)])
    assert drawn.shape == (3, 5, 1001)
    # Among so many numbers with a spacing of about 2⁻²⁵, a few pairs are equal by chance.
    assert len(np.unique(drawn)) > drawn.size - 20
    assert kstest(drawn.ravel(), "uniform").pvalue > 1e-3


def test_uniforms_stay_below_one(monkeypatch):
    monkeypatch.setattr(jax.random, "bits", lambda _, shape, dtype: jnp.full(shape, 2**32 - 1, dtype))
    assert programs.uniforms(jnp.zeros(2, jnp.uint32), 0, 2, 5).max() < 1


def test_uniforms_are_handed_out_once_whatever_the_shape():
    shapes = [(6,), (6, 3), (), (5,), (6, 2, 2), (2, 4)]
    counted = programs.Rows(6)
    assert [counted(shape).shape for shape in shapes] == shapes
    rows = programs.Rows(6, jnp.arange(6.0 * counted.used).reshape(counted.used, 6))
    handed_out = [rows(shape) for shape in shapes]
    assert [each.shape for each in handed_out] == shapes
    values = np.concatenate([np.ravel(each) for each in handed_out])
    assert len(np.unique(values)) == len(values)
    np.testing.assert_array_equal(handed_out[1][:, 2], rows.matrix[3])


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_samples_have_the_exact_moments(name):
    features = tg.FeatureDistribution(DISTRIBUTIONS[name])
    x = JaxEngine([spec(features, training={"batch": 50_000})]).batches(0, 4).reshape(-1, features.n).astype(float)
    count = len(x)
    second = x.T @ x / count
    deviation = np.sqrt(np.maximum((x**2).T @ (x**2) / count - second**2, 1e-12) / count)
    z_second = (second - features.second_moment()) / deviation
    p = features.density
    z_active = (np.mean(x > 0, 0) - p)[p < 1] / np.sqrt(p * (1 - p) / count)[p < 1]
    # Bonferroni at 1e-6 over all comparisons.
    bound = norm.isf(1e-6 / (2 * (z_second.size + z_active.size + 1)))
    assert np.abs(z_second).max() < bound
    assert np.abs(z_active).max(initial=0) < bound
    assert (x > 0)[:, p == 1].all()
    assert x.max() <= 1


@pytest.mark.parametrize("draw", ["engine", "sample"])
@pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_samples_have_the_moments_of_their_laws(draw, count):
    """A constant, a range and half-normal magnitudes side by side, beside SciPy's moments."""
    laws = [
        (tg.ConstantMagnitude(2), None, 2.0, 4.0),
        *(
            (law, truth, truth.mean(), truth.moment(2))
            for law, truth in (
                (tg.UniformMagnitude(0.5, 2), uniform(0.5, 1.5)),
                (tg.HalfNormalMagnitude(1.5), halfnorm(scale=1.5)),
                (tg.UniformMagnitude(), uniform()),
            )
        ),
    ]
    gates = [
        (tg.Independent(2, 0.3), 0.3, 0.3 * 0.3),
        (tg.Correlated(2, 0.3), 0.3, 0.3),
        (tg.Anticorrelated(2, 0.3), 0.15, 0.0),
        (tg.PartiallyCorrelated(2, 0.3, 0.25), 0.3, 0.25 * 0.3 + 0.75 * 0.3 * 0.3),
    ]
    each_by_each = list(itertools.product(laws, gates))
    features = tg.FeatureDistribution([gate.replace(magnitude=law) for (law, *_), (gate, *_) in each_by_each])
    if draw == "sample":
        x = np.asarray(features.sample(jax.random.key(3), count), np.float64)
    else:
        x = JaxEngine([spec(features, training={"batch": 50_000})]).batches(0, count // 50_000)
        x = x.reshape(count, -1).astype(float)
    first = np.repeat([alone * mean for (_, _, mean, _), (_, alone, _) in each_by_each], 2)
    second = np.outer(first, first)
    for k, ((_, _, mean, square), (_, alone, both)) in enumerate(each_by_each):
        block = [[alone * square, both * mean**2], [both * mean**2, alone * square]]
        second[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = block
    found = x.T @ x / len(x)
    spread = np.sqrt(np.maximum((x**2).T @ x**2 / len(x) - found**2, 1e-12) / len(x))
    bound = norm.isf(1e-6 / (2 * (second.size + first.size)))
    assert np.abs((found - second) / spread).max() < bound
    assert np.abs((x.mean(0) - first) / (x.std(0) / np.sqrt(len(x)))).max() < bound
    for k, ((_, truth, _, _), _) in enumerate(each_by_each):
        active = x[:100_000, 2 * k : 2 * k + 2]
        active = active[active > 0]
        if truth is None:
            assert set(active.tolist()) == {2.0}
        else:
            assert kstest(active, truth.cdf).pvalue > 1e-5


def test_training_with_a_range_ends_where_the_kernel_ends():
    law = tg.UniformMagnitude(0.5, 2)
    one = spec(
        [tg.Correlated(2, 0.2, magnitude=law), tg.Correlated(2, 0.3, magnitude=law)], 1, seeds=48, snapshots=1,
        training={"steps": 400, "rate": 0.01},
    )  # fmt: skip
    x = one.features.sample(0, 50_000)
    ends = []
    for engine in ("kernel", "jax"):
        run = tg.train(one, engine=engine, progress=False).isel(step=-1)
        ends.append(empirical_loss(run.weights.values.astype(float), run.bias.values.astype(float), x))
    difference = np.log(ends[1]) - np.log(ends[0])
    assert abs(difference.mean()) / (difference.std(ddof=1) / np.sqrt(48)) < 3.5
    assert difference.mean() == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("one", [tg.Anticorrelated(3, 0.4), tg.PartiallyCorrelated(4, [0.1, 0.2, 0.2, 0.9], 0.5)])
def test_a_mixture_is_drawn_as_the_set_itself_draws_it(one):
    engine = JaxEngine([spec([one])])
    matrix = programs.uniforms(jnp.asarray(engine.start().stream[0]), 0, one.size + 1, 64)
    np.testing.assert_allclose(engine.batches(0, 1)[0], one.draw(programs.Rows(64, matrix), 64), rtol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("hidden", [1, 5])
@pytest.mark.parametrize("name", ["pairs", "all kinds"])
def test_gradient_of_a_batch_agrees_with_the_kernel_and_with_double_precision(name, hidden, activation):
    features = tg.FeatureDistribution(DISTRIBUTIONS[name])
    features = features.replace(sets=[each.replace(importance=0.3 + k) for k, each in enumerate(features.sets)])
    rng = np.random.default_rng(1)
    start = rng.normal(size=(features.n, hidden)), 0.2 * rng.normal(size=features.n)
    training = {"optimiser": "sgd", "batch": 1001}
    one = spec(features, hidden, activation=activation, start=start, training=training)
    with KernelEngine([one], threads=1) as engine:
        state = engine.start()
        # SGD's momentum after one step is the gradient itself.
        kernel = engine.advance(state, 1, NOTHING)[0].first[0]
        x = engine.batches(0, 1)[0]
    W, b, importance = state.weights[0], state.bias[0], features.importance
    parameters = jnp.concatenate([W.ravel(), b])
    with jax.default_matmul_precision("highest"):
        loss, gradient = jax.jit(programs.loss_and_gradient, static_argnames="activation")(
            parameters, jnp.asarray(x.T), jnp.asarray(importance, jnp.float32), activation
        )
        automatic = jax.grad(empirical_loss, (0, 1))(
            jnp.asarray(W), jnp.asarray(b), jnp.asarray(x), jnp.asarray(importance, jnp.float32), activation
        )
    exact = flat(empirical_gradient(W, b, x, importance, activation))
    for expected in (exact, kernel, flat(automatic)):
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6 * np.abs(exact).max())
    assert loss == pytest.approx(empirical_loss(W, b, x, importance, activation), rel=1e-6)


def flat(gradient):
    return np.concatenate([np.ravel(each) for each in gradient])


def test_a_step_follows_the_gradient_of_the_batch_that_it_draws():
    one = spec(seeds=3, training={"optimiser": "sgd", "batch": 1001})
    engine = JaxEngine([one])
    state, _ = train(one, stops=[1])
    start = engine.start()
    for run in range(3):
        expected = flat(empirical_gradient(start.weights[run], start.bias[run], engine.batches(run, 1)[0]))
        np.testing.assert_allclose(state.first[run], expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("settings", "optimiser"),
    [
        (
            {"rate": 0.02, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1},
            optax.adamw(0.02, b1=0.8, b2=0.95, eps=1e-4, weight_decay=0.1),
        ),
        (
            {"rate": 0.01, "schedule": "cosine", "warmup": 10},
            optax.adamw(
                lambda t: jnp.where(t < 10, 1e-3 * (t + 1), 5e-3 * (1 + jnp.cos(jnp.pi * (t - 10) / 10))),
                weight_decay=0.01,
            ),
        ),
        (
            {"optimiser": "sgd", "rate": 0.1, "momentum": 0.9, "weight_decay": 0.03},
            optax.chain(optax.add_decayed_weights(0.03), optax.sgd(0.1, momentum=0.9)),
        ),
        ({"optimiser": "sgd", "rate": 0.2, "schedule": "linear"}, optax.sgd(lambda t: 0.2 * (1 - t / 20))),
    ],
    ids=["adamw, all options", "adamw, warm-up and cosine", "sgd, momentum and decay", "sgd, linear"],
)
def test_optimisers_agree_with_optax_step_by_step(settings, optimiser):
    one = spec(training=settings, initial_scale=0.5)
    with JaxEngine([one]) as engine:
        state = engine.start()
        batches = engine.batches(0, 20)
        params = jnp.asarray(state.weights[0]), jnp.asarray(state.bias[0])
        optimiser_state, update = optimiser.init(params), jax.jit(optimiser.update)
        for step in range(20):
            gradient = empirical_gradient(np.asarray(params[0]), np.asarray(params[1]), batches[step])
            gradient = tuple(jnp.asarray(each, jnp.float32) for each in gradient)
            updates, optimiser_state = update(gradient, optimiser_state, params)
            params = optax.apply_updates(params, updates)
            state, _ = engine.advance(state, step + 1, NOTHING)
            # Both sides round to 6e-8 in each step; Adam divides by the root of a moment, and where a gradient is
            # nearly zero that magnifies rounding in the first steps, but never beyond the rate.
            np.testing.assert_allclose(state.weights[0], params[0], rtol=1e-5, atol=5e-6)
            np.testing.assert_allclose(state.bias[0], params[1], rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("together", [False, True])
def test_a_batch_in_pieces_gives_the_loss_and_the_gradient_of_its_samples(monkeypatch, together):
    """As one call of a large batch could not be stopped: 100 samples in pieces of 34, of which the last lacks two."""
    monkeypatch.setattr(sizes, "_PIECE_WORK", 4 * 18 * 40)
    one = spec(seeds=2, training={"steps": 1, "batch": 100, "evaluation": 150, "optimiser": "sgd", "rate": 0.5})
    with_engine = JaxEngine([one], 1)
    with_engine._together = together
    with with_engine as engine:
        assert sizes.piece_size(100, 4, 2) == 34
        begin = engine.start()
        (batch,), sample = engine.batches(1, 1), engine.batches(1, 2, "evaluation").reshape(-1, 4)
        assert batch.shape == (100, 4)
        assert len(np.unique(batch, axis=0)) > 30
        end, recorded = engine.advance(begin, 1, np.array([0, 1]))
        weights, bias = empirical_gradient(begin.weights[1], begin.bias[1], batch)
        np.testing.assert_allclose(end.weights[1], begin.weights[1] - 0.5 * weights, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(end.bias[1], begin.bias[1] - 0.5 * bias, rtol=1e-5, atol=1e-7)
        for column, state in enumerate((begin, end)):
            loss = empirical_loss(state.weights[1], state.bias[1], sample)
            assert recorded.loss[1, column] == pytest.approx(float(loss), rel=1e-5)


def test_training_ends_where_the_kernel_ends():
    one = spec(PAIRS, seeds=48, snapshots=1, training={"steps": 400, "rate": 0.01, "evaluation": 4096})
    # By the exact loss: on a sample that all runs share the errors of theirs would not average out.
    ends = [
        tg.population_loss_along(tg.train(one, engine=engine).isel(step=[-1])).values for engine in ("kernel", "jax")
    ]
    # Runs of both engines start from the same weights.
    difference = (np.log(ends[1]) - np.log(ends[0]))[:, 0]
    assert abs(difference.mean()) / (difference.std(ddof=1) / np.sqrt(48)) < 3.5
    assert difference.mean() == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("together", [False, True])
def test_stopping_and_resuming_gives_the_same_bits(together):
    one = spec(seeds=3, training={"steps": 1100, "schedule": "cosine"})
    snapshots = np.array([0, 1, 5, 600, 1100])
    whole, (all_recorded,) = train(one, snapshots=snapshots, together=together)
    state, parts = train(one, stops=[1, 2, 17], snapshots=snapshots, together=together)
    compiled = programs.train.count()
    # Through a file's worth of plain arrays, as a checkpoint would go.
    state = tg.TrainingState.from_arrays(state.arrays())
    before = state.copy()
    end, more = train(one, state, [18, 44, 1100], snapshots, together)
    assert programs.train.count() == compiled
    assert_same_bits(state, before)
    assert_same_bits(end, whole)
    for name in ("weights", "bias", "loss"):
        pieces = np.concatenate([getattr(part, name) for part in (*parts, *more)], axis=1)
        np.testing.assert_array_equal(pieces, getattr(all_recorded, name))
    np.testing.assert_array_equal(all_recorded.weights[:, -1], end.weights)
    assert np.isfinite(all_recorded.loss).all()


def test_a_run_has_the_same_bits_alone_in_a_batch_and_on_any_number_of_threads():
    # More than one call's worth, so that a run's place in its call changes too.
    many = spec(seeds=accelerator.RUNS_AT_ONCE + 6)
    whole, _ = train(many, threads=1)
    assert len(np.unique(whole.weights[:, 0, 0])) == many.seeds
    for seeds, threads in ((1, 1), (5, 2), (70, 3)):
        part, _ = train(many.replace(seeds=seeds), threads=threads)
        assert_same_bits(part, whole, slice(seeds))


def test_one_program_serves_specs_of_other_values_and_each_run_is_what_it_is_alone():
    specs = [
        spec([tg.Correlated(2, density), tg.Correlated(2, 0.3, importance)], seeds=3, base_seed=seed, training=training)
        for density, importance, seed, training in (
            (0.1, 1.0, 0, {}),
            (0.2, 1.0, 0, {"rate": 0.01, "schedule": "linear", "betas": (0.5, 0.9)}),
            (0.2, [0.2, 3.0], 1, {"eps": 1e-3, "weight_decay": 0.5, "warmup": 5}),
        )
    ]
    train(specs[0])
    compiled = programs.train.count()
    whole, _ = train(specs)
    assert programs.train.count() == compiled
    for number, each in enumerate(specs):
        assert_same_bits(train(each)[0], whole, slice(3 * number, 3 * number + 3))


def test_distributions_that_need_programs_of_their_own_are_trained_in_one_call():
    specs = [spec(features, seeds=3) for features in (PAIRS, [tg.Independent(4, 0.3)], PAIRS[::-1])]
    both = tg.train(specs, engine="jax")
    assert both.sizes["spec"] == 3
    for number, each in enumerate(specs):
        np.testing.assert_array_equal(both.weights[number], tg.train(each, engine="jax").weights)


def test_runs_together_on_one_axis_agree_with_runs_one_by_one(monkeypatch):
    # As on a GPU: XLA may order sums otherwise, so a few steps agree to rounding and not in bits.
    one = spec(seeds=3, training={"rate": 0.01})
    snapshots = np.array([0, 20])
    (alone, (ours,)), (axis, (theirs,)) = (train(one, snapshots=snapshots, together=way) for way in (False, True))
    np.testing.assert_allclose(axis.weights, alone.weights, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(theirs.loss, ours.loss, rtol=1e-4)
    # Room for two runs of three: two calls, the second one padded.
    monkeypatch.setattr(accelerator, "WORKING_BYTES", 2 * 4 * 64 * (4 * 4 + 3 * 2))
    few, (recorded,) = train(one, snapshots=snapshots, together=True)
    np.testing.assert_allclose(few.weights, alone.weights, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(recorded.weights[:, -1], few.weights)


def test_recorded_loss_is_the_loss_on_a_fixed_sample_of_whole_batches():
    one = spec(seeds=3, training={"evaluation": 100})
    engine = JaxEngine([one])
    run = tg.train(one, engine="jax")
    x = engine.batches(0, 2, "evaluation").reshape(-1, 4)
    for seed in range(3):
        # The runs of a Spec share it.
        np.testing.assert_array_equal(engine.batches(seed, 2, "evaluation").reshape(-1, 4), x)
        expected = [empirical_loss(run.weights[seed, k].values, run.bias[seed, k].values, x) for k in (0, -1)]
        np.testing.assert_allclose(run.loss[seed, [0, -1]], expected, rtol=1e-6)


def test_a_run_that_diverges_is_marked_and_the_others_go_on():
    training = {"optimiser": "sgd", "steps": 40}
    calm, wild = (spec(seeds=3, training={**training, "rate": rate}, snapshots=40) for rate in (0.01, 50.0))
    both = tg.train([calm, wild], engine="jax")
    assert (both.result == [["completed"] * 3, ["diverged"] * 3]).all()
    np.testing.assert_array_equal(both.weights[0], tg.train(calm, engine="jax").weights)
    for seed in range(3):
        at = int(both.diverged_at[1, seed])
        assert 0 < at < 40
        assert np.isfinite(both.loss[1, seed, :at]).all()
        assert np.isfinite(both.weights[1, seed, :at]).all()
        assert np.isnan(both.loss[1, seed, at:]).all()
        assert np.isnan(both.weights[1, seed, at:]).all()


def test_a_run_that_diverged_is_frozen():
    one = spec(seeds=2, training={"optimiser": "sgd", "steps": 80, "rate": 50.0})
    first, _ = train(one, stops=[40])
    assert (first.diverged_at > 0).all()
    second, (recorded,) = train(one, first, [80], np.array([80]))
    assert_same_bits(first, second)
    assert np.isnan(recorded.loss).all()


def test_a_run_may_diverge_at_the_start():
    one = spec(start=(np.full((4, 2), 1e15), np.zeros(4)), snapshots=2)
    for engine in ("kernel", "jax"):
        run = tg.train(one, engine=engine)
        assert run.diverged_at == 0
        assert np.isnan(run.weights).all()


def test_a_set_that_is_no_mixture_is_trained_by_jax():
    features = [Arc(4, 0.5), *PAIRS, Arc(3, 0.3)]
    x = JaxEngine([spec(features)]).batches(0, 500).reshape(-1, 11).astype(float)
    exact = tg.FeatureDistribution(features).second_moment()
    np.testing.assert_allclose(x.T @ x / len(x), exact, atol=5 / np.sqrt(len(x)))
    run = tg.train(spec(features, 3, seeds=2, snapshots=1, training={"steps": 300, "rate": 0.01}))
    assert run.attrs["engine"] == "jax"
    assert (run.loss.isel(step=-1) < 0.8 * run.loss.isel(step=0)).all()


def test_what_a_set_draws_must_have_its_shape():
    with pytest.raises(
        ValueError, match=r"Wrong\(.*\).draw\(uniforms, batch=64\): must return an array of shape \(64, 3\)"
    ):
        tg.train(spec([Wrong(3, 0.5)]))


def test_a_state_of_the_kernel_is_refused():
    state = KernelEngine([spec()], threads=1).start()
    with pytest.raises(ValueError, match=r"iterate\(state with stream.*: these Specs and the engine 'jax' need"):
        next(tg.iterate(spec(), state, engine="jax"))


def test_the_configuration_of_jax_is_left_alone():
    before = dict(jax.config.values)
    train(spec())
    assert jax.config.values == before


@pytest.mark.quick_form
def test_a_run_whose_features_change_goes_on_as_with_another_spec():
    sets = [tg.PartiallyCorrelated(2, 0.1, 0.5), tg.Independent(3, 0.2)]
    sparser = [{"set": 0, "density": 0.05, "strength": 0.9}, {"set": 1, "importance": [1, 0.5, 0.25]}]
    training = tg.Sampled(steps=60, batch=32, evaluation=64, rate=0.01, schedule="linear")
    changes = [{"step": 25, "rate": 0.03, "sets": sparser}]
    changing = tg.Spec(features=sets, hidden=2, training=training, seeds=4, snapshots=[10, 25], changes=changes)
    run = tg.train(changing, engine="jax")
    assert run.attrs["engine"] == "jax"
    segments = tg.iterate(changing.in_force(0), engine="jax", segment_seconds=0.0)
    state = next(each.state for each in segments if each.state.step == 25)
    *_, last = tg.iterate(changing.in_force(25), state, engine="jax")
    np.testing.assert_array_equal(run.weights[:, -1], last.state.weights)
    # The evaluation sample is the same at all steps.
    there = run.sel(step=25)
    start = there.weights.values, there.bias.values
    plain = changing.in_force(25).replace(
        training=tg.Sampled(steps=0, batch=32, evaluation=64), start=start, snapshots=1
    )
    np.testing.assert_array_equal(tg.train(plain, engine="jax").loss[:, 0], there.loss)
    losses = [each.recorded.loss for each in tg.iterate(changing, engine="jax", segment_seconds=0.0)]
    np.testing.assert_array_equal(np.concatenate(losses, 1), run.loss)
    some = tg.train(changing, engine="jax", runs=[3, 1])
    np.testing.assert_array_equal(some.loss, run.loss.sel(seed=[3, 1]))
