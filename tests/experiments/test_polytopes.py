import json

import numpy as np
import pytest

import tegum as tg
from tegum import experiments
from tegum.experiments._shapes import elsewhere, even_frame, held_by, near_level, random_directions
from tegum.experiments.polytopes import few, stretch

EXPERIMENT = experiments.get("polytopes")


@pytest.fixture(scope="module")
def quick(run_quick):
    """The quick form, run and analysed once for all tests of this file: its summary, its files and its models."""
    summary, out, findings = run_quick(EXPERIMENT)
    return summary, out, findings.shown


def measured(summary):
    return {measure.name: measure for measure in summary.measures}


def replaced(quick, make):
    """The trajectory of the quick form with the weights that `make(n, m, number)` gives."""
    run = tg.load(quick[1] / "run.zarr").copy(deep=True)
    specs, _, _, n, m = run["weights"].shape
    for number in range(specs):
        run["weights"].values[number, 0, -1] = make(n, m, number)
    return EXPERIMENT.analyse({"run": run})


def test_it_writes_its_files_and_holds_in_part(quick):
    summary, out, _ = quick
    assert {path.name for path in out.iterdir()} == {"run.zarr", "polytopes.png", "polytopes.svg", "summary.json"}
    assert json.loads((out / "summary.json").read_text())["verdict"] == summary.verdict
    assert [criterion.passed for criterion in summary.criteria] == [True, False, True, False, True, True]


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
    assert measured(summary)["features in a digon"].value == pytest.approx(np.mean(shares))


def test_features_in_named_polytopes_have_its_dimensionality(quick):
    _, _, models = quick
    ideal = {"digon": 1 / 2, "triangle": 2 / 3, "pentagon": 2 / 5, "square antiprism": 3 / 8, "tetrahedron": 3 / 4}
    known = [
        (level, ideal[name])
        for model in models
        for level, name in zip(model.levels.tolist(), model.shapes, strict=True)
        if name in ideal
    ]
    assert len(known) > 50
    assert np.median([abs(level - at) for level, at in known]) < 0.01


def test_dimensions_per_feature_begin_at_one(quick):
    _, _, models = quick
    # At density 1 the best model is linear, and every m-dimensional projection is: |W|² = m.
    assert models[0].density == 1
    assert models[0].per_feature == pytest.approx(1, abs=0.02)


def test_planted_digons_are_found(quick):
    """In all dimensions but one: in all of them even frames would have the dimensionality 1/2, too."""

    def digons(n, m, _):
        return np.concatenate([np.eye(m)[1:], -np.eye(m)[1:], np.zeros((n - 2 * m + 2, m))])

    findings = replaced(quick, digons)
    assert [criterion.passed for criterion in findings.criteria] == [True, True, True, True, False, False]
    assert measured(findings)["features in a digon"].value == 1


def test_even_frames_are_no_polytopes(quick):
    """All dimensionalities are 1/2 exactly, and yet nothing is found: there are no factors."""

    def frame(n, m, number):
        return np.concatenate([even_frame(np.ones(2 * m), m, number), np.zeros((n - 2 * m, m))])

    findings = replaced(quick, frame)
    assert [criterion.passed for criterion in findings.criteria][:4] == [False] * 4
    assert measured(findings)["features at a level"].value == 1
    assert measured(findings)["features in named polytopes"].value == 0


def test_random_directions_are_no_polytopes(quick):
    def drawn(n, m, number):
        return np.concatenate([random_directions(np.ones(2 * m), m, number), np.zeros((n - 2 * m, m))])

    findings = replaced(quick, drawn)
    assert not any(criterion.passed for criterion in findings.criteria[1:4])


def test_without_levels_nothing_is_tested(quick):
    findings = replaced(quick, lambda n, m, number: random_directions(np.ones(n), m, number))
    assert not findings.tested
    assert findings.measures == ()


def test_even_frames_have_equal_dimensionalities():
    frame = even_frame(np.ones(14), 5, 0)
    np.testing.assert_allclose(frame.T @ frame, 14 / 5 * np.eye(5), atol=1e-6)
    np.testing.assert_allclose(tg.dimensionality(frame), 5 / 14, atol=1e-6)
    lengths = np.linspace(0.8, 1.2, 14)
    np.testing.assert_allclose(np.linalg.norm(even_frame(lengths, 5, 0), axis=1), lengths)


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


def test_few_names_hold_most():
    assert few({"digon": 90, "triangle": 10}) == 1
    assert few({"digon": 60, "triangle": 25, "pentagon": 15}) == 3
    assert few({}) == 0


def test_features_are_counted_by_name(quick):
    _, _, models = quick
    counted = held_by(models)
    assert sum(counted.values()) == sum(len(own) for model in models for _, own in model.factors)


def test_changes_that_break_the_grid_are_refused(tmp_path):
    with pytest.raises(ValueError, match="densities must fall"):
        EXPERIMENT.run(tmp_path / "new", size="quick", changes=["features.density=0.1"])
    assert not (tmp_path / "new").exists()
