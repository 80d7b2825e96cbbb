"""The first plateau of training from small starts: at a linear optimum, and of which rank, or elsewhere.

From the origin the loss of a model falls to a first plateau. The loss alone does not show what that is: sets that share
an axis with opposite signs cost a ReLU model hardly more than a linear optimum. A plateau therefore counts as the
linear optimum of a rank only if the loss of its weights in the linear model is at that level, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Bool, Float, Int

from tegum.analysis.linear.losses import (
    AT_LEVEL,
    OTHER_LEVELS,
    at_level,
    linear_losses,
    runs_with_losses,
)
from tegum.core.arguments import refusing
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.model import Activation

if TYPE_CHECKING:
    import xarray as xr

    from tegum.analysis.dynamics.plateaus import Plateau

INSIDE = 0.95
"""In a linear solution, at least this share of |W|² lies in the principal subspace. (The condition is weak: from a
small start the principal directions of the sets grow first, in whatever arrangement.)"""

PRESENT, OPPOSITE = 0.1, -0.5
"""Two sets are antipodal if the strength |vᵀ W|² of each is at least the first and the cosine between the rows vᵀ W is
below the second."""

PLATEAU_KINDS: Mapping[str, str] = {
    "linear": "linear of full rank",
    "begun": "linear only where purest",
    "lower": "linear of lower rank",
    "antipodal": "antipodal sets",
    "other": "other",
    "none": "none",
}
"""The kinds of first plateaus, in the order in which they are checked."""


@final
@dataclass(frozen=True, eq=False)
class FirstPlateaus:
    """The first plateaus of the runs of one Spec that trained to their end."""

    seeds: tuple[int, ...]
    """The seeds of these runs."""
    rank: int
    """The full rank: the number of sets, or of dimensions if that is less."""
    losses: Float[np.ndarray, " rank"]
    """The losses of the best linear solutions of rank 0, 1, …, m."""
    loss: Float[np.ndarray, "run step"]
    """The population loss."""
    linear: Float[np.ndarray, "run step"]
    """The population loss of the same weights in the linear model, with the best bias."""
    inside: Float[np.ndarray, "run step"]
    """The share of |W|² in the principal subspace."""
    opposed: Float[np.ndarray, "run step"]
    """The least cosine between the rows vᵀ W of two sets of sufficient strength; 1 if there are no two."""
    first: tuple[Plateau | None, ...]
    """The first plateau of each run after the origin, or None."""
    purest: tuple[int, ...]
    """The position of the snapshot on the first plateau at which `linear` is least; −1 without a plateau."""

    @property
    def ranks(self) -> Int[np.ndarray, " run"]:
        """The rank of the linear optimum at which the plateau is slowest; −1 if it is at none, or without a plateau."""
        return self._ranks([-1 if each is None else each.slowest for each in self.first])

    @property
    def purest_ranks(self) -> Int[np.ndarray, " run"]:
        """The rank of the linear optimum where the plateau is purest; −1 if it is at none, or without a plateau."""
        return self._ranks(self.purest)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each run's first plateau: a key of `PLATEAU_KINDS`."""
        found = []
        for run, (plateau, rank, begun) in enumerate(zip(self.first, self.ranks, self.purest_ranks, strict=True)):
            if plateau is None:
                found.append("none")
            elif rank == self.rank:
                found.append("linear")
            elif begun == self.rank:
                found.append("begun")
            elif 0 < rank < self.rank:
                found.append("lower")
            else:
                found.append("antipodal" if self.opposed[run, plateau.slowest] < OPPOSITE else "other")
        return tuple(found)

    def chance(self, purest: bool = False) -> float:
        """The null: the share of runs with a first plateau at the level of full rank times a factor, over factors.

        NaN without runs.
        """
        if not self.first:
            return np.nan
        places = self.purest if purest else [-1 if each is None else each.slowest for each in self.first]
        runs = [number for number, at in enumerate(places) if at >= 0]
        chosen = [places[number] for number in runs]
        loss, linear, inside = (each[runs, chosen] for each in (self.loss, self.linear, self.inside))
        hits = [at_level(loss, linear, shift * self.losses[self.rank]) & (inside >= INSIDE) for shift in OTHER_LEVELS]
        return float(np.mean([each.sum() for each in hits]) / len(self.first))

    @property
    def passing(self) -> Float[np.ndarray, " run"]:
        """The share of |W|² in the principal subspace when the loss first reaches that of the best linear solution."""
        below = self.loss <= self.losses[self.rank] * (1 + AT_LEVEL)
        return np.array([row[np.argmax(so)] for row, so in zip(self.inside, below, strict=True) if so.any()], float)

    def _ranks(self, places: Sequence[int]) -> Int[np.ndarray, " run"]:
        found = [
            -1 if at < 0 else linear_rank(self.loss[run, at], self.linear[run, at], self.inside[run, at], self.losses)
            for run, at in enumerate(places)
        ]
        return np.array(found, int)


def first_plateau(
    loss: Float[np.ndarray, " step"], steps: Int[np.ndarray, " step"], origin: float, one: float
) -> Plateau | None:
    """Find the first plateau after the origin: not that of the start, with a loss closer to that of rank 1, or below.

    Args:
        loss: the loss at each snapshot, positive.
        steps: the steps of the snapshots.
        origin: the loss of the best constant output.
        one: the loss of the best linear solution of rank 1.

    """
    from tegum.analysis.dynamics.plateaus import find_plateaus

    found = find_plateaus(loss, steps)
    # Where there is a plateau, there is a snapshot from step 1 on.
    after = steps[steps >= 1]
    return next((each for each in found if each.start > after[0] and each.loss < (origin + one) / 2), None)


