"""Dimensionalities of features over density, and the polytopes in which the features end up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from tegum.analysis.geometry.polytopes import LEVELS
from tegum.figures import style
from tegum.figures.drawn import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHTS = (3.0, 1.45, 1.15)
"""Heights of the two panels and of the row of pictures, in inches."""

_PICTURES = 6
"""The largest number of polytopes that are drawn."""

_COLOURS: Mapping[str, str] = dict(
    zip(("digon", "triangle", "tetrahedron", "pentagon", "square antiprism"), style.ACCENTS, strict=False)
)
_OTHER = "#8c6d1f"
_NONE = "#c9c9c9"
_SPECK = "#9a9a9a"

_LIGHT = 0.6
"""How far towards white the colour of a polytope is if it has its name only with the wider tolerance."""


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
    models: Sequence[Dots], examples: Sequence[tuple[str, str, Float[np.ndarray, "_ hidden"]]], caption: str = ""
) -> Figure:
    """Draw dimensionalities over 1/p with the ideal levels, the share of each polytope, and a picture of each.

    Args:
        models: models of any densities. Shares are averaged over models of one density. Without models the panels are
            empty and say so.
        examples: for each polytope its name, a note or "", and the vectors of one example. The first six are drawn,
            those in three dimensions obliquely.
        caption: the text below the panels, wrapped to full lines.

    """
    with style.drawing():
        text = style.Caption(caption)
        below = 0.2 + text.height
        gaps = 0.15, 0.12, 0.75
        height = below + sum(_HEIGHTS) + sum(gaps)
        figure = new_figure(figsize=(style.WIDTH, height))
        tops = height - np.cumsum(gaps) - np.cumsum((0, *_HEIGHTS[:2]))
        upper, lower = (
            figure.add_axes((0.085, (top - high) / height, 0.71, high / height))
            for top, high in zip(tops[:2], _HEIGHTS[:2], strict=True)
        )
        _draw_levels(upper, models)
        lower.set_ylim(0, 1)
        lower.set_yticks([0, 0.5, 1])
        lower.set_ylabel("share of features")
        if models:
            _draw_shares(lower, models)
        else:
            upper.text(
                0.5, 0.25, "nothing to show: no models", transform=upper.transAxes, ha="center", color=style.MUTED
            )
        ratios = [model.ratio for model in models] or [1.0, 10.0]
        for panel in (upper, lower):
            panel.set_xscale("log")
            panel.set_xlim(min(ratios) / 1.06, max(ratios) * 1.06)
            ticks = [tick for tick in (1, 2, 3, 5, 10, 20, 30, 50, 100) if tick <= 1.01 * max(ratios)]
            panel.set_xticks(ticks, [f"{tick}" for tick in ticks] if panel is lower else [""] * len(ticks))
            panel.set_xticks([], minor=True)
        lower.set_xlabel("1 / density (log scale)")
        for number, (name, note, vectors) in enumerate(examples[:_PICTURES]):
            side = _HEIGHTS[2]
            left = 0.35 + number * (style.WIDTH - 0.5) / _PICTURES
            place = figure.add_axes(
                (left / style.WIDTH, (tops[2] - side) / height, 0.85 * side / style.WIDTH, 0.85 * side / height)
            )
            _draw_vectors(place, name, vectors)
            place.set_title(f"{name}\n({note})" if note else name, pad=1, fontsize=8.0)
        text.write(figure, below - 0.12)
    return figure


def _colour(name: str) -> str:
    return _COLOURS.get(name, _OTHER) if name else _NONE


def _light(name: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    red, green, blue = (part + _LIGHT * (1 - part) for part in to_rgb(_colour(name)))
    return red, green, blue


def _draw_levels(panel: Axes, models: Sequence[Dots]) -> None:
    for name, level in LEVELS.items():
        panel.axhline(float(level), color=_COLOURS[name], lw=0.9, ls=(0, (4, 2)), zorder=1)
        # The two lowest levels are so close that their names would touch.
        place = {"pentagon": "bottom", "square antiprism": "top"}.get(name, "center")
        panel.annotate(
            f"{level.numerator}/{level.denominator} {name}",
            (1.0, float(level)),
            xycoords=("axes fraction", "data"),
            xytext=(5, 0),
            textcoords="offset points",
            va=place,
            fontsize=8.0,
            color=style.INK,
        )
    for model in models:
        # Features at the same level are spread sideways to show how many there are.
        spread = np.exp(0.022 * np.linspace(-1, 1, max(len(model.levels), 2)))[: len(model.levels)]
        colours = [
            _colour(name) if name or not wide else _light(wide)
            for name, wide in zip(model.shapes, model.wide, strict=True)
        ]
        panel.scatter(model.ratio * spread, model.levels, s=4.0, c=colours, linewidths=0, zorder=3)
        sideways = np.exp(0.022 * np.linspace(-1, 1, max(len(model.rest), 2)))[: len(model.rest)]
        panel.scatter(model.ratio * sideways, model.rest, s=0.5, c=_SPECK, linewidths=0, zorder=2)
    finite = [model for model in models if np.isfinite(model.per_feature)]
    ratios = sorted({model.ratio for model in finite})
    panel.plot(
        ratios,
        [np.mean([model.per_feature for model in finite if model.ratio == ratio]) for ratio in ratios],
        color=style.INK,
        lw=1.2,
        marker="s",
        ms=2.4,
        zorder=2.5,
        label="dimensions per feature m / |W|²",
    )
    panel.axhline(1.0, color=style.MUTED, lw=0.6, ls=(0, (1, 2)), zorder=1)
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
    panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=0.9, handletextpad=0.4, labelspacing=0.3)


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
        place.plot(*picture[[i, j]].T, color=style.MUTED, lw=0.6, zorder=0.5)
