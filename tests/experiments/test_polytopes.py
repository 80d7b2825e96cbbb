import json

import numpy as np
import pytest
import xarray as xr
from matplotlib.patches import Rectangle
from result_files import beside_runs

import tegum as tg
from tegum import experiments
from tegum.analysis.geometry.null_frames import even_frame, random_directions
from tegum.analysis.geometry.polytopes import SHAPES
from tegum.experiments.polytopes.findings import (
    elsewhere,
    examples_of,
    find,
    found_of,
    held_by,
    named_with,
    near_level,
)
from tegum.experiments.polytopes.measures import densities_with, fall, few, stretch
from tegum.experiments.reporting import by_key

EXPERIMENT = experiments.get("polytopes")

OF_POLYTOPES = {
    "features_at_level",
    "most_features_in_named_polytopes",
    "several_polytopes_found",
    "most_tegum_products",
}
STICKING = {"stick_at_one", "stick_at_half"}


def passed(found):
    """The criteria that passed, by their keys."""
    told = {criterion.key: criterion.passed for criterion in found.criteria}
    assert set(told) == OF_POLYTOPES | STICKING
    return {key for key, each in told.items() if each}


@pytest.fixture(scope="module")
def quick(run_quick):
    """The quick form, run and analysed once for all tests of this file: its summary, its files and its models."""
    summary, out, findings = run_quick(EXPERIMENT)
    return summary, out, findings.shown


def with_weights(quick, make, count=6):
    """The first densities of the quick form with the weights that `make(n, m, number)` gives."""
    run = tg.load(quick[1] / "run.zarr").isel(spec=slice(0, count)).copy(deep=True)
    specs, _, _, n, m = run["weights"].shape
    for number in range(specs):
        run["weights"].values[number, 0, -1] = make(n, m, number)
    return run


def replaced(quick, make, count=6):
    return EXPERIMENT.analyse({"run": with_weights(quick, make, count)})


def product(n, m, *shapes):
    """The tegum product of shapes, in dimensions one after the other, beside features of length 0."""
    weights = np.zeros((n, m))
    row = column = 0
    for name in shapes:
        vectors = SHAPES[name].vectors
        count, dimension = vectors.shape
        weights[row : row + count, column : column + dimension] = vectors
        row, column = row + count, column + dimension
    assert column <= m
    return weights


def test_it_writes_its_files_and_holds_in_part(quick):
    summary, out, _ = quick
    assert {path.name for path in out.iterdir()} == {"run.zarr", *beside_runs(EXPERIMENT)}
    assert json.loads((out / "summary.json").read_text())["verdict"] == summary.verdict
    assert passed(summary) == {"features_at_level", "stick_at_half"}


def test_digons_are_pairs_that_point_against_each_other(quick):
    summary, out, models = quick
    ranged = [model for model in models if model.in_range]
    run = tg.load(out / "run.zarr").isel(step=-1, seed=0)
    assert list(run["result"].values) == ["completed"] * len(models)
    shares = []
    for number, model in enumerate(models):
        if not model.in_range:
            continue
        weights = run["weights"].values[number].astype(float)
        norms = np.linalg.norm(weights, axis=1)
        rows = weights[norms >= norms.max() / 2]
        cosines = rows @ rows.T / np.outer(*[np.linalg.norm(rows, axis=1)] * 2)
        opposite, meeting = cosines < -0.9, np.abs(cosines) > 0.1
        # Only oneself and one other, who is opposite.
        shares.append(np.mean((meeting.sum(1) == 2) & (opposite.sum(1) == 1)))
    assert len(shares) == len(ranged)
    assert by_key(summary.measures)["shape.digon.features"].value == pytest.approx(np.mean(shares))


def test_features_in_named_polytopes_have_its_dimensionality(quick):
    _, _, models = quick
    ideal = {"digon": 1 / 2, "triangle": 2 / 3, "pentagon": 2 / 5, "square antiprism": 3 / 8, "tetrahedron": 3 / 4}
    known = [
        (level, ideal[name])
        for model in models
        for level, name in zip(model.levels.tolist(), model.counted.shapes, strict=True)
        if name in ideal
    ]
    assert len(known) > 50
    assert np.median([abs(level - at) for level, at in known]) < 0.01


def test_dimensions_per_feature_begin_at_one(quick):
    _, _, models = quick
    # At density 1 the best model is linear, and every m-dimensional projection is: |W|² = m.
    assert models[0].density == 1
    assert models[0].per_feature == pytest.approx(1, abs=0.02)


