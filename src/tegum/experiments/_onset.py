"""When superposition begins: the first step with more represented features than hidden dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Bool, Float, Int

if TYPE_CHECKING:
    import xarray as xr

    from tegum.training.spec import Spec

STRONG = 0.5**0.5
"""A feature is represented if |W_i|² is at least 1/2: its own output then carries half of it or more."""

HALF, MOST = 0.5, 0.9
"""Parts of the fall of the loss."""


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
    """|W|²_F: no W Wᵀ that projects has more than m."""
    disturbed: Float[np.ndarray, "run step"]
    """Interference Σ_j≠i (Ŵ_i · W_j)², mean over features."""
    fallen: Float[np.ndarray, "run step"]
    """The part done of the fall of the loss from the best constant output to the end."""

    @property
    def full(self) -> Float[np.ndarray, " run"]:
        """The step from which on m features are represented."""
        return self._lasting(self.count >= self.hidden)

    @property
    def more(self) -> Float[np.ndarray, " run"]:
        """The step from which on more than m are: superposition."""
        return self._lasting(self.count > self.hidden)

    @property
    def excess(self) -> Float[np.ndarray, " run"]:
        """The step from which on |W|²_F is above m by a tenth."""
        return self._lasting(self.total > 1.1 * self.hidden)

    def done(self, part: float) -> Float[np.ndarray, " run"]:
        """The step from which on that part of the fall is done."""
        return self._lasting(self.fallen >= part)

    def at(self, values: Float[np.ndarray, "run step"], when: Float[np.ndarray, " run"]) -> Float[np.ndarray, " some"]:
        """What the values are at each run's step, of the runs in which it comes to that."""
        runs = np.flatnonzero(np.isfinite(when))
        return values[runs, np.searchsorted(self.steps, when[runs])]

    def _lasting(self, is_so: Bool[np.ndarray, "run step"]) -> Float[np.ndarray, " run"]:
        """The first step from which on it stays so: rows of a Xavier start are long, and shrink at first."""
        lasting = np.logical_and.accumulate(is_so[:, ::-1], 1)[:, ::-1]
        return np.where(lasting.any(1), self.steps[np.argmax(lasting, 1)], np.inf)


def onsets(run: xr.Dataset, specs: Sequence[Spec]) -> list[Onset]:
    """Those of each Spec of a trajectory with the dim `spec`."""
    from tegum.analysis.geometry import represented, total_interference
    from tegum.data import schema

    found = []
    for number, spec in enumerate(specs):
        here = run.isel(spec=number)
        here = here.isel(seed=np.flatnonzero(np.isin(here["result"].values, schema.WHOLE)))
        weights, loss = here["weights"].values, here["loss"].values.astype(float)
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
            )
        )
    return found
