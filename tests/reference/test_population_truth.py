"""The truth itself: against quadrature, samples, what can be derived by hand, and its own differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from reference.population_truth import Case, cases, digons, sampled_loss, smoothness, trained_cases, truth
from scipy.integrate import quad

import tegum as tg
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.sets import FeatureSet
from tegum.core.loss.empirical import empirical_gradient, empirical_loss

SMALL = [case for case in cases() if case.small]
each_small = pytest.mark.parametrize("case", SMALL, ids=[case.id for case in SMALL])
DIFFERENTIABLE = [case for case in SMALL if case.smooth >= 1]
each_differentiable = pytest.mark.parametrize("case", DIFFERENTIABLE, ids=[case.id for case in DIFFERENTIABLE])
EXACT = [case for case in cases() if case.exact]
each_exact = pytest.mark.parametrize("case", EXACT, ids=[case.id for case in EXACT])


def named(name: str) -> Case:
    return next(case for case in cases() if case.id == name)


def moved(case: Case, by: np.ndarray) -> tuple[np.ndarray, np.ndarray, FeatureDistribution]:
    cut = case.W.size
    return case.W + by[:cut].reshape(case.W.shape), case.b + by[cut:], case.features


# The loss


@pytest.mark.parametrize("p", [0.1, 0.7, 1.0])
@pytest.mark.parametrize("b", [-0.3, 0.0, 0.2])
@pytest.mark.parametrize("importance", [1.0, 2.5])
def test_without_weights_the_output_is_the_bias(p: float, b: float, importance: float):
    # E[(x − c)²] = p/3 − p c + c², c = b₊.
    c = max(b, 0)
    loss = truth([[0.0]], [b], FeatureDistribution([tg.Independent(1, p, importance)]))
    assert_allclose(loss, importance * (p / 3 - p * c + c**2), rtol=1e-15)


def test_what_is_reconstructed_costs_exactly_nothing():
    for n in (1, 3):
        loss, gradient, _ = truth(np.eye(n), np.zeros(n), FeatureDistribution([tg.Independent(n, 0.3)]), 2)
        assert loss == 0
        assert_array_equal(gradient, 0)


def test_loss_of_a_digon_by_hand():
    # Alone, x is seen as (x + b)₊ for b = −c ≤ 0: E[(x − (x − c)₊)²] = c³/3 + c²(1 − c) = c² − 2c³/3; the other output
    # is 0. Both active: outputs (x₁ − x₂ − c)₊ and (x₂ − x₁ − c)₊, and for each
    # E[(x₁ − (x₁ − x₂ − c)₊)²] = 1/3 − E over x₁ − x₂ = t > c of 2 x₁ (t − c) − (t − c)².
    p, c = 0.2, 0.01
    t = np.polynomial.Polynomial([0, 1])
    # Given t the mean of x₁ is (1 + t)/2, and the density of t is 1 − t.
    gain = ((1 + t) * (t - c) - (t - c) ** 2) * (1 - t)
    both = 1 / 3 - (gain.integ()(1) - gain.integ()(c))
    alone = c**2 - 2 * c**3 / 3
    W, b = digons(1), [-c, -c]
    assert_allclose(truth(W, b, FeatureDistribution([tg.Correlated(2, p)])), 2 * p * both, rtol=1e-14)
    assert_allclose(truth(W, b, FeatureDistribution([tg.Anticorrelated(2, p)])), p * alone, rtol=1e-14)
    independent = 2 * p**2 * both + 2 * p * (1 - p) * alone
    assert_allclose(truth(W, b, FeatureDistribution([tg.Independent(2, p)])), independent, rtol=1e-14)


def integral(f: Callable[..., float], couplings: list[float], bias: float, *x: float) -> float:
    """The integral of f over [0, 1]^k, k ≤ 2, by quadrature between the kinks of (bias + couplings · x)₊."""
    if not couplings:
        return f(*x)
    first, *others = couplings
    # The kink is here, or enters or leaves the range of the other variable here.
    kinks = [-(bias + end) / first for end in (0, *others)] if first else []
    inside = sorted({kink for kink in kinks if 0 < kink < 1}) or None
    return quad(
        lambda u: integral(f, others, bias + first * u, *x, u), 0, 1, points=inside, epsabs=1e-13, epsrel=1e-13
    )[0]


def integrated_loss(G: np.ndarray, b: np.ndarray, patterns: dict[tuple[int, ...], float], importance: Any) -> float:
    total = 0.0
    for active, probability in patterns.items():
        for j, (row, bias) in enumerate(zip(G, b, strict=True)):
            seen = [i for i, each in enumerate(active) if each]
            couplings = [float(row[i]) for i in seen]

            def error(
                *x: float, j: int = j, seen: list[int] = seen, row: np.ndarray = row, bias: float = bias
            ) -> float:
                values = dict(zip(seen, x, strict=True))
                return (values.get(j, 0) - max(bias + sum(row[i] * u for i, u in values.items()), 0)) ** 2

            total += probability * importance[j] * integral(error, couplings, float(bias))
    return total


@pytest.mark.parametrize("w", [0.0, 1e-3, 0.5, 1.0, 1.4])
@pytest.mark.parametrize("b", [-0.4, -0.05, 0.0, 0.3])
def test_one_feature_by_quadrature(w: float, b: float):
    p = 0.35
    expected = integrated_loss(np.array([[w**2]]), np.array([b]), {(0,): 1 - p, (1,): p}, [2.0])
    assert_allclose(
        truth([[w]], [b], FeatureDistribution([tg.Independent(1, p, 2.0)])), expected, rtol=1e-12, atol=1e-14
    )


p, q, s = 0.3, 0.5, 0.4  # densities and the strength
PAIRS: dict[str, tuple[list[FeatureSet], dict[tuple[int, ...], float]]] = {
    "independent": (
        [tg.Independent(2, (p, q))],
        {(0, 0): (1 - p) * (1 - q), (1, 0): p * (1 - q), (0, 1): (1 - p) * q, (1, 1): p * q},
    ),
    "two sets": (
        [tg.Independent(1, p), tg.Anticorrelated(1, q)],
        {(0, 0): (1 - p) * (1 - q), (1, 0): p * (1 - q), (0, 1): (1 - p) * q, (1, 1): p * q},
    ),
    "correlated": ([tg.Correlated(2, p)], {(0, 0): 1 - p, (1, 1): p}),
    "correlated, unequal": ([tg.Correlated(2, (p, q))], {(0, 0): 1 - q, (0, 1): q - p, (1, 1): p}),
    "anticorrelated": ([tg.Anticorrelated(2, (p, q))], {(0, 0): 1 - (p + q) / 2, (1, 0): p / 2, (0, 1): q / 2}),
    "partially correlated": (
        [tg.PartiallyCorrelated(2, p, s)],
        {
            (0, 0): s * (1 - p) + (1 - s) * (1 - p) ** 2,
            (1, 0): (1 - s) * p * (1 - p),
            (0, 1): (1 - s) * p * (1 - p),
            (1, 1): s * p + (1 - s) * p**2,
        },
    ),
    "always active": ([tg.Independent(2, 1.0)], {(1, 1): 1.0}),
}


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize(
    ("W", "b"),
    [
        ([[0.9, 0.1], [-0.7, 0.5]], [-0.1, 0.07]),
        ([[1.0, 0.0], [-1.0, 0.0]], [-0.01, 0.0]),
        ([[0.8, 0.3], [0.8, 0.3]], [-0.2, -0.9]),
        ([[1.0, 1e-3], [1e-3, -0.9]], [0.02, -0.05]),
    ],
    ids=["generic", "digon", "collapsed", "nearly orthogonal"],
)
def test_two_features_by_quadrature(kind: str, W: list[list[float]], b: list[float]):
    sets, patterns = PAIRS[kind]
    G = np.array(W) @ np.array(W).T
    expected = integrated_loss(G, np.array(b), patterns, np.ones(2))
    assert_allclose(truth(W, b, FeatureDistribution(sets)), expected, rtol=1e-11)


@each_exact
def test_loss_is_that_of_samples(case: Case):
    mean, error = sampled_loss(case.W, case.b, case.features, 20_000, 0)
    assert abs(mean - truth(case.W, case.b, case.features)) <= 4.5 * error


def test_loss_of_trained_models_is_that_of_samples():
    compared = [case for case in trained_cases() if case.exact]
    assert len(compared) >= 4
    for case in compared:
        mean, error = sampled_loss(case.W, case.b, case.features, 20_000, 1)
        assert abs(mean - truth(case.W, case.b, case.features)) <= 4.5 * error


def test_loss_is_a_sum_over_what_does_not_interact():
    wide, digon = named("wide-digons-negative-bias"), [tg.Correlated(2, 0.05)]
    alone = truth(digons(1), [-0.01] * 2, FeatureDistribution(digon))
    dead = truth(np.zeros((4, 1)), [0.04] * 4, FeatureDistribution([tg.Correlated(2, 0.1)] * 2))
    assert_allclose(truth(wide.W, wide.b, wide.features), 18 * alone + dead, rtol=1e-15)


def test_loss_knows_no_order_of_the_features():
    case = named("three-pairs")
    swapped = [4, 5, 0, 1, 3, 2]
    expected = truth(case.W, case.b, case.features, 2)
    found = truth(case.W[swapped], case.b[swapped], case.features, 2)
    n, m = case.W.shape
    index = np.concatenate([np.arange(n * m).reshape(n, m)[swapped].ravel(), n * m + np.array(swapped)])
    assert found[0] == expected[0]
    assert_array_equal(found[1], expected[1][index])
    assert_array_equal(found[2], expected[2][np.ix_(index, index)])


@pytest.mark.parametrize("tilt", [1e-12, 1e-9, 1e-200])
def test_tiny_couplings_are_no_trouble(tilt: float):
    features = FeatureDistribution([tg.PartiallyCorrelated(2, 0.1, 0.5), tg.Independent(3, 0.2)])
    lean = np.random.default_rng(3).standard_normal((5, 2))
    W, b = digons(2, 1), np.array([-0.01, -0.02, -0.01, -0.05, 0.04])
    loss, gradient, hessian = truth(W, b, features, 2)
    near, gradient_near, hessian_near = truth(W + tilt * lean, b, features, 2)
    change = (W + tilt * lean - W).ravel()
    assert_allclose(near, loss + gradient[:10] @ change, rtol=4e-16)
    assert_allclose(gradient_near, gradient + hessian[:, :10] @ change, atol=1e-15)
    assert_allclose(hessian_near, hessian, atol=200 * tilt + 1e-15)


# Derivatives


def slope(f: Callable[[float], Any], step: float = 1e-6) -> Any:
    """f'(0) by central differences."""
    return (f(step) - f(-step)) / (2 * step)


