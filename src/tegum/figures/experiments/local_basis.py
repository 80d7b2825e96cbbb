"""Correlated sets in models in superposition: four measures over set size, number of sets and density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, assert_never

import numpy as np
from jaxtyping import Float

from tegum.figures import style
from tegum.figures.drawn import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Band = Float[np.ndarray, "place 3"]
"""The mean, and the lower and upper end of its interval."""

Row = Literal["ratio", "alone", "relative", "found"]
Along = Literal["part", "sets", "density"]

_ROW_LABELS: dict[Row, str] = {
    "ratio": "interference\nwithin / between",
    "alone": "read-out error,\nset alone",
    "relative": "read-out error,\nset active / all",
    "found": "captured by PCA\n(0: chance, 1: all)",
}
_COLUMN_LABELS: dict[Along, str] = {
    "part": "set size / m",
    "sets": "number of sets of 10 (log scale)",
    "density": "density p (log scale)",
}

_RANGES = {"ratio": (0.003, 30.0), "alone": (1e-4, 1.0), "relative": (0.05, 3.0), "found": (-1.05, 1.12)}

_TICKS = {
    "ratio": [0.01, 0.1, 1, 10],
    "alone": [0.001, 0.01, 0.1, 1],
    "relative": [0.1, 0.3, 1, 3],
    "found": [-1, -0.5, 0, 0.5, 1],
}

_COLOURS_BY_COUNT = {4: style.ACCENTS[0], 10: style.ACCENTS[1], 20: style.ACCENTS[2]}
"""The colour of a curve by its number of sets."""

_SAYS: dict[Row, str] = {
    "ratio": "Below 1 (dotted), the features of a set overlap less with one another than with other sets",
    "alone": "Below the dashed line, a set that is active alone is read out by its own embeddings",
    "relative": "Below 1 (dotted), a set is read out better when it is active than over all samples",
    "found": "Above the dashed line, PCA on samples with the set finds the subspace of its embeddings",
}
"""How to read each row, in a sentence."""

_MEASURE_HEIGHT = 1.9
"""The height of a row of panels, one for each measure, in inches."""


class Curve(NamedTuple):
    """Four measures along one varied quantity."""

    label: str
    sets: int | None
    """The number of sets if it is fixed along the curve; it decides the colour."""
    second: bool
    """Whether the line is dashed and its markers are hollow."""
    x: Float[np.ndarray, " place"]
    bands: Mapping[str, Band]
    """For each row ("ratio", "alone", "relative", "found") the values and intervals; NaN where undefined."""
    faint: Mapping[str, Float[np.ndarray, " place"]]
    """For each row the values to compare with, drawn dotted."""
    crosses: Sequence[tuple[float, Mapping[str, float]]]
    """The place of each null, and its value for each row."""
    ends: Mapping[str, tuple[float, float, float]]
    """For each row where the curve crosses its limit, with the interval."""


def local_basis(columns: Mapping[str, Sequence[Curve]], limits: Mapping[str, float]) -> tuple[Figure, ...]:
    """Draw interference, two read-out errors and PCA, a figure for each, over three varied quantities.

    Args:
        columns: the curves over "part" (set size / hidden dimension), "sets" (number of sets) and "density".
        limits: the limit of each measure, drawn as a line.

    """
    with style.drawing():
        return tuple(_figure(row, columns, limits.get(row)) for row in _SAYS)


def _figure(row: Row, columns: Mapping[str, Sequence[Curve]], limit: float | None) -> Figure:
    """Three panels under a sentence that says how to read them."""
    narrow = style.is_narrow()
    legend = 0.17 * max(len(curves) for curves in columns.values())
    figure = new_figure(
        3 * 1.4 + 1.5 * legend + 0.4 if narrow else _MEASURE_HEIGHT + 0.55 + legend, layout="constrained"
    )
    figure.suptitle(style.wrapped(_SAYS[row], 50 if narrow else 110), fontsize=style.small() + 0.5, fontweight="bold")
    panels = figure.subplots(*((3, 1) if narrow else (1, 3)), sharey=True)
    for place, (along, what) in zip(panels, _COLUMN_LABELS.items(), strict=True):
        for curve in columns[along]:
            _draw(place, curve, row, limit)
        _scale(place, row, limit)
        _scale_across(place, along, columns[along])
        place.set_xlabel(what)
        if narrow or place is panels[0]:
            place.set_ylabel(_ROW_LABELS[row])
        place.legend(
            loc="lower left", bbox_to_anchor=(-0.03, 1.0), borderaxespad=0.2, labelspacing=0.25, handlelength=2.2,
            handletextpad=0.5, ncols=2 if narrow else 1, columnspacing=1.0,
        )  # fmt: skip
    return figure


def _draw(place: Axes, curve: Curve, row: str, limit: float | None) -> None:
    colour = style.ink() if curve.sets is None else _COLOURS_BY_COUNT.get(curve.sets, style.muted())
    mean, low, high = curve.bands[row].T
    kept = np.isfinite(mean)
    low, high = (np.where(np.isfinite(ends), ends, mean) for ends in (low, high))
    place.errorbar(
        curve.x[kept], mean[kept], [np.maximum(mean - low, 0)[kept], np.maximum(high - mean, 0)[kept]],
        color=colour, fmt="o", ms=3.4, mfc=style.paper() if curve.second else colour, mew=0.9, lw=1.2,
        ls=(0, (4, 2)) if curve.second else "-", elinewidth=0.9, capsize=1.6, zorder=3, label=curve.label,
    )  # fmt: skip
    if row in curve.faint:
        values = curve.faint[row]
        shown = np.isfinite(values)
        place.plot(curve.x[shown], values[shown], color=colour, lw=0.8, ls=(0, (1, 1.5)), alpha=0.7, zorder=1.5)
    for x, values in curve.crosses:
        if np.isfinite(values.get(row, np.nan)):
            place.plot([x], [values[row]], "x", color=colour, ms=5, mew=1.3, zorder=4)
    if row in curve.ends and limit is not None:
        value, left, right = curve.ends[row]
        if np.isfinite(right):
            place.plot([left, right], [limit, limit], color=colour, lw=2.0, zorder=3.5, solid_capstyle="butt")
        place.plot([value], [limit], "|", color=colour, ms=9, mew=1.4, zorder=3.6)


def _scale(place: Axes, row: Row, limit: float | None) -> None:
    low, high = _RANGES[row]
    match row:
        case "found":
            neutral = 0.0
        case "ratio" | "relative":
            neutral = 1.0
            place.set_yscale("log")
        case "alone":
            neutral = None
            place.set_yscale("log")
        case _:
            assert_never(row)
    if neutral is not None:
        place.axhline(neutral, color=style.muted(), lw=0.8, ls=(0, (1, 2)), zorder=1)
    place.set_yticks(_TICKS[row], [f"{tick:g}" for tick in _TICKS[row]])
    place.set_ylim(low, high)
    place.minorticks_off()
    if limit is not None:
        place.axhline(limit, color=style.ink(), lw=0.8, ls=(0, (5, 3)), zorder=1)


def _scale_across(place: Axes, along: Along, curves: Sequence[Curve]) -> None:
    x = np.concatenate([curve.x for curve in curves]) if curves else np.array([1.0])
    match along:
        case "part":
            place.set_xlim(0, 1.04 * float(x.max()))
            return
        case "sets":
            ticks = np.unique(x).tolist()
        case "density":
            ticks = [0.01, 0.02, 0.05, 0.1, 0.2]
        case _:
            assert_never(along)
    place.set_xscale("log")
    low, high = float(x.min()) / 1.12, float(x.max()) * 1.12
    ticks = [tick for tick in ticks if low <= tick <= high]
    place.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    place.set_xlim(low, high)
    place.minorticks_off()
