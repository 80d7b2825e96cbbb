"""Names are given to what has the shape, in any pose and order, and to nothing else."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tegum.analysis.geometry import polytopes
from tegum.analysis.geometry.measures import TOLERANCE, dimensionality, tegum_factors
from tegum.analysis.geometry.polytopes import (
    LEVELS,
    SHAPES,
    collapsed_groups,
    name_factor,
    name_polytope,
    orthoplex,
    polytope_names,
    regular_polygon,
    simplex,
)

ROOT2, ROOT3 = np.sqrt(2), np.sqrt(3)


def polygon(count):
    angles = 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def layers(base, height, twist):
    """Unit vectors to two parallel regular polygons, the second turned by `twist` radians."""
    angles = 2 * np.pi * np.arange(base) / base
    radius = np.sqrt(1 - height**2)
    rows = [(radius * np.cos(a), radius * np.sin(a), height) for a in angles]
    return np.array(rows + [(radius * np.cos(a + twist), radius * np.sin(a + twist), -height) for a in angles])


FACTORS = {
    "point": np.array([[1.0]]),
    "digon": np.array([[1.0], [-1.0]]),
    "triangle": np.array([[1.0, 0.0], [-0.5, ROOT3 / 2], [-0.5, -ROOT3 / 2]]),
    "tetrahedron": np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / ROOT3,
    "pentagon": polygon(5),
    "hexagon": polygon(6),
    "11-gon": polygon(11),
    "5-simplex": np.eye(6) - 1 / 6,
    "square antiprism": layers(4, 1 / ROOT3, np.pi / 4),
    "triangular prism": layers(3, 1 / ROOT3, 0.0),
    "cube": np.array([[x, y, z] for x in (1, -1) for y in (1, -1) for z in (1, -1)]) / ROOT3,
}
TIGHT = {
    "point": 1,
    "digon": 1 / 2,
    "triangle": 2 / 3,
    "tetrahedron": 3 / 4,
    "pentagon": 2 / 5,
    "cube": 3 / 8,
}
TIGHT |= {"hexagon": 1 / 3, "11-gon": 2 / 11, "5-simplex": 5 / 6, "square antiprism": 3 / 8}
TIGHT |= {"triangular prism": 1 / 2}

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=40, deadline=None)


def turn(rng, m):
    return np.linalg.qr(rng.normal(size=(m, m)))[0]


def product(rng, names, *, zeros=0, noise=0.0):
    """Factors in orthogonal subspaces, unrepresented features, noise, a random gauge and a random order."""
    blocks = [FACTORS[name] / np.linalg.norm(FACTORS[name][0]) * rng.uniform(0.9, 1.2) for name in names]
    n = sum(map(len, blocks)) + zeros
    m = sum(block.shape[1] for block in blocks) + 1
    W = np.zeros((n, m))
    row = column = 0
    for block in blocks:
        W[row : row + len(block), column : column + block.shape[1]] = block
        row, column = row + len(block), column + block.shape[1]
    W = W @ turn(rng, m) + noise * rng.uniform(-1, 1, size=W.shape)
    order = rng.permutation(n)
    where = np.argsort(order)
    owners = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
    groups = {tuple(sorted(where[: len(owners)][owners == k].tolist())) for k in range(len(blocks))}
    return W[order], groups, tuple(sorted(where[len(owners) :].tolist()))


class TestShapes:
    @pytest.mark.parametrize("shape", [*SHAPES.values(), simplex(9), regular_polygon(17), orthoplex(7)])
    def test_unit_vectors_in_a_tight_frame(self, shape):
        rows = shape.vectors
        assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-12)
        assert_allclose(rows.T @ rows, np.eye(shape.dimension) * shape.count / shape.dimension, atol=1e-12)
        assert_allclose(dimensionality(rows), float(shape.dimensionality), atol=1e-12)
        assert isinstance(shape.dimensionality, Fraction)

    def test_levels(self):
        assert dict(LEVELS) == {
            "tetrahedron": Fraction(3, 4),
            "triangle": Fraction(2, 3),
            "digon": Fraction(1, 2),
            "pentagon": Fraction(2, 5),
            "square antiprism": Fraction(3, 8),
        }

    @pytest.mark.parametrize("make", [simplex, regular_polygon, orthoplex])
    def test_too_small(self, make):
        with pytest.raises(ValueError, match=rf"^{make.__name__}\(0\): it needs at least \d"):
            make(0)

    def test_simplex_angles(self):
        assert_allclose(simplex(6).vectors @ simplex(6).vectors.T, np.eye(6) * 1.2 - 0.2, atol=1e-12)


class TestFactorNames:
    @pytest.mark.parametrize("name", FACTORS)
    def test_ideal(self, name):
        assert name_factor(FACTORS[name]) == name
        assert name_factor(FACTORS[name], tolerance=1e-9) == name
        assert_allclose(dimensionality(FACTORS[name]), TIGHT[name], atol=1e-12)

    @given(st.sampled_from(list(FACTORS)), seeds)
    @few
    def test_any_pose_order_and_small_noise(self, name, seed):
        W, _, _ = product(np.random.default_rng(seed), [name], noise=0.01)
        assert name_factor(W) == name

    @given(st.floats(0.35, 0.9), seeds)
    @few
    def test_antiprisms_and_prisms_of_any_height(self, height, seed):
        rng = np.random.default_rng(seed)
        names = {
            "square antiprism": layers(4, height, np.pi / 4),
            "triangular prism": layers(3, height, 0.0),
        }
        for name, vectors in names.items():
            assert name_factor(rng.permutation(vectors) @ turn(rng, 3)) == name

    def test_triangular_antiprism_and_octahedron(self):
        assert name_factor(layers(3, 1 / ROOT3, np.pi / 3)) == "octahedron"
        assert name_factor(layers(3, 0.8, np.pi / 3)) == "triangular antiprism"
        assert name_factor(layers(3, 0.35, np.pi / 3)) == "triangular antiprism"

    @pytest.mark.parametrize(
        ("vectors", "name"),
        [
            (np.concatenate([np.eye(2), -np.eye(2)]), "square"),
            (np.concatenate([np.eye(3), -np.eye(3)]), "octahedron"),
            (np.concatenate([np.eye(5), -np.eye(5)]), "5-orthoplex"),
            (SHAPES["icosahedron"].vectors, "icosahedron"),
        ],
    )
    def test_shapes_that_are_no_single_factor(self, vectors, name):
        order = np.random.default_rng(3).permutation(len(vectors))
        assert name_factor(vectors[order] @ turn(np.random.default_rng(4), vectors.shape[1])) == name

    @pytest.mark.parametrize(
        ("vectors", "name"),
        [
            # 30° away from antipodal: a cosine of −0.87.
            ([[1.0, 0.0], [-ROOT3 / 2, 0.5]], "2 features in 1 dimension"),
            ([[1.0, 0.0], [0.5, ROOT3 / 2]], "2 features in 2 dimensions"),
            ([[1.0, 0.0], [-0.6, 0.0]], "2 features in 1 dimension"),
            ([[1.0, 0.0], [0.0, 0.0]], "2 features in 1 dimension"),
            ([[1.0, 0.0], [np.nan, 0.0]], "diverged"),
            (polygon(5) * [1.0, 0.7], "5 features in 2 dimensions"),
            (polygon(5) * [[1.0], [1.0], [1.0], [1.0], [0.5]], "5 features in 2 dimensions"),
            (polygon(6)[:5], "5 features in 2 dimensions"),
            (polygon(9)[:7], "7 features in 2 dimensions"),
        ],
    )
    def test_what_is_no_shape(self, vectors, name):
        assert name_factor(np.array(vectors)) == name

    @given(seeds)
    @few
    def test_noise_beyond_the_tolerance_is_no_digon(self, seed):
        rng = np.random.default_rng(seed)
        angle = np.arccos(-0.9)
        for bend, named in [(1e-6, True), (-1e-6, False)]:
            pair = np.array([[1.0, 0.0], [np.cos(angle + bend), np.sin(angle + bend)]])
            assert (name_factor(pair @ turn(rng, 2)) == "digon") is named

    def test_equal_rows_of_cosines_are_not_enough(self):
        # A hexagon of links and two triangles of links: every feature has two partners in both.
        ring = np.eye(6) + 0.3 * (np.eye(6, k=1) + np.eye(6, k=-1) + np.eye(6, k=5) + np.eye(6, k=-5))
        triangles = np.eye(6) * 0.7 + 0.3 * np.kron(np.eye(2), np.ones((3, 3)))
        order = np.random.default_rng(0).permutation(6)
        assert_array_equal(np.sort(ring), np.sort(triangles))
        assert not polytopes._same_up_to_order(ring, triangles, 0.1)
        assert polytopes._same_up_to_order(ring[np.ix_(order, order)], ring, 0.01)


class TestCollapse:
    def test_groups(self):
        W = np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.0, 1.1], [0.0, 0.2], [-1.0, 0.0], [0.0, 0.0]])
        assert collapsed_groups(W) == ((0, 2), (1, 3))

    def test_a_fan_is_no_group(self):
        angles = np.deg2rad([0, 15, 30])
        assert collapsed_groups(np.stack([np.cos(angles), np.sin(angles)], 1)) == ()

    @pytest.mark.parametrize(
        ("vectors", "name"),
        [
            ([[1.0], [1.0]], "collapsed pair"),
            ([[1.0], [1.0], [1.0]], "collapsed triple"),
            ([[1.0]] * 4, "collapsed group of 4"),
            ([[1.0], [1.0], [-1.0], [-1.0]], "digon of collapsed pairs"),
            ([[1.0]] * 5 + [[-1.0]] * 5, "digon of collapsed groups of 5"),
            ([[1.0], [1.0], [-1.0], [-1.0], [-1.0]], "5 features in 1 dimension with"),
            ([[1.0], [1.0], [-ROOT2]], "digon with 1 collapsed pair"),
            (np.repeat(polygon(3), 2, axis=0), "triangle of collapsed pairs"),
            (np.repeat(polygon(3), 3, axis=0), "triangle of collapsed triples"),
            (
                np.concatenate([polygon(5) * ROOT2, polygon(5)])[[5, 1, 2, 3, 4, 5]],
                "pentagon with 1 collapsed pair",
            ),
        ],
    )
    def test_names(self, vectors, name):
        vectors = np.array(vectors)
        if name.endswith("with"):
            # √3 against √2 is comparable; make it not so.
            vectors[2:] *= 2
            name += " 1 collapsed pair and 1 collapsed triple"
        rng = np.random.default_rng(len(vectors))
        assert name_factor(rng.permutation(vectors) @ turn(rng, vectors.shape[1])) == name

    def test_a_nearly_dropped_feature_is_not_collapsed(self):
        assert name_factor(np.array([[1.0, 0.0], [0.5, 0.0]])) == "2 features in 1 dimension"

    def test_ideal_dimensionality_is_shared(self):
        factor = name_polytope(np.array([[1.0], [1.0], [-1.0], [-1.0]])).factors[0]
        assert factor.ideal == Fraction(1, 4)
        assert_allclose(factor.dimensionality, 1 / 4)

    def test_collapsed_features_are_merged_before_factors_are_told_apart(self):
        # Each of a collapsed pair leans by a cosine above the tolerance, their principal component does not.
        lean = np.array([[0.13, np.sqrt(1 - 0.13**2)], [-0.13, np.sqrt(1 - 0.13**2)], [0.0, -ROOT2]])
        W = np.concatenate([lean / ROOT2, [[1.0, 0.0], [-1.0, 0.0]]])
        assert set(tegum_factors(W)) == {0}
        assert name_polytope(W).name == "digon with 1 collapsed pair ⊕ digon"


class TestPolytopeNames:
    @given(st.lists(st.sampled_from(list(FACTORS)), min_size=1, max_size=4), st.integers(0, 3), seeds)
    @few
    def test_factors_of_a_product(self, names, zeros, seed):
        W, groups, missing = product(np.random.default_rng(seed), names, zeros=zeros, noise=0.01)
        found = name_polytope(W)
        assert sorted(factor.name for factor in found.factors) == sorted(names)
        assert {factor.features for factor in found.factors} == groups
        assert found.unrepresented == missing
        assert found.dimension == sum(np.linalg.matrix_rank(FACTORS[name]) for name in names)
        for factor in found.factors:
            assert factor.dimension == np.linalg.matrix_rank(FACTORS[factor.name])
            assert_allclose(factor.dimensionality, TIGHT[factor.name], atol=0.05)
            assert_allclose(float(factor.ideal), TIGHT[factor.name])

    @given(seeds, st.integers(2, 12), st.integers(1, 4))
    @few
    def test_gauge_and_order_do_not_matter(self, seed, n, m):
        rng = np.random.default_rng(seed)
        W = rng.normal(size=(n, m))
        assert name_polytope(rng.permutation(W) @ turn(rng, m)).name == name_polytope(W).name

    @pytest.mark.parametrize(
        ("names", "whole", "spelt"),
        [
            (["digon"], "digon", "digon"),
            (["digon"] * 2, "square (2 digons)", "2 × digon"),
            (["digon"] * 3, "octahedron", "3 × digon"),
            (["digon"] * 5, "5-orthoplex (5 digons)", "5 × digon"),
            (["digon", "triangle"], "triangle ⊕ digon", "triangle ⊕ digon"),
            (["triangle"] + ["digon"] * 3, "3 × digon ⊕ triangle", "3 × digon ⊕ triangle"),
            (["point", "digon", "pentagon"], "pentagon ⊕ digon ⊕ point", "pentagon ⊕ digon ⊕ point"),
            (["point"] * 2, "2 × point", "2 × point"),
            (["square antiprism"], "square antiprism", "square antiprism"),
        ],
    )
    def test_whole(self, names, whole, spelt):
        found = name_polytope(product(np.random.default_rng(5), names, zeros=2, noise=0.01)[0])
        assert found.name == whole
        assert found.product == spelt

    def test_random_weights_are_no_polytope(self):
        W = np.random.default_rng(6).normal(size=(15, 20, 5))
        assert all("features in" in name for name in polytope_names(W))
        assert set(polytope_names(W, threshold=0.0)) <= {
            "20 features in 5 dimensions",
            "20 features in 5 dimensions with 1 collapsed pair",
            "20 features in 5 dimensions with 2 collapsed pairs",
        }
        small = np.random.default_rng(7).normal(size=(100, 6, 3))
        named = [factor.name for w in small for factor in name_polytope(w, threshold=0.0).factors]
        assert {name for name in named if "features" not in name} <= {"point"}

    def test_degenerate_weights(self):
        assert name_polytope(np.zeros((3, 2))).name == "nothing represented"
        assert name_polytope(np.zeros((3, 2))).unrepresented == (0, 1, 2)
        assert name_polytope(np.full((3, 2), np.nan)).name == "diverged"
        assert name_polytope(np.full((3, 2), 1e200)).factors == ()

    def test_one_data_array(self):
        W = xr.DataArray(polygon(5), dims=("feature", "hidden"))
        assert name_polytope(W).name == name_polytope(W.T).name == "pentagon"

    def test_many(self):
        W = np.stack([polygon(5), polygon(5) * np.nan, np.eye(5)[:, :2]]).reshape(3, 1, 5, 2)
        expected = [["pentagon"], ["diverged"], ["2 × point"]]
        assert_array_equal(polytope_names(W), expected)
        named = polytope_names(xr.DataArray(W, dims=("seed", "step", "feature", "hidden"), coords={"step": [9]}))
        assert named.dims == ("seed", "step")
        assert named.dtype.kind == "U"
        assert named.attrs["units"] == "1"
        assert_array_equal(named, expected)

    def test_on_a_given_scale(self):
        assert name_polytope(0.1 * polygon(5), scale=1.0).name == "nothing represented"

    def test_a_large_orthoplex(self):
        W = np.concatenate([np.eye(70), -np.eye(70)])
        assert name_polytope(W).name == "70-orthoplex (70 digons)"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: name_polytope(np.zeros((2, 3, 2))),
            r"name_polytope\(weights of shape \(2, 3, 2\)\): it names one matrix",
        ),
        (
            lambda: name_factor(np.zeros((0, 2))),
            r"name_factor\(array of shape \(0, 2\)\): it needs one matrix",
        ),
        (lambda: name_factor(np.eye(2), tolerance=1.0), r"name_factor\(tolerance=1.0\): .* \[0, 1\)"),
        (
            lambda: collapsed_groups(np.zeros(2)),
            r"collapsed_groups\(array of shape \(2,\)\): it needs one matrix",
        ),
        (lambda: polytope_names(np.zeros(2)), r"polytope_names\(weights of shape \(2,\)\): it needs"),
        (
            lambda: name_polytope(xr.DataArray(np.zeros((1, 2, 2)), dims=("seed", "feature", "hidden"))),
            r"name_polytope\(weights with dims .*\): it names one matrix",
        ),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}") as caught:
        call()
    assert "\n" not in str(caught.value)


def bent(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


class TestDeformed:
    @pytest.mark.parametrize("turned", [0, 5, 12, 20, 24])
    def test_a_pentagon_with_one_feature_turned(self, turned):
        """Up to a deformation of (1 − cos 72°)/2 = 0.345; at 20° it is cos 72° − cos 92° = 0.344."""
        rng = np.random.default_rng(0)
        W = rng.permutation(1.3 * bent(turned, 72, 144, 216, 288)) @ turn(rng, 2)
        [factor] = name_polytope(W, deformed=True).factors
        expected = max(np.cos(np.deg2rad(72 - turned)) - np.cos(np.deg2rad(72)), 0.0)
        if turned == 24:
            assert (factor.name, factor.deformation) == ("5 features in 2 dimensions", None)
            return
        assert factor.name == ("pentagon" if expected <= TOLERANCE else "deformed pentagon")
        # One neighbour comes nearer and the other goes further; the far ones change less.
        np.testing.assert_allclose(
            factor.deformation, max(expected, np.cos(np.deg2rad(72)) - np.cos(np.deg2rad(72 + turned))), atol=1e-12
        )
        assert factor.ideal == Fraction(2, 5)

    def test_the_matching_is_the_best_of_all(self):
        """Against every permutation, of which there are 120 and 720."""
        rng = np.random.default_rng(1)
        for shape in (polytopes.regular_polygon(5), polytopes.SHAPES["triangular prism"], polytopes.simplex(5)):
            ideal = shape.vectors @ shape.vectors.T
            for size in (0.1, 0.3, 1.0):
                rows = shape.vectors + size * rng.normal(size=shape.vectors.shape)
                rows = rng.permutation(rows / np.linalg.norm(rows, axis=1, keepdims=True))
                best = min(
                    np.abs(rows @ rows.T - ideal[np.ix_(order, order)]).max()
                    for order in map(list, itertools.permutations(range(shape.count)))
                )
                np.testing.assert_allclose(polytopes._deformation(rows @ rows.T, ideal, np.inf), best, rtol=1e-12)

    def test_norms_do_not_count_and_factors_stand_alone(self):
        pentagon = bent(0, 72, 144, 216, 288) * np.array([[1.0], [1.0], [0.6], [1.0], [1.0]])
        both = np.zeros((7, 3))
        both[:5, :2], both[5:, 2] = pentagon, [1.0, -1.0]
        assert name_polytope(both).name == "5 features in 2 dimensions ⊕ digon"
        found = name_polytope(both, deformed=True)
        assert found.name == "deformed pentagon ⊕ digon"
        np.testing.assert_allclose([factor.deformation for factor in found.factors], 0, atol=1e-12)
        assert polytope_names(both[None], deformed=True).tolist() == [found.name]

    def test_strict_names_stay_and_random_weights_have_none(self):
        rng = np.random.default_rng(2)
        for shape in polytopes.SHAPES.values():
            W = shape.vectors + 0.01 * rng.normal(size=shape.vectors.shape)
            assert name_polytope(W, deformed=True).name == name_polytope(W).name
        W = rng.normal(size=(10, 12, 4))
        assert not any("deformed" in name for name in polytope_names(W, deformed=True))

    def test_a_large_factor_takes_no_long_search(self):
        W = np.random.default_rng(3).normal(size=(60, 20))
        assert "features in" in name_polytope(W, tolerance=0.05, deformed=True).name


@pytest.mark.parametrize(("degrees", "name"), [(180, "digon"), (140, "deformed digon"), (100, None), (96, None)])
def test_what_is_nearer_to_orthogonal_is_no_digon(degrees, name):
    angle = np.deg2rad(degrees)
    (factor, *others) = name_polytope(np.array([[1, 0], [np.cos(angle), np.sin(angle)]]), deformed=True).factors
    if name is not None:
        assert factor.name == name
    assert others or name is not None or "digon" not in factor.name