@each_differentiable
def test_gradient_is_that_of_differences(case: Case):
    loss, gradient = truth(case.W, case.b, case.features, 1)
    assert loss == truth(case.W, case.b, case.features)
    assert gradient.shape == (case.W.size + case.b.size,)
    direction = np.random.default_rng(0).standard_normal(gradient.size)
    # Where the curvature jumps differences are of first order.
    step, tolerance = (1e-6, 1e-8) if case.smooth == 2 else (1e-7, 1e-6)
    expected = slope(lambda t: truth(*moved(case, t * direction)), step)
    assert_allclose(gradient @ direction, expected, rtol=tolerance, atol=tolerance)


@each_small
def test_hessian_is_that_of_differences(case: Case):
    loss, gradient, hessian = truth(case.W, case.b, case.features, 2)
    assert loss == truth(case.W, case.b, case.features)
    assert_array_equal(gradient, truth(case.W, case.b, case.features, 1)[1])
    assert_array_equal(hessian, hessian.T)
    if case.smooth == 2:
        direction = np.random.default_rng(1).standard_normal(gradient.size)
        expected = slope(lambda t: truth(*moved(case, t * direction), 1)[1])
        assert_allclose(hessian @ direction, expected, rtol=1e-7, atol=1e-7 * max(1, np.abs(hessian).max()))


