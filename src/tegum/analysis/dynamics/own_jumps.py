"""What of a run's loss belongs to its own jumps, beside those of other runs; and losses that are made of jumps.

Runs of one Spec go through a common course: they fall at the same times and jump at the same times. So every measure
is taken of the loss of each run beside the jumps of each run. What the loss of a run gives beside anyone's jumps, and
what jumps give beside anyone's loss, is taken away from what it gives beside its own: the rest is its own excess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Bool, Float, Int

from tegum.analysis.statistics import bootstrap_mean, permutation_p

if TYPE_CHECKING:
    from tegum.analysis.dynamics.levels import Jump

FOLDS = 5
"""What is predicted is no part of the fit: every fifth stretch of one `rest` is left out."""

KNOWN_SHARE = 0.5
"""The share of its jumps that is known of a loss that is made of jumps."""

TIMING_ERROR = 1.0
"""By how many snapshots they lower that loss too early or too late: the standard deviation."""

LOSSES_PER_RUN = 4
"""So many such losses for each run."""

PERMUTATIONS = 10_000
"""So often jumps are dealt to runs anew: the least p-value is about one in so many."""

FEWEST_RUNS_FOR_P = 5
"""Runs that a p-value needs at least: with four, one deal in 24 gives every run its own."""


@final
@dataclass(frozen=True, eq=False)
class JumpCourse:
    """One run from `rest` on."""

    fall: Float[np.ndarray, " interval"]
    """By how much the loss falls in each interval."""
    number: Int[np.ndarray, " snapshot"]
    """Represented features: as long as 1/2 at least."""
    loss: Float[np.ndarray, " snapshot"]
    curves: Float[np.ndarray, "interval jump"]
    """What part of its way each jump makes in each interval."""
    inside: Bool[np.ndarray, "interval jump"]
    """Whether it is under way."""
    jumps: tuple[Jump, ...]
    part: float
    """Of the whole decrease of the loss what lies from `rest` on."""

    @property
    def under_way(self) -> Float[np.ndarray, " interval"]:
        """How many jumps are."""
        return self.inside.sum(1).astype(float)


@final
@dataclass(frozen=True, eq=False)
class OwnAndOthers:
    """A number for the loss of each run beside the jumps of each run."""

    pairs: Float[np.ndarray, "run run"]
    """Of the loss of the first beside the jumps of the second."""
    shifted: float | None = None
    """The mean over runs beside their own jumps, shifted in time."""

    @property
    def own(self) -> Float[np.ndarray, " run"]:
        """Of each run beside its own jumps."""
        return self.pairs.diagonal()

    @property
    def others(self) -> Float[np.ndarray, " run"]:
        """The mean over all other runs' jumps."""
        return (self.pairs.sum(1) - self.own) / (len(self.pairs) - 1)

    @property
    def excess(self) -> Float[np.ndarray, " run"]:
        """Own less a part of the loss and a part of the jumps, which least squares find in all pairs of different runs.

        Its mean is that of own less others; NaN with fewer than three runs, which do not tell the parts apart.
        """
        count = len(self.pairs)
        if count < 3:
            return np.full(count, np.nan)
        rows, columns = (self.pairs.sum(axis) - self.own for axis in (1, 0))
        mean = rows.sum() / (count * (count - 1))
        return self.own - mean - (rows + columns - 2 * (count - 1) * mean) / (count - 2)

    @cached_property
    def p(self) -> float:
        """How often runs dealt to each other's jumps give at least as much in all; NaN with fewer than three runs."""
        return permutation_p(self.pairs, draws=PERMUTATIONS) if len(self.pairs) > 2 else np.nan


@final
@dataclass(frozen=True, eq=False)
class OwnJumpMeasures:
    """The measures that tell whether a loss is made of its jumps."""

    share: OwnAndOthers
    """Of the decrease, what lies inside jumps; of the mean decrease of all runs."""
    sums: OwnAndOthers
    """R² of the predicted fall: a constant and a non-negative sum of jumps."""
    apart: OwnAndOthers
    """Correlation of the fall with what jumps make of their way, each apart from its course, over stretches."""
    removed: OwnAndOthers
    """Of the squared error of the fall predicted from the mean of all other runs, the part that jumps remove."""
    course: Float[np.ndarray, " run"]
    """R² of that mean, and a constant."""


def own_jump_measures(courses: Sequence[JumpCourse], stretch: int) -> OwnJumpMeasures:
    """The measures of runs of one Spec, two at least; a stretch is so many intervals."""
    falls = np.array([each.fall for each in courses])
    common = mean_of_others(falls)
    alone = np.array([error(fall, mean[:, None], stretch) for fall, mean in zip(falls, common, strict=True)])

    def removed(a: int, b: int) -> float:
        return 1 - error(falls[a], np.column_stack([common[a], courses[b].curves]), stretch) / alone[a]

    everyone = range(len(courses))
    return OwnJumpMeasures(
        **_of_losses(courses, stretch),
        removed=OwnAndOthers(np.array([[removed(a, b) for b in everyone] for a in everyone])),
        course=1 - alone / spread(falls),
    )


