"""Which runs of a trajectory came to their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from tegum.data.schema import WHOLE

if TYPE_CHECKING:
    import xarray as xr


def completed(run: xr.Dataset) -> Bool[np.ndarray, "*run"]:
    """Whether each run took all its steps, or converged before; others diverged, or were interrupted."""
    return np.isin(run["result"].values, WHOLE)


def completed_runs(run: xr.Dataset) -> xr.Dataset:
    """The runs of one Spec that came to their end."""
    return run.isel(seed=np.flatnonzero(completed(run)))
