"""Laws of magnitude in the fused kernel: what it draws, and that it trains and records on what it draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose, assert_array_equal

import tegum as tg
from tegum.core.loss.empirical import empirical_gradient, empirical_loss
from tegum.training.sampled.cpu import KernelEngine
from tegum.training.sampled.kernels.tables import drawable

NOTHING = np.zeros(0, np.int64)

LAWS: dict[str, tuple[tg.Magnitude, Any]] = {
    "unit": (tg.UniformMagnitude(), scipy.stats.uniform()),
    "range": (tg.UniformMagnitude(0.5, 2), scipy.stats.uniform(0.5, 1.5)),
    "high": (tg.UniformMagnitude(0, 30), scipy.stats.uniform(0, 30)),
    "constant": (tg.ConstantMagnitude(2), None),
    "half-normal": (tg.HalfNormalMagnitude(1.5), scipy.stats.halfnorm(scale=1.5)),
}
OF_LAWS = pytest.mark.parametrize(("law", "truth"), LAWS.values(), ids=LAWS)

P = 0.3
TOGETHER = {
    "independent": (P, P * P),
    "correlated": (P, P),
    "anticorrelated": (P / 4, 0.0),
    "partially-correlated": (P, 0.25 * P + 0.75 * P * P),
}
"""P(i active) and P(i and j active) in sets of four."""


def one_of_each(law: tg.Magnitude) -> list[tg.GatedSet]:
    return [
        tg.Independent(4, P, magnitude=law),
        tg.Correlated(4, P, magnitude=law),
        tg.Anticorrelated(4, P, magnitude=law),
        tg.PartiallyCorrelated(4, P, 0.25, magnitude=law),
    ]


def spec(features: Any, hidden: int = 2, **settings: Any) -> tg.Spec:
    training = {"steps": 50, **settings.pop("training", {})}
    return tg.Spec(features=features, hidden=hidden, training=tg.Sampled(**training), **settings)


@OF_LAWS
@pytest.mark.parametrize("densely", [False, True], ids=["by patterns", "densely"])
def test_a_million_samples_have_the_moments_of_gate_and_law(law, truth, densely):
    mean, square = (2.0, 4.0) if truth is None else (truth.mean(), truth.moment(2))
    sets = one_of_each(law)
    # Forty more features, of the usual law, are too many for a table of patterns.
    for one in sets:
        others = [tg.Independent(40, 0.1)] if densely else [tg.Correlated(2, 0.1)]
        engine = KernelEngine([spec([*others, one], training={"batch": 1000})])
        assert (engine._tables.pattern_bits[0] < 0) == densely
        x = engine.batches(0, 1000).reshape(1_000_000, -1)
        own, rest = x[:, -4:].astype(np.float64), x[:20_000, :-4]
        alone, both = TOGETHER[one.kind]
        expected = np.full((4, 4), both * mean**2)
        np.fill_diagonal(expected, alone * square)
        second = own.T @ own / len(x)
        spread = np.sqrt(np.maximum((own**2).T @ own**2 / len(x) - second**2, 1e-12) / len(x))
        z_first = (own.mean(0) - alone * mean) / (own.std(0) / np.sqrt(len(x)))
        # Bonferroni at 1e-6 over all comparisons.
        bound = scipy.stats.norm.isf(1e-6 / (2 * 20 * len(sets) * len(LAWS) * 2))
        assert np.abs((second - expected) / spread).max() < bound
        assert np.abs(z_first).max() < bound
        # The law is the set's alone.
        assert scipy.stats.kstest(rest[rest > 0], "uniform").pvalue > 1e-5
        active = own[:50_000][own[:50_000] > 0]
        if truth is None:
            assert_array_equal(np.unique(active), [2.0])
        else:
            assert scipy.stats.kstest(active, truth.cdf).pvalue > 1e-5
            assert law.support[0] <= active.min()
            assert active.max() <= np.float32(law.support[1])


@pytest.mark.parametrize("sets", [[tg.Correlated(2, 0.05)] * 3, [tg.Independent(40, 0.2)]], ids=["patterns", "dense"])
def test_laws_share_the_gates_and_are_quantiles_of_one_uniform(sets):
    """The kernel's inverse of the half-normal law, next to SciPy's, at the very uniforms that it draws."""
    drawn = {}
    for name, (law, _) in LAWS.items():
        drawn[name] = KernelEngine([spec([each.replace(magnitude=law) for each in sets])]).batches(0, 60)
    u = drawn["unit"].astype(np.float64)
    on = u > 0
    assert_allclose(drawn["half-normal"], np.where(on, scipy.stats.halfnorm.ppf(u, scale=1.5), 0), rtol=1e-6)
    assert_allclose(drawn["range"], np.where(on, 0.5 + 1.5 * u, 0), rtol=2e-7)
    assert_allclose(drawn["high"], 30 * u, rtol=2e-7)
    assert_array_equal(drawn["constant"], 2 * on)


@pytest.mark.parametrize("law", [law for law, _ in LAWS.values()], ids=LAWS)
def test_training_follows_the_gradient_of_what_is_drawn(law):
    """AdamW written by hand, in double precision, on the kernel's own batches."""
    features = tg.FeatureDistribution([tg.Correlated(2, 0.4, magnitude=law), tg.Independent(3, 0.3, [0.5, 1, 2])])
    one = spec(features, initial_scale=0.5, training={"batch": 256, "rate": 0.01})
    with KernelEngine([one]) as engine:
        state = engine.start()
        batches = engine.batches(0, 40).astype(np.float64)
        W, b = state.weights[0].astype(np.float64), state.bias[0].astype(np.float64)
        state = engine.advance(state, 40, NOTHING)[0]
    parameters = np.concatenate([W.ravel(), b])
    first, second = np.zeros_like(parameters), np.zeros_like(parameters)
    for step, x in enumerate(batches, 1):
        W, b = parameters[:10].reshape(5, 2), parameters[10:]
        error = np.maximum(x @ W @ W.T + b, 0) - x
        dz = np.where(x @ W @ W.T + b > 0, 2 * error * features.importance / len(x), 0)
        gradient = np.concatenate([(dz.T @ (x @ W) + x.T @ (dz @ W)).ravel(), dz.sum(0)])
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        update = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        parameters = parameters * (1 - 0.01 * 0.01) - 0.01 * update
    assert_allclose(np.concatenate([state.weights[0].ravel(), state.bias[0]]), parameters, rtol=1e-3, atol=2e-4)


