"""The findings of the experiment `equivariant` as measures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tegum.experiments.equivariant.criteria import (
    PCA_FROM_WIDTH,
    UNEVEN_UP_TO_WIDTH,
    mode_difference,
    uneven_distance,
)
from tegum.experiments.equivariant.families import rotating
from tegum.experiments.equivariant.findings import (
    POLYGON_WIDTHS,
    WIDTHS,
    FamilyMap,
    RotatedSolutions,
    StateChange,
    polygon_width,
)
from tegum.experiments.equivariant.rotated_descent import FINE, exact_loss
from tegum.experiments.reporting import Measure, in_key, share
from tegum.solutions.solution import Solution

HARDLY_ANY_LOSS = 1e-3
"""Losses at different densities are not compared where their ratio to the best linear model's is below this."""

LEAST_SHARE_NAMED = 0.01
"""A measure lists the Fourier modes with at least this share of |W|²."""


def measures(found: RotatedSolutions) -> list[Measure]:
    """All measures of the experiment."""
    return [
        *_of_polygons(found),
        *_of_changes(found),
        *_of_one_family(found),
        *_of_two_families(found),
        *(
            share(
                f"width_{in_key(width)}.mini_batches_find_best",
                f"mini-batch runs that find the best solution at width {width:g} rad",
                hits,
                total,
                "null: share of starts on the exact loss that find it",
                null=exact,
            )
            for width, hits, total, exact in found.sampled
        ),
    ]


def _of_polygons(found: RotatedSolutions) -> list[Measure]:
    """How accurate the losses are, and how pure the polygons are compared with independent features."""
    plane, starts = found.one[0], found.one[0].best[0][0].starts
    middle = [state for row in plane.states for state, w in zip(row, plane.widths, strict=True) if polygon_width(w)]
    return [
        Measure(
            "widths",
            "tuning widths",
            len(plane.widths),
            "",
            n=starts,
            meaning=f"on the grid, {starts} starts each, at every m and density",
        ),
        Measure(
            "largest_error_of_loss",
            "largest quadrature error of a loss",
            _missed(found),
            "",
            n=1,
            meaning="change in the loss of a best solution with more quadrature nodes, relative to E|x|²",
        ),
        Measure(
            "polygons.least_share_of_one_mode",
            "least share of the strongest mode in polygons",
            min(float(state.power.max()) for state in middle),
            "share",
            n=len(middle),
            null=2 / (plane.size - 1),
            meaning=f"share of |W|², the least at m = 2 and widths {POLYGON_WIDTHS[0]:g} to {POLYGON_WIDTHS[1]:g} rad; "
            "null: orientations in random order",
        ),
        Measure(
            "wide.largest_difference_from_pca",
            "largest difference from the modes of PCA when wide",
            mode_difference(found),
            "share",
            n=starts,
            meaning="difference between a Fourier mode's share of |W|² and its share in PCA, the largest at widths "
            f"from {PCA_FROM_WIDTH:g} rad",
        ),
        Measure(
            "narrowest.least_distance_from_equivariance",
            "least distance from equivariance when narrowest",
            uneven_distance(found),
            "",
            n=starts,
            meaning="distance of the Gram matrix from a circulant one, relative to its norm, the least at m = 2 and "
            f"widths up to {UNEVEN_UP_TO_WIDTH:g} rad",
        ),
        Measure(
            "null.largest_share_of_one_mode",
            "largest share of one mode in the null",
            max(float(state.power.max()) for state in found.null),
            "share",
            n=len(found.null),
            meaning="share of |W|² in the strongest mode, the largest over best solutions of independent features",
        ),
        Measure(
            "null.least_distance_from_equivariance",
            "least distance from equivariance in the null",
            min(state.defect for state in found.null),
            "",
            n=len(found.null),
            meaning="distance of the Gram matrix from a circulant one, relative to its norm, the least over best "
            "solutions of independent features",
        ),
    ]


def _of_changes(found: RotatedSolutions) -> list[Measure]:
    """Where one family's best solution changes along width."""
    starts = found.one[0].best[0][0].starts
    return [
        *(
            _change(
                key,
                f"m = {each.hidden}: change {each.name}",
                each,
                "rad",
                "tuning width at which the best solution changes",
                starts,
            )
            for key, each in zip(_keys(found.changes), found.changes, strict=True)
        ),
        *(
            _change(
                f"m{each.hidden}.half_linear_loss",
                f"m = {each.hidden}: half the linear loss",
                each,
                "rad",
                "tuning width from which the loss is at least half that of the best linear model",
                starts,
            )
            for each in found.halves
        ),
    ]


