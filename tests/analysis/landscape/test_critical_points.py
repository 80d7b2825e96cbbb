"""Critical points, branches and phase boundaries against curvatures by hand and an exact loss of another method."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from reference.population_truth import truth
from scipy.integrate import quad
from scipy.optimize import brentq, root

import tegum as tg
from tegum.analysis.landscape.continuation import follow
from tegum.analysis.landscape.critical_points import critical_point, saddle_index, unstable_directions
from tegum.analysis.landscape.phases import phase_boundary
from tegum.analysis.landscape.surface import Surface, rotations
from tegum.analysis.landscape.tracks import vary
from tegum.core.features.distribution import FeatureDistribution

few = settings(max_examples=3, deadline=None)
seeds = st.integers(0, 2**32 - 1)

DIGON = np.array([[1.0], [-1.0]])
PENTAGON = np.array([[np.cos(t), np.sin(t)] for t in 2 * np.pi * np.arange(5) / 5])
SQUARE = np.array([[np.cos(t), np.sin(t)] for t in np.pi * np.arange(4) / 2])


def independent(count, density, importance=1.0):
    return FeatureDistribution([tg.Independent(count, density, importance)])


def turn(rng, m):
    return np.linalg.qr(rng.normal(size=(m, m)))[0]


@cache
def triple():
    """The saddle of three features in one dimension at which two share a side."""
    return critical_point(np.array([[0.7], [0.7], [-1.0]]), np.full(3, -0.05), independent(3, 0.1), tol=1e-9)


@cache
def digon(density=0.2, importance=(1.0, 1.0)):
    return critical_point(DIGON, np.zeros(2), independent(2, density, importance), tol=1e-9)


@cache
def uneven():
    """Two opposite features of one importance, and yet of unequal lengths."""
    return critical_point([[0.919], [-0.507]], [0.195, 0.428], independent(2, 0.71), tol=1e-8)


def linear(importance):
    """Features 0 and 1 of a linear model in one dimension, each alone and both at once, and their variances.

    With u = W_0², v = W_1² and b = (1 − W Wᵀ) E x the loss is A (1 − u)² + B (1 − v)² + K u v, A = I_0 c_0,
    B = I_1 c_1 and K = I_0 c_1 + I_1 c_0. Both at once is a saddle, 2 A (1 − u) = K v and 2 B (1 − v) = K u, and
    grows out of the first alone where 2 B = K.
    """
    features = FeatureDistribution([tg.Independent(1, 0.2), tg.Independent(1, 0.3, importance)])
    c = np.diag(features.covariance())
    A, B, K = c[0], importance * c[1], c[1] + importance * c[0]
    u, v = np.linalg.solve([[2 * A, K], [K, 2 * B]], [2 * A, 2 * B])
    found = []
    for W in ([1, 0], [0, 1], np.sqrt([u, v]) if min(u, v) > 0 else [1, 0]):
        G = np.outer(W, W)
        b = features.first_moment() - G @ features.first_moment()
        found.append(critical_point(np.array(W)[:, None], b, features, activation="linear"))
    return found, c


def true_point(W, b, features):
    """The critical point nearby by the exact gradient and somebody else's solver: θ, the loss and the Hessian's λ."""
    n, m = np.shape(W)

    def parts(theta):
        return theta[: n * m].reshape(n, m), theta[n * m :]

    found = root(
        lambda theta: truth(*parts(theta), features, 1)[1],
        np.append(np.ravel(W), b),
        jac=lambda theta: truth(*parts(theta), features, 2)[2],
        tol=1e-13,
    )
    loss, _, hessian = truth(*parts(found.x), features, 2)
    return found.x, loss, np.linalg.eigvalsh(hessian)


class TestOneFeature:
    """x̂ = relu(w² x + b) of one feature, whose loss is an integral in one dimension."""

    p = 0.2

    def loss(self, w, b):
        error = quad(lambda x: (x - max(w * w * x + b, 0)) ** 2, 0, 1, points=[np.clip(-b / w**2, 0, 1)], epsabs=1e-13)
        return (1 - self.p) * max(b, 0) ** 2 + self.p * error[0]

    @pytest.mark.parametrize("start", [(0.8, 0.1), (1.2, -0.05), (0.95, 0.02)])
    def test_perfect_representation_sits_on_a_kink(self, start):
        point = critical_point([[start[0]]], [start[1]], independent(1, self.p))
        assert str(point) == "minimum"
        assert point.kinks == (0,)
        assert_allclose([point.weights[0, 0], point.bias[0], point.loss], [1, 0, 0], atol=1e-9)
        # Second differences on either side; by hand the sides differ by 2 (1 − p) in the curvature in b alone.
        h = 2e-3
        for side in (-1, 1):
            grid = {
                (i, j): self.loss(1 + i * h, side * j * h + side * 1e-15) for i in (-2, -1, 0, 1, 2) for j in (0, 1, 2)
            }
            ww = (grid[1, 0] - 2 * grid[0, 0] + grid[-1, 0]) / h**2
            bb = (4 * grid[0, 1] - grid[0, 2] / 2) * 1 / h**2  # L(1, 0) = 0 and the first derivative is 0 as well
            wb = side * (grid[1, 1] - grid[-1, 1] - grid[1, 0] + grid[-1, 0]) / (2 * h**2)
            eigenvalues = np.linalg.eigvalsh([[ww, wb], [wb, bb]])
            assert_allclose(point.eigenvalues + side * point.eigenvalue_error, eigenvalues, atol=0.02)
        assert not point.unstable

    def test_nothing_represented(self):
        features = independent(1, self.p)
        variance = self.p / 3 - self.p**2 / 4
        point = critical_point([[0.02]], [0.13], features)
        assert str(point) == "saddle of index 1"
        assert_allclose([point.weights[0, 0], point.bias[0], point.loss], [0, self.p / 2, variance], atol=1e-10)
        assert_allclose(point.eigenvalues, [-4 * variance, 2], atol=1e-8)
        assert (np.abs(point.eigenvalues - [-4 * variance, 2]) <= point.eigenvalue_error).all()
        (way,) = unstable_directions(point)
        assert_allclose(way.rate, 4 * variance, atol=1e-8)
        assert way.growth == [np.inf]
        assert way.mainly == (0,)

    def test_other_solvers_find_the_same_points(self):
        def slope(parameters, h=1e-5):
            w, b = parameters
            return [
                (self.loss(w + h, b) - self.loss(w - h, b)) / (2 * h),
                (self.loss(w, b + h) - self.loss(w, b - h)) / (2 * h),
            ]

        for start in ([0.02, 0.13], [0.9, -0.02]):
            other = root(slope, start, tol=1e-9).x
            mine = critical_point([[start[0]]], [start[1]], independent(1, self.p))
            assert_allclose(np.append(mine.weights, mine.bias), other, atol=2e-4)


class TestIndex:
    @pytest.mark.parametrize("m", [1, 2])
    def test_constant_output(self, m):
        """At W = 0 and b = E x the curvature in W is −2 (D C + C D) ⊗ 1, with the covariance C and D = diag(I)."""
        features = FeatureDistribution([tg.Correlated(2, 0.3, (1.0, 0.5)), tg.Anticorrelated(2, 0.9, (2.0, 0.02))])
        covariance, importance = features.covariance(), features.importance
        form = -2 * (importance[:, None] + importance) * covariance
        expected = np.sort(np.append(np.repeat(np.linalg.eigvalsh(form), m), 2 * importance))
        point = critical_point(np.zeros((4, m)), features.first_moment(), features)
        assert point.zero_modes == 0
        assert_allclose(point.eigenvalues, expected, atol=1e-6)
        assert (expected < -1e-3).sum() == point.index == m * (np.linalg.eigvalsh(form) < 0).sum()

    def test_linear_model_has_the_saddles_of_baldi_and_hornik(self):
        """W Wᵀ projects on some principal axes: the index counts the pairs in which a better axis is left out."""
        features = FeatureDistribution([tg.Independent(1, p) for p in (0.9, 0.5, 0.2, 0.1)])
        spread, mean = np.diag(features.covariance()), features.first_moment()
        for chosen in [(0, 1), (0, 2), (1, 3), (2, 3), (1,)]:
            W = np.zeros((4, 2))
            W[list(chosen), range(len(chosen))] = 1
            left_out = [i for i in range(4) if i not in chosen]
            index = sum(spread[i] > spread[j] for i in left_out for j in chosen) + (2 - len(chosen)) * len(left_out)
            point = critical_point(W, mean - W @ W.T @ mean, features, activation="linear")
            assert point.index == index
            assert_allclose(point.loss, spread[left_out].sum())

    def test_eigenvalues_of_a_digon(self):
        point = digon()
        _, _, hessian = truth(point.weights, point.bias, point.features, 2)
        assert str(point) == "minimum"
        assert (np.abs(point.eigenvalues - np.linalg.eigvalsh(hessian)) <= point.eigenvalue_error).all()
        assert point.eigenvalue_error.max() < 1e-5
        assert_allclose(point.loss, truth(point.weights, point.bias, point.features), atol=1e-12)

    def test_collapsed_features(self):
        point = triple()
        theta, loss, eigenvalues = true_point(point.weights, point.bias, point.features)
        assert point.index == 1 == (eigenvalues < 0).sum()
        assert str(point) == "saddle of index 1"
        assert_allclose(point.theta, theta, atol=1e-8)
        assert_allclose(point.eigenvalues, eigenvalues, atol=1e-7)
        assert abs(point.loss - loss) <= point.loss_error + 1e-15
        (way,) = unstable_directions(point)
        # They part, in opposite directions, and leave the third alone.
        assert way.mainly == (0, 1)
        assert_allclose(way.rate, -eigenvalues[0], atol=1e-7)
        assert_allclose([way.growth.sum(), way.turn.sum(), way.share.sum()], [0, 0, 1], atol=1e-8)
        assert_allclose(way.share[0], 0.5, atol=1e-8)
        assert way.multiplicity == 1

    def test_sign_of_a_direction(self):
        """One of two embeddings grows as the other shrinks: the first of them grows, in every pose."""
        point = triple()
        for turned in (point.weights, -point.weights):
            (way,) = unstable_directions(critical_point(turned, point.bias, point.features, tol=1e-9))
            assert way.growth[0] > 0.1
        (way,) = unstable_directions(critical_point([[0.02]], [0.13], independent(1, 0.2)))
        assert way.weights[0, 0] > 0.99

    def test_pentagon_with_a_dead_feature(self):
        """Its symmetry makes all eigenvalues but a few come in pairs."""
        W, b = np.concatenate([PENTAGON, np.zeros((1, 2))]), np.append(np.full(5, -0.06), 0.025)
        point = critical_point(W, b, independent(6, 0.05), tol=1e-8)
        assert str(point) == "minimum"
        assert point.zero_modes == 1
        assert point.eigenvalues.size == 17
        assert_allclose(np.linalg.norm(point.weights[:5], axis=1), np.linalg.norm(point.weights[0]), atol=1e-6)
        pairs = point.eigenvalues[1:3], point.eigenvalues[3:5]
        assert_allclose([high - low for low, high in pairs], 0, atol=1e-6)
        # b of a dead feature is E x, and its curvature 2.
        assert_allclose(point.eigenvalues[-1], 2, atol=1e-6)


class TestUndecided:
    def test_output_that_is_never_positive(self):
        point = critical_point([[0.5]], [-0.6], independent(1, 0.2))
        assert point.moved == 0
        assert point.converged
        assert str(point) == "undecided (0–2)"
        assert point.index is None
        assert not point.unstable
        assert saddle_index([[0.5]], [-0.6], independent(1, 0.2)) is None

    @pytest.mark.parametrize(("w", "p"), [(0.5, 0.2), (0.8, 0.6)])
    def test_edge_of_what_is_never_positive(self, w, p):
        """b = −w²: x̂ begins to be positive where x = 1, and with s = b + w² > 0 the loss falls as p s² / w²."""
        point = critical_point([[w]], [-(w**2)], independent(1, p))
        assert str(point) == "undecided (0–2), unstable"
        assert point.kinks == (0,)
        rate = 2 * p / w**2 * (4 * w**2 + 1)  # along the gradient of s, of length √(4w² + 1)
        assert_allclose(point.eigenvalues - point.eigenvalue_error, [-rate, 0], atol=1e-4)
        (way,) = unstable_directions(point)
        assert way.one_sided
        assert_allclose(way.rate, rate, rtol=0.01)
        assert_allclose([way.weights[0, 0], way.bias[0]], np.array([2 * w, 1]) / np.hypot(2 * w, 1), atol=1e-3)
        for side, size in ((1, 1e-3), (-1, 0)):
            change = (
                truth(
                    *(side * 1e-3 * each + at for each, at in ((way.weights, point.weights), (way.bias, point.bias))),
                    point.features,
                )
                - point.loss
            )
            assert_allclose(change, -rate * size**2 / 2, rtol=0.02, atol=1e-15)

    def test_one_of_two_features_is_left_on_one_side_only(self):
        features, p = independent(2, 0.2), 0.2
        point = critical_point([[0.97], [0.01]], [0.01, 0.11], features)
        assert_allclose(point.theta, [1, 0, 0, p / 2], atol=1e-8)
        assert_allclose(point.loss, p / 3 - p**2 / 4, atol=1e-12)
        assert str(point) == "undecided (0–1), unstable"
        ways = unstable_directions(point)
        assert ways
        W, b, t = point.weights, point.bias, 1e-2
        for way in ways:
            assert way.one_sided
            fall = truth(W + t * way.weights, b + t * way.bias, features) - point.loss
            assert_allclose(fall, -way.rate * t**2 / 2, rtol=0.2)
        # The second feature goes to the other side of the first one; on the same side the loss rises.
        assert min(ways, key=lambda way: -way.rate).weights[1, 0] < 0
        side = np.array([[0.0], [t]])
        assert truth(W - side, b, features) < point.loss < truth(W + side, b, features)

    def test_no_critical_point(self):
        point = critical_point([[0.5]], [0.3], independent(1, 0.2), steps=0)
        assert str(point).startswith("no critical point (gradient 0.")
        assert point.index is None

    def test_a_search_ends_where_it_leads_too_far(self):
        rng = np.random.default_rng(0)
        for _ in range(3):
            W, b = rng.normal(size=(6, 3)) / 2, rng.normal(size=6) / 10
            features = FeatureDistribution([tg.Correlated(3, 0.05)] * 2)
            point = critical_point(W, b, features, tol=1e-6, reach=0.1, corners=())
            assert not point.converged
            # No farther than by the step that led out.
            assert 0.1 < point.moved <= 0.2


class TestGauge:
    @pytest.mark.parametrize(("n", "m", "rank", "expected"), [(4, 3, 3, 3), (4, 3, 1, 2), (3, 4, 3, 6), (2, 2, 0, 0)])
    def test_zero_modes_are_counted_by_the_orbit(self, n, m, rank, expected):
        rng = np.random.default_rng(rank)
        W = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, m))
        directions = rotations(W)[0].reshape(-1, n * m)
        assert len(directions) == expected == m * (m - 1) // 2 - (m - rank) * (m - rank - 1) // 2
        assert_allclose(directions @ directions.T, np.eye(expected), atol=1e-12)
        # They span W A with A antisymmetric.
        A = rng.normal(size=(m, m))
        way = (W @ (A - A.T)).ravel()
        assert_allclose(way @ directions.T @ directions, way, atol=1e-12)

    def test_the_curvature_along_them_is_zero(self):
        point = critical_point(PENTAGON, np.full(5, -0.06), independent(5, 0.1), tol=1e-9)
        surface = Surface(point.features, 2, 1e-9)
        along = np.append(rotations(point.weights)[0].ravel(), np.zeros(5))
        assert np.abs(surface.curvature(point.theta).below @ along).max() < 1e-7
        modes = np.concatenate([point.mode_weights.reshape(-1, 10), point.mode_bias], 1)
        assert_allclose(modes @ along, 0, atol=1e-12)
        assert_allclose(modes @ modes.T, np.eye(14), atol=1e-12)

    @given(seeds)
    @few
    def test_rotations_and_permutations_change_nothing(self, seed):
        rng = np.random.default_rng(seed)
        features = independent(3, 0.2)
        W, b = np.array([[0.7, 0.0], [0.72, 0.05], [-0.9, 0.02]]), np.full(3, 0.02)
        order = rng.permutation(3)
        one = critical_point(W, b, features, tol=1e-8)
        other = critical_point((W @ turn(rng, 2))[order], b[order], features, tol=1e-8)
        assert_allclose(other.eigenvalues, one.eigenvalues, atol=1e-6)
        assert_allclose([other.loss, other.moved], [one.loss, one.moved], atol=1e-8)
        assert str(other) == str(one)
        assert_allclose(other.weights @ other.weights.T, (one.weights @ one.weights.T)[np.ix_(order, order)], atol=1e-7)
        for mine, yours in zip(unstable_directions(one), unstable_directions(other), strict=True):
            assert_allclose(yours.share, mine.share[order], atol=1e-6)
            # Where one embedding grows as another one shrinks, either sign is as good.
            assert_allclose(np.abs(yours.growth), np.abs(mine.growth[order]), atol=1e-6)
            assert_allclose(yours.turn, mine.turn[order], atol=1e-6)

    def test_a_rotated_critical_point_has_not_moved(self):
        point = critical_point(PENTAGON, np.full(5, -0.06), independent(5, 0.1), tol=1e-9)
        turned = critical_point(point.weights @ turn(np.random.default_rng(0), 2), point.bias, point.features, tol=1e-9)
        assert turned.moved < 1e-7


class TestSnapshot:
    def dataset(self, *sets, activation="relu"):
        specs = [
            tg.Spec(features=each, hidden=1, activation=activation, start=(DIGON, [0.0, 0.0])).to_json()
            for each in sets
        ]
        return xr.Dataset(
            {
                "weights": (("hidden", "feature"), DIGON.T.astype(np.float32)),
                "bias": ("feature", np.zeros(2, np.float32)),
            },
            attrs={"spec": json.dumps(specs if len(specs) > 1 else specs[0])},
        )

    def test_reads_features_and_activation(self):
        sets = [tg.Independent(2, 0.2)]
        point = critical_point(self.dataset(sets), tol=1e-9)
        assert_allclose(point.theta, digon().theta, atol=1e-8)
        assert point.features == FeatureDistribution(sets)
        other = critical_point(self.dataset(sets), features=independent(2, 0.3), tol=1e-9)
        assert other.features == independent(2, 0.3)
        assert critical_point(self.dataset(sets, activation="linear"), tol=1e-9).activation == "linear"

    def test_finds_its_own_among_several_specs(self):
        both = [tg.Independent(2, 0.2)], [tg.Independent(2, 0.3)]
        run = self.dataset(*both)
        with pytest.raises(ValueError, match="several Specs fit the snapshot; features must be given"):
            critical_point(run)
        run = run.assign_coords(density=("feature", [0.3, 0.3]))
        assert critical_point(run, tol=1e-9).features == independent(2, 0.3)

    def test_refuses_more_than_one_step(self):
        run = self.dataset([tg.Independent(2, 0.2)]).expand_dims(step=[1, 2])
        with pytest.raises(ValueError, match=r"one run at one step, as run\.isel\(seed=0, step=-1\) is"):
            critical_point(run)
        with pytest.raises(ValueError, match="bias is missing"):
            critical_point(run.drop_vars("bias").isel(step=0))


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "options", "sentence"),
        [
            ((DIGON, np.zeros(3)), {}, r"weights of shape \(2, 1\), bias of shape \(3,\)"),
            ((np.zeros((3, 1)), np.zeros(3)), {}, r"it must be \(n, m\) with n = 2 features"),
            ((DIGON, [0, np.nan]), {}, "every number must be finite"),
            ((DIGON, np.zeros(2)), {"tol": 0.0}, r"critical_point\(tol=0.0\)"),
            ((DIGON, np.zeros(2)), {"steps": -1}, r"critical_point\(steps=-1\)"),
            ((DIGON, np.zeros(2)), {"reach": -1.0}, r"critical_point\(reach=-1.0\): reach must be a positive number"),
            ((DIGON, np.zeros(2)), {"tol": 1.0}, r"critical_point\(tol=1.0\): tol must be a number between 0 and 1"),
        ],
    )
    def test_critical_point(self, arguments, options, sentence):
        with pytest.raises(ValueError, match=sentence):
            critical_point(*arguments, independent(2, 0.2), **options)
        with pytest.raises(ValueError, match="bias and features must be given"):
            critical_point(DIGON)

    def test_vary(self):
        features = FeatureDistribution([tg.PartiallyCorrelated(2, 0.1, 0.5), tg.Independent(1, 0.2)])
        assert vary(features, "density", 0.3).density.tolist() == [0.3, 0.3, 0.3]
        assert vary(features, "1.density", 0.3).density.tolist() == [0.1, 0.1, 0.3]
        assert vary(features, "features.0.importance", 2.0).importance.tolist() == [2, 2, 1]
        assert vary(features, "strength", 0.25).sets[0].strength == 0.25
        with pytest.raises(ValueError, match=r"vary\(parameter='strenght'\): .* did you mean 'strength'\?"):
            vary(features, "strenght", 0.3)
        with pytest.raises(ValueError, match="there is no set '2'; the sets have the numbers 0 to 1"):
            vary(features, "2.density", 0.3)
        with pytest.raises(ValueError, match="density must lie in"):
            vary(features, "density", 1.3)
        # The law of the magnitudes is a description of its own.
        laws = [each.magnitude for each in vary(features, "1.magnitude.high", 2.0).sets]
        assert laws == [tg.UniformMagnitude(), tg.UniformMagnitude(0, 2)]
        assert [each.magnitude.high for each in vary(features, "magnitude.high", 3.0).sets] == [3, 3]
        with pytest.raises(ValueError, match=r"vary\(parameter='magnitude.hihg'\): .* did you mean 'magnitude.high'\?"):
            vary(features, "magnitude.hihg", 2.0)
        with pytest.raises(ValueError, match=r"^vary\(features, 'magnitude.high', -1.0\): .*high must be"):
            vary(features, "magnitude.high", -1.0)

    def test_follow(self):
        with pytest.raises(ValueError, match="values must rise or fall"):
            follow(digon(), "density", [0.1, 0.3, 0.2])
        for tol in (0.0, -1.0):
            with pytest.raises(ValueError, match=r"follow\(tol=.*\): tol must be a number between 0 and 1"):
                follow(digon(), "density", [0.1, 0.2], tol=tol)
        lost = critical_point([[0.5]], [0.3], independent(1, 0.2), steps=0)
        with pytest.raises(ValueError, match="no such key"):
            follow(lost, "strength", [0.1])
        law = tg.UniformMagnitude(0.5, 1.0)
        with pytest.raises(ValueError, match=r"^follow\(parameter = 0.2, features=.*: magnitudes must be uniform on"):
            follow(digon(), lambda p: FeatureDistribution([tg.Independent(2, p, magnitude=law)]), [0.2, 0.3])

    def test_a_branch_along_the_largest_magnitude_scales_with_its_square(self):
        features = FeatureDistribution([tg.Independent(3, 0.1, magnitude=tg.UniformMagnitude(0, 2))])
        branch = follow(critical_point(np.zeros((3, 1)), np.full(3, 0.1), features), "magnitude.high", [2.0, 4.0])
        # W = 0: three times the variance h² (p/3 − p²/4).
        assert [branch.at(h).loss for h in (2.0, 4.0)] == pytest.approx([3 * h**2 * (0.1 / 3 - 0.0025) for h in (2, 4)])

    def test_phase_boundary(self):
        (one, other, both), _ = linear(0.7)
        span = one.features, "1.importance"
        with pytest.raises(ValueError, match="low must lie below high"):
            phase_boundary(one, other, *span, 0.8, 0.7)
        with pytest.raises(ValueError, match=r"phase_boundary\(tol=-1.0\): tol must be a number"):
            phase_boundary(one, other, *span, 0.7, 0.8, tol=-1.0)
        with pytest.raises(ValueError, match="one and the same critical point"):
            phase_boundary(one, one, *span, 0.7, 0.8)
        with pytest.raises(ValueError, match="config_b=ndarray"):
            phase_boundary(one, DIGON, *span, 0.7, 0.8)
        with pytest.raises(ValueError, match=r"L_a − L_b is .* the losses must change their order"):
            phase_boundary(one, other, *span, 0.75, 0.8)
        # It ends where it meets the first feature alone, and not the second.
        with pytest.raises(ValueError, match=r"config_b\): its branch must not end .* meets another and ends at 0.788"):
            phase_boundary(other, both, *span, 0.7, 0.82)


class TestFollow:
    def test_symmetry_breaks_where_an_eigenvalue_passes_zero(self):
        """The digon of equal lengths, by the exact loss restricted to such: W = (a, −a), b = (c, c)."""

        def softest(p):
            W, c = DIGON * 0.75, np.full(2, 0.34)
            return true_point(W, c, independent(2, p))[2][0]

        point = critical_point(0.75 * DIGON, np.full(2, 0.34), independent(2, 0.7), tol=1e-8)
        branch = follow(point, "density", [0.68, 0.72])
        assert branch.complete
        assert [branch.index[0], branch.index[-1]] == [0, 1]
        (change,) = branch.changes
        assert change.kind == "eigenvalue"
        assert change.eigenvalues == (0,)
        assert change.error < 1e-3
        assert_allclose(change.value, brentq(softest, 0.70, 0.72, xtol=1e-8), atol=min(change.error, 1e-6))
        assert branch.at(0.72).index == 1
        assert str(change).startswith("1 eigenvalue(s) pass through zero at 0.71301")

    @pytest.mark.quick_form  # It follows both branches round a fold.
    def test_fold(self):
        """Where the branch of unequal lengths turns back: ∇L = 0 and H v = 0, solved with the exact derivatives."""
        branch = follow(uneven(), "density", [0.71, 0.69], tol=1e-7)
        assert not branch.complete
        assert branch.values[0] == 0.71
        end = branch.changes[-1]
        assert end.kind == "fold"

        def conditions(unknown):
            theta, p = unknown[:4], unknown[4]
            _, gradient, hessian = truth(theta[:2, None], theta[2:], independent(2, p), 2)
            return np.append(gradient, np.linalg.eigvalsh(hessian)[0])

        fold = root(conditions, np.append(branch.points[-1].theta, end.value), tol=1e-11)
        assert fold.success
        assert_allclose(end.value, fold.x[4], atol=1e-6)
        assert abs(end.value - fold.x[4]) <= end.error

    def test_merger(self):
        """Both features of the linear model end in one of them alone, and do not go on as that."""
        (_, _, both), c = linear(0.7)
        branch = follow(both, "1.importance", [0.7, 0.82])
        assert not branch.complete
        assert set(branch.index) == {1}
        (change,) = branch.changes
        assert change.kind == "merger"
        assert abs(change.value - c[1] / (2 * c[1] - c[0])) <= change.error < 1e-6
        for value, point in zip(branch.values, branch.points, strict=True):
            A, B, K = c[0], value * c[1], c[1] + value * c[0]
            u, v = np.linalg.solve([[2 * A, K], [K, 2 * B]], [2 * A, 2 * B])
            assert_allclose(np.square(point.weights[:, 0]), [u, v], atol=1e-5)

    def test_stays_itself(self):
        """From dense to sparse, the loss at every value is that of the exact critical point nearby."""
        branch = follow(digon(), "density", [0.2, 0.1], tol=1e-8)
        assert branch.complete
        assert not branch.changes
        for value, point in zip(branch.values, branch.points, strict=True):
            assert point.features.density.tolist() == [value, value]
            _, loss, _ = true_point(point.weights, point.bias, point.features)
            assert_allclose(point.loss, loss, atol=1e-10)
            assert point.weights[0] * point.weights[1] < 0
        assert branch.loss.shape == (len(branch.values),)

    def test_functions_and_other_fields(self):
        features = FeatureDistribution([tg.PartiallyCorrelated(2, 0.2, 0.0)])
        by_name = follow(critical_point(DIGON, np.zeros(2), features, tol=1e-8), "strength", [0.0, 0.1])
        by_function = follow(digon(), lambda s: vary(features, "strength", s), [0.0, 0.1], tol=1e-8)
        assert_allclose(by_name.loss[-1], by_function.loss[-1], atol=1e-10)
        _, loss, _ = true_point(by_name.points[-1].weights, by_name.points[-1].bias, by_name.points[-1].features)
        assert_allclose(by_name.loss[-1], loss, atol=1e-10)


class TestPhaseBoundary:
    def test_one_feature_or_two(self):
        """At which density the less important of two features is given up, also from the exact loss and brentq."""
        features, r = independent(2, 0.37, (1.0, 0.3)), 0.3
        one = (np.array([[1.0], [0.0]]), np.array([0.0, 0.185]))
        two = ([[1.044], [-0.75]], [0.07, 0.12])

        def difference(p):
            return r * (p / 3 - p**2 / 4) - true_point(*two, independent(2, p, (1.0, r)))[1]

        exact = brentq(difference, 0.37, 0.38, xtol=1e-10)
        found = [phase_boundary(one, two, features, "density", 0.37, 0.38, tol=tol) for tol in (1e-7, 1e-9)]
        for boundary in found:
            assert boundary.kind == "first order"
            assert abs(boundary.value - exact) <= boundary.error + 1e-9
            assert boundary.error < 1e-5
            assert_allclose(boundary.loss, r * (exact / 3 - exact**2 / 4), atol=1e-7)
            assert_allclose(boundary.slope, (difference(exact + 1e-4) - difference(exact - 1e-4)) / 2e-4, rtol=1e-3)
            assert (np.diff(boundary.values) > 0).all()
            assert boundary.differences[0] > 0 > boundary.differences[-1]
        assert_allclose(found[0].value, found[1].value, rtol=1e-5)
        assert str(found[1]).startswith("first order boundary at density = 0.375686")

    def test_linear_model(self):
        """Each feature alone: the losses are I_1 c_1 and c_0, and cross where these are equal."""
        (one, other, _), c = linear(0.7)
        boundary = phase_boundary(one, other, one.features, "1.importance", 0.65, 0.78, tol=1e-10)
        assert boundary.kind == "first order"
        assert_allclose([boundary.value, boundary.loss, boundary.slope], [c[0] / c[1], c[0], c[1]], rtol=1e-8)
        assert abs(boundary.value - c[0] / c[1]) <= boundary.error < 1e-9

    @pytest.mark.parametrize("swap", [False, True])
    def test_continuous(self, swap):
        (one, _, both), c = linear(0.7)
        assert (one.index, both.index) == (0, 1)
        configs = (both, one) if swap else (one, both)
        boundary = phase_boundary(*configs, one.features, "1.importance", 0.7, 0.85, tol=1e-10)
        assert boundary.kind == "continuous"
        assert abs(boundary.value - c[1] / (2 * c[1] - c[0])) <= boundary.error < 1e-6
        assert abs(boundary.slope) < 0.01

    @pytest.mark.slow
    def test_losses_that_cross_before_a_fold(self):
        even = critical_point(0.74 * DIGON, np.full(2, 0.33), independent(2, 0.71), tol=1e-8)
        boundary = phase_boundary(even, uneven(), even.features, "density", 0.69, 0.75, tol=1e-8)
        assert boundary.kind == "first order"

        def difference(p):
            points = [true_point(point.weights, point.bias, independent(2, p)) for point in (even, uneven())]
            return points[0][1] - points[1][1]

        assert_allclose(boundary.value, brentq(difference, 0.705, 0.71, xtol=1e-10), atol=1e-7)

    @pytest.mark.slow
    def test_square_that_leans_over(self):
        """A supercritical pitchfork: the square of independent features leans where its own curvature vanishes."""

        def softest(p):
            return true_point(0.78 * SQUARE, np.full(4, 0.3), independent(4, p))[2][1]

        features = independent(4, 0.67)
        square = critical_point(0.78 * SQUARE, np.full(4, 0.3), features, tol=1e-7)
        assert square.index == 2
        way = unstable_directions(square)[0]
        leaning = critical_point(square.weights + 0.2 * way.weights, square.bias + 0.2 * way.bias, features, tol=1e-7)
        assert leaning.index == 0
        boundary = phase_boundary(square, leaning, features, "density", 0.65, 0.67, tol=1e-7)
        assert boundary.kind == "continuous"
        assert_allclose(boundary.value, brentq(softest, 0.655, 0.67, xtol=1e-7), atol=max(boundary.error, 1e-6))
        assert boundary.error < 1e-4
        (change,) = follow(leaning, "density", [0.67, 0.65]).changes
        assert change.kind in ("touch", "merger")
        assert abs(change.value - boundary.value) <= change.error + boundary.error
