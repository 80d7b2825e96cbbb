"""Two correlated features: which direction is represented, and by how much that reduces the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from tegum.figures import style
from tegum.figures.drawn import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT = 2.5
"""The height of the three panels, in inches."""


def pair(
    angles: tuple[Float[np.ndarray, " density"], Float[np.ndarray, " strength"], Float[np.ndarray, "density strength"]],
    boundary: Sequence[tuple[float, float]],
    principal: tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"]],
    shares: tuple[Float[np.ndarray, " q"], Mapping[int, Float[np.ndarray, " q"]]],
    ends: Mapping[int, float],
    caption: str = "",
) -> Figure:
    """Three panels side by side, all over density on a log axis.

    Args:
        angles: densities, strengths, and the angle to (a + b)/√2 in degrees.
        boundary: density, and the strength from which the principal component is the best solution.
        principal: densities, and the measured loss reduction with only the principal component represented.
        shares: densities, and the share of the second component for each number of other features.
        ends: for each such number, the density up to which the second component is represented.
        caption: set below the panels, in full lines.

    """
    with style.drawing():
        note = style.Caption(caption)
        below = 0.75 + note.height
        height = below + _HEIGHT + 0.4
        figure = new_figure(figsize=(style.WIDTH, height))
        left, middle, right = figure.subplots(1, 3)
        figure.subplots_adjust(0.08, below / height, 0.985, (below + _HEIGHT) / height, wspace=0.5)
        _draw_angles(left, angles, boundary)
        _draw_reductions(middle, *principal)
        _draw_shares(right, *shares, ends)
        for panel in (left, middle, right):
            panel.set_xscale("log")
            panel.set_xlim(right=1.0)
            panel.set_xticks([0.01, 0.1, 1.0], ["0.01", "0.1", "1"])
            panel.set_xlabel("density p (log scale)")
        note.write(figure, below - 0.6)
    return figure


def _draw_angles(
    place: Axes,
    angles: tuple[Float[np.ndarray, " density"], Float[np.ndarray, " strength"], Float[np.ndarray, "density strength"]],
    boundary: Sequence[tuple[float, float]],
) -> None:
    densities, strengths, values = angles
    shown = place.pcolormesh(densities, strengths, values.T, cmap="cividis", vmin=0, vmax=90, shading="nearest")
    if boundary:
        line = np.array(boundary).T
        place.plot(*line, color="white", lw=3.2)
        place.plot(*line, color=style.ACCENTS[0], lw=1.6, marker="o", ms=3)
    bar = place.figure.colorbar(shown, ax=place, ticks=[0, 45, 90], pad=0.03, fraction=0.06)
    bar.ax.tick_params(pad=1.5)
    bar.ax.set_yticklabels(["0°", "45°", "90°"])
    place.set_xlim(left=densities[0])
    place.set_ylim(0, 1)
    place.set_ylabel("correlation strength", labelpad=2)
    place.set_title("angle to (a + b)/√2", pad=4)


def _draw_reductions(place: Axes, densities: Float[np.ndarray, " p"], principal: Float[np.ndarray, " p"]) -> None:
    p = np.geomspace(densities[0], 1, 200)
    one, both = p / 3 - p**2 / 4, p * (7 / 12 - p / 2)
    place.plot(p, both, color=style.ACCENTS[0], lw=1.4, label="principal component")
    place.plot(densities, principal, "o", color=style.ACCENTS[0], ms=3.5)
    place.plot(p, one, color=style.ACCENTS[1], lw=1.4, ls=(0, (4, 2)), label="one feature")
    place.set_ylim(0, 1.3 * both.max())
    place.set_yticks([0, 0.05, 0.1, 0.15, 0.2])
    place.set_ylabel("loss reduction", labelpad=2)
    place.set_title("impact of one direction", pad=4)
    place.legend(loc="upper left", borderaxespad=0.0, handlelength=1.6)


def _draw_shares(
    place: Axes,
    densities: Float[np.ndarray, " q"],
    shares: Mapping[int, Float[np.ndarray, " q"]],
    ends: Mapping[int, float],
) -> None:
    for (count, values), marker, colour in zip(shares.items(), "os^", style.ACCENTS, strict=False):
        label = f"{count} other feature{'s' if count > 1 else ''}"
        place.plot(densities, values, color=colour, marker=marker, ms=3.5, lw=1.2, label=label)
        if count in ends:
            place.axvline(ends[count], color=colour, lw=0.8, ls=(0, (2, 2)), zorder=0.5, ymax=0.72)
    top = max((float(np.max(values[np.isfinite(values)], initial=1.0)) for values in shares.values()), default=1.0)
    place.set_ylim(-0.04 * top, 1.5 * top)
    place.set_yticks([0, 0.5, 1])
    place.set_ylabel("share of second component", labelpad=2)
    place.set_title("pair and others, m = 2", pad=4)
    place.legend(loc="upper right", borderaxespad=0.0, labelspacing=0.25)
