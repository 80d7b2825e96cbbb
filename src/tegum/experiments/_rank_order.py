"""In which order, and when, runs learn the principal directions of sets that are not alike."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Bool, Float

if TYPE_CHECKING:
    import xarray as xr

    from tegum.training.spec import Spec


WAYS: Mapping[str, str] = {"density": "densities", "importance": "importances", "size": "sizes"}
"""In what the sets of the order differ."""

TRAININGS: Mapping[str, str] = {"flow": "gradient flow", "sgd": "SGD", "adamw": "AdamW"}

ACCURATE = 0.05
"""Of predicted times."""


@final
@dataclass(frozen=True, eq=False)
class Order:
    """Escapes of one ensemble: runs of one kind of training."""

    time: Float[np.ndarray, " step"]
    """Of snapshots: steps times the rate, except with AdamW, where it is steps."""
    strengths: Float[np.ndarray, "run step mode"]
    loss: Float[np.ndarray, "run step"]
    """As recorded."""
    measured: Float[np.ndarray, "run mode"]
    """When each principal direction has a strength of 1/2; infinite if it never has."""
    predicted: Float[np.ndarray, "run mode"]
    """The same by the closed form for the gradient flow of the linear model."""
    eigenvalues: Float[np.ndarray, " mode"]
    losses: Float[np.ndarray, " rank"]
    """Of the best linear solution of each rank."""

    @property
    def in_order(self) -> Bool[np.ndarray, " run"]:
        """Which runs learn all directions, in falling order of their eigenvalues."""
        return np.asarray(np.isfinite(self.measured).all(1) & (np.diff(self.measured, axis=1) > 0).all(1))

    @property
    def error(self) -> Float[np.ndarray, " run"]:
        """Mean |ln (measured/predicted)| of each run that has learned all directions."""
        learned = np.isfinite(self.measured).all(1)
        return np.abs(np.log(self.measured[learned] / self.predicted[learned])).mean(1)

    def error_permuted(self) -> float:
        """The null of `error`: the predictions with the directions in every other order, mean over orders and runs."""
        learned = np.isfinite(self.measured).all(1)
        given, found = np.log(self.predicted[learned]), np.log(self.measured[learned])
        orders = [list(each) for each in itertools.permutations(range(found.shape[1]))][1:]
        return float(np.mean([np.abs(found - given[:, order]).mean() for order in orders]))

    def rests(self) -> Float[np.ndarray, " run"]:
        """How far, mean over ranks, the loss is from the linear optimum's between two escapes: |ln (loss/optimum)|.

        Where it falls most slowly between the escape of one direction and of the next; of the runs in order.
        """
        found = []
        for run in np.flatnonzero(self.in_order):
            fall = -np.diff(self.loss[run]) / np.diff(self.time)
            apart = []
            for rank, (here, there) in enumerate(itertools.pairwise(self.measured[run]), 1):
                between = np.flatnonzero((self.time[:-1] >= here) & (self.time[1:] <= there))
                if len(between):
                    at = between[np.argmin(fall[between])]
                    apart.append(abs(math.log(self.loss[run, at] / self.losses[rank])))
            if apart:
                found.append(np.mean(apart))
        return np.array(found, float)


def chance(modes: int) -> float:
    """The probability that a random order is the predicted one."""
    return 1 / math.factorial(modes)


def order(run: xr.Dataset, spec: Spec) -> Order:
    """The escapes of one ensemble, one direction for each set."""
    from tegum.analysis.escapes import escape_times, mode_strengths, predicted_escapes
    from tegum.analysis.pca import linear_optimum
    from tegum.data import schema

    kept = run.isel(seed=np.flatnonzero(np.isin(run["result"].values, schema.WHOLE)))
    modes = len(spec.features.sets)
    weights = kept["weights"].values
    strengths = mode_strengths(weights, spec.features, modes)
    if "time" in kept.coords:
        time = kept["time"].values.reshape(-1, kept.sizes["step"])[0]
    else:
        rate = spec.training.rate if spec.training.optimiser == "sgd" else 1.0  # pyright: ignore[reportAttributeAccessIssue]
        time = kept["step"].values * rate
    optimum = linear_optimum(spec.features, spec.hidden)
    return Order(
        time=time.astype(float),
        strengths=strengths,
        loss=kept["loss"].values.astype(float),
        measured=escape_times(strengths, time.astype(float)),
        predicted=predicted_escapes(weights[:, 0], spec.features, modes),
        eigenvalues=optimum.eigenvalues[:modes],
        losses=optimum.losses,
    )
