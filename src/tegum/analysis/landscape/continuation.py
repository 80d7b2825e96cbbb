"""A configuration followed along a parameter of its features.

A critical point of the population loss moves smoothly as the density, the importance or the correlation of the
features changes, until an eigenvalue of its Hessian passes zero: there its index changes, or it meets another branch
and ends. `follow` traces such a branch by Euler's predictor and Newton's corrector.

A branch keeps its identity: a step is accepted only if the corrector changes little of what was predicted, and is
halved otherwise. Folds are not followed around; where a branch ends is reported.
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
from tegum.analysis.landscape.tracks import BranchChange, Parameter, Path, Track
from tegum.core.arguments import refusing
from tegum.core.description import short
from tegum.progress.showing import shown
from tegum.progress.tasks import Counts


@final
@dataclass(frozen=True, eq=False)
class Branch:
    """A configuration at rising or falling values of a parameter; if it ends early, the last change says why.

    Example:
        >>> import tegum as tg
        >>> import numpy as np
        >>> feature = tg.FeatureDistribution([tg.Independent(count=1, density=0.3)])
        >>> point = tg.critical_point(np.zeros((1, 1)), np.array([0.15]), feature)
        >>> branch = tg.follow(point, "density", [0.3, 0.6])
        >>> branch.at(0.6).index, branch.complete
        (1, True)

    """

    parameter: str
    """The name of the parameter that changes."""
    values: tuple[float, ...]
    """The values of the parameter: those asked for, as far as the branch exists, and those that the steps needed in
    between."""
    points: tuple[CriticalPoint, ...] = field(repr=False)
    """The critical point at each value."""
    changes: tuple[BranchChange, ...]
    """What happens to the branch, in the order in which it is met."""

    @property
    def complete(self) -> bool:
        """Whether the branch reached the last value."""
        return not self.changes or self.changes[-1].kind in ("eigenvalue", "jump", "touch")

    @property
    def loss(self) -> Float[np.ndarray, " value"]:
        """The loss at every value, summed over features."""
        return np.array([point.loss for point in self.points])

    @property
    def index(self) -> tuple[int | None, ...]:
        """The index at every value, None where it is undecided."""
        return tuple(point.index for point in self.points)

    def at(self, value: float) -> CriticalPoint:
        """Return the critical point at one of `values`.

        Args:
            value: a value of the parameter.

        Returns:
            The critical point there.

        Raises:
            ValueError: the branch has no point at this value.

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
    """Follow a critical point along a parameter of the features, such as density, importance or correlation strength.

    If the parameter is a key and the point's own features have one value of it, the branch is followed from there to
    the first of `values`, and begins there. Otherwise the point must lie near the branch at the first value.

    Args:
        point: any critical point.
        parameter: what changes: a key as `vary` takes it, in the features of the point; or a function from a number
            to a FeatureDistribution.
        values: the values of the parameter, rising or falling, at least one.
        tol: the largest norm of the gradient, as in `critical_point`; None is that of the point.
        progress: whether to show progress, as in `train`; or a function that is called with the number of values
            reached and of all values.

    Returns:
        The branch, with a critical point at each value and the changes of index on the way.

    Raises:
        ValueError: the values neither rise nor fall, `tol` does not lie between 0 and 1, there are no features at
            some value, or there is no critical point or no branch at the first value.

    Example:
        A model of zeros is a saddle at every density p, with the variance p/3 − p²/4 as its loss.

        >>> import tegum as tg
        >>> import numpy as np
        >>> feature = tg.FeatureDistribution([tg.Independent(count=1, density=0.3)])
        >>> point = tg.critical_point(np.zeros((1, 1)), np.array([0.15]), feature)
        >>> branch = tg.follow(point, "density", [0.3, 0.6])
        >>> round(branch.at(0.3).loss, 6), round(branch.at(0.6).loss, 6)
        (0.0775, 0.11)

    """
    targets = np.ravel(np.asarray(values, np.float64)).tolist()
    signs = {np.sign(b - a) for a, b in itertools.pairwise(targets)}
    if not targets or len(signs) > 1 or signs & {0.0} or not np.isfinite(targets).all():
        raise ValueError(f"follow(values={short(targets)}): values must rise or fall, and there must be at least one")
    path = Path.of(parameter, point.features, point, point.tol if tol is None else checked(tol, "follow"), "follow")
    span = abs(targets[-1] - targets[0]) or abs(targets[0]) or 1.0
    with shown(progress, Counts(f"branch along {path.name}", "values"), "follow") as report:
        track = Track(path, point, path.start(point, targets[0]), span, "follow(point)")
        changes: list[BranchChange] = []
        if isinstance(found := track.at(targets[0]), BranchChange):
            raise ValueError(f"follow(values={short(targets)}): there is no branch at the first value; {found}")
        for number, target in enumerate(targets[1:], 1):
            report(number, len(targets))
            if isinstance(found := track.at(target), BranchChange):
                changes = [found]
                break
        else:
            report(len(targets), len(targets))
        first, last = sorted((targets[0], targets[-1]))
        known = [(value, each) for value, each in track.known if first <= value <= last]
        changes = track.passages(known) + changes
    if targets[-1] < targets[0]:
        known.reverse()
        changes.sort(key=lambda change: -change.value)
    return Branch(path.name, tuple(value for value, _ in known), tuple(each for _, each in known), tuple(changes))
