"""Which runs of a trajectory completed training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from tegum.data.schema import WHOLE

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
