"""The figure of the experiment `tradeoff`, and its caption."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from tegum.experiments.tradeoff.phase_map import PhaseMap
from tegum.solutions.plane import Place

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_DRAWN = 0.01
"""A solution is drawn if it is the best on at least this share of the grid points."""


def figure(found: PhaseMap) -> tuple[Figure, Figure]:
    """Maps of the number of collapsed pairs and of the relative loss, with boundaries, and the solutions as pictures.

    Args:
        found: what is drawn.

    """
    from tegum.figures.experiments.tradeoff import MapOverlay, tradeoff

    plane = found.map.plane
    return tradeoff(
        (np.array(plane.densities), np.array(plane.strengths)),
        [[shape.name for shape in row] for row in found.map.shapes],
        found.ratios,
        MapOverlay(
            [np.array(border.curve.places) for border in found.borders],
            np.array([each.place for each in found.breakings if each.continuous]).reshape(-1, 2),
            np.array([each.place for each in found.found.triples]).reshape(-1, 2),
        ),
        pictures(found),
    )


def pictures(found: PhaseMap) -> list[tuple[str, Place, Float[np.ndarray, "feature hidden"]]]:
    """Name, place and weights of the solution in the middle of each region of the plane, from sparse to dense."""
    kinds: dict[tuple[str, int, int], list[tuple[int, int]]] = {}
    for at in np.ndindex(found.map.reached.shape[:2]):
        shape = found.map.shapes[at[0]][at[1]]
        kinds.setdefault((shape.name, shape.represented, shape.symmetry), []).append(at)
    plane, points = found.map.plane, found.map.hits.size
    chosen = []
    for (name, _, _), own in kinds.items():
        if len(own) >= LEAST_DRAWN * points:
            inside = np.array(own)
            i, j = own[int(np.square(inside - inside.mean(0)).sum(1).argmin())]
            chosen.append((name, plane.places[i][j], found.map.ends[i][j].weights))
    return sorted(chosen, key=lambda each: (each[0], each[1].density))


def caption(found: PhaseMap) -> tuple[str, str]:
    """What the figures show, in sentences."""
    plane, starts = found.map.plane, found.map.starts
    first = sum(each.kind == "first order" for each in found.borders)
    checked = sum(bool(each.kind) for each in found.borders)
    orders = f"; {first} of the {checked} whose order was determined are first-order" if checked else ""
    smooth = sum(each.continuous for each in found.breakings)
    return (
        f"Three pairs of features, m = 2: the best of {starts} starts on the exact loss at each of "
        f"{len(plane.densities)} × {len(plane.strengths)} points, by its number of collapsed pairs. Lines: boundaries "
        "where the best solution changes "
        f"abruptly ({len(found.borders)} curves{orders}); circles: "
        f"{len(found.found.triples)} triple points; crosses: a symmetry is lost continuously ({smooth} places). Below: "
        "solutions at the lettered points, one colour per pair.",
        "The loss of the best solution at each point, relative to that of the best linear model (dotted: 0.99). Lines, "
        "circles and crosses: as in the map of the solutions.",
    )
