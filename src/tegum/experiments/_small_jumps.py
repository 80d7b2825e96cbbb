"""How far the loss of runs of one size is made of their jumps, beside time-shifted jumps and those of other runs.

The loss is looked at from the first moment on at which a jump can start, after the first plateau (`rest`), and in even
intervals between snapshots. Two nulls, since runs of one size go through a common course:

- shifted: jumps are moved in time around what is looked at, as around a circle;
- others: run a's loss beside the jumps of run b. That keeps all that is common, times of falling included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Float, Int

if TYPE_CHECKING:
    import xarray as xr

    from tegum.analysis.levels import Jump
    from tegum.analysis.matches import ShareInside

OTHERS = 8
"""So many other runs are compared with each at most: the next ones by seed."""

SHIFTS = 8
"""So many shifts of a sum of jumps, evenly spaced: each is a fit of its own."""

FOLDS = 5
"""What is predicted is no part of the fit: every fifth stretch of one `rest` is left out."""


@final
@dataclass(frozen=True, eq=False)
class Course:
    """One run from `rest` on."""

    fall: Float[np.ndarray, " interval"]
    """By how much the loss falls in each interval."""
    number: Int[np.ndarray, " snapshot"]
    """Represented features: as long as 1/2 at least."""
    loss: Float[np.ndarray, " snapshot"]
    under_way: Float[np.ndarray, " interval"]
    """How many jumps are."""
    curves: Float[np.ndarray, "interval jump"]
    """What part of its way each jump makes in each interval."""
    jumps: tuple[Jump, ...]
    part: float
    """Of the whole decrease of the loss what lies from `rest` on."""


@final
@dataclass(frozen=True, eq=False)
class Compared:
    """A number of each run, beside what the nulls give."""

    own: Float[np.ndarray, " run"]
    others: Float[np.ndarray, " run"]
    """The mean over other runs' jumps."""
    shifted: float | None = None
    """The mean over shifts and runs."""

    @property
    def excess(self) -> Float[np.ndarray, " run"]:
        """Own less others, run by run."""
        return self.own - self.others


@final
@dataclass(frozen=True, eq=False)
class Sized:
    """All measures of the runs of one size."""

    features: int
    flow: bool
    courses: tuple[Course, ...]
    step: Int[np.ndarray, " snapshot"]
    """From `rest` on."""
    inside: ShareInside
    """Decrease of the loss inside jumps, with the time-shifted null."""
    share: Compared
    """The same, run by run."""
    level: Compared
    """R² of the loss on the number of represented features."""
    change: Compared
    """Correlation of the loss's fall with the rise of that number, over stretches of one `rest`."""
    beyond: Compared
    """The same, of what differs from the mean of all other runs."""
    sums: Compared
    """R² of the predicted fall: a constant and a non-negative sum of jumps."""
    course: Float[np.ndarray, " run"]
    """R² of the predicted fall: a constant and the mean fall of all other runs."""
    explained: Compared
    """Of the squared error of that, the part that goes when jumps are added to it."""

    @property
    def overlap(self) -> Float[np.ndarray, " run"]:
        """Jumps under way while the loss falls: their mean number, weighted by the fall."""
        return np.array([each.fall @ each.under_way / each.fall.sum() for each in self.courses])


def sized(run: xr.Dataset, rest: int, longest: int, height: float) -> Sized | None:
    """The measures of one trajectory; None if fewer than two runs trained to their end with a loss that decreases.

    Args:
        run: dims (seed, step), evenly spaced steps.
        rest: of `find_jumps`, in steps.
        longest: likewise.
        height: likewise.

    """
    from tegum.analysis.matches import share_inside

    run, courses = _courses(run, rest, longest, height)
    if len(courses) < 2:
        return None
    step = run["step"].values
    late = rest / float(step[-1])
    step = step[np.searchsorted(step, rest) :]
    stretch = max(1, round(rest / float(step[1] - step[0])))
    seeds = run["seed"].values.tolist()
    jumps = [each.jumps for each in courses]

    def shares(shift: int) -> Float[np.ndarray, " run"]:
        moved = [replace(jump, seed=seed) for at, seed in enumerate(seeds) for jump in jumps[(at + shift) % len(seeds)]]
        found = share_inside(run["loss"], moved, late=late, draws=1)
        return found.inside / found.total

    inside = share_inside(run["loss"], [jump for own in jumps for jump in own], late=late)
    falls = np.array([each.fall for each in courses])
    numbers = np.array([each.number for each in courses], float)
    falling, rising = together(falls, stretch), together(np.diff(numbers, axis=1), stretch)
    common = _mean_of_others(falls)

    def level(a: int, b: int) -> float:
        return correlation(courses[a].loss, numbers[b]) ** 2

    def change(a: int, b: int) -> float:
        return correlation(falling[a], rising[b])

    strange_fall, strange_rise = falling - _mean_of_others(falling), rising - _mean_of_others(rising)

    def beyond(a: int, b: int) -> float:
        return correlation(strange_fall[a], strange_rise[b])

    def sums(a: int, b: int, shift: int = 0) -> float:
        return 1 - error(falls[a], np.roll(courses[b].curves, shift, 0), stretch) / _spread(falls[a])

    alone = np.array([error(fall, mean[:, None], stretch) for fall, mean in zip(falls, common, strict=True)])

    def explained(a: int, b: int) -> float:
        return 1 - error(falls[a], np.column_stack([common[a], courses[b].curves]), stretch) / alone[a]

    length = falling.shape[1]
    shifts = [round(falls.shape[1] * k / (SHIFTS + 1)) for k in range(1, SHIFTS + 1)]
    everyone = range(len(courses))
    turned = [correlation(falling[a], np.roll(rising[a], k)) for a in everyone for k in range(1, length)]
    return Sized(
        features=run.sizes["feature"],
        flow="time" in run.coords,
        courses=tuple(courses),
        step=step,
        inside=inside,
        share=Compared(shares(0), np.mean([shares(k) for k in _others(len(courses))], axis=0), inside.null),
        level=_compared(level, len(courses)),
        change=replace(_compared(change, len(courses)), shifted=float(np.mean(turned))),
        beyond=_compared(beyond, len(courses)),
        sums=replace(
            _compared(sums, len(courses)),
            shifted=float(np.mean([sums(a, a, shift) for a in everyone for shift in shifts])),
        ),
        course=1 - alone / np.array([_spread(fall) for fall in falls]),
        explained=_compared(explained, len(courses)),
    )