def test_training_with_a_range_ends_where_the_usual_recipe_ends():
    """The usual recipe in NumPy, with samples of its own; by the loss on a sample that neither was trained on."""
    law = tg.UniformMagnitude(0.5, 2)
    features = tg.FeatureDistribution([tg.Correlated(2, 0.2, magnitude=law)] * 2)
    seeds, steps, batch = 48, 250, 64
    one = spec(features, 1, seeds=seeds, snapshots=1, training={"steps": steps, "batch": batch, "rate": 0.02})
    run = tg.train(one, progress=False)
    rng = np.random.default_rng(0)
    W, b = run.weights.values[:, 0].astype(np.float64), np.zeros((seeds, 4))
    means, squares = [np.zeros_like(W), np.zeros_like(b)], [np.zeros_like(W), np.zeros_like(b)]
    for step in range(1, steps + 1):
        gates = np.repeat(rng.random((seeds, batch, 2)) < 0.2, 2, -1)
        x = gates * rng.uniform(0.5, 2, (seeds, batch, 4))
        h = x @ W
        z = h @ W.swapaxes(1, 2) + b[:, None]
        dz = 2 / batch * (np.maximum(z, 0) - x) * (z > 0)
        gradients = dz.swapaxes(1, 2) @ h + x.swapaxes(1, 2) @ (dz @ W), dz.sum(1)
        for k, (value, gradient) in enumerate(zip((W, b), gradients, strict=True)):
            means[k] = 0.9 * means[k] + 0.1 * gradient
            squares[k] = 0.999 * squares[k] + 0.001 * gradient**2
            value *= 1 - 0.02 * 0.01
            value -= 0.02 * means[k] / (1 - 0.9**step) / (np.sqrt(squares[k] / (1 - 0.999**step)) + 1e-8)
    x = np.repeat(rng.random((20_000, 2)) < 0.2, 2, -1) * rng.uniform(0.5, 2, (20_000, 4))
    ends = [empirical_loss(w, c, x) for w, c in ((W, b), (run.weights.values[:, -1], run.bias.values[:, -1]))]
    difference = np.log(ends[1]) - np.log(ends[0])
    assert abs(difference.mean()) / (difference.std(ddof=1) / np.sqrt(seeds)) < 4
    assert difference.mean() == pytest.approx(0, abs=0.1)
    # The recorded loss is that of such samples, too; a third of it is the error of 4,096 of them at most.
    assert_allclose(run.loss.values[:, -1].mean(), ends[1].mean(), rtol=0.1)


