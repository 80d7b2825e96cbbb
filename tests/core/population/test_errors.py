"""That reported errors are bounds where that is hard: features hardly coupled, biases next to zero, corners nearby."""

import itertools

import numpy as np
import pytest
from reference.population_truth import truth

from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.sets import Anticorrelated, Correlated, Independent, PartiallyCorrelated
from tegum.core.population.autodiff.set_arrays import series_of
from tegum.core.population.evaluate import evaluate
from tegum.core.population.truncation_tail import DISTANCES, SERIES_ERRORS, WEAK_PHASE, tail_bounds


@pytest.mark.parametrize("count", [32, 64, 128, 500])
def test_what_is_left_out_at_a_distance(count: int) -> None:
    """The two series and their derivatives, summed as they are written down (with M = 1)."""
    position = (np.arange(count) + 0.5) / count
    y = np.clip(2 * position - 1, 1e-3, 1 - 1e-3)
    falling = 1 / (1 + np.exp(1 / (1 - y) - 1 / y))
    weight = np.where(position <= 0.5, 1, falling)
    k = 2 * np.arange(count) + 1
    distance = np.arange(0, min(np.pi * count / 2, 200), 0.04)
    z = distance / (count * np.pi)
    t = k * np.pi * z[:, None]
    errors = (
        count * np.abs(z - 0.5 + 4 / np.pi**2 * (weight * np.cos(t) / k**2).sum(1)),
        count**2 * np.abs(z**2 - z + 8 / np.pi**3 * (weight * np.sin(t) / k**3).sum(1)),
        np.abs(1 - 4 / np.pi * (weight * np.sin(t) / k).sum(1)),
        4 / count * np.abs((weight * np.cos(t)).sum(1)),
    )
    for error, column in zip(errors, SERIES_ERRORS, strict=True):
        bound = np.exp(np.interp(distance, DISTANCES, np.log(column)))
        assert (error <= bound + 1e-12).all()
        # The largest error at any greater distance: the bound is not wild either.
        onwards = np.maximum.accumulate(error[::-1])[::-1]
        assert np.median((bound / onwards)[onwards > 1e-11]) < 3


def test_how_often_weakly_coupled_features_are_active_together() -> None:
    features = FeatureDistribution(
        [Correlated(2, 0.2), Independent(2, 0.3), Anticorrelated(2, 0.6), PartiallyCorrelated(2, 0.4, 0.5)]
    )
    rng = np.random.default_rng(0)
    scale, count = 2.0, 50
    groups = series_of(features).groups
    patterns = {active: _probability(features, active) for active in itertools.product((False, True), repeat=8)}
    for trial in range(20):
        a = rng.choice([0.0, 1e-12, 1e-4, 1e-3, -1e-2, 0.5], 8)
        coupled = np.abs(a) > 1e-9
        weak = coupled & (np.abs(a) * np.pi * count / scale < WEAK_PHASE)
        own = np.arange(8) == trial % 8
        strong = coupled & ~weak
        expected = 0.0
        for active, p in patterns.items():
            at = np.array(active)
            expected += p * (not strong[at].any() and coupled[at].sum() >= 2)
        loss, slope, _ = tail_bounds(a, np.array(0.0), own, coupled, np.array(scale), count, groups)
        unit = scale / count
        marked = 0 if (own & coupled & ~weak).any() else 1
        loose = 1 + (weak | ~coupled).sum()
        np.testing.assert_allclose(loss, expected * (marked * 0.14 * unit + 0.023 * unit**2 / 2), atol=1e-15)
        np.testing.assert_allclose(slope, expected * (marked * 1.1 + 0.14 * unit) * loose**0.5, atol=1e-15)


def _probability(features: FeatureDistribution, active: tuple[bool, ...]) -> float:
    probability, start = 1.0, 0
    for table in features.tables():
        here = np.array(active[start : start + table.gates.shape[1]])
        probability *= float(table.weights @ np.where(here, table.gates, 1 - table.gates).prod(1))
        start += len(here)
    return probability


def nearly_orthogonal(seed: int, count: int) -> list[tuple[FeatureDistribution, np.ndarray, np.ndarray]]:
    """Rows along the axes, or of zeros, turned by a little; biases of every size; up to three features."""
    rng = np.random.default_rng(seed)
    models = []
    for _ in range(count):
        n, p = int(rng.integers(2, 4)), float(10 ** rng.uniform(-2, -0.05))
        kinds = (Independent(n, p), Correlated(n, p), PartiallyCorrelated(n, p, 0.5))
        m = int(rng.integers(1, n + 1))
        w = np.zeros((n, m))
        for i, axis in enumerate(rng.permutation(n) % m):
            w[i, axis] = rng.choice([-1, 1]) * rng.choice([1, 1, 0.7, 10 ** rng.uniform(-3, 0)])
        w[rng.random(n) < 0.1] = 0
        w += 10 ** rng.uniform(-9, -1) * rng.standard_normal((n, m))
        b = rng.choice([-1, 1], n) * 10 ** rng.uniform(-9, -0.5, n)
        b[rng.random(n) < 0.15] = 0
        models.append((FeatureDistribution([kinds[rng.integers(3)]]), w, b))
    return models


