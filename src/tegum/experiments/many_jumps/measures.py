"""The measures of the experiment `many-jumps`, for the runs of each size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tegum.experiments.reporting import Measure, average, by_run

if TYPE_CHECKING:
    from tegum.analysis.dynamics.attribution import JumpAttribution
    from tegum.analysis.dynamics.own_jumps import OwnAndOthers

SYNTHETIC = "synthetic losses made only of jumps"
"""What the excess of a run is compared with."""


def measures(each: JumpAttribution, rest: int) -> list[Measure]:
    """All measures of one size.

    Args:
        each: the jumps of runs of this size, and their part in the fall of the loss.
        rest: the step, or flow time, from which the loss is analysed.

    """
    return [*_of_jumps(each), *_of_decrease(each, rest), *_of_course(each), *_of_represented(each, rest)]


def _name(each: JumpAttribution) -> str:
    return f"{'flow, ' if each.flow else ''}n = {each.features}"


def size_key(each: JumpAttribution) -> str:
    """The start of the keys of the measures of one size, such as "n80"."""
    return f"{'flow_' if each.flow else ''}n{each.features}"


def _excess(each: JumpAttribution, key: str, what: str, compared: OwnAndOthers, paired: str = "jumps") -> Measure:
    """What a run's own jumps, or numbers of features, give beyond those of other runs."""
    meaning = f"{what} with a run's own {paired} minus that with other runs' {paired}, p = {compared.p:.2g}; null: 0"
    key, name = f"{size_key(each)}.{key}_less_others", f"{what}, excess over other runs, {_name(each)}"
    return average(key, name, compared.excess, "", meaning, null=0.0)


def _excess_and_part(each: JumpAttribution, key: str, what: str, which: str) -> list[Measure]:
    """The excess, and the same relative to synthetic losses."""
    compared: OwnAndOthers = getattr(each.measures, which)
    excess = _excess(each, key, what, compared)
    part_key = f"{size_key(each)}.{key}_as_part_of_made"
    name = f"{what}, excess relative to synthetic losses, {_name(each)}"
    part = None if each.made is None else each.made.part(which, compared)
    if each.made is None or part is None:
        why = f"too few runs with two jumps for {SYNTHETIC}" if each.made is None else f"{SYNTHETIC} show no excess"
        return [excess, Measure(part_key, name, None, "", n=0, null=0.0, meaning=f"not measured: {why}")]
    made = each.made.excess[which].mean()
    meaning = f"excess over other runs' jumps, divided by {made:.3g}, the excess of {SYNTHETIC}; null: 0"
    return [excess, average(part_key, name, part, "", meaning, null=0.0)]


def _of_jumps(each: JumpAttribution) -> list[Measure]:
    """How many jumps there are, and how long they last."""
    of, name, unit = size_key(each), _name(each), "flow time" if each.flow else "steps"
    jumps = [(number, jump.end - jump.start) for number, course in enumerate(each.courses) for jump in course.jumps]
    return [
        average(
            f"{of}.jumps_per_run",
            f"jumps per run, {name}",
            each.counts,
            "jumps",
            "jumps of a feature's dimensionality by at least 0.1, per run",
        ),
        average(
            f"{of}.jumps_per_feature",
            f"jumps per feature, {name}",
            each.counts / each.features,
            "jumps",
            "jumps of a feature's dimensionality by at least 0.1, per feature of a run",
        ),
        average(
            f"{of}.duration_of_jump",
            f"duration of a jump, {name}",
            by_run(jumps),
            unit,
            "time from the start to the end of a jump, mean over runs",
        ),
        average(
            f"{of}.jumps_at_once",
            f"simultaneous jumps, {name}",
            each.overlap,
            "jumps",
            "number of jumps under way, weighted by the fall of the loss",
        ),
        Measure(
            f"{of}.time_inside_jumps",
            f"time inside jumps, {name}",
            each.inside.time,
            "share",
            n=len(each.courses),
            meaning="share of the analysed time during which some feature of the run jumps",
        ),
    ]


