"""The exact loss with magnitudes uniform on [0, h]: beside samples, closed forms and finite differences."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

import tegum as tg
from tegum.core.loss.empirical import empirical_loss
from tegum.core.population.evaluate import evaluate


def features(high: float, density: float = 0.3) -> tg.FeatureDistribution:
    law = tg.UniformMagnitude(0, high)
    return tg.FeatureDistribution(
        [tg.Correlated(2, density, magnitude=law), tg.PartiallyCorrelated(2, 0.2, 0.5, [0.5, 2], magnitude=law)]
    )


RNG = np.random.default_rng(0)
W, b = RNG.normal(size=(3, 4, 2)) * 0.6, RNG.normal(size=(3, 4)) * 0.4


@pytest.mark.parametrize("high", [0.2, 3.0])
def test_the_loss_is_the_mean_over_samples(high):
    of = features(high)
    losses = tg.population_loss(W, b, of)
    for w, c, loss in zip(W, b, losses, strict=True):
        x = of.sample(1, 400_000)
        z = x @ w @ w.T + c
        each = ((np.maximum(z, 0) - x) ** 2) @ of.importance
        assert abs(loss - each.mean()) < 5 * each.std() / np.sqrt(len(x))
    assert_allclose(np.asarray(tg.population_loss(jax.numpy.asarray(W), jax.numpy.asarray(b), of)), losses, rtol=1e-5)


def test_one_feature_has_a_closed_form():
    """W = 1, b < 0: L = (1 − p) 0 + p E[(max(x + b, 0) − x)²], with x uniform on [0, h]."""
    p, h, b = 0.3, 2.5, -0.7
    of = tg.FeatureDistribution([tg.Independent(1, p, magnitude=tg.UniformMagnitude(0, h))])
    by_hand = p * (0.7**3 / 3 + (h - 0.7) * 0.7**2) / h
    assert tg.population_loss(np.ones((1, 1)), np.array([b]), of) == pytest.approx(by_hand, abs=1e-8)


@pytest.mark.parametrize("high", [pytest.param(0.2, marks=pytest.mark.slow), 3.0])
def test_derivatives_agree_with_finite_differences(high):
    of, (n, m) = features(high), W.shape[1:]
    found = evaluate(W[:1], b[:1], of, order=2, tol=1e-9)
    assert found.gradient is not None
    assert found.hessian is not None
    theta = np.concatenate([W[0].ravel(), b[0]])
    shifts = 1e-4 * np.eye(len(theta))
    moved = np.concatenate([theta + shifts, theta - shifts])
    beside = evaluate(moved[:, : n * m].reshape(-1, n, m), moved[:, n * m :], of, order=1, tol=1e-10)
    assert beside.gradient is not None
    half = len(theta)
    assert_allclose(found.gradient[0], (beside.loss[:half] - beside.loss[half:]) / 2e-4, rtol=1e-5, atol=1e-6)
    assert_allclose(found.hessian[0], (beside.gradient[:half] - beside.gradient[half:]) / 2e-4, rtol=1e-3, atol=1e-4)
    dW, db = tg.population_gradient(W[0], b[0], of)
    assert_allclose(np.concatenate([dW.ravel(), db]), found.gradient[0], atol=1e-7)
    with jax.enable_x64(True):
        by_jax = jax.grad(lambda w, c: tg.population_loss(w, c, of), argnums=(0, 1))(
            *map(jax.numpy.asarray, (W[0], b[0]))
        )
    assert_allclose(np.concatenate([np.ravel(each) for each in by_jax]), found.gradient[0], atol=1e-6)


def test_models_with_several_ranges_are_evaluated_together():
    highs = [0.5, 1.0, 4.0]
    found = evaluate(W, b, [features(high) for high in highs], order=1)
    for k, high in enumerate(highs):
        alone = evaluate(W[k : k + 1], b[k : k + 1], features(high), order=1)
        assert_allclose(found.loss[k], alone.loss[0], atol=1e-8)
        assert_allclose(found.gradient[k], alone.gradient[0], atol=1e-7)
        # The bounds are of these errors: more accurate ones differ by less.
        sharp = evaluate(W[k : k + 1], b[k : k + 1], features(high), order=1, tol=1e-11)
        assert abs(found.loss[k] - sharp.loss[0]) <= found.error[k] + 1e-11
        assert np.linalg.norm(found.gradient[k] - sharp.gradient[0]) <= found.gradient_error[k] + 1e-10


def test_an_accuracy_that_cannot_be_reached_is_told_in_the_losses_own_units():
    with pytest.raises(ValueError, match=r"population_loss\(tol=1e-13\): tol cannot be reached: .* ask for at least"):
        tg.population_loss(W, b, features(1e3), tol=1e-13)


def test_critical_points_scale_with_the_range():
    """A digon: W = (1, −1), b = 0 is on a kink for magnitudes on any range; nearby, a solution has a bias."""
    pair = [tg.Anticorrelated(2, 0.5)]
    wide = [each.replace(magnitude=tg.UniformMagnitude(0, 3)) for each in pair]
    start = np.array([[0.9], [-0.8]])
    one = tg.critical_point(start, np.array([0.05, 0.05]), tg.FeatureDistribution(pair))
    other = tg.critical_point(start, np.array([0.15, 0.15]), tg.FeatureDistribution(wide))
    assert_allclose(np.abs(other.weights), np.abs(one.weights), atol=1e-6)
    assert_allclose(other.bias, 3 * one.bias, atol=1e-6)
    assert other.loss == pytest.approx(9 * one.loss, rel=1e-6, abs=1e-9)
    assert (other.index, other.kinks) == (one.index, one.kinks)


def test_runs_are_ranked_by_the_exact_loss():
    spec = tg.Spec(
        features=features(3.0), hidden=2, seeds=4, snapshots=1, training=tg.Sampled(steps=20, batch=256)
    )  # fmt: skip
    run = tg.train(spec, progress=False)
    losses = tg.population_loss_along(run, progress=False).values[:, -1]
    x = spec.features.sample(3, 200_000)
    w, c = run.weights.values[:, -1].astype(float), run.bias.values[:, -1].astype(float)
    assert_allclose(empirical_loss(w, c, x, spec.features.importance), losses, rtol=0.02)
    assert tg.best(run, progress=False).seed.item() == int(np.argmin(losses))


@pytest.mark.parametrize(
    ("sets", "rule"),
    [
        ([tg.Independent(1, 0.1), tg.Correlated(3, 0.1, magnitude=tg.UniformMagnitude(0, 2))], "one high for all sets"),
        (
            [
                tg.Correlated(2, 0.1, magnitude=tg.UniformMagnitude(0, 2)),
                tg.Correlated(2, 0.1, magnitude=tg.UniformMagnitude(0, 3)),
            ],
            "one high for all sets",
        ),
        (
            [tg.Equivariant(2, 0.1, 1.0), tg.Correlated(2, 0.1, magnitude=tg.UniformMagnitude(0, 2))],
            "one high for all sets",
        ),
        ([tg.Correlated(4, 0.1, magnitude=tg.UniformMagnitude(0.5, 2))], r"uniform on \[0, high\]"),
    ],
)
def test_sets_of_several_ranges_are_refused(sets: Any, rule: str):
    with pytest.raises(ValueError, match=rf"population_loss\(features=.*: magnitudes must be .*{rule}.*; train with"):
        tg.population_loss(W, b, tg.FeatureDistribution(sets))


@pytest.mark.parametrize("how", [tg.Exact(steps=2), tg.Flow(steps=2)])
def test_training_without_samples_says_how_to_rescale(how):
    spec = tg.Spec(features=features(3.0), hidden=2, seeds=1, training=how)
    rule = (
        rf"train\(Spec\(features=.*, training={type(how).__name__}.*: magnitudes must be uniform on \[0, 1\] to train "
        "without samples; train on those, and then multiply biases by 3 and losses by 9"
    )
    with pytest.raises(ValueError, match=rule):
        tg.train(spec)


def test_training_on_the_unit_range_gives_the_solution_for_another():
    """As that sentence says: the gradient is zero there."""
    run = tg.train(
        tg.Spec(features=features(1.0, 0.1), hidden=2, seeds=2, training=tg.Exact()), progress=False
    ).isel(step=-1)  # fmt: skip
    dW, db = tg.population_gradient(run.weights.values, 3 * run.bias.values, features(3.0, 0.1), tol=1e-9)
    assert np.abs(dW).max() < 1e-6
    assert np.abs(db).max() < 1e-6
    loss = tg.population_loss(run.weights.values, 3 * run.bias.values, features(3.0, 0.1))
    assert_allclose(loss, 9 * run.loss.values, rtol=1e-6)


@pytest.mark.parametrize("how", [tg.Exact(), tg.Flow(duration=300.0)], ids=["Exact", "Flow"])
@pytest.mark.parametrize("law", [tg.HalfNormalMagnitude(2), tg.ConstantMagnitude(0.5), tg.UniformMagnitude(1, 2)])
def test_the_linear_model_is_trained_without_samples_on_any_law(law, how):
    """It ends at the best linear model: the sum of the covariance's last eigenvalues, by hand for a pair of pairs."""
    of = tg.FeatureDistribution([tg.Correlated(2, 0.3, magnitude=law), tg.Correlated(2, 0.1, magnitude=law)])
    run = tg.train(
        tg.Spec(features=of, hidden=1, seeds=2, activation="linear", training=how, snapshots=1), progress=False
    )
    x = of.sample(0, 400_000)
    values = np.linalg.eigvalsh(np.cov(x.T))
    assert_allclose(run.loss.values[:, -1], values[:3].sum(), rtol=0.02)