def _check(seed: int, count: int, tol: float) -> None:
    for features, w, b in nearly_orthogonal(seed, count):
        loss, gradient, hessian = truth(w, b, features, derivatives=2)
        found = evaluate(w[None], b[None], features, order=2, tol=tol, strict=False)
        assert found.gradient is not None
        assert found.gradient_error is not None
        assert found.hessian is not None
        assert found.hessian_error is not None
        assert abs(found.loss[0] - loss) <= found.error[0]
        assert np.linalg.norm(found.gradient[0] - gradient) <= found.gradient_error[0]
        assert np.linalg.norm(found.hessian[0] - hessian) <= found.hessian_error[0]


def test_errors_are_bounds_in_nearly_orthogonal_models() -> None:
    _check(seed=1, count=20, tol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("tol", [1e-5, 1e-7, 1e-9])
def test_errors_are_bounds_in_a_thousand_nearly_orthogonal_models(tol: float) -> None:
    _check(seed=2, count=1000, tol=tol)


@pytest.mark.parametrize("bias", [1e-9, 1e-7, -4e-7, 1.3e-6, -1.99e-6, 2.7e-6, 3.9e-6, 1e-5])
def test_a_corner_near_by_is_seen(bias: float) -> None:
    """Of two features that leave each other alone: at a bias of 0, which differences may straddle."""
    features = FeatureDistribution([Independent(2, 0.3, importance=(1e-3, 1.0))])
    w, b = np.array([[0.8, 0.0], [0.0, 0.9]]), np.array([bias, -0.1])
    _, _, hessian = truth(w, b, features, derivatives=2)
    found = evaluate(w[None], b[None], features, order=2, strict=False)
    assert found.hessian is not None
    assert found.hessian_error is not None
    assert np.linalg.norm(found.hessian[0] - hessian) <= found.hessian_error[0]
    if abs(bias) > 4e-6:
        assert found.hessian_error[0] < 1e-4


@pytest.mark.parametrize("own", [1e-9, 1e-5, 1e-3])
@pytest.mark.parametrize("end", [0.0, 1.0])
@pytest.mark.parametrize("tol", [1e-5, 1e-9])
def test_a_feature_that_hardly_reaches_its_own_output_decides_which_side_another_one_ends(
    own: float, end: float, tol: float
) -> None:
    """Where x_i is 0 or 1, b + a_i x_i = 0, so that a_j x_j, too small to be seen, moves z = 0 in or out."""
    features = FeatureDistribution([Independent(2, 0.1)])
    w = np.array([[np.sqrt(own)], [-1.0]])
    b = np.array([end * np.sqrt(own), -0.003])
    _, _, hessian = truth(w, b, features, derivatives=2)
    found = evaluate(w[None], b[None], features, order=2, tol=tol, strict=False)
    assert found.hessian is not None
    assert found.hessian_error is not None
    assert np.linalg.norm(found.hessian[0] - hessian) <= found.hessian_error[0]


def test_an_output_that_is_always_zero_is_no_trouble_to_its_neighbours() -> None:
    features = FeatureDistribution([Independent(3, 0.1)])
    w, b = np.array([[1e-6], [-1.0], [0.0]]), np.array([0.0, -0.003, 0.0])
    _, _, hessian = truth(w, b, features, derivatives=2)
    found = evaluate(w[None], b[None], features, order=2, strict=False)
    assert found.hessian is not None
    assert found.hessian_error is not None
    assert np.linalg.norm(found.hessian[0] - hessian) <= found.hessian_error[0]


@pytest.mark.parametrize("size", [1e-2, 1.0, 300.0])
def test_hessians_of_tiny_and_of_huge_weights(size: float) -> None:
    features = FeatureDistribution([Correlated(2, 0.2), Independent(1, 0.4)])
    rng = np.random.default_rng(3)
    w, b = size * rng.normal(size=(3, 2)), -0.1 * size**2 * rng.uniform(size=3)
    _, _, hessian = truth(w, b, features, derivatives=2)
    found = evaluate(w[None], b[None], features, order=2, strict=False)
    assert found.hessian is not None
    assert found.hessian_error is not None
    off = np.linalg.norm(found.hessian[0] - hessian)
    assert off <= found.hessian_error[0]
    assert off <= 1e-5 * max(1, np.linalg.norm(hessian))
