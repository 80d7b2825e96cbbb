"""Regimes of training: stretches on which the loss falls and on which it does not, and what moves on each.

Elhage et al. 2022 ("Learning as Geometric Transformations"): "The learning proceeds in distinct regimes which are
visible in the loss curve, with each regime corresponding to a distinct geometric transformation". Regimes are found
in the loss alone, and motions in the weights alone (`tegum.analysis.dynamics.motions`), so that one can ask whether
they belong together.

Time is the logarithm of the step, as for plateaus (`tegum.analysis.dynamics.plateaus`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Float, Int

from tegum.analysis.dynamics.motions import Parts, shares
from tegum.analysis.dynamics.plateaus import FALL, LEAST_STRETCH, plateaus_of
from tegum.core.arguments import refusing

DIP = 0.5
"""A fall is divided in two where its rate between two peaks is at most this fraction of the lower peak."""


@final
@dataclass(frozen=True)
class Regime:
    """A stretch of training on which the loss falls, or on which it does not."""

    kind: Literal["plateau", "fall"]
    """Whether the loss stays ("plateau") or falls ("fall")."""
    first: int
    """The position of the regime's first snapshot."""
    last: int
    """The position of its last snapshot, which is the first one of the next regime."""
    start: int
    """The step of its first snapshot."""
    end: int
    """The step of its last snapshot."""
    before: float
    """The loss at its first snapshot."""
    after: float
    """The loss at its last snapshot."""


@refusing
def find_regimes(loss: Float[np.ndarray, " step"], steps: Int[np.ndarray, " step"]) -> list[Regime]:
    """Divide one run into plateaus and falls of the loss, one after another from step 1 on.

    Plateaus are those of `find_plateaus`. What lies between two of them is a fall if the loss falls there by at
    least the fraction `FALL`, and otherwise belongs to the surrounding plateaus. A fall is divided where its rate,
    −d ln loss / d ln step, dips between two peaks to at most `DIP` times the lower one, provided that both parts
    fall by `FALL` and last `LEAST_STRETCH`-fold.

    Args:
        loss: the loss at each snapshot, positive and nearly without noise; NaN from a divergence on.
        steps: the step of each snapshot, rising.

    Returns:
        The regimes, in order of time.

    Raises:
        ValueError: a loss is not positive, or steps do not rise.

    Example:
        A loss that stays at 1 until step 100, falls as 1/step until step 1,000, and then stays at 0.1.

        >>> import tegum as tg
        >>> import numpy as np
        >>> steps = np.unique(np.geomspace(1, 100_000, 51).round().astype(int))
        >>> loss = np.clip(100 / steps, 0.1, 1)
        >>> [(regime.kind, regime.start, regime.end) for regime in tg.find_regimes(loss, steps)]
        [('plateau', 1, 100), ('fall', 100, 1000), ('plateau', 1000, 100000)]

    """
    return regimes_of(np.asarray(loss), np.asarray(steps), "find_regimes")


def regimes_of(loss: np.ndarray, steps: np.ndarray, call: str) -> list[Regime]:
    """As `find_regimes`, for the call that errors are to name."""
    found = plateaus_of(loss, steps, call)
    seen = np.flatnonzero((steps >= 1) & np.isfinite(loss))
    if len(seen) < 2:
        return []
    time, height = np.log(steps[seen]), np.log(loss[seen])
    at = {int(step): place for place, step in enumerate(steps[seen].tolist())}
    edges = [(at[each.start], at[each.end]) for each in found]
    # Candidates lie between plateaus, from the end of one to the start of the next.
    begins, ends = [0, *(end for _, end in edges)], [*(start for start, _ in edges), len(seen) - 1]
    falls = [
        (begin, end)
        for begin, end in zip(begins, ends, strict=True)
        if end > begin and height[begin] - height[end] >= -np.log1p(-FALL)
    ]
    rate = -np.diff(height) / np.diff(time)
    pieces = [piece for fall in falls for piece in _parted(fall[0], fall[1], rate, time, height)]
    bounds: list[tuple[Literal["plateau", "fall"], int, int]] = []
    place = 0
    for begin, end in pieces:
        if begin > place:
            bounds.append(("plateau", place, begin))
        bounds.append(("fall", begin, end))
        place = end
    if place < len(seen) - 1:
        bounds.append(("plateau", place, len(seen) - 1))
    return [
        Regime(
            kind=kind,
            first=int(seen[begin]),
            last=int(seen[end]),
            start=int(steps[seen[begin]]),
            end=int(steps[seen[end]]),
            before=float(loss[seen[begin]]),
            after=float(loss[seen[end]]),
        )
        for kind, begin, end in bounds
    ]


