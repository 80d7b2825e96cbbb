"""Losses to compare with the best linear solutions: that of the model, and that of its weights in a linear model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from tegum.analysis.runs import changes_features, measurable_runs
from tegum.core.loss.linear import loss_at_best_bias
from tegum.core.model import activation_named

if TYPE_CHECKING:
    import xarray as xr

    from tegum.core.features.distribution import FeatureDistribution
    from tegum.core.model import Activation

AT_LEVEL = 0.05
"""A loss is at the level of a linear optimum if it differs by at most this fraction."""

OTHER_LEVELS = tuple(
    each for each in np.geomspace(0.5, 2.0, 29).tolist() if abs(np.log(each)) > np.log((1 + AT_LEVEL) ** 2)
)
"""Factors that shift a level away from every linear optimum, so that plateaus meet the shifted level only by chance."""


def runs_with_losses(
    call: str, run: xr.Dataset, features: FeatureDistribution, activation: Activation, tol: float
) -> tuple[xr.Dataset, Float[np.ndarray, "run step"]]:
    """Select the runs of one Spec that completed training, with the population loss of every snapshot (`own_losses`).

    Args:
        call: the function that errors name.
        run: a trajectory, dims (seed, step).
        features: the feature distribution that was trained on.
        activation: the activation of the trained model.
        tol: the largest error of a loss; smaller losses, of a flow too, are given as `tol`.

    Returns:
        The trajectory of those runs, and their losses.

    Raises:
        ValueError: as for `measurable_runs` and `population_loss`, there are not as many features, or a flow has a
            loss below 0.

    """
    if not 0 < tol < np.inf:
        raise ValueError(f"{call}(tol={tol!r}): tol must be a positive finite number")
    # A flow has recorded its loss, which then nothing else would look at.
    activation_named(f"{call}(activation={activation!r})", activation)
    kept = measurable_runs(call, run, ("bias", "loss"))
    if features.n != kept.sizes["feature"]:
        raise ValueError(f"{call}(features of n={features.n}): the run has {kept.sizes['feature']} features")
    if changes_features(kept):
        rule = "its Spec has changes, so that there is no one distribution on which it was trained"
        raise ValueError(f"{call}(run): {rule}")
    try:
        loss = own_losses(kept, features, activation, tol)
    except ValueError as error:
        text = str(error)
        own = text.startswith("population_loss(")
        raise ValueError(text.replace("population_loss", call, 1) if own else f"{call}(features): {text}") from None
    # A flow to a model that loses nothing ends at 0, give or take rounding.
    if (loss < -tol).any():
        raise ValueError(f"{call}(run with a loss of {loss.min():.3g}): the loss must be at least 0")
    return kept, np.maximum(loss, tol)


def own_losses(
    run: xr.Dataset, features: FeatureDistribution, activation: Activation, tol: float
) -> Float[np.ndarray, "run step"]:
    """The population loss of every snapshot of the runs of one Spec.

    A flow has recorded it. For other trajectories, which record the loss of a sample, it is computed.

    Args:
        run: a trajectory, dims (seed, step).
        features: the feature distribution that was trained on.
        activation: the activation of the trained model.
        tol: the largest error of a loss; smaller losses are given as `tol`.

    """
    if "time" in run.coords or not run.sizes["seed"]:
        return run["loss"].values.astype(float)
    from tegum.core.loss.population import population_loss

    weights, bias = run["weights"].values.astype(float), run["bias"].values.astype(float)
    loss = population_loss(weights, bias, features, tol=tol, activation=activation)
    return np.maximum(loss, tol)


def linear_losses(weights: Float[np.ndarray, "*run n m"], features: FeatureDistribution) -> Float[np.ndarray, "*run"]:
    """The population loss of x̂ = W Wᵀ x + b with the best b.

    A ReLU hides negative interference. Sets that share a direction with opposite signs therefore cost a ReLU model
    little and a linear one much, which distinguishes a linear solution from superposition with a similar loss.
    """
    return loss_at_best_bias(weights.astype(float), features.covariance(), features.importance)


def at_level(
    loss: Float[np.ndarray, "*run"], linear: Float[np.ndarray, "*run"], level: float
) -> Bool[np.ndarray, "*run"]:
    """Whether both losses of each run are at the level, to within `AT_LEVEL`; NaN never is."""
    # Nothing is at the level 0, that of an optimum which loses nothing.
    with np.errstate(divide="ignore", invalid="ignore"):
        return (np.abs(loss / level - 1) <= AT_LEVEL) & (np.abs(linear / level - 1) <= AT_LEVEL)
