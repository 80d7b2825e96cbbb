"""The onset of superposition in training, by the number of represented features and by |W|²_F.

A model is in superposition if it represents more features than it has dimensions. No linear optimum does: if W Wᵀ is a
projector, |W|²_F is at most m.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from tegum.analysis.linear.losses import runs_with_losses
from tegum.core.arguments import refusing
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.model import Activation
from tegum.core.words import nearest

if TYPE_CHECKING:
    import xarray as xr

REPRESENTED_NORM = 0.5**0.5
"""A feature is represented if |W_i| is at least this, so that its output carries at least half of its value."""

SURPLUS = 1.1
"""Superposition begins where |W|²_F exceeds this many times m; if W Wᵀ is a projector, |W|²_F is at most m."""

Definition = Literal["features", "norm"]

DEFINITIONS: Mapping[Definition, str] = {"features": "more than m represented features", "norm": "|W|²_F > 1.1 m"}
"""The two definitions of superposition, in words."""


@final
@dataclass(frozen=True, eq=False)
class SuperpositionOnset:
    """The state of the runs of one Spec that trained to their end; steps of what never happens are infinite."""

    hidden: int
    """The number of hidden dimensions m."""
    steps: Int[np.ndarray, " step"]
    """The steps of the snapshots."""
    count: Int[np.ndarray, "run step"]
    """The number of represented features."""
    total: Float[np.ndarray, "run step"]
    """The squared norm |W|²_F at each snapshot."""
    disturbed: Float[np.ndarray, "run step"]
    """The interference Σ_j≠i (Ŵ_i · W_j)², mean over features."""
    fallen: Float[np.ndarray, "run step"]
    """The completed fraction of the fall of the loss, from the best constant output to the end; NaN without a fall."""
    features: int
    """The number of features n."""

    @property
    def linear_interference(self) -> float:
        """The mean interference of a best linear model: 1 − |W_i|² for each feature, so 1 − m/n on average."""
        return 1 - self.hidden / self.features

    def begins(self, by: Definition) -> Float[np.ndarray, " run"]:
        """The step from which each run is in superposition, by one of two definitions.

        Args:
            by: "features" if the model is to represent more than m features, "norm" if |W|²_F is to exceed 1.1 m.

        Returns:
            Steps; infinite for a run that does not end in superposition.

        Raises:
            ValueError: there is no such definition.

        """
        if by not in DEFINITIONS:
            raise ValueError(f"begins(by={by!r}): there is no such definition; {nearest(str(by), DEFINITIONS)}")
        return self.represented(self.hidden + 1) if by == "features" else self.surplus

    def represented(self, count: int) -> Float[np.ndarray, " run"]:
        """The step from which each run represents at least `count` features."""
        return self._lasting(self.count >= count)

    @property
    def surplus(self) -> Float[np.ndarray, " run"]:
        """The step from which |W|²_F is above `SURPLUS` m in each run."""
        return self._lasting(self.total > SURPLUS * self.hidden)

    def done(self, part: float) -> Float[np.ndarray, " run"]:
        """The step from which this fraction of the fall of the loss is complete in each run."""
        return self._lasting(self.fallen >= part)

    def at(self, values: Num[np.ndarray, "run step"], when: Float[np.ndarray, " run"]) -> Num[np.ndarray, " some"]:
        """The values at a step given for each run, for the runs whose step is finite."""
        runs = np.flatnonzero(np.isfinite(when))
        return values[runs, np.searchsorted(self.steps, when[runs])]

    def _lasting(self, is_so: Bool[np.ndarray, "run step"]) -> Float[np.ndarray, " run"]:
        """The first step from which a condition lasts: rows of a Xavier start are long, and shrink at first."""
        lasting = np.logical_and.accumulate(is_so[:, ::-1], 1)[:, ::-1]
        return np.where(lasting.any(1), self.steps[np.argmax(lasting, 1)], np.inf)


@refusing
def superposition_onset(
    run: xr.Dataset, features: FeatureDistribution, activation: Activation = "relu", *, tol: float = 1e-4
) -> SuperpositionOnset:
    """Find when the runs of one Spec enter superposition, and how much of the fall of the loss is complete by then.

    Superposition is the representation of more features than there are dimensions (Elhage et al. 2022). Two
    definitions are offered, as neither is beyond doubt: the number of features with |W_i|² of at least 1/2 exceeds
    m, or |W|²_F exceeds 1.1 m, which no linear optimum does. A run is in superposition from the step from which this
    holds until its end, as the rows of a large start are long and shrink at first.

    Args:
        run: a trajectory of one Spec, dims (seed, step, …); runs that did not complete training are left out.
        features: the feature distribution that was trained on.
        activation: the activation of the trained model.
        tol: the largest error of a population loss, which is computed unless the run is a flow and has recorded it;
            smaller losses count as `tol`.

    Returns:
        The state of each run at each snapshot: numbers of represented features, |W|²_F, interference, and the
        completed fraction of the fall of the loss. `begins` gives the step at which each run enters superposition.
        Without completed runs it is empty.

    Raises:
        ValueError: `run` is not a trajectory of one Spec, a completed run is not finite, a flow has a loss below
            0, `features` has another number of features, there is no activation of that name, `tol` is not a
            positive number, or there is no population loss to that accuracy (`population_loss`).

    Example:
        In one dimension a model of zeros represents nothing, and a digon both of its features.

        >>> import tegum as tg
        >>> start = [[[0.0], [0.0]], [[1.0], [-1.0]]]
        >>> spec = tg.Spec(
        ...     features=[tg.Independent(2, 0.3)], hidden=1, start=start, training=tg.Sampled(steps=0), seeds=2
        ... )
        >>> onset = tg.superposition_onset(tg.train(spec), spec.features)
        >>> onset.count.tolist(), onset.begins("features").tolist()
        ([[0], [2]], [inf, 0.0])

    """
    from tegum.analysis.geometry.measures import represented, total_interference

    kept, loss = runs_with_losses("superposition_onset", run, features, activation, tol)
    weights = kept["weights"].values
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
