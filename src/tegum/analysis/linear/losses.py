"""Losses beside those of the best linear solutions: the model's own, and that of its weights in a linear model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from tegum.core.loss.linear import loss_at_best_bias

if TYPE_CHECKING:
    import xarray as xr

    from tegum.core.features.distribution import FeatureDistribution
    from tegum.core.model import Activation

AT_LEVEL = 0.05
"""A loss is that of a linear optimum if it differs by at most this part."""

OTHER_LEVELS = tuple(
    each for each in np.geomspace(0.5, 2.0, 29).tolist() if abs(np.log(each)) > np.log((1 + AT_LEVEL) ** 2)
)
"""Factors that move a level to where no linear optimum is: plateaus that meet the moved levels do so by chance."""


def own_losses(
    run: xr.Dataset, features: FeatureDistribution, activation: Activation, tol: float
) -> Float[np.ndarray, "run step"]:
    """The population loss of every snapshot of the runs of one Spec.

    A flow has recorded it; that of other trajectories is computed, for what they have recorded is the loss of a sample.

    Args:
        run: a trajectory, dims (seed, step).
        features: the feature distribution that was trained on.
        activation: of the model that was trained.
        tol: the largest error of a loss; no loss is told to be smaller.

    """
    if "time" in run.coords or not run.sizes["seed"]:
        return run["loss"].values.astype(float)
    from tegum.core.loss.population import population_loss

    weights, bias = run["weights"].values.astype(float), run["bias"].values.astype(float)
    loss = population_loss(weights, bias, features, tol=tol, activation=activation)
    return np.maximum(loss, tol)


def linear_losses(weights: Float[np.ndarray, "*run n m"], features: FeatureDistribution) -> Float[np.ndarray, "*run"]:
    """The population loss of x̂ = W Wᵀ x + b with the best b.

    A ReLU hides interference where it is negative. Sets that share a direction with opposite signs cost a ReLU model
    little and a linear one much: that tells a linear solution from superposition of a like loss.
    """
    return loss_at_best_bias(weights.astype(float), features.covariance(), features.importance)


def at_level(
    loss: Float[np.ndarray, "*run"], linear: Float[np.ndarray, "*run"], level: float
) -> Bool[np.ndarray, "*run"]:
    """Whether both losses of each run are at the level, to `AT_LEVEL`; NaN is not."""
    return (np.abs(loss / level - 1) <= AT_LEVEL) & (np.abs(linear / level - 1) <= AT_LEVEL)
