"""Whether two kinds of windows, such as events and drops of the loss, meet more often than by chance.

Chance is a shift in time: all windows of one kind are moved together, by one time in each run, around the late part
of training as around a circle. Their number, lengths and distances stay, and only their position is left to chance.
Every shift by whole snapshots is evaluated, so that the null has no noise of its own; a p-value combines the runs by
drawing one shift for each.

A shift treats every time of late training as equally likely. If windows and drops both crowd soon after its
beginning, in every run alike, they meet more often than that without being related. A second null keeps the time
profile: the windows of each run are laid on what happens in another run at the same times. Its p-value permutes the
runs (`tegum.analysis.statistics.permutation_p`).

Times are in optimiser steps; the loss is a sum over features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Bool, Float, Int

from tegum.analysis.dynamics.levels import LATE
from tegum.analysis.dynamics.windows import Window, arranged, labels, overlap
from tegum.analysis.statistics import bootstrap_mean, permutation_p
from tegum.core.arguments import refusing
from tegum.core.limits import check_memory

if TYPE_CHECKING:
    import xarray as xr

DRAWS = 10_000
"""The number of draws of one shift for each run; its reciprocal is about the least p-value."""

FEWEST_RUNS = 3
"""The least number of runs for the null of other runs, and for a standard error between runs."""

CLEAR = 3.0
"""Standard errors that the late decrease of all runs must exceed; a share of mere noise need not lie between 0 and 1.
"""


@final
@dataclass(frozen=True)
class Coincidence:
    """How many windows meet one of the other kind, and how many would by chance."""

    hits: tuple[bool, ...]
    """Whether each window meets one of the other kind, in the order given."""
    null: float | None
    """The share of windows that meet one if times are shifted, the mean over all shifts; None without windows."""
    p: float
    """The probability that a draw of shifts gives at least as many hits."""
    others: float = np.nan
    """The share of windows that meet one of another run at the same time, the mean over all pairings; NaN with fewer
    than three runs."""
    p_others: float = np.nan
    """The probability that runs paired at random give at least as many hits; NaN with fewer than three runs."""

    @property
    def share(self) -> float | None:
        """The share of windows that meet one of the other kind; None without windows."""
        return sum(self.hits) / len(self.hits) if self.hits else None


@final
@dataclass(frozen=True, eq=False)
class ShareInside:
    """How much of the late decrease of the loss lies inside windows, and how much would by chance."""

    inside: Float[np.ndarray, " run"]
    """The decrease of each run's loss inside its windows, shape (run,)."""
    total: Float[np.ndarray, " run"]
    """The whole late decrease of each run's loss, shape (run,)."""
    time: float
    """The share of late time that the windows take."""
    null: float
    """The share of the decrease inside shifted windows, the mean over all shifts."""
    limit: float
    """The 95 % quantile of that share over draws of one shift for each run."""
    p: float
    """The probability that a draw gives at least the observed share."""
    others: float = np.nan
    """The share inside the windows of another run, the mean over all pairings; NaN with fewer than three runs."""
    p_others: float = np.nan
    """The probability that runs paired at random give at least the observed share; NaN with fewer than three runs."""

    @property
    def share(self) -> float:
        """The share of all runs' decrease that lies inside windows; NaN if the whole decrease is not clear of noise."""
        return float(self.inside.sum() / self.total.sum()) if np.isfinite(self.null) else np.nan

    def interval(self) -> tuple[float, float]:
        """The 95 % bootstrap interval of the share over runs (linearised, as the share is a ratio of two sums).

        Returns:
            The lower and the upper end; NaN where the share is.

        """
        if not np.isfinite(self.share):
            return np.nan, np.nan
        residual = (self.inside - self.share * self.total) / self.total.mean()
        low, high = bootstrap_mean(residual)
        return self.share + low, self.share + high


