"""The plane of density and correlation strength: which solution is best where, and what it looks like."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from tegum.figures import style
from tegum.figures.drawn import new_figure
from tegum.figures.experiments.collapse import COLOURS, draw_pairs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAP_HEIGHT = 3.1
"""The height of a map, in inches."""

_PICTURE_HEIGHT = 1.15
"""The height of a row of pictures, in inches."""

_MOST_IN_ROW = 6
"""The most pictures in a row."""

_LEGEND_HEIGHT = 0.5
"""The height of the legend above the maps, in inches."""


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
    caption: str = "",
) -> Figure:
    """Two maps side by side; letters mark the places of the solutions drawn below them.

    Args:
        grid: densities and strengths.
        names: names of the best solutions over densities and strengths: the number of collapsed pairs, or "PCA".
        ratios: their losses relative to that of the best linear model.
        lines: what is drawn on top of the maps.
        pictures: for each solution to draw, its name, its density and strength, and its weights.
        caption: set below the panels, in full lines.

    """
    with style.drawing():
        note = style.Caption(caption)
        rows = max(-(-len(pictures) // _MOST_IN_ROW), 1)
        columns = -(-len(pictures) // rows)
        below = 0.2 + note.height
        height = below + rows * _PICTURE_HEIGHT + 0.75 + _MAP_HEIGHT + _LEGEND_HEIGHT
        figure = new_figure(figsize=(style.WIDTH, height))
        bottom = (below + rows * _PICTURE_HEIGHT + 0.75) / height
        panels = figure.add_gridspec(
            1, 2, left=0.075, right=0.985, bottom=bottom, top=bottom + _MAP_HEIGHT / height, wspace=0.16
        )
        left, right = (figure.add_subplot(panels[k]) for k in (0, 1))
        _draw_names(left, grid, names)
        _draw_ratios(right, grid, ratios)
        for panel in (left, right):
            _draw_lines(panel, lines)
            _scale(panel, grid)
        left.set_ylabel("correlation strength ρ", labelpad=2)
        for letter, (_, place, _) in zip(ascii_uppercase, pictures, strict=False):
            box = {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": style.INK, "lw": 0.6}
            left.text(*place, letter, ha="center", va="center", fontsize=7.5, bbox=box, zorder=6)
        places = figure.add_gridspec(
            rows, max(columns, 4), left=0.01, right=0.99, bottom=below / height,
            top=(below + rows * _PICTURE_HEIGHT) / height, wspace=0.0, hspace=0.3,
        )  # fmt: skip
        for number, (letter, picture) in enumerate(zip(ascii_uppercase, pictures, strict=False)):
            _draw_picture(figure.add_subplot(places[number // columns, number % columns]), letter, *picture)
        note.write(figure, below - 0.1)
    return figure


def _scale(panel: Axes, grid: tuple[Float[np.ndarray, " density"], Float[np.ndarray, " strength"]]) -> None:
    densities, strengths = grid
    panel.set_xscale("log")
    panel.set_xlim(densities[0], densities[-1])
    panel.set_ylim(strengths[0], strengths[-1])
    ticks = [tick for tick in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if densities[0] <= tick <= densities[-1]]
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.set_xticks([], minor=True)
    panel.set_xlabel("density p (log scale)")


def _draw_names(
    place: Axes,
    grid: tuple[Float[np.ndarray, " density"], Float[np.ndarray, " strength"]],
    names: Sequence[Sequence[str]],
) -> None:
    from matplotlib.colors import ListedColormap, to_rgb
    from matplotlib.patches import Patch

    # Pale, so that black lines stand out on all of them.
    pale = {name: 0.45 + 0.55 * np.array(to_rgb(colour)) for name, colour in COLOURS.items()}
    order = list(pale)
    numbers = np.array([[order.index(name) if name in order else 0 for name in row] for row in names])
    shown = ListedColormap(np.array(list(pale.values())))
    place.pcolormesh(*grid, numbers.T, cmap=shown, vmin=-0.5, vmax=len(order) - 0.5, shading="nearest", rasterized=True)
    handles = [
        Patch(facecolor=pale[name].tolist(), edgecolor=style.MUTED, lw=0.5, label=name)
        for name in order
        if any(name in row for row in names)
    ]
    place.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(handles), borderaxespad=0.2,
                 handlelength=1.0, handletextpad=0.4, columnspacing=1.0, title="collapsed pairs in the best solution",
                 title_fontsize=8.0)  # fmt: skip


def _draw_ratios(
    place: Axes,
    grid: tuple[Float[np.ndarray, " density"], Float[np.ndarray, " strength"]],
    ratios: Float[np.ndarray, "density strength"],
) -> None:
    shown = place.pcolormesh(*grid, ratios.T, cmap="cividis", vmin=0, vmax=1, shading="nearest", rasterized=True)
    if ratios.min() < 0.99 < ratios.max():
        place.contour(*grid, ratios.T, levels=[0.99], colors=style.INK, linestyles=":", linewidths=1.2)
    above = place.inset_axes((0.1, 1.02, 0.8, 0.03))
    bar = place.figure.colorbar(shown, cax=above, orientation="horizontal", ticks=[0, 0.25, 0.5, 0.75, 1])
    above.xaxis.set_ticks_position("top")
    above.xaxis.set_label_position("top")
    bar.ax.tick_params(pad=1.0, length=2, labelsize=7.5)
    bar.set_label("loss / loss of the best linear model", fontsize=8.0, labelpad=2)


def _draw_lines(panel: Axes, lines: MapOverlay) -> None:
    for each in lines.boundaries:
        panel.plot(each[:, 0], each[:, 1], color="white", lw=2.2, zorder=3, solid_capstyle="round")
    for each in lines.boundaries:
        panel.plot(each[:, 0], each[:, 1], color=style.INK, lw=1.0, zorder=4, solid_capstyle="round")
    panel.plot(lines.breakings[:, 0], lines.breakings[:, 1], "x", color=style.INK, ms=3.2, mew=0.8, zorder=4)
    panel.plot(lines.triples[:, 0], lines.triples[:, 1], "o", ms=3.6, mfc="white", mec=style.INK, mew=0.8, zorder=5)


def _draw_picture(
    panel: Axes, letter: str, name: str, place: tuple[float, float], weights: Float[np.ndarray, "6 2"]
) -> None:
    draw_pairs(panel, weights)
    title = "PCA" if name == "PCA" else f"{name} collapsed"
    panel.set_title(f"{letter}: {title}\np = {place[0]:.2g}, ρ = {place[1]:.2g}", fontsize=7.5, pad=1)