@pytest.mark.parametrize("name", ["mixed-5", "two-digons-negative-bias-dead-rows", "partially-unequal-3"])
def test_derivatives_are_those_of_differences_in_every_parameter(name: str):
    case = named(name)
    _, gradient, hessian = truth(case.W, case.b, case.features, 2)
    for axis, (first, row) in enumerate(zip(gradient, hessian, strict=True)):
        unit = np.eye(gradient.size)[axis]
        (below, gradient_below), (above, gradient_above) = (truth(*moved(case, t * unit), 1) for t in (-1e-6, 1e-6))
        assert_allclose(first, (above - below) / 2e-6, rtol=1e-8, atol=1e-9)
        assert_allclose(row, (gradient_above - gradient_below) / 2e-6, rtol=1e-7, atol=1e-9)


def test_derivatives_of_a_dead_row_by_hand():
    # L = p/3 − p b + b² in b ≥ 0, and p/3 below.
    p = 0.3
    distribution = FeatureDistribution([tg.Independent(1, p)])
    for b, first, second in ((0.1, 0.2 - p, 2), (-0.1, 0, 0), (0.0, 0, 0)):
        _, gradient, hessian = truth([[0.0]], [b], distribution, 2)
        assert_allclose(gradient, [0, first], atol=1e-16)
        # A coupling g = w² is added to the input: d²L/dw² = 2 dL/dg, and dL/dg = E[2 (b − x) x] in b > 0.
        coupling = p * (b - 2 / 3) if b > 0 else 0
        assert_allclose(hessian, [[2 * coupling, 0], [0, second]], atol=1e-15)


