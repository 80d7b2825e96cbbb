import json

import numpy as np
import pytest
from result_files import beside_runs

import tegum as tg
from tegum import experiments
from tegum.experiments.reporting import by_key
from tegum.experiments.tradeoff.findings import mixture
from tegum.solutions.boundary_curves import crosses, line_distance, unlike, within
from tegum.solutions.plane import Minimum, Place, Plane, SolutionShape, symmetry

EXPERIMENT = experiments.get("tradeoff")


@pytest.fixture(scope="module")
def quick(run_quick):
    """The quick form, run and analysed once for all tests of this file: its summary, its files and what was found."""
    summary, out, findings = run_quick(EXPERIMENT)
    return summary, out, findings.shown.main


@pytest.fixture(scope="module")
def plane():
    specs = EXPERIMENT.trainings("quick")["run"]
    return Plane.of(specs)


def curve_to(found, density):
    """The boundary that ends at a density, at strength 1."""
    (curve,) = [
        each.curve
        for each in found.borders
        if any(
            place.strength == 1 and abs(place.density - density) < 1e-3
            for place in (each.curve.places[0], each.curve.places[-1])
        )
    ]
    return curve


def test_it_writes_its_files_and_holds_in_part(quick):
    summary, out, _ = quick
    files = {"run.zarr", "null.zarr", *beside_runs(EXPERIMENT)}
    assert {path.name for path in out.iterdir()} == files
    assert json.loads((out / "summary.json").read_text())["verdict"] == summary.verdict == "holds in part"
    # More correlation makes superposition better, relative to the best linear model, and not worse.
    assert {each.key: each.passed for each in summary.criteria} == {
        "relative_loss_rises_with_density": True,
        "relative_loss_rises_with_strength": False,
        "mixtures_where_sparse_and_correlated": True,
        "no_shared_directions_without_correlation": True,
    }


@pytest.mark.parametrize("density", [0.07132723, 0.14055018, 0.16257273, 0.39362283, 0.43619594])
def test_boundaries_end_where_fully_correlated_pairs_change(quick, density):
    """At strength 1 are the roots of `phase_boundary` on `Correlated` pairs, from 64 starts at 42 densities."""
    curve = curve_to(quick[2], density)
    place = next(each for each in (curve.places[0], curve.places[-1]) if each.strength == 1)
    assert place.density == pytest.approx(density, rel=1e-5)


def test_on_boundaries_both_solutions_are_minima_of_equal_loss(quick):
    _, _, found = quick
    plane = found.map.plane
    for border in found.borders:
        number = border.curve.middle
        pair, features = border.curve.pairs[number], plane.features(border.curve.places[number])
        losses = [tg.population_loss(each.weights, each.bias, features, tol=1e-9) for each in (pair.a, pair.b)]
        assert losses[0] == pytest.approx(losses[1], rel=3e-7)
        for end in (pair.a, pair.b):
            point = tg.critical_point(end.weights, end.bias, features, tol=1e-6)
            assert point.converged
            assert point.moved < 1e-4
            assert point.negative == 0


def test_at_triple_points_three_solutions_have_one_loss_and_none_is_lower(quick):
    summary, _, found = quick
    corners = found.found.triples
    assert len(corners) == 2
    for corner in corners:
        features = found.map.plane.features(corner.place)
        losses = [tg.population_loss(each.weights, each.bias, features, tol=1e-9) for each in corner.ends]
        np.testing.assert_allclose(losses, losses[0], rtol=1e-6)
        assert min(unlike(corner.ends[a], corner.ends[b]) for a, b in ((0, 1), (0, 2), (1, 2))) > 0.01
        spec = found.map.plane.at(corner.place).replace(seeds=48, base_seed=77)
        assert tg.train(spec).loss.isel(step=-1).values.min() > losses[0] * (1 - 1e-5)
    # Three boundaries end at each.
    for corner in corners:
        ends = [place for each in found.borders for place in (each.curve.places[0], each.curve.places[-1])]
        near = [place for place in ends if np.hypot(*np.subtract(place, corner.place)) < 1e-4]
        assert len(near) == 3
    assert by_key(summary.measures)["confirmed_triple_points"].value == 2


