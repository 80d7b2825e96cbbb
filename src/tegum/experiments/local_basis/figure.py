"""The figure of the experiment `local-basis`: its lines as curves with intervals, and the caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, assert_never

import numpy as np

from tegum.experiments.local_basis.findings import (
    FOUND,
    HIDDEN,
    ORTHOGONAL,
    READ,
    REFERENCE_DENSITIES,
    SIZE,
    Along,
    CellLine,
    LineEnd,
    LocalBasisFindings,
    MeasuredCell,
    lines,
)
from tegum.experiments.local_basis.measures import Rule, rules

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tegum.figures.local_basis import Band, Curve

DRAWN_PAIRS = ((5, 10), (5, 20), (10, 4), (10, 10))
"""Sizes and numbers of sets whose lines over density are drawn."""


def figure(found: LocalBasisFindings, caption: str) -> Figure:
    """Interference, read-out alone and locally, and PCA, over size, number and density of sets.

    Args:
        found: what is drawn.
        caption: set below the panels.

    """
    from tegum.figures.local_basis import local_basis

    return local_basis(curves(found), {"ratio": ORTHOGONAL, "alone": READ, "found": FOUND}, caption)


def caption(found: LocalBasisFindings) -> str:
    """What the figure shows, in sentences."""
    load, part, dense = rules(found)
    return (
        "Colours: number of sets. From above: mean squared cosine within sets over that between sets; what the tied "
        "read-out of a set misses where nothing else is active (dotted: random groups of features of the same "
        "models); where the set is active, over what it misses everywhere; what PCA captures of a set's embeddings "
        "where the set is active, 0 being a random subspace of the same rank and 1 everything (dotted: PCA of "
        "everything). Dashed lines: limits; marks on them: up to where they are kept. Crosses: trained without "
        f"correlation. m = {HIDDEN}; intervals of 95 % over runs. Rule of thumb: the features of a set are almost "
        "orthogonal, and read out by their own embeddings, while there are less than "
        f"{_short(load)} features for each dimension (lines end {load.span}), and in a set less than "
        f"{_short(part)} m of them; PCA finds the set only while density × size is below "
        f"{_short(dense)} (lines end {dense.span})."
    )


def curves(found: LocalBasisFindings) -> dict[str, list[Curve]]:
    """For each of what is varied its curves."""
    columns: dict[str, list[Curve]] = {}
    kinds: tuple[Along, ...] = ("part", "sets", "density")
    for along in kinds:
        ends = [*found.bases[along], *found.pca[along]]
        columns[along] = [
            _curve(line, [each for each in ends if each.line.cells == line.cells], list(found.nulls.values()))
            for line in lines(found.cells.values(), along)
            if _drawn(line)
        ]
    return columns


def _drawn(line: CellLine) -> bool:
    cell = line.cells[0].cell
    match line.along:
        case "density":
            fitting = (cell.size, cell.sets) in DRAWN_PAIRS
        case "part":
            fitting = cell.density in REFERENCE_DENSITIES
        case "sets":
            fitting = cell.density in REFERENCE_DENSITIES and cell.size == SIZE
        case _:
            assert_never(line.along)
    return cell.hidden == HIDDEN and fitting


def _curve(line: CellLine, ends: Sequence[LineEnd], nulls: Sequence[MeasuredCell]) -> Curve:
    from tegum.figures.local_basis import Curve

    first, x = line.cells[0].cell, line.x
    match line.along:
        case "density":
            label, sets, second = f"{first.sets} sets of {first.size}", first.sets, first.size != SIZE
        case "part":
            label, sets = f"{first.sets} sets, p = {first.density:g}", first.sets
            second = first.density == REFERENCE_DENSITIES[0]
        case "sets":
            label, sets, second = f"p = {first.density:g}", None, first.density == REFERENCE_DENSITIES[0]
        case _:
            assert_never(line.along)
    at = {each.cell: place for each, place in zip(line.cells, x.tolist(), strict=True)}
    return Curve(
        label=label,
        sets=sets,
        second=second,
        x=x,
        bands={
            "ratio": _band(line, "ratio"),
            "alone": _band(line, "alone"),
            "relative": _band(line, "relative"),
            "found": 1 - _band(line, "lost")[:, [0, 2, 1]],
        },
        faint={
            "alone": np.array([each.mean("random alone") for each in line.cells]),
            "found": np.array([1 - each.mean("lost globally") for each in line.cells]),
        },
        crosses=[
            (at[null.cell], {"ratio": null.mean("ratio"), "alone": null.mean("alone"), "found": 1 - null.mean("lost")})
            for null in nulls
            if null.cell in at
        ],
        ends={
            "found" if each.measure == "lost" else each.measure: (each.value, *each.interval)
            for each in ends
            if each.inner
        },
    )


def _band(line: CellLine, name: str) -> Band:
    """Mean, low and high of each cell."""
    return np.array([(each.mean(name), *each.intervals[name]) for each in line.cells])


def _short(rule: Rule) -> str:
    return f"{rule.measure.value:.2g}" if rule.values else "an unknown number of"