@pytest.mark.parametrize("name", ["zero", "dead-positive-bias", "mixed-6", "bias-zero", "three-digons-zero-bias"])
def test_gradient_is_that_of_samples(name: str):
    # Kinks included: training takes relu'(0) to be 0.
    case = named(name)
    importance = case.features.importance
    blocks = []
    for key in range(40):
        x = case.features.sample([5, key], 500)
        dW, db = empirical_gradient(case.W, case.b, x, importance)
        blocks.append(np.concatenate([dW.ravel(), db]))
    error = np.std(blocks, axis=0, ddof=1) / np.sqrt(len(blocks))
    difference = np.abs(np.mean(blocks, axis=0) - truth(case.W, case.b, case.features, 1)[1])
    assert (difference <= 4.5 * error + 1e-15).all()


def test_smoothness():
    pairs = FeatureDistribution([tg.Correlated(2, 0.1)])
    assert smoothness(np.zeros((2, 1)), [-0.1, 0.1], pairs) == 2
    assert smoothness(np.zeros((2, 1)), [-0.1, 0.0], pairs) == 0
    assert smoothness(digons(1), [-0.1, 0.0], pairs) == 1
    assert smoothness(np.eye(2), [-0.1, -1.0], pairs) == 1
    assert smoothness(digons(1), [-0.1, -1.0], pairs) == 2
    assert smoothness(digons(1), [-0.1, -1.0], FeatureDistribution([tg.Anticorrelated(2, 0.1)])) == 1
    assert smoothness(digons(1), [-0.1, 0.0], FeatureDistribution([tg.Independent(2, 1.0)])) == 2


# Samples


@pytest.mark.parametrize("name", ["mixed-6", "wide-40"])
def test_sampled_loss_is_the_empirical_one(monkeypatch: pytest.MonkeyPatch, name: str):
    case = named(name)
    monkeypatch.setitem(sampled_loss.__globals__, "BLOCK_ELEMENTS", 100 * case.features.n)
    x = np.concatenate([case.features.sample([7, block], size) for block, size in enumerate((100, 100, 50))])
    losses = [empirical_loss(case.W, case.b, each[None], case.features.importance) for each in x]
    mean, error = sampled_loss(case.W, case.b, case.features, 250, 7)
    assert_allclose(mean, np.mean(losses), rtol=1e-12)
    assert_allclose(error, np.std(losses, ddof=1) / np.sqrt(250), rtol=1e-12)
    assert sampled_loss(case.W, case.b, case.features, 250, 7) == (mean, error)
    assert sampled_loss(case.W, case.b, case.features, 250, 8) != (mean, error)


# The cases


def test_cases_cover_what_they_should():
    ids = [case.id for case in cases()]
    assert len(set(ids)) == len(ids)
    mixtures = {name for name, kind in FeatureSet.kinds.items() if issubclass(kind, tg.GatedSet)}
    assert {kind for case in cases() for kind in case.features.kind_of_feature} == mixtures
    assert {case.features.n for case in cases()} >= {1, 2, 3, 4, 5, 6, 12, 20, 40}
    assert {case.smooth for case in cases() if case.exact} == {0, 1, 2}
    assert all(case.exact for case in cases() if case.small)
    for case in (*cases(), *trained_cases()):
        assert case.W.shape[0] == case.b.size == case.features.n
        assert case.W.dtype == case.b.dtype == np.float64
