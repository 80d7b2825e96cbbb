"""How far the loss of runs of one Spec is made of their jumps, beside time-shifted jumps and those of other runs.

The loss is looked at from the first moment on at which a jump can start, after the first plateau (`rest`), and in even
intervals between snapshots. Two nulls, since runs of one Spec go through a common course:

- shifted: jumps are moved in time around what is looked at, as around a circle;
- others: run a's loss beside the jumps of run b. That keeps all that is common, times of falling included.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Float, Int

from tegum.analysis.dynamics.own_jumps import (
    JumpCourse,
    MadeOfJumps,
    OwnAndOthers,
    OwnJumpMeasures,
    apart,
    correlations,
    errors,
    made_of_jumps,
    own_jump_measures,
    spread,
    together,
)

if TYPE_CHECKING:
    import xarray as xr

    from tegum.analysis.dynamics.levels import Jump
    from tegum.analysis.dynamics.matches import ShareInside

SHIFTS = 8
"""So many shifts of a sum of jumps, evenly spaced: each is a fit of its own."""


@final
@dataclass(frozen=True, eq=False)
class JumpAttribution:
    """What the loss of the runs of one Spec owes to their jumps."""

    features: int
    flow: bool
    courses: tuple[JumpCourse, ...]
    step: Int[np.ndarray, " snapshot"]
    """From `rest` on."""
    inside: ShareInside
    """Decrease of the loss inside jumps, with both nulls."""
    measures: OwnJumpMeasures
    """What tells whether the loss is made of the jumps."""
    made: MadeOfJumps | None
    """What that gives where it is."""
    level: OwnAndOthers
    """Correlation of the loss with the number of represented features."""
    change: OwnAndOthers
    """Of its fall with the rise of that number, over stretches of one `rest`."""
    apart: OwnAndOthers
    """The same, each apart from its course."""

    @property
    def overlap(self) -> Float[np.ndarray, " run"]:
        """Jumps under way while the loss falls: their mean number, weighted by the fall."""
        return np.array([each.fall @ each.under_way / each.fall.sum() for each in self.courses])

    @property
    def counts(self) -> Int[np.ndarray, " run"]:
        """Jumps of each run."""
        return np.array([len(each.jumps) for each in self.courses])


def jump_attribution(run: xr.Dataset, rest: int, longest: int, height: float) -> JumpAttribution | None:
    """What the loss of the runs of one Spec owes to their jumps.

    None if fewer than two runs trained to their end with a loss that decreases.

    Args:
        run: dims (seed, step), evenly spaced steps.
        rest: of `find_jumps`, in steps; at least as long as it is from one snapshot to the next.
        longest: likewise.
        height: likewise.

    """
    from tegum.analysis.dynamics.matches import share_inside

    run, courses = _courses(run, rest, longest, height)
    if len(courses) < 2:
        return None
    step = run["step"].values
    # Steps are whole numbers: rounding can move neither `rest` itself nor the one before across this.
    late = (rest - 0.5) / float(step[-1])
    step = step[np.searchsorted(step, rest) :]
    stretch = max(1, round(rest / float(step[1] - step[0])))
    inside = share_inside(run["loss"], [jump for each in courses for jump in each.jumps], late=late)
    found = own_jump_measures(courses, stretch)
    falls = np.array([each.fall for each in courses])
    shifts = [round(falls.shape[1] * k / (SHIFTS + 1)) for k in range(1, SHIFTS + 1)]
    # A loss turned back is as good as jumps that are moved on, and all turns of it have the same fit.
    missed = [errors(np.array([np.roll(each.fall, -k) for k in shifts]), each.curves, stretch) for each in courses]
    shifted = 1 - np.mean(np.array(missed) / spread(falls)[:, None])
    losses, numbers = (np.array([getattr(each, name) for each in courses], float) for name in ("loss", "number"))
    falling, rising = together(falls, stretch), together(np.diff(numbers, axis=1), stretch)
    turned = [correlations(falling, np.roll(rising, k, 1)).diagonal() for k in range(1, falling.shape[1])]
    return JumpAttribution(
        features=run.sizes["feature"],
        flow="time" in run.coords,
        courses=tuple(courses),
        step=step,
        inside=inside,
        measures=replace(
            found,
            share=replace(found.share, shifted=inside.null),
            sums=replace(found.sums, shifted=float(shifted)),
        ),
        made=made_of_jumps(courses, stretch),
        level=OwnAndOthers(correlations(losses, numbers)),
        change=OwnAndOthers(correlations(falling, rising), float(np.mean(turned))),
        apart=OwnAndOthers(correlations(apart(falling), apart(rising))),
    )


def progress(
    dimensionality: Float[np.ndarray, " snapshot"], step: Int[np.ndarray, " snapshot"], jump: Jump
) -> Float[np.ndarray, " interval"]:
    """What part of its way a jump makes in each interval: none before its start, none after its end, 1 in all.

    The way is measured by the feature's dimensionality, and never goes back.
    """
    way = np.clip((dimensionality - jump.before) / (jump.after - jump.before), 0.0, 1.0)
    way = np.where(step <= jump.start, 0.0, np.where(step >= jump.end, 1.0, way))
    return np.diff(np.maximum.accumulate(way))


def _courses(run: xr.Dataset, rest: int, longest: int, height: float) -> tuple[xr.Dataset, list[JumpCourse]]:
    """The runs that can be measured, and what is measured of them."""
    from tegum.analysis.dynamics.levels import find_jumps
    from tegum.analysis.geometry.measures import dimensionality, represented
    from tegum.analysis.runs import completed_runs

    run = completed_runs(run)
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
    later = step[first:]
    middle = (later[1:] + later[:-1]) / 2
    for seed, loss, number, level in zip(run["seed"].values.tolist(), losses, numbers, levels.values, strict=True):
        jumps = tuple(jump for jump in found if jump.seed == seed)
        curves = [progress(level[first:, jump.feature], later, jump) for jump in jumps]
        inside = [(middle > jump.start) & (middle < jump.end) for jump in jumps]
        courses.append(
            JumpCourse(
                fall=-np.diff(loss[first:]),
                number=number[first:],
                loss=loss[first:],
                curves=np.reshape(curves, (len(jumps), len(middle))).T.astype(float),
                inside=np.reshape(inside, (len(jumps), len(middle))).T.astype(bool),
                jumps=jumps,
                part=float((loss[first] - loss[-1]) / (loss[0] - loss[-1])),
            )
        )
    return run, courses
