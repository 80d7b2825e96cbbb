"""A configuration followed along a parameter of its features.

A critical point of the population loss (`landscape`) moves smoothly while the density, the importance or the
correlation of the features changes, until an eigenvalue of its Hessian passes zero: there it changes its index, or it
meets another branch and ends. `follow` goes along such a branch, by Euler's predictor and Newton's corrector.

A branch stays itself: a step is taken only where the corrector changes little of what was predicted, else it is
halved. Nothing is followed around a fold; where a branch ends is reported.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Float

from tegum.analysis.landscape.critical_points import CriticalPoint
from tegum.analysis.landscape.surface import checked
from tegum.analysis.landscape.tracks import Change, Parameter, Path, Track
from tegum.core.arguments import refusing
from tegum.core.description import short
from tegum.progress.showing import shown
from tegum.progress.tasks import Counts


@final
@dataclass(frozen=True, eq=False)
class Branch:
    """A configuration at rising or falling values of a parameter; it ends early where the last change says why."""

    parameter: str
    values: tuple[float, ...]
    """Those asked for, as far as it exists, and those between that the steps needed."""
    points: tuple[CriticalPoint, ...] = field(repr=False)
    """One for each value."""
    changes: tuple[Change, ...]
    """In the order in which they are met."""

    @property
    def complete(self) -> bool:
        """Whether it reached the last value."""
        return not self.changes or self.changes[-1].kind in ("eigenvalue", "jump", "touch")

    @property
    def loss(self) -> Float[np.ndarray, " value"]:
        """The loss at every value."""
        return np.array([point.loss for point in self.points])

    @property
    def index(self) -> tuple[int | None, ...]:
        """The index at every value, None where it is undecided."""
        return tuple(point.index for point in self.points)

    def at(self, value: float) -> CriticalPoint:
        """The point at one of `values`.

        Raises:
            ValueError: the branch has no point there.

        """
        if value not in self.values:
            raise ValueError(f"Branch.at({value!r}): the branch has no point there; it has {len(self.values)} others")
        return self.points[self.values.index(value)]


@refusing
def follow(
    point: CriticalPoint,
    parameter: Parameter,
    values: Sequence[float] | np.ndarray,
    *,
    tol: float | None = None,
    progress: bool | Callable[[int, int], None] | None = True,
) -> Branch:
    """The branch of critical points through one, along a parameter of the features.

    Where the parameter is a key and the point's own features have a value of it, the branch is followed from there
    to the first of `values`, and begins there. Else the point must lie near the branch at the first value.

    Args:
        point: any critical point.
        parameter: what changes: a key as `vary` takes it, in the features of the point, or a function that
            returns the features at a number.
        values: rising or falling, at least one.
        tol: as in `critical_point`; by default that of the point.
        progress: as in `train`; a function is called with how many of the values have been reached, and all of them.

    Raises:
        ValueError: values neither rise nor fall, `tol` does not lie between 0 and 1, there are no features at one
            value, or there is no critical point nearby or no branch at the first value.

    """
    targets = np.ravel(np.asarray(values, np.float64)).tolist()
    signs = {np.sign(b - a) for a, b in itertools.pairwise(targets)}
    if not targets or len(signs) > 1 or signs & {0.0} or not np.isfinite(targets).all():
        raise ValueError(f"follow(values={short(targets)}): values must rise or fall, and there must be at least one")
    path = Path.of(parameter, point.features, point, point.tol if tol is None else checked(tol, "follow"), "follow")
    span = abs(targets[-1] - targets[0]) or abs(targets[0]) or 1.0
    with shown(progress, Counts(f"branch along {path.name}", "values"), "follow") as told:
        track = Track(path, point, path.start(point, targets[0]), span, "follow(point)")
        changes: list[Change] = []
        if isinstance(found := track.at(targets[0]), Change):
            raise ValueError(f"follow(values={short(targets)}): there is no branch at the first value; {found}")
        for number, target in enumerate(targets[1:], 1):
            told(number, len(targets))
            if isinstance(found := track.at(target), Change):
                changes = [found]
                break
        else:
            told(len(targets), len(targets))
        first, last = sorted((targets[0], targets[-1]))
        known = [(value, each) for value, each in track.known if first <= value <= last]
        changes = track.passages(known) + changes
    if targets[-1] < targets[0]:
        known.reverse()
        changes.sort(key=lambda change: -change.value)
    return Branch(path.name, tuple(value for value, _ in known), tuple(each for _, each in known), tuple(changes))
