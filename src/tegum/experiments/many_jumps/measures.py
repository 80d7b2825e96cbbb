"""What the experiment `many-jumps` reports of the runs of each size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tegum.experiments.reporting import Measure, average, by_run

if TYPE_CHECKING:
    from tegum.analysis.dynamics.attribution import JumpAttribution
    from tegum.analysis.dynamics.own_jumps import OwnAndOthers


def measures(each: JumpAttribution, rest: int) -> list[Measure]:
    """All numbers of one size; `rest` is where the loss is looked at from."""
    name, unit = f"{'flow, ' if each.flow else ''}n = {each.features}", "time" if each.flow else "step"
    of = f"{'flow_' if each.flow else ''}n{each.features}"
    jumps = [(number, jump.end - jump.start) for number, course in enumerate(each.courses) for jump in course.jumps]
    numbers = np.array([course.number for course in each.courses])
    low, high = each.inside.interval()

    def beside(key: str, what: str, compared: OwnAndOthers) -> Measure:
        meaning = f"own less others', p = {compared.p:.2g}; null: none"
        key, told = f"{of}.{key}_less_others", f"{what}, less other runs', {name}"
        return average(key, told, compared.excess, "1", meaning, null=0.0)

    def made(key: str, what: str, which: str) -> list[Measure]:
        compared: OwnAndOthers = getattr(each.measures, which)
        part_key, called = f"{of}.{key}_as_part_of_made", f"{what}, as a part of made losses', {name}"
        part = None if each.made is None else each.made.part(which, compared)
        if each.made is None or part is None:
            why = "too few runs with two jumps" if each.made is None else "losses made of jumps show none"
            return [beside(key, what, compared), Measure(part_key, called, None, "1", n=0, null=0.0, meaning=why)]
        meaning = f"own less others', of {each.made.excess[which].mean():.3g} where jumps make the loss; null: none"
        return [beside(key, what, compared), average(part_key, called, part, "1", meaning, null=0.0)]

    return [
        average(f"{of}.jumps_per_run", f"jumps per run, {name}", each.counts, "jump", "of at least 0.1"),
        average(
            f"{of}.jumps_per_feature",
            f"jumps per feature, {name}",
            each.counts / each.features,
            "jump",
            "of at least 0.1",
        ),
        average(f"{of}.duration_of_jump", f"duration of a jump, {name}", by_run(jumps), unit, "mean over runs"),
        average(
            f"{of}.jumps_at_once",
            f"jumps at once, {name}",
            each.overlap,
            "jump",
            "under way while the loss falls, weighted by its fall",
        ),
        Measure(
            f"{of}.time_inside_jumps",
            f"time inside jumps, {name}",
            each.inside.time,
            "1",
            n=len(each.courses),
            meaning="of what is looked at",
        ),
        average(
            f"{of}.decrease_that_is_looked_at",
            f"decrease that is looked at, {name}",
            np.array([own.part for own in each.courses]),
            "1",
            f"from {unit} {rest} on, of the whole decrease",
        ),
        Measure(
            f"{of}.decrease_inside_jumps",
            f"decrease inside jumps, {name}",
            each.inside.share,
            "1",
            low,
            high,
            len(each.courses),
            each.inside.null,
            f"share; null: jumps shifted in time (p = {each.inside.p:.2g})",
        ),
        Measure(
            f"{of}.decrease_inside_jumps_of_others",
            f"decrease inside other runs' jumps, {name}",
            each.inside.others,
            "1",
            n=len(each.courses),
            meaning="share, mean over all pairings",
        ),
        *made("decrease_inside_jumps", "decrease inside jumps", "share"),
        average(
            f"{of}.r2_of_sum_of_jumps",
            f"R² of a sum of jumps, {name}",
            each.measures.sums.own,
            "1",
            "predicted; null: shifted in time",
            null=each.measures.sums.shifted,
        ),
        *made("r2_of_sum_of_jumps", "R² of a sum of jumps", "sums"),
        average(
            f"{of}.r2_of_mean_course",
            f"R² of the mean course, {name}",
            each.measures.course,
            "1",
            "of all other runs; predicted",
        ),
        average(
            f"{of}.correlation_with_jumps_apart_from_course",
            f"correlation with jumps apart from the course, {name}",
            each.measures.apart.own,
            "1",
            "of the fall; null: jumps of other runs",
            null=float(each.measures.apart.others.mean()),
        ),
        *made("correlation_with_jumps_apart_from_course", "correlation with jumps apart from the course", "apart"),
        average(
            f"{of}.error_that_jumps_remove",
            f"error that jumps remove, {name}",
            each.measures.removed.own,
            "1",
            "share of the squared error of the mean course; null: jumps of other runs",
            null=float(each.measures.removed.others.mean()),
        ),
        beside("error_that_jumps_remove", "error that jumps remove", each.measures.removed),
        average(
            f"{of}.represented_features_at_first",
            f"represented features at first, {name}",
            numbers[:, 0],
            "feature",
            f"at {unit} {rest}",
        ),
        average(
            f"{of}.represented_features_at_most",
            f"represented features at most, {name}",
            numbers.max(1),
            "feature",
            f"from {unit} {rest} on",
        ),
        average(
            f"{of}.represented_features_at_last",
            f"represented features at last, {name}",
            numbers[:, -1],
            "feature",
            "at the end",
        ),
        average(
            f"{of}.correlation_of_loss_with_represented_features",
            f"correlation of the loss with represented features, {name}",
            each.level.own,
            "1",
            "of their values, with its sign; null: numbers of other runs",
            null=float(each.level.others.mean()),
        ),
        average(
            f"{of}.correlation_of_changes",
            f"correlation of changes, {name}",
            each.change.own,
            "1",
            "fall of the loss and rise of represented features; null: shifted in time",
            null=each.change.shifted,
        ),
        beside("correlation_of_changes", "correlation of changes", each.change),
        average(
            f"{of}.correlation_of_changes_apart_from_course",
            f"correlation of changes apart from the course, {name}",
            each.apart.own,
            "1",
            "null: numbers of other runs",
            null=float(each.apart.others.mean()),
        ),
    ]
