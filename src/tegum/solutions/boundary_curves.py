"""Curves on a plane of density and correlation strength: their parts, and the geometry of their crossings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, final

import numpy as np
from jaxtyping import Bool, Float

from tegum.solutions.plane import Minimum, Place, Plane

Point = Float[np.ndarray, " xy"]
"""Coordinates of `Plane`, from 0 to 1."""

Edge = tuple[tuple[int, int], tuple[int, int]]
"""Two neighbouring grid points, by their indices in density and strength."""

Finish = Literal["edge", "triple", "merged", "closed", "lost"]
"""How a curve ends: at the edge of the plane, at a triple point, where the two solutions merge, where it began, or
where no step leads on."""


class BoundaryPoint(NamedTuple):
    """A point of a boundary, with the two minima that have the same loss there."""

    point: Point
    a: Minimum
    b: Minimum
    slope: Point
    """The slope of L_a − L_b."""
    error: float
    """The largest distance from the point to the true boundary."""


@final
@dataclass(frozen=True, eq=False)
class BoundaryCurve:
    """A boundary between two solutions."""

    pairs: tuple[BoundaryPoint, ...] = field(repr=False)
    places: tuple[Place, ...]
    finish: tuple[Finish, Finish]
    """How the curve ends at its first and at its last point."""

    @property
    def middle(self) -> int:
        """The index of the point closest to half its length; steps are not all equally long."""
        points = np.array([each.point for each in self.pairs])
        lengths = np.cumsum([0.0, *np.linalg.norm(np.diff(points, axis=0), axis=1)])
        return int(np.abs(lengths - lengths[-1] / 2).argmin())

    @property
    def gap(self) -> float:
        """The smallest difference (`unlike`) between the two solutions along the curve."""
        return min(unlike(each.a, each.b) for each in self.pairs)

    @property
    def error(self) -> float:
        """The largest error of any of its points."""
        return max(each.error for each in self.pairs)


@final
@dataclass(frozen=True, eq=False)
class Triple:
    """A point where three solutions have the same loss."""

    point: Point = field(repr=False)
    away: float = field(repr=False)
    """The largest distance from `point` to the true one, in coordinates of the plane."""
    place: Place
    error: Place
    """The error of `place`, in density and in strength."""
    ends: tuple[Minimum, Minimum, Minimum] = field(repr=False)
    lowest: bool
    """Whether no nearby solution is lower."""


@final
@dataclass(frozen=True, eq=False)
class Boundaries:
    """The boundaries of a map: curves, triple points, and the edges where none was found."""

    curves: tuple[BoundaryCurve, ...]
    triples: tuple[Triple, ...]
    open: tuple[tuple[Place, Place], ...]
    """Neighbouring grid points between which the lowest solution changes although no curve was found."""


def unlike(a: Minimum, b: Minimum) -> float:
    """The largest difference between two solutions in the sorted entries of W Wᵀ and in the sorted biases.

    Neither rotations of hidden space nor permutations of features change these.
    """
    grams = [np.sort((each.weights @ each.weights.T).ravel()) for each in (a, b)]
    return float(max(np.abs(grams[0] - grams[1]).max(), np.abs(np.sort(a.bias) - np.sort(b.bias)).max()))


def crossed(plane: Plane, edge: Edge, curves: Iterable[BoundaryCurve]) -> bool:
    """Whether a curve crosses an edge of the grid."""
    p, q = (plane.point(plane.places[i][j]) for i, j in edge)
    return any(crossings(p, q, curve) for curve in curves)


def crossings(p: Point, q: Point, curve: BoundaryCurve) -> list[tuple[float, int]]:
    """Each crossing of a curve with the line from p to q: the share of the line, and the curve's nearest point."""
    points = np.array([each.point for each in curve.pairs])
    found = []
    for number in np.flatnonzero(crosses(p, q, points)).tolist():
        begin, end = points[number], points[number + 1]
        matrix = np.stack([q - p, begin - end], 1)
        if abs(np.linalg.det(matrix)) > 1e-14:
            share, part = np.linalg.solve(matrix, begin - p).tolist()
            found.append((min(max(share, 0.0), 1.0), number + (part > 0.5)))
    return found


def tangent(slope: Point) -> Point:
    """The direction along a curve on which a difference with this slope stays zero."""
    return np.array([-slope[1], slope[0]]) / max(float(np.linalg.norm(slope)), 1e-300)


def outside(point: Point) -> bool:
    """Whether a point lies outside the unit square."""
    return bool((point < 0).any() or (point > 1).any())


def within(point: Point, step: Point) -> tuple[Point, Point | None]:
    """The end of a step, cut off at the edge of the plane, and the direction of that edge if the step was cut."""
    target = point + step
    if not outside(target):
        return target, None
    bounds = np.where(step > 0, 1.0, 0.0)
    shares = np.where(step != 0, (bounds - point) / np.where(step != 0, step, 1.0), np.inf)
    axis = int(np.argmin(shares))
    target = point + shares[axis] * step
    target[axis] = bounds[axis]
    return target, np.eye(2)[1 - axis]


def line_distance(points: Float[np.ndarray, "point xy"], point: Point) -> float:
    """The distance from a point to the polyline through others."""
    if len(points) == 1:
        return float(np.linalg.norm(points[0] - point))
    begin, way = points[:-1], np.diff(points, axis=0)
    share = np.clip(((point - begin) * way).sum(1) / np.maximum((way**2).sum(1), 1e-300), 0, 1)
    return float(np.linalg.norm(begin + share[:, None] * way - point, axis=1).min())


def crosses(p: Point, q: Point, points: Float[np.ndarray, "point xy"]) -> Bool[np.ndarray, " segment"]:
    """Which segments of the polyline through points cross the line from p to q."""

    def side(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]

    begin, end = points[:-1], points[1:]
    first = side(q - p, begin - p) * side(q - p, end - p) <= 0
    second = side(end - begin, p - begin) * side(end - begin, q - begin) <= 0
    return first & second
