"""Grids: how they are described and trained, and that everything that takes a trajectory takes that of a grid."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest
import xarray as xr

import tegum as tg
from tegum.analysis.landscape import critical_points
from tegum.analysis.report import describe, endings, last_snapshots, polytopes_found
from tegum.data import schema
from tegum.figures.losses import losses
from tegum.training.compare import known_loss
from tegum.training.dataset import specs_of

FEATURES = [tg.Correlated(2, 0.2)] * 2
SPEC = tg.Spec(
    features=FEATURES, hidden=2, training=tg.Sampled(steps=40, batch=16, evaluation=16), seeds=3, snapshots=20
)
DENSITIES, IMPORTANCES = [0.1, 0.3, 0.9], [0.5, 1.0]
GRID = tg.grid(SPEC, density=DENSITIES, importance=IMPORTANCES)


@pytest.fixture(scope="module")
def run():
    return tg.train(GRID)


def test_a_grid_is_every_combination_the_last_parameter_fastest():
    assert GRID.shape == (3, 2)
    assert len(GRID) == 6
    assert [(one.features.density[0], one.features.importance[0]) for one in GRID] == [
        (0.1, 0.5), (0.1, 1.0), (0.3, 0.5), (0.3, 1.0), (0.9, 0.5), (0.9, 1.0)
    ]  # fmt: skip
    assert GRID[3] == SPEC.override(["features.density=0.3", "features.importance=1.0"])
    assert repr(GRID) == "<Grid of 3 × 2 Specs: density 0.1, 0.3, 0.9, importance 0.5, 1>"
    assert tg.grid(SPEC, density=DENSITIES, importance=IMPORTANCES) == GRID


def test_keys_may_be_dotted_and_change_together():
    grid = tg.grid(
        SPEC,
        {"training.rate": np.array([1e-3, 1e-2])},
        p={"features.0.density": [0.1, 0.2], "features.1.density": [0.4, 0.3]},
    )
    assert [(one.training.rate, *one.features.density[[0, 2]]) for one in grid] == [
        (1e-3, 0.1, 0.4), (1e-3, 0.2, 0.3), (1e-2, 0.1, 0.4), (1e-2, 0.2, 0.3)
    ]  # fmt: skip
    run = tg.train(grid)
    assert run.loss.dims == ("training.rate", "p", "seed", "step")
    assert run["p"].values.tolist() == [0.1, 0.2]
    assert run["features.1.density"].dims == ("p",)
    assert run.sel({"training.rate": 0.01})["features.1.density"].values.tolist() == [0.4, 0.3]
    # The densities of features are those of their Spec.
    assert run["density"].dims == ("training.rate", "p", "feature")
    assert run["density"].sel(p=0.2)[1].values.tolist() == [0.2, 0.2, 0.3, 0.3]


def test_values_that_are_no_numbers_are_selected_by_their_text():
    grid = tg.grid(SPEC, scale={"initial_scale": [None, 0.1]}, shares={"features.importance": [[1.0, 0.5], [1.0, 0.1]]})
    assert grid.labels["shares"] == {"features.importance": ["[1.0, 0.5]", "[1.0, 0.1]"]}
    run = tg.train(grid)
    np.testing.assert_array_equal(run["scale"], [np.nan, 0.1])
    assert run.sel(shares="[1.0, 0.1]", scale=0.1).importance.values.tolist() == [1.0, 0.1, 1.0, 0.1]


def test_runs_of_a_grid_are_those_of_its_specs(run):
    assert run.loss.dims == ("density", "importance", "seed", "step")
    assert run.weights.dims == (*run.loss.dims, "feature", "hidden")
    for density in DENSITIES:
        for importance in IMPORTANCES:
            alone = tg.train(
                SPEC.override({"features.density": density, "features.importance": importance}), progress=False
            )
            chosen = run.sel(density=density, importance=importance)
            for name in ("weights", "bias", "loss", "result"):
                np.testing.assert_array_equal(chosen[name], alone[name])
            assert specs_of(chosen) == specs_of(alone)
    assert specs_of(run) == list(GRID)
    assert specs_of(run.sel(importance=0.5)) == list(GRID)[::2]
    assert run.sel(density=0.25, method="nearest").density == 0.3


def test_a_stored_grid_gives_the_same_selections(run, tmp_path):
    tg.save(run, tmp_path / "run.zarr")
    again = tg.load(tmp_path / "run.zarr")
    assert again.identical(run)
    for chosen in ({"density": 0.3}, {"density": [0.1, 0.9], "importance": 1.0}, {"density": 0.1, "importance": 0.5}):
        part = again.sel(chosen)
        assert part.identical(run.sel(chosen))
        tg.save(part, tmp_path / "part.zarr", overwrite=True)
        assert tg.load(tmp_path / "part.zarr").identical(part)
    assert again.sel(density=0.25, method="nearest").identical(run.sel(density=0.25, method="nearest"))


def test_parts_of_a_grid_join_by_value(run):
    """What a sweep over many machines relies on: a part has the layout of the whole."""
    low, high = (
        tg.train(tg.grid(SPEC, density=some, importance=IMPORTANCES), progress=False) for some in ([0.1], [0.3, 0.9])
    )
    joined = xr.concat([low, high], "density", data_vars="minimal", coords="minimal", compat="equals", join="exact")
    for name in ("weights", "loss", "spec_hash", "density"):
        xr.testing.assert_identical(joined[name], run[name])


def test_training_of_a_grid_is_kept_and_resumed(run, tmp_path):
    out = tmp_path / "run.zarr"

    def stop(segment):
        if segment.state.step >= 10:
            raise KeyboardInterrupt

    with pytest.raises(tg.TrainingInterrupted) as interrupted:
        tg.train(GRID, out=out, progress=stop)
    assert interrupted.value.run.loss.dims == ("density", "importance", "seed", "step")
    resumed = tg.train(GRID, out=out, resume=True, progress=False)
    again = tg.load(out)
    assert again.identical(resumed)
    for name in ("weights", "bias", "loss", "spec_hash"):
        xr.testing.assert_identical(resumed[name], run[name])


def test_shapes_are_trained_one_by_one():
    grid = tg.grid(SPEC, hidden=[1, 2], density=[0.1, 0.3])
    with pytest.raises(
        ValueError, match=r"train\(grid\): its values of hidden differ in hidden \(1 and 2\), .*"
    ) as said:
        tg.train(grid)
    assert "{value: tg.train(part) for value, part in grid.split('hidden').items()}" in str(said.value)
    runs = {value: tg.train(part) for value, part in grid.split("hidden").items()}
    assert {value: part.weights.shape for value, part in runs.items()} == {1: (2, 3, 21, 4, 1), 2: (2, 3, 21, 4, 2)}
    np.testing.assert_array_equal(runs[2].weights[1], tg.train(grid[3]).weights)
    assert tg.grid(SPEC, hidden=[1, 2]).split("hidden") == {1: SPEC.replace(hidden=1), 2: SPEC}
    with pytest.raises(ValueError, match=r"iterate\(grid\): its values of steps differ in snapshots"):
        next(tg.iterate(tg.grid(SPEC, steps=[40, 60])))
    with pytest.raises(ValueError, match=r"train\(grid\): its values of batch differ in training.batch \(16 and 32\)"):
        tg.train(tg.grid(SPEC, density=[0.1, 0.2], batch=[16, 32]))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: tg.grid(SPEC), "must be at least one parameter"),
        (lambda: tg.grid(SPEC, density=0.1), r"grid\(density=0.1\): density must be a list of values"),
        (lambda: tg.grid(SPEC, density=np.array(0.1)), r"grid\(density=.*\): density must be a list of values"),
        (lambda: tg.grid(SPEC, density=[]), "there must be at least one value"),
        (lambda: tg.grid(SPEC, densty=[0.1]), r"there is no key 'densty'; did you mean 'density'\?"),
        (lambda: tg.grid(SPEC, density=[0.1, 0.1]), r"the value 0.1 is given twice; values must differ"),
        (lambda: tg.grid(SPEC, density=[0.1, 1.7]), r"grid\(…\): Spec\(features.0.density=1.7\): .* lie in \(0, 1\]"),
        (lambda: tg.grid(SPEC, kind={"training.kind": ["flow"]}), "'kind' is a variable of every trajectory"),
        (lambda: tg.grid(SPEC, {"density": [0.1]}, density=[0.1]), "density is given twice"),
        (lambda: tg.grid(SPEC, {"features.density": [0.1]}, density=[0.1]), "two parameters vary this key"),
        (lambda: tg.grid(SPEC, p={"rate": [1e-3, 1e-2], "density": [0.1]}), "as many of each key"),
        (lambda: tg.grid(SPEC, base_seed=range(1000), density=np.linspace(0.1, 1, 1000)), "1,000,000 combinations"),
        (lambda: GRID.split("rate"), r"Grid.split\('rate'\): the grid has no such parameter; known are density, imp"),
    ],
)
def test_what_is_no_grid_is_refused_in_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_the_exact_loss_and_the_best_run_are_those_of_each_spec(run):
    exact, best = tg.population_loss_along(run, progress=False), tg.best(run, progress=False)
    assert exact.dims == run.loss.dims
    assert best.loss.dims == ("density", "importance", "step")
    np.testing.assert_array_equal(tg.population_loss_along(best, progress=False)[..., -1], best.best_value)
    for point in ({"density": 0.1, "importance": 1.0}, {"density": 0.9, "importance": 0.5}):
        chosen = run.sel(point)
        np.testing.assert_array_equal(exact.sel(point), tg.population_loss_along(chosen, progress=False))
        assert best.seed.sel(point) == tg.best(chosen, progress=False).seed
    end = run.isel(step=[-1])
    np.testing.assert_array_equal(
        tg.loss_error(end).sel(density=0.3, importance=1.0), tg.loss_error(end.sel(density=0.3, importance=1.0))
    )
    # The features of a snapshot are those of its own Spec.
    snapshot = run.sel(density=0.9, importance=0.5).isel(seed=0, step=-1)
    assert critical_points._snapshot(snapshot, None, "critical_point")[2] == GRID[4].features


def arguments(run):
    """Arguments for every public function that takes a trajectory or a part of one."""
    W, features = run.weights, tg.FeatureDistribution(FEATURES)
    jump = tg.Jump(0, 0, 1, 2, 0.1, 0.5)
    event, level = tg.Event((jump,)), tg.dimensionality(run.weights)
    sets, row = {"weights": W, "features": features}, {"loss": run.loss.values, "steps": run.step.values}
    x, own = np.ones((3, 4)), {"run": run, "features": features}
    model = {"weights": W.values, "bias": run.bias.values}
    measures = (
        "canonical_pose dimensionality dimensions_per_feature gram interference polytope_names represented "
        "tegum_factors mode_power kept_rotations equivariance_defect analyse name_polytope"
    )
    of_sets = (
        "angle_to_pca collapsed_count collapsed_sets interference_between interference_within local_capture "
        "pca_likeness readout_error"
    )
    of_model = "population_gradient population_loss saddle_index"
    return {
        **{name: {"weights": W} for name in measures.split()},
        **dict.fromkeys(of_sets.split(), sets),
        **dict.fromkeys(["escape_order", "first_plateaus", "superposition_onset"], own),
        **dict.fromkeys(["dead_outputs", "find_revivals"], sets | {"bias": run.bias}),
        **dict.fromkeys(of_model.split(), model | {"features": features}),
        "best": {"run": run}, "critical_point": {"weights": run}, "find_drops": {"loss": run.loss},
        "empirical_loss": model | {"x": x}, "forward": model | {"x": x},
        "find_jumps": {"dimensionality": level}, "find_plateaus": row, "find_regimes": row,
        "jump_attribution": {"run": run, "rest": 4, "longest": 10},
        "largest_moves": {"windows": [jump], "dimensionality": level, "jumps": [jump]},
        "local_pca": sets | {"number": 0}, "loss_drops": {"events": [event], "loss": run.loss, "jumps": [jump]},
        "loss_error": {"run": run.isel(step=[-1])}, "mode_strengths": sets | {"count": 1},
        "motion_stages": row | {"weights": W.values, "features": features, "loss": run.loss.values},
        "motions": {"weights": W.values, "features": features},
        "population_loss_along": {"run": run}, "predicted_escapes": sets | {"count": 1},
        "rearrangements": {"events": [event], "weights": W}, "render": {"run": run, "target": "film.gif"},
        "share_inside": {"loss": run.loss, "windows": [jump], "draws": 10},
        "save": {"dataset": run, "path": "run.zarr"}, "view": {"run": run},
    }  # fmt: skip


REFUSED = {
    "analyse", "critical_point", "dead_outputs", "escape_order", "find_drops", "find_jumps", "find_plateaus",
    "find_regimes", "find_revivals", "first_plateaus", "jump_attribution", "largest_moves", "loss_drops",
    "motion_stages", "name_polytope", "rearrangements", "render", "saddle_index", "share_inside",
    "superposition_onset",
}  # fmt: skip
"""Functions of one run, or of the runs of one Spec."""


NAMES = sorted(
    name
    for name in tg.__all__
    if not isinstance(call := getattr(tg, name), type)
    and {"run", "weights", "loss", "dimensionality", "dataset"}
    & {*(inspect.signature(call).parameters if callable(call) else ())}
)
"""The public functions that take a trajectory, or a part of one."""


@pytest.mark.parametrize("name", NAMES)
def test_a_public_function_takes_the_trajectory_of_a_grid_or_refuses_it(name, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call = getattr(tg, name)
    # Whose annotations are checked only in tests, and would refuse it first.
    call = inspect.unwrap(call) if name == "find_regimes" else call
    if name in REFUSED:
        with pytest.raises(ValueError, match=r"^[a-z_]+\(.{10,}") as refused:
            call(**arguments(run)[name])
        assert "\n" not in str(refused.value)
        return
    found = call(**arguments(run)[name])
    if isinstance(found, xr.DataArray | xr.Dataset):
        for density, importance in ((0.1, 1.0), (0.9, 0.5)):
            chosen = run.sel(density=density, importance=importance)
            alone = call(**arguments(chosen)[name])
            part = found.sel(density=density, importance=importance)
            for one, other in ((part, alone),) if isinstance(part, xr.DataArray) else ((part.loss, alone.loss),):
                np.testing.assert_allclose(one, other, rtol=1e-12) if one.dtype.kind == "f" else (
                    np.testing.assert_array_equal(one, other)
                )


def test_a_grid_is_described_and_drawn(run):
    rows = dict(describe(run))
    assert rows["runs"] == "3 × 2 × 3"
    assert rows["differs: density"] == "0.1 … 0.9"
    assert rows["kinds of set"] == "2 × correlated"
    last = last_snapshots(run)
    known = known_loss(last)
    assert endings(last, known.loss, known.error, known.exact)[0]["runs"] == "18"
    assert sum(int(row["runs"]) for row in polytopes_found(run)) == 18
    assert len(losses({"run": run}, []).axes) == 1
    part = run.sel(density=0.1)
    assert schema.leading(part) == ("importance",)
    assert dict(describe(part))["runs"] == "2 × 3"
    assert json.loads(run.attrs["grid"]) == {"density": ["features.density"], "importance": ["features.importance"]}


@pytest.mark.parametrize(
    "keys",
    [
        {"features.0.density": [0.1, 0.2], "features.density": [0.3, 0.4]},
        {"rate": [1e-3, 1e-2], "training": [tg.Sampled(steps=1), tg.Sampled(steps=2)]},
        {"p": {"features.density": [0.1, 0.2], "features.0.density": [0.3, 0.4]}},
    ],
)
def test_keys_of_which_one_would_undo_the_other_are_refused(keys):
    spec = tg.Spec(features=[tg.Independent(3, 0.1), tg.Independent(2, 0.1)], hidden=1)
    with pytest.raises(ValueError, match="one would undo the other"):
        tg.grid(spec, keys)


def test_equal_numbers_and_names_that_cannot_be_stored_are_refused():
    spec = tg.Spec(features=[tg.Independent(3, 0.1), tg.Independent(2, 0.1)], hidden=1)
    with pytest.raises(ValueError, match="is given twice"):
        tg.grid(spec, rate=[1, 1.0])
    for name in ("a b", "a/b", "", "..", "x" * 101):
        with pytest.raises(ValueError, match="must be a word"):
            tg.grid(spec, {name: {"density": [0.1, 0.2]}})
    # Sets of their own may differ.
    assert tg.grid(spec, {"features.0.density": [0.1, 0.2], "features.1.density": [0.3, 0.4]}).shape == (2, 2)
