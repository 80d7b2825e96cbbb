"""The plane of density and correlation strength: which solution is best where, and what it looks like."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from tegum.figures import style
from tegum.figures.drawn import new_figure, parts
from tegum.figures.experiments.collapse import colours, draw_pairs
from tegum.figures.plots.phase import phase

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_IN_ROW = 6
"""The most pictures in a row."""


class MapOverlay(NamedTuple):
    """What is drawn on top of the maps, in coordinates (density, strength)."""

    boundaries: Sequence[Float[np.ndarray, "point 2"]]
    """The curves on which the best solution changes abruptly."""
    breakings: Float[np.ndarray, "place 2"]
    """The places where a symmetry is lost continuously."""
    triples: Float[np.ndarray, "triple 2"]
    """The triple points."""


def tradeoff(
    grid: tuple[Float[np.ndarray, " density"], Float[np.ndarray, " strength"]],
    names: Sequence[Sequence[str]],
    ratios: Float[np.ndarray, "density strength"],
    lines: MapOverlay,
    pictures: Sequence[tuple[str, tuple[float, float], Float[np.ndarray, "6 2"]]],
) -> tuple[Figure, Figure]:
    """A map of the best solutions, with pictures of them at lettered points; and a map of their relative losses.

    Args:
        grid: densities and strengths.
        names: names of the best solutions over densities and strengths: the number of collapsed pairs, or "PCA".
        ratios: their losses relative to that of the best linear model.
        lines: what is drawn on top of the maps.
        pictures: for each solution to draw, its name, its density and strength, and its weights.

    """
    with style.drawing():
        rows = max(-(-len(pictures) // (3 if style.is_narrow() else _MOST_IN_ROW)), 1)
        across = max(-(-len(pictures) // rows), 1)
        high = 2.4 if style.is_narrow() else 3.3
        first = new_figure(high + 1.25 * rows, layout="constrained")
        upper, lower = parts(first, high, 1.25 * rows)
        panel = _middle(upper)
        _draw_names(panel, grid, names)
        _draw_lines(panel, lines)
        _scale(panel, grid)
        for letter, (_, place, _) in zip(ascii_uppercase, pictures, strict=False):
            box = {"boxstyle": "circle,pad=0.15", "fc": style.paper(), "ec": style.ink(), "lw": 0.6}
            panel.text(*place, letter, ha="center", va="center", fontsize=style.small(), bbox=box, zorder=6)
        places = lower.subplots(rows, across, squeeze=False).ravel()
        for place, letter, picture in zip(places, ascii_uppercase, pictures, strict=False):
            _draw_picture(place, letter, *picture)
        for place in places[len(pictures) :]:
            place.set_visible(False)
        second = new_figure(high, layout="constrained")
        panel = _middle(second)
        _draw_ratios(panel, grid, ratios)
        _draw_lines(panel, lines)
        _scale(panel, grid)
    return first, second


def _middle(figure: Any) -> Axes:
    """A panel as wide as one column, in the middle of the figure."""
    sides = 0.01 if style.is_narrow() else 0.25
    return figure.add_subplot(figure.add_gridspec(1, 3, width_ratios=(sides, 1, sides))[0, 1])


def _array(grid: tuple[Float[np.ndarray, " density"], Float[np.ndarray, " strength"]], values: Any) -> xr.DataArray:
    places = dict(zip(("density", "strength"), grid, strict=True))
    return xr.DataArray(values, dims=list(places), coords=places)


def _scale(panel: Axes, grid: tuple[Float[np.ndarray, " density"], Float[np.ndarray, " strength"]]) -> None:
    densities, strengths = grid
    panel.set_xlim(densities[0], densities[-1])
    panel.set_ylim(strengths[0], strengths[-1])
    panel.set_xlabel("density p (log scale)")
    panel.set_ylabel("correlation strength ρ")


def _draw_names(
    place: Axes,
    grid: tuple[Float[np.ndarray, " density"], Float[np.ndarray, " strength"]],
    names: Sequence[Sequence[str]],
) -> None:
    # Pale, so that lines stand out on all of them.
    pale = {name: style.pale(colour, 0.55) for name, colour in colours().items()}
    title = "collapsed\npairs in the\nbest solution"
    phase(_array(grid, np.array(names, object)), x="density", colours=pale, label=title, ax=place, style=None)


def _draw_ratios(
    place: Axes,
    grid: tuple[Float[np.ndarray, " density"], Float[np.ndarray, " strength"]],
    ratios: Float[np.ndarray, "density strength"],
) -> None:
    levels = [0.99] if ratios.min() < 0.99 < ratios.max() else None
    phase(
        _array(grid, ratios), x="density", limits=(0.0, 1.0), colours="cividis",
        label="loss / loss of the best linear model", ax=place, style=None,
    )  # fmt: skip
    if levels:
        place.contour(*grid, ratios.T, levels=levels, colors="black", linestyles=":", linewidths=1.2)


def _draw_lines(panel: Axes, lines: MapOverlay) -> None:
    for each in lines.boundaries:
        panel.plot(each[:, 0], each[:, 1], color=style.paper(), lw=2.2, zorder=3, solid_capstyle="round")
    for each in lines.boundaries:
        panel.plot(each[:, 0], each[:, 1], color=style.ink(), lw=1.0, zorder=4, solid_capstyle="round")
    panel.plot(lines.breakings[:, 0], lines.breakings[:, 1], "x", color=style.ink(), ms=3.2, mew=0.8, zorder=4)
    panel.plot(
        lines.triples[:, 0], lines.triples[:, 1], "o", ms=3.6, mfc=style.paper(), mec=style.ink(), mew=0.8, zorder=5
    )


def _draw_picture(
    panel: Axes, letter: str, name: str, place: tuple[float, float], weights: Float[np.ndarray, "6 2"]
) -> None:
    draw_pairs(panel, weights)
    title = "PCA" if name == "PCA" else f"{name} collapsed"
    panel.set_title(f"{letter}: {title}\np = {place[0]:.2g}, ρ = {place[1]:.2g}", fontsize=style.small(), pad=1)
