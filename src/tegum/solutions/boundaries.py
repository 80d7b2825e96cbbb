"""Boundaries on a plane of density and correlation strength, as curves, and the triple points where they meet.

On a boundary, two solutions a and b are the lowest and have the same loss. Starting from a root between two neighbours
of the grid, the boundary is followed by continuation: a step along the tangent, then Newton's method for L_a − L_b = 0
across it, with both solutions taken to their minima at every point. The slope of L_a − L_b is computed at fixed
weights, because gradients vanish at minima. A curve ends at the edge of the plane, at a triple point, where a third
solution becomes lower than both, or where a and b merge; beyond that point the change is gradual.

Coordinates are those of `Plane`, from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from tegum.solutions.boundary_curves import (
    Boundaries,
    BoundaryCurve,
    BoundaryPoint,
    Finish,
    Point,
    Triple,
    crossed,
    line_distance,
    outside,
    tangent,
    unlike,
    within,
)
from tegum.solutions.descent import LOSS_ACCURACY
from tegum.solutions.plane import ALIKE, Minimum, Place, PlaneMap

LONGEST_STEP, SHORTEST_STEP = 0.03, 3e-5
"""The longest step along a curve, and the shortest: where a step would have to be shorter still, the curve ends. Both
are in coordinates of the plane, whose sides are 1."""

STRAIGHT, BENT = 0.995, 0.98
"""Steps get longer if the cosine between successive tangents is above the first, and shorter if below the second."""

FARTHEST, SMALLEST = 4.0, 1e-3
"""The longest and the shortest curve kept, except between triple points; a diagonal of the plane is 1.4."""

SUSPECT = 0.2
"""Neighbouring solutions that differ by more than this are examined even if they seem to be on one branch."""

LEAP = 0.2
"""A minimum that moves farther than this in one step has become another one."""

MERGED = 1e-3
"""Solutions that differ by less than this have merged."""

CLOSE, VAGUE = 1e-6, 0.1
"""The last step of Newton's method, in coordinates of the plane; the largest error of a point, in grid spacings."""

LOWER = 1e-6
"""A third solution counts as lower only by at least this fraction."""

TRIED = 6
"""The most steps of Newton's method."""

HALVED = 8
"""The number of bisections of an edge of the grid before Newton's method finds the root."""

WIDTH = 1e-3
"""The step of the finite differences that give slopes, in coordinates of the plane."""

NEARBY = 2
"""On a curve, solutions up to this many grid points away on every side are tried as lower ones."""

FEW = 6
"""At each of the nearest grid points, this many of the lowest other minima are tried as well."""

MEET = 1e-3
"""Triple points closer together than this are the same."""


def boundaries(of: PlaneMap) -> Boundaries:
    """All boundaries between lowest solutions of a map."""
    return _Tracer(of).trace()


