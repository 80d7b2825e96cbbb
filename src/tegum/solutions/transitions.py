"""The lowest solutions of many starts along a parameter, and where one replaces another.

At each value of a parameter of the features, many starts are trained on the exact loss, and the lowest solution counts.
Two neighbouring solutions belong to the same branch if descent from each leads to the other. Otherwise the branches
cross in between, at a root of the difference of their losses (`tegum.phase_boundary`), which is confirmed by fresh
starts there. If these find something lower, that solution is inserted between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
from jaxtyping import Bool

from tegum.solutions.descent import descended, fresh, point_at
from tegum.solutions.searches import searched
from tegum.solutions.solution import SAME, Solution, solution

if TYPE_CHECKING:
    from tegum.analysis.landscape.phases import Boundary
    from tegum.training.spec.spec import Spec


BETWEEN = 5
"""Before the root is found, both branches are compared at this many values between two neighbours."""

TOLERANCES = (1e-4, 1e-6)
"""Roots are found to the first tolerance; ensembles of at least `MANY` starts also get the finer root, to compare."""

ATTEMPTS = 3
"""The most bisections for one passage; each after the first includes a solution that fresh starts have found."""

MANY = 64
"""Ensembles of at least this many starts also get the finer root."""


@final
@dataclass(frozen=True, eq=False)
class Crossing:
    """Where one branch replaces another as the lowest."""

    low: Solution
    """The lowest solution below the crossing."""
    high: Solution
    """The lowest solution above the crossing."""
    boundary: Boundary | None = field(repr=False)
    """The root of the difference of the two losses; None if none was found."""
    rough: Boundary | None = field(repr=False)
    """The same root at the coarser tolerance; None if it was not asked for, or not found."""
    lowest: float
    """The lowest loss that fresh starts find there."""

    @property
    def confirmed(self) -> bool:
        """Whether fresh starts find nothing lower there."""
        return self.boundary is not None and self.lowest > (1 - SAME) * self.boundary.loss

    @property
    def change(self) -> float:
        """The relative difference between the roots at two tolerances; NaN if there are not two."""
        if self.boundary is None or self.rough is None:
            return np.nan
        return abs(self.boundary.value - self.rough.value) / self.boundary.value


def continuous(spec: Spec, parameter: str, solutions: Sequence[Solution]) -> Bool[np.ndarray, " gap"]:
    """Whether each solution and the next are on one branch: descent from each leads to the loss of the other."""
    pairs = list(pairwise(solutions))
    upwards = descended(spec, parameter, [(high.value, low) for low, high in pairs])
    downwards = descended(spec, parameter, [(low.value, high) for low, high in pairs])
    return np.array(
        [
            abs(up.loss - high.loss) <= SAME * high.loss and abs(down.loss - low.loss) <= SAME * low.loss
            for up, down, (low, high) in zip(upwards, downwards, pairs, strict=True)
        ],
        bool,
    )


def crossings(
    spec: Spec, parameter: str, pairs: Sequence[tuple[Solution, Solution]], *, starts: int, key: int, depth: int = 3
) -> list[Crossing]:
    """The crossings between the two lowest solutions of each pair, in order of rising parameter.

    Args:
        spec: a run at any value; its features, hidden dimension and start are used.
        parameter: the parameter, as in `tegum.vary`.
        pairs: the lowest solutions at two neighbouring values, on different branches.
        starts: the number of fresh starts at each root.
        key: the base seed of the fresh starts.
        depth: how many times a lower solution that they find may be inserted between two.

    """
    if not pairs:
        return []
    brackets = _brackets(spec, parameter, pairs)
    # Look for lower solutions at rough estimates of the roots first: inserting one there saves finding a root.
    below = _lower_at_guesses(spec, parameter, brackets, starts, key) if depth else {}
    found = {k: _split(spec, parameter, pairs[k], third, starts, key, depth) for k, third in below.items()}
    left = [k for k in range(len(pairs)) if k not in found]
    roots = _roots(spec, parameter, [brackets[k] for k in left], fine=starts >= MANY)
    values = [brackets[k].guess if root is None else root.value for k, (root, _) in zip(left, roots, strict=True)]
    for k, (root, other), lowest_there in zip(left, roots, fresh(spec, parameter, values, starts, key), strict=True):
        crossing = Crossing(*brackets[k].ends, root, other, lowest_there.loss)
        if root is not None and not crossing.confirmed and depth:
            found[k] = _split(spec, parameter, pairs[k], lowest_there, starts, key, depth)
        else:
            found[k] = [crossing]
    return [crossing for k in range(len(pairs)) for crossing in found[k]]


def _lower_at_guesses(
    spec: Spec, parameter: str, brackets: Sequence[_Bracket], starts: int, key: int
) -> dict[int, Solution]:
    """By number of the bracket: what fresh starts find about where its root is, if lower than both branches there."""
    known = iter(descended(spec, parameter, [(each.guess, end) for each in brackets for end in each.ends]))
    guesses = [each.guess for each in brackets]
    return {
        k: third
        for k, third in enumerate(fresh(spec, parameter, guesses, starts, key))
        if third.loss < (1 - SAME) * min(next(known).loss, next(known).loss)
    }


def _roots(
    spec: Spec, parameter: str, brackets: Sequence[_Bracket], *, fine: bool
) -> list[tuple[Boundary | None, Boundary | None]]:
    """The root of each bracket, and with `fine` first a finer one; otherwise the second is None."""
    calls = [
        partial(_root, spec, parameter, *each.ends, tolerance)
        for tolerance in TOLERANCES[: 2 if fine else 1]
        for each in brackets
    ]
    met = searched(calls, "searching for crossings", "roots")
    rough, finer = met[: len(brackets)], met[len(brackets) :]
    return list(zip(finer, rough, strict=True)) if finer else [(root, None) for root in rough]


def _split(
    spec: Spec, parameter: str, pair: tuple[Solution, Solution], third: Solution, starts: int, key: int, depth: int
) -> list[Crossing]:
    between = [(pair[0], third), (third, pair[1])]
    return crossings(spec, parameter, between, starts=starts, key=key, depth=depth - 1)


def beyond(spec: Spec, parameter: str, met: Sequence[Crossing], ratio: float, points: int = 6) -> list[list[Solution]]:
    """Each branch beyond a crossing, where it is no longer the lowest, up to a ratio of the parameter.

    The branch is followed by descent, step by step. It ends where a step moves it more than twice as far as the last.
    """
    from tegum.analysis.landscape.surface import distance

    lines = []
    for crossing in met:
        if (root := crossing.boundary) is not None:
            for point, end in ((root.a, min(1.0, root.value * ratio)), (root.b, root.value / ratio)):
                lines.append(([solution(root.value, point)], np.linspace(root.value, end, points)[1:].tolist()))
    moved = [np.inf] * len(lines)
    for step in range(points - 1):
        going = [k for k, (line, _) in enumerate(lines) if len(line) == step + 1]
        for k, there in zip(
            going, descended(spec, parameter, [(lines[k][1][step], lines[k][0][-1]) for k in going]), strict=True
        ):
            last = lines[k][0][-1]
            way = distance(there.weights, there.bias, last.weights, last.bias)
            if way <= min(max(2 * moved[k], 0.02), 0.2):
                lines[k][0].append(there)
                moved[k] = way
    return [line for line, _ in lines]


@final
@dataclass(frozen=True, eq=False)
class Passage:
    """The value of a parameter at which a condition on the lowest solution becomes true."""

    value: float
    error: float
    low: Solution
    """The lowest solution just below."""
    high: Solution
    """The lowest solution just above."""
    confirmed: bool
    """Whether fresh starts find nothing lower there; True if none were asked for."""


def passage(
    spec: Spec,
    parameter: str,
    low: Solution,
    high: Solution,
    passed: Callable[[Solution], bool],
    *,
    starts: int = 0,
    key: int = 0,
) -> Passage:
    """The value between two lowest solutions at which a condition on the lowest one becomes true, by bisection.

    Args:
        spec: as in `crossings`.
        parameter: as in `crossings`.
        low: a solution for which the condition is false.
        high: a solution at a higher value, for which it is true.
        passed: the condition.
        starts: the number of fresh starts trained there. If they find something lower, it replaces `low` or `high`.
        key: the base seed of the fresh starts.

    """

    def descend(value: float, ends: tuple[Solution, Solution], _: tuple[Solution, Solution]) -> Solution:
        # From where the search began: what a bisection finds on the way may have left its branch.
        return min(descended(spec, parameter, [(value, end) for end in ends]), key=lambda each: each.loss)

    def lowest(value: float) -> Solution:
        return fresh(spec, parameter, [value], starts, key)[0]

    return bisected(low, high, passed, descend, lowest if starts else None)


def bisected(
    low: Solution,
    high: Solution,
    passed: Callable[[Solution], bool],
    descend: Callable[[float, tuple[Solution, Solution], tuple[Solution, Solution]], Solution],
    lowest: Callable[[float], Solution] | None,
    *,
    error: float = 1e-6,
    same: float = SAME,
) -> Passage:
    """Where between two lowest solutions something comes true of the lowest one, by bisection.

    Args:
        low: of which it is not true.
        high: of which it is; at a higher value.
        passed: whether it is true of a solution.
        descend: the lowest solution at a value to which descent leads from the ends with which the search began, the
            second argument, or from those that it has come to, the third one.
        lowest: the lowest solution of fresh starts at a value, which must be no lower than both ends there; otherwise
            it takes the place of one of them, and the search starts again. None if none are asked for.
        error: of the value, relative.
        same: losses that differ by a smaller part are those of one solution.

    """
    below, above, confirmed = low, high, lowest is None
    for _ in range(ATTEMPTS):
        below, above = low, high
        while above.value - below.value > error * above.value:
            there = descend((below.value + above.value) / 2, (low, high), (below, above))
            below, above = (below, there) if passed(there) else (there, above)
        if lowest is None:
            break
        third = lowest((below.value + above.value) / 2)
        confirmed = third.loss > (1 - same) * min(below.loss, above.loss)
        if confirmed:
            break
        low, high = (low, third) if passed(third) else (third, high)
    return Passage((below.value + above.value) / 2, above.value - below.value, below, above, confirmed)


class _Bracket(NamedTuple):
    """Two lowest solutions close to their crossing."""

    ends: tuple[Solution, Solution]
    guess: float
    """An estimate of the crossing."""


def _brackets(spec: Spec, parameter: str, pairs: Sequence[tuple[Solution, Solution]]) -> list[_Bracket]:
    """Each pair brought closer to the root: over the short distance left, a branch seldom ends on the way."""
    shares = np.linspace(0, 1, BETWEEN + 2).tolist()
    starts = [
        (low.value + share * (high.value - low.value), each)
        for low, high in pairs
        for each in (low, high)
        for share in shares
    ]
    ends = iter(descended(spec, parameter, starts))
    found = []
    for _ in pairs:
        below, above = [[next(ends) for _ in shares] for _ in range(2)]
        # Where a branch has ended, descent falls onto the other one, and the difference is zero.
        lower = [a.loss < b.loss * (1 - 1e-8) for a, b in zip(below, above, strict=True)]
        at = max(lower.index(False) if False in lower else len(lower) - 1, 1)
        before, after = (below[k].loss - above[k].loss for k in (at - 1, at))
        share = before / (before - after) if before < 0 <= after else 0.5
        guess = below[at - 1].value + share * (above[at].value - below[at - 1].value)
        found.append(_Bracket((below[at - 1], above[at]), guess))
    return found


def _root(spec: Spec, parameter: str, low: Solution, high: Solution, tol: float) -> Boundary | None:
    """The crossing between their values; None if there is none, or if one of the branches ends before it."""
    from tegum.analysis.landscape.phases import phase_boundary

    try:
        one, other = (point_at(spec, parameter, each, tol) for each in (low, high))
        return phase_boundary(one, other, spec.features, parameter, low.value, high.value, tol=tol)
    except ValueError:
        return None