def test_where_dimensions_per_feature_are_one_models_are_projections(quick):
    summary, out, _ = quick
    weights = tg.load(out / "run.zarr")["weights"].isel(spec=0, seed=0, step=-1).values.astype(float)
    squares = np.linalg.eigvalsh(weights.T @ weights)
    assert np.abs(squares - 1).max() < 0.1
    here = by_key(summary.measures)["dimensionality_where_dimensions_per_feature_near_one"]
    stick = by_key(summary.measures)["dimensions_per_feature_stick_at_one"]
    # What a grid leaves open is no interval.
    assert (stick.low, stick.high) == (None, None)
    # They stick there, and no feature has a dimension of its own.
    assert here.value is not None
    assert here.value < 0.6


def test_undecided_is_not_refuted(quick):
    summary, _, _ = quick
    criteria = {criterion.key: criterion for criterion in summary.criteria}
    for key in ("features_in_named_polytopes", "tegum_products"):
        measure, criterion = by_key(summary.measures)[key], criteria[f"most_{key}"]
        assert ("undecided" in criterion.text) == (measure.low <= 0.5 < measure.high)
        assert criterion.passed == (measure.low > 0.5)
    findings = replaced(quick, lambda n, m, number: product(n, m, "digon", "digon") if number % 2 else np.eye(n, m))
    named = {criterion.key: criterion for criterion in findings.criteria}["most_features_in_named_polytopes"]
    assert not named.passed
    assert "undecided" in named.text
    findings = replaced(quick, lambda n, m, _: np.eye(n, m), 3)
    named = {criterion.key: criterion for criterion in findings.criteria}["most_features_in_named_polytopes"]
    assert not named.passed
    assert "undecided" not in named.text


def test_planted_digons_are_found(quick):
    """In all dimensions but one: in all of them even frames would have the dimensionality 1/2, too."""

    def digons(n, m, _):
        return np.concatenate([np.eye(m)[1:], -np.eye(m)[1:], np.zeros((n - 2 * m + 2, m))])

    findings = replaced(quick, digons)
    # One name is not several, and a level that is never left is no rest.
    assert passed(findings) == {"features_at_level", "most_features_in_named_polytopes", "most_tegum_products"}
    assert by_key(findings.measures)["shape.digon.features"].value == 1
    assert by_key(findings.measures)["polytopes_found"].value == 1


def test_planted_products_of_several_polytopes_are_found(quick):
    kinds = [("digon", "digon", "triangle"), ("tetrahedron", "pentagon", "pentagon"), ("digon", "square antiprism")]
    # Below density 1, six of them.
    findings = replaced(quick, lambda n, m, number: product(n, m, *kinds[number % 3]), 7)
    assert passed(findings) >= OF_POLYTOPES
    measures = by_key(findings.measures)
    assert measures["polytopes_found"].value == 5
    assert measures["tegum_products_of_different_polytopes"].value == 1
    assert found_of(findings.shown) == {
        "digon": 3 * 2 + 2,
        "triangle": 3,
        "tetrahedron": 2,
        "pentagon": 4,
        "square antiprism": 2,
    }


def test_polytopes_of_other_names_are_counted_apart(quick):
    kinds = [("digon", "hexagon"), ("triangle", "hexagon"), ("pentagon", "hexagon")]
    findings = replaced(quick, lambda n, m, number: product(n, m, *kinds[number % 3]), 7)
    assert by_key(findings.measures)["polytopes_found"].value == 3
    assert (by_key(findings.measures)["features_with_other_names"].value or 0) > 0.5
    assert "several_polytopes_found" not in passed(findings)


def test_a_polytope_at_one_density_is_not_found_again(quick):
    findings = replaced(
        quick, lambda n, m, number: product(n, m, "digon", {3: "triangle", 4: "pentagon"}.get(number, "digon"))
    )
    assert densities_with(findings.shown, "triangle") == 1
    assert by_key(findings.measures)["polytopes_found"].value == 1
    assert "several_polytopes_found" not in passed(findings)