class _Tracer:
    def __init__(self, of: PlaneMap) -> None:
        self.map, self.plane = of, of.plane
        self.grid = 1 / max(len(self.plane.densities) - 1, len(self.plane.strengths) - 1)
        self.curves: list[BoundaryCurve] = []
        self.triples: list[Triple] = []
        self.waiting: list[BoundaryPoint] = []

    def trace(self) -> Boundaries:
        ends = self.map.ends
        parted = {(at, there) for at, side, there in self.map.edges() if not self.map.same(at, side)}
        # If both branches end between two neighbours, descent from each leads to the other although they differ.
        left = [
            (at, there)
            for at, _, there in self.map.edges()
            if (at, there) in parted or unlike(ends[at[0]][at[1]], ends[there[0]][there[1]]) > SUSPECT
        ]
        unfound = []
        while left:
            at, there = left.pop()
            found = self._on_edge(at, there)
            if not found and (at, there) in parted:
                unfound.append((at, there))
            for pair in found:
                if not any(self._known(pair, curve) for curve in self.curves):
                    self._add(pair)
                    left = [edge for edge in left if not crossed(self.plane, edge, self.curves)]
        places = self.plane.places
        # An edge without a root of its own may still be crossed by a curve found later.
        missing = [edge for edge in unfound if not crossed(self.plane, edge, self.curves)]
        return Boundaries(
            tuple(self.curves),
            tuple(self.triples),
            tuple((places[i][j], places[x][y]) for (i, j), (x, y) in missing),
        )

    def _add(self, pair: BoundaryPoint) -> None:
        """Trace the curve through a point, and those that begin where it ends."""
        back, first = self._followed(pair, -1)
        forth, last = self._followed(pair, 1)
        self._keep([*reversed(back), pair, *forth], (first, last))
        while self.waiting:
            start = self.waiting.pop()
            if any(self._known(start, curve) for curve in self.curves):
                continue
            line, end = self._followed(start, 1)
            if line:
                self._keep([start, *line], ("triple", end))

    def _keep(self, pairs: Sequence[BoundaryPoint], finish: tuple[Finish, Finish]) -> None:
        """Keep a curve, unless it has almost no length: a point where the two solutions grow out of one another."""
        length = sum(float(np.linalg.norm(b.point - a.point)) for a, b in pairwise(pairs))
        if length > SMALLEST or finish == ("triple", "triple"):
            places = tuple(self.plane.place(each.point) for each in pairs)
            self.curves.append(BoundaryCurve(tuple(pairs), places, finish))

    def _followed(self, start: BoundaryPoint, sign: int) -> tuple[list[BoundaryPoint], Finish]:
        """The curve from a point onwards, and how it ends; a positive sign follows the tangent's own direction."""
        step = LONGEST_STEP
        ahead = sign * tangent(start.slope)
        now, line = start, []
        while len(line) < FARTHEST / LONGEST_STEP:
            target, along = within(now.point, step * ahead)
            there = self._corrected(target, now.a, now.b, now.slope, along, step)
            if there is None or (along is None and outside(there.point)):
                step /= 2
                if step < SHORTEST_STEP:
                    return line, self._end(now, line)
                continue
            if (third := self._lower(there)) is not None:
                if self._to_triple(there, third, line):
                    return line, "triple"
                if (there := self._instead(there, third)) is None:
                    return line, "lost"
            line.append(there)
            if along is not None:
                return line, "edge"
            turned = tangent(there.slope)
            turned = turned if turned @ ahead > 0 else -turned
            if len(line) > 4 and np.linalg.norm(there.point - start.point) < step:
                return line, "closed"
            step = _next_step(step, float(turned @ ahead))
            now, ahead = there, turned
        return line, "lost"

    def _end(self, last: BoundaryPoint, line: Sequence[BoundaryPoint]) -> Finish:
        """How a curve ends where no step leads on: whether the two solutions merge there."""
        before = [unlike(each.a, each.b) for each in line[-6:-1]]
        now = unlike(last.a, last.b)
        return "merged" if now < 0.1 and (not before or now < 0.7 * max(before)) else "lost"

    def _corrected(
        self, point: Point, a: Minimum, b: Minimum, slope: Point, along: Point | None, reach: float
    ) -> BoundaryPoint | None:
        """The point of a and b's boundary next to a point, across it or along a direction; None if there is none."""
        a0, b0, last = a, b, None
        for attempt in range(TRIED):
            (found,) = self.plane.descended([self.plane.place(point)], [[a, b]])
            a, b = found
            moved = max(_moved(a, a0), _moved(b, b0))
            if not moved < LEAP or unlike(a, b) < MERGED:
                return None
            difference = a.loss - b.loss
            if last is not None and (way := point - last[0]) @ way > 0:
                # Broyden's update, from the change over the last step.
                slope = slope + (difference - last[1] - slope @ way) / (way @ way) * way
            if attempt == 0:
                slope = self._slope(point, a, b)
            across = along if along is not None else slope / max(np.linalg.norm(slope), 1e-300)
            rise = float(slope @ across)
            if rise == 0:
                return None
            step = -difference / rise * across
            size = float(np.linalg.norm(step))
            if size > 2 * reach + SHORTEST_STEP:
                return None
            if size < CLOSE:
                # Where the two solutions have all but merged, the boundary cannot be located.
                error = size + 2 * LOSS_ACCURACY / abs(rise)
                return BoundaryPoint(point, a, b, slope, error) if error < VAGUE * self.grid else None
            last = point, difference
            point = point + step
            if along is not None and outside(point):
                return None
        return None

    def _slope(self, point: Point, a: Minimum, b: Minimum) -> Point:
        """The slope of L_a − L_b, at fixed weights."""
        slopes = self._slopes(point, (a, b))
        return slopes[0] - slopes[1]

    def _slopes(self, point: Point, ends: Sequence[Minimum]) -> Float[np.ndarray, "solution xy"]:
        """The slopes of the losses of some solutions along both coordinates, at fixed weights."""
        from tegum.core.population.evaluate import evaluate

        beside = [np.clip(point + sign * WIDTH * axis, 0, 1) for axis in np.eye(2) for sign in (1, -1)]
        features = [self.plane.features(self.plane.place(each)) for each in beside]
        found = evaluate(
            np.repeat([each.weights for each in ends], 4, 0),
            np.repeat([each.bias for each in ends], 4, 0),
            features * len(ends),
            order=0,
            tol=LOSS_ACCURACY,
            activation=self.plane.spec.activation,
            strict=False,
        )
        widths = np.diag([(beside[k] - beside[k + 1])[k // 2] for k in (0, 2)])
        losses = found.loss.reshape(-1, 2, 2)
        return (losses[:, :, 0] - losses[:, :, 1]) @ np.linalg.inv(widths)

    def _lower(self, pair: BoundaryPoint) -> Minimum | None:
        """The lowest of the nearby solutions after descent here, if it is lower than both."""
        best = min(self._nearby(pair.point), key=lambda each: each.loss)
        return best if best.loss < (1 - LOWER) * min(pair.a.loss, pair.b.loss) else None

    def _nearby(self, point: Point) -> list[Minimum]:
        rows, columns = (
            _around(x, len(own)) for x, own in zip(point, (self.plane.densities, self.plane.strengths), strict=True)
        )
        around = [self.map.ends[i][j] for i in rows for j in columns]
        middle = [(i, j) for i in rows[NEARBY - 1 : NEARBY + 1] for j in columns[NEARBY - 1 : NEARBY + 1]]
        for i, j in middle:
            rivals = self.map.rivals[i][j][:FEW]
            around += [each for each in rivals if all(unlike(each, other) > ALIKE for other in around)]
        (found,) = self.plane.descended([self.plane.place(point)], [around])
        return found

    def _to_triple(self, there: BoundaryPoint, third: Minimum, line: list[BoundaryPoint]) -> bool:
        """Whether the line can be extended to a triple point just before a point at which a third solution is lower."""
        triple = self._triple(there.point, (there.a, there.b, third))
        for _ in range(2):
            if triple is None or triple.lowest:
                break
            # A fourth solution lies in between.
            third = min(self._nearby(triple.point), key=lambda each: each.loss)
            triple = self._triple(triple.point, (there.a, there.b, third))
        if triple is None:
            return False
        slopes = self._slopes(triple.point, triple.ends)
        error = triple.away
        line.append(BoundaryPoint(triple.point, *triple.ends[:2], slopes[0] - slopes[1], error))
        if any(np.linalg.norm(each.point - triple.point) < MEET for each in self.triples):
            return True
        self.triples.append(triple)
        for one, other, rest in ((0, 2, 1), (1, 2, 0)):
            slope = slopes[one] - slopes[other]
            # Orient it away from where the third solution is lower.
            if tangent(slope) @ (slopes[rest] - slopes[one]) < 0:
                one, other, slope = other, one, -slope
            self.waiting.append(BoundaryPoint(triple.point, triple.ends[one], triple.ends[other], slope, error))
        return True

    def _instead(self, there: BoundaryPoint, third: Minimum) -> BoundaryPoint | None:
        """The boundary after a third solution has replaced the more similar one of the two; None if there is none.

        This happens where a solution has lost a symmetry, or was not the lowest of several nearby minima.
        """
        a, b = (third, there.b) if unlike(third, there.a) < unlike(third, there.b) else (there.a, third)
        pair = self._corrected(there.point, a, b, there.slope, None, LONGEST_STEP)
        return None if pair is None or outside(pair.point) or self._lower(pair) is not None else pair

    def _triple(self, point: Point, ends: tuple[Minimum, Minimum, Minimum]) -> Triple | None:
        """The triple point of three solutions close to a point; None if there is none."""
        begin, starts = point, ends
        for _ in range(2 * TRIED):
            (found,) = self.plane.descended([self.plane.place(point)], [ends])
            ends = (found[0], found[1], found[2])
            if not max(_moved(each, old) for each, old in zip(ends, starts, strict=True)) < 2 * LEAP:
                return None
            slopes = self._slopes(point, ends)
            matrix = slopes[0] - slopes[1:]
            differences = np.array([ends[0].loss - ends[1].loss, ends[0].loss - ends[2].loss])
            if np.linalg.matrix_rank(matrix) < 2:
                return None
            step = -np.linalg.solve(matrix, differences)
            size = float(np.linalg.norm(step))
            if size < CLOSE:
                left = size + float(np.linalg.norm(np.linalg.inv(matrix), 2)) * 2 * LOSS_ACCURACY
                place, aside = self.plane.place(point), self.plane.place(point + left)
                low = min(each.loss for each in self._nearby(point))
                error = Place(abs(aside.density - place.density), abs(aside.strength - place.strength))
                return Triple(point, left, place, error, ends, low >= (1 - LOWER) * ends[0].loss)
            point = point + step * min(1.0, self.grid / size)
            if np.linalg.norm(point - begin) > 3 * self.grid or outside(point):
                return None
        return None

    def _on_edge(self, at: tuple[int, int], there: tuple[int, int], depth: int = 2) -> list[BoundaryPoint]:
        """The points at which boundaries cross an edge of the grid."""
        ends = [self.plane.point(self.plane.places[i][j]) for i, j in (at, there)]
        a, b = (self.map.ends[i][j] for i, j in (at, there))
        return self._between(ends[0], a, ends[1], b, depth)

    def _between(self, low: Point, a: Minimum, high: Point, b: Minimum, depth: int) -> list[BoundaryPoint]:
        """The crossings on a straight line between a, the lowest at its beginning, and b, the lowest at its end."""
        start, stop, first, last = low, high, a, b
        for _ in range(HALVED):
            middle = (low + high) / 2
            (found,) = self.plane.descended([self.plane.place(middle)], [[a, b]])
            if unlike(*found) < MERGED:
                # One of the branches has ended: the one that the merged solution resembles less.
                lower = unlike(found[0], a) < unlike(found[1], b)
            else:
                lower = found[0].loss < found[1].loss
            if lower:
                low, a = middle, found[0]
            else:
                high, b = middle, found[1]
        along = (stop - start) / np.linalg.norm(stop - start)
        middle = (low + high) / 2
        slope = self._slope(middle, a, b)
        pair = self._corrected(middle, a, b, slope, along, self.grid)
        if pair is None or not 0 <= (pair.point - start) @ along <= np.linalg.norm(stop - start):
            return []
        third = self._lower(pair)
        if third is None:
            return [pair]
        if not depth:
            return []
        return [
            *self._between(start, first, pair.point, third, depth - 1),
            *self._between(pair.point, third, stop, last, depth - 1),
        ]

    def _known(self, pair: BoundaryPoint, curve: BoundaryCurve) -> bool:
        """Whether a curve passes through this point with the same two solutions."""
        points = np.array([each.point for each in curve.pairs])
        nearest = int(np.linalg.norm(points - pair.point, axis=1).argmin())
        if line_distance(points, pair.point) > 0.05 * self.grid:
            return False
        own = curve.pairs[nearest]
        return (
            min(max(unlike(pair.a, own.a), unlike(pair.b, own.b)), max(unlike(pair.a, own.b), unlike(pair.b, own.a)))
            < 0.1
        )


def _next_step(step: float, straightness: float) -> float:
    """Of the curve, which is drawn with shorter steps where it turns; given the cosine between its last tangents."""
    if straightness < BENT:
        return max(step / 2, SHORTEST_STEP)
    return min(1.5 * step, LONGEST_STEP) if straightness > STRAIGHT else step


def _moved(now: Minimum, before: Minimum) -> float:
    from tegum.analysis.landscape.surface import distance

    return distance(now.weights, now.bias, before.weights, before.bias)


def _around(coordinate: float, count: int) -> range:
    """The indices of the grid points closest to a coordinate."""
    below = int(np.floor(np.clip(coordinate, 0, 1) * (count - 1)))
    return range(max(below - NEARBY + 1, 0), min(below + NEARBY, count - 1) + 1)
