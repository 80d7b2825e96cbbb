"""The linear optimum against brute force, scikit-learn and SciPy; likeness to it, and angles, by their invariances."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from sklearn.decomposition import PCA

from tegum.analysis.linear.pca import angle_to_pca, linear_optimum, pca_likeness, principal_axes
from tegum.analysis.linear.subspaces import check_distribution, principal_angles
from tegum.core.features.activity import ExactlyK
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.magnitudes import ConstantMagnitude
from tegum.core.features.sets import Anticorrelated, Correlated, Equivariant, Independent, PartiallyCorrelated
from tegum.core.loss.population import population_loss

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=8, deadline=None)

PAIRS = FeatureDistribution([Correlated(2, 0.5), Correlated(2, 0.3), Correlated(2, 0.1)])
ALIKE = FeatureDistribution([Correlated(2, 0.2)] * 3)
CLOSED = {
    "pairs": (PAIRS, 2),
    "pairs alike": (ALIKE, 2),
    "importances of features": (FeatureDistribution([Independent(5, 0.1, [1.0, 0.9, 0.8, 0.7, 0.6])]), 3),
    "importances of sets": (
        FeatureDistribution([Correlated(3, 0.2, 0.5), Anticorrelated(3, 0.6, 2.0), Independent(2, 1.0, 1.0)]),
        4,
    ),
    # Importance × variance is the same for all features: the degenerate directions must not mix importances.
    "ties of unequal importance": (FeatureDistribution([Independent(2, 1.0, 2.0), Independent(4, 0.25)]), 3),
    "no importance": (FeatureDistribution([Correlated(2, 0.2, 0.0)]), 1),
    "importance 0 of some": (FeatureDistribution([Correlated(2, 0.2, [1.0, 0.0]), Independent(2, 0.3)]), 2),
    "dense": (FeatureDistribution([Independent(3, 1.0)]), 2),
    "room for all": (FeatureDistribution([Correlated(2, 0.5, [1.0, 0.3])]), 2),
    "more room than features": (PAIRS, 8),
    "one feature": (FeatureDistribution([Independent(1, 0.3)]), 1),
    "equivariant": (FeatureDistribution([Equivariant(6, 0.4, 1.0)]), 2),
}
UNEQUAL = {
    "a pair": (FeatureDistribution([Correlated(2, 0.3, [1.0, 0.3])]), 1),
    "two pairs": (FeatureDistribution([Correlated(2, 0.3, [1.0, 0.2]), Correlated(2, 0.2, [0.5, 1.0])]), 2),
    "a triple and a single": (FeatureDistribution([Correlated(3, 0.2, [3.0, 1.0, 0.1]), Independent(1, 0.5)]), 2),
    "equivariant": (FeatureDistribution([Equivariant(5, 0.5, 1.0, [1.0, 0.1, 0.6, 0.3, 0.9])]), 2),
    "strengths": (FeatureDistribution([PartiallyCorrelated(4, 0.4, 0.7, [1.0, 0.05, 0.5, 2.0])]), 2),
}


def turn(rng, m):
    return np.linalg.qr(rng.normal(size=(m, m)))[0]


def brute_force(features, m, runs, rng):
    """The least loss over weights and biases, from the raw moments and without derivatives."""
    n, first, second = features.n, features.first_moment(), features.second_moment()

    def loss(parameters):
        W, b = parameters[: n * m].reshape(n, m), parameters[n * m :]
        # Row j is what output j misses of x, apart from its bias.
        missed = np.eye(n) - W @ W.T
        squares = np.sum(missed @ second * missed, 1) - 2 * b * (missed @ first) + b**2
        return features.importance @ squares

    ends = [minimize(loss, rng.normal(size=n * m + n) / 2, method="BFGS", options={"gtol": 1e-5}) for _ in range(runs)]
    return min(end.fun for end in ends)


class TestLinearOptimum:
    @pytest.mark.parametrize("name", CLOSED)
    def test_closed_form_reaches_the_bound(self, name):
        features, m = CLOSED[name]
        best = linear_optimum(features, m, starts=1)
        assert best.closed_form
        assert best.weights.shape == (features.n, m)
        assert best.losses.shape == best.bounds.shape == (m + 1,)
        assert_allclose(best.loss, best.bounds[-1], rtol=1e-12)
        assert name == "room for all" or np.array_equal(best.losses, best.bounds)
        assert_allclose(population_loss(best.weights, best.bias, features, activation="linear"), best.loss, atol=1e-12)
        G = best.weights @ best.weights.T
        assert_allclose(G @ G, G, atol=1e-12)
        assert_allclose(best.bias, features.first_moment() - G @ features.first_moment(), atol=1e-14)
        total = features.importance @ features.covariance().diagonal()
        assert_allclose([best.losses[0], best.eigenvalues.sum()], total, rtol=1e-12)

    @pytest.mark.parametrize("name", ["pairs", "importances of sets", "ties of unequal importance", "room for all"])
    def test_closed_form_against_brute_force(self, name):
        features, m = CLOSED[name]
        if features.n > 6:
            features, m = FeatureDistribution(features.sets[:2]), 2
        found = brute_force(features, m, 3, np.random.default_rng(0))
        assert_allclose(linear_optimum(features, m, starts=1).loss, found, rtol=1e-6, atol=1e-9)

    @pytest.mark.parametrize("name", UNEQUAL)
    def test_descent_against_brute_force(self, name):
        features, m = UNEQUAL[name]
        best = linear_optimum(features, m, starts=2)
        assert not best.closed_form
        assert_allclose(best.loss, brute_force(features, m, 3, np.random.default_rng(1)), rtol=1e-7)
        assert (best.losses[1:] > best.bounds[1:]).all()
        assert (np.diff(best.losses) <= 0).all()
        assert_allclose(population_loss(best.weights, best.bias, features, activation="linear"), best.loss, rtol=1e-10)
        for rank in range(1, m):
            assert_allclose(linear_optimum(features, rank, starts=2, key=5).loss, best.losses[rank], rtol=1e-9)

    def test_a_local_optimum_is_not_taken_for_the_best(self):
        # From feature 0 alone no small step helps, although feature 1 is the better one.
        features = FeatureDistribution([Independent(2, [1.0, 0.1], [1.0, 10.0])])
        best = linear_optimum(features, 1)
        assert_allclose(best.weights[:, 0], [0, 1], atol=1e-12)
        rng = np.random.default_rng(0)
        for _ in range(20):
            W = np.array([[1.0], [0.0]]) + 0.02 * rng.normal(size=(2, 1))
            b = features.first_moment() - W @ (W.T @ features.first_moment())
            worse = features.importance[1] * features.covariance()[1, 1]
            assert population_loss(W, b, features, activation="linear") > worse > best.loss

    def test_unequal_importances_bind_the_tied_model_only(self):
        features = FeatureDistribution([Correlated(2, 0.3, [1.0, 0.3])])
        C, root = features.covariance(), np.sqrt(features.importance)
        P = linear_optimum(features, 1, starts=0).bounds[1]
        axis = principal_axes(features)[1][:, :1]
        untied = axis @ axis.T / root[:, None] * root
        rest = np.eye(2) - untied
        assert_allclose(np.trace(np.diag(features.importance) @ rest @ C @ rest.T), P, rtol=1e-12)
        assert abs(untied[0, 1] - untied[1, 0]) > 0.1

    @given(seeds)
    @settings(max_examples=3, deadline=None)
    def test_no_other_weights_are_better(self, seed):
        rng = np.random.default_rng(seed)
        sets = [Correlated(2, rng.uniform(0.05, 1), rng.uniform(0.1, 1, 2).tolist()), Anticorrelated(2, 0.5)]
        features = FeatureDistribution(sets)
        best = linear_optimum(features, 2, starts=2)
        W = best.weights + 10.0 ** rng.uniform(-3, 0) * rng.normal(size=(20, 4, 2))
        b = best.bias + 10.0 ** rng.uniform(-3, 0) * rng.normal(size=(20, 4))
        assert (population_loss(W, b, features, activation="linear") >= best.loss).all()

    @given(seeds)
    @few
    def test_order_of_sets_and_size_of_importances(self, seed):
        rng = np.random.default_rng(seed)
        sets = [Correlated(k, float(rng.uniform(0.05, 1)), float(rng.uniform(0.1, 2))) for k in (1, 2, 3)]
        one = linear_optimum(FeatureDistribution(sets), 3)
        other = linear_optimum(FeatureDistribution(sets[::-1]), 3)
        assert_allclose(one.losses, other.losses, rtol=1e-10)
        scaled = [Correlated(each.size, each.density, 7.0 * each.importance) for each in sets]
        assert_allclose(linear_optimum(FeatureDistribution(scaled), 3).losses, 7 * one.losses, rtol=1e-10)

    def test_large_importances_in_descent(self):
        features = UNEQUAL["two pairs"][0]
        sets = [Correlated(2, each.density, (1e20 * each.importances).tolist()) for each in features.sets]
        large, plain = (linear_optimum(each, 2, starts=2).loss for each in (FeatureDistribution(sets), features))
        assert_allclose(large, 1e20 * plain)

    def test_gap(self):
        assert linear_optimum(ALIKE, 2).gap == pytest.approx(0, abs=1e-15)
        assert linear_optimum(ALIKE, 3).gap > 0.01
        assert linear_optimum(ALIKE, 6).gap == np.inf
        values = np.linalg.eigvalsh(PAIRS.covariance())[::-1]
        assert linear_optimum(PAIRS, 2).gap == pytest.approx(values[1] - values[2])

    def test_directions_of_sets_do_not_mix(self):
        _, axes = principal_axes(ALIKE)
        assert_array_equal((np.abs(axes) > 1e-9).sum(0), 2)
        assert_array_equal(np.flatnonzero(np.abs(axes[:, 0]) > 0), [0, 1])

    def test_directions_without_variance_are_left_out(self):
        best = linear_optimum(FeatureDistribution([Equivariant(6, 0.5, 40.0)]), 6)
        assert np.linalg.matrix_rank(best.weights) < 6
        assert best.loss == pytest.approx(0, abs=1e-14)

    def test_against_pca_of_samples(self):
        x = PAIRS.sample(3, 200_000)
        fitted = PCA(n_components=3).fit(x)
        spectrum, axes = principal_axes(PAIRS)
        error = ((x - PAIRS.first_moment()) @ axes[:, :3]) ** 2
        standard = error.std(0) / np.sqrt(len(x))
        assert (np.abs(fitted.explained_variance_ - spectrum[:3]) < 4 * standard).all()
        # The angle of a direction is of the order of √(λ λ' / N) / (λ − λ').
        assert angle_to_pca(fitted.components_.T[:, :2], PAIRS) < 0.02
        assert 1 - pca_likeness(fitted.components_.T, PAIRS) < 1e-4


class TestPrincipalAngles:
    @given(seeds, st.integers(2, 9), st.integers(1, 5), st.integers(1, 5))
    @few
    def test_against_scipy(self, seed, n, p, q):
        rng = np.random.default_rng(seed)
        A, B = rng.normal(size=(n, p)), rng.normal(size=(n, q))
        angles = principal_angles(A, B)
        assert angles.shape == (min(p, q),)
        expected = np.sort(scipy.linalg.subspace_angles(A, B))
        # SciPy takes some angles near 0 from cosines, which resolve no less than 1e-8.
        assert_allclose(angles[: len(expected)], expected, atol=5e-8)
        assert np.isnan(angles[len(expected) :]).all()
        assert_allclose(principal_angles(B, A), angles, atol=1e-13, rtol=1e-6)
        assert_allclose(principal_angles(A @ turn(rng, p) * 9, B), angles, atol=1e-13, rtol=1e-6)

    @pytest.mark.parametrize("angle", [1e-15, 1e-12, 1e-8, 1e-3, 0.7, 0.8, 1.5, np.pi / 2])
    def test_known_angles(self, angle):
        rng = np.random.default_rng(0)
        frame = turn(rng, 6)
        A = frame[:, :2]
        B = np.stack([frame[:, 0] * np.cos(angle) + frame[:, 2] * np.sin(angle), frame[:, 1]], 1) @ rng.normal(
            size=(2, 2)
        )
        assert_allclose(principal_angles(A, B), [0, angle], atol=2e-15, rtol=1e-10)

    def test_ranks(self):
        rng = np.random.default_rng(0)
        frame = turn(rng, 5)
        flat = frame[:, :1] @ rng.normal(size=(1, 3))
        plane = frame[:, :2] @ rng.normal(size=(2, 3))
        stack = np.stack([flat, plane, np.zeros((5, 3)), rng.normal(size=(5, 3))])
        angles = principal_angles(stack, plane)
        assert_array_equal(np.isfinite(angles).sum(-1), [1, 2, 0, 2])
        assert_allclose(angles[0, 0], 0, atol=1e-15)
        assert_allclose(angles[1, :2], 0, atol=1e-15)
        assert_allclose(angles[3, :2], np.sort(scipy.linalg.subspace_angles(stack[3], plane[:, :2])))
        # The shorter direction is left out by a larger tolerance.
        long = frame[:, :2] * [1.0, 0.05]
        assert np.isfinite(principal_angles(long, plane)).sum() == 2
        assert np.isfinite(principal_angles(long, plane, tolerance=0.1)).sum() == 1

    def test_more_columns_than_rows(self):
        rng = np.random.default_rng(0)
        A, B = rng.normal(size=(3, 7)), rng.normal(size=(3, 4))
        assert_allclose(principal_angles(A, B), [0, 0, 0, np.nan], atol=1e-14)

    def test_a_diverged_matrix_poisons_no_other(self):
        A = np.random.default_rng(0).normal(size=(3, 5, 2))
        expected = principal_angles(A, A[0])
        A[1, 0, 0] = np.nan
        angles = principal_angles(A, A[0])
        assert np.isnan(angles[1]).all()
        assert_array_equal(np.delete(angles, 1, 0), np.delete(expected, 1, 0))

    def test_data_arrays(self):
        values = np.random.default_rng(0).normal(size=(2, 3, 5, 2)).astype(np.float32)
        coords = {"seed": [7, 8], "step": [0, 1, 2], "hidden": [0, 1], "density": 0.1}
        A = xr.DataArray(values, dims=("seed", "step", "feature", "hidden"), coords=coords)
        B = xr.DataArray(np.random.default_rng(1).normal(size=(3, 5)), dims=("hidden", "feature"))
        angles = principal_angles(A, B)
        assert angles.dims == ("seed", "step", "angle")
        assert set(angles.coords) == {"seed", "step", "density", "angle"}
        assert angles.attrs["units"] == "rad"
        assert_array_equal(angles.values, principal_angles(values, B.values.T))
        assert principal_angles(A, A.isel(step=-1)).dims == ("seed", "step", "angle")


class TestLikeness:
    @pytest.mark.parametrize("name", [name for name in CLOSED if name != "no importance"])
    def test_the_optimum_is_like_itself(self, name):
        features, m = CLOSED[name]
        W = linear_optimum(features, m, starts=1).weights
        assert_allclose(pca_likeness(W, features), 1, rtol=1e-12)
        assert_allclose(angle_to_pca(W, features), 0, atol=1e-7)

    @given(seeds)
    @few
    def test_invariances_and_range(self, seed):
        rng = np.random.default_rng(seed)
        W = rng.normal(size=(3, 6, 2))
        order = np.array([4, 5, 0, 1, 3, 2])
        moved = FeatureDistribution([PAIRS.sets[2], PAIRS.sets[0], PAIRS.sets[1]])
        for measure in (pca_likeness, angle_to_pca):
            value = measure(W, PAIRS)
            assert value.shape == (3,)
            assert ((value >= 0) & (value <= np.pi / 2)).all()
            assert_allclose(measure(W @ rng.normal(size=(2, 2)) * 1e-3, PAIRS), value, rtol=1e-6)
            assert_allclose(measure(W[:, order], moved), value, rtol=1e-6)
        assert (pca_likeness(W, PAIRS) <= 1).all()

    def test_definitions(self):
        rng = np.random.default_rng(0)
        W = rng.normal(size=(6, 2))
        spectrum, axes = principal_axes(PAIRS)
        P = W @ np.linalg.pinv(W)
        assert_allclose(pca_likeness(W, PAIRS), np.trace(P @ PAIRS.covariance()) / spectrum[:2].sum())
        assert_allclose(angle_to_pca(W, PAIRS), principal_angles(W, axes[:, :2])[-1], rtol=1e-12)
        leading = np.linalg.svd(W)[0][:, :1]
        assert_allclose(angle_to_pca(W, PAIRS, rank=1), principal_angles(leading, axes[:, :1])[0], rtol=1e-12)
        assert_allclose(
            pca_likeness(W, PAIRS, rank=1), leading[:, 0] @ PAIRS.covariance() @ leading[:, 0] / spectrum[0]
        )

    def test_a_random_subspace(self):
        rng = np.random.default_rng(1)
        values = pca_likeness(rng.normal(size=(4000, 6, 2)), PAIRS)
        expected = 2 / 6 * np.trace(PAIRS.covariance()) / principal_axes(PAIRS)[0][:2].sum()
        assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(4000)

    @given(seeds)
    @few
    def test_degenerate_eigenvalues(self, seed):
        # The sums of three equal pairs tie for two places: any plane among them is principal, and no other is.
        rng = np.random.default_rng(seed)
        sums = np.kron(np.eye(3), np.ones((2, 1)) / np.sqrt(2))
        W = sums @ rng.normal(size=(3, 2))
        assert_allclose(pca_likeness(W, ALIKE), 1, rtol=1e-12)
        assert_allclose(angle_to_pca(W, ALIKE), 0, atol=1e-9)
        aside = W + 0.1 * np.array([1, -1, 0, 0, 0, 0])[:, None]
        assert pca_likeness(aside, ALIKE) < 1 - 1e-5
        assert angle_to_pca(aside, ALIKE) > 1e-3

    @given(seeds, st.floats(0, 1.5))
    @few
    def test_a_degenerate_angle_is_to_the_nearest_principal_subspace(self, seed, angle):
        # One direction above a tie of three: (d) must be held, and the other directions of the plane lie in the tie.
        rng = np.random.default_rng(seed)
        features = FeatureDistribution([Correlated(2, 0.5), *[Correlated(2, 0.2)] * 3])
        axes = principal_axes(features)[1]
        tie = axes[:, 1:4] @ turn(rng, 3)
        outside = axes[:, 4:] @ turn(rng, 4)[:, 0]
        tilted = np.stack([axes[:, 0], np.cos(angle) * tie[:, 0] + np.sin(angle) * outside], 1)
        assert_allclose(angle_to_pca(tilted, features), angle, atol=1e-7)
        lacking = np.stack([np.cos(angle) * axes[:, 0] + np.sin(angle) * tie[:, 1], tie[:, 0]], 1)
        assert_allclose(angle_to_pca(lacking, features), angle, atol=1e-7)
        # Also the first direction is left by π/2 where the plane lies in the tie alone.
        assert_allclose(angle_to_pca(tie[:, :2], features), np.pi / 2)

    def test_isotropic_variance(self):
        features = FeatureDistribution([Independent(5, 0.2)])
        W = np.random.default_rng(0).normal(size=(5, 2))
        assert_allclose(pca_likeness(W, features), 1, rtol=1e-12)
        assert_allclose(angle_to_pca(W, features), 0, atol=1e-12)

    def test_too_small_a_rank(self):
        first = linear_optimum(PAIRS, 2).weights * [1.0, 0.0]
        spectrum = principal_axes(PAIRS)[0]
        assert_allclose(pca_likeness(first, PAIRS), spectrum[0] / spectrum[:2].sum())
        assert_allclose(angle_to_pca(first, PAIRS), np.pi / 2)
        assert_allclose([pca_likeness(first, PAIRS, rank=1), angle_to_pca(first, PAIRS, rank=1)], [1, 0], atol=1e-7)
        assert_array_equal(pca_likeness(np.zeros((2, 6, 3)), PAIRS), 0)
        assert_allclose(angle_to_pca(np.zeros((6, 3)), ALIKE), np.pi / 2)

    def test_dead_rows(self):
        features = FeatureDistribution([Independent(4, 0.2, [1.0, 1.0, 0.5, 0.5])])
        W = np.array([[1.0, 0], [0, 2], [0, 0], [0, 0]])
        assert_allclose([pca_likeness(W, features), angle_to_pca(W, features)], [1, 0], atol=1e-12)
        assert_allclose([pca_likeness(W[::-1], features), angle_to_pca(W[::-1], features)], [0.5, np.pi / 2])

    def test_tied_optima_of_unequal_importances_are_close(self):
        features, m = UNEQUAL["two pairs"]
        likeness = pca_likeness(linear_optimum(features, m, starts=2).weights, features)
        assert 0.98 < likeness < 1

    def test_data_arrays_and_diverged_runs(self):
        values = np.random.default_rng(2).normal(size=(2, 3, 6, 2))
        values[1, 1, 0, 0] = np.inf
        run = xr.DataArray(values, dims=("seed", "step", "feature", "hidden"), coords={"step": [0, 10, 20]})
        for measure, unit in ((pca_likeness, "1"), (angle_to_pca, "rad")):
            measured = measure(run.transpose("hidden", ...), PAIRS)
            assert measured.dims == ("seed", "step")
            assert measured.name == measure.__name__
            assert measured.attrs["units"] == unit
            assert_array_equal(measured.values, measure(values, PAIRS))
            assert_array_equal(np.isnan(measured), [[False] * 3, [False, True, False]])


W = np.zeros((6, 2))
SENTENCES = [
    (lambda: linear_optimum(PAIRS, 0), r"linear_optimum\(hidden=0\): hidden must be an int of at least 1"),
    (lambda: linear_optimum(PAIRS, 2, starts=-1), r"linear_optimum\(starts=-1\): starts must .* 0"),
    (lambda: pca_likeness(np.zeros((5, 2)), PAIRS), r"pca_likeness\(weights with 5 rows\): there must be 6 rows"),
    (lambda: pca_likeness(np.zeros(6), PAIRS), r"pca_likeness\(weights of shape \(6,\)\): it needs trailing axes"),
    (lambda: check_distribution("measure", [0.1]), r"measure\(features=list\): .* FeatureDistribution"),
    (lambda: pca_likeness(W, PAIRS, rank=3), r"pca_likeness\(rank=3\): rank must be an int from 1 to 2, or None"),
    (lambda: angle_to_pca(W, PAIRS, rank=True), r"angle_to_pca\(rank=True\): rank must"),
    (lambda: angle_to_pca(W, PAIRS, tolerance=1.0), r"angle_to_pca\(tolerance=1.0\): .* \[0, 1\)"),
    (
        lambda: pca_likeness(np.zeros((2, 1)), CLOSED["no importance"][0]),
        r"pca_likeness\(features without variance, or of importance 0\): at least one",
    ),
    (lambda: principal_angles(W, np.zeros((5, 2))), r"principal_angles\(weights of shapes .*broadcast"),
    (lambda: principal_angles(W, np.zeros((6, 0))), r"principal_angles\(weights of shape \(6, 0\)\): .* empty"),
    (lambda: principal_angles(W, W, tolerance=-0.1), r"principal_angles\(tolerance=-0.1\): .* \[0, 1\)"),
    (
        lambda: angle_to_pca(xr.DataArray(W, dims=("feature", "m")), PAIRS),
        r"angle_to_pca\(weights with dims .*: the dim 'hidden' must be among them",
    ),
]


@pytest.mark.parametrize(("call", "sentence"), SENTENCES)
def test_bad_input_is_refused_in_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}") as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "kind",
    [Independent(3, density=1.0, magnitude=ConstantMagnitude(0.7)), ExactlyK(3, k=3, magnitude=ConstantMagnitude(0.7))],
    ids=["dense", "all"],
)
def test_features_that_never_vary_are_left_to_the_bias(kind):
    features = FeatureDistribution([kind])
    optimum = linear_optimum(features, hidden=2)
    assert (optimum.loss, optimum.losses.tolist(), optimum.closed_form) == (0.0, [0.0] * 3, True)
    assert_allclose(optimum.bias, 0.7)
    assert not optimum.weights.any()
    assert not features.covariance().any()
    with pytest.raises(ValueError, match=r"^pca_likeness\(features without variance, or of importance 0\): at least"):
        pca_likeness(np.eye(3)[:, :2], features)
    beside = linear_optimum(FeatureDistribution([kind, Independent(2, density=0.2)]), hidden=2)
    assert_allclose(np.abs(beside.weights), [[0, 0]] * 3 + [[1, 0], [0, 1]], atol=1e-9)
