"""Dimensionalities of features over density, and the polytopes in which the features end up."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from tegum.analysis.geometry.polytopes import LEVELS
from tegum.figures import style
from tegum.figures.drawn import new_figure
from tegum.figures.plots.dimensionality import apart
from tegum.figures.plots.per_feature import draw_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PICTURES = 6
"""The largest number of polytopes that are drawn."""

_COLOURS: Mapping[str, str] = dict(
    zip(("digon", "triangle", "tetrahedron", "pentagon", "square antiprism"), style.ACCENTS, strict=False)
)
_OTHER = style.ACCENTS[5]

_LIGHT = 0.6
"""How far towards the background the colour of a polytope is if it has its name only with the wider tolerance."""


class Dots(NamedTuple):
    """What one model ended up with."""

    ratio: float
    """The inverse density, 1/p."""
    per_feature: float
    """Dimensions per feature, m / |W|²_F."""
    levels: Float[np.ndarray, " feature"]
    """Dimensionalities of the represented features."""
    shapes: tuple[str, ...]
    """The name of the polytope of each represented feature, or "" if it has none."""
    wide: tuple[str, ...]
    """The name of the polytope of each represented feature with a wider tolerance, or ""."""
    rest: Float[np.ndarray, " other"]
    """Dimensionalities of the other features."""


def polytopes(
    models: Sequence[Dots], examples: Sequence[tuple[str, str, Float[np.ndarray, "_ hidden"]]]
) -> tuple[Figure, Figure]:
    """Dimensionalities over 1/p with the ideal levels, and the share of each polytope; and a picture of each.

    Args:
        models: models of any densities. Shares are averaged over models of one density. Without models the panels are
            empty and say so.
        examples: for each polytope its name, a note or "", and the vectors of one example. The first six are drawn,
            those in three dimensions obliquely.

    """
    with style.drawing():
        first = new_figure(4.4 if style.is_narrow() else 4.8, layout="constrained")
        upper, lower = first.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        _draw_levels(upper, models)
        lower.set_ylim(0, 1)
        lower.set_yticks([0, 0.5, 1])
        lower.set_ylabel("share of features")
        if models:
            _draw_shares(lower, models)
        else:
            upper.text(
                0.5, 0.25, "nothing to show: no models", transform=upper.transAxes, ha="center", color=style.muted()
            )
        ratios = [model.ratio for model in models] or [1.0, 10.0]
        lower.set_xscale("log")
        ticks = [tick for tick in (1, 2, 3, 5, 10, 20, 30, 50, 100) if tick <= 1.01 * max(ratios)]
        lower.set_xticks([tick for tick in ticks if not style.is_narrow() or f"{tick}"[0] in "13"])
        lower.xaxis.set_major_formatter("{x:g}")
        lower.set_xticks([], minor=True)
        lower.set_xlim(min(ratios) / 1.06, max(ratios) * 1.06)
        lower.set_xlabel("1 / density (log scale)")
        shown = examples[:_PICTURES]
        across = 3 if style.is_narrow() else max(len(shown), 4)
        down = max(-(-len(shown) // across), 1)
        second = new_figure(1.45 * down, layout="constrained")
        places = second.subplots(down, across, squeeze=False).ravel()
        for place, (name, note, vectors) in zip(places, shown, strict=False):
            _draw_vectors(place, name, vectors)
            title = "\n".join(textwrap.wrap(f"{name} ({note})" if note else name, 17))
            place.set_title(title, pad=1, fontsize=style.small(), linespacing=1.05)
        for place in places[len(shown) :]:
            place.set_visible(False)
    return first, second


def _colour(name: str) -> Any:
    return _COLOURS.get(name, _OTHER) if name else style.faint()


def _light(name: str) -> style.Colour:
    return style.pale(_colour(name), _LIGHT)


def _draw_levels(panel: Axes, models: Sequence[Dots]) -> None:
    from matplotlib.colors import to_rgb

    ordered = sorted(LEVELS.items(), key=lambda item: item[1])
    gap = 1.2 * style.small() / 72 / (1.9 if style.is_narrow() else 2.5)
    heights = apart(np.array([float(level) for _, level in ordered]), gap)
    for (name, level), height in zip(ordered, heights.tolist(), strict=True):
        panel.axhline(float(level), color=_COLOURS[name], lw=0.9, ls=(0, (4, 2)), zorder=1)
        panel.annotate(
            f"{level}" if style.is_narrow() else f"{level} {name}",
            (1.0, float(level)),
            xycoords=("axes fraction", "data"),
            xytext=(1.02, height),
            textcoords=("axes fraction", "data"),
            va="center",
            fontsize=style.small(),
        )
    for model in models:
        # Features at the same level are spread sideways to show how many there are.
        spread = np.exp(0.022 * np.linspace(-1, 1, max(len(model.levels), 2)))[: len(model.levels)]
        colours = [
            to_rgb(_colour(name) if name or not wide else _light(wide))
            for name, wide in zip(model.shapes, model.wide, strict=True)
        ]
        panel.scatter(model.ratio * spread, model.levels, s=4.0, c=colours, linewidths=0, zorder=3)
        sideways = np.exp(0.022 * np.linspace(-1, 1, max(len(model.rest), 2)))[: len(model.rest)]
        panel.scatter(model.ratio * sideways, model.rest, s=0.5, color=style.muted(), linewidths=0, zorder=2)
    ratios, measured = (np.array([getattr(model, name) for model in models]) for name in ("ratio", "per_feature"))
    draw_line(panel, ratios, measured, dots=False)
    panel.set_ylim(0, 1.08)
    panel.set_ylabel("feature dimensionality")
    if models:
        panel.legend(loc="upper right", borderaxespad=0.0)


def _draw_shares(panel: Axes, models: Sequence[Dots]) -> None:
    found = {name for model in models for name in (*model.shapes, *model.wide) if name}
    rows = [*(name for name in _COLOURS if name in found), *sorted(found - set(_COLOURS))]
    left = np.unique([model.ratio for model in models])
    width = 0.8 * np.min(np.diff(np.log(left))) if len(left) > 1 else 0.2
    bottom = np.zeros(len(left))
    listed = set()
    for name in [*rows, ""]:
        label = "no name" if not name else name if name in _COLOURS else "other names"
        # First features whose polytope has this name, then those that get it with the wider tolerance.
        for light in (False, True) if name else (False,):
            shares = np.array(
                [
                    np.mean([_share(model, name, light=light) for model in models if model.ratio == ratio])
                    for ratio in left
                ]
            )
            panel.bar(
                left * np.exp(-width / 2),
                shares,
                left * 2 * np.sinh(width / 2),
                bottom,
                align="edge",
                color=_light(name) if light else _colour(name),
                lw=0,
                label="" if label in listed else label,
            )
            listed.add(label)
            bottom += shares
    below = style.is_narrow()
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.34), "ncols": 3} if below else {
        "loc": "center left", "bbox_to_anchor": (1.0, 0.5)
    }  # fmt: skip
    panel.legend(**place, handlelength=0.9, handletextpad=0.4, labelspacing=0.3, columnspacing=0.8)


def _share(model: Dots, name: str, *, light: bool) -> float:
    """The share of features in polytopes of a name; if `light`, of those that have it only with the wider tolerance.

    With the name "" it is the share of features that have no named polytope with either tolerance.
    """
    pairs = list(zip(model.shapes, model.wide, strict=True))
    hits = sum(
        (not named and wide == name) if light else (named == name if name else not (named or wide))
        for named, wide in pairs
    )
    return hits / max(len(pairs), 1)


def _draw_vectors(place: Axes, name: str, vectors: Float[np.ndarray, "feature hidden"]) -> None:
    from tegum.analysis.geometry.measures import canonical_pose

    posed = canonical_pose(vectors)
    posed = np.pad(posed, ((0, 0), (0, max(0, 3 - posed.shape[1]))))[:, :3]
    flat = np.linalg.matrix_rank(posed, tol=0.3) < 3
    # The third axis points backwards, at half its length.
    picture = posed[:, :2] if flat else posed[:, :2] + posed[:, 2:] * np.array([0.42, 0.28])
    for x, y in picture.tolist():
        place.plot([0, x], [0, y], color=_colour(name), lw=1.4, solid_capstyle="round")
        place.plot([x], [y], "o", ms=3.6, color=_colour(name))
    if len(picture) > 2:
        _draw_edges(place, posed, picture)
    place.set_xlim(-1.25, 1.25)
    place.set_ylim(-1.25, 1.25)
    place.set_aspect("equal")
    place.set_axis_off()


def _draw_edges(place: Axes, posed: Float[np.ndarray, "feature 3"], picture: Float[np.ndarray, "feature 2"]) -> None:
    """Lines between neighbours: pairs at most 15 % further apart than either is from its nearest neighbour."""
    distance = np.linalg.norm(posed[:, None] - posed, axis=-1)
    nearest = (distance + 9 * np.eye(len(posed))).min(1)
    for i, j in np.argwhere(np.triu(distance <= 1.15 * np.minimum.outer(nearest, nearest), 1)).tolist():
        place.plot(*picture[[i, j]].T, color=style.muted(), lw=0.6, zorder=0.5)
