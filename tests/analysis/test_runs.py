"""Which runs came to their end."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from tegum.analysis.runs import completed, completed_runs, measurable_runs


def test_only_runs_that_came_to_their_end_are_whole() -> None:
    results = ["completed", "diverged", "converged", "interrupted"]
    run = xr.Dataset({"result": ("seed", results)}, {"seed": [4, 5, 6, 7]})
    assert completed(run).tolist() == [True, False, True, False]
    assert completed_runs(run)["seed"].values.tolist() == [4, 6]
    sweep = xr.concat([run, run.isel(seed=[3, 2, 1, 0]).assign_coords(seed=run["seed"])], "spec")
    assert completed(sweep).tolist() == [[True, False, True, False], [False, True, False, True]]


def trajectory(results: list[str]) -> xr.Dataset:
    dims, runs = ("seed", "step", "feature", "hidden"), len(results)
    return xr.Dataset(
        {
            "weights": (dims, np.ones((runs, 3, 2, 1), np.float32)),
            "loss": (dims[:2], np.ones((runs, 3))),
            "result": (dims[:1], results),
        },
        {"seed": np.arange(runs), "step": [0, 10, 20]},
    )


def test_runs_that_a_measure_can_read_are_the_completed_ones() -> None:
    run = trajectory(["diverged", "completed", "converged"])
    run["weights"].values[0, -1] = np.nan
    # What is left out may be anything, and be left out by hand.
    assert measurable_runs("measure", run, ("loss",))["seed"].values.tolist() == [1, 2]
    dated = run.assign(diverged_at=("seed", [-1, -1, -1]))
    assert measurable_runs("measure", dated, ("loss",))["seed"].values.tolist() == [1, 2]
    assert measurable_runs("measure", run.isel(seed=[0])).sizes["seed"] == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda run: run.drop_vars("weights"), r"measure\(run\): weights is missing; the dataset has loss, result"),
        (lambda run: run.drop_vars("step"), r"measure\(run\): step is missing"),
        (lambda run: run.drop_vars("loss"), r"measure\(run\): loss is missing"),
        (
            lambda run: run.isel(seed=0),
            r"measure\(run\): weights has the dimensions \(step, feature, hidden\); it must",
        ),
        (lambda run: run.expand_dims(spec=2), r"measure\(run of 2 Specs\): its runs must be of one Spec; select one"),
        (
            lambda run: run.isel(step=[]),
            r"measure\(run with weights of shape \(2, 0, 2, 1\)\): there must be",
        ),
        (lambda run: run.isel(seed=[]), r"there must be at least one run"),
        (lambda run: run.isel(step=[0, 2, 1]), r"measure\(run\): step goes from 20 to 10; steps must increase"),
        (lambda run: run.where(run.step < 20).assign(result=run.result), r"weights up to nan\): the weights of a comp"),
        (lambda run: run.assign(weights=-1e80 * run.weights.astype(float)), r"weights up to 1e\+80\): the weights"),
        (
            lambda run: run.assign(loss=run.loss / 0.0),
            r"measure\(run with loss up to inf\): the loss of a completed run",
        ),
    ],
)
def test_what_a_measure_cannot_read_is_refused(change, sentence) -> None:
    with (
        pytest.raises(ValueError, match=rf"^{sentence}" if sentence.startswith("measure") else sentence),
        np.errstate(divide="ignore"),
    ):
        measurable_runs("measure", change(trajectory(["completed", "converged"])), ("loss",))
