"""Which runs came to their end."""

from __future__ import annotations

import xarray as xr

from tegum.analysis.runs import completed, completed_runs


def test_only_runs_that_came_to_their_end_are_whole() -> None:
    results = ["completed", "diverged", "converged", "interrupted"]
    run = xr.Dataset({"result": ("seed", results)}, {"seed": [4, 5, 6, 7]})
    assert completed(run).tolist() == [True, False, True, False]
    assert completed_runs(run)["seed"].values.tolist() == [4, 6]
    sweep = xr.concat([run, run.isel(seed=[3, 2, 1, 0]).assign_coords(seed=run["seed"])], "spec")
    assert completed(sweep).tolist() == [[True, False, True, False], [False, True, False, True]]