@refusing
def coincidence(
    windows: Sequence[Window],
    others: Sequence[Window],
    step: Int[np.ndarray, " step"],
    *,
    late: float = LATE,
    draws: int = DRAWS,
    key: int = 0,
    runs: Sequence[int] | None = None,
) -> Coincidence:
    """Find which windows overlap one of another kind in the same run, and how many would by chance.

    Windows that share no more than an end do not overlap, and a window that starts and ends at the same step meets
    nothing. The two nulls, shifts in time and other runs, are described in `tegum.analysis.dynamics.matches`.

    Args:
        windows: windows with a seed, a start and an end in the late part of training, such as events or drops.
        others: windows of the other kind.
        step: the steps of all snapshots, evenly spaced.
        late: the initial fraction of training, in which no window lies.
        draws: the number of draws for the p-values.
        key: the seed of the random draws.
        runs: the seeds of all runs that were searched, for the null of other runs; None is those with a window.

    Returns:
        The hits, the share expected by chance under both nulls, and their p-values.

    Raises:
        ValueError: `late` lies outside [0, 1), there are no draws, or a window lies outside the late part of
            training or belongs to none of the runs.

    Example:
        One jump lies inside a drop and one far from it.

        >>> import tegum as tg
        >>> import numpy as np
        >>> jumps = [tg.Jump(0, i, at, at + 100, before=0.0, after=0.5) for i, at in enumerate((4_900, 8_000))]
        >>> drops = [tg.LossDrop(seed=0, start=4_800, end=5_200, size=0.2, strength=25.0)]
        >>> found = tg.coincidence(jumps, drops, np.arange(0, 10_001, 100))
        >>> found.hits, found.share
        ((True, False), 0.5)

    """
    _check("coincidence", late, draws)
    if np.ndim(step) != 1 or not len(step):
        raise ValueError(f"coincidence(step of shape {np.shape(step)}): it must be the steps of all snapshots")
    seeds = list(dict.fromkeys(window.seed for window in (*windows, *others)) if runs is None else runs)
    for window in (*windows, *others):
        _check_window(window, seeds, step, late)
    hits = tuple(any(overlap(window, other) for other in others) for window in windows)
    own = [(window.seed, _covered([window], step, late)) for window in windows]
    places = {seed: _covered([other for other in others if other.seed == seed], step, late) for seed in seeds}
    counts = []
    for seed in dict.fromkeys(window.seed for window in windows):
        # Row s: the windows of this run moved by s snapshots.
        met = np.zeros(len(places[seed]), int)
        for mine, place in own:
            if mine == seed:
                met += _turned(places[seed], place) > 0
        counts.append(met)
    if not counts:
        return Coincidence((), None, 1.0)
    null = float(np.sum([met.mean() for met in counts])) / len(windows)
    crossed, everywhere = np.zeros((len(seeds), len(seeds))), np.array(list(places.values()))
    for mine, place in own:
        crossed[seeds.index(mine)] += (place & everywhere).any(1)
    crossed_mean, p_others = _crossed(crossed, draws, key)
    p = _p(_drawn(counts, draws, key), sum(hits))
    return Coincidence(hits, null, p, crossed_mean / len(windows), p_others)


