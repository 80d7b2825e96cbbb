"""Where training hardly lowers the loss (plateaus), and where it lowers it fastest between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from tegum.core.arguments import refusing

SLOW = 0.1
"""On a plateau, −d ln loss / d ln step is at most this."""
LEAST_STRETCH = 1.2
"""The last step of a plateau is at least this many times its first."""
FALL = 0.1
"""A plateau is escaped if the loss falls by at least this fraction afterwards."""


@final
@dataclass(frozen=True)
class Plateau:
    """A stretch of observed slow loss; whether a saddle is near is decided by the Hessian (`critical_point`)."""

    start: int
    """The first step of the plateau."""
    end: int
    """The last step of the plateau."""
    slowest: int
    """The position among the snapshots at which the loss falls most slowly."""
    loss: float
    """The loss where it falls most slowly."""
    escaped: bool
    """Whether the loss falls by at least the fraction `FALL` afterwards."""
    fastest: int | None
    """The position of the snapshot from which the loss falls fastest between this plateau and the next. None if the
    plateau is not escaped, or if no snapshot follows it: a slow drift can be a plateau throughout and still fall by
    more than `FALL`."""


@refusing
def find_plateaus(loss: ArrayLike, steps: ArrayLike) -> list[Plateau]:
    """Find the plateaus of one run: stretches of at least a factor 1.2 in time on which the loss hardly falls.

    Training from a small start passes through many time scales, so that slowness is judged against the logarithm of
    the step: on a plateau, −d ln loss / d ln step is at most `SLOW`. The loss before step 1 belongs to no plateau.

    Args:
        loss: the loss at each snapshot of one run, positive and without noise; NaN from a divergence on.
        steps: the step of each snapshot, rising.

    Returns:
        The plateaus, in order of time.

    Raises:
        ValueError: loss and steps are not two rows of numbers of equal length, a loss is not positive, or steps do
            not rise.

    Example:
        A loss that stays at 1 until step 100, falls as 1/step until step 1,000, and then stays at 0.1.

        >>> import tegum as tg
        >>> import numpy as np
        >>> steps = np.unique(np.geomspace(1, 100_000, 51).round().astype(int))
        >>> loss = np.clip(100 / steps, 0.1, 1)
        >>> [(plateau.start, plateau.end, plateau.escaped) for plateau in tg.find_plateaus(loss, steps)]
        [(1, 100, True), (1000, 100000, False)]

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
        # The loss still falls at the start of a plateau and already falls at its end: only the intervals between count.
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
