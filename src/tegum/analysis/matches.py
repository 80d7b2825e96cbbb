"""Whether two kinds of windows, such as events and drops of the loss, meet more often than chance lets them.

Chance is a shift in time: all windows of one kind are moved together, by the same time in one run and by another in
the next, around the late part of training as around a circle. Their number, their lengths and their distances stay,
and only where they lie is left to chance. Every shift by whole snapshots is looked at, so that the null has no
noise of its own; a p-value joins the runs by drawing one shift for each.

Times are in optimiser steps; the loss is a sum over features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Bool, Float, Int

from tegum.analysis.levels import LATE
from tegum.analysis.statistics import bootstrap_mean
from tegum.analysis.windows import Window, arranged, labels, overlap

if TYPE_CHECKING:
    import xarray as xr

DRAWS = 10_000
"""Draws of one shift for each run: the least p-value is about one in so many."""


@final
@dataclass(frozen=True)
class Coincidence:
    """How many windows meet one of the other kind, and how many would by chance."""

    hits: tuple[bool, ...]
    """Of each window, in the order given."""
    null: float | None
    """The share that meets one where times are shifted, the mean over all shifts; None without windows."""
    p: float
    """How often a draw of shifts gives at least as many hits."""

    @property
    def share(self) -> float | None:
        """Of windows that meet another; None without windows."""
        return sum(self.hits) / len(self.hits) if self.hits else None


@final
@dataclass(frozen=True, eq=False)
class ShareInside:
    """How much of the late decrease of the loss lies inside windows, and how much would by chance."""

    inside: Float[np.ndarray, " run"]
    """The decrease of each run inside its windows."""
    total: Float[np.ndarray, " run"]
    """Its whole late decrease."""
    time: float
    """The share of late time that the windows take."""
    null: float
    """The share of the decrease inside windows that are shifted, the mean over all shifts."""
    limit: float
    """Its 95 % quantile over draws of one shift for each run."""
    p: float
    """How often a draw gives at least the share that was seen."""

    @property
    def share(self) -> float:
        """The decrease inside windows of all runs, of the whole."""
        return float(self.inside.sum() / self.total.sum())

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share, by runs drawn with replacement (linearised: a ratio of two sums)."""
        residual = (self.inside - self.share * self.total) / self.total.mean()
        low, high = bootstrap_mean(residual)
        return self.share + low, self.share + high


def coincidence(
    windows: Sequence[Window],
    others: Sequence[Window],
    step: Int[np.ndarray, " step"],
    *,
    late: float = LATE,
    draws: int = DRAWS,
    key: int = 0,
) -> Coincidence:
    """Which of the windows overlap one of the others in the same run, and the time-shifted null of that.

    Windows that share no more than an end do not overlap. A window that lasts no time (both ends at one step) meets
    nothing.

    Args:
        windows: in the late part of training.
        others: the same.
        step: of the snapshots, evenly spaced.
        late: the first part of training, in which no window lies.
        draws: of shifts, for the p-value.
        key: of the random numbers.

    Raises:
        ValueError: `late` lies outside [0, 1), or there are no draws.

    """
    _check("coincidence", late, draws)
    hits = tuple(any(overlap(window, other) for other in others) for window in windows)
    counts = []
    for seed in dict.fromkeys(window.seed for window in windows):
        mine = [window for window in windows if window.seed == seed]
        covered = _covered([other for other in others if other.seed == seed], step, late)
        # Row s: the windows of this run moved by s snapshots.
        met = np.zeros(len(covered), int)
        for window in mine:
            own = _covered([window], step, late)
            met += _turned(covered, own) > 0
        counts.append(met)
    if not counts:
        return Coincidence((), None, 1.0)
    null = float(np.sum([met.mean() for met in counts])) / len(windows)
    return Coincidence(hits, null, _p(_drawn(counts, draws, key), sum(hits)))


