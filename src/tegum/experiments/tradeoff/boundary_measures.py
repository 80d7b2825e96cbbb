"""Boundaries on a plane as measures: all together, each by its places, triple points, and continuous changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tegum.experiments.reporting import Measure
from tegum.experiments.tradeoff.phase_map import Border, PhaseMap
from tegum.solutions.boundary_curves import BoundaryPoint
from tegum.solutions.plane import Place, Plane
from tegum.solutions.symmetry_changes import Breaking, by_symmetry

LISTED = 5
"""The most edges without a boundary whose ends a measure names."""


def of_boundaries(found: PhaseMap, key: str = "", of: str = "") -> list[Measure]:
    """Every boundary and triple point with its place, and what is to be said of them together.

    Solutions are named by collapsed sets (or PCA), represented features, and symmetry: "1/6/4".

    Args:
        found: on one plane.
        key: stands before every key, where there are several planes.
        of: stands before every name, where there are several planes.

    """
    plane, starts = found.map.plane, found.map.starts
    measures = [*_together(found, key, of)]
    for number, border in enumerate(found.borders, 1):
        name = f"{of}boundary {number}: {border.name}"
        measures += _of_border(plane, border, f"{key}boundary_{number}.density", name, starts)
    for number, ((low, high), places) in enumerate(by_symmetry(found.breakings).items(), 1):
        ends = [sorted(values) for values in zip(*(each.place for each in places), strict=True)]
        known = [each.error for each in places if each.how in ("passes", "jumps")]
        error = f"; places to {max(known):.1g} of the plane's sides there" if known else ""
        kinds = sorted({" → ".join(shape.label for shape in each.shapes) for each in places})
        measures.append(
            Measure(
                f"{key}continuous_boundary_{number}.edges",
                f"{of}continuous boundary {number}: symmetry {low} | {high}",
                len(places),
                "edge of the grid",
                n=starts,
                meaning=f"continuous: {_seen(places)}{error}; densities {ends[0][0]:.5f} to {ends[0][-1]:.5f}, "
                f"strengths {ends[1][0]:.4f} to {ends[1][-1]:.4f}; {', '.join(kinds)}",
            )
        )
    for number, (corner, names) in enumerate(zip(found.found.triples, found.corners, strict=True), 1):
        for unit, value, error in zip(("density", "strength"), corner.place, corner.error, strict=True):
            name = f"{of}triple point {number}, {names}: {unit}"
            meaning = "three solutions have the same loss"
            own = f"{key}triple_point_{number}.{unit}"
            measures.append(Measure(own, name, value, unit, value - error, value + error, starts, meaning=meaning))
    for one, other, count in found.gradual:
        meaning = "rising in density or strength, along one branch and without a change of its symmetry"
        own = f"{key}gradual_{one}_to_{other}.edges".lower()
        measures.append(
            Measure(own, f"{of}gradual: {one} → {other}", count, "edge of the grid", n=starts, meaning=meaning)
        )
    return measures


def _together(found: PhaseMap, key: str, of: str) -> list[Measure]:
    borders, corners, starts = found.borders, found.found.triples, found.map.starts
    checked = [each for each in borders if each.kind]
    first = sum(each.kind == "first order" for each in checked)
    smooth = [each for each in found.breakings if each.continuous]
    return [
        Measure(
            f"{key}boundaries",
            f"{of}boundaries",
            len(borders),
            "curve",
            n=starts,
            meaning="on which the best solution changes at once; its loss may differ by more than 1e-6 beside them",
        ),
        Measure(
            f"{key}first_order_boundaries",
            f"{of}boundaries of first order",
            first if checked else None,
            "curve",
            n=len(checked),
            meaning=f"of {len(checked)} whose order was determined in the middle",
        ),
        Measure(
            f"{key}confirmed_boundaries",
            f"{of}boundaries that are confirmed",
            sum(each.confirmed for each in borders),
            "curve",
            n=len(borders),
            meaning="fresh starts in the middle find nothing lower",
        ),
        Measure(
            f"{key}largest_distance_to_root",
            f"{of}largest distance to the root of phase_boundary",
            max((each.off for each in checked), default=None),
            "1",
            n=len(checked),
            meaning="errors included; the plane's sides are 1",
        ),
        Measure(
            f"{key}triple_points",
            f"{of}triple points",
            len(corners),
            "point",
            n=starts,
            meaning="three solutions have the same loss",
        ),
        Measure(
            f"{key}confirmed_triple_points",
            f"{of}triple points that are confirmed",
            len(corners) - found.unconfirmed,
            "point",
            n=len(corners),
            meaning="fresh starts there find nothing lower",
        ),
        Measure(
            f"{key}continuous_symmetry_changes",
            f"{of}continuous changes of symmetry",
            len(smooth),
            "edge of the grid",
            n=starts,
            meaning=_seen(smooth),
        ),
        Measure(
            f"{key}edges_without_boundary",
            f"{of}edges without a boundary",
            len(found.open),
            "edge of the grid",
            n=starts,
            meaning="the best solution changes at once, and no curve was found"
            + "".join(f"; {_text(one)} to {_text(other)}" for one, other in found.open[:LISTED]),
        ),
    ]


def _of_border(plane: Plane, border: Border, key: str, name: str, starts: int) -> list[Measure]:
    """Where a boundary ends at its stronger correlated side, and in words where it comes from."""
    pairs, places, finish = border.curve.pairs, border.curve.places, border.curve.finish
    ends = (0, -1) if places[0].strength < places[-1].strength else (-1, 0)
    way = " to ".join(f"{_text(places[k])} ({finish[k]})" for k in ends)
    low, high = _interval(plane, pairs[ends[1]])
    order = border.kind or "order not determined"
    confirmed = "" if border.confirmed else ", not confirmed"
    return [
        Measure(
            key, name, places[ends[1]].density, "density", low, high, starts, meaning=f"{order}{confirmed}; from {way}"
        )
    ]


def _interval(plane: Plane, pair: BoundaryPoint) -> tuple[float, float]:
    """The least and the largest density within the error of a point."""
    aside = pair.error * np.array([1.0, 0.0])
    return plane.place(pair.point - aside).density, plane.place(pair.point + aside).density


def _seen(places: Sequence[Breaking]) -> str:
    """What eigenvalues do where a symmetry is lost."""
    passes, jumps, looked = (
        sum(each.how in hows for each in places) for hows in (("passes",), ("jumps",), ("passes", "jumps", "unseen"))
    )
    return (
        f"an eigenvalue passes zero at {passes} and jumps over it on a kink at {jumps} of {looked} that were looked at"
    )


def _text(place: Place) -> str:
    return f"density {place.density:.5f}, strength {place.strength:.4f}"