@refusing
def motion_shares(parts: Parts, steps: Int[np.ndarray, " step"], first: int, last: int) -> dict[str, float]:
    """Compute the share of each motion in all that moves between two snapshots of a run, such as the ends of a regime.

    With τ = ln step the share is ∫ ‖part of dW/dτ‖² dτ / ∫ ‖dW/dτ‖² dτ.

    Args:
        parts: the motions between all consecutive snapshots of that run, shape (interval, part), as `motions`
            returns them.
        steps: the steps of its snapshots.
        first: the position of the first snapshot, at step 1 or later.
        last: the position of the last snapshot, after the first.

    Returns:
        Shares by name, adding up to 1; NaN for a motion that is undefined throughout, and for all if nothing moves.

    Raises:
        ValueError: the last snapshot does not come after the first, the first is at step 0, or there is not one
            snapshot more than there are motions.

    Example:
        >>> import tegum as tg
        >>> import numpy as np
        >>> pairs = tg.FeatureDistribution([tg.Correlated(size=2, density=0.1)] * 2)
        >>> W = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> parts = tg.motions(np.stack([W, 1.5 * W, 2 * W]), pairs)
        >>> round(tg.motion_shares(parts, np.array([1, 10, 100]), first=0, last=2)["inflation"], 6)
        1.0

    """
    if np.ndim(steps) != 1 or len(steps) != len(parts.squares) + 1:
        rule = "it must be the steps of the snapshots, one more than there are motions between them"
        raise ValueError(f"motion_shares(steps of shape {np.shape(steps)}): {rule}")
    if not 0 <= first < last < len(steps) or steps[first] < 1:
        rule = "first must come before last, and from step 1 on"
        raise ValueError(f"motion_shares(first={first}, last={last}): {rule}")
    spans = np.diff(np.log(steps[first : last + 1]))
    squares = parts.squares[first:last] / spans[:, None]
    total = np.where(np.isnan(squares).all(0), np.nan, np.nansum(squares, 0))
    return dict(zip(parts.names, shares(total).tolist(), strict=True))


def _parted(begin: int, end: int, rate: np.ndarray, time: np.ndarray, height: np.ndarray) -> list[tuple[int, int]]:
    """Divide a fall at the deepest dips between its peaks."""
    inner = rate[begin:end]
    # The highest rates on either side of each place.
    left, right = np.maximum.accumulate(inner), np.maximum.accumulate(inner[::-1])[::-1]
    lower = np.minimum(left, right)
    depth = np.where(lower > 0, inner / np.where(lower > 0, lower, 1.0), 1.0)
    for cut in np.argsort(depth, kind="stable").tolist():
        if depth[cut] > DIP:
            break
        # The dip is an interval: cut at its slower end.
        place = begin + cut + (1 if cut + 1 < len(inner) and inner[cut + 1] > inner[cut - 1] else 0)
        parts = [(begin, place), (place, end)]
        if all(
            b > a and height[a] - height[b] >= -np.log1p(-FALL) and time[b] - time[a] >= np.log(LEAST_STRETCH)
            for a, b in parts
        ):
            return [piece for part in parts for piece in _parted(part[0], part[1], rate, time, height)]
    return [(begin, end)]
