"""What the experiment `tradeoff` finds on one plane: the map, its boundaries, and of which order each of them is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Float

from tegum.experiments._boundaries import boundaries
from tegum.experiments._branches import SAME, rough, trained
from tegum.experiments._curves import Boundaries, Curve, Point, crossed, unlike
from tegum.experiments._plane import End, Map, Place, Shape, map_of, symmetry
from tegum.experiments.base import Measure

if TYPE_CHECKING:
    import xarray as xr

    from tegum.analysis.landscape import CriticalPoint
    from tegum.analysis.tracks import Change
    from tegum.core.features import FeatureDistribution
    from tegum.training.spec import Spec

KEY = 10
"""The base seed of fresh starts."""

ASIDE = 2e-3
"""So far to both sides of a boundary its order is determined, in coordinates of the plane."""

COARSE, FINE = 1e-6, 1e-8
"""The tolerance of critical points there, and of those of which eigenvalues are asked."""

PRECISION = 1e-4
"""Of roots, as a part of twice `ASIDE`."""

JUMP = 0.05
"""Solutions on both sides of a change of symmetry that are less unlike go over into one another."""

FOLLOWED = 0.3
"""So far to both sides of such a change an eigenvalue is followed, in distances between points of the grid."""

BISECTED = 1e-4
"""Where a solution changes its symmetry is found so exactly, in distances between points of the grid."""

LISTED = 5
"""So many edges without a boundary are named."""

EXAMINED = 3
"""Of so many such places of one kind it is seen whether an eigenvalue passes zero there."""


@final
@dataclass(frozen=True, eq=False)
class Border:
    """A boundary where the best solution changes at once, and what it parts."""

    curve: Curve = field(repr=False)
    shapes: tuple[Shape, Shape]
    """Of both solutions in the middle of the curve, the one at lower density first."""
    kind: str
    """ "first order" or "continuous" by `tegum.phase_boundary` in the middle; empty where that found no root."""
    off: float
    """The distance of that root to the curve, with its error."""
    confirmed: bool
    """Whether fresh starts in the middle find nothing lower."""

    @property
    def name(self) -> str:
        """Of both shapes: "1 | 2"."""
        return " | ".join(each.name for each in self.shapes)


@final
@dataclass(frozen=True, eq=False)
class Breaking:
    """Where the best solution changes its symmetry along one branch."""

    place: Place
    error: float
    """How far from it the true one may lie, in coordinates of the plane."""
    symmetries: tuple[int, int]
    """Below and above it in density, or in strength where that changes."""
    names: tuple[str, str]
    gap: float
    """How unlike both solutions are there."""
    passes: bool | None
    """Whether an eigenvalue of the more symmetric one passes zero there; None if it was not looked at."""

    @property
    def continuous(self) -> bool:
        """Whether they go over into one another."""
        return self.gap < JUMP


@final
@dataclass(frozen=True, eq=False)
class Trades:
    """Everything that was found on one plane."""

    map: Map = field(repr=False)
    found: Boundaries = field(repr=False)
    borders: tuple[Border, ...]
    corners: tuple[tuple[str, str, str], ...]
    """Names of the three solutions of each triple point."""
    breakings: tuple[Breaking, ...]
    gradual: tuple[tuple[str, str, int], ...]
    """Names that change along one branch without a change of symmetry, and between how many neighbours."""
    unconfirmed: int
    """At so many triple points fresh starts find something lower."""

    def share(self, chosen: Callable[[Place, Shape], bool]) -> float:
        """The part of the grid's points of which something is true."""
        pairs = zip(self.map.plane.places, self.map.shapes, strict=True)
        return float(np.mean([chosen(*each) for row in pairs for each in zip(*row, strict=True)]))

    @property
    def ratios(self) -> Float[np.ndarray, "density strength"]:
        """Of the best loss and that of the best linear model."""
        return np.array([[shape.ratio for shape in row] for row in self.map.shapes])

    @property
    def collapsed(self) -> np.ndarray:
        """The number of collapsed sets, of integers (density, strength)."""
        return np.array([[shape.collapsed for shape in row] for row in self.map.shapes])


