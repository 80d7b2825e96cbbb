"""What the experiment `tradeoff` finds: a phase map of each plane, and what happens without correlation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Float

from tegum.experiments.tradeoff.phase_map import PhaseMap, phase_map
from tegum.solutions.plane import Place, SolutionShape
from tegum.solutions.solution import density_of, lowest
from tegum.training.dataset import specs_of

if TYPE_CHECKING:
    import xarray as xr

SPARSE_UP_TO, CORRELATED_FROM = 0.5, 0.5
"""Features count as sparse up to the first, a density, and as correlated from the second, a correlation strength."""

NO_FALL = 1e-6
"""A fall of the relative loss between two grid points counts only if it exceeds this."""

FRESH_STARTS_AT_MOST = 64
"""The number of fresh starts at the middle of each boundary and at each triple point, unless twice the number of starts
per grid point is less."""


@final
@dataclass(frozen=True)
class LossFalls:
    """How often the relative loss falls although the claim says that it rises."""

    fallen: int
    steps: int
    largest: float
    """The largest fall in one step of the grid."""
    clear: float | None
    """The density from which it never falls; None if it still falls at the highest density."""


@final
@dataclass(frozen=True, eq=False)
class TradeoffPlanes:
    """The plane of the claim, the full form's other planes, and the null."""

    main: PhaseMap
    """The plane of three pairs in two hidden dimensions."""
    others: Mapping[str, PhaseMap]
    """The planes of other sizes of sets and hidden dimensions, by names such as "3-in-2"."""
    null: tuple[tuple[float, bool], ...]
    """For each density, whether two features share a direction in the best solution without correlation."""
    along_density: LossFalls
    """How often the relative loss falls as density rises."""
    along_strength: LossFalls
    """How often the relative loss falls as correlation strength rises."""


def find(runs: Mapping[str, xr.Dataset]) -> TradeoffPlanes:
    """Find the phase map of each plane, in the order of the trainings, and the null."""
    maps = {}
    for name, run in runs.items():
        if name != "null":
            specs = specs_of(run)
            many = specs[0].seeds >= FRESH_STARTS_AT_MOST // 2
            fresh = min(FRESH_STARTS_AT_MOST, 2 * specs[0].seeds)
            maps[name] = phase_map(run, specs, fresh=fresh, orders=many)
    main = maps.pop("run")
    null = tuple(_null(runs["null"]))
    return TradeoffPlanes(main, maps, null, falls(main, 0), falls(main, 1))


def mixture(shape: SolutionShape) -> bool:
    """Whether a solution is neither superposition alone nor PCA."""
    return shape.collapsed > 0 and not shape.pca


def points_of(found: PhaseMap) -> list[tuple[Place, SolutionShape]]:
    """Every grid point with its best solution."""
    rows = zip(found.map.plane.places, found.map.shapes, strict=True)
    return [each for row in rows for each in zip(*row, strict=True)]


def sparse_and_correlated(found: PhaseMap) -> list[SolutionShape]:
    """The best solutions at grid points that are both sparse and correlated."""
    return [
        shape
        for place, shape in points_of(found)
        if place.density <= SPARSE_UP_TO and place.strength >= CORRELATED_FROM
    ]


def falls(found: PhaseMap, axis: int) -> LossFalls:
    """How often the relative loss falls from one grid point to the next in density (0) or strength (1)."""
    change = np.diff(found.ratios, axis=axis)
    fallen = change < -NO_FALL
    densities = found.map.plane.densities
    bad = [k for k in range(len(fallen)) if fallen[k].any()]
    clear = densities[0] if not bad else densities[bad[-1] + 1] if bad[-1] + 1 < len(densities) else None
    return LossFalls(int(fallen.sum()), change.size, float(max(-change.min(), 0.0)), clear)


def _null(run: xr.Dataset) -> list[tuple[float, bool]]:
    """For each density, whether two features share a direction in the best solution without correlation."""
    specs = specs_of(run)
    best = lowest(run, [density_of(spec) for spec in specs])
    return [(each.value, _shared(each.weights)) for each in best]


def _shared(weights: Float[np.ndarray, "feature hidden"]) -> bool:
    """Whether any two features are collapsed, of whichever sets: without correlation sets mean nothing."""
    from tegum.analysis.sets.collapse import ABSENT_NORM, collapsed_count
    from tegum.core.features.distribution import FeatureDistribution
    from tegum.core.features.sets import Correlated

    norms = np.linalg.norm(weights, axis=1)
    two = FeatureDistribution([Correlated(2, 0.5)])
    present = np.flatnonzero(norms > ABSENT_NORM * norms.max())
    return any(collapsed_count(weights[[i, j]], two) for k, i in enumerate(present) for j in present[k + 1 :])
