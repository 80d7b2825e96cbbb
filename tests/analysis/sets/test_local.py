"""Collapse, interference and local bases: against loops, samples and scikit-learn, and by their invariances."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA

from tegum.analysis.sets.collapse import collapsed_count, collapsed_sets, interference_between, interference_within
from tegum.analysis.sets.local import (
    captured_variance,
    chance_capture,
    local_capture,
    local_moments,
    local_pca,
    readout_error,
    sampled_pca,
)
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.empirical import Empirical
from tegum.core.features.magnitudes import ConstantMagnitude
from tegum.core.features.sets import Anticorrelated, Correlated, Equivariant, Independent, PartiallyCorrelated

seeds = st.integers(0, 2**32 - 1)
few, fewest = settings(max_examples=15, deadline=None), settings(max_examples=4, deadline=None)

PAIRS = FeatureDistribution([Correlated(2, 0.1)] * 3)
MIXED = FeatureDistribution(
    [
        Correlated(3, [0.2, 0.3, 0.25]),
        PartiallyCorrelated(2, 0.3, 0.6),
        Anticorrelated(2, 0.5),
        Equivariant(4, 0.4, 1.0),
        Independent(2, [0.1, 1.0]),
        Independent(1, 0.2),
    ]
)
GATED = FeatureDistribution([each for each in MIXED.sets if each.kind != "equivariant"])
PLACES = ("active", "alone", "everywhere")


def turn(rng, m):
    return np.linalg.qr(rng.normal(size=(m, m)))[0]


def active(x, features, number):
    return (x[:, features.set_of_feature == number] != 0).any(1)


@functools.cache
def drawn():
    return MIXED.sample(5, 100_000)


def placed(number, where):
    """Samples of MIXED of one of the kinds, drawn and then chosen."""
    x = drawn()
    if where == "everywhere":
        return x
    chosen = x[active(x, MIXED, number)]
    if where == "alone":
        chosen[:, MIXED.set_of_feature != number] = 0
    return chosen


class TestCollapse:
    def rows(self, *degrees, lengths=None):
        angles = np.radians(degrees)
        return np.stack([np.cos(angles), np.sin(angles)], 1) * np.reshape(lengths or [1.0] * len(degrees), (-1, 1))

    @pytest.mark.parametrize(
        ("degrees", "lengths", "expected"),
        [
            ((0, 0, 120, 120, 240, 240), None, [1, 1, 1]),
            ((0, 60, 120, 180, 240, 300), None, [0, 0, 0]),
            # cos 18° is 0.951 and cos 19° 0.946.
            ((0, 18, 100, 119, 200, 380), None, [1, 0, 0]),
            ((0, 0, 90, 90, 180, 180), (1, 0.51, 1, 0.49, 0.3, 0.3), [1, 0, 1]),
            # Alike, but both absent.
            ((0, 0, 90, 90, 180, 180), (1, 1, 0.05, 0.05, 0.0, 0.0), [1, 0, 0]),
        ],
    )
    def test_pairs(self, degrees, lengths, expected):
        W = self.rows(*degrees, lengths=lengths)
        assert_array_equal(collapsed_sets(W, PAIRS), np.array(expected, bool))
        assert collapsed_count(W, PAIRS) == sum(expected)

    def test_thresholds(self):
        W = self.rows(0, 30, 90, 90, 200, 200, lengths=(1, 1, 1, 0.3, 0.05, 0.05))
        assert_array_equal(collapsed_sets(W, PAIRS, cosine=0.8), [True, False, False])
        assert_array_equal(collapsed_sets(W, PAIRS, norm_ratio=0.2), [False, True, False])
        assert_array_equal(collapsed_sets(W, PAIRS, absent=0.01), [False, False, True])

    def test_every_pair_counts(self):
        features = FeatureDistribution([Correlated(4, 0.1), Independent(1, 0.1), Correlated(3, 0.1)])
        # 0° and 24° are 24° apart, although each is near 12°; a group of one is never collapsed.
        W = self.rows(0, 0, 180, 180, 0, 0, 12, 24)
        assert_array_equal(collapsed_sets(W, features), [False, False, False])
        assert_array_equal(collapsed_sets(self.rows(0, 1, 2, 3, 0, 0, 6, 12), features), [True, False, True])

    @given(seeds)
    @few
    def test_against_a_loop_and_invariances(self, seed):
        rng = np.random.default_rng(seed)
        W = rng.normal(size=(1, 14, 2)) * [1, 0.2] * rng.choice([0.05, 0.5, 1], size=(30, 14, 1))
        W[1] = 0
        expected = np.zeros((30, 6), bool)
        for run, number in itertools.product(range(30), range(6)):
            rows = W[run, MIXED.set_of_feature == number]
            norms, least = np.linalg.norm(rows, axis=1), 0.1 * np.linalg.norm(W[run], axis=1).max()
            expected[run, number] = len(rows) > 1 and all(
                a @ b > 0.95 * p * q and min(p, q) >= max(least, 0.5 * max(p, q)) > 0
                for (a, p), (b, q) in itertools.combinations(zip(rows, norms, strict=True), 2)
            )
        assert_array_equal(collapsed_sets(W, MIXED), expected)
        assert_array_equal(collapsed_count(W, MIXED), expected.sum(1))
        assert_array_equal(collapsed_sets(7 * W @ turn(rng, 2), MIXED), expected)
        swapped = FeatureDistribution([*MIXED.sets[1:], MIXED.sets[0]])
        assert_array_equal(collapsed_sets(np.roll(W, -3, axis=1), swapped), np.roll(expected, -1, axis=1))

    def test_diverged(self):
        W = np.stack([self.rows(0, 0, 90, 90, 180, 180)] * 3)
        W[1, 0, 0] = np.nan
        assert_array_equal(collapsed_sets(W, PAIRS).sum(-1), [3, 0, 3])
        assert_array_equal(collapsed_count(W, PAIRS), [3, -1, 3])


class TestInterference:
    @given(seeds)
    @few
    def test_against_a_loop(self, seed):
        rng = np.random.default_rng(seed)
        W = rng.normal(size=(14, 3)) * rng.choice([0.0, 1.0, 3.0], size=(14, 1))
        norms, set_of = np.linalg.norm(W, axis=1), MIXED.set_of_feature
        pairs = {(number, same): [] for number in range(6) for same in (True, False)}
        for i, j in itertools.permutations(range(14), 2):
            if min(norms[i], norms[j]) > 0.1 * norms.max():
                pairs[set_of[i], set_of[i] == set_of[j]].append((W[i] @ W[j] / norms[i] / norms[j]) ** 2)
        for same, measure in ((True, interference_within), (False, interference_between)):
            expected = [np.mean(found) if (found := pairs[number, same]) else np.nan for number in range(6)]
            assert_allclose(measure(W, MIXED), expected, rtol=1e-10, atol=1e-14)
            assert_allclose(measure(-2 * W @ turn(rng, 3), MIXED), expected, rtol=1e-10, atol=1e-14)

    def test_ideals(self):
        W = np.array([[1.0, 0], [0, 2], [1, 1], [-1, -1], [0, 0], [0, 0]])
        assert_allclose(interference_within(W, PAIRS), [0, 1, np.nan], atol=1e-15)
        assert_allclose(interference_between(W, PAIRS), [0.5, 0.5, np.nan])
        one = FeatureDistribution([Correlated(6, 0.1)])
        assert np.isnan(interference_between(W, one)).all()
        assert np.isnan(interference_within(np.zeros((6, 2)), PAIRS)).all()

    def test_random_directions_and_the_bound_of_a_large_set(self):
        rng = np.random.default_rng(0)
        features = FeatureDistribution([Correlated(6, 0.1), Correlated(4, 0.1)])
        W = rng.normal(size=(2000, 10, 5))
        for measure in (interference_within, interference_between):
            values = measure(W, features)
            assert (np.abs(values.mean(0) - 1 / 5) < 4 * values.std(0) / np.sqrt(2000)).all()
        assert interference_within(W, features)[:, 0].min() >= (6 - 5) / (5 * 5)
        # Equiangular lines, the six diagonals of the icosahedron, reach it in three dimensions.
        golden = (1 + np.sqrt(5)) / 2
        lines = np.array([np.roll([0, 1, sign * golden], k) for k in range(3) for sign in (1, -1)])
        measured = interference_within(lines, FeatureDistribution([Correlated(6, 0.1)]))
        assert_allclose(measured, (6 - 3) / (3 * 5))


class TestLocalMoments:
    @pytest.mark.parametrize("number", range(6))
    @pytest.mark.parametrize("where", PLACES)
    def test_against_samples(self, number, where):
        x = placed(number, where)
        mean, covariance = local_moments(MIXED, number, where)
        few = x[:10_000] - mean
        products = np.einsum("si,sj->sij", few, few)
        assert (np.abs(x.mean(0) - mean) <= 5 * x.std(0) / np.sqrt(len(x)) + 1e-12).all()
        error = products.std(0) / np.sqrt(len(products))
        assert (np.abs(products.mean(0) - covariance) <= 5 * error + 1e-12).all()

    def test_a_correlated_set_alone_is_isotropic(self):
        mean, covariance = local_moments(PAIRS, 1, "alone")
        assert_allclose(mean, [0, 0, 0.5, 0.5, 0, 0])
        assert_allclose(covariance, np.diag([0, 0, 1, 1, 0, 0]) / 12, atol=1e-16)

    def test_density_one(self):
        features = FeatureDistribution([Correlated(2, 1.0), Correlated(2, 0.3)])
        assert_allclose(local_moments(features, 0).covariance, features.covariance(), atol=1e-16)

    def test_tiny_densities(self):
        features = FeatureDistribution([Correlated(2, 1e-9), Independent(2, 1e-9)])
        assert_allclose(local_moments(features, 0, "alone").covariance[:2, :2], np.eye(2) / 12, rtol=1e-6, atol=1e-9)
        assert_allclose(local_moments(features, 1, "alone").mean[2:], [0.25, 0.25], rtol=1e-6)

    def test_a_kind_that_does_not_say_how_often_it_is_active(self):
        features = FeatureDistribution([Empirical([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]])])
        with pytest.raises(
            ValueError, match=r"^local_moments\(features with Empirical.*: the probability that a set of this"
        ):
            local_moments(features, 0)
        assert_allclose(local_moments(features, 0, "everywhere").covariance, features.covariance())


class TestLocalPca:
    @pytest.mark.parametrize("where", PLACES)
    def test_exact_and_sampled(self, where):
        W = np.random.default_rng(0).normal(size=(14, 5))
        h = placed(0, where) @ W
        exact, sampled = local_pca(W, MIXED, 0, where=where), sampled_pca(h, 3)
        assert exact.directions.shape == sampled.directions.shape == (3, 5)
        assert exact.variances.shape == sampled.variances.shape == (5,)
        fitted = PCA(n_components=3).fit(h)
        assert_allclose(sampled.variances[:3], fitted.explained_variance_ * (1 - 1 / len(h)), rtol=1e-9)
        assert_allclose(np.abs((sampled.directions * fitted.components_).sum(1)), 1, atol=1e-9)
        along = np.square((h - h.mean(0)) @ exact.directions.T)
        assert (np.abs(along.mean(0) - exact.variances[:3]) < 5 * along.std(0) / np.sqrt(len(h))).all()
        assert_allclose(np.abs((sampled.directions * exact.directions).sum(1)), 1, atol=1e-2)
        mean, covariance = local_moments(MIXED, 0, where)
        assert_allclose(exact.variances, np.linalg.eigvalsh(W.T @ covariance @ W)[::-1], atol=1e-12)
        assert_allclose(np.mean(h, 0), mean @ W, atol=0.05)

    def test_shapes_and_ranks(self):
        W = np.random.default_rng(0).normal(size=(2, 3, 14, 2))
        basis = local_pca(W, MIXED, 3)
        assert basis.directions.shape == (2, 3, 2, 2)
        assert basis.variances.shape == (2, 3, 2)
        assert_allclose(
            basis.directions @ basis.directions.swapaxes(-1, -2), np.broadcast_to(np.eye(2), (2, 3, 2, 2)), atol=1e-12
        )
        assert_allclose(local_pca(W[1, 2], MIXED, 3, rank=1).directions, basis.directions[1, 2, :1])

    def test_zero_weights(self):
        basis = local_pca(np.zeros((6, 2)), PAIRS, 0)
        assert_array_equal(basis.variances, 0)
        assert_allclose(basis.directions @ basis.directions.T, np.eye(2))

    def test_data_arrays_and_diverged_runs(self):
        values = np.random.default_rng(0).normal(size=(2, 3, 6, 4))
        values[0, 1] = np.nan
        run = xr.DataArray(values, dims=("seed", "step", "feature", "hidden"), coords={"set": ("feature", [0] * 6)})
        basis = local_pca(run, PAIRS, 1)
        assert basis.directions.dims == ("seed", "step", "component", "hidden")
        assert basis.variances.dims == ("seed", "step", "axis")
        assert_array_equal(basis.directions.values, local_pca(values, PAIRS, 1).directions)
        assert np.isnan(basis.variances[0, 1]).all()
        share = captured_variance(run.isel(feature=slice(2, 4)), basis.directions)
        assert share.dims == ("seed", "step")
        assert_array_equal(share.values, captured_variance(values[:, :, 2:4], basis.directions.values))
        assert_allclose(share, local_capture(run, PAIRS).isel(set=1), rtol=1e-10)


class TestCapture:
    def test_definition(self):
        W = np.array([[2.0, 0, 0], [0, 1, 0], [0, 0, 0]])
        assert_allclose(captured_variance(W, np.array([[1.0, 0, 0]])), 4 / 5)
        assert_allclose(captured_variance(W, np.array([[1.0, 1, 0], [-3, -3, 0]])), (2 + 0.5) / 5)
        assert_allclose(captured_variance(W, np.eye(3)), 1)
        assert_allclose(captured_variance(W, np.zeros((4, 3))), 0)
        assert np.isnan(captured_variance(0 * W, np.eye(3)))

    @given(seeds)
    @few
    def test_invariances(self, seed):
        rng = np.random.default_rng(seed)
        W, basis, R = rng.normal(size=(4, 3, 5)), rng.normal(size=(2, 5)), turn(rng, 5)
        share = captured_variance(W, basis)
        assert share.shape == (4,)
        assert_allclose(captured_variance(-3 * W @ R, rng.normal(size=(2, 2)) @ basis @ R), share, rtol=1e-7)
        rest = np.linalg.svd(basis)[2][2:]
        assert_allclose(captured_variance(W, rest), 1 - share, rtol=1e-10)

    def test_random_bases_capture_rank_over_m(self):
        rng = np.random.default_rng(0)
        W = rng.normal(size=(4, 6)) * [3, 1, 1, 1, 0.1, 0]
        share = captured_variance(W, rng.normal(size=(4000, 2, 6)))
        assert abs(share.mean() - 2 / 6) < 4 * share.std() / np.sqrt(4000)
        features = FeatureDistribution([Correlated(2, 0.1), Correlated(9, 0.1)])
        assert_allclose(chance_capture(features, 6), [2 / 6, 1])
        assert_allclose(chance_capture(features, 6, rank=3), [0.5, 0.5])

    @given(seeds)
    @fewest
    def test_local_capture_is_that_of_local_pca(self, seed):
        rng = np.random.default_rng(seed)
        W, R = rng.normal(size=(2, 10, 5)), turn(rng, 5)
        for where in PLACES:
            measured = local_capture(W, GATED, where=where)
            assert measured.shape == (2, 5)
            assert_allclose(local_capture(4 * W @ R, GATED, where=where), measured, rtol=1e-8)
            for number in range(5):
                directions = local_pca(W, GATED, number, where=where).directions
                own = W[:, GATED.set_of_feature == number]
                assert_allclose(captured_variance(own, directions), measured[:, number], rtol=1e-8)
        assert_allclose(local_capture(W, GATED, where="alone"), 1, rtol=1e-9)

    def test_ties_share_what_is_left(self):
        # Variances are equal in all three dimensions: the two directions are any two.
        features = FeatureDistribution([Correlated(1, 0.2)] * 3)
        assert_allclose(local_capture(np.eye(3), features, rank=2, where="everywhere"), 2 / 3)
        assert_allclose(local_capture(np.eye(3), features, rank=1, where="active"), 1)

    def test_sparse_sets_in_superposition_are_found_when_orthogonal(self):
        rng = np.random.default_rng(0)
        features = FeatureDistribution([Correlated(5, 0.01)] * 8)
        W = np.concatenate([turn(rng, 12)[:5] for _ in range(8)])
        assert local_capture(W, features).min() > 0.95
        assert_allclose(interference_within(W, features), 0, atol=1e-15)
        assert readout_error(W, features).max() < 0.2
        assert_allclose(readout_error(W, features, "alone"), 0, atol=1e-12)
        # Rows without order are found as well; it is the read-out that fails.
        loose = rng.normal(size=(40, 12)) / np.sqrt(12)
        assert local_capture(loose, features).min() > 0.8
        assert readout_error(loose, features, "alone").min() > 0.1


class TestReadout:
    @pytest.mark.parametrize("where", PLACES)
    @pytest.mark.parametrize("scale", [None, 1.0, 0.3])
    def test_against_samples(self, where, scale):
        rng = np.random.default_rng(0)
        W = rng.normal(size=(14, 5)) / np.sqrt(5)
        measured = readout_error(W, MIXED, where, scale)
        for number in (0, 3):
            own = MIXED.set_of_feature == number
            x = placed(number, where)
            x = x - x.mean(0)
            read = x @ W @ W[own].T
            # Least squares over the one number s, if it is free.
            s = (read * x[:, own]).sum() / np.square(read).sum() if scale is None else scale
            errors = np.square(x[:, own] - s * read).sum(1)
            total = np.square(x[:, own]).sum(1).mean()
            standard = errors.std() / total / np.sqrt(len(x))
            assert abs(errors.mean() / total - measured[number]) < 6 * standard

    @given(seeds)
    @fewest
    def test_invariances(self, seed):
        rng = np.random.default_rng(seed)
        W = rng.normal(size=(3, 10, 4))
        for where in PLACES:
            error = readout_error(W, GATED, where)
            assert error.shape == (3, 5)
            assert ((error >= 0) & (error <= 1)).all()
            assert (readout_error(W, GATED, where, scale=float(rng.normal())) >= error - 1e-12).all()
            assert_allclose(readout_error(5 * W @ turn(rng, 4), GATED, where), error, atol=1e-12)
            swapped = FeatureDistribution([*GATED.sets[1:], GATED.sets[0]])
            assert_allclose(readout_error(np.roll(W, -3, 1), swapped, where), np.roll(error, -1, -1), atol=1e-12)

    def test_extremes(self):
        assert_allclose(readout_error(np.zeros((6, 2)), PAIRS), 1)
        assert_allclose(readout_error(np.eye(6), PAIRS), 0, atol=1e-15)
        assert_allclose(readout_error(np.eye(6), PAIRS, scale=0.0), 1)
        one = FeatureDistribution([Independent(1, 0.5)])
        assert_allclose([readout_error(np.array([[2.0]]), one), local_capture(np.array([[2.0]]), one)], [[0], [1]])
        dense = FeatureDistribution([Independent(2, 1.0), Correlated(2, 1.0)])
        W = np.random.default_rng(0).normal(size=(4, 3))
        assert_allclose(readout_error(W, dense, "active"), readout_error(W, dense, "everywhere"), rtol=1e-12)


def test_measures_of_sets_keep_the_other_dims():
    values = np.random.default_rng(2).normal(size=(2, 3, 6, 2)).astype(np.float32)
    values[0, 2, 0, 0] = np.inf
    coords = {"seed": [7, 8], "step": [0, 1, 2], "set": ("feature", [0, 0, 1, 1, 2, 2]), "density": 0.1}
    run = xr.DataArray(values, dims=("seed", "step", "feature", "hidden"), coords=coords)
    for measure in (collapsed_sets, interference_within, interference_between, local_capture, readout_error):
        measured = measure(run.transpose("hidden", "feature", "seed", "step"), PAIRS)
        assert set(measured.dims) == {"seed", "step", "set"}
        assert set(measured.coords) == {"seed", "step", "set", "density"}
        assert_array_equal(measured["set"], [0, 1, 2])
        assert measured.attrs["units"] == "1"
        assert measured.attrs["long_name"]
        expected = measure(values, PAIRS)
        assert_array_equal(measured.transpose("seed", "step", "set").values, expected)
        assert expected.dtype == bool or np.isnan(expected[0, 2]).all()
    assert collapsed_count(run, PAIRS).dims == ("seed", "step")
    assert isinstance(collapsed_count(values[1, 1], PAIRS), np.generic | np.ndarray)


W = np.zeros((6, 2))
SENTENCES = [
    (lambda: collapsed_sets(np.zeros((5, 2)), PAIRS), r"collapsed_sets\(weights with 5 rows\): there must be 6 rows"),
    (lambda: collapsed_count(W, PAIRS, cosine=1.0), r"collapsed_count\(cosine=1.0\): .* \[0, 1\)"),
    (lambda: collapsed_sets(W, PAIRS, norm_ratio=1.5), r"collapsed_sets\(norm_ratio=1.5\): .* \[0, 1\]"),
    (lambda: interference_within(W, PAIRS, absent=-0.1), r"interference_within\(absent=-0.1\): .* \[0, 1\)"),
    (lambda: interference_between(np.zeros(6), PAIRS), r"interference_between\(weights of shape \(6,\)\): it needs"),
    (lambda: local_moments(PAIRS, 3), r"local_moments\(number=3\): number must be an int from 0 to 2"),
    (lambda: local_pca(W, PAIRS, 0, rank=3), r"local_pca\(rank=3\): rank must be an int from 1 to 2, or None"),
    (lambda: local_pca(W, PAIRS, True), r"local_pca\(number=True\): number must be"),
    (lambda: local_capture(W, PAIRS, rank=0), r"local_capture\(rank=0\): rank must be"),
    (lambda: chance_capture(PAIRS, 0), r"chance_capture\(hidden=0\): hidden must be an int of at least 1"),
    (lambda: readout_error(W, PAIRS, scale=float("nan")), r"readout_error\(scale=nan\): scale must be finite"),
    (lambda: sampled_pca(np.zeros((0, 2)), 1), r"sampled_pca\(samples of shape \(0, 2\)\): there must be samples"),
    (lambda: captured_variance(W, np.zeros((2, 3))), r"captured_variance\(weights of shapes .* broadcast"),
]


@pytest.mark.parametrize(("call", "sentence"), SENTENCES)
def test_bad_input_is_refused_in_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}") as caught:
        call()
    assert "\n" not in str(caught.value)


def test_where_a_set_does_not_vary_nothing_depends_on_rounding():
    # Three features that are always 0.7 together, where their set is active: no variance there, 0.7² p (1 − p) without.
    law = ConstantMagnitude(0.7)
    features = FeatureDistribution([Correlated(3, density=0.1, magnitude=law), Independent(2, density=0.2)])
    W = np.random.default_rng(0).normal(size=(5, 4))
    for where in ("active", "alone"):
        moments = local_moments(features, 0, where)
        assert moments.mean[:3].tolist() == pytest.approx([0.7] * 3)
        assert not moments.covariance[:3, :3].any()
        assert np.isnan(readout_error(W, features, where)[0])
    # Every direction is as good as any other: what a random subspace captures, in expectation.
    assert_allclose(local_capture(W, features, rank=2, where="alone")[0], 2 / 4, rtol=1e-12)
    assert_allclose(local_moments(features, 0, "everywhere").covariance[:3, :3], 0.49 * 0.09, rtol=1e-12)
    assert 0 < readout_error(W, features, "everywhere")[0] < 1