def _of_one_family(found: RotatedSolutions) -> list[Measure]:
    """Loss and kept modes at some widths, and how little the loss / density depends on density."""
    listed, starts = [], found.one[0].best[0][0].starts
    for each in found.one:
        for width in (WIDTHS[0], *(w for w in WIDTHS if polygon_width(w)), WIDTHS[-1]):
            state = each.states[0][each.widths.index(width)]
            kept = [f"{r}: {part:.2f}" for r, part in enumerate(state.power.tolist()) if part >= LEAST_SHARE_NAMED]
            meaning = (
                f"loss of the best solution / loss of the best linear model; the solution is {state.name}, "
                f"{state.kept} of {each.size} rotations kept, shares of |W|² by mode {', '.join(kept)}"
            )
            key = f"m{each.hidden}.width_{in_key(width)}.relative_loss"
            name = f"m = {each.hidden}: relative loss at width {width:g} rad"
            listed.append(Measure(key, name, state.ratio, "", n=starts, meaning=meaning))
        if (spread := _spread(each)) is not None:
            meaning = (
                "largest relative difference of loss / density between densities at one width, where the best solution "
                "has no positive bias"
            )
            key, name = f"m{each.hidden}.largest_spread", f"m = {each.hidden}: spread of loss / density"
            listed.append(Measure(key, name, spread, "", n=starts, meaning=meaning))
    return listed


def _of_two_families(found: RotatedSolutions) -> list[Measure]:
    """At how many widths two families have dimensions of their own, and where that changes along density."""
    listed = []
    for each in found.two:
        for density, row in zip(each.densities, each.together, strict=True):
            names = [state.name for state in row]
            by_width = ", ".join(f"{width:g} rad {name}" for width, name in zip(each.widths, names, strict=True))
            key = f"two_families.m{each.hidden}.density_{in_key(density)}.own_dimensions"
            name = f"two families, m = {each.hidden}: own dimensions at density {density:g}"
            count = names.count("own dimensions")
            listed.append(
                Measure(
                    key,
                    name,
                    count,
                    "widths",
                    n=each.best[0][0].starts,
                    meaning=f"of {len(names)} tuning widths, those at which each family has dimensions of its own: "
                    f"{by_width}",
                )
            )
    return [
        *listed,
        *(
            _change(
                f"two_families.{key}",
                f"two families, m = {each.hidden}: change {each.name}",
                each,
                "density",
                "density at which the best solution changes",
                found.two[0].best[0][0].starts,
            )
            for key, each in zip(_keys(found.family_changes), found.family_changes, strict=True)
        ),
    ]


def _keys(changes: Sequence[StateChange]) -> list[str]:
    """A key for each change: "m2.uneven_to_regular", with a number appended if the same change came before."""
    names = [f"m{each.hidden}.{each.before}_to_{each.after}".lower().replace(" ", "_") for each in changes]
    times = [names[:k].count(name) + 1 for k, name in enumerate(names)]
    return [f"{name}_{k}" if k > 1 else name for name, k in zip(names, times, strict=True)]


def _change(key: str, name: str, change: StateChange, unit: str, what: str, starts: int) -> Measure:
    there = change.there
    kind = f"{'abrupt' if change.jump else 'gradual'}{'' if there.confirmed else ', not confirmed'}"
    return Measure(
        key, f"{name} at {there.value:.3g}",
        there.value, unit, there.value - there.error, there.value + there.error, starts, meaning=f"{what} ({kind})",
    )  # fmt: skip


def _missed(found: RotatedSolutions) -> float:
    """The largest change of a best loss with more nodes, relative to the loss with nothing represented."""
    missed = 0.0
    for each, families in [*((each, 1) for each in found.one), *((each, 2) for each in found.two)]:
        for density, row in zip(each.densities, each.best, strict=True):
            # Two families take a second each: the middle of the row stands for it.
            for best in row if families == 1 else row[len(row) // 2 :][:1]:
                features = rotating(each.size, density, best.value, families)
                whole = float(np.trace(features.second_moment()))
                missed = max(missed, abs(exact_loss(best, features, FINE) - best.loss) / whole)
    return missed


def _spread(each: FamilyMap) -> float | None:
    """The largest relative difference of loss / density between densities, where no bias is positive."""
    if len(each.densities) < 2:
        return None
    columns: list[list[Solution]] = [list(column) for column in zip(*each.best, strict=True)]
    spreads = []
    for column, state in zip(columns, each.states[0], strict=True):
        # Where almost no loss is left, differences only show that descents have not quite ended.
        if state.ratio < HARDLY_ANY_LOSS:
            continue
        losses = [best.loss / p for best, p in zip(column, each.densities, strict=True) if best.bias.max() <= 0]
        if len(losses) == len(each.densities):
            spreads.append(max(losses) / min(losses) - 1)
    return max(spreads) if spreads else None
