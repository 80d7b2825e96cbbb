"""Directions of many features: dimensionality against norm, and cosines compared with random directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tegum.figures import style
from tegum.figures.drawn import new_figure

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

_FIGURE_HEIGHT = 3.0
"""The height of the figure, in inches."""

_POINTS = 5000
"""At most this many features are drawn, evenly chosen."""


def embeddings(found: xr.Dataset, title: str = "") -> Figure:
    """Two panels of what `tegum.analyse` found: norms against dimensionality, and the histogram of cosines.

    Args:
        found: the Dataset.
        title: set above the panels.

    """
    with style.drawing():
        figure = new_figure(figsize=(style.WIDTH, _FIGURE_HEIGHT))
        left, right = figure.subplots(1, 2)
        figure.subplots_adjust(0.085, 0.17, 0.985, 0.86 if title else 0.94, wspace=0.26)
        # A user's text: a dollar sign starts no formula, and characters the font lacks appear as their codes.
        figure.suptitle(style.printable(title), x=0.02, ha="left", fontsize=9.0, parse_math=False)
        norm = found["norm"].values
        every = np.linspace(0, len(norm) - 1, min(len(norm), _POINTS)).astype(int)
        left.scatter(
            norm[every], found["dimensionality"].values[every], s=7, color=style.ACCENTS[1], alpha=0.5, lw=0,
            label="features", rasterized=True, zorder=3,
        )  # fmt: skip
        # The same as `dimensionality_null`, for every norm.
        line = np.linspace(0, 1.05 * float(norm.max()), 200)
        others = np.maximum((np.square(norm).sum() - line**2) / float(found["dimensions"]), 1e-300)
        curve = line**2 / (line**2 + others)
        left.plot(line, curve, color=style.ACCENTS[0], lw=1.4, label="random directions, same norms", zorder=4)
        left.set_xlabel("norm of the feature's direction")
        left.set_ylabel("feature dimensionality")
        left.set_xlim(0, 1.05 * float(norm.max()) or 1.0)
        highest = max(float(found[name].max()) for name in ("dimensionality", "dimensionality_null"))
        left.set_ylim(0, 1.04 * highest or 1.0)
        # Above the panel, because points may be anywhere inside it.
        left.legend(loc="lower left", bbox_to_anchor=(0, 0.99), ncols=2, borderpad=0, handletextpad=0.5)
        if "cosine_density" in found:
            middle, density = found["bin"].values, found["cosine_density"].values
            right.stairs(
                density, _edges(middle), fill=True, color=style.ACCENTS[1], alpha=0.45, label="pairs of features"
            )
            chance = found["cosine_density_null"].values
            seen = chance > 0
            right.plot(middle[seen], chance[seen], color=style.ACCENTS[0], lw=1.4, label="random directions")
            right.set_yscale("log")
            # The lowest visible bin holds a single pair.
            least = 1 / float(found["pairs"]) / (middle[1] - middle[0])
            right.set_ylim(least / 2, 3 * max(float(density.max()), float(chance.max())))
            right.legend(loc="lower left", bbox_to_anchor=(0, 0.99), ncols=2, borderpad=0)
        right.set_xlabel("cosine of two features")
        right.set_ylabel("probability density")
    return figure


def _edges(middle: np.ndarray) -> np.ndarray:
    half = (middle[1] - middle[0]) / 2
    return np.append(middle - half, middle[-1] + half)
