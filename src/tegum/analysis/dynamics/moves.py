"""Which feature moves most in a window, such as a drop of the loss, and whether it moves more than at rest.

It is the feature whose dimensionality differs most between the ends of the window. Its null is the same number for
windows of the same length at every other place in the late part of the run where nothing jumps: the largest change
of many features is never 0, since noise and slow drifts move all of them.

Times are in optimiser steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar, final

import numpy as np
from jaxtyping import Float

from tegum.analysis.dynamics.drops import FEWEST_SHIFTS
from tegum.analysis.dynamics.levels import LATE
from tegum.analysis.dynamics.windows import Window, arranged, labels
from tegum.core.arguments import refusing

if TYPE_CHECKING:
    import xarray as xr

NO_EXCESS = 1e-9
"""Dimensionalities of a steady drift are equal up to this rounding error, which is not an excess."""

Kind = TypeVar("Kind", bound=Window)


@final
@dataclass(frozen=True, eq=False)
class Move(Generic[Kind]):
    """The feature that moves most in a window, and what the same measurement gives elsewhere in the run."""

    window: Kind
    """The window in which the motion is measured."""
    feature: int
    """The label of the feature that moves most."""
    before: float
    """The feature's dimensionality where the window starts; NaN in a run that diverged."""
    after: float
    """The feature's dimensionality where the window ends; NaN in a run that diverged."""
    null: Float[np.ndarray, " shift"]
    """The largest absolute change of any feature's dimensionality at every other place where nothing jumps."""

    @property
    def change(self) -> float:
        """The change in dimensionality, positive for a rise."""
        return self.after - self.before

    @property
    def measurable(self) -> bool:
        """Whether there is a change, and a null large enough to compare it with."""
        return bool(np.isfinite(self.change)) and len(self.null) >= FEWEST_SHIFTS

    @property
    def limit(self) -> float:
        """The 95 % quantile of the null, in dimensionality."""
        return float(np.quantile(self.null, 0.95)) if self.measurable else np.nan

    @property
    def significant(self) -> bool:
        """Whether the change exceeds the 95 % quantile of the null, as happens by chance one time in twenty."""
        return self.measurable and abs(self.change) > self.limit + NO_EXCESS


@refusing
def largest_moves(
    windows: Sequence[Kind], dimensionality: xr.DataArray, jumps: Iterable[Window], *, late: float = LATE
) -> list[Move[Kind]]:
    """Find the feature that moves most in each window, with a time-shifted null.

    The null moves the window to every other place in the late part of the run at which it meets no jump and none of
    the windows: that is the exact distribution of a randomly drawn shift.

    Args:
        windows: windows of the runs in `dimensionality`, with their ends at its steps.
        dimensionality: of every feature at every snapshot, dims (seed, step, feature), at evenly spaced steps.
        jumps: everything that jumps, early jumps included: the null avoids them.
        late: the initial fraction of training, which the null leaves out.

    Returns:
        One `Move` per window, with the feature, its change and the null.

    Raises:
        ValueError: the dims are others, the steps are not evenly spaced, there is no feature, `late` lies outside
            [0, 1), or a window belongs to no run or has an end at no snapshot.

    Example:
        In a drop of the loss, feature 1 slides from 0.5 to 0.56, too little for a jump; elsewhere nothing moves.

        >>> import tegum as tg
        >>> import numpy as np
        >>> import xarray as xr
        >>> step = np.arange(0, 10_001, 100)
        >>> slide = 0.5 + 0.06 * (step >= 5_000)
        >>> levels = np.stack([np.full(len(step), 0.5), slide], axis=-1)[None]
        >>> levels = xr.DataArray(levels, {"seed": [0], "step": step, "feature": [0, 1]}, ("seed", "step", "feature"))
        >>> drop = tg.LossDrop(seed=0, start=4_900, end=5_100, size=0.2, strength=25.0)
        >>> [move] = tg.largest_moves([drop], levels, jumps=[])
        >>> move.feature, round(move.change, 6), move.significant
        (1, 0.06, True)

    """
    if not 0 <= late < 1:
        raise ValueError(f"largest_moves(late={late!r}): late must lie in [0, 1)")
    values, step = arranged(dimensionality, ("seed", "step", "feature"), "largest_moves(dimensionality)")
    if not values.shape[-1]:
        raise ValueError("largest_moves(dimensionality without features): there must be one")
    values = np.where(np.isfinite(values), values, np.nan)
    features = labels(dimensionality, "feature").tolist()
    row_of = {seed: row for row, seed in enumerate(labels(dimensionality, "seed").tolist())}
    place_of = {at: place for place, at in enumerate(step.tolist())}
    for window in windows:
        if window.seed not in row_of:
            raise ValueError(f"largest_moves(window of the run {window.seed}): dimensionality has no run of that seed")
        for end in (window.start, window.end):
            if end not in place_of:
                raise ValueError(f"largest_moves(window with an end at step {end}): there is no snapshot of that step")
    busy_in = {seed: np.zeros(max(len(step) - 1, 0), bool) for seed in row_of}
    for window in (*windows, *jumps):
        if window.seed in busy_in:
            busy_in[window.seed] |= (step[1:] > window.start) & (step[:-1] < window.end)
    moves = []
    for window in windows:
        own, first, last = values[row_of[window.seed]], place_of[window.start], place_of[window.end]
        length = last - first
        changes = own[length:] - own[: len(own) - length]
        largest = np.abs(changes).max(1)
        held = np.concatenate([[0], np.cumsum(busy_in[window.seed])])
        free = (held[length:] == held[: len(held) - length]) & (step[: len(own) - length] >= late * step[-1])
        null = largest[free & np.isfinite(largest)]
        # argmax takes NaN as the largest, so that a run that diverged gives NaN.
        feature = int(np.argmax(np.abs(changes[first])))
        ends = (float(own[first, feature]), float(own[last, feature]))
        moves.append(Move(window, features[feature], *ends, null))
    return moves
