"""Which runs of a trajectory completed training."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from tegum.analysis.geometry.measures import LARGEST_WEIGHT
from tegum.data.schema import WHOLE, check, leading, one_selected

if TYPE_CHECKING:
    import xarray as xr


def completed(run: xr.Dataset) -> Bool[np.ndarray, "*run"]:
    """Find the runs that took all their steps or converged early; the others diverged or were interrupted.

    Args:
        run: a trajectory.

    Returns:
        Booleans, shaped like `run.result`.

    """
    return np.isin(run["result"].values, WHOLE)


def completed_runs(run: xr.Dataset) -> xr.Dataset:
    """Select the runs of one Spec that completed training.

    Args:
        run: a trajectory of one Spec.

    Returns:
        The trajectory of those runs.

    """
    return run.isel(seed=np.flatnonzero(completed(run)))


def changes_features(run: xr.Dataset) -> bool:
    """Whether the features that a trajectory was trained on change on the way.

    Args:
        run: a trajectory.

    Returns:
        Whether a Spec of it says so.

    """
    described = json.loads(run.attrs.get("spec", "[]"))
    specs = described if isinstance(described, list) else [described]
    return any(change.get("sets") for spec in specs for change in spec.get("changes", ()))


def measurable_runs(call: str, run: xr.Dataset, needs: Iterable[str] = ()) -> xr.Dataset:
    """Select the runs of one Spec that completed training, after checking that a measure can read them.

    Args:
        call: the function that errors name.
        run: a trajectory of one Spec.
        needs: the variables that the measure reads beside weights, steps and results.

    Returns:
        The trajectory of those runs, of which there may be none.

    Raises:
        ValueError: the trajectory has runs of several Specs or nothing to measure, a variable is missing or
            misshapen, or a completed run has an entry that is not finite.

    """
    if lead := leading(run):
        rule = f"its runs must be of one Spec; select one, as {one_selected(run)} does"
        raise ValueError(f"{call}(run of {math.prod(run.sizes[dim] for dim in lead)} Specs): {rule}")
    # When a run ended is not read: whoever changes a result by hand, to leave a run out, need not change that as well.
    read = run.drop_vars(("diverged_at", "converged_at"), errors="ignore")
    check(read, ("weights", "step", "result", *needs), call=f"{call}(run)")
    if 0 in run["weights"].shape:
        rule = "there must be at least one run, snapshot, feature and hidden dimension"
        raise ValueError(f"{call}(run with weights of shape {run['weights'].shape}): {rule}")
    kept = completed_runs(run)
    for name in ("weights", *needs):
        values = kept[name].values
        # Both ends, so that no copy of all weights is made; a NaN is found as well.
        largest = max(float(values.max(initial=0)), -float(values.min(initial=0)))
        if not largest <= LARGEST_WEIGHT:
            rule = f"the {name} of a completed run must be finite, and at most {LARGEST_WEIGHT:g}"
            raise ValueError(f"{call}(run with {name} up to {largest:g}): {rule}")
    return kept
