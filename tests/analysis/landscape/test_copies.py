"""Symmetric copies of one state are the same state: features in another order, hidden space turned or reflected."""

import functools
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import brentq, minimize

from tegum.analysis.landscape.continuation import follow
from tegum.analysis.landscape.critical_points import critical_point
from tegum.analysis.landscape.phases import phase_boundary
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.empirical import Empirical
from tegum.core.features.sets import Anticorrelated, Correlated, FeatureSet, Independent, PartiallyCorrelated
from tegum.core.loss.population import population_gradient, population_loss

pytestmark = pytest.mark.quick_form
"""Many boundaries: for the stage that has the time."""

REFLECTION = np.array([[0.6, 0.8], [0.8, -0.6]])


def last_varies(density: float) -> FeatureDistribution:
    """Five features of density 0.05, the last of another one."""
    return FeatureDistribution([Independent(5, density=[0.05] * 4 + [density])])


def pentagon() -> tuple[np.ndarray, np.ndarray]:
    angles = 2 * np.pi * np.arange(5) / 5
    return np.stack([np.cos(angles), np.sin(angles)], 1), np.full(5, -0.3)


def digons(absent: int) -> tuple[np.ndarray, np.ndarray]:
    """Two of them, without one feature."""
    weights, bias = np.zeros((5, 2)), np.zeros(5)
    weights[[i for i in range(5) if i != absent]] = [[1, 0], [-1, 0], [0, 1], [0, -1]]
    bias[absent] = 0.025
    return weights, bias


def lone(density: float) -> float:
    """What a feature that is not represented costs: its variance, with magnitudes uniform on [0, 1]."""
    return density / 3 - density**2 / 4


def digon_loss(density: float) -> float:
    """Of two features of this density in one dimension, W = (w, −w) and one bias: the least population loss."""
    return pair_loss(Independent(2, density=density))


