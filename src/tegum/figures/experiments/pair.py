"""Two correlated features: which direction is represented, and by how much that reduces the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from jaxtyping import Float

from tegum.figures import style
from tegum.figures.drawn import new_figure
from tegum.figures.plots.phase import phase

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def pair(
    angles: tuple[Float[np.ndarray, " density"], Float[np.ndarray, " strength"], Float[np.ndarray, "density strength"]],
    boundary: Sequence[tuple[float, float]],
    principal: tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"]],
    shares: tuple[Float[np.ndarray, " q"], Mapping[int, Float[np.ndarray, " q"]]],
    ends: Mapping[int, float],
) -> tuple[Figure, Figure]:
    """Which direction is represented, over density and strength; and what it brings, with room for one or for two.

    Args:
        angles: densities, strengths, and the angle to (a + b)/√2 in degrees.
        boundary: density, and the strength from which the principal component is the best solution.
        principal: densities, and the measured loss reduction with only the principal component represented.
        shares: densities, and the share of the second component for each number of other features.
        ends: for each such number, the density up to which the second component is represented.

    """
    with style.drawing():
        narrow = style.is_narrow()
        first = new_figure(2.5 if narrow else 3.1, layout="constrained")
        # In two columns a map of the whole width would be stretched.
        place = first.add_subplot(first.add_gridspec(1, 3, width_ratios=(0.01, 1, 0.01) if narrow else (1, 4, 1))[0, 1])
        _draw_angles(place, angles, boundary)
        second = new_figure(4.6 if narrow else 2.7, layout="constrained")
        panels = second.subplots(*((2, 1) if narrow else (1, 2)))
        _draw_reductions(panels[0], *principal)
        _draw_shares(panels[1], *shares, ends)
        for panel in panels:
            panel.set_xscale("log")
            panel.set_xlim(right=1.0)
            panel.set_xticks([0.01, 0.1, 1.0], ["0.01", "0.1", "1"])
            panel.set_xlabel("density p (log scale)")
    return first, second


def _draw_angles(
    place: Axes,
    angles: tuple[Float[np.ndarray, " density"], Float[np.ndarray, " strength"], Float[np.ndarray, "density strength"]],
    boundary: Sequence[tuple[float, float]],
) -> None:
    densities, strengths, values = angles
    grid = {"density p": densities, "correlation strength ρ": strengths}
    phase(
        xr.DataArray(values, dims=list(grid), coords=grid), x="density p", limits=(0.0, 90.0), ax=place, style=None,
        colours="cividis", label="angle to (a + b)/√2, in degrees",
    )  # fmt: skip
    if boundary:
        line = np.array(boundary).T
        place.plot(*line, color="white", lw=3.2)
        place.plot(*line, color=style.ACCENTS[0], lw=1.6, marker="o", ms=3)
    place.set_ylim(0, 1)
    place.set_xlim(densities[0], 1.0)


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
