"""What the figure of the experiment `local-basis` draws: its lines as curves with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tegum.experiments._local_sets import DENSITIES, HIDDEN, SIZE, Along, End, Found, Line, Seen, lines

if TYPE_CHECKING:
    from tegum.figures.local_basis import Band, Curve

PAIRS = ((5, 10), (5, 20), (10, 4), (10, 10))
"""Sizes and numbers of sets whose lines over density are drawn."""


def curves(found: Found) -> dict[str, list[Curve]]:
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


def _drawn(line: Line) -> bool:
    cell = line.cells[0].cell
    if line.along == "density":
        return cell.hidden == HIDDEN and (cell.size, cell.sets) in PAIRS
    return cell.hidden == HIDDEN and cell.density in DENSITIES and (line.along == "part" or cell.size == SIZE)


def _curve(line: Line, ends: Sequence[End], nulls: Sequence[Seen]) -> Curve:
    from tegum.figures.local_basis import Curve

    first, x = line.cells[0].cell, line.x
    if line.along == "density":
        label = f"{first.sets} sets of {first.size}"
    else:
        label = f"{first.sets} sets, " if line.along == "part" else ""
        label += f"p = {first.density:g}"
    at = {each.cell: place for each, place in zip(line.cells, x.tolist(), strict=True)}
    return Curve(
        label=label,
        sets=None if line.along == "sets" else first.sets,
        second=first.size != SIZE if line.along == "density" else first.density == DENSITIES[0],
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


def _band(line: Line, name: str) -> Band:
    """Mean, low and high of each cell."""
    return np.array([(each.mean(name), *each.intervals[name]) for each in line.cells])
