"""Loss, gradient and Hessian to an asked accuracy, against exact rational arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from reference.population_truth import Case, cases, sampled_loss, trained_cases, truth

from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.sets import Correlated, Equivariant, Independent
from tegum.core.population.evaluate import evaluate

SMALL = [case for case in cases() if case.small]


def by_id(case: Case) -> str:
    return case.id


@pytest.mark.parametrize("case", SMALL, ids=by_id)
def test_agrees_with_the_truth_and_errors_are_bounds(case: Case) -> None:
    loss, gradient, hessian = truth(case.W, case.b, case.features, 2)
    found = evaluate(case.W[None], case.b[None], case.features, order=2, strict=False)
    assert abs(found.loss[0] - loss) <= found.error[0] <= 1e-8
    if case.smooth >= 1:
        off = np.linalg.norm(found.gradient[0] - gradient)
        assert off <= found.gradient_error[0]
        assert off <= 1e-8 * max(1, np.linalg.norm(gradient))
    if case.smooth >= 2:
        off = np.linalg.norm(found.hessian[0] - hessian)
        assert off <= found.hessian_error[0]
        assert off <= 1e-5 * max(1, np.linalg.norm(hessian))


def test_trained_models_agree_with_the_truth() -> None:
    for case in trained_cases():
        if not case.small:
            continue
        loss, gradient, hessian = truth(case.W, case.b, case.features, 2)
        found = evaluate(case.W[None], case.b[None], case.features, order=2)
        assert abs(found.loss[0] - loss) <= found.error[0]
        assert np.linalg.norm(found.gradient[0] - gradient) <= found.gradient_error[0] <= 1e-8
        assert np.linalg.norm(found.hessian[0] - hessian) <= found.hessian_error[0] <= 1e-5 * np.linalg.norm(hessian)


def test_a_corner_of_the_gradient_has_no_certain_hessian() -> None:
    # Two antipodal rows with a bias of exactly 0: the output of neither is on or off where nothing is active.
    found = evaluate(
        np.array([[[1.0], [-1.0]]]), np.zeros((1, 2)), FeatureDistribution([Independent(2, 0.1)]), order=2, strict=False
    )
    assert found.hessian_error[0] > 0.1


@pytest.mark.parametrize("case", [case for case in cases() if not case.small and case.exact], ids=by_id)
def test_larger_models_agree_with_the_truth(case: Case) -> None:
    loss, gradient = truth(case.W, case.b, case.features, 1)
    found = evaluate(case.W[None], case.b[None], case.features, order=1, strict=False)
    assert abs(found.loss[0] - loss) <= found.error[0] <= 1e-8
    if case.smooth >= 1:
        assert (
            np.linalg.norm(found.gradient[0] - gradient)
            <= found.gradient_error[0]
            <= 1e-8 * max(1, np.linalg.norm(gradient))
        )


@pytest.mark.parametrize("case", [case for case in cases() if not case.exact], ids=by_id)
def test_dense_models_agree_with_samples(case: Case) -> None:
    mean, error = sampled_loss(case.W, case.b, case.features, 200_000, seed=3)
    found = evaluate(case.W[None], case.b[None], case.features)
    assert abs(found.loss[0] - mean) < 4.5 * error


def agrees_with_ten_million_samples(case: Case) -> bool:
    mean, error = sampled_loss(case.W, case.b, case.features, 10_000_000, seed=4)
    found = evaluate(case.W[None], case.b[None], case.features)
    return bool(abs(found.loss[0] - mean) < 4 * error + 1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("case", cases(), ids=by_id)
def test_ten_million_samples(case: Case) -> None:
    assert agrees_with_ten_million_samples(case)


@pytest.mark.slow
def test_ten_million_samples_of_trained_models() -> None:
    # Not by parameters: whoever collects this file would train them.
    assert [case.id for case in trained_cases() if not agrees_with_ten_million_samples(case)] == []


def random_models(seed: int, count: int) -> list[tuple[FeatureDistribution, np.ndarray, np.ndarray]]:
    """Models of every scale on distributions of every kind."""
    from tegum.core.features.sets import Anticorrelated, PartiallyCorrelated

    rng = np.random.default_rng(seed)
    models = []
    for _ in range(count):
        sets = []
        for _ in range(rng.integers(1, 4)):
            size, density = int(rng.integers(1, 3)), float(10 ** rng.uniform(-2, 0))
            kind = (Independent, Correlated, Anticorrelated, PartiallyCorrelated)[rng.integers(4)]
            extra = (float(rng.uniform()),) if kind is PartiallyCorrelated else ()
            sets.append(kind(size, density, *extra))
        features = FeatureDistribution(sets)
        shape = (features.n, int(rng.integers(1, 4)))
        w = rng.normal(size=shape) * 10 ** rng.uniform(-1.5, 0.2)
        models.append((features, w, rng.normal(size=features.n) * 10 ** rng.uniform(-2, 0)))
    return models


def _ratios(models: list[tuple[FeatureDistribution, np.ndarray, np.ndarray]], tol: float) -> np.ndarray:
    """Reported error over true error of the loss, where that is more than rounding."""
    ratios = []
    for features, w, b in models:
        found = evaluate(w[None], b[None], features, tol=tol)
        if features.n <= 5:
            exact = truth(w, b, features)
        else:
            exact = evaluate(w[None], b[None], features, tol=1e-4 * tol, strict=False).loss[0]
        true = abs(found.loss[0] - exact)
        if true > 1e-14:
            ratios.append(found.error[0] / true)
        else:
            assert true <= found.error[0]
    return np.array(ratios)


def test_the_reported_error_is_a_bound_and_no_wild_one() -> None:
    ratios = _ratios(random_models(seed=11, count=300), tol=1e-7)
    assert len(ratios) > 150
    assert ratios.min() >= 1
    assert np.median(ratios) <= 30


@pytest.mark.slow
def test_the_reported_error_is_a_bound_in_a_thousand_models() -> None:
    ratios = _ratios(random_models(seed=12, count=1000), tol=1e-7)
    assert ratios.min() >= 1
    assert np.median(ratios) <= 30


@pytest.mark.slow
def test_the_reported_error_is_a_bound_in_two_hundred_trained_models() -> None:
    import tegum as tg

    models = []
    for features, hidden in (
        ([tg.Correlated(2, 0.05)] * 3, 2),
        ([tg.Independent(6, 0.1)], 2),
        ([tg.Anticorrelated(3, 0.3)] * 2, 2),
        ([tg.PartiallyCorrelated(3, 0.1, 0.5)] * 2, 3),
    ):
        run = tg.train(tg.Spec(features=features, hidden=hidden, seeds=50, training=tg.Sampled(steps=4000)))
        for seed in range(50):
            end = run.isel(seed=seed, step=-1)
            models.append((tg.FeatureDistribution(features), end.weights.values * 1.0, end.bias.values * 1.0))
    ratios = _ratios([(f, w.astype(np.float64), b.astype(np.float64)) for f, w, b in models], tol=1e-7)
    assert ratios.min() >= 1
    assert np.median(ratios) <= 30


def test_a_run_does_not_depend_on_the_runs_beside_it() -> None:
    rng = np.random.default_rng(1)
    w, b = rng.normal(size=(20, 4, 2)), rng.normal(size=(20, 4)) * 0.1
    features = [FeatureDistribution([Correlated(2, p)] * 2) for p in (0.05, 0.4)]
    given = [features[run % 2] for run in range(20)]
    together = evaluate(w, b, given, order=2)
    for run in (0, 7, 19):
        alone = evaluate(w[run : run + 1], b[run : run + 1], given[run], order=2)
        assert alone.loss[0] == together.loss[run]
        assert (alone.gradient[0] == together.gradient[run]).all()
        assert (alone.hessian[0] == together.hessian[run]).all()


def test_a_diverged_run_is_nan_among_others() -> None:
    w, b = np.ones((2, 2, 1)), np.zeros((2, 2))
    w[1, 0, 0] = np.nan
    features = FeatureDistribution([Independent(2, 0.5)])
    found = evaluate(w, b, features, strict=False)
    assert np.isfinite(found.loss[0])
    assert np.isnan(found.loss[1])
    with pytest.raises(ValueError, match="model 1 has a parameter that is not finite"):
        evaluate(w, b, features)


def test_a_tolerance_out_of_reach_is_refused() -> None:
    features = FeatureDistribution([Independent(3, 0.5)])
    w = np.random.default_rng(0).normal(size=(1, 3, 2))
    with pytest.raises(ValueError, match=r"tol=1e-20\): tol cannot be reached: the loss of model 0"):
        evaluate(w, np.zeros((1, 3)), features, tol=1e-20)


def test_the_linear_model_against_its_moments_by_sampling() -> None:
    features = FeatureDistribution([Correlated(2, 0.3, importance=(1.0, 0.5)), Independent(2, 0.6)])
    rng = np.random.default_rng(1)
    w, b = rng.normal(size=(4, 2)) * 0.7, rng.normal(size=4) * 0.2
    found = evaluate(w[None], b[None], features, order=2, activation="linear")
    x = features.sample(5, 400_000)
    z = x @ w @ w.T + b
    each = ((x - z) ** 2 * features.importance).sum(1)
    assert abs(found.loss[0] - each.mean()) < 4.5 * each.std() / np.sqrt(len(each))
    theta, step = np.append(w, b), 1e-5
    moved = [theta + sign * step * np.eye(12)[k] for k in range(12) for sign in (1, -1)]
    around = evaluate(
        np.array([each[:8].reshape(4, 2) for each in moved]),
        np.array([each[8:] for each in moved]),
        features,
        order=1,
        activation="linear",
    )
    assert_allclose(found.gradient[0], (around.loss[::2] - around.loss[1::2]) / (2 * step), atol=1e-9)
    assert_allclose(found.hessian[0], (around.gradient[::2] - around.gradient[1::2]) / (2 * step), atol=1e-8)


@pytest.mark.quick_form
def test_equivariant_features_agree_with_samples() -> None:
    features = FeatureDistribution([Equivariant(4, 0.3, 0.7), Independent(1, 0.2)])
    rng = np.random.default_rng(2)
    w, b = rng.normal(size=(5, 2)) * 0.6, rng.normal(size=5) * 0.1
    found = evaluate(w[None], b[None], features)
    mean, error = sampled_loss(w, b, features, 1_000_000, seed=1)
    assert abs(found.loss[0] - mean) < 4.5 * error
    assert found.error[0] <= 1e-8


def test_shapes_and_requests_are_checked_before_the_kernel_sees_them() -> None:
    import inspect

    unchecked = inspect.unwrap(evaluate)
    features = FeatureDistribution([Independent(3, 0.2)])
    w, b = np.ones((1, 3, 2)), np.zeros((1, 3))
    refused = [
        ((w, b[:, :2]), {}, r"weights of shape \(1, 3, 2\), bias of shape \(1, 2\)"),
        ((w[:, :, :0], b), {}, "they must have the shapes"),
        ((w, b), {"order": 3}, r"evaluate\(order=3\): order must be 0, 1 or 2"),
        ((w, b), {"tol": 0.0}, r"evaluate\(tol=0.0\): tol must be a positive number"),
        ((w, b), {"activation": "gelu"}, "activation='gelu'"),
    ]
    for model, options, sentence in refused:
        with pytest.raises(ValueError, match=sentence):
            unchecked(*model, features, **options)