def share_inside(
    loss: xr.DataArray, windows: Sequence[Window], *, late: float = LATE, draws: int = DRAWS, key: int = 0
) -> ShareInside:
    """The share of the late decrease of the loss that lies inside windows, all runs together, with its null.

    Args:
        loss: dims (seed, step), finite, summed over features, recorded at evenly spaced steps.
        windows: of the runs in `loss`; what lies before the late part does not count.
        late: the first part of training, which is left out.
        draws: of shifts, for the null's quantile and the p-value.
        key: of the random numbers.

    Raises:
        ValueError: the dims are others, the steps are not evenly spaced, a loss is not finite, a window belongs to no
            run in `loss`, the loss does not decrease, `late` lies outside [0, 1), or there are no draws.

    """
    _check("share_inside", late, draws)
    values, step = arranged(loss, ("seed", "step"), "share_inside(loss)")
    if not np.isfinite(values).all():
        raise ValueError("share_inside(loss): it must be finite; leave out runs that diverged")
    seeds = labels(loss, "seed").tolist()
    unknown = [window.seed for window in windows if window.seed not in seeds]
    if unknown:
        raise ValueError(f"share_inside(window of the run {unknown[0]}): loss has no run of that seed")
    is_late = step[:-1] >= late * step[-1]
    falls = -np.diff(values, axis=1)[:, is_late]
    total = falls.sum(1)
    if not total.sum() > 0:
        raise ValueError(f"share_inside(loss): it must decrease in its late part; it changes by {-total.sum():.3g}")
    by_shift, taken = [], []
    for seed, fall in zip(seeds, falls, strict=True):
        covered = _covered([window for window in windows if window.seed == seed], step, late)
        by_shift.append(_turned(fall, covered.astype(float)))
        taken.append(covered.mean())
    inside = np.array([shifted[0] for shifted in by_shift])
    drawn = _drawn(by_shift, draws, key)
    whole = float(total.sum())
    # A sum has rounding of its own in every order.
    return ShareInside(
        inside=inside,
        total=total,
        time=float(np.mean(taken)),
        null=float(np.sum([shifted.mean() for shifted in by_shift])) / whole,
        limit=float(np.quantile(drawn, 0.95)) / whole,
        p=_p(drawn, inside.sum() - 1e-9 * abs(whole)),
    )


def _covered(windows: Sequence[Window], step: Int[np.ndarray, " step"], late: float) -> Bool[np.ndarray, " interval"]:
    """Which late intervals between two snapshots lie in a window, in whole or in part."""
    inside = np.zeros(max(len(step) - 1, 0), bool)
    for window in windows:
        inside |= (step[1:] > window.start) & (step[:-1] < window.end)
    return inside[step[:-1] >= late * step[-1]]


def _turned(
    values: Float[np.ndarray, " place"] | Bool[np.ndarray, " place"],
    window: Float[np.ndarray, " place"] | Bool[np.ndarray, " place"],
) -> Float[np.ndarray, " shift"]:
    """Σ_t values(t + s) window(t) for every shift s around the circle."""
    length = len(values)
    around = np.concatenate([values, values[:-1]]).astype(float)
    return np.lib.stride_tricks.sliding_window_view(around, length) @ window.astype(float) if length else np.zeros(0)


def _drawn(by_shift: Sequence[np.ndarray], draws: int, key: int) -> Float[np.ndarray, " draw"]:
    """Sums over runs with a shift drawn for each."""
    rng = np.random.default_rng(key)
    total = np.zeros(draws)
    for shifted in by_shift:
        total += shifted[rng.integers(len(shifted), size=draws)]
    return total


def _p(drawn: Float[np.ndarray, " draw"], seen: float | int) -> float:
    """The seen arrangement is one of those that chance could give: no p-value is 0."""
    return float((1 + (drawn >= seen).sum()) / (1 + len(drawn)))


def _check(call: str, late: float, draws: int) -> None:
    if not 0 <= late < 1:
        raise ValueError(f"{call}(late={late!r}): late must lie in [0, 1)")
    if draws < 1:
        raise ValueError(f"{call}(draws={draws!r}): draws must be at least 1")
