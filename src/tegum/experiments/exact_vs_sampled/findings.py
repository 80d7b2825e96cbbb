"""What the experiment `exact-vs-sampled` finds: plateaus of noiseless twins, and the critical point near each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Float

from tegum.solutions.searches import searched

if TYPE_CHECKING:
    import xarray as xr

    from tegum.analysis.dynamics.plateaus import Plateau
    from tegum.analysis.landscape.critical_points import CriticalPoint

SYSTEMS: Mapping[str, str] = {
    "sets": "two correlated sets of three, m = 3",
    "independent": "six independent features, m = 3",
}
"""A description of each system, by the first part of the names of its trainings."""

RELATIVE_REACH = 0.1
"""A critical point is near a plateau if within this fraction of the length of the final parameters."""

POINT_TOLERANCE = 1e-8
"""The largest norm of the gradient at a critical point."""

LOSS_ACCURACY = 1e-6
"""The accuracy of the twins' loss, a sum over features, below which losses are clipped to this value."""


@final
@dataclass(frozen=True, eq=False)
class TwinPlateau:
    """A plateau of a twin, with the critical point found near it."""

    seed: int
    plateau: Plateau
    point: CriticalPoint
    near: bool
    """Whether the critical point is near and, if the plateau is escaped, the loss falls from it."""
    fast_is_near: bool | None
    """The null: whether the same search, from where the loss falls fastest afterwards, ends at a saddle nearby."""

    @property
    def label(self) -> str:
        """The label in the figure: the index of the saddle, "min" for a minimum, or a question mark."""
        if not self.near:
            return "?"
        if self.point.index is None:
            return f"≥ {max(1, self.point.negative)}" if self.point.unstable else "?"
        return str(self.point.index) if self.point.index else "min"


@final
@dataclass(frozen=True, eq=False)
class TwinnedRuns:
    """One system, with the runs that trained to their end in both ways."""

    name: str
    seeds: tuple[int, ...]
    steps: np.ndarray
    sampled: Float[np.ndarray, "run step"]
    """The exact loss of the sampled runs."""
    twin: Float[np.ndarray, "run step"]
    """The exact loss of their twins."""
    seen: tuple[TwinPlateau, ...]

    def of(self, seed: int) -> list[TwinPlateau]:
        """The plateaus of one run."""
        return [each for each in self.seen if each.seed == seed]

    @property
    def drawn(self) -> int:
        """The position of the run to draw: the one with the most escaped plateaus at saddles of known index."""
        decided = [
            sum(each.near and each.plateau.escaped and each.point.index is not None for each in self.of(seed))
            for seed in self.seeds
        ]
        return int(np.argmax(decided))


def find(runs: Mapping[str, xr.Dataset]) -> tuple[TwinnedRuns, ...]:
    """The findings of each system in which some run trained to its end in both ways."""
    twinned = [_twinned(name, runs[f"{name}-sampled"], runs[f"{name}-exact"]) for name in SYSTEMS]
    return tuple(each for each in twinned if each.seeds)


def _twinned(name: str, sampled: xr.Dataset, exact: xr.Dataset) -> TwinnedRuns:
    from tegum.analysis.runs import completed
    from tegum.training.exact_losses import population_loss_along

    kept = np.flatnonzero(completed(sampled) & completed(exact))
    # Log-spaced snapshots begin at step 0, which a log axis cannot show.
    later = slice(1, None)
    sampled, exact = sampled.isel(seed=kept, step=later), exact.isel(seed=kept, step=later)
    steps = exact["step"].values
    return TwinnedRuns(
        name,
        tuple(exact["seed"].values.tolist()),
        steps,
        np.maximum(population_loss_along(sampled).values, LOSS_ACCURACY),
        np.maximum(exact["loss"].values, LOSS_ACCURACY),
        tuple(_plateaus(exact)),
    )


def _plateaus(twins: xr.Dataset) -> list[TwinPlateau]:
    from tegum.analysis.dynamics.plateaus import find_plateaus
    from tegum.analysis.landscape.critical_points import critical_point

    def look(run: xr.Dataset, plateau: Plateau, reach: float) -> TwinPlateau:
        """Where Newton's method leads from a plateau, and from where the loss falls fastest afterwards."""
        point = critical_point(run.isel(step=plateau.slowest), tol=POINT_TOLERANCE, reach=reach)
        close = point.converged and point.moved <= reach
        near = close and (point.unstable or not plateau.escaped)
        fast_is_near = None
        if plateau.fastest is not None:
            fast = critical_point(run.isel(step=plateau.fastest), tol=POINT_TOLERANCE, reach=reach)
            fast_is_near = fast.converged and fast.moved <= reach and fast.unstable
        return TwinPlateau(int(run["seed"]), plateau, point, near, fast_is_near)

    calls = []
    for run in (twins.isel(seed=at) for at in range(twins.sizes["seed"])):
        end = run.isel(step=-1)
        reach = RELATIVE_REACH * float(np.sqrt((end["weights"] ** 2).sum() + (end["bias"] ** 2).sum()))
        plateaus = find_plateaus(np.maximum(run["loss"].values, LOSS_ACCURACY), run["step"].values)
        calls += [partial(look, run, plateau, reach) for plateau in plateaus]
    return searched(calls, "searching for saddles", "plateaus")
