"""Regimes of training: stretches on which the loss falls and on which it does not, and what moves on each.

Elhage et al., "Toy Models of Superposition" (2022): "The learning proceeds in distinct regimes which are visible in the
loss curve, with each regime corresponding to a distinct geometric transformation". Regimes are found in the loss alone,
and what moves in the weights alone (`tegum.analysis.dynamics.motions`), so that whether they belong together can be
asked.

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
"""A fall is two where the rate between two peaks is at most this part of the lower one."""


@final
@dataclass(frozen=True)
class Regime:
    """A stretch of training."""

    kind: Literal["plateau", "fall"]
    first: int
    """Position of its first snapshot …"""
    last: int
    """… and of its last one, which is the first one of the next regime."""
    start: int
    """The steps of these."""
    end: int
    before: float
    """The loss there."""
    after: float


@refusing
def find_regimes(loss: Float[np.ndarray, " step"], steps: Int[np.ndarray, " step"]) -> list[Regime]:
    """The regimes of one run, in order, one after the other from step 1 on.

    Plateaus are those of `find_plateaus`. What lies between two of them is a fall if the loss falls there by `FALL` of
    itself or more, and otherwise belongs to the plateaus around it. A fall is parted where its rate,
    −d ln loss / d ln step, has a dip between two peaks to `DIP` of the lower one or less, if both parts fall by `FALL`
    and last `LEAST_STRETCH`-fold.

    Args:
        loss: of each snapshot, above zero; NaN from a divergence on. Where it is nearly without noise.
        steps: of each snapshot, rising.

    Raises:
        ValueError: a loss is not positive, or steps do not rise.

    """
    loss, steps = np.asarray(loss), np.asarray(steps)
    found = plateaus_of(loss, steps, "find_regimes")
    seen = np.flatnonzero((steps >= 1) & np.isfinite(loss))
    if len(seen) < 2:
        return []
    time, height = np.log(steps[seen]), np.log(loss[seen])
    at = {int(step): place for place, step in enumerate(steps[seen].tolist())}
    edges = [(at[each.start], at[each.end]) for each in found]
    # What falls between plateaus, from the end of one to the start of the next.
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
    """The share of each motion in all that moves between two snapshots of a run, as those of a regime.

    With τ = ln step it is ∫ |part of dW/dτ|² dτ over ∫ |dW/dτ|² dτ.

    Args:
        parts: of the motions between all snapshots of that run, shape (interval, part).
        steps: of its snapshots.
        first: position of the first snapshot, of a step of at least 1.
        last: of the last one, after it.

    Returns:
        By names; they add up to 1. NaN for a motion that is undefined throughout, and for all if nothing moves.

    Raises:
        ValueError: the last snapshot does not come after the first, or that one is of step 0.

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
    """A fall in parts, at the deepest dips between its peaks."""
    inner = rate[begin:end]
    # How far the rate rises on both sides of each place.
    left, right = np.maximum.accumulate(inner), np.maximum.accumulate(inner[::-1])[::-1]
    lower = np.minimum(left, right)
    depth = np.where(lower > 0, inner / np.where(lower > 0, lower, 1.0), 1.0)
    for cut in np.argsort(depth, kind="stable").tolist():
        if depth[cut] > DIP:
            break
        # The dip is an interval: its slower half belongs to either side.
        place = begin + cut + (1 if cut + 1 < len(inner) and inner[cut + 1] > inner[cut - 1] else 0)
        parts = [(begin, place), (place, end)]
        if all(
            b > a and height[a] - height[b] >= -np.log1p(-FALL) and time[b] - time[a] >= np.log(LEAST_STRETCH)
            for a, b in parts
        ):
            return [piece for part in parts for piece in _parted(part[0], part[1], rate, time, height)]
    return [(begin, end)]