def test_a_symmetry_is_lost_where_an_eigenvalue_passes_zero(quick):
    """With one pair collapsed: along strength, at density 0.142, four symmetries become two."""
    _, _, found = quick
    breakings = [each for each in found.breakings if {shape.symmetry for shape in each.shapes} == {2, 4}]
    assert breakings
    assert all(each.continuous for each in breakings)
    assert not found.open
    one = next(each for each in breakings if each.place.strength > 0.5)
    eigenvalues = {}
    for away in (-0.02, 0.02):
        features = found.map.plane.features(Place(one.place.density, one.place.strength + away))
        spec = tg.Spec(features=features, hidden=2, training=tg.Exact(), snapshots=1, seeds=48, base_seed=3)
        done = tg.train(spec).isel(step=-1)
        point = tg.critical_point(done.isel(seed=int(done.loss.values.argmin())))
        shape = found.map.plane.shape(
            Place(one.place.density, one.place.strength + away), Minimum(point.weights, point.bias, point.loss)
        )
        eigenvalues[shape.symmetry] = point.eigenvalues[0]
    # Beside it, by fresh starts: both kinds, both minima, and the one with more symmetries has a soft mode.
    assert set(eigenvalues) == {2, 4}
    assert min(eigenvalues.values()) > 0
    assert eigenvalues[4] < 0.003


def test_the_best_solutions_cost_at_most_what_other_starts_find(quick):
    _, _, found = quick
    for at in ((1, 1), (4, 2), (8, 3)):
        place = found.map.plane.places[at[0]][at[1]]
        spec = found.map.plane.at(place).replace(seeds=48, base_seed=78)
        loss = tg.train(spec).loss.isel(step=-1).values.min()
        assert found.map.ends[at[0]][at[1]].loss <= loss * (1 + 1e-5)


def test_the_relative_loss_falls_with_correlation_by_hand():
    """Three pairs in the plane at density 0.05, against the closed form of the best linear model."""
    plain, pairs = (tg.FeatureDistribution([tg.PartiallyCorrelated(2, 0.05, each)] * 3) for each in (0.5, 1.0))
    ratios = []
    for features in (plain, pairs):
        spec = tg.Spec(features=features, hidden=2, training=tg.Exact(), snapshots=1, seeds=32)
        best = tg.train(spec).loss.isel(step=-1).values.min()
        # By the closed form: of six features of variance v two directions of variance v + ρ c are kept.
        p, strength = 0.05, features.sets[0].strength
        linear = 6 * (p / 3 - p**2 / 4) - 2 * (p / 3 - p**2 / 4 + strength * (p - p**2) / 4)
        ratios.append(best / linear)
    assert ratios[1] < ratios[0]


def test_plane_and_points_are_inverse(plane):
    for place in (Place(0.05, 0.6), Place(0.7, 1.0), Place(0.04, 0.5)):
        assert plane.place(plane.point(place)) == pytest.approx(place, rel=1e-12)
    np.testing.assert_allclose(plane.point(Place(0.04, 1.0)), [0, 1])
    assert plane.place(np.array([1.0, 1.0])).strength == 1.0


def test_symmetries_are_those_of_the_data(plane):
    """3! orders of the pairs, 2³ exchanges within them; all leave the covariance as it is."""
    assert len({tuple(each) for each in plane.symmetries.tolist()}) == 48
    covariance = plane.features(Place(0.3, 0.7)).covariance()
    for each in plane.symmetries:
        np.testing.assert_allclose(covariance[np.ix_(each, each)], covariance)


