"""How much of a run's loss its own jumps explain beyond the jumps of other runs, and synthetic losses made of jumps.

Runs of one Spec follow a common course: their losses fall, and their features jump, at the same times. Every measure is
therefore computed for the loss of each run paired with the jumps of each run. From what a run's loss gives with its
own jumps we subtract what that loss gives with anyone's jumps, and what those jumps give with anyone's loss. What
remains is the run's own excess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np
from jaxtyping import Bool, Float, Int

from tegum.analysis.statistics import bootstrap_mean, permutation_p

if TYPE_CHECKING:
    from tegum.analysis.dynamics.levels import Jump

FOLDS = 5
"""The number of folds of the cross-validation: in each, every fifth stretch of one `rest` is left out of the fit."""

KNOWN_SHARE = 0.5
"""The share of jumps that the measures are given for a synthetic loss made of jumps."""

TIMING_ERROR = 1.0
"""The standard deviation, in snapshots, of the times at which jumps lower a synthetic loss too early or too late."""

LOSSES_PER_RUN = 4
"""The number of synthetic losses made from the jumps of each run."""

PERMUTATIONS = 10_000
"""The number of times jumps are dealt to runs at random; the least p-value is about its reciprocal."""

FEWEST_RUNS_FOR_P = 5
"""The least number of runs for a p-value: with four, one deal in 24 gives every run its own jumps."""


@final
@dataclass(frozen=True, eq=False)
class JumpCourse:
    """The loss and the jumps of one run from `rest` on."""

    fall: Float[np.ndarray, " interval"]
    """The fall of the loss in each interval."""
    number: Int[np.ndarray, " snapshot"]
    """The number of represented features, whose embeddings have a length of at least 1/2."""
    loss: Float[np.ndarray, " snapshot"]
    """The loss at each snapshot, summed over features."""
    curves: Float[np.ndarray, "interval jump"]
    """The fraction of each jump completed in each interval."""
    inside: Bool[np.ndarray, "interval jump"]
    """Whether each jump is under way in each interval."""
    jumps: tuple[Jump, ...]
    """The jumps of the run."""
    part: float
    """The share of the total decrease of the loss that comes from `rest` on."""

    @property
    def under_way(self) -> Float[np.ndarray, " interval"]:
        """The number of jumps under way in each interval."""
        return self.inside.sum(1).astype(float)


@final
@dataclass(frozen=True, eq=False)
class OwnAndOthers:
    """A number for the loss of each run paired with the jumps of each run."""

    pairs: Float[np.ndarray, "run run"]
    """The number for the loss of the first run with the jumps of the second."""
    shifted: float | None = None
    """The null: the mean over runs with their own jumps shifted in time."""

    @property
    def own(self) -> Float[np.ndarray, " run"]:
        """The number for each run with its own jumps."""
        return self.pairs.diagonal()

    @property
    def others(self) -> Float[np.ndarray, " run"]:
        """The mean for each run with the jumps of all other runs."""
        return (self.pairs.sum(1) - self.own) / (len(self.pairs) - 1)

    @property
    def excess(self) -> Float[np.ndarray, " run"]:
        """The number with own jumps, minus a part due to the loss and a part due to the jumps alone.

        Both parts are fitted by least squares to all pairs of different runs. The mean of the excess is the mean of
        `own` minus that of `others`. It is NaN with fewer than three runs, which do not determine the parts.
        """
        count = len(self.pairs)
        if count < 3:
            return np.full(count, np.nan)
        rows, columns = (self.pairs.sum(axis) - self.own for axis in (1, 0))
        mean = rows.sum() / (count * (count - 1))
        return self.own - mean - (rows + columns - 2 * (count - 1) * mean) / (count - 2)

    @cached_property
    def p(self) -> float:
        """The probability that jumps dealt to runs at random give at least as much in total.

        NaN below three runs, and where the number is undefined for a pair.
        """
        known = len(self.pairs) > 2 and np.isfinite(self.pairs).all()
        return permutation_p(self.pairs, draws=PERMUTATIONS) if known else np.nan


@final
@dataclass(frozen=True, eq=False)
class OwnJumpMeasures:
    """The measures that show whether a loss is made of its jumps."""

    share: OwnAndOthers
    """The decrease inside jumps, as a share of the mean decrease of all runs."""
    sums: OwnAndOthers
    """R² of the fall predicted by a constant plus a non-negative sum of jumps."""
    apart: OwnAndOthers
    """The correlation of the fall with the progress of jumps, each apart from its common course, over stretches."""
    removed: OwnAndOthers
    """The share of the squared error of the mean course of all other runs that jumps remove."""
    course: Float[np.ndarray, " run"]
    """R² of the fall predicted by a constant plus the mean course of all other runs."""


def own_jump_measures(courses: Sequence[JumpCourse], stretch: int) -> OwnJumpMeasures:
    """Compute the measures of at least two runs of one Spec; `stretch` is the number of intervals in a stretch."""
    falls = np.array([each.fall for each in courses])
    common = mean_of_others(falls)
    alone = np.array([error(fall, mean[:, None], stretch) for fall, mean in zip(falls, common, strict=True)])

    def removed(a: int, b: int) -> float:
        missed = errors(falls[a][None], np.column_stack([common[a], courses[b].curves]), stretch)
        return 1 - float(share_of(missed, alone[a])[0])

    everyone = range(len(courses))
    return OwnJumpMeasures(
        **_of_losses(courses, stretch),
        removed=OwnAndOthers(np.array([[removed(a, b) for b in everyone] for a in everyone])),
        course=1 - share_of(alone, spread(falls)),
    )


def _of_losses(courses: Sequence[JumpCourse], stretch: int) -> dict[str, OwnAndOthers]:
    """The measures that are also computed for synthetic losses."""
    falls = np.array([each.fall for each in courses])
    covered = np.array([each.inside.any(1) for each in courses], float)
    missed = np.array([errors(falls, each.curves, stretch) for each in courses]).T
    moves = together(np.array([each.curves.sum(1) for each in courses]), stretch)
    return {
        "share": OwnAndOthers(falls @ covered.T / falls.sum(1).mean()),
        "sums": OwnAndOthers(1 - share_of(missed, spread(falls)[:, None])),
        "apart": OwnAndOthers(correlations(apart(together(falls, stretch)), apart(moves))),
    }


@final
@dataclass(frozen=True, eq=False)
class MadeOfJumps:
    """What the measures give for synthetic losses made of jumps, and how much of that the runs show."""

    runs: Int[np.ndarray, " made"]
    """The positions of the runs with at least two jumps, from which synthetic losses were made."""
    excess: dict[str, Float[np.ndarray, " made"]]
    """The excess of synthetic losses for the measures `share`, `sums` and `apart` of `OwnJumpMeasures`, by name."""

    def part(self, name: str, real: OwnAndOthers) -> Float[np.ndarray, " made"] | None:
        """The excess of the runs relative to that of synthetic losses.

        Returns:
            A value for each run whose mean is the ratio of the mean excesses, linearised so that intervals hold. None
            if the excess of the synthetic losses is itself not significant.

        """
        made, own = self.excess[name], real.excess[self.runs]
        if not bootstrap_mean(made)[0] > 0:
            return None
        part = own.mean() / made.mean()
        return part + (own - part * made) / made.mean()


def made_of_jumps(courses: Sequence[JumpCourse], stretch: int, key: int = 0) -> MadeOfJumps | None:
    """Compute the measures for losses that fall only by jumps, as they would if the claim were true.

    The jumps are those of the runs, with exponentially distributed sizes and displaced in time by `TIMING_ERROR`. The
    total decrease of each run is kept. The measures are then given only `KNOWN_SHARE` of its jumps, drawn at random.

    Returns:
        The measures; None if fewer than `FEWEST_RUNS_FOR_P` runs have two jumps.

    """
    runs = np.array([at for at, each in enumerate(courses) if len(each.jumps) > 1], int)
    if len(runs) < FEWEST_RUNS_FOR_P:
        return None
    rng = np.random.default_rng(key)
    drawn = [_of_losses([_loss_made_of_jumps(courses[at], rng) for at in runs], stretch) for _ in range(LOSSES_PER_RUN)]
    return MadeOfJumps(runs, {name: np.mean([each[name].excess for each in drawn], axis=0) for name in drawn[0]})


def _loss_made_of_jumps(course: JumpCourse, rng: np.random.Generator) -> JumpCourse:
    count = len(course.jumps)
    sizes, late = rng.exponential(size=count), np.rint(rng.normal(0, TIMING_ERROR, count)).astype(int).tolist()
    fall = sum(
        (size * _moved(curve, by) for size, curve, by in zip(sizes, course.curves.T, late, strict=True)),
        np.zeros(len(course.fall)),
    )
    seen = np.sort(rng.permutation(count)[: round(KNOWN_SHARE * count)])
    return replace(
        course,
        fall=fall * course.fall.sum() / fall.sum(),
        curves=course.curves[:, seen],
        inside=course.inside[:, seen],
        jumps=tuple(course.jumps[at] for at in seen),
    )


def _moved(curve: Float[np.ndarray, " interval"], by: int) -> Float[np.ndarray, " interval"]:
    """Delay a curve by a number of intervals; what would fall outside is put at the edge."""
    moved = np.zeros_like(curve)
    np.add.at(moved, np.clip(np.arange(len(curve)) + by, 0, len(curve) - 1), curve)
    return moved


def errors(
    falls: Float[np.ndarray, "run interval"], columns: Float[np.ndarray, "interval column"], stretch: int
) -> Float[np.ndarray, " run"]:
    """The squared errors of falls predicted by a constant plus a non-negative sum of columns, cross-validated.

    Every stretch is predicted from a fit that leaves out this stretch and every `FOLDS`-th one from it.
    """
    from scipy.optimize import nnls

    count = falls.shape[1]
    design = np.column_stack([np.ones(count), columns])
    fold = np.arange(count) // stretch % FOLDS
    total = np.zeros(len(falls))
    for left_out in range(FOLDS):
        seen = fold != left_out
        # Columns are normalised, so that the solver's tolerance means the same for each of them.
        sizes = np.linalg.norm(design[seen], axis=0)
        scaled = design / np.where(sizes > 0, sizes, 1.0)
        # Projecting onto the span of the columns leaves the fit unchanged and makes it smaller.
        across, small = np.linalg.qr(scaled[seen])
        factors = [nnls(small, each, maxiter=50 * design.shape[1])[0] for each in falls[:, seen] @ across]
        total += np.square(falls[:, ~seen] - factors @ scaled[~seen].T).sum(1)
    return total


def error(fall: Float[np.ndarray, " interval"], columns: Float[np.ndarray, "interval column"], stretch: int) -> float:
    """The squared error of one fall (`errors`)."""
    return float(errors(fall[None], columns, stretch)[0])


def correlations(
    ones: Float[np.ndarray, "run place"], others: Float[np.ndarray, "run place"]
) -> Float[np.ndarray, "run run"]:
    """Pearson correlations of each of the first with each of the others; 0 if either does not vary."""
    ones, others = (values - values.mean(1, keepdims=True) for values in (ones, others))
    sizes = np.sqrt(np.outer(np.square(ones).sum(1), np.square(others).sum(1)))
    return np.divide(ones @ others.T, sizes, out=np.zeros_like(sizes), where=sizes > 0)


def share_of(part: Float[np.ndarray, "*place"], whole: Any) -> Float[np.ndarray, "*place"]:
    """The part divided by the whole; NaN where that is zero, as the spread of a loss that falls steadily."""
    whole = np.broadcast_to(whole, part.shape)
    # Laid out in memory as the part is: sums over it add in that order.
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def spread(values: Float[np.ndarray, "run place"]) -> Float[np.ndarray, " run"]:
    """The squared deviations of each run from its mean, summed."""
    return np.square(values - values.mean(1, keepdims=True)).sum(1)


def together(values: Float[np.ndarray, "run interval"], width: int) -> Float[np.ndarray, "run stretch"]:
    """Sum over stretches of `width` intervals; a remainder at the end is dropped."""
    count = values.shape[1] // width
    return values[:, : count * width].reshape(len(values), count, width).sum(-1)


def apart(values: Float[np.ndarray, "run stretch"]) -> Float[np.ndarray, "run stretch"]:
    """Remove from each run the mean of the others, scaled and slightly shifted in time.

    A run that merely follows the common course faster does not depart from it. Least squares therefore remove both the
    mean and its slope.
    """
    left = []
    for own, mean in zip(values, mean_of_others(values), strict=True):
        course = np.column_stack([mean, np.gradient(mean)])
        left.append(own - course @ np.linalg.lstsq(course, own)[0])
    return np.array(left)


def mean_of_others(values: Float[np.ndarray, "run place"]) -> Float[np.ndarray, "run place"]:
    """The mean over all other runs, for each of at least two runs."""
    return (values.sum(0) - values) / (len(values) - 1)