def test_models_made_up_of_short_rows_are_left_out(quick):
    """Four long rows beside sixty that together are twice as heavy: at levels, and yet not what the model is."""

    def beside(n, m, number):
        weights = product(n, m, "digon", "digon")
        if number == 3:
            weights[4:, 2:] = random_directions(np.full(n - 4, 0.4), m - 2, 0)
        return weights

    findings = replaced(quick, beside)
    model = findings.shown[3]
    assert model.held == pytest.approx(4 / (4 + 60 * 0.16))
    assert (model.reaches_levels, model.in_range) == (True, False)
    assert len(model.rest) == 60
    measures = by_key(findings.measures)
    assert measures["models_at_levels_but_mainly_unrepresented"].value == 1
    # All but density 1, and all but this one.
    assert measures["tegum_products"].n == 4
    assert measures["reaching.tegum_products"].n == 5


def test_a_wider_tolerance_finds_what_one_weak_cosine_joins():
    weights = product(9, 3, "triangle", "digon")[:5]
    weights[0, 2] = 0.13
    tight, counted, middle, wide = named_with(weights)
    assert tight.shapes == counted.shapes == ("",) * 5
    assert middle.share == wide.share == 1
    assert sorted(name for name, _ in wide.factors) == ["digon", "triangle"]


def test_collapsed_pairs_that_are_alone_are_no_polytope():
    assert named_with(np.array([[1.0, 0.0], [1.0, 0.0]]))[1].share == 0
    assert named_with(np.array([[1.0, 0.0], [-1.0, 0.0]]))[1].factors == (("digon", (0, 1)),)


def test_examples_are_of_each_name_and_of_the_widest_tolerance_last(quick):
    weights = product(9, 3, "triangle", "digon")
    loose = product(9, 4, "tetrahedron", "digon")[:, :4]
    loose[0, 3] = 0.16
    run = with_weights(
        quick,
        lambda n, m, number: np.pad(
            loose if number % 2 else np.pad(weights, ((0, 0), (0, 1))), ((0, n - 9), (0, m - 4))
        ),
    )
    examples = examples_of(find(run))
    assert [(name, note) for name, note, _ in examples] == [
        ("triangle", ""),
        ("digon", ""),
        ("tetrahedron", "tolerance 0.2"),
    ]
    assert [len(vectors) for _, _, vectors in examples] == [3, 2, 4]


def test_even_frames_are_no_polytopes(quick):
    """All dimensionalities are 1/2 exactly, and yet nothing is found: there are no factors."""

    def frame(n, m, number):
        return np.concatenate([even_frame(np.ones(2 * m), m, number), np.zeros((n - 2 * m, m))])

    findings = replaced(quick, frame)
    assert not passed(findings) & OF_POLYTOPES
    assert by_key(findings.measures)["features_at_level"].value == 1
    assert by_key(findings.measures)["features_in_named_polytopes"].value == 0


def test_random_directions_are_no_polytopes(quick):
    def drawn(n, m, number):
        return np.concatenate([random_directions(np.ones(2 * m), m, number), np.zeros((n - 2 * m, m))])

    findings = replaced(quick, drawn)
    assert not passed(findings) & (OF_POLYTOPES - {"features_at_level"})


def test_several_seeds_of_a_density_count_once(quick):
    run = with_weights(quick, lambda n, m, _: product(n, m, "digon", "digon"))
    other = with_weights(quick, lambda n, m, _: np.eye(n, m)).assign_coords(seed=[1])
    run = xr.concat([run, other], "seed", data_vars="minimal")
    findings = EXPERIMENT.analyse({"run": run})
    measures = by_key(findings.measures)
    assert measures["densities"].value == 6
    assert measures["features_in_named_polytopes"].n == 5
    assert measures["features_in_named_polytopes"].value == 0.5
    assert measures["features_in_named_polytopes_between_seeds"].value == pytest.approx(np.sqrt(0.5))
    figure, _ = EXPERIMENT.draw({"run": run}, findings)
    heights = [bar.get_height() for bar in figure.axes[1].patches if isinstance(bar, Rectangle)]
    # At each density one half is in digons, and one has no name.
    assert sorted({round(height, 6) for height in heights}) == [0, 0.5]
    assert sum(heights) == pytest.approx(6)


def test_without_levels_nothing_is_tested(quick):
    findings = replaced(quick, lambda n, m, number: random_directions(np.ones(n), m, number))
    assert not findings.tested
    assert findings.measures == ()
    assert "No model is in the range of the levels" in findings.caption[0]


