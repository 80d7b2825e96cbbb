"""The lowest solution of many starts at one value of a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from tegum.analysis.runs import completed

if TYPE_CHECKING:
    import xarray as xr

    from tegum.analysis.landscape.critical_points import CriticalPoint
    from tegum.training.spec.spec import Spec


SAME = 1e-5
"""Two solutions count as the same if their losses differ by less than this fraction."""


class Solution(NamedTuple):
    """The lowest of many starts at one value of the parameter."""

    value: float
    weights: Float[np.ndarray, "feature hidden"]
    bias: Float[np.ndarray, " feature"]
    loss: float
    hits: int
    """The number of starts that end there."""
    starts: int


def density_of(spec: Spec) -> float:
    """The density as it was given: one computed by a set may differ in the last digit."""
    return float(np.ravel(spec.features.sets[0].density)[0])


def lowest(run: xr.Dataset, values: Sequence[float]) -> list[Solution]:
    """The lowest solution at each value, from a trajectory with the dim `spec` in the order of the values.

    Raises:
        ValueError: at some value, no run was trained to its end.

    """
    end = run.isel(step=-1)
    found = []
    for number, value in enumerate(values):
        here = end.isel(spec=number)
        whole = completed(here)
        if not whole.any():
            raise ValueError(f"lowest(run): no run trained to its end at {value:g}")
        losses = np.where(whole, here["loss"].values, np.inf)
        at = int(np.argmin(losses))
        hits = int((losses <= (1 + SAME) * losses[at]).sum())
        weights, bias = here["weights"].values[at], here["bias"].values[at]
        found.append(Solution(value, weights, bias, float(losses[at]), hits, int(whole.sum())))
    return found


def solution(value: float, point: CriticalPoint) -> Solution:
    """A critical point as a solution, with no starts."""
    return Solution(value, point.weights, point.bias, point.loss, 0, 0)


def others(run: xr.Dataset, best: Sequence[Solution]) -> list[Solution]:
    """All distinct solutions except the lowest; `run` has the dim `spec` in the order of `best`."""
    end = run.isel(step=-1)
    found = []
    for number, lowest_one in enumerate(best):
        losses = end["loss"].values[number]
        last = lowest_one.loss
        for at in np.argsort(losses).tolist():
            # False for the NaN of a run that has diverged.
            if losses[at] > (1 + SAME) * last:
                last = float(losses[at])
                weights, bias = end["weights"].values[number, at], end["bias"].values[number, at]
                hits = int((np.abs(losses - last) <= SAME * last).sum())
                found.append(Solution(lowest_one.value, weights, bias, last, hits, lowest_one.starts))
    return found
