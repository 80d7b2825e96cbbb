"""Curves on a plane of density and correlation strength: what they are, and how they lie to one another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, final

import numpy as np
from jaxtyping import Float

from tegum.experiments._plane import End, Place, Plane

Point = Float[np.ndarray, " xy"]
"""Coordinates of `Plane`, from 0 to 1."""

Edge = tuple[tuple[int, int], tuple[int, int]]
"""Two neighbours of the grid, by their numbers in density and strength."""

Finish = Literal["edge", "triple", "merged", "closed", "lost"]
"""How a curve ends: at the edge of the plane, at a triple point, where both solutions become one, where it began, or
where no step leads on."""


class Pair(NamedTuple):
    """A point of a boundary."""

    point: Point
    a: End
    b: End
    slope: Point
    """Of L_a − L_b."""
    error: float
    """How far from it the boundary may be."""


@final
@dataclass(frozen=True, eq=False)
class Curve:
    """A boundary between two solutions."""

    pairs: tuple[Pair, ...] = field(repr=False)
    places: tuple[Place, ...]
    finish: tuple[Finish, Finish]
    """At its first and its last point."""

    @property
    def middle(self) -> int:
        """The number of its middle point."""
        return len(self.pairs) // 2

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
    place: Place
    error: Place
    """How far from it the true one may lie."""
    ends: tuple[End, End, End] = field(repr=False)
    lowest: bool
    """Whether none of the solutions nearby is lower."""


@final
@dataclass(frozen=True, eq=False)
class Boundaries:
    """Everything that was found."""

    curves: tuple[Curve, ...]
    triples: tuple[Triple, ...]
    open: tuple[tuple[Place, Place], ...]
    """Neighbours of the grid between which the lowest solution changes, but no curve was found."""


def unlike(a: End, b: End) -> float:
    """The largest difference between two solutions of sorted entries of W Wᵀ, and of sorted biases.

    Neither rotations of hidden space nor permutations of features change them.
    """
    grams = [np.sort((each.weights @ each.weights.T).ravel()) for each in (a, b)]
    return float(max(np.abs(grams[0] - grams[1]).max(), np.abs(np.sort(a.bias) - np.sort(b.bias)).max()))


def crossed(plane: Plane, edge: Edge, curves: Iterable[Curve]) -> bool:
    """Whether a curve crosses an edge of the grid."""
    p, q = (plane.point(plane.places[i][j]) for i, j in edge)
    return any(crosses(p, q, np.array([each.point for each in curve.pairs])) for curve in curves)


def tangent(slope: Point) -> Point:
    return np.array([-slope[1], slope[0]]) / max(float(np.linalg.norm(slope)), 1e-300)


def outside(point: Point) -> bool:
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


def crosses(p: Point, q: Point, points: Float[np.ndarray, "point xy"]) -> bool:
    """Whether the line through points crosses that from p to q."""

    def side(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]

    begin, end = points[:-1], points[1:]
    first = side(q - p, begin - p) * side(q - p, end - p) <= 0
    second = side(end - begin, p - begin) * side(end - begin, q - begin) <= 0
    return bool((first & second).any())