@refusing
def share_inside(
    loss: xr.DataArray, windows: Sequence[Window], *, late: float = LATE, draws: int = DRAWS, key: int = 0
) -> ShareInside:
    """Compute the share of the late decrease of the loss that lies inside windows, and how much would by chance.

    All runs count together. The share and its nulls are NaN if their decrease does not exceed `CLEAR` standard
    errors: those of the sum over runs (which needs three of them), or those that white noise of the loss gives its
    two ends (from second differences), whichever are larger. The p-values remain, as they need no share. The two
    nulls, shifts in time and other runs, are described in `tegum.analysis.dynamics.matches`.

    Args:
        loss: dims (seed, step), finite, summed over features, at evenly spaced steps.
        windows: windows of the runs in `loss`, such as events; what lies before the late part does not count.
        late: the initial fraction of training, which is left out.
        draws: the number of draws of shifts, for the quantile of the null and the p-values.
        key: the seed of the random draws.

    Returns:
        The decrease inside windows and in all, and the share expected by chance.

    Raises:
        ValueError: the dims are others, the steps are not evenly spaced, a loss is not finite, a window belongs to
            no run in `loss`, the loss does not decrease, `late` lies outside [0, 1), or there are no draws.

    Example:
        After step 1,000 the loss falls by 0.09 along a line and by 0.21 during an event of 100 steps, which takes
        1/90 of the time: the event holds 0.211 of 0.3.

        >>> import tegum as tg
        >>> import numpy as np
        >>> import xarray as xr
        >>> step = np.arange(0, 10_001, 100)
        >>> loss = 1 - 1e-5 * step - 0.21 * (step >= 5_000)
        >>> loss = xr.DataArray(loss[None], {"seed": [0], "step": step}, ("seed", "step"))
        >>> found = tg.share_inside(loss, [tg.Jump(0, 3, 4_900, 5_000, before=0.0, after=0.5)])
        >>> round(found.share, 4), round(found.time, 4)
        (0.7033, 0.0111)

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
    by_shift, taken_by = [], []
    for seed, fall in zip(seeds, falls, strict=True):
        covered = _covered([window for window in windows if window.seed == seed], step, late)
        by_shift.append(_turned(fall, covered.astype(float)))
        taken_by.append(covered.astype(float))
    inside = np.array([shifted[0] for shifted in by_shift])
    drawn = _drawn(by_shift, draws, key)
    whole = float(total.sum())
    # The second difference of white noise has 6 times its variance, the difference of two ends 2 times.
    part = values[:, np.append(is_late, True)]
    bends = np.median(np.abs(np.diff(part, 2, axis=1)), axis=1) if part.shape[1] > 2 else np.zeros(len(part))
    error = 1.4826 * float(np.sqrt(np.square(bends).sum() * 2 / 6))
    if len(total) >= FEWEST_RUNS:
        error = max(error, float(np.std(total, ddof=1)) * np.sqrt(len(total)))
    clear = whole if whole > CLEAR * error else np.nan
    laid = np.array(taken_by) @ falls.T
    crossed_mean, p_others = _crossed(laid, draws, key)
    # The tolerance in p: sums in different orders differ by rounding.
    return ShareInside(
        inside=inside,
        total=total,
        time=float(np.mean(taken_by)),
        null=float(np.sum([shifted.mean() for shifted in by_shift])) / clear,
        limit=float(np.quantile(drawn, 0.95)) / clear,
        p=_p(drawn, inside.sum() - 1e-9 * abs(whole)),
        others=crossed_mean / clear,
        p_others=p_others,
    )


def _covered(windows: Sequence[Window], step: Int[np.ndarray, " step"], late: float) -> Bool[np.ndarray, " interval"]:
    """Whether each late interval between snapshots lies in a window, wholly or in part."""
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
    """Sums over runs, with one random shift for each run."""
    rng = np.random.default_rng(key)
    total = np.zeros(draws)
    for shifted in by_shift:
        total += shifted[rng.integers(len(shifted), size=draws)]
    return total


def _crossed(laid: Float[np.ndarray, "run run"], draws: int, key: int) -> tuple[float, float]:
    """The sum over runs paired with others, mean over all pairings, and the p-value of the sum of the diagonal.

    `laid[i, j]` is the measure for the windows of run i in run j.
    """
    count = len(laid)
    if count < FEWEST_RUNS:
        return np.nan, np.nan
    others = float(laid.sum() - np.trace(laid)) / (count - 1)
    return others, permutation_p(laid, draws=draws, key=key)


def _p(drawn: Float[np.ndarray, " draw"], seen: float | int) -> float:
    """The p-value of what was observed. The observed arrangement counts as one of the draws, so that it is never 0."""
    return float((1 + (drawn >= seen).sum()) / (1 + len(drawn)))


def _check_window(window: Window, seeds: Sequence[int], step: Int[np.ndarray, " step"], late: float) -> None:
    if window.seed not in seeds:
        raise ValueError(f"coincidence(window of the run {window.seed}): it must belong to one of the given runs")
    if not late * step[-1] <= window.start <= window.end <= step[-1]:
        raise ValueError(
            f"coincidence(window from {window.start} to {window.end}): it must lie between late = {late:g} of "
            f"{step[-1]} steps and their end"
        )


def _check(call: str, late: float, draws: int) -> None:
    if not 0 <= late < 1:
        raise ValueError(f"{call}(late={late!r}): late must lie in [0, 1)")
    if draws < 1:
        raise ValueError(f"{call}(draws={draws!r}): draws must be at least 1")
    check_memory(f"{call}(draws={draws})", "sums over runs for every draw", 40 * int(draws), "fewer fit")