@pytest.mark.parametrize(
    ("angles", "bias", "expected"),
    [
        # Three collapsed pairs at 120°: every symmetry of the data.
        ([0, 0, 120, 120, 240, 240], [0] * 6, 48),
        # A hexagon with partners side by side: rotations by 120° and reflections.
        ([0, 60, 120, 180, 240, 300], [0] * 6, 6),
        # One bias of its own: only what leaves feature 0 alone.
        ([0, 0, 120, 120, 240, 240], [0.1, 0, 0, 0, 0, 0], 8),
        # Nothing is like anything else.
        ([0, 10, 35, 80, 170, 290], [0] * 6, 1),
    ],
)
def test_symmetry_counts_permutations_that_change_nothing(plane, angles, bias, expected):
    radians = np.radians(np.array(angles, float))
    end = Minimum(np.stack([np.cos(radians), np.sin(radians)], 1), np.array(bias, float), 0.0)
    assert symmetry(end, plane.symmetries) == expected


def test_unlike_sees_neither_rotations_nor_permutations():
    rng = np.random.default_rng(3)
    weights, bias = rng.standard_normal((6, 2)), rng.standard_normal(6)
    turn, order = np.linalg.qr(rng.standard_normal((2, 2)))[0], rng.permutation(6)
    assert unlike(Minimum(weights, bias, 0.0), Minimum(weights[order] @ turn, bias[order], 0.0)) < 1e-12
    assert unlike(Minimum(weights, bias, 0.0), Minimum(weights, bias + 0.1, 0.0)) == pytest.approx(0.1)


def test_lines_cross_or_do_not():
    line = np.array([[0.0, 0.0], [0.5, 0.4], [1.0, 1.0]])
    assert crosses(np.array([0.2, 0.0]), np.array([0.2, 0.5]), line).tolist() == [True, False]
    assert not crosses(np.array([0.2, 0.3]), np.array([0.2, 0.5]), line).any()
    assert line_distance(line, np.array([0.5, 0.4])) == 0
    assert line_distance(np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([0.3, 0.2])) == pytest.approx(0.2)


def test_steps_end_at_the_edge_of_the_plane():
    target, along = within(np.array([0.95, 0.5]), np.array([0.1, 0.1]))
    np.testing.assert_allclose(target, [1.0, 0.55])
    np.testing.assert_allclose(along, [0, 1])
    target, along = within(np.array([0.5, 0.5]), np.array([0.1, -0.1]))
    np.testing.assert_allclose(target, [0.6, 0.4])
    assert along is None


def test_mixtures_are_neither_pca_nor_without_collapse():
    shape = {"represented": 6, "symmetry": 1}
    assert not mixture(SolutionShape(collapsed=0, angle=0.5, ratio=0.5, **shape))
    assert mixture(SolutionShape(collapsed=2, angle=0.5, ratio=0.9, **shape))
    assert mixture(SolutionShape(collapsed=3, angle=0.01, ratio=0.98, **shape))
    assert not mixture(SolutionShape(collapsed=3, angle=0.01, ratio=0.995, **shape))


def test_independent_features_do_not_collapse_where_they_are_sparse(quick):
    """The null, by the best of other starts on six independent features."""
    spec = tg.Spec(
        features=tg.FeatureDistribution([tg.Independent(6, density=0.2)]), hidden=2, training=tg.Exact(), snapshots=1,
        seeds=32, base_seed=5,
    )  # fmt: skip
    done = tg.train(spec).isel(step=-1)
    weights = done.weights.values[int(done.loss.values.argmin())]
    pairs = tg.FeatureDistribution([tg.PartiallyCorrelated(2, 0.2, 0.0)] * 3)
    assert tg.collapsed_count(weights, pairs) == 0
    measures = by_key(quick[0].measures)
    assert measures["sparse_and_correlated.mixtures"].null == 0


def test_specs_of_a_grid_keep_their_order(plane):
    assert len(plane.densities) * len(plane.strengths) == 50
    assert plane.densities == tuple(sorted(plane.densities))