@functools.cache
def pair_loss(pair: FeatureSet) -> float:
    """The same of any two features that are alike."""
    features = FeatureDistribution([pair])

    def at(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        model = parameters[0] * np.array([[1.0], [-1.0]]), np.full(2, parameters[1])
        dW, db = population_gradient(*model, features, tol=1e-11)
        return population_loss(*model, features, tol=1e-11), np.array([dW[0, 0] - dW[1, 0], db.sum()])

    return float(minimize(at, [1.0, 0.001], jac=True, method="BFGS", options={"gtol": 1e-8}).fun)


class TestCriticalPoint:
    @pytest.mark.parametrize("density", [0.03, pytest.param(0.005, marks=pytest.mark.slow)])
    def test_of_every_copy_is_found_and_the_same(self, density):
        (weights, bias), (others, other_bias) = digons(0), digons(1)
        found = critical_point(weights, bias, last_varies(density))
        other = critical_point(others @ REFLECTION, other_bias, last_varies(density))
        assert (found.index, other.index) == (0, 0)
        assert_allclose(other.loss, found.loss, rtol=0, atol=1e-13)
        assert_allclose(other.eigenvalues, found.eigenvalues, rtol=0, atol=1e-5)

    def test_of_two_digons_costs_what_two_digons_and_the_absent_feature_cost(self):
        found = critical_point(*digons(4), last_varies(0.01))
        assert_allclose(found.loss, 2 * digon_loss(0.05) + lone(0.01), rtol=0, atol=1e-10)

    def test_is_left_where_it_is_by_following_what_it_does_not_hold(self):
        point = critical_point(*digons(4), last_varies(0.05))
        branch = follow(point, last_varies, [0.05, 0.01], tol=1e-9)
        assert branch.complete
        assert set(branch.index) == {0}
        at = [2 * digon_loss(0.05) + lone(density) for density in branch.values]
        assert_allclose(branch.loss, at, rtol=0, atol=1e-9)


class TestBoundary:
    def test_lies_where_both_minima_cost_the_same(self):
        a, b = (critical_point(*each, last_varies(0.05)) for each in (pentagon(), digons(4)))
        boundary = phase_boundary(a, b, last_varies(0.05), last_varies, 0.01, 0.05, tol=1e-6, start=0.05)
        features = last_varies(boundary.value)

        def loss(theta: np.ndarray) -> float:
            return population_loss(theta[:10].reshape(5, 2), theta[10:], features, tol=1e-10)

        def slope(theta: np.ndarray) -> np.ndarray:
            dW, db = population_gradient(theta[:10].reshape(5, 2), theta[10:], features, tol=1e-10)
            return np.concatenate([dW.ravel(), db])

        start = np.concatenate([each.ravel() for each in pentagon()])
        best = minimize(loss, start, jac=slope, method="BFGS", options={"gtol": 1e-9}).fun
        two = 2 * digon_loss(0.05) + lone(boundary.value)
        assert abs(best - two) <= abs(boundary.slope) * boundary.error + 1e-9

    def test_is_refused_where_there_is_none(self):
        # Two digons without another feature than the last are always dearer: they lose one of density 0.05.
        a, b = (critical_point(*each, last_varies(0.05)) for each in (pentagon(), digons(1)))
        with pytest.raises(ValueError, match=r"L_a − L_b is -0\.0115 and -0\.008802 .* must change their order"):
            phase_boundary(a, b, last_varies(0.05), last_varies, 0.01, 0.05, tol=1e-8)

    @pytest.mark.parametrize(
        ("order", "sign"), [((0, 1, 2), 1.0), pytest.param((2, 0, 1), -1.0, marks=pytest.mark.slow)]
    )
    def test_of_pairs_lies_where_their_features_are_alike(self, order, sign):
        """Room for two of three: 0 with 1, of importance 0.8, or with 2, whose importance is varied."""

        def features(importance: float) -> FeatureDistribution:
            given = np.array([1.0, 0.8, importance])
            return FeatureDistribution([Independent(1, density=0.1, importance=given[i]) for i in order])

        def pair(other: int) -> tuple[np.ndarray, np.ndarray]:
            weights, bias = np.zeros((3, 1)), np.full(3, 0.05)
            weights[0], weights[other] = sign, -sign
            bias[[0, other]] = 0.0
            return weights[list(order)], bias[list(order)]

        a, b = (critical_point(*pair(other), features(0.9)) for other in (1, 2))
        boundary = phase_boundary(a, b, features(0.9), features, 0.6, 1.0, start=0.9)
        assert boundary.kind == "first order"
        assert abs(boundary.value - 0.8) <= boundary.error

    def test_tells_a_function_that_returns_no_such_features(self):
        point = critical_point(*digons(4), last_varies(0.05))
        with pytest.raises(ValueError, match=r"parameter\(0\.01\) is .*: it must return a FeatureDistribution of 5"):
            phase_boundary(point, point, last_varies(0.05), lambda value: value, 0.01, 0.05)


def varied(kind: str, value: float) -> list[FeatureSet]:
    """Two sets of two; what is varied belongs to the second."""
    match kind:
        case "anticorrelated":
            return [Anticorrelated(2, density=0.2), Anticorrelated(2, density=value, importance=0.8)]
        case "correlated":
            return [Correlated(2, density=0.1), Correlated(2, density=value, importance=0.8)]
        case "partially correlated":
            return [PartiallyCorrelated(2, 0.1, strength=0.2), PartiallyCorrelated(2, 0.1, strength=value)]
        case _:
            raise AssertionError(kind)


def held(number: int, collapsed: bool) -> tuple[np.ndarray, np.ndarray]:
    """One dimension with one of two sets: both of its features on one side, or one on each."""
    weights, bias = np.zeros((4, 1)), np.full(4, 0.05)
    own = slice(2 * number, 2 * number + 2)
    weights[own], bias[own] = ([[0.8], [0.8]] if collapsed else [[1.0], [-1.0]]), 0.0
    return weights, bias


ALIKE = {
    # One on each side costs nothing if never both are active: what each set costs, if it is not held, is the same.
    "anticorrelated": (0.2, 0.3, 0.25, float(brentq(lambda p: 0.8 * lone(p / 2) - lone(0.1), 0.05, 0.9))),
    # Held on one side, x̂ = (x₁ + x₂)/2 for both, which costs p E(x₁ − x₂)²/2 = p/12.
    "correlated": (
        0.11, 0.14, 0.12, float(brentq(lambda p: 0.1 / 12 + 1.6 * lone(p) - 0.8 * p / 12 - 2 * lone(0.1), 0.05, 0.3)),
    ),
    "partially correlated": (0.15, 0.24, 0.22, 0.2),
}  # fmt: skip
"""The range, where the states are found, and where both cost the same."""

COPIES = [
    pytest.param((0, 1, 2, 3), 1.0, id="plain", marks=pytest.mark.slow),
    pytest.param((3, 2, 0, 1), -1.0, id="copy"),
]
"""Features in another order, within their sets and with these, and the line reflected."""


class TestBoundaryOfOtherSets:
    def boundary(self, kind: str, order: tuple[int, ...], sign: float, low: float, high: float, start: float):
        def features(value: float) -> FeatureDistribution:
            sets = varied(kind, value)
            return FeatureDistribution(sets if order[0] < 2 else sets[::-1])

        configs = []
        for number in (0, 1):
            weights, bias = held(number, kind == "correlated")
            configs.append((sign * weights[list(order)], bias[list(order)]))
        return phase_boundary(*configs, features(start), features, low, high, tol=1e-7, start=start)

    @pytest.mark.parametrize(("order", "sign"), COPIES)
    @pytest.mark.parametrize("kind", ALIKE)
    def test_lies_where_either_set_costs_as_much_to_hold(self, kind, order, sign):
        low, high, start, exact = ALIKE[kind]
        boundary = self.boundary(kind, order, sign, low, high, start)
        assert boundary.kind == "first order"
        assert abs(boundary.value - exact) <= boundary.error <= 1e-6

    @pytest.mark.parametrize(("order", "sign"), COPIES)
    def test_is_refused_where_one_set_is_always_dearer(self, order, sign):
        # What is not held costs the same.
        own, low, high = (pair_loss(PartiallyCorrelated(2, 0.1, strength=each)) for each in (0.2, 0.28, 0.32))
        said = f"L_a − L_b is {own - low:.4g} and {own - high:.4g} at parameter = 0.28 and 0.32; the losses must change"
        with pytest.raises(ValueError, match=re.escape(said)):
            self.boundary("partially correlated", order, sign, 0.28, 0.32, 0.3)

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_of_samples_is_refused(self, order):
        samples = np.array([[0.5, 0.1], [0.1, 0.5], [0.0, 0.0]])
        features = FeatureDistribution([Empirical(samples[:, list(order)])])
        config = np.array([[1.0], [-1.0]])[list(order)], np.zeros(2)
        with pytest.raises(ValueError, match=r"^critical_point\(features=.*Empirical\(.*: there is no series"):
            phase_boundary(config, config, features, "importance", 0.5, 1.0)
