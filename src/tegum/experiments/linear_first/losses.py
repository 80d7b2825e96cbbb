"""Losses beside those of the best linear solutions: the model's own, and that of its weights in a linear model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

if TYPE_CHECKING:
    import xarray as xr

    from tegum.core.features.distribution import FeatureDistribution
    from tegum.training.spec.spec import Spec

SAME = 0.05
"""A loss is that of a linear optimum if it differs by at most this part."""

SHIFTS = tuple(each for each in np.geomspace(0.5, 2.0, 29).tolist() if abs(np.log(each)) > np.log((1 + SAME) ** 2))
"""Factors of levels that are no one's: what meets these as well as the levels themselves meets them by chance."""


def own_losses(run: xr.Dataset, spec: Spec, tol: float) -> Float[np.ndarray, "run step"]:
    """The population loss of every snapshot, to an accuracy: a flow's own, and not that of a sample."""
    if "time" in run.coords or not run.sizes["seed"]:
        return run["loss"].values.astype(float)
    from tegum.core.loss.population import population_loss

    weights, bias = run["weights"].values.astype(float), run["bias"].values.astype(float)
    loss = population_loss(weights, bias, spec.features, tol=tol, activation=spec.activation)
    return np.maximum(loss, tol)


def linear_losses(weights: Float[np.ndarray, "*run n m"], features: FeatureDistribution) -> Float[np.ndarray, "*run"]:
    """The population loss of x̂ = W Wᵀ x + b with the best b: tr[I (1 − G) C (1 − G)], with G = W Wᵀ.

    A ReLU hides interference where it is negative. Sets that share a direction with opposite signs cost a ReLU model
    little and a linear one much: that tells a linear solution from superposition of a like loss.
    """
    given = weights.astype(float)
    rest = np.eye(features.n) - given @ np.swapaxes(given, -1, -2)
    slope = features.importance[:, None] * (rest @ features.covariance())
    return np.asarray(np.einsum("...ij,...ij->...", slope, rest))


def at_level(
    loss: Float[np.ndarray, "*run"], linear: Float[np.ndarray, "*run"], level: float
) -> Bool[np.ndarray, "*run"]:
    """Whether both losses of each run are at the level, to `SAME`; NaN is not."""
    return (np.abs(loss / level - 1) <= SAME) & (np.abs(linear / level - 1) <= SAME)