def test_the_recorded_loss_and_its_error_are_of_the_law():
    """A model of zeros has the loss Σ E[x_i²], whatever it predicts nothing of."""
    law = tg.HalfNormalMagnitude(3)
    zeros = np.zeros((4, 1)), np.zeros(4)
    one = spec([tg.Independent(4, 0.2, magnitude=law)], 1, start=zeros, seeds=1, snapshots=1,
               training={"steps": 0, "evaluation": 2**20})  # fmt: skip
    run = tg.train(one, progress=False)
    # E[x²] = p σ²; a sum over four of them has the variance 4 (3 p σ⁴ − p² σ⁴).
    deviation = np.sqrt(4 * (3 * 0.2 - 0.2**2)) * 9 / 2**10
    assert abs(run.loss.item() - 4 * 0.2 * 9) < 5 * deviation
    assert tg.loss_error(run, progress=False).item() == pytest.approx(deviation, rel=0.05)
    assert tg.best(run, by="loss", progress=False).loss.item() == run.loss.item()
    with pytest.raises(ValueError, match=r"best\(run\): there is no exact loss to choose by .*must be uniform on"):
        tg.best(run, progress=False)
    with pytest.raises(ValueError, match=r"magnitudes must be uniform on \[0, high\]"):
        tg.population_loss_along(run, progress=False)


def test_specs_of_several_laws_are_trained_in_one_call():
    sets = [[tg.Correlated(2, 0.2, magnitude=law)] * 2 for law, _ in LAWS.values()]
    several = [spec(each, 1, seeds=2, snapshots=2) for each in sets]
    together = tg.train(several, progress=False)
    for number, one in enumerate(several):
        alone = tg.train(one, progress=False)
        assert_array_equal(together.weights.values[number], alone.weights.values)
        assert_array_equal(together.loss.values[number], alone.loss.values)


def test_a_law_that_the_kernel_does_not_know_is_left_to_jax():
    class Cubed(tg.UniformMagnitude):
        """A law derived from a known one is another one."""

        kind = "cubed"

        def drawn(self, u):
            return super().drawn(u) ** 3

    features = tg.FeatureDistribution([tg.Correlated(2, 0.2, magnitude=Cubed())])
    assert not drawable(features.sets)
    assert all(drawable(one_of_each(law)) for law, _ in LAWS.values())
    with pytest.raises(
        ValueError, match=r"engine='kernel'\): the kernel cannot draw .*, as it does not know the law Cu"
    ):
        tg.train(spec(features, 1), engine="kernel")


def test_gradient_with_values_above_one_agrees_with_double_precision():
    features = tg.FeatureDistribution(one_of_each(tg.HalfNormalMagnitude(5)))
    rng = np.random.default_rng(1)
    weights, bias = rng.normal(size=(features.n, 9)), 0.2 * rng.normal(size=features.n)
    one = spec(features, 9, start=(weights, bias), seeds=1, training={"optimiser": "sgd", "batch": 1001})
    with KernelEngine([one]) as engine:
        state = engine.advance(engine.start(), 1, NOTHING)[0]
        x = engine.batches(0, 1)[0]
    expected = empirical_gradient(weights.astype("f"), bias.astype("f"), x, features.importance)
    expected = np.concatenate([expected[0].ravel(), expected[1]])
    assert_allclose(state.first[0], expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