def test_where_nothing_trained_to_its_end_the_figure_says_so(quick):
    run = tg.load(quick[1] / "run.zarr").copy(deep=True)
    run["result"].values[:] = "diverged"
    findings = EXPERIMENT.analyse({"run": run})
    assert not findings.tested
    assert findings.caption[0] == "No model completed training."
    figure, _ = EXPERIMENT.draw({"run": run}, findings)
    assert "nothing to show: no models" in [text.get_text() for axes in figure.axes for text in axes.texts]


def test_models_without_any_embedding_are_in_no_range(quick):
    run = with_weights(quick, lambda n, m, number: np.zeros((n, m)) if number < 2 else product(n, m, "digon", "digon"))
    findings = EXPERIMENT.analyse({"run": run})
    assert findings.shown[0].named[0].share == 0
    assert not findings.shown[0].in_range
    assert by_key(findings.measures)["densities_in_range"].value == 4
    EXPERIMENT.draw({"run": run}, findings)


def test_one_model_alone_is_no_curve(quick):
    run = with_weights(quick, lambda n, m, _: product(n, m, "digon", "digon")).isel(spec=slice(4, 5))
    findings = EXPERIMENT.analyse({"run": run})
    assert by_key(findings.measures)["dimensions_per_feature_stick_at_half"].value is None
    assert by_key(findings.measures)["features_in_named_polytopes"].value == 1
    assert not passed(findings) & STICKING
    EXPERIMENT.draw({"run": run}, findings)


def test_levels_elsewhere_cover_as_much_as_levels_do():
    found = near_level(np.array([0.5, 0.515, 0.45, 2 / 3, 0.4, 0.36, 0.8]))
    assert found.tolist() == [True, True, False, True, True, True, False]
    assert near_level(np.array([0.6]), 0.1).tolist() == [True]
    everywhere = np.linspace(0.25, 0.875, 5_000, endpoint=False)
    # Three windows of 0.04, and one from 0.355 to 0.42, of 0.625.
    assert near_level(everywhere).mean() == pytest.approx(0.185 / 0.625, abs=1e-3)
    assert elsewhere(everywhere) == pytest.approx(0.185 / 0.625, abs=0.01)


def test_the_part_of_an_axis_near_a_level():
    places = np.linspace(0.0, 1.0, 101)
    part, low, high = stretch(places, 1 - places, 0.5)
    assert part == pytest.approx(0.1, abs=1e-3)
    assert low <= part <= high
    assert high - low == pytest.approx(0.02, abs=1e-6)
    assert stretch(places, np.where(places < 0.4, 0.5, 0.2), 0.5)[0] == pytest.approx(0.4, abs=0.01)
    assert stretch(places, 1 - places, 3.0) == (0, 0, 0)


def test_falls_without_a_rest_take_their_time():
    places = np.linspace(0.0, 1.0, 20)
    values = np.linspace(1.0, 0.2, 20)
    # Near 1: 0.8 (1 - cos(πx/2)) ≤ 0.05; near 1/2 the line stays longest, 0.1 of its fall of 0.8.
    assert fall(places, values, 1.0) == pytest.approx(2 / np.pi * np.arccos(1 - 0.05 / 0.8), abs=1e-3)
    assert fall(places, values, 0.5) == pytest.approx(0.125, abs=1e-3)
    assert fall(places, values, 3.0) == 0


def test_only_curves_with_rests_stick():
    places = np.linspace(0.0, 1.0, 20)
    smooth = [
        1 - 0.8 * places,
        0.2 + 0.8 * np.cos(np.pi / 2 * places),
        0.6 + 0.4 * np.cos(np.pi * places),
        1 / (1 + 4 * places),
        1 - 0.8 * places**1.5,
    ]
    resting = np.where(places < 0.4, 1.0, np.where(places < 0.8, 0.5, 0.2))
    for level in (1.0, 0.5):
        assert all(stretch(places, curve, level)[1] <= fall(places, curve, level) for curve in smooth)
        # Seven of nineteen steps lie between places that are both at the level.
        assert stretch(places, resting, level)[1] == pytest.approx(7 / 19)
        assert fall(places, resting, level) < 7 / 19


def test_few_names_hold_most():
    assert few({"digon": 90, "triangle": 10}) == 1
    assert few({"digon": 60, "triangle": 25, "pentagon": 15}) == 3
    assert few({}) == 0


def test_features_are_counted_by_name(quick):
    _, _, models = quick
    counted = held_by(models)
    assert sum(counted.values()) == sum(len(own) for model in models for _, own in model.counted.factors)
