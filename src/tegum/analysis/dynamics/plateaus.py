"""Where training hardly lowers the loss: plateaus, and where it lowers it fastest between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from tegum.core.arguments import refusing

SLOW = 0.1
"""On a plateau the loss falls by less than this part while the number of steps grows e-fold."""
LEAST_STRETCH = 1.2
"""The least ratio of a plateau's last step to its first."""
FALL = 0.1
"""A plateau is escaped when the loss falls by at least this part afterwards."""


@final
@dataclass(frozen=True)
class Plateau:
    """Observed slow loss; whether a saddle is near is for the Hessian to say."""

    start: int
    end: int
    """First and last step."""
    slowest: int
    """Position among the snapshots at which the loss falls most slowly."""
    loss: float
    """There."""
    escaped: bool
    """Whether the loss falls afterwards by at least `FALL` of itself."""
    fastest: int | None
    """Position of the snapshot from which on the loss falls fastest between this plateau and the next; None if it is
    not escaped, or if no snapshot follows it: a slow drift can be a plateau from end to end, and fall in all by more
    than `FALL`."""


@refusing
def find_plateaus(loss: ArrayLike, steps: ArrayLike) -> list[Plateau]:
    """The plateaus of one run, in order.

    Training from a small start takes its steps on many scales, so slow is judged against the logarithm of the step:
    −d ln loss / d ln step, which is `SLOW` at most. What the loss does before step 1 is no part of any plateau.

    Args:
        loss: of each snapshot of one run, above zero and without noise; NaN from a divergence on.
        steps: of each snapshot, rising.

    Raises:
        ValueError: loss and steps are no two rows of numbers of one length; a loss is not positive, or steps do not
            rise.

    """
    return plateaus_of(loss, steps, "find_plateaus")


def plateaus_of(loss: ArrayLike, steps: ArrayLike, call: str) -> list[Plateau]:
    """As `find_plateaus`, for the call that errors are to name."""
    loss, steps = np.asarray(loss), np.asarray(steps)
    if loss.ndim != 1 or loss.shape != steps.shape or {loss.dtype.kind, steps.dtype.kind} - set("iuf"):
        rule = "both must be rows of numbers, of one run and of one length"
        raise ValueError(f"{call}(loss of shape {loss.shape}, steps of shape {steps.shape}): {rule}")
    if (loss <= 0).any() or not (np.diff(steps) > 0).all():
        least = "minimum " + format(np.nanmin(loss), ".3g") if np.isfinite(loss).any() else "no finite value"
        raise ValueError(f"{call}(loss with {least}): losses must be positive and steps rise")
    seen = np.flatnonzero((steps >= 1) & np.isfinite(loss))
    if len(seen) < 2:
        return []
    time, height = np.log(steps[seen]), np.log(loss[seen])
    rate = -np.diff(height) / np.diff(time)
    slow = np.concatenate([[False], rate <= SLOW, [False]])
    starts, ends = np.flatnonzero(~slow[:-1] & slow[1:]), np.flatnonzero(slow[:-1] & ~slow[1:])
    # Interval i lies between snapshots i and i + 1: intervals a … b − 1 are snapshots a … b.
    long = time[ends] - time[starts] >= np.log(LEAST_STRETCH)
    starts, ends = starts[long], ends[long]
    plateaus = []
    for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        # The start of a plateau is still falling and its end falls already: what lies between is its own.
        inner = np.arange(start, end)
        slowest = int(inner[np.argmin(np.abs(rate[inner]))])
        until = int(starts[number + 1]) if number + 1 < len(starts) else len(rate)
        after = np.arange(end, until)
        escaped = bool(height[slowest] - height[slowest:].min() >= -np.log1p(-FALL))
        fastest = int(seen[after[np.argmax(rate[after])]]) if escaped and len(after) else None
        plateaus.append(
            Plateau(
                start=int(steps[seen[start]]),
                end=int(steps[seen[end]]),
                slowest=int(seen[slowest]),
                loss=float(loss[seen[slowest]]),
                escaped=escaped,
                fastest=fastest,
            )
        )
    return plateaus