def linear_rank(loss: float, linear: float, inside: float, losses: Float[np.ndarray, " rank"]) -> int:
    """The rank, at least 1, of the linear optimum that a model is at; −1 if it is at none.

    Args:
        loss: the loss of the model; the level nearest to it determines the rank.
        linear: the loss of its weights in the linear model, which must be at that level as well.
        inside: the share of |W|² in the principal subspace.
        losses: the losses of the best linear solutions of rank 0, 1, ….

    """
    # An optimum that loses nothing is infinitely far away.
    with np.errstate(divide="ignore"):
        nearest = int(np.argmin(np.abs(np.log(loss / losses))))
    there = bool(at_level(np.array([loss]), np.array([linear]), float(losses[nearest]))[0])
    return nearest if nearest and there and inside >= INSIDE else -1


def energy_inside(weights: Float[np.ndarray, "*run n m"], axes: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "*run"]:
    """The share of |W|² that lies in the span of orthonormal axes; a random W has k/n on average."""
    total = np.square(weights).sum((-2, -1))
    return np.divide(np.square(axes.T @ weights).sum((-2, -1)), total, out=np.zeros_like(total), where=total > 0)


def least_cosine(rows: Float[np.ndarray, "*run k m"]) -> Float[np.ndarray, "*run"]:
    """The least cosine between two rows with a square length of at least `PRESENT`; 1 if there are no two."""
    squares = np.square(rows).sum(-1)
    there = squares >= PRESENT
    units = rows / np.sqrt(np.where(there, squares, 1.0))[..., None]
    pairs = there[..., :, None] & there[..., None, :] & ~np.eye(rows.shape[-2], dtype=bool)
    return np.asarray(np.where(pairs, units @ np.swapaxes(units, -1, -2), 1.0).min((-2, -1)))


def on(runs: FirstPlateaus, *kinds: str) -> Bool[np.ndarray, " run"]:
    """Whether each run has a first plateau of one of these kinds."""
    return np.isin(runs.kinds, kinds)


@refusing
def first_plateaus(
    run: xr.Dataset, features: FeatureDistribution, activation: Activation = "relu", *, tol: float = 1e-5
) -> FirstPlateaus:
    """Find and classify the first plateau of each run of one Spec.

    From a small start, linear networks rest at optima of rising rank (Saxe, McClelland & Ganguli 2014). Whether a
    model that can have superposition (Elhage et al. 2022) comes to one of them first, is told by its first plateau
    (`find_plateaus`) after that of the origin. It is at such an optimum if the loss of the model, and that of its
    weights in the linear model, differ from the optimum's by at most 5 %, and if 95 % of |W|² lie in the principal
    subspace.

    Args:
        run: a trajectory of one Spec, dims (seed, step, …); runs that did not complete training are left out.
        features: the feature distribution that was trained on. One principal direction of each set must be much
            stronger than its others.
        activation: the activation of the trained model.
        tol: the largest error of a population loss, which is computed unless the run is a flow and has recorded it;
            smaller losses count as `tol`.

    Returns:
        The first plateau of each run, or None; `ranks` and `kinds` tell at which optimum it is, if at any. The full
        rank is the number of sets, or of dimensions if that is less.

    Raises:
        ValueError: `run` is not a trajectory of one Spec, a completed run is not finite, a flow has a loss below
            0, `features` has another number of features, no variance or several leading directions in one set,
            there is no activation of that name, `tol` is not a positive number, or there is no population loss to
            that accuracy (`population_loss`).

    Example:
        Of two features the rarer is learned eight times as slowly. In between the loss is its variance, p/3 − p²/4.

        >>> import tegum as tg
        >>> import numpy as np
        >>> spec = tg.Spec(
        ...     features=[tg.Independent(1, 0.3), tg.Independent(1, 0.03)],
        ...     hidden=2,
        ...     activation="linear",
        ...     start=0.01 * np.eye(2),
        ...     training=tg.Exact(steps=1500, optimiser="gd", rate=0.1),
        ... )
        >>> found = tg.first_plateaus(tg.train(spec), spec.features, "linear")
        >>> found.ranks.tolist(), round(found.first[0].loss, 4), round(0.03 / 3 - 0.03**2 / 4, 4)
        ([1], 0.0098, 0.0098)

    """
    from tegum.analysis.linear.pca import axes_of_sets, linear_optimum

    kept, loss = runs_with_losses("first_plateaus", run, features, activation, tol)
    # The principal direction of each set. With fewer dimensions than sets, any selection of them is as good.
    axes, sets = axes_of_sets("first_plateaus", features), len(features.sets)
    weights, steps = kept["weights"].values.astype(float), run["step"].values
    losses, linear = linear_optimum(features, weights.shape[-1]).losses, linear_losses(weights, features)
    first = [first_plateau(row, steps, losses[0], losses[1]) for row in loss]
    purest = []
    for row, plateau in zip(linear, first, strict=True):
        if plateau is None:
            purest.append(-1)
            continue
        places = np.flatnonzero((steps >= plateau.start) & (steps <= plateau.end))
        purest.append(int(places[np.argmin(row[places])]))
    return FirstPlateaus(
        seeds=tuple(kept["seed"].values.tolist()),
        rank=min(sets, weights.shape[-1]),
        losses=losses,
        loss=loss,
        linear=linear,
        inside=energy_inside(weights, axes),
        opposed=least_cosine(axes.T @ weights),
        first=tuple(first),
        purest=tuple(purest),
    )
