"""When superposition begins in training: by the number of represented features, and by |W|²_F.

A model is in superposition where more features are represented than there are dimensions. No linear model comes to
that: where W Wᵀ projects, |W|²_F is m at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from tegum.analysis.linear.losses import own_losses
from tegum.analysis.runs import completed_runs
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.model import Activation

if TYPE_CHECKING:
    import xarray as xr

REPRESENTED_NORM = 0.5**0.5
"""A feature is represented if |W_i|² is at least 1/2: its own output then carries half of it or more."""

SURPLUS = 1.1
"""|W|²_F over m from which on it is superposition: no W Wᵀ that projects has more than m."""

Definition = Literal["features", "norm"]

DEFINITIONS: Mapping[Definition, str] = {"features": "more than m represented features", "norm": "|W|²_F > 1.1 m"}
"""Of superposition."""


@final
@dataclass(frozen=True, eq=False)
class SuperpositionOnset:
    """The runs of one Spec that came to their end; steps are infinite where it never comes to that."""

    hidden: int
    steps: Int[np.ndarray, " step"]
    count: Int[np.ndarray, "run step"]
    """Represented features."""
    total: Float[np.ndarray, "run step"]
    """|W|²_F."""
    disturbed: Float[np.ndarray, "run step"]
    """Interference Σ_j≠i (Ŵ_i · W_j)², mean over features."""
    fallen: Float[np.ndarray, "run step"]
    """The part done of the fall of the loss from the best constant output to the end."""
    features: int

    @property
    def linear_interference(self) -> float:
        """That of a best linear model: where W Wᵀ projects, a feature's is 1 − |W_i|², and their mean 1 − m/n."""
        return 1 - self.hidden / self.features

    def begins(self, by: Definition) -> Float[np.ndarray, " run"]:
        """The step from which on there is superposition, by one of `DEFINITIONS`."""
        return self.represented(self.hidden + 1) if by == "features" else self.surplus

    def represented(self, count: int) -> Float[np.ndarray, " run"]:
        """The step from which on so many features are represented at least."""
        return self._lasting(self.count >= count)

    @property
    def surplus(self) -> Float[np.ndarray, " run"]:
        """The step from which on |W|²_F is above `SURPLUS` m."""
        return self._lasting(self.total > SURPLUS * self.hidden)

    def done(self, part: float) -> Float[np.ndarray, " run"]:
        """The step from which on that part of the fall is done."""
        return self._lasting(self.fallen >= part)

    def at(self, values: Num[np.ndarray, "run step"], when: Float[np.ndarray, " run"]) -> Num[np.ndarray, " some"]:
        """What the values are at each run's step, of the runs in which it comes to that."""
        runs = np.flatnonzero(np.isfinite(when))
        return values[runs, np.searchsorted(self.steps, when[runs])]

    def _lasting(self, is_so: Bool[np.ndarray, "run step"]) -> Float[np.ndarray, " run"]:
        """The first step from which on it stays so: rows of a Xavier start are long, and shrink at first."""
        lasting = np.logical_and.accumulate(is_so[:, ::-1], 1)[:, ::-1]
        return np.where(lasting.any(1), self.steps[np.argmax(lasting, 1)], np.inf)


def superposition_onset(
    run: xr.Dataset, features: FeatureDistribution, activation: Activation = "relu", tol: float = 1e-4
) -> SuperpositionOnset:
    """When the runs of one Spec come to superposition, and how much of the fall of the loss is done by then.

    Args:
        run: a trajectory, dims (seed, step).
        features: the feature distribution that was trained on.
        activation: of the model that was trained.
        tol: the largest error of a population loss.

    """
    from tegum.analysis.geometry.measures import represented, total_interference

    kept = completed_runs(run)
    weights, loss = kept["weights"].values, own_losses(kept, features, activation, tol)
    variance = float((features.importance * features.covariance().diagonal()).sum())
    fall = variance - loss[:, -1:]
    return SuperpositionOnset(
        hidden=weights.shape[-1],
        steps=kept["step"].values,
        count=represented(weights, threshold=REPRESENTED_NORM, scale=1.0).sum(-1),
        total=np.square(weights.astype(float)).sum((-2, -1)),
        disturbed=total_interference(weights).mean(-1),
        fallen=(variance - loss) / np.where(fall > 0, fall, np.nan),
        features=features.n,
    )
