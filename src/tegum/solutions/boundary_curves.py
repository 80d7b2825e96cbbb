"""Curves on a plane of density and correlation strength: what they are, and how they lie to one another."""

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
"""Two neighbours of the grid, by their numbers in density and strength."""

Finish = Literal["edge", "triple", "merged", "closed", "lost"]
"""How a curve ends: at the edge of the plane, at a triple point, where both solutions become one, where it began, or
where no step leads on."""


class BoundaryPoint(NamedTuple):
    """A point of a boundary, with the two minima that have the same loss there."""

    point: Point
    a: Minimum
    b: Minimum
    slope: Point
    """Of L_a − L_b."""
    error: float
    """How far from it the boundary may be."""


@final
@dataclass(frozen=True, eq=False)
class BoundaryCurve:
    """A boundary between two solutions."""

    pairs: tuple[BoundaryPoint, ...] = field(repr=False)
    places: tuple[Place, ...]
    finish: tuple[Finish, Finish]
    """At its first and its last point."""

    @property
    def middle(self) -> int:
        """The number of the point next to half of its length; steps are shorter where it turns, or ends."""
        points = np.array([each.point for each in self.pairs])
        lengths = np.cumsum([0.0, *np.linalg.norm(np.diff(points, axis=0), axis=1)])
        return int(np.abs(lengths - lengths[-1] / 2).argmin())

    @property
    def gap(self) -> float:
        """The least difference between both solutions."""
        return min(unlike(each.a, each.b) for each in self.pairs)

    @property
    def error(self) -> float:
        """The largest of its points."""
        return max(each.error for each in self.pairs)


@final
@dataclass(frozen=True, eq=False)
class Triple:
    """A point where three solutions have the same loss."""

    point: Point = field(repr=False)
    away: float = field(repr=False)
    """How far from it the true one may lie."""
    place: Place
    error: Place
    """How far from it the true one may lie."""
    ends: tuple[Minimum, Minimum, Minimum] = field(repr=False)
    lowest: bool
    """Whether none of the solutions nearby is lower."""


@final
@dataclass(frozen=True, eq=False)
class Boundaries:
    """Everything that was found."""

    curves: tuple[BoundaryCurve, ...]
    triples: tuple[Triple, ...]
    open: tuple[tuple[Place, Place], ...]
    """Neighbours of the grid between which the lowest solution changes, but no curve was found."""


def unlike(a: Minimum, b: Minimum) -> float:
    """The largest difference between two solutions of sorted entries of W Wᵀ, and of sorted biases.

    Neither rotations of hidden space nor permutations of features change them.
    """
    grams = [np.sort((each.weights @ each.weights.T).ravel()) for each in (a, b)]
    return float(max(np.abs(grams[0] - grams[1]).max(), np.abs(np.sort(a.bias) - np.sort(b.bias)).max()))


def crossed(plane: Plane, edge: Edge, curves: Iterable[BoundaryCurve]) -> bool:
    """Whether a curve crosses an edge of the grid."""
    p, q = (plane.point(plane.places[i][j]) for i, j in edge)
    return any(crossings(p, q, curve) for curve in curves)


def crossings(p: Point, q: Point, curve: BoundaryCurve) -> list[tuple[float, int]]:
    """Where a curve crosses the line from p to q, as shares of it, and the curve's nearest points by their numbers."""
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
    """A step, or as much of it as stays in the plane, and then the direction of the edge where it ends."""
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
    """The distance of a point to a line through others."""
    if len(points) == 1:
        return float(np.linalg.norm(points[0] - point))
    begin, way = points[:-1], np.diff(points, axis=0)
    share = np.clip(((point - begin) * way).sum(1) / np.maximum((way**2).sum(1), 1e-300), 0, 1)
    return float(np.linalg.norm(begin + share[:, None] * way - point, axis=1).min())


def crosses(p: Point, q: Point, points: Float[np.ndarray, "point xy"]) -> Bool[np.ndarray, " segment"]:
    """Which parts of the line through points cross that from p to q."""

    def side(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]

    begin, end = points[:-1], points[1:]
    first = side(q - p, begin - p) * side(q - p, end - p) <= 0
    second = side(end - begin, p - begin) * side(end - begin, q - begin) <= 0
    return first & second
