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

    from tegum.figures.experiments.local_basis import Band, Curve

DRAWN_PAIRS = ((5, 10), (5, 20), (10, 4), (10, 10))
"""The (set size, number of sets) whose lines over density are drawn."""


def figure(found: LocalBasisFindings) -> tuple[Figure, ...]:
    """Interference, read-out error and PCA over the size, number and density of sets.

    Args:
        found: what is drawn.

    """
    from tegum.figures.experiments.local_basis import local_basis

    return local_basis(curves(found), {"ratio": ORTHOGONAL, "alone": READ, "found": FOUND})


def caption(found: LocalBasisFindings) -> tuple[str, ...]:
    """What the figures show, in sentences."""
    load, part, dense = rules(found)
    common = (
        f"m = {HIDDEN}; colours: number of sets; bars: 95 % intervals over runs. Crosses: trained without correlation. "
        "Dashed lines are limits, and ticks on them mark where a curve crosses its limit."
    )
    return (
        "Mean squared cosine within sets divided by that between sets, over the size, the number and the density of "
        f"sets. {common} Rule of thumb: the features of a set are almost orthogonal, and read out by their own "
        f"embeddings, as long as there are fewer than {_short(load)} features per dimension (range over lines: "
        f"{load.span}) and a set has fewer than {_short(part)} m features.",
        "Variance that the tied read-out misses when only the set is active (dotted: random groups of features of the "
        f"same models). {common}",
        "Variance that the tied read-out misses when the set is active, divided by what it misses over all samples. "
        f"{common}",
        "Share of the set's embeddings captured by PCA on samples in which the set is active, where 0 is a random "
        f"subspace of the same rank and 1 is everything (dotted: PCA on all samples). {common} PCA finds the set only "
        f"as long as density × size is below {_short(dense)} (range over lines: {dense.span}).",
    )


def curves(found: LocalBasisFindings) -> dict[str, list[Curve]]:
    """The curves of each column: over set size, number of sets and density."""
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
    from tegum.figures.experiments.local_basis import Curve

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
    """Mean, and lower and upper end of its interval, for each cell."""
    return np.array([(each.mean(name), *each.intervals[name]) for each in line.cells])


def _short(rule: Rule) -> str:
    return f"{rule.measure.value:.2g}" if rule.values else "(unknown)"
