"""The phase map of one plane of density and correlation strength: best solutions, boundaries and their orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Float

from tegum.solutions.boundaries import boundaries
from tegum.solutions.boundary_curves import Boundaries, BoundaryCurve
from tegum.solutions.descent import KEY, rough, trained
from tegum.solutions.plane import Minimum, Place, PlaneMap, SolutionShape, map_of
from tegum.solutions.solution import SAME
from tegum.solutions.symmetry_changes import Breaking, along

if TYPE_CHECKING:
    import xarray as xr

    from tegum.analysis.landscape.critical_points import CriticalPoint
    from tegum.core.features.distribution import FeatureDistribution
    from tegum.training.spec.spec import Spec

ACROSS_BOUNDARY = 2e-3
"""The distance on each side of a boundary over which its order is determined, in sides of the plane."""

CRITICAL_POINT_TOLERANCE = 1e-6
"""The largest norm of the gradient at the critical points next to a boundary."""

ROOT_TOLERANCE = 1e-4
"""The tolerance of the root across a boundary, as a fraction of twice `ACROSS_BOUNDARY`."""


@final
@dataclass(frozen=True, eq=False)
class Border:
    """A boundary where the best solution changes abruptly, and the solutions on its two sides."""

    curve: BoundaryCurve = field(repr=False)
    shapes: tuple[SolutionShape, SolutionShape]
    """The shapes of the two solutions in the middle of the curve, the one at lower density first."""
    kind: str
    """ "first order" or "continuous", as `tegum.phase_boundary` finds in the middle; empty where it found no root."""
    off: float
    """The distance from that root to the curve, plus its error."""
    confirmed: bool
    """Whether fresh starts at the middle of the curve find nothing lower."""

    @property
    def name(self) -> str:
        """The labels of both shapes, as in "1/6/4 | 2/6/8"."""
        return " | ".join(each.label for each in self.shapes)


@final
@dataclass(frozen=True, eq=False)
class PhaseMap:
    """The best solutions on one plane, and everything about where they change."""

    map: PlaneMap = field(repr=False)
    found: Boundaries = field(repr=False)
    borders: tuple[Border, ...]
    corners: tuple[str, ...]
    """For each triple point, the labels of its three solutions."""
    breakings: tuple[Breaking, ...]
    """The places where the symmetry of the best solution changes along one branch."""
    open: tuple[tuple[Place, Place], ...]
    """Neighbouring grid points between which the best solution changes although no boundary was found."""
    gradual: tuple[tuple[str, str, int], ...]
    """Changes of name along one branch without a change of symmetry: both names, and the number of grid edges."""
    unconfirmed: int
    """The number of triple points at which fresh starts find something lower."""

    def share(self, chosen: Callable[[Place, SolutionShape], bool]) -> float:
        """The share of grid points that satisfy a condition."""
        pairs = zip(self.map.plane.places, self.map.shapes, strict=True)
        return float(np.mean([chosen(*each) for row in pairs for each in zip(*row, strict=True)]))

    @property
    def ratios(self) -> Float[np.ndarray, "density strength"]:
        """The best loss, relative to that of the best linear model."""
        return np.array([[shape.ratio for shape in row] for row in self.map.shapes])

    @property
    def collapsed(self) -> np.ndarray:
        """The number of collapsed sets: integers (density, strength)."""
        return np.array([[shape.collapsed for shape in row] for row in self.map.shapes])


def phase_map(run: xr.Dataset, specs: Sequence[Spec], *, fresh: int, orders: bool) -> PhaseMap:
    """The phase map of the plane on which a trajectory was trained.

    Args:
        run: a trajectory with the dim `spec`.
        specs: its Specs, in the same order.
        fresh: the number of fresh starts at the middle of every boundary and at every triple point.
        orders: whether to determine the order of every boundary, and to examine eigenvalues where the best solution
            changes continuously. Each takes seconds.

    """
    found = map_of(run, specs)
    lines = boundaries(found)
    plane = found.plane
    shapes = [_shapes(found, curve) for curve in lines.curves]
    places = [curve.places[curve.middle] for curve in lines.curves] + [each.place for each in lines.triples]
    known = [curve.pairs[curve.middle].a.loss for curve in lines.curves]
    known += [each.ends[0].loss for each in lines.triples]
    confirmed = [below > (1 - SAME) * loss for below, loss in zip(_fresh(found, places, fresh), known, strict=True)]
    borders = [
        Border(curve, shape, *(_order(found, curve) if orders else ("", np.nan)), fine)
        for curve, shape, fine in zip(lines.curves, shapes, confirmed[: len(lines.curves)], strict=True)
    ]
    corners = [", ".join(sorted(plane.shape(each.place, end).label for end in each.ends)) for each in lines.triples]
    breakings, gradual = along(found, lines, examined=orders)
    return PhaseMap(
        map=found,
        found=lines,
        borders=tuple(sorted(borders, key=lambda each: each.name)),
        corners=tuple(corners),
        breakings=tuple(breakings),
        open=(
            *(edge for edge in lines.open if all(edge != each.edge for each in breakings)),
            *(each.edge for each in breakings if not each.continuous),
        ),
        gradual=tuple(gradual),
        unconfirmed=sum(not each for each in confirmed[len(lines.curves) :]),
    )


def _shapes(of: PlaneMap, curve: BoundaryCurve) -> tuple[SolutionShape, SolutionShape]:
    pair, place = curve.pairs[curve.middle], curve.places[curve.middle]
    a, b = (of.plane.shape(place, end) for end in (pair.a, pair.b))
    # Where L_a − L_b rises with density, a is the better one at lower density.
    return (a, b) if pair.slope[0] > 0 else (b, a)


def _fresh(of: PlaneMap, places: Sequence[Place], starts: int) -> list[float]:
    """The lowest loss of fresh starts at each of some places."""
    if not places:
        return []
    specs = [of.plane.at(each).replace(training=rough(), seeds=starts, base_seed=KEY) for each in places]
    return np.nanmin(trained(specs)["loss"].isel(step=-1).values, 1).tolist()


def _order(of: PlaneMap, curve: BoundaryCurve) -> tuple[str, float]:
    """The order of a boundary at its middle, and how far from the curve `phase_boundary` has it; "" if it has none."""
    from tegum.analysis.landscape.phases import phase_boundary

    pair = curve.pairs[curve.middle]
    across = pair.slope / np.linalg.norm(pair.slope)

    def features(distance: float) -> FeatureDistribution:
        return of.plane.features(of.plane.place(pair.point + distance * across))

    try:
        a, b = (_critical(features(0.0), each, CRITICAL_POINT_TOLERANCE) for each in (pair.a, pair.b))
        found = phase_boundary(
            a, b, a.features, features, -ACROSS_BOUNDARY, ACROSS_BOUNDARY, tol=ROOT_TOLERANCE, start=0.0
        )
    except ValueError:
        return "", np.nan
    return found.kind, abs(found.value) + found.error


def _critical(features: FeatureDistribution, end: Minimum, tol: float) -> CriticalPoint:
    from tegum.analysis.landscape.critical_points import critical_point

    return critical_point(end.weights, end.bias, features, tol=tol)
