"""Where the best solution changes along one branch, either its symmetry (continuously) or only its name.

Edges of the grid are cut where boundaries cross them. On every piece, the solutions at both ends are on one branch,
unless something was missed. If their symmetries differ, bisection finds where the symmetry changes. There, one minimum
turns continuously into another: an eigenvalue of the more symmetric one passes through zero, or jumps across it at a
kink of the loss. Otherwise a boundary was missed.
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
"""A change of symmetry is continuous if the solutions on its two sides differ (`unlike`) by less than this."""

FOLLOWED = (0.3, 0.1)
"""How far on both sides of such a change an eigenvalue is followed, as a fraction of the piece, in order of trial."""

BISECTED = 1e-4
"""The bisection for a change of symmetry ends at this fraction of the piece."""

SHORTEST_PIECE = 1e-3
"""Pieces shorter than this fraction of an edge of the grid are skipped."""


How = Literal["passes", "jumps", "unseen"]
"""What an eigenvalue does: it passes through zero; it jumps across zero at a kink of the loss, where the solution turns
abruptly; or neither was seen."""


class _Piece(NamedTuple):
    """A piece of an edge of the grid between two boundaries."""

    edge: Edge
    low: Point
    high: Point
    first: tuple[Minimum, SolutionShape]
    """The best solution at its beginning."""
    last: tuple[Minimum, SolutionShape]
    """The best solution at its end."""


@final
@dataclass(frozen=True, eq=False)
class Breaking:
    """A change in the symmetry of the best solution between two neighbouring grid points."""

    edge: tuple[Place, Place]
    place: Place
    error: float
    """The largest distance from `place` to the true one, in coordinates of the plane."""
    shapes: tuple[SolutionShape, SolutionShape]
    """The shapes at both ends, in order of rising density or strength."""
    gap: float
    """The difference (`unlike`) between the two solutions there."""
    how: How | None
    """What the lowest eigenvalue of the more symmetric solution does there; None if it was not examined."""

    @property
    def continuous(self) -> bool:
        """Whether one solution turns continuously into the other; otherwise a boundary was missed."""
        return self.gap < JUMP


def along(of: PlaneMap, lines: Boundaries, *, examined: bool) -> tuple[list[Breaking], list[tuple[str, str, int]]]:
    """All changes of symmetry along one branch, and all changes of name without one, with their number of edges.

    Args:
        of: the map.
        lines: its boundaries.
        examined: whether to examine eigenvalues, which takes seconds for each change.

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
    """The pieces into which boundaries cut the edges of the grid."""
    plane = of.plane
    for at, _, there in of.edges():
        p, q = (plane.point(plane.places[i][j]) for i, j in (at, there))
        # For each cut, its position along the edge, and the best solutions before and after it, taken from the nearest
        # point of the curve.
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
    """The place on a piece at which the symmetry changes."""
    plane, ((end, one), (far, other)) = of.plane, (piece.first, piece.last)
    more = max(one.symmetry, other.symmetry)
    way = piece.high - piece.low
    share, width = 0.0, 1.0
    while width > BISECTED:
        width /= 2
        (found,) = plane.descended([plane.place(piece.low + (share + width) * way)], [[end, far]])
        best = min(found, key=lambda each: each.loss)
        # Next to the change, some of the permutations that are lost still seem to hold.
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
    """What an eigenvalue does where the more symmetric solution, followed along `way`, loses it; where; its error."""
    from tegum.analysis.landscape.continuation import follow
    from tegum.analysis.landscape.critical_points import critical_point

    def features(distance: float) -> FeatureDistribution:
        return of.plane.features(of.plane.place(middle + distance * way))

    for reach in FOLLOWED:
        # Start where the eigenvalue is well above its error.
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
        # At the kink itself eigenvalues may be undecided; then the index shows the jump.
        below = [value for value, index in zip(branch.values, branch.index, strict=True) if index == 0]
        above = [value for value, each in zip(branch.values, branch.points, strict=True) if each.negative]
        if below and above and max(below) < min(above):
            low, high = max(below), min(above)
            return "jumps", (low + high) / 2, (high - low) / 2
    return "unseen", 0.0, 1.0


def by_symmetry(breakings: Sequence[Breaking]) -> dict[tuple[int, int], list[Breaking]]:
    """The continuous changes, grouped by their two symmetries, the smaller one first."""
    found: dict[tuple[int, int], list[Breaking]] = {}
    for each in breakings:
        if each.continuous:
            low, high = sorted(shape.symmetry for shape in each.shapes)
            found.setdefault((low, high), []).append(each)
    return dict(sorted(found.items()))
