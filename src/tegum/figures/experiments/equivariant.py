"""Orientations of a feature: their embeddings, the Fourier modes that are kept, and two families together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from tegum.analysis.geometry.measures import canonical_pose
from tegum.figures import style
from tegum.figures.drawn import new_figure, parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MODES = (
    "#999999",
    style.ACCENTS[0],
    style.ACCENTS[1],
    style.ACCENTS[4],
    style.ACCENTS[2],
    style.ACCENTS[3],
    style.ACCENTS[5],
)
"""The colours of the frequencies 0, 1, …"""

TOGETHER = {
    "one dropped": style.ACCENTS[0],
    "own dimensions": style.ACCENTS[2],
    "partly shared": style.ACCENTS[5],
    "shared dimensions": style.ACCENTS[4],
}
"""The colours of the ways in which two families divide the hidden dimensions."""


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
    pictures: Sequence[OrientationPicture], families: Sequence[Family], pairs: Sequence[FamilyPair]
) -> tuple[Figure, Figure]:
    """What is kept of one family, as pictures and by Fourier modes; and how two families divide dimensions.

    Args:
        pictures: solutions of one family, five at most.
        families: one for each m, four at most.
        pairs: one for each m, four at most.

    """
    with style.drawing():
        narrow = style.is_narrow()
        picture, panels = (1.15, 1.6 * len(families)) if narrow else (1.6, 2.2)
        first = new_figure(picture + panels + 0.5, layout="constrained")
        upper, lower = parts(first, picture, panels + 0.5)
        for place, each in zip(upper.subplots(1, max(len(pictures), 1), squeeze=False)[0], pictures, strict=False):
            _draw_picture(place, each)
        places = _panels(lower, len(families))
        for number, (place, family) in enumerate(zip(places, families, strict=True)):
            _draw_family(place, family, first=narrow or number == 0)
        if narrow:
            for place in places[:-1]:
                place.set_xlabel("")
        frequencies = max(family.power.shape[1] for family in families)
        _legend(lower, [f"r = {r}" for r in range(frequencies)], MODES)
        second = new_figure((1.5 if narrow else 2.0) * (len(pairs) if narrow else 1) + 0.5, layout="constrained")
        places = _panels(second, len(pairs))
        for number, (place, pair) in enumerate(zip(places, pairs, strict=True)):
            _draw_pair(place, pair, first=narrow or number == 0)
        if narrow:
            for place in places[:-1]:
                place.set_xlabel("")
        _legend(second, list(TOGETHER), tuple(TOGETHER.values()))
    return first, second


def _panels(figure: Any, count: int) -> Sequence[Axes]:
    shape = (count, 1) if style.is_narrow() else (1, count)
    return figure.subplots(*shape, squeeze=False).ravel().tolist()


def _draw_picture(place: Axes, picture: OrientationPicture) -> None:
    from matplotlib import colormaps

    weights = canonical_pose(np.asarray(picture.weights))
    # Joined in the order of orientations, so that a polygon looks like one.
    ring = np.concatenate([weights, weights[:1]])
    place.plot(*ring.T, color=style.muted(), lw=0.8, zorder=1)
    colours = colormaps["twilight_shifted"](np.arange(len(weights)) / len(weights))
    place.scatter(
        *weights.T, color=colours, s=16 if style.is_narrow() else 34, edgecolors=style.ink(), linewidths=0.6, zorder=3
    )
    place.plot([0], [0], "+", color=style.ink(), ms=5, mew=0.8, zorder=2)
    reach = 1.12 * float(np.abs(weights).max()) or 1.0
    place.set_xlim(-reach, reach)
    place.set_ylim(-reach, reach)
    place.set_aspect("equal")
    place.axis("off")
    name = picture.name.replace(" ", "\n") if style.is_narrow() else picture.name
    place.set_title(f"{picture.width:.2g} rad\n{name}", pad=3, fontsize=style.small(), linespacing=1.05)


def _draw_family(place: Axes, family: Family, *, first: bool) -> None:
    edges = np.concatenate([np.zeros((len(family.widths), 1)), family.power.cumsum(1)], 1)
    for frequency in range(family.power.shape[1]):
        colour = MODES[frequency % len(MODES)]
        place.fill_between(family.widths, edges[:, frequency], edges[:, frequency + 1], color=colour, alpha=0.55, lw=0)
    place.plot(family.widths, family.ratio, color=style.paper(), lw=3.0)
    place.plot(family.widths, family.ratio, color=style.ink(), lw=1.4, marker="o", ms=2.5)
    for width, _ in family.changes:
        place.axvline(width, color=style.ink(), lw=0.8, ls=(0, (2, 2)))
    place.set_xscale("log")
    place.set_xlim(family.widths[0], family.widths[-1])
    place.set_xticks([0.2, 0.5, 1.0, 2.0], ["0.2", "0.5", "1", "2"])
    place.set_xticks([], minor=True)
    place.set_ylim(0, 1.03)
    place.set_yticks([0, 0.5, 1])
    place.set_xlabel("tuning width (rad, log scale)", labelpad=1)
    place.set_title(f"m = {family.hidden}", pad=4)
    if first:
        place.set_ylabel("share of |W|²,\nloss / linear loss")
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


def _legend(figure: Any, labels: Sequence[str], colours: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, alpha=0.6, label=label) for label, colour in zip(labels, colours, strict=False)]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=2 if style.is_narrow() and len(labels) == len(TOGETHER)
        else len(handles), columnspacing=1.0, handlelength=1.1, handletextpad=0.5, borderaxespad=0.2,
    )  # fmt: skip
