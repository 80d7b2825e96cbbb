"""The findings of the experiment `equivariant` as measures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
"""The loss over that of the best linear model below which losses at different densities are not compared."""

LEAST_SHARE_NAMED = 0.01
"""The least share of |W|² of a Fourier mode for a measure to name it."""


def measures(found: RotatedSolutions) -> list[Measure]:
    """Everything that is reported."""
    return [
        *_of_polygons(found),
        *_of_changes(found),
        *_of_one_family(found),
        *_of_two_families(found),
        *(
            share(
                f"width_{in_key(width)}.mini_batches_find_best",
                f"mini-batches find the best at {width:g}",
                hits,
                total,
                "null: exact starts",
                null=exact,
            )
            for width, hits, total, exact in found.sampled
        ),
    ]


def _of_polygons(found: RotatedSolutions) -> list[Measure]:
    """How exact losses are, and how pure polygons are, beside what independent features give."""
    plane, starts = found.one[0], found.one[0].best[0][0].starts
    middle = [state for row in plane.states for state, w in zip(row, plane.widths, strict=True) if polygon_width(w)]
    return [
        Measure(
            "widths", "widths", len(plane.widths), "width", n=starts, meaning=f"with {starts} starts each, for every m"
        ),
        Measure(
            "largest_error_of_loss",
            "largest error of a loss",
            _missed(found),
            "1",
            n=1,
            meaning="of best solutions, relative to E|x|²",
        ),
        Measure(
            "polygons.least_share_of_one_mode",
            "share of one mode in polygons",
            min(float(state.power.max()) for state in middle),
            "1",
            n=len(middle),
            null=2 / (plane.size - 1),
            meaning=f"the least at widths {POLYGON_WIDTHS[0]:g} to {POLYGON_WIDTHS[1]:g}, m = 2; "
            "null: a random order of orientations",
        ),
        Measure(
            "null.largest_share_of_one_mode",
            "largest share of one mode without rotation",
            max(float(state.power.max()) for state in found.null),
            "1",
            n=len(found.null),
            meaning="in best solutions of independent features",
        ),
        Measure(
            "null.least_distance_from_equivariance",
            "least distance from equivariance without rotation",
            min(state.defect for state in found.null),
            "1",
            n=len(found.null),
            meaning="in best solutions of independent features",
        ),
    ]


def _of_changes(found: RotatedSolutions) -> list[Measure]:
    """Where one family's best solution changes along width."""
    starts = found.one[0].best[0][0].starts
    return [
        *(
            _change(key, f"m = {each.hidden}: {each.name}", each, "rad", starts)
            for key, each in zip(_keys(found.changes), found.changes, strict=True)
        ),
        *(
            _change(f"m{each.hidden}.half_linear_loss", f"m = {each.hidden}: half the linear loss", each, "rad", starts)
            for each in found.halves
        ),
    ]


def _of_one_family(found: RotatedSolutions) -> list[Measure]:
    """Loss and kept modes at some widths, and how little losses over density depend on density."""
    listed, starts = [], found.one[0].best[0][0].starts
    for each in found.one:
        for width in (WIDTHS[0], *(w for w in WIDTHS if polygon_width(w)), WIDTHS[-1]):
            state = each.states[0][each.widths.index(width)]
            kept = [f"{r}: {part:.2f}" for r, part in enumerate(state.power.tolist()) if part >= LEAST_SHARE_NAMED]
            told = f"{state.name}, {state.kept} of {each.size} rotations kept; |W|² by mode {', '.join(kept)}"
            key = f"m{each.hidden}.width_{in_key(width)}.relative_loss"
            name = f"m = {each.hidden}: relative loss at width {width:g}"
            listed.append(Measure(key, name, state.ratio, "1", n=starts, meaning=told))
        if (spread := _spread(each)) is not None:
            meaning = "of loss over density, between densities, where no bias of the best solution is above 0"
            key = f"m{each.hidden}.largest_spread"
            listed.append(Measure(key, f"m = {each.hidden}: largest spread", spread, "1", n=starts, meaning=meaning))
    return listed


def _of_two_families(found: RotatedSolutions) -> list[Measure]:
    """At how many widths each of two families has dimensions of its own, and where that changes along density."""
    listed = []
    for each in found.two:
        for density, row in zip(each.densities, each.together, strict=True):
            names = [state.name for state in row]
            told = ", ".join(f"{width:g} {name}" for width, name in zip(each.widths, names, strict=True))
            key = f"two_families.m{each.hidden}.density_{in_key(density)}.own_dimensions"
            name = f"two families, m = {each.hidden}: own dimensions at density {density:g}"
            count = names.count("own dimensions")
            listed.append(
                Measure(key, name, count, "width", n=each.best[0][0].starts, meaning=f"of {len(names)}; {told}")
            )
    return [
        *listed,
        *(
            _change(
                f"two_families.{key}",
                f"two families, m = {each.hidden}: {each.name}",
                each,
                "density",
                found.two[0].best[0][0].starts,
            )
            for key, each in zip(_keys(found.family_changes), found.family_changes, strict=True)
        ),
    ]


def _keys(changes: Sequence[StateChange]) -> list[str]:
    """Of changes: "m2.uneven_to_regular"; with a number if the same change came before."""
    names = [f"m{each.hidden}.{each.before}_to_{each.after}".lower().replace(" ", "_") for each in changes]
    times = [names[:k].count(name) + 1 for k, name in enumerate(names)]
    return [f"{name}_{k}" if k > 1 else name for name, k in zip(names, times, strict=True)]


def _change(key: str, name: str, change: StateChange, unit: str, starts: int) -> Measure:
    there = change.there
    told = f"{'at once' if change.jump else 'gradual'}{'' if there.confirmed else ', not confirmed'}"
    return Measure(
        key, f"{name} at {there.value:.3g}",
        there.value, unit, there.value - there.error, there.value + there.error, starts, meaning=told,
    )  # fmt: skip


def _missed(found: RotatedSolutions) -> float:
    """By how much more nodes change the loss of the best solutions, at most, over that of nothing represented."""
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
    """How much loss over density differs between densities, relative, where no bias is above 0."""
    if len(each.densities) < 2:
        return None
    columns: list[list[Solution]] = [list(column) for column in zip(*each.best, strict=True)]
    spreads = []
    for column, state in zip(columns, each.states[0], strict=True):
        # Where nearly nothing is left, differences are those of descents that have not ended.
        if state.ratio < HARDLY_ANY_LOSS:
            continue
        losses = [best.loss / p for best, p in zip(column, each.densities, strict=True) if best.bias.max() <= 0]
        if len(losses) == len(each.densities):
            spreads.append(max(losses) / min(losses) - 1)
    return max(spreads) if spreads else None