def trades(run: xr.Dataset, specs: Sequence[Spec], *, fresh: int, orders: bool) -> Trades:
    """What there is on the plane of a trajectory.

    Args:
        run: with the dim `spec`.
        specs: one for each, in its order.
        fresh: so many new starts in the middle of every boundary and at every triple point.
        orders: whether the order of every boundary is determined, which takes seconds for each.

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
    corners = [tuple(plane.shape(each.place, end).name for end in each.ends) for each in lines.triples]
    breakings, gradual = _along(found, lines, orders)
    return Trades(
        map=found,
        found=lines,
        borders=tuple(sorted(borders, key=lambda each: each.name)),
        corners=tuple((first, second, third) for first, second, third in corners),
        breakings=tuple(breakings),
        gradual=tuple(gradual),
        unconfirmed=sum(not each for each in confirmed[len(lines.curves) :]),
    )


def _shapes(of: Map, curve: Curve) -> tuple[Shape, Shape]:
    pair, place = curve.pairs[curve.middle], curve.places[curve.middle]
    a, b = (of.plane.shape(place, end) for end in (pair.a, pair.b))
    # Where L_a − L_b rises with density, a is the better one below.
    return (a, b) if pair.slope[0] > 0 else (b, a)


def _fresh(of: Map, places: Sequence[Place], starts: int) -> list[float]:
    """The lowest loss of new starts at some points."""
    if not places:
        return []
    specs = [of.plane.at(each).replace(training=rough(), seeds=starts, base_seed=KEY) for each in places]
    return np.nanmin(trained(specs)["loss"].isel(step=-1).values, 1).tolist()


def _order(of: Map, curve: Curve) -> tuple[str, float]:
    """Of a boundary in its middle, and how far from the curve `phase_boundary` has it; "" where it finds none."""
    from tegum.analysis.phases import phase_boundary

    pair = curve.pairs[curve.middle]
    across = pair.slope / np.linalg.norm(pair.slope)
    features = _features_along(of, pair.point, across)
    try:
        a, b = (_critical(features(0.0), each, COARSE) for each in (pair.a, pair.b))
        found = phase_boundary(a, b, a.features, features, -ASIDE, ASIDE, tol=PRECISION, start=0.0)
    except ValueError:
        return "", np.nan
    return found.kind, abs(found.value) + found.error


def _critical(features: FeatureDistribution, end: End, tol: float) -> CriticalPoint:
    from tegum.analysis.landscape import critical_point

    return critical_point(end.weights, end.bias, features, tol=tol)


def _features_along(of: Map, point: Point, way: Point) -> Callable[[float], FeatureDistribution]:
    return lambda distance: of.plane.features(of.plane.place(point + distance * way))


def _along(of: Map, lines: Boundaries, orders: bool) -> tuple[list[Breaking], list[tuple[str, str, int]]]:
    """Where the best solution changes its symmetry or its name along one branch."""
    breakings: list[Breaking] = []
    named: dict[tuple[str, str], int] = {}
    for at, _, there in of.edges():
        one, other = (of.shapes[i][j] for i, j in (at, there))
        if (one.symmetry, one.name) == (other.symmetry, other.name) or crossed(of.plane, (at, there), lines.curves):
            continue
        if one.symmetry == other.symmetry:
            named[one.name, other.name] = named.get((one.name, other.name), 0) + 1
            continue
        alike = [each for each in breakings if set(each.symmetries) == {one.symmetry, other.symmetry}]
        examined = orders and sum(each.passes is not None for each in alike) < EXAMINED
        breakings.append(_breaking(of, at, there, examined))
    return breakings, [(*names, count) for names, count in sorted(named.items())]


def _breaking(of: Map, at: tuple[int, int], there: tuple[int, int], examined: bool) -> Breaking:
    """Where between two neighbours of one branch the symmetry changes, by bisection."""
    plane = of.plane
    low, high = (plane.point(plane.places[i][j]) for i, j in (at, there))
    one, other = (of.shapes[i][j] for i, j in (at, there))
    end, far = (of.ends[i][j] for i, j in (at, there))
    share, width = 0.0, 1.0
    while width > BISECTED:
        width /= 2
        (found,) = plane.descended([plane.place(low + (share + width) * (high - low))], [[end, far]])
        best = min(found, key=lambda each: each.loss)
        if symmetry(best, plane.symmetries) == one.symmetry:
            share, end = share + width, best
        else:
            far = best
    middle, gap, error, passes = low + (share + width / 2) * (high - low), unlike(end, far), width / 2, None
    if examined and gap < JUMP:
        more = one.symmetry > other.symmetry
        way = high - low if more else low - high
        change = _passage(of, middle, way, end if more else far)
        passes = change is not None
        if change is not None:
            middle, error = middle + change.value * way, change.error
    error *= float(np.linalg.norm(high - low))
    return Breaking(plane.place(middle), error, (one.symmetry, other.symmetry), (one.name, other.name), gap, passes)


def _passage(of: Map, middle: Point, way: Point, end: End) -> Change | None:
    """Where an eigenvalue passes zero as the more symmetric solution, followed that way, loses its symmetry."""
    from tegum.analysis.continuation import follow

    features = _features_along(of, middle, way)
    # From where the eigenvalue is well above its error.
    ((start,),) = of.plane.descended([of.plane.place(middle - FOLLOWED * way)], [[end]])
    try:
        branch = follow(_critical(features(-FOLLOWED), start, FINE), features, [-FOLLOWED, FOLLOWED])
    except ValueError:
        return None
    return next((change for change in branch.changes if change.kind == "eigenvalue"), None)


def of_boundaries(found: Trades) -> list[Measure]:
    """Every boundary and triple point with its place, and what is to be said of them together."""
    borders, corners, starts = found.borders, found.found.triples, found.map.starts
    checked = [each for each in borders if each.kind]
    smooth = [each for each in found.breakings if each.continuous]
    examined = [each for each in smooth if each.passes is not None]
    measures = [
        Measure("boundaries", len(borders), "curve", n=starts, meaning="on which the best solution changes at once"),
        Measure(
            "boundaries of first order",
            sum(each.kind == "first order" for each in checked),
            "curve",
            n=len(checked),
            meaning=f"of {len(checked)} whose order was determined in the middle",
        ),
        Measure(
            "boundaries that are confirmed",
            sum(each.confirmed for each in borders),
            "curve",
            n=len(borders),
            meaning="fresh starts in the middle find nothing lower",
        ),
        Measure(
            "largest distance to the root of phase_boundary",
            max((each.off for each in checked), default=None),
            "1",
            n=len(checked),
            meaning="errors included; the plane's sides are 1",
        ),
        Measure("triple points", len(corners), "point", n=starts, meaning="three solutions have the same loss"),
        Measure(
            "triple points that are confirmed",
            len(corners) - found.unconfirmed,
            "point",
            n=len(corners),
            meaning="fresh starts there find nothing lower",
        ),
        Measure(
            "continuous changes of symmetry",
            len(smooth),
            "edge of the grid",
            n=starts,
            meaning=f"an eigenvalue passes zero at {sum(bool(each.passes) for each in examined)} of {len(examined)} "
            "that were looked at",
        ),
        Measure(
            "edges without a boundary",
            len(found.found.open),
            "edge of the grid",
            n=starts,
            meaning="the best solution changes, and no curve was found"
            + "".join(f"; {_text(one)} to {_text(other)}" for one, other in found.found.open[:LISTED]),
        ),
    ]
    for number, border in enumerate(borders, 1):
        ends = border.curve.places[0], border.curve.places[-1]
        strong = max(range(2), key=lambda k: ends[k].strength)
        place, error = ends[strong], border.curve.pairs[-strong].error
        way = " to ".join(f"{_text(ends[k])} ({border.curve.finish[k]})" for k in (1 - strong, strong))
        kinds = " and ".join(_shape(each) for each in border.shapes)
        measures.append(
            Measure(
                f"boundary {number}: {border.name}",
                place.density,
                "density",
                place.density * (1 - 4 * error),
                place.density * (1 + 4 * error),
                starts,
                meaning=f"{border.kind or 'order not determined'}; from {way}; {kinds}",
            )
        )
    for number, (corner, names) in enumerate(zip(corners, found.corners, strict=True), 1):
        for unit, value, error in zip(("density", "strength"), corner.place, corner.error, strict=True):
            name = f"triple point {number}: {', '.join(names)}: {unit}"
            measures.append(Measure(name, value, unit, value - error, value + error, starts))
    for one, other, count in found.gradual:
        meaning = "rising in density or strength, along one branch and without a change of its symmetry"
        measures.append(Measure(f"gradual: {one} → {other}", count, "edge of the grid", n=starts, meaning=meaning))
    return measures


def _text(place: Place) -> str:
    return f"density {place.density:.5f}, strength {place.strength:.4f}"


def _shape(shape: Shape) -> str:
    return f"{shape.name} ({shape.represented} represented, symmetry {shape.symmetry})"