def error(fall: Float[np.ndarray, " interval"], columns: Float[np.ndarray, "interval column"], stretch: int) -> float:
    """The squared error of a fall that is predicted as a constant and a non-negative sum of columns.

    Every stretch is predicted from a fit to the others, of which each FOLDS-th is left out with it.
    """
    from scipy.optimize import nnls

    design = np.column_stack([np.ones(len(fall)), columns])
    fold = np.arange(len(fall)) // stretch % FOLDS
    total = 0.0
    for left_out in range(FOLDS):
        seen = fold != left_out
        # Divided by their sizes, so that the solver's tolerance means the same for every column.
        sizes = np.linalg.norm(design[seen], axis=0)
        scale = np.where(sizes > 0, sizes, 1.0)
        factors, _ = nnls(design[seen] / scale, fall[seen], maxiter=50 * design.shape[1])
        total += float(np.square(fall[~seen] - design[~seen] / scale @ factors).sum())
    return total


def correlation(one: Float[np.ndarray, " place"], other: Float[np.ndarray, " place"]) -> float:
    """Pearson's; 0 where one of the two does not vary."""
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt(np.square(one).sum() * np.square(other).sum()))
    return float(one @ other) / size if size > 0 else 0.0


def together(values: Float[np.ndarray, "run interval"], width: int) -> Float[np.ndarray, "run stretch"]:
    """Sums over stretches of so many intervals; what is left at the end is dropped."""
    count = values.shape[1] // width
    return values[:, : count * width].reshape(len(values), count, width).sum(-1)


def progress(
    dimensionality: Float[np.ndarray, " snapshot"], step: Int[np.ndarray, " snapshot"], jump: Jump
) -> Float[np.ndarray, " interval"]:
    """What part of its way a jump makes in each interval: none before its start, none after its end, 1 in all.

    The way is measured by the feature's dimensionality, and never goes back.
    """
    way = np.clip((dimensionality - jump.before) / (jump.after - jump.before), 0.0, 1.0)
    way = np.where(step <= jump.start, 0.0, np.where(step >= jump.end, 1.0, way))
    return np.diff(np.maximum.accumulate(way))


def _courses(run: xr.Dataset, rest: int, longest: int, height: float) -> tuple[xr.Dataset, list[Course]]:
    """The runs that can be measured, and what is measured of them."""
    from tegum.analysis.geometry import dimensionality, represented
    from tegum.analysis.levels import find_jumps
    from tegum.data import schema

    run = run.isel(seed=np.flatnonzero(np.isin(run["result"].values, schema.WHOLE)))
    step = run["step"].values
    first = int(np.searchsorted(step, rest))
    losses = run["loss"].transpose("seed", "step").values.astype(np.float64)
    run = run.isel(seed=np.flatnonzero(losses[:, first] > losses[:, -1]))
    losses = run["loss"].transpose("seed", "step").values.astype(np.float64)
    levels = dimensionality(run["weights"]).transpose("seed", "step", "feature")
    numbers = represented(run["weights"], scale=1.0).sum("feature").transpose("seed", "step").values
    # A flow's snapshots are counted; what it records of time is the same for all of them.
    found = find_jumps(levels.drop_vars("time", errors="ignore"), height=height, rest=rest, longest=longest)
    courses = []
    for seed, loss, number, level in zip(run["seed"].values.tolist(), losses, numbers, levels.values, strict=True):
        jumps = tuple(jump for jump in found if jump.seed == seed)
        later = step[first:]
        curves = [progress(level[first:, jump.feature], later, jump) for jump in jumps]
        middle = (later[1:] + later[:-1]) / 2
        under_way = [((middle > jump.start) & (middle < jump.end)).astype(float) for jump in jumps]
        courses.append(
            Course(
                fall=-np.diff(loss[first:]),
                number=number[first:],
                loss=loss[first:],
                under_way=np.sum(under_way, axis=0) if jumps else np.zeros(len(middle)),
                curves=np.array(curves).T if jumps else np.zeros((len(middle), 0)),
                jumps=jumps,
                part=float((loss[first] - loss[-1]) / (loss[0] - loss[-1])),
            )
        )
    return run, courses


def _others(count: int) -> range:
    return range(1, min(count, OTHERS + 1))


def _compared(value: Callable[[int, int], float], count: int) -> Compared:
    """A number of loss a and jumps b, for each run with its own jumps and with those of others."""
    runs = range(count)
    others = [[value(a, (a + shift) % count) for shift in _others(count)] for a in runs]
    return Compared(np.array([value(a, a) for a in runs]), np.mean(others, axis=1))


def _mean_of_others(values: Float[np.ndarray, "run place"]) -> Float[np.ndarray, "run place"]:
    return (values.sum(0) - values) / (len(values) - 1)


def _spread(values: Float[np.ndarray, " place"]) -> float:
    return float(np.square(values - values.mean()).sum())
