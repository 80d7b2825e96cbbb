"""Boundaries on a plane as measures: all of them together, then each one, the triple points and continuous changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tegum.experiments.reporting import Measure
from tegum.experiments.tradeoff.phase_map import Border, PhaseMap
from tegum.solutions.boundary_curves import BoundaryPoint
from tegum.solutions.plane import Place, Plane
from tegum.solutions.symmetry_changes import Breaking, by_symmetry

LISTED = 5
"""A measure lists the ends of at most this many edges without a boundary."""


def of_boundaries(found: PhaseMap, key: str = "", of: str = "") -> list[Measure]:
    """Counts of boundaries and triple points, and the location of each.

    Solutions are labelled by collapsed sets (or PCA), represented features and symmetry, as in "1/6/4".

    Args:
        found: the map of one plane.
        key: a prefix for every key, where there are several planes.
        of: a prefix for every name, where there are several planes.

    """
    plane, starts = found.map.plane, found.map.starts
    measures = [*_together(found, key, of)]
    for number, border in enumerate(found.borders, 1):
        name = f"{of}boundary {number}: {border.name}"
        measures += _of_border(plane, border, f"{key}boundary_{number}.density", name, starts)
    for number, ((low, high), places) in enumerate(by_symmetry(found.breakings).items(), 1):
        ends = [sorted(values) for values in zip(*(each.place for each in places), strict=True)]
        known = [each.error for each in places if each.how in ("passes", "jumps")]
        error = f", located to {max(known):.1g} of the plane's sides there" if known else ""
        kinds = sorted({" → ".join(shape.label for shape in each.shapes) for each in places})
        measures.append(
            Measure(
                f"{key}continuous_boundary_{number}.edges",
                f"{of}continuous boundary {number}: symmetry {low} | {high}",
                len(places),
                "grid edges",
                n=starts,
                meaning=f"edges along which the symmetry changes continuously; {_eigenvalues_at(places)}{error}; "
                f"densities {ends[0][0]:.5f} to {ends[0][-1]:.5f}, strengths {ends[1][0]:.4f} to {ends[1][-1]:.4f}; "
                f"{', '.join(kinds)}",
            )
        )
    for number, (corner, names) in enumerate(zip(found.found.triples, found.corners, strict=True), 1):
        for unit, value, error in zip(("density", "strength"), corner.place, corner.error, strict=True):
            name = f"{of}triple point {number}, {names}: {unit}"
            meaning = f"{unit} at which three solutions have the same loss"
            own = f"{key}triple_point_{number}.{unit}"
            measures.append(Measure(own, name, value, unit, value - error, value + error, starts, meaning=meaning))
    for one, other, count in found.gradual:
        meaning = (
            "edges along which the name of the best solution changes with rising density or strength, on one branch "
            "and without a change of symmetry"
        )
        own = f"{key}gradual_{one}_to_{other}.edges".lower()
        measures.append(
            Measure(own, f"{of}gradual change {one} → {other}", count, "grid edges", n=starts, meaning=meaning)
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
            "curves",
            n=starts,
            meaning="curves on which the best solution changes abruptly; solutions whose losses differ by less than "
            "1e-6 are not distinguished",
        ),
        Measure(
            f"{key}first_order_boundaries",
            f"{of}first-order boundaries",
            first if checked else None,
            "curves",
            n=len(checked),
            meaning=f"of {len(checked)} boundaries whose order was determined at their middle",
        ),
        Measure(
            f"{key}confirmed_boundaries",
            f"{of}confirmed boundaries",
            sum(each.confirmed for each in borders),
            "curves",
            n=len(borders),
            meaning="boundaries at whose middle fresh starts find nothing lower",
        ),
        Measure(
            f"{key}largest_distance_to_root",
            f"{of}largest distance to an independent root",
            max((each.off for each in checked), default=None),
            "plane sides",
            n=len(checked),
            meaning="distance from the middle of a boundary to the root that `tegum.phase_boundary` finds, errors "
            "included",
        ),
        Measure(
            f"{key}triple_points",
            f"{of}triple points",
            len(corners),
            "points",
            n=starts,
            meaning="points at which three solutions have the same loss",
        ),
        Measure(
            f"{key}confirmed_triple_points",
            f"{of}confirmed triple points",
            len(corners) - found.unconfirmed,
            "points",
            n=len(corners),
            meaning="triple points at which fresh starts find nothing lower",
        ),
        Measure(
            f"{key}continuous_symmetry_changes",
            f"{of}continuous changes of symmetry",
            len(smooth),
            "grid edges",
            n=starts,
            meaning=f"edges along which the best solution changes its symmetry continuously; {_eigenvalues_at(smooth)}",
        ),
        Measure(
            f"{key}edges_without_boundary",
            f"{of}edges without a boundary",
            len(found.open),
            "grid edges",
            n=starts,
            meaning="edges along which the best solution changes abruptly, but no boundary was found"
            + "".join(f"; {_text(one)} to {_text(other)}" for one, other in found.open[:LISTED]),
        ),
    ]


def _of_border(plane: Plane, border: Border, key: str, name: str, starts: int) -> list[Measure]:
    """The end of a boundary at the higher correlation strength, and in words its order and both its ends."""
    pairs, places, finish = border.curve.pairs, border.curve.places, border.curve.finish
    ends = (0, -1) if places[0].strength < places[-1].strength else (-1, 0)
    way = " to ".join(f"{_text(places[k])} ({finish[k]})" for k in ends)
    low, high = _interval(plane, pairs[ends[1]])
    order = border.kind or "order not determined"
    confirmed = "" if border.confirmed else ", not confirmed"
    meaning = f"density of the boundary at its more correlated end ({order}{confirmed}); it runs from {way}"
    return [Measure(key, name, places[ends[1]].density, "density", low, high, starts, meaning=meaning)]


def _interval(plane: Plane, pair: BoundaryPoint) -> tuple[float, float]:
    """The lowest and the highest density within the error of a point."""
    aside = pair.error * np.array([1.0, 0.0])
    return plane.place(pair.point - aside).density, plane.place(pair.point + aside).density


def _eigenvalues_at(places: Sequence[Breaking]) -> str:
    """What an eigenvalue of the Hessian does where a symmetry is lost, in words."""
    passes, jumps, looked = (
        sum(each.how in hows for each in places) for hows in (("passes",), ("jumps",), ("passes", "jumps", "unseen"))
    )
    if not looked:
        return "eigenvalues were not examined"
    return (
        f"of {looked} examined, an eigenvalue passes through zero at {passes} and jumps across it at a kink at {jumps}"
    )


def _text(place: Place) -> str:
    return f"density {place.density:.5f}, strength {place.strength:.4f}"
