"""How much of the fall of the loss is due to jumps, for runs of one Spec.

The loss is analysed from the first moment at which a jump can start, after the first plateau (`rest`), in the even
intervals between snapshots. There are two nulls, as runs of one Spec follow a common course:

- shifted: jumps are shifted in time, cyclically within the analysed stretch;
- others: the loss of run a is paired with the jumps of run b. This keeps everything that runs have in common, such as
  the times at which the loss falls.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Float, Int

from tegum.analysis.dynamics.levels import HEIGHT, LONGEST, REST, Jump
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
    share_of,
    spread,
    together,
)
from tegum.analysis.dynamics.windows import arranged
from tegum.analysis.runs import measurable_runs
from tegum.core.arguments import refusing

if TYPE_CHECKING:
    import xarray as xr

    from tegum.analysis.dynamics.matches import ShareInside

SHIFTS = 8
"""The number of evenly spaced shifts of a sum of jumps. It is small because each needs a fit of its own."""

FEWEST_STRETCHES = 3
"""The least number of stretches of one `rest` that are analysed: two, from which the common course and its slope are
removed, leave nothing."""


@final
@dataclass(frozen=True, eq=False)
class JumpAttribution:
    """What the fall of the loss owes to jumps, in the runs of one Spec."""

    features: int
    """The number of features n."""
    flow: bool
    """Whether the runs are gradient flows rather than sampled runs."""
    courses: tuple[JumpCourse, ...]
    """The loss and the jumps of each run."""
    step: Int[np.ndarray, " snapshot"]
    """The steps of the snapshots from `rest` on."""
    inside: ShareInside
    """The decrease of the loss inside jumps, with both nulls."""
    measures: OwnJumpMeasures
    """The measures that show whether the loss is made of the jumps."""
    made: MadeOfJumps | None
    """What these measures give for synthetic losses that are made of jumps; None with too few runs."""
    level: OwnAndOthers
    """The correlation of the loss with the number of represented features."""
    change: OwnAndOthers
    """The correlation of the fall of the loss with the rise of that number, over stretches of one `rest`."""
    apart: OwnAndOthers
    """The correlation of the fall of the loss with the rise of that number, each apart from its common course."""

    @property
    def overlap(self) -> Float[np.ndarray, " run"]:
        """The mean number of jumps under way in each run, weighted by the fall of the loss."""
        return np.array([each.fall @ each.under_way / each.fall.sum() for each in self.courses])

    @property
    def counts(self) -> Int[np.ndarray, " run"]:
        """The number of jumps in each run."""
        return np.array([len(each.jumps) for each in self.courses])


@refusing
def jump_attribution(
    run: xr.Dataset, *, rest: int = REST, longest: int = LONGEST, height: float = HEIGHT
) -> JumpAttribution | None:
    """Measure what the fall of the loss owes to jumps, in the runs of one Spec.

    Elhage et al. 2022 ("Discrete 'Energy Level' Jumps") suspect that smooth decreases of the loss in larger models are
    composed of many small jumps. Each run's loss is compared with its own jumps (`find_jumps`) and with those of all
    others, as runs follow a common course; what its own explain beyond that is the excess. Synthetic
    losses made only of jumps show how large it would then be. Measures and nulls are described in
    `tegum.analysis.dynamics.own_jumps` and `tegum.analysis.dynamics.attribution`.

    Args:
        run: a trajectory of one Spec, dims (seed, step, …), with evenly spaced steps; runs that did not complete
            training, and those whose loss does not decrease from `rest` on, are left out.
        rest: the least length of a plateau, in steps, of at least the distance of two snapshots; also the step from
            which the loss is analysed, in stretches of this length, of which there must be at least three. In a flow,
            steps are equal intervals of time.
        longest: the longest duration of a jump, in steps.
        height: the least height of a jump, in dimensionality.

    Returns:
        The attribution: the share of the decrease that lies inside jumps, and four measures for the loss of each run
        with the jumps of each run. None if fewer than two runs are left. Excesses and p-values are NaN for two, and
        a measure is NaN where it would divide by nothing, as for losses that are alike in all runs.

    Raises:
        ValueError: `run` is not a trajectory of one Spec with evenly spaced steps, a completed run is not finite, a
            number is not positive, or `rest` is shorter than the distance of two snapshots or too long for the run.

    Example:
        Two runs fall by 1 along a line in 10,000 steps, and by another 1 in 100 steps as their feature appears. Of
        what falls from step 1,000 on, 0.9 + 1, the jump holds 1 + 0.01.

        >>> import tegum as tg
        >>> import numpy as np
        >>> import xarray as xr
        >>> step = np.arange(0, 10_001, 100)
        >>> there = (step >= np.array([[4_000], [7_000]])).astype(float)
        >>> run = xr.Dataset(
        ...     {
        ...         "weights": (("seed", "step", "feature", "hidden"), there[..., None, None]),
        ...         "loss": (("seed", "step"), 2 - step / 10_000 - there),
        ...         "result": (("seed",), ["completed"] * 2),
        ...     },
        ...     {"step": step},
        ... )
        >>> found = tg.jump_attribution(run)
        >>> found.counts.tolist(), found.measures.share.own.round(4).tolist(), round(1.01 / 1.9, 4)
        ([1, 1], [0.5316, 0.5316], 0.5316)

    """
    from tegum.analysis.dynamics.matches import share_inside

    for name, value in (("rest", rest), ("longest", longest), ("height", height)):
        if not value > 0:
            raise ValueError(f"jump_attribution({name}={value!r}): {name} must be above 0")
    run = measurable_runs("jump_attribution", run, ("loss",))
    stretch = _stretch(run["loss"], rest)
    run, courses = _courses(run, rest, longest, height)
    if len(courses) < 2:
        return None
    step = run["step"].values
    # Half a step early, so that rounding cannot exclude the snapshot at `rest` or include the one before.
    late = (rest - 0.5) / float(step[-1])
    step = step[np.searchsorted(step, rest) :]
    inside = share_inside(run["loss"], [jump for each in courses for jump in each.jumps], late=late)
    found = own_jump_measures(courses, stretch)
    falls = np.array([each.fall for each in courses])
    shifts = [round(falls.shape[1] * k / (SHIFTS + 1)) for k in range(1, SHIFTS + 1)]
    # Shifting the loss back is equivalent to shifting the jumps on, and one design then serves all shifts.
    missed = [errors(np.array([np.roll(each.fall, -k) for k in shifts]), each.curves, stretch) for each in courses]
    shifted = 1 - np.mean(share_of(np.array(missed), spread(falls)[:, None]))
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
    """The fraction of a jump completed in each interval: 0 before its start and after its end, 1 in total.

    Progress is measured by the feature's dimensionality, and never reverses.
    """
    way = np.clip((dimensionality - jump.before) / (jump.after - jump.before), 0.0, 1.0)
    way = np.where(step <= jump.start, 0.0, np.where(step >= jump.end, 1.0, way))
    return np.diff(np.maximum.accumulate(way))


def _stretch(loss: xr.DataArray, rest: int) -> int:
    """The number of intervals between snapshots in a stretch of one `rest`, after a check that there are enough."""
    _, step = arranged(loss, ("seed", "step"), "jump_attribution(run)")
    call, later = f"jump_attribution(rest={rest!r})", step[np.searchsorted(step, rest) :]
    if len(step) > 1 and rest < (distance := int(np.diff(step).min())):
        raise ValueError(f"{call}: rest must be at least the distance of two snapshots, {distance} steps")
    stretch = max(1, round(rest / float(later[1] - later[0]))) if len(later) > 1 else 0
    if not stretch or (len(later) - 1) // stretch < FEWEST_STRETCHES:
        rule = f"rest must leave {FEWEST_STRETCHES} stretches of its length from step {rest} on, to step {step[-1]}"
        raise ValueError(f"{call}: {rule}")
    return stretch


def _courses(run: xr.Dataset, rest: int, longest: int, height: float) -> tuple[xr.Dataset, list[JumpCourse]]:
    """Select the runs whose loss decreases, and collect the loss and the jumps of each."""
    from tegum.analysis.dynamics.levels import find_jumps
    from tegum.analysis.geometry.measures import dimensionality, represented

    step = run["step"].values
    first = int(np.searchsorted(step, rest))
    losses = run["loss"].transpose("seed", "step").values.astype(np.float64)
    run = run.isel(seed=np.flatnonzero(losses[:, first] > losses[:, -1]))
    losses = run["loss"].transpose("seed", "step").values.astype(np.float64)
    levels = dimensionality(run["weights"]).transpose("seed", "step", "feature")
    numbers = represented(run["weights"], scale=1.0).sum("feature").transpose("seed", "step").values
    # In a flow, jumps are found in the numbers of snapshots; the recorded times are the same for all runs.
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