def _of_losses(courses: Sequence[JumpCourse], stretch: int) -> dict[str, OwnAndOthers]:
    """Those that are told of made losses, too."""
    falls = np.array([each.fall for each in courses])
    covered = np.array([each.inside.any(1) for each in courses], float)
    missed = np.array([errors(falls, each.curves, stretch) for each in courses]).T
    moves = together(np.array([each.curves.sum(1) for each in courses]), stretch)
    return {
        "share": OwnAndOthers(falls @ covered.T / falls.sum(1).mean()),
        "sums": OwnAndOthers(1 - missed / spread(falls)[:, None]),
        "apart": OwnAndOthers(correlations(apart(together(falls, stretch)), apart(moves))),
    }


@final
@dataclass(frozen=True, eq=False)
class MadeOfJumps:
    """What the measures give where the loss is made of jumps, and what part of that the runs give."""

    runs: Int[np.ndarray, " made"]
    """Places of the runs of which such losses were made: those with two jumps at least."""
    excess: dict[str, Float[np.ndarray, " made"]]
    """Of what lies inside jumps, of their sums, and apart from the course, by the names in `OwnJumpMeasures`."""

    def part(self, name: str, real: OwnAndOthers) -> Float[np.ndarray, " made"] | None:
        """A value for each run; their mean is the runs' excess as a part of this one.

        It is that of a ratio of two means, linearised. None where this one cannot be told from none itself.
        """
        made, own = self.excess[name], real.excess[self.runs]
        if not bootstrap_mean(made)[0] > 0:
            return None
        part = own.mean() / made.mean()
        return part + (own - part * made) / made.mean()


def made_of_jumps(courses: Sequence[JumpCourse], stretch: int, key: int = 0) -> MadeOfJumps | None:
    """The measures of losses that fall by their jumps alone: what they give if the claim is true.

    Jumps are those of the runs, each of an exponentially distributed size and a little early or late, by
    `TIMING_ERROR`; the whole decrease of a run is its own. Then the measures are told of `KNOWN_SHARE` of its jumps
    only, drawn by chance.

    Returns:
        None if fewer than `FEWEST_RUNS_FOR_P` runs have two jumps.

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
    """Later by so many intervals; what would lie outside is at the end of what is looked at."""
    moved = np.zeros_like(curve)
    np.add.at(moved, np.clip(np.arange(len(curve)) + by, 0, len(curve) - 1), curve)
    return moved


def errors(
    falls: Float[np.ndarray, "run interval"], columns: Float[np.ndarray, "interval column"], stretch: int
) -> Float[np.ndarray, " run"]:
    """The squared errors of falls that are predicted as a constant and a non-negative sum of columns.

    Every stretch is predicted from a fit to the others, of which each FOLDS-th is left out with it.
    """
    from scipy.optimize import nnls

    count = falls.shape[1]
    design = np.column_stack([np.ones(count), columns])
    fold = np.arange(count) // stretch % FOLDS
    total = np.zeros(len(falls))
    for left_out in range(FOLDS):
        seen = fold != left_out
        # Divided by their sizes, so that the solver's tolerance means the same for every column.
        sizes = np.linalg.norm(design[seen], axis=0)
        scaled = design / np.where(sizes > 0, sizes, 1.0)
        # What lies across all columns is no part of a fit: the rest is smaller, and the same fit.
        across, small = np.linalg.qr(scaled[seen])
        factors = [nnls(small, each, maxiter=50 * design.shape[1])[0] for each in falls[:, seen] @ across]
        total += np.square(falls[:, ~seen] - factors @ scaled[~seen].T).sum(1)
    return total


def error(fall: Float[np.ndarray, " interval"], columns: Float[np.ndarray, "interval column"], stretch: int) -> float:
    """That of one fall."""
    return float(errors(fall[None], columns, stretch)[0])


def correlations(
    ones: Float[np.ndarray, "run place"], others: Float[np.ndarray, "run place"]
) -> Float[np.ndarray, "run run"]:
    """Pearson's, of each of the first with each of the others; 0 where one of the two does not vary."""
    ones, others = (values - values.mean(1, keepdims=True) for values in (ones, others))
    sizes = np.sqrt(np.outer(np.square(ones).sum(1), np.square(others).sum(1)))
    return np.divide(ones @ others.T, sizes, out=np.zeros_like(sizes), where=sizes > 0)


def spread(values: Float[np.ndarray, "run place"]) -> Float[np.ndarray, " run"]:
    """The squared error of a mean."""
    return np.square(values - values.mean(1, keepdims=True)).sum(1)


def together(values: Float[np.ndarray, "run interval"], width: int) -> Float[np.ndarray, "run stretch"]:
    """Sums over stretches of so many intervals; what is left at the end is dropped."""
    count = values.shape[1] // width
    return values[:, : count * width].reshape(len(values), count, width).sum(-1)


def apart(values: Float[np.ndarray, "run stretch"]) -> Float[np.ndarray, "run stretch"]:
    """What is left of each run without the mean of the others, in any size and a little earlier or later.

    A run that goes through the common course faster is no other course: least squares take the mean and its slope away.
    """
    left = []
    for own, mean in zip(values, mean_of_others(values), strict=True):
        course = np.column_stack([mean, np.gradient(mean)])
        left.append(own - course @ np.linalg.lstsq(course, own)[0])
    return np.array(left)


def mean_of_others(values: Float[np.ndarray, "run place"]) -> Float[np.ndarray, "run place"]:
    """Of all runs but one, for each of them; two at least."""
    return (values.sum(0) - values) / (len(values) - 1)
