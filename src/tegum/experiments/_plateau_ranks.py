"""Whether training from small starts rests on the best linear solution first: plateaus and principal subspaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Bool, Float, Int

if TYPE_CHECKING:
    import xarray as xr

    from tegum.analysis.plateaus import Plateau
    from tegum.training.spec import Spec

SAME = 0.05
"""A plateau's loss is that of a linear optimum if it differs by at most this part."""

INSIDE = 0.95
"""At least this share of |W|² lies in the principal subspace of a model on a linear solution."""

ACCURACY = 1e-6
"""Of population losses."""


@final
@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of one start scale that trained to their end."""

    scale: float
    """Standard deviation of the start; NaN for Xavier's."""
    seeds: tuple[int, ...]
    loss: Float[np.ndarray, "run step"]
    """Population loss."""
    inside: Float[np.ndarray, "run step"]
    """Share of |W|² in the principal subspace."""
    first: tuple[Plateau | None, ...]
    """Each run's first plateau after the origin."""
    ranks: Int[np.ndarray, " run"]
    """Of the linear optimum there; −1 where it is none, or where there is no such plateau."""

    @property
    def passing(self) -> Float[np.ndarray, " run"]:
        """The share of |W|² in the principal subspace when the loss first is that of the best linear solution."""
        return np.array([row[at] for row, at in zip(self.inside, self.passed, strict=True) if at >= 0])

    passed: tuple[int, ...]
    """The snapshot after which the loss is at most that of the best linear solution; −1 if none is."""


@final
@dataclass(frozen=True, eq=False)
class System:
    """Correlated sets, all alike, in so many hidden dimensions, from starts of several scales."""

    sets: int
    hidden: int
    steps: Int[np.ndarray, " step"]
    losses: Float[np.ndarray, " rank"]
    """Of the best linear solution of rank 0, 1, …, m."""
    runs: tuple[Runs, ...]
    """The smallest scale first and Xavier's last."""

    @property
    def name(self) -> str:
        """For measures."""
        return f"{self.sets} sets, m = {self.hidden}"

    @property
    def room(self) -> bool:
        """Whether each set can have a direction of its own."""
        return self.hidden >= self.sets

    def on_rank(self, runs: Runs) -> Bool[np.ndarray, " run"]:
        """Which runs have the linear optimum with a direction for each set as their first plateau."""
        return runs.ranks == min(self.sets, self.hidden)


def system(run: xr.Dataset, specs: Sequence[Spec]) -> System:
    """First plateaus of one system.

    Args:
        run: a trajectory with the dim `spec`.
        specs: which differ in `initial_scale` alone.

    """
    from tegum.analysis.pca import linear_optimum

    first = specs[0]
    losses = linear_optimum(first.features, first.hidden).losses
    found = [_runs(run.isel(spec=number), spec, losses) for number, spec in enumerate(specs)]
    found = sorted(found, key=lambda each: (np.isnan(each.scale), each.scale))
    return System(len(first.features.sets), first.hidden, run["step"].values, losses, tuple(found))


def first_plateau(
    loss: Float[np.ndarray, " step"], steps: Int[np.ndarray, " step"], origin: float, one: float
) -> Plateau | None:
    """The first plateau after the origin: not the start's own, and with a loss nearer to that of rank 1, or below it.

    Args:
        loss: of each snapshot, positive.
        steps: of each snapshot.
        origin: the loss of the best constant output.
        one: that of the best linear solution of rank 1.

    """
    from tegum.analysis.plateaus import find_plateaus

    start = int(steps[steps >= 1][0])
    found = find_plateaus(loss, steps)
    return next((each for each in found if each.start > start and each.loss < (origin + one) / 2), None)


def linear_rank(loss: float, inside: float, losses: Float[np.ndarray, " rank"]) -> int:
    """The rank from 1 on of the linear optimum that a plateau is at: by its loss, and by where W lies; −1 if none."""
    nearest = int(np.argmin(np.abs(np.log(loss / losses))))
    return nearest if nearest and inside >= INSIDE and abs(loss / losses[nearest] - 1) <= SAME else -1


def energy_inside(weights: Float[np.ndarray, "*run n m"], axes: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "*run"]:
    """The share of |W|² that lies in the span of orthonormal axes; a random W has k/n on average."""
    total = np.square(weights).sum((-2, -1))
    return np.divide(np.square(axes.T @ weights).sum((-2, -1)), total, out=np.zeros_like(total), where=total > 0)


def _runs(run: xr.Dataset, spec: Spec, losses: Float[np.ndarray, " rank"]) -> Runs:
    from tegum.analysis.pca import principal_axes
    from tegum.core.losses import population_loss
    from tegum.data import schema

    kept = run.isel(seed=np.flatnonzero(np.isin(run["result"].values, schema.WHOLE)))
    weights, bias, steps = kept["weights"].values.astype(float), kept["bias"].values.astype(float), run["step"].values
    loss = population_loss(weights, bias, spec.features, tol=ACCURACY, activation=spec.activation)
    loss = np.maximum(loss, ACCURACY)
    sets = len(spec.features.sets)
    # The principal direction of each set: any of them are as good where there is room for fewer.
    inside = energy_inside(weights, principal_axes(spec.features)[1][:, :sets])
    first = [first_plateau(row, steps, losses[0], losses[1]) for row in loss]
    ranks = [
        -1 if each is None else linear_rank(each.loss, float(inside[number, each.slowest]), losses)
        for number, each in enumerate(first)
    ]
    below = loss <= losses[min(sets, spec.hidden)] * (1 + SAME)
    passed = np.where(below.any(1), np.argmax(below, 1), -1)
    scale = np.nan if spec.initial_scale is None else spec.initial_scale
    seeds = tuple(kept["seed"].values.tolist())
    return Runs(scale, seeds, loss, inside, tuple(first), np.array(ranks, int), tuple(passed.tolist()))
