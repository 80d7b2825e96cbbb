"""Sudden drops of the loss: across given windows, and found in the loss alone.

Two lines are fitted to the loss by least squares, one just before and one just after a gap. The amount by which they
miss each other in the middle of the gap is the *drop* there: a steady decline has none.

- The drop *across a window*, such as an event of `tegum.analysis.dynamics.levels`, has a null: the same number for
  windows of the same lengths at every other place in the late part of the run where nothing jumps.
- Drops are also *found* without any window, so that one can ask whether events and drops are the same. The
  measurement is made at every place and with gaps of many widths, and compared with its own noise: its median
  absolute deviation over the places in the late part of the run that hold no drop found before (at first, over the
  places of the least sizes; drops are then searched again until they stay the same). A drop is a place where the
  measurement exceeds `LEAST_DEVIATIONS` of these (in standard deviations), where the loss falls at least `SUDDEN`
  times as fast as on both lines, follows both lines closely, and stays down. Of drops that are closer together than
  the lines are long, only the clearest counts: a shoulder is not a second drop.

Times are in optimiser steps; the loss is a sum over features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar, final

import numpy as np
from jaxtyping import Bool, Float, Int

from tegum.analysis.dynamics.levels import FEWEST, LATE, LONGEST, REST
from tegum.analysis.dynamics.windows import Window, arranged, intervals, labels
from tegum.core.arguments import refusing

if TYPE_CHECKING:
    import xarray as xr

MARGIN = REST // 2
"""Steps on either side of an event that count neither to it nor to the loss before or after it: a feature at rest may
still be settling, by up to half the height of a jump."""

FEWEST_SHIFTS = 20
"""The least number of places in a null; with fewer it has no 95 % quantile."""

LEAST_DEVIATIONS = 6.0
"""Standard deviations of the noise that a drop must exceed. In 1,000 runs of pure noise, white or correlated over 300
to 10,000 steps, at most 3 exceed 5 somewhere, and 1 exceeds 6; the estimate of the noise itself varies."""

SUDDEN = 3.0
"""The factor by which the loss must fall faster in a drop than on the lines before and after it."""

STRAIGHT = 0.25
"""The largest root-mean-square distance of the loss from its lines, as a fraction of the drop. A line fitted across a
step has the wrong slope, and misses the other line where nothing happens."""

LOW = 0.05
"""The fraction of all places, those of the least sizes, from which the noise is estimated while no drop is known: in a
run with many drops most places hold part of one."""

LOW_NORMAL = 0.0627
"""The distance from the mean, in standard deviations, within which that fraction of a normal distribution lies."""

FREE = 0.1
"""The fraction of all places that must be free of drops for the noise to be estimated from them."""

PASSES = 5
"""The most times that drops are searched, each time with the noise of the places where none was found before."""

WHOLE_DROP = 0.9
"""A gap holds a whole drop if it shows this fraction of the most that a wider gap shows."""


Kind = TypeVar("Kind", bound=Window)


@final
@dataclass(frozen=True, eq=False)
class Drop(Generic[Kind]):
    """The drop of the loss across an event, and what the same measurement gives elsewhere in the run."""

    event: Kind
    """The event across which the drop is measured."""
    size: float
    """The drop, in units of the loss (summed over features); NaN if there is too little undisturbed loss around the
    event."""
    null: Float[np.ndarray, " shift"]
    """The same measurement at every other place where nothing jumps, in units of the loss."""

    @property
    def measurable(self) -> bool:
        """Whether there is a drop, and a null large enough to compare it with."""
        return bool(np.isfinite(self.size)) and len(self.null) >= FEWEST_SHIFTS

    @property
    def limit(self) -> float:
        """The 95 % quantile of the null, in units of the loss."""
        return float(np.quantile(self.null, 0.95)) if self.measurable else np.nan

    @property
    def significant(self) -> bool:
        """Whether the drop exceeds the 95 % quantile of the null, as happens by chance one time in twenty."""
        return self.measurable and self.size > self.limit


@final
@dataclass(frozen=True)
class LossDrop:
    """A sudden drop that was found in the loss alone.

    Example:
        >>> import tegum as tg
        >>> drop = tg.LossDrop(seed=0, start=4_900, end=5_100, size=0.2, strength=25.0)
        >>> drop.end - drop.start
        200

    """

    seed: int
    """The seed of the run."""
    start: int
    """The last step of the line fitted before the drop."""
    end: int
    """The first step of the line fitted after the drop."""
    size: float
    """The drop, in units of the loss (summed over features)."""
    strength: float
    """The drop in standard deviations of the noise of the same measurement elsewhere in the run."""


@refusing
def find_drops(
    loss: xr.DataArray, *, least: float = LEAST_DEVIATIONS, side: int = REST, longest: int = LONGEST, late: float = LATE
) -> list[LossDrop]:
    """Find the sudden drops in the late part of every run, from the loss alone.

    The definition is in `tegum.analysis.dynamics.drops`. A run whose loss is not finite has none. Stationary normal
    noise, white or correlated, produces a drop in at most 1 of 100 runs; noise that comes in bursts, several times
    stronger than in the rest of the run, produces many more.

    Args:
        loss: dims (seed, step), summed over features, at evenly spaced steps; either exact, or recorded on one
            sample of each run, so that snapshots can be compared.
        least: the standard deviations of the noise that a drop must exceed.
        side: the length of a line, in steps; also the least distance between two drops.
        longest: the widest gap, in steps.
        late: the initial fraction of training in which no drop is searched; a drop under way at its end may be found
            from there on.

    Returns:
        The drops, ordered by seed and start.

    Raises:
        ValueError: the dims are others, the steps are not evenly spaced, or a number is out of its range.

    Example:
        A loss with a little noise that steps down by 0.2 at step 5,000.

        >>> import tegum as tg
        >>> import numpy as np
        >>> import xarray as xr
        >>> step = np.arange(0, 10_001, 100)
        >>> noise = 1e-3 * np.random.default_rng(0).normal(size=len(step))
        >>> loss = np.where(step < 5_000, 1.0, 0.8) + noise
        >>> drops = tg.find_drops(xr.DataArray(loss[None], {"seed": [0], "step": step}, ("seed", "step")))
        >>> [(drop.start < 5_000 <= drop.end, round(drop.size, 2)) for drop in drops]
        [(True, 0.2)]

    """
    for name, value in (("least", least), ("side", side), ("longest", longest)):
        if not value > 0:
            raise ValueError(f"find_drops({name}={value!r}): {name} must be above 0")
    if not 0 <= late < 1:
        raise ValueError(f"find_drops(late={late!r}): late must lie in [0, 1)")
    values, step = _finite(loss, "find_drops(loss)")
    count = max(FEWEST, intervals(side, step) + 1)
    widest = min(intervals(longest, step), len(step) - 2 * count + 1)
    if widest < 1 or not len(values):
        return []
    # A spike of one snapshot is not a drop, but would bend a line.
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(values, ((0, 0), (1, 1)), "edge"), 3, -1), -1)
    # Widths grow by √2, so that some gap is never more than a fifth too wide or too narrow.
    halves = np.sqrt(2.0) ** np.arange(2 * np.log2(widest) + 1)
    widths = np.unique(np.minimum(np.round(halves).astype(int), widest)).tolist()
    found: list[LossDrop] = []
    for seed, own in zip(labels(loss, "seed").tolist(), smooth, strict=True):
        found += _found(seed, own, step, count, widths, least, side, late)
    return found


@refusing
def loss_drops(
    events: Iterable[Kind],
    loss: xr.DataArray,
    jumps: Iterable[Window],
    *,
    side: int = REST,
    margin: int = MARGIN,
    late: float = LATE,
) -> list[Drop[Kind]]:
    """Measure the drop of the loss across each event, with a time-shifted null.

    Lines are fitted by least squares to `side` steps of the loss before the event and to as many after it, `margin`
    away from it, and compared in the middle of the event. They are shorter if other jumps of the run would lie in
    them. The null moves the whole window to every other place in the late part of the run at which it meets no jump:
    that is the exact distribution of a randomly drawn shift.

    Args:
        events: events of the runs in `loss`.
        loss: dims (seed, step), summed over features, at evenly spaced steps; either exact, or recorded on one
            sample of each run, so that snapshots can be compared.
        jumps: everything that jumps, early jumps included: the null avoids them.
        side: the length of a line, in steps.
        margin: steps on either side of the event that belong to no line.
        late: the initial fraction of training, which the null leaves out.

    Returns:
        One `Drop` per event, with its size, its null and whether it is significant.

    Raises:
        ValueError: the dims are others, the steps are not evenly spaced, `side` is not positive or `margin`
            negative, `late` lies outside [0, 1), or an event belongs to no run in `loss`.

    Example:
        The loss declines steadily by 1e-5 per step, and by another 0.2 at step 5,000, where a feature jumps.

        >>> import tegum as tg
        >>> import numpy as np
        >>> import xarray as xr
        >>> step = np.arange(0, 10_001, 100)
        >>> loss = 1 - 1e-5 * step - 0.2 * (step >= 5_000)
        >>> jump = tg.Jump(0, 3, 4_900, 5_000, before=0.0, after=0.5)
        >>> loss = xr.DataArray(loss[None], {"seed": [0], "step": step}, ("seed", "step"))
        >>> [drop] = tg.loss_drops(tg.group_jumps([jump]), loss, [jump])
        >>> round(drop.size, 6), drop.significant
        (0.2, True)

    """
    if not side > 0:
        raise ValueError(f"loss_drops(side={side!r}): side must be above 0")
    if not 0 <= late < 1:
        raise ValueError(f"loss_drops(late={late!r}): late must lie in [0, 1)")
    if not margin >= 0:
        raise ValueError(f"loss_drops(margin={margin!r}): margin must be at least 0")
    values, step = _finite(loss, "loss_drops(loss)")
    row_of = {seed: row for row, seed in enumerate(labels(loss, "seed").tolist())}
    busy_in = {seed: np.zeros(max(len(step) - 1, 0), bool) for seed in row_of}
    for jump in jumps:
        # Between two snapshots, so that a jump from one to the next counts too.
        if jump.seed in busy_in:
            busy_in[jump.seed] |= (step[1:] > jump.start) & (step[:-1] < jump.end)
    drops = []
    for event in events:
        if event.seed not in row_of:
            raise ValueError(f"loss_drops(event of the run {event.seed}): loss has no run of that seed")
        own = values[row_of[event.seed]]
        drops.append(Drop(event, *_drop(own, step, event, busy_in[event.seed], side, margin, late)))
    return drops


def _finite(loss: xr.DataArray, call: str) -> tuple[Float[np.ndarray, "seed step"], Int[np.ndarray, " step"]]:
    """The loss with NaN for everything that is not finite: infinities would cause warnings and meaningless numbers."""
    values, step = arranged(loss, ("seed", "step"), call)
    return np.where(np.isfinite(values), values, np.nan), step


def _found(
    seed: int,
    loss: Float[np.ndarray, " step"],
    step: Int[np.ndarray, " step"],
    count: int,
    widths: list[int],
    least: float,
    side: int,
    late: float,
) -> list[LossDrop]:
    """Find the drops of one run: first with a noise that the drops themselves enlarge, then with that of the rest."""
    lines = _Lines.through(loss, count)
    gaps = [_gap(lines, step, count, width, late) for width in widths]
    gaps = [gap for gap in gaps if gap.is_late.sum() >= FEWEST_SHIFTS]
    # Sampled training records losses in single precision: its rounding is not a drop.
    last = np.abs(loss[step >= late * step[-1]])
    floor = float(np.finfo(np.float32).eps) * float(np.nanmax(last, initial=0.0))
    scales = [gap.scale() for gap in gaps]
    chosen: list[LossDrop] = []
    for again in range(PASSES):
        before = [(drop.start, drop.end) for drop in chosen]
        candidates = [
            LossDrop(seed, *row)
            for gap, (centre, noise) in zip(gaps, scales, strict=True)
            for row in gap.clear(centre, max(noise, floor, np.finfo(float).tiny), least)
        ]
        chosen = _chosen(candidates, side)
        # The first pass only serves to estimate the noise.
        if again and [(drop.start, drop.end) for drop in chosen] == before:
            break
        scales = [gap.scale_apart_from(chosen) or scale for gap, scale in zip(gaps, scales, strict=True)]
    return chosen


def _gap(lines: _Lines, step: Int[np.ndarray, " step"], count: int, width: int, late: float) -> _Gap:
    """Measure drops across a gap of `width` intervals between lines through `count` snapshots, at every place."""
    before, after = lines.apart(count - 1 + width)
    # Each line is continued to the middle of the gap.
    size = before.mean - after.mean + (before.slope + after.slope) * (count - 1 + width) / 2
    start = np.arange(len(size)) + count - 1
    is_late = (step[start] >= late * step[-1]) & np.isfinite(size)
    # From the end of the line before the gap to the beginning of the line after it, per interval.
    fall = (before.mean - after.mean + (before.slope + after.slope) * (count - 1) / 2) / width
    is_sudden = fall >= SUDDEN * np.maximum(0, -np.minimum(before.slope, after.slope))
    stays = before.median - after.median >= size / 2
    is_straight = np.maximum(before.roughness, after.roughness) <= STRAIGHT * size
    return _Gap(
        size,
        is_late,
        fits=is_late & is_sudden & stays & is_straight,
        start=step[start],
        end=step[start + width],
        first=step[start - count + 1],
        last=step[start + width + count - 1],
    )


@final
class _Lines(NamedTuple):
    """The least-squares lines through equally many successive snapshots, at every place in a run."""

    mean: Float[np.ndarray, " place"]
    slope: Float[np.ndarray, " place"]
    """Per interval."""
    median: Float[np.ndarray, " place"]
    """The median of the loss at the snapshots, which a few outliers do not move."""
    roughness: Float[np.ndarray, " place"]
    """The root-mean-square distance from the line."""

    @classmethod
    def through(cls, loss: Float[np.ndarray, " step"], count: int) -> _Lines:
        """The lines through every `count` successive snapshots."""
        sides = np.lib.stride_tricks.sliding_window_view(loss, count)
        own = np.arange(count) - (count - 1) / 2
        slope = sides @ own / np.square(own).sum()
        # Rounding may make the square slightly negative.
        squares = np.maximum(sides.var(-1) - np.square(slope) * np.square(own).mean(), 0)
        return cls(sides.mean(-1), slope, np.median(sides, -1), np.sqrt(squares))

    def apart(self, distance: int) -> tuple[_Lines, _Lines]:
        """The lines that have another one this many snapshots later, and those later ones."""
        return _Lines(*(each[:-distance] for each in self)), _Lines(*(each[distance:] for each in self))


@final
@dataclass(frozen=True, eq=False)
class _Gap:
    """The measurement with a gap of one width, at every place in the run."""

    size: Float[np.ndarray, " place"]
    is_late: Bool[np.ndarray, " place"]
    fits: Bool[np.ndarray, " place"]
    """Whether the loss has the shape of a drop there, however small."""
    start: Int[np.ndarray, " place"]
    end: Int[np.ndarray, " place"]
    first: Int[np.ndarray, " place"]
    """The step at which the line before the gap begins."""
    last: Int[np.ndarray, " place"]
    """The step at which the line after the gap ends."""

    def clear(self, centre: float, noise: float, least: float) -> Iterator[tuple[int, int, float, float]]:
        """The drops at least this many times the noise: start, end, size and strength of each."""
        strength = (self.size - centre) / noise
        good = np.flatnonzero(self.fits & (strength >= least))
        columns = (self.start[good], self.end[good], self.size[good], strength[good])
        return zip(*(column.tolist() for column in columns), strict=True)

    def scale(self) -> tuple[float, float]:
        """The centre and the standard deviation of the noise, as long as most places may hold part of a drop."""
        size = self.size[self.is_late]
        centre = float(np.median(size))
        # In a normal distribution, the fraction `LOW` of all distances is below `LOW_NORMAL` standard deviations.
        return centre, float(np.quantile(np.abs(size - centre), LOW)) / LOW_NORMAL

    def scale_apart_from(self, drops: Sequence[LossDrop]) -> tuple[float, float] | None:
        """The centre and the standard deviation of the noise away from drops; None if hardly any place is."""
        free = self.is_late.copy()
        for drop in drops:
            free &= (self.last <= drop.start) | (drop.end <= self.first)
        if free.sum() < max(FEWEST_SHIFTS, FREE * self.is_late.sum()):
            return None
        centre = float(np.median(self.size[free]))
        # 1.4826 times the median distance is the standard deviation of a normal distribution.
        return centre, 1.4826 * float(np.median(np.abs(self.size[free] - centre)))


def _chosen(candidates: Sequence[LossDrop], side: int) -> list[LossDrop]:
    """Of candidates closer together than the lines are long, choose the clearest; in order of time."""
    chosen: list[LossDrop] = []
    for clearest in sorted(candidates, key=lambda drop: -drop.strength):
        if all(clearest.end + side <= other.start or other.end + side <= clearest.start for other in chosen):
            chosen.append(_whole(clearest, candidates, chosen, side))
    return sorted(chosen, key=lambda drop: drop.start)


def _whole(clearest: LossDrop, candidates: Sequence[LossDrop], chosen: Sequence[LossDrop], side: int) -> LossDrop:
    """The whole drop of which the clearest measurement may be only a part, as narrow gaps have the least noise.

    Of the gaps that overlap it, this is the narrowest that shows at least `WHOLE_DROP` of the most any of them shows.
    """
    meeting = [
        drop
        for drop in candidates
        if drop.start < clearest.end
        and clearest.start < drop.end
        and all(drop.end + side <= other.start or other.end + side <= drop.start for other in chosen)
    ]
    most = max(drop.size for drop in meeting)
    whole = [drop for drop in meeting if drop.size >= WHOLE_DROP * most]
    return min(whole, key=lambda drop: (drop.end - drop.start, -drop.size))


def _drop(
    loss: Float[np.ndarray, " step"],
    step: Int[np.ndarray, " step"],
    event: Window,
    busy: Bool[np.ndarray, " interval"],
    side: int,
    margin: int,
    late: float,
) -> tuple[float, Float[np.ndarray, " shift"]]:
    start, end = (int(at) for at in np.searchsorted(step, (event.start, event.end)))
    spare = intervals(margin, step)
    free = 1 + min(_quiet(busy[:start][::-1]), _quiet(busy[end:])) - spare
    count = min(free, max(FEWEST, intervals(side, step) + 1))
    if count < FEWEST:
        return np.nan, np.zeros(0)
    contrast = _contrast(count, end - start + 2 * spare)
    # The measurement is linear in the loss: one product gives it for the window at every place.
    everywhere = np.lib.stride_tricks.sliding_window_view(loss, len(contrast)) @ contrast
    meets = np.lib.stride_tricks.sliding_window_view(busy, len(contrast) - 1).any(-1)
    is_late = step[: len(everywhere)] >= late * step[-1]
    null = everywhere[~meets & is_late]
    return float(everywhere[start - spare - count + 1]), null[np.isfinite(null)]


def _contrast(count: int, gap: int) -> Float[np.ndarray, " snapshot"]:
    """The weights of the line through the first `count` snapshots minus that through the last, at the middle.

    The value at t of the least-squares line through y is Σ_i y_i (1/k + (t − t̄)(t_i − t̄)/Σ(t_i − t̄)²).
    """
    own = np.arange(count) - (count - 1) / 2
    distance = (count - 1) / 2 + gap / 2
    line = 1 / count + distance * own / np.square(own).sum()
    # The last snapshot before the gap and the first after it lie `gap` apart.
    return np.concatenate([line, np.zeros(max(gap - 1, 0)), -line[::-1]])


def _quiet(busy: Bool[np.ndarray, " interval"]) -> int:
    """The number of intervals before the first busy one."""
    return int(np.argmax(busy)) if busy.any() else len(busy)
