"""When superposition begins: by represented features, and by |W|²_F."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from tegum.analysis.linear.losses import own_losses
from tegum.analysis.runs import completed_runs

if TYPE_CHECKING:
    import xarray as xr

    from tegum.training.spec.spec import Spec

STRONG = 0.5**0.5
"""A feature is represented if |W_i|² is at least 1/2: its own output then carries half of it or more."""

SURPLUS = 1.1
"""|W|²_F over m from which on it is superposition: no W Wᵀ that projects has more than m."""

EARLY, LATE = 0.5, 0.9
"""Superposition is early if it begins before the first part of the loss's fall is done, late if after the second."""

ACCURACY = 1e-4
"""Of population losses."""

DEFINITIONS = {"features": "more than m represented", "norm": "|W|²_F > 1.1 m"}
"""Of superposition."""


@final
@dataclass(frozen=True, eq=False)
class Onset:
    """The runs of one density, start scale and kind of training; steps are infinite where it never comes to that."""

    density: float
    scale: float
    """NaN for Xavier's start."""
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

    def begins(self, by: str) -> Float[np.ndarray, " run"]:
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


def onsets(run: xr.Dataset, specs: Sequence[Spec]) -> list[Onset]:
    """Those of each Spec of a trajectory with the dim `spec`."""
    from tegum.analysis.geometry.measures import represented, total_interference

    found = []
    for number, spec in enumerate(specs):
        here = completed_runs(run.isel(spec=number))
        weights, loss = here["weights"].values, own_losses(here, spec.features, spec.activation, ACCURACY)
        variance = float((spec.features.importance * spec.features.covariance().diagonal()).sum())
        fall = variance - loss[:, -1:]
        found.append(
            Onset(
                density=float(spec.features.density[0]),
                scale=np.nan if spec.initial_scale is None else spec.initial_scale,
                hidden=spec.hidden,
                steps=here["step"].values,
                count=represented(weights, threshold=STRONG, scale=1.0).sum(-1),
                total=np.square(weights.astype(float)).sum((-2, -1)),
                disturbed=total_interference(weights).mean(-1),
                fallen=(variance - loss) / np.where(fall > 0, fall, np.nan),
                features=spec.features.n,
            )
        )
    return found


def when(low: float | None, high: float | None) -> str:
    """Early, late or midway, by the interval of the part of the fall that is done when superposition begins."""
    if low is None or high is None:
        return "at an unknown time"
    return "early" if high < EARLY else "late" if low > LATE else "midway"
