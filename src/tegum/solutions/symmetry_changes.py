"""Where the best solution changes along one branch: its symmetry, continuously, or only its name.

Edges of the grid are cut where boundaries cross them. On every piece the solutions at both ends are one branch, unless
something was missed: if they have another symmetry, it is found by bisection where that changes. There a minimum goes
over into another one, which is seen from an eigenvalue of the more symmetric one that passes zero, or jumps over it on
a kink of the loss; or a boundary was missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple, assert_never, final

import numpy as np

from tegum.solutions.boundary_curves import Boundaries, Edge, Point, crossings, unlike
from tegum.solutions.plane import Minimum, Place, PlaneMap, SolutionShape, symmetry
from tegum.solutions.saddles import EIGENVALUE_TOLERANCE

if TYPE_CHECKING:
    from tegum.core.features.distribution import FeatureDistribution

JUMP = 0.05
"""Solutions on both sides of a change of symmetry that are less unlike go over into one another."""

FOLLOWED = (0.3, 0.1)
"""So far to both sides of such a change an eigenvalue is followed, as a part of the piece: the first where it can."""

BISECTED = 1e-4
"""Where a solution changes its symmetry is bisected so far, as a part of the piece."""

SHORTEST_PIECE = 1e-3
"""The part of an edge of the grid below which a piece of it is not looked at."""


How = Literal["passes", "jumps", "unseen"]
"""An eigenvalue passes zero; it jumps over it on a kink of the loss, so that the solution turns there with a corner; or
neither was seen."""


class _Piece(NamedTuple):
    """A part of an edge of the grid between boundaries."""

    edge: Edge
    low: Point
    high: Point
    first: tuple[Minimum, SolutionShape]
    """The best at its beginning …"""
    last: tuple[Minimum, SolutionShape]
    """… and at its end."""


@final
@dataclass(frozen=True, eq=False)
class Breaking:
    """Where the best solution changes its symmetry between two neighbours of the grid."""

    edge: tuple[Place, Place]
    place: Place
    error: float
    """How far from it the true one may lie, in coordinates of the plane."""
    shapes: tuple[SolutionShape, SolutionShape]
    """At both ends, rising in density or in strength."""
    gap: float
    """How unlike both solutions are there."""
    how: How | None
    """What the lowest eigenvalue of the more symmetric one does there; None if it was not looked at."""

    @property
    def continuous(self) -> bool:
        """Whether they go over into one another; else a boundary was missed."""
        return self.gap < JUMP


def along(of: PlaneMap, lines: Boundaries, *, examined: bool) -> tuple[list[Breaking], list[tuple[str, str, int]]]:
    """Every change of symmetry along one branch; and names that change without, and on how many edges.

    Args:
        of: the map.
        lines: its boundaries.
        examined: whether eigenvalues are looked at, which takes seconds for each change.

    """
    breakings: list[Breaking] = []
    named: dict[tuple[str, str], int] = {}
    for piece in _pieces(of, lines):
        one, other = piece.first[1], piece.last[1]
        if one.symmetry != other.symmetry:
            breakings.append(_breaking(of, piece, examined))
        elif one.name != other.name:
            named[one.name, other.name] = named.get((one.name, other.name), 0) + 1
    return breakings, [(*names, count) for names, count in sorted(named.items())]


def _pieces(of: PlaneMap, lines: Boundaries) -> Iterator[_Piece]:
    """The parts of all edges of the grid between boundaries."""
    plane = of.plane
    for at, _, there in of.edges():
        p, q = (plane.point(plane.places[i][j]) for i, j in (at, there))
        # Share of the edge, and the best solutions before and after: of a curve those at its nearest point.
        cuts: list[tuple[float, Minimum, Minimum]] = []
        for curve in lines.curves:
            for share, number in crossings(p, q, curve):
                pair = curve.pairs[number]
                before, after = (pair.a, pair.b) if pair.slope @ (q - p) > 0 else (pair.b, pair.a)
                cuts.append((share, before, after))
        cuts.sort(key=lambda each: each[0])
        (i, j), (x, y) = at, there
        shares = [0.0, *(share for share, _, _ in cuts), 1.0]
        firsts = [(of.ends[i][j], of.shapes[i][j]), *(_brought(of, p + share * (q - p), end) for share, _, end in cuts)]
        lasts = [*(_brought(of, p + share * (q - p), end) for share, end, _ in cuts), (of.ends[x][y], of.shapes[x][y])]
        for (begin, stop), first, last in zip(pairwise(shares), firsts, lasts, strict=True):
            if stop - begin > SHORTEST_PIECE:
                yield _Piece((at, there), p + begin * (q - p), p + stop * (q - p), first, last)


def _brought(of: PlaneMap, point: Point, end: Minimum) -> tuple[Minimum, SolutionShape]:
    place = of.plane.place(point)
    ((there,),) = of.plane.descended([place], [[end]])
    return there, of.plane.shape(place, there)


def _breaking(of: PlaneMap, piece: _Piece, examined: bool) -> Breaking:
    """Where on a piece the symmetry changes."""
    plane, ((end, one), (far, other)) = of.plane, (piece.first, piece.last)
    more = max(one.symmetry, other.symmetry)
    way = piece.high - piece.low
    share, width = 0.0, 1.0
    while width > BISECTED:
        width /= 2
        (found,) = plane.descended([plane.place(piece.low + (share + width) * way)], [[end, far]])
        best = min(found, key=lambda each: each.loss)
        # Next to the change some of the permutations that are lost seem to be there still.
        if (symmetry(best, plane.symmetries) >= more) == (one.symmetry == more):
            share, end = share + width, best
        else:
            far = best
    middle, gap, error, how = piece.low + (share + width / 2) * way, unlike(end, far), 1.0, None
    if examined and gap < JUMP:
        ahead = way if one.symmetry == more else -way
        how, value, error = _passage(of, middle, ahead, end if one.symmetry == more else far)
        middle = middle + value * ahead
    places = plane.places
    return Breaking(
        edge=(places[piece.edge[0][0]][piece.edge[0][1]], places[piece.edge[1][0]][piece.edge[1][1]]),
        place=plane.place(middle),
        error=error * float(np.linalg.norm(way)),
        shapes=(one, other),
        gap=gap,
        how=how,
    )


def _passage(of: PlaneMap, middle: Point, way: Point, end: Minimum) -> tuple[How, float, float]:
    """What an eigenvalue does as the more symmetric solution, followed that way, loses its symmetry; where, ± what."""
    from tegum.analysis.landscape.continuation import follow
    from tegum.analysis.landscape.critical_points import critical_point

    def features(distance: float) -> FeatureDistribution:
        return of.plane.features(of.plane.place(middle + distance * way))

    for reach in FOLLOWED:
        # From where the eigenvalue is well above its error.
        ((start,),) = of.plane.descended([of.plane.place(middle - reach * way)], [[end]])
        try:
            point = critical_point(start.weights, start.bias, features(-reach), tol=EIGENVALUE_TOLERANCE)
            branch = follow(point, features, [-reach, reach])
        except ValueError:
            continue
        for change in branch.changes:
            match change.kind:
                case "eigenvalue":
                    return "passes", change.value, change.error
                case "jump":
                    return "jumps", change.value, change.error
                case "touch" | "fold" | "merger" | "lost":
                    pass
                case _:
                    assert_never(change.kind)
        # On the kink itself eigenvalues may be undecided: then the index tells it.
        below = [value for value, index in zip(branch.values, branch.index, strict=True) if index == 0]
        above = [value for value, each in zip(branch.values, branch.points, strict=True) if each.negative]
        if below and above and max(below) < min(above):
            low, high = max(below), min(above)
            return "jumps", (low + high) / 2, (high - low) / 2
    return "unseen", 0.0, 1.0


def by_symmetry(breakings: Sequence[Breaking]) -> dict[tuple[int, int], list[Breaking]]:
    """Those that are continuous, by both symmetries, the smaller one first."""
    found: dict[tuple[int, int], list[Breaking]] = {}
    for each in breakings:
        if each.continuous:
            low, high = sorted(shape.symmetry for shape in each.shapes)
            found.setdefault((low, high), []).append(each)
    return dict(sorted(found.items()))
