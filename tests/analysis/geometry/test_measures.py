"""Measures against independently written coordinates, naive loops and the invariances that define them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tegum.analysis.geometry import measures as geometry
from tegum.analysis.geometry.measures import (
    align_steps,
    canonical_pose,
    dimensionality,
    dimensions_per_feature,
    gram,
    interference,
    represented,
    tegum_factors,
    total_interference,
)

ROOT2, ROOT3 = np.sqrt(2), np.sqrt(3)


def polygon(count):
    return np.array([[np.cos(2 * np.pi * k / count), np.sin(2 * np.pi * k / count)] for k in range(count)])


IDEAL = {
    "point": ([[1.0]], 1.0),
    "digon": ([[1.0], [-1.0]], 1 / 2),
    "triangle": ([[1.0, 0.0], [-0.5, ROOT3 / 2], [-0.5, -ROOT3 / 2]], 2 / 3),
    "tetrahedron": ([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]], 3 / 4),
    "pentagon": (polygon(5), 2 / 5),
    "hexagon": (polygon(6), 1 / 3),
    "octahedron": ([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1.0]], 1 / 2),
    # Two squares, the upper turned by 45°: the plane of each has radius √2 for a height of 1.
    "square antiprism": (
        [
            *([1, 1, -1], [-1, 1, -1], [-1, -1, -1], [1, -1, -1]),
            *([ROOT2, 0, 1], [0, ROOT2, 1], [-ROOT2, 0, 1], [0, -ROOT2, 1.0]),
        ],
        3 / 8,
    ),
}

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=25, deadline=None)


def turn(rng, m):
    """A random rotation or reflection."""
    return np.linalg.qr(rng.normal(size=(m, m)))[0]


def naive_dimensionality(W):
    result = np.zeros(len(W))
    for i, row in enumerate(W):
        if norm := np.sqrt(sum(w * w for w in row)):
            overlaps = [sum(a / norm * b for a, b in zip(row, other, strict=True)) for other in W]
            result[i] = norm**2 / sum(overlap**2 for overlap in overlaps)
    return result


class TestDimensionality:
    @pytest.mark.parametrize("name", IDEAL)
    @pytest.mark.parametrize("size", [1.0, 1e-3, 40.0, 1e-60])
    def test_ideal_polytopes(self, name, size):
        vectors, expected = IDEAL[name]
        assert_allclose(dimensionality(size * np.array(vectors)), expected, rtol=0, atol=1e-12)

    @given(seeds, st.integers(1, 9), st.integers(1, 5))
    @few
    def test_equals_the_naive_loop(self, seed, n, m):
        rng = np.random.default_rng(seed)
        W = rng.normal(size=(2, n, m)) * rng.choice([0.0, 0.2, 1.0, 5.0], (2, n, 1))
        expected = np.stack([naive_dimensionality(w) for w in W])
        assert_allclose(dimensionality(W, zero_tolerance=0.0), expected, rtol=1e-8)

    @given(seeds, st.integers(1, 12), st.integers(1, 6))
    @few
    def test_gauge_permutation_and_bounds(self, seed, n, m):
        rng = np.random.default_rng(seed)
        W = rng.normal(size=(n, m))
        order = rng.permutation(n)
        measured = dimensionality(W)
        assert_allclose(dimensionality((W @ turn(rng, m))[order]), measured[order], rtol=1e-10)
        assert (measured > 0).all()
        assert (measured <= 1).all()
        assert measured.sum() <= min(n, m) + 1e-9
        # Orthogonal rows of very different lengths lose digits, but never exceed one dimension.
        assert (dimensionality(np.logspace(0, -5, m)[:, None] * turn(rng, m)) <= 1).all()

    @pytest.mark.parametrize("name", IDEAL)
    def test_sums_to_the_rank_in_tight_frames(self, name):
        vectors = np.array(IDEAL[name][0])
        assert_allclose(dimensionality(vectors).sum(), np.linalg.matrix_rank(vectors), atol=1e-12)

    def test_zero_rows_have_none(self):
        W = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1e-7], [0.0, 1e-3]])
        assert_allclose(dimensionality(W), [1, 0, 0, 1], atol=1e-6)
        assert_allclose(dimensionality(W, zero_tolerance=1e-2), [1, 0, 0, 0], atol=1e-6)
        assert_array_equal(dimensionality(np.zeros((2, 3, 2))), np.zeros((2, 3)))

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
    def test_a_diverged_run_poisons_no_other(self, bad):
        rng = np.random.default_rng(0)
        W = rng.normal(size=(3, 4, 6, 2))
        sound = {measure: measure(W) for measure in (dimensionality, gram, interference, total_interference)}
        W[1, 2, 3, 0] = bad
        for measure, before in sound.items():
            after = measure(W)
            assert np.isnan(after[1, 2]).all()
            after[1, 2] = before[1, 2]
            assert_array_equal(after, before)
        assert np.isnan(dimensions_per_feature(W)[1, 2])
        assert np.isnan(canonical_pose(W)[1, 2]).all()
        assert np.isfinite(np.delete(canonical_pose(W).reshape(12, 12), 6, axis=0)).all()
        assert not represented(W)[1, 2].any()
        assert_array_equal(tegum_factors(W)[1, 2], -1)

    def test_pieces_of_the_leading_axes_do_not_show(self, monkeypatch):
        W = np.random.default_rng(1).normal(size=(3, 5, 7, 2))
        whole = [measure(W) for measure in (dimensionality, gram, tegum_factors, canonical_pose)]
        monkeypatch.setattr(geometry, "CHUNK_BYTES", 2000)
        pieces = [measure(W) for measure in (dimensionality, gram, tegum_factors, canonical_pose)]
        for one, other in zip(whole, pieces, strict=True):
            assert_array_equal(one, other)

    @pytest.mark.parametrize("shape", [(1, 300, 400, 30), (32, 500, 40, 5)])
    def test_memory_of_a_long_trajectory(self, shape):
        W = np.zeros(shape, np.float32)
        W[..., 0] = 1
        tracemalloc.start()
        dimensionality(W)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 64e6

    def test_no_runs(self):
        assert dimensionality(np.zeros((0, 4, 3, 2))).shape == (0, 4, 3)


class TestGram:
    def test_values(self):
        W = np.array([[1.0, 2.0], [3.0, 4.0], [-1.0, 0.0]])
        assert_allclose(gram(W), [[5, 11, -1], [11, 25, -3], [-1, -3, 1]])
        assert_allclose(interference(W), [[0, 11, -1], [11, 0, -3], [-1, -3, 0]])
        expected = [(121 + 1) / 5, (121 + 9) / 25, (1 + 9) / 1]
        assert_allclose(total_interference(W), expected, rtol=1e-12)
        assert_array_equal(total_interference(np.diag([1.0, 2.0, 0.0])), [0, 0, 0])

    @given(seeds)
    @few
    def test_total_interference_is_the_rest_of_dimensionality(self, seed):
        W = np.random.default_rng(seed).normal(size=(7, 3)) * 5
        squares = (W**2).sum(1)
        assert_allclose(squares / (squares + total_interference(W)), dimensionality(W), rtol=1e-9)

    def test_dimensions_per_feature(self):
        assert_allclose(dimensions_per_feature(polygon(5)), 2 / 5)
        assert_array_equal(dimensions_per_feature(np.zeros((2, 4, 3))), [np.inf, np.inf])


class TestDataArrays:
    @pytest.fixture
    def run(self):
        values = np.random.default_rng(2).normal(size=(2, 3, 5, 2)).astype(np.float32)
        return xr.DataArray(
            values,
            dims=("seed", "step", "feature", "hidden"),
            coords={"seed": [7, 8], "step": [0, 10, 20], "feature": list("abcde"), "density": 0.1},
            attrs={"long_name": "weights"},
        )

    @pytest.mark.parametrize("measure", [dimensionality, represented, tegum_factors, total_interference])
    def test_per_feature(self, run, measure):
        measured = measure(run)
        assert measured.dims == ("seed", "step", "feature")
        assert set(measured.coords) == {"seed", "step", "feature", "density"}
        assert measured.attrs["units"] == "1"
        assert measured.attrs["long_name"] not in ("", "weights")
        assert measured.name == measure.__name__
        assert_array_equal(measured.values, measure(run.values.astype(np.float64)))

    @pytest.mark.parametrize("measure", [gram, interference])
    def test_pairs(self, run, measure):
        measured = measure(run)
        assert measured.dims == ("seed", "step", "feature", "feature_other")
        assert_array_equal(measured["feature_other"], run["feature"])
        assert_array_equal(measured.values, measure(run.values))

    @pytest.mark.parametrize("measure", [dimensionality, canonical_pose, align_steps, gram])
    def test_any_order_of_dims(self, run, measure):
        other = run.transpose("hidden", "step", "feature", "seed")
        measured = measure(other)
        assert list(measured.dims[:-1]) == [d for d in other.dims if d in measured.dims][: measured.ndim - 1]
        assert_allclose(measured.transpose(*measure(run).dims), measure(run), rtol=1e-6)

    def test_scalar_measure_and_reference(self, run):
        assert dimensions_per_feature(run).dims == ("seed", "step")
        posed = canonical_pose(run, run.isel(step=-1))
        assert posed.dims == run.dims
        assert_array_equal(posed["step"], run["step"])
        assert_allclose(posed.isel(step=-1), run.isel(step=-1), atol=1e-6)
        assert canonical_pose(run, run.isel(step=0, seed=0)).dims == run.dims

    def test_align_steps(self, run):
        posed = align_steps(run)
        assert posed.dims == run.dims
        assert set(posed.coords) == set(run.coords)
        assert_array_equal(posed.values, align_steps(run.values))


class TestRepresented:
    W = np.array([[2.0, 0.0], [0.0, 1.0], [0.3, 0.4], [0.0, 0.0]])

    def test_relative_to_the_longest_row(self):
        assert_array_equal(represented(self.W), [True, True, False, False])
        assert_array_equal(represented(1e-5 * self.W), [True, True, False, False])
        assert_array_equal(represented(self.W, threshold=0.0), [True, True, True, False])

    def test_on_a_given_scale(self):
        assert_array_equal(represented(self.W, scale=1.0), [True, True, True, False])
        assert not represented(0.1 * self.W, scale=1.0).any()


class TestTegumFactors:
    def test_blocks_in_order_of_their_first_feature(self):
        W = np.zeros((7, 4))
        W[[5, 1, 4], [3, 3, 2]] = 1, -1, 1
        W[[2, 3, 6], :2] = IDEAL["triangle"][0]
        assert_array_equal(tegum_factors(W), [-1, 0, 1, 1, 2, 0, 1])

    def test_the_tolerance_is_the_largest_orthogonal_cosine(self):
        W = np.array([[1.0, 0.0], [0.2, np.sqrt(1 - 0.04)]])
        assert_array_equal(tegum_factors(W, tolerance=0.19), [0, 0])
        assert_array_equal(tegum_factors(W, tolerance=0.21), [0, 1])

    @given(seeds, st.integers(1, 30))
    @few
    def test_equals_a_search_of_the_graph(self, seed, n):
        rng = np.random.default_rng(seed)
        W = rng.normal(size=(n, 12))
        directions = W / np.linalg.norm(W, axis=1, keepdims=True)
        joined = np.abs(directions @ directions.T) > 0.5
        labels, expected = np.full(n, -1), 0
        for start in range(n):
            if labels[start] < 0:
                reached = [start]
                while reached:
                    feature = reached.pop()
                    labels[feature] = expected
                    reached += [j for j in range(n) if joined[feature, j] and labels[j] < 0]
                expected += 1
        assert_array_equal(tegum_factors(W, tolerance=0.5, threshold=0.0), labels)

    def test_a_long_chain_is_one_factor(self):
        links = np.eye(60) + np.eye(60, k=1)
        assert_array_equal(tegum_factors(links[np.random.default_rng(0).permutation(60)]), 0)


class TestCanonicalPose:
    def test_is_that_of_the_same_shape_at_any_size(self):
        W = np.random.default_rng(1).normal(size=(5, 3))
        for power in (-900, -500, 200):
            assert_array_equal(canonical_pose(np.ldexp(W, power)), np.ldexp(canonical_pose(W), power))

    @given(st.sampled_from([*IDEAL, *range(3, 13), "cube", "random", "flat", "short rows"]), seeds)
    @settings(max_examples=120, deadline=None)
    def test_rotated_copies_get_equal_coordinates(self, kind, seed):
        rng = np.random.default_rng(seed)
        if isinstance(kind, int):
            W = polygon(kind)
        elif kind in IDEAL:
            W = np.array(IDEAL[kind][0])
        elif kind == "cube":
            W = np.array([[x, y, z] for x in (1, -1) for y in (1, -1) for z in (1, -1.0)])
        else:
            W = rng.normal(size=(7, 4))
            W[:, 2:] *= {"random": 1, "flat": 0, "short rows": 1}[kind]
            W[:3] *= {"random": 1, "flat": 1, "short rows": 1e-9}[kind]
        W = W[rng.permutation(len(W))]
        room = np.concatenate([W, np.zeros((len(W), rng.integers(0, 3)))], 1)
        m = room.shape[1]
        copies = np.stack([room, room @ turn(rng, m), 1.0 * (room @ turn(rng, m)) @ turn(rng, m)])
        posed = canonical_pose(copies)
        assert_allclose(posed - posed[0], 0, atol=1e-12 * np.abs(W).max() * 100)
        assert_allclose(gram(posed), gram(copies), atol=1e-12)
        assert_allclose(canonical_pose(posed), posed, atol=1e-10)

    def test_what_fixes_it(self):
        W = np.array([[0.0, 0.0, 1e-3], [0.0, -3.0, 0.0], [0.0, 6.0, 1e-3], [-1.0, 2.0, 0.0], [0.0, 0.0, 5.0]])
        posed = canonical_pose(W)
        # Row 0 is too short to set an axis, row 2 parallel to row 1.
        assert_allclose(posed[1], [3, 0, 0], atol=1e-12)
        assert_allclose(posed[4], [0, 5, 0], atol=1e-12)
        assert_allclose(posed[3], [-2, 0, 1], atol=1e-12)
        flat = polygon(5) @ np.random.default_rng(0).normal(size=(2, 6))
        assert_array_equal(canonical_pose(flat)[:, 2:], 0)

    @given(seeds, st.integers(1, 5))
    @few
    def test_reference_undoes_the_gauge(self, seed, m):
        rng = np.random.default_rng(seed)
        reference = rng.normal(size=(8, m))
        runs = np.stack([reference @ turn(rng, m) for _ in range(3)])
        assert_allclose(canonical_pose(runs, reference), np.stack([reference] * 3), atol=1e-10)

    @given(seeds)
    @few
    def test_reference_pose_is_the_closest(self, seed):
        rng = np.random.default_rng(seed)
        W, reference = rng.normal(size=(2, 6, 3))
        posed = canonical_pose(W, reference)
        assert_allclose(gram(posed), gram(W), atol=1e-10)
        best = np.linalg.norm(posed - reference)
        assert all(np.linalg.norm(W @ turn(rng, 3) - reference) >= best - 1e-9 for _ in range(20))

    def test_reference_that_has_diverged(self):
        W = np.random.default_rng(0).normal(size=(2, 4, 2))
        reference = W.copy()
        reference[1, 0, 0] = np.nan
        posed = canonical_pose(W, reference)
        assert_allclose(posed[0], W[0], atol=1e-12)
        assert np.isnan(posed[1]).all()


class TestAlignSteps:
    def spinning(self, seed=0):
        """A slow movement of two runs, seen in another gauge at every step, and in one gauge."""
        rng = np.random.default_rng(seed)
        start, end = rng.normal(size=(2, 2, 1, 6, 3))
        still = start + (end - start) * np.linspace(0, 0.5, 40)[:, None, None]
        return np.stack([[w @ turn(rng, 3) for w in run] for run in still]), still

    def test_a_movie_does_not_spin(self):
        spun, still = self.spinning()
        posed = align_steps(spun)
        assert_allclose(gram(posed), gram(spun), atol=1e-10)
        assert_allclose(posed[:, -1], canonical_pose(spun[:, -1]), atol=1e-12)
        moved = np.linalg.norm(np.diff(posed, axis=1), axis=(-2, -1))
        needed = np.linalg.norm(np.diff(still, axis=1), axis=(-2, -1))
        assert (moved <= needed + 1e-9).all()

    def test_a_run_that_diverges_keeps_its_past(self):
        spun, _ = self.spinning()
        expected = align_steps(spun)
        cut = spun.copy()
        cut[1, 25:] = np.nan
        cut[1, 10] = np.inf
        posed = align_steps(cut)
        assert_allclose(posed[0], expected[0], atol=1e-12)
        assert np.isnan(posed[1, 25:]).all()
        assert np.isnan(posed[1, 10]).all()
        assert_allclose(posed[1, 11:25], align_steps(spun[1, 11:25]), atol=1e-9)
        assert np.isfinite(posed[1, :10]).all()
        assert np.linalg.norm(posed[1, 9] - posed[1, 11]) < 0.5


SENTENCES = [
    (
        lambda: dimensionality(np.zeros(3)),
        r"dimensionality\(weights of shape \(3,\)\): it needs trailing axes",
    ),
    (lambda: gram(np.zeros((2, 0, 3))), r"gram\(weights of shape \(2, 0, 3\)\): it needs .* empty"),
    (
        lambda: interference(np.zeros((2, 2), complex)),
        r"interference\(weights=ndarray of complex128, .* real",
    ),
    (
        lambda: dimensionality(xr.DataArray(np.zeros((2, 2)), dims=("feature", "m"))),
        r"dimensionality\(weights with dims \('feature', 'm'\)\): the dim 'hidden' must be among them",
    ),
    (
        lambda: dimensionality(np.eye(2), zero_tolerance=1.5),
        r"dimensionality\(zero_tolerance=1.5\): .* \[0, 1\)",
    ),
    (lambda: tegum_factors(np.eye(2), tolerance=-0.1), r"tegum_factors\(tolerance=-0.1\): .* \[0, 1\)"),
    (lambda: represented(np.eye(2), threshold=float("nan")), r"represented\(threshold=nan\): .* \[0, 1\)"),
    (lambda: represented(np.eye(2), scale=0.0), r"represented\(scale=0.0\): scale must be positive"),
    (
        lambda: canonical_pose(np.eye(2), np.eye(3)),
        r"canonical_pose\(weights of shapes .*\): they must broadcast",
    ),
    (lambda: align_steps(np.eye(2)), r"align_steps\(weights of shape \(2, 2\)\): it needs .*step"),
    (
        lambda: align_steps(xr.DataArray(np.eye(2), dims=("feature", "hidden"))),
        r"align_steps\(weights with dims .*\): the dim 'step' must be among them",
    ),
]


@pytest.mark.parametrize(("call", "sentence"), SENTENCES)
def test_bad_input_is_refused_in_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}") as caught:
        call()
    assert "\n" not in str(caught.value)