def _of_decrease(each: JumpAttribution, rest: int) -> list[Measure]:
    """How much of the decrease lies inside jumps, and how well jumps predict the fall."""
    of, name, unit = size_key(each), _name(each), "flow time" if each.flow else "step"
    low, high = each.inside.interval()
    return [
        average(
            f"{of}.decrease_that_is_looked_at",
            f"decrease that is analysed, {name}",
            np.array([own.part for own in each.courses]),
            "share",
            f"share of the total decrease of the loss that comes from {unit} {rest} on",
        ),
        Measure(
            f"{of}.decrease_inside_jumps",
            f"decrease inside jumps, {name}",
            each.inside.share,
            "share",
            low,
            high,
            len(each.courses),
            each.inside.null,
            "share of the decrease of the loss while a feature of the run jumps; "
            f"null: jumps shifted in time (p = {each.inside.p:.2g})",
        ),
        Measure(
            f"{of}.decrease_inside_jumps_of_others",
            f"decrease inside other runs' jumps, {name}",
            each.inside.others,
            "share",
            n=len(each.courses),
            meaning="share of the decrease of a run's loss while a feature of another run jumps, mean over all pairs",
        ),
        *_excess_and_part(each, "decrease_inside_jumps", "decrease inside jumps", "share"),
        average(
            f"{of}.r2_of_sum_of_jumps",
            f"R² of a sum of jumps, {name}",
            each.measures.sums.own,
            "",
            "R² of the fall of the loss, predicted out of sample as a non-negative sum of the run's own jumps; "
            "null: jumps shifted in time",
            null=each.measures.sums.shifted,
        ),
        *_excess_and_part(each, "r2_of_sum_of_jumps", "R² of a sum of jumps", "sums"),
    ]


def _of_course(each: JumpAttribution) -> list[Measure]:
    """How much the common course explains, and what jumps explain apart from it."""
    of, name = size_key(each), _name(each)
    correlation = "correlation with jumps apart from the mean course"
    return [
        average(
            f"{of}.r2_of_mean_course",
            f"R² of the mean course, {name}",
            each.measures.course,
            "",
            "R² of the fall of the loss, predicted out of sample from the mean of all other runs",
        ),
        average(
            f"{of}.correlation_with_jumps_apart_from_course",
            f"{correlation}, {name}",
            each.measures.apart.own,
            "",
            "correlation of the fall of the loss with the progress of own jumps, each minus its mean course; "
            "null: jumps of other runs",
            null=float(each.measures.apart.others.mean()),
        ),
        *_excess_and_part(each, "correlation_with_jumps_apart_from_course", correlation, "apart"),
        average(
            f"{of}.error_that_jumps_remove",
            f"error removed by jumps, {name}",
            each.measures.removed.own,
            "share",
            "share of the squared error of the mean course that a run's own jumps remove; null: jumps of other runs",
            null=float(each.measures.removed.others.mean()),
        ),
        _excess(each, "error_that_jumps_remove", "error removed by jumps", each.measures.removed),
    ]


def _of_represented(each: JumpAttribution, rest: int) -> list[Measure]:
    """The number of represented features, and how the loss correlates with it."""
    of, name, unit = size_key(each), _name(each), "flow time" if each.flow else "step"
    numbers = np.array([course.number for course in each.courses])
    return [
        average(
            f"{of}.represented_features_at_first",
            f"represented features at first, {name}",
            numbers[:, 0],
            "features",
            f"number of represented features at {unit} {rest}",
        ),
        average(
            f"{of}.represented_features_at_most",
            f"represented features at most, {name}",
            numbers.max(1),
            "features",
            f"largest number of represented features from {unit} {rest} on",
        ),
        average(
            f"{of}.represented_features_at_last",
            f"represented features at the end, {name}",
            numbers[:, -1],
            "features",
            "number of represented features at the end of training",
        ),
        average(
            f"{of}.correlation_of_loss_with_represented_features",
            f"correlation of the loss with represented features, {name}",
            each.level.own,
            "",
            "correlation of the loss with the number of represented features over training; null: numbers of other "
            "runs",
            null=float(each.level.others.mean()),
        ),
        average(
            f"{of}.correlation_of_changes",
            f"correlation of changes, {name}",
            each.change.own,
            "",
            "correlation of the fall of the loss with the rise of the number of represented features; "
            "null: rises shifted in time",
            null=each.change.shifted,
        ),
        _excess(each, "correlation_of_changes", "correlation of changes", each.change, "numbers of features"),
        average(
            f"{of}.correlation_of_changes_apart_from_course",
            f"correlation of changes apart from the mean course, {name}",
            each.apart.own,
            "",
            "correlation of the fall of the loss with the rise of the number of represented features, each minus its "
            "mean course; null: numbers of other runs",
            null=float(each.apart.others.mean()),
        ),
    ]
