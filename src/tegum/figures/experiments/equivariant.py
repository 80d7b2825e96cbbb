"""Orientations of a feature: their embeddings, the Fourier modes that are kept, and two families together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from tegum.analysis.geometry.measures import canonical_pose
from tegum.figures import style
from tegum.figures.drawn import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MODES = ("#999999", style.VERMILION, style.BLUE, style.ORANGE, style.GREEN, style.PURPLE, style.SKY)
"""The colours of the frequencies 0, 1, …"""

TOGETHER = {
    "one dropped": style.BLACK,
    "own dimensions": style.GREEN,
    "partly shared": style.SKY,
    "shared dimensions": style.ORANGE,
}
"""The colours of the ways in which two families divide the hidden dimensions."""

_ROW_HEIGHTS = (1.45, 2.0, 1.55)
"""The height of each row of panels, in inches."""

_GAPS = (0.4, 0.95)
"""The gaps between the rows of panels, in inches."""


class OrientationPicture(NamedTuple):
    """Embeddings of one solution in the plane."""

    width: float
    name: str
    weights: Float[np.ndarray, "feature 2"]


class Family(NamedTuple):
    """Best solutions of one family along width."""

    hidden: int
    widths: Float[np.ndarray, " width"]
    power: Float[np.ndarray, "width frequency"]
    """The share of |W|² in each Fourier mode."""
    ratio: Float[np.ndarray, " width"]
    """Loss relative to that of the best linear model."""
    changes: Sequence[tuple[float, str]]
    """The width and the name of each change."""


class FamilyPair(NamedTuple):
    """How two families divide the hidden dimensions."""

    hidden: int
    widths: Sequence[float]
    densities: Sequence[float]
    names: Sequence[Sequence[str]]
    """The kind of solution, by density and then width."""


def equivariant(
    pictures: Sequence[OrientationPicture], families: Sequence[Family], pairs: Sequence[FamilyPair], caption: str = ""
) -> Figure:
    """Three rows: pictures; shares of modes and the loss, for each m; how two families divide dimensions, for each m.

    Args:
        pictures: solutions of one family, five at most.
        families: one for each m, four at most.
        pairs: one for each m, four at most.
        caption: set below the panels, in full lines.

    """
    with style.drawing():
        note = style.Caption(caption)
        below = 1.0 + note.height
        height = below + sum(_ROW_HEIGHTS) + sum(_GAPS) + 0.3
        figure = new_figure(figsize=(style.WIDTH, height))
        top = height - 0.3
        rows = []
        for inches, gap in zip(_ROW_HEIGHTS, (*_GAPS, 0.0), strict=True):
            rows.append(((top - inches) / height, top / height))
            top -= inches + gap
        grid = figure.add_gridspec(1, 5, left=0.02, right=0.98, bottom=rows[0][0], top=rows[0][1], wspace=0.05)
        for place, picture in enumerate(pictures):
            _draw_picture(figure.add_subplot(grid[0, place]), picture)
        grid = figure.add_gridspec(
            1, len(families), left=0.095, right=0.985, bottom=rows[1][0], top=rows[1][1], wspace=0.18
        )
        for place, family in enumerate(families):
            _draw_family(figure.add_subplot(grid[0, place]), family, first=place == 0)
        grid = figure.add_gridspec(
            1, len(pairs), left=0.095, right=0.985, bottom=rows[2][0], top=rows[2][1], wspace=0.18
        )
        for place, pair in enumerate(pairs):
            _draw_pair(figure.add_subplot(grid[0, place]), pair, first=place == 0)
        frequencies = max(family.power.shape[1] for family in families)
        _legend(figure, [f"r = {r}" for r in range(frequencies)], MODES, (rows[1][0] * height - 0.5) / height, "mode:")
        _legend(figure, list(TOGETHER), tuple(TOGETHER.values()), (rows[2][0] * height - 0.5) / height, "")
        note.write(figure, below - 0.85)
    return figure


def _draw_picture(place: Axes, picture: OrientationPicture) -> None:
    from matplotlib import colormaps

    weights = canonical_pose(np.asarray(picture.weights))
    # Joined in the order of orientations, so that a polygon looks like one.
    ring = np.concatenate([weights, weights[:1]])
    place.plot(*ring.T, color=style.MUTED, lw=0.8, zorder=1)
    colours = colormaps["twilight_shifted"](np.arange(len(weights)) / len(weights))
    place.scatter(*weights.T, color=colours, s=34, edgecolors=style.INK, linewidths=0.6, zorder=3)
    place.plot([0], [0], "+", color=style.INK, ms=5, mew=0.8, zorder=2)
    reach = 1.12 * float(np.abs(weights).max()) or 1.0
    place.set_xlim(-reach, reach)
    place.set_ylim(-reach, reach)
    place.set_aspect("equal")
    place.axis("off")
    place.set_title(f"{picture.width:.2g} rad: {picture.name}", pad=3)


def _draw_family(place: Axes, family: Family, *, first: bool) -> None:
    edges = np.concatenate([np.zeros((len(family.widths), 1)), family.power.cumsum(1)], 1)
    for frequency in range(family.power.shape[1]):
        colour = MODES[frequency % len(MODES)]
        place.fill_between(family.widths, edges[:, frequency], edges[:, frequency + 1], color=colour, alpha=0.55, lw=0)
    place.plot(family.widths, family.ratio, color="white", lw=3.0)
    place.plot(family.widths, family.ratio, color=style.INK, lw=1.4, marker="o", ms=2.5)
    for width, _ in family.changes:
        place.axvline(width, color=style.INK, lw=0.8, ls=(0, (2, 2)))
    place.set_xscale("log")
    place.set_xlim(family.widths[0], family.widths[-1])
    place.set_xticks([0.2, 0.5, 1.0, 2.0], ["0.2", "0.5", "1", "2"])
    place.set_xticks([], minor=True)
    place.set_ylim(0, 1.03)
    place.set_yticks([0, 0.5, 1])
    place.set_xlabel("tuning width (rad, log scale)", labelpad=1)
    place.set_title(f"m = {family.hidden}", pad=4)
    if first:
        place.set_ylabel("share of |W|²,\nloss / linear loss", labelpad=2)
    else:
        place.tick_params(axis="y", labelleft=False)


def _draw_pair(place: Axes, pair: FamilyPair, *, first: bool) -> None:
    from matplotlib.colors import ListedColormap

    names = list(TOGETHER)
    values = np.array([[names.index(name) for name in row] for row in pair.names])
    place.imshow(
        values, cmap=ListedColormap([TOGETHER[name] for name in names]), vmin=-0.5, vmax=len(names) - 0.5, alpha=0.75,
        aspect="auto", origin="lower", interpolation="none",
    )  # fmt: skip
    place.set_xticks(range(len(pair.widths)), [f"{width:g}" for width in pair.widths])
    place.set_yticks(range(len(pair.densities)), [f"{density:g}" for density in pair.densities])
    place.set_xlabel("tuning width (rad)", labelpad=1)
    place.set_title(f"two families, m = {pair.hidden}", pad=4)
    if first:
        place.set_ylabel("density", labelpad=2)
    else:
        place.tick_params(axis="y", labelleft=False)
    for spine in ("left", "bottom"):
        place.spines[spine].set_visible(False)
    place.tick_params(length=0)


def _legend(figure: Figure, labels: Sequence[str], colours: Sequence[str], height: float, title: str) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, alpha=0.6, label=label) for label, colour in zip(labels, colours, strict=False)]
    if title:
        handles.insert(0, Patch(alpha=0, label=title))
    figure.legend(
        handles=handles, loc="center", bbox_to_anchor=(0.53, height), ncols=len(handles), columnspacing=1.2,
        handlelength=1.1, handletextpad=0.5, borderaxespad=0.0,
    )  # fmt: skip
