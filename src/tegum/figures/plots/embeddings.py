"""Embeddings in the plane or in space, several runs side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from tegum.core.arguments import refusing
from tegum.figures import style as look
from tegum.figures.groups import Groups, feature_groups
from tegum.figures.plots.axes import cells, drawing_on, inches_of, per_feature, variable

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_MOST_RUNS = 48
"""The most runs side by side."""

_CELL = 2.9
"""The side of the square of each run, in units in which a feature of norm 1 has length 1."""

_LABELLED = 12
"""Up to this many features are numbered, unless asked otherwise."""

_APART = 0.12
"""Features whose ends are nearer than this are numbered together, as their numbers would overlap."""

_OPPOSITE = -0.9
"""Two features of different sets are antipodal if the cosine between them is at most this."""

_TURN, _LEAN = np.deg2rad(20.0), np.deg2rad(24.0)
"""By how much the view in space is turned, and looks down."""


@refusing
def embeddings(
    run: xr.Dataset | xr.DataArray | np.ndarray,
    *,
    ax: Axes | None = None,
    dimensions: int | None = None,
    titles: Sequence[str] | None = None,
    labels: bool | None = None,
    legend: bool = True,
    join: bool = False,
    scale: Literal["shared", "own"] = "shared",
    columns: int | None = None,
    style: str | None = look.SHEET,
) -> Axes:
    """Draw the embedding of each feature as a line from the origin, several runs side by side.

    The members of a set share a colour; independent features have their own. In the plane, the pale circle has radius
    1. In space, features that are nearer have larger dots. With more hidden dimensions than axes, embeddings are
    projected onto the leading principal directions, and a note says how much of |W|² is visible.

    Args:
        run: a trajectory, of which the last step is drawn, or weights W, shape (..., feature, hidden).
        ax: where to draw; by default on a new figure.
        dimensions: 2 or 3; by default 2 if m ≤ 2, and 3 otherwise.
        titles: a title for each run; by default the coordinates in which runs differ.
        labels: whether features are numbered; by default if there are at most 12.
        legend: whether a legend names the sets, if there are several.
        join: whether lines join the members of a set, and dashed lines antipodal features of different sets.
        scale: "shared", or "own" to draw each run as large as fits, with a bar that shows its scale.
        columns: the number of runs in a row; by default at most six.
        style: a style of matplotlib's; None leaves your own settings as they are.

    Returns:
        The Axes.

    Raises:
        ValueError: there are no weights, too many runs, or not as many titles as runs; or an option has another value.

    Example:
        >>> import numpy as np
        >>> import tegum as tg
        >>> angles = 2 * np.pi * np.arange(5) / 5
        >>> ax = tg.plot.embeddings(np.stack([np.cos(angles), np.sin(angles)], axis=1), titles=["pentagon"])
        >>> ax.texts[0].get_text()
        'pentagon'

    """
    array = variable("embeddings", run, "weights", ("feature", "hidden"))
    stack, named = cells(array, ("feature", "hidden"))
    _check(len(stack), titles, dimensions, columns, scale)
    flat = (dimensions or (2 if array.sizes["hidden"] <= 2 else 3)) == 2
    count = array.sizes["feature"]
    across = min(columns or 6, len(stack))
    down = math.ceil(len(stack) / across)
    numbered = count <= _LABELLED if labels is None else labels
    with drawing_on(ax, style, (max(1.35 * across, 2.4), 1.45 * down + 0.25), "embeddings") as place:
        groups = feature_groups(count, per_feature(array, "set"), per_feature(array, "kind"))
        # The largest decides, but one run that exploded must not hide all the others.
        longest = [float(np.linalg.norm(each, axis=-1).max()) if np.isfinite(each).all() else 0.0 for each in stack]
        shared = max(1.0, float(np.median(longest)), min(max(longest), 2.0))
        heads = [title.replace(", ", "\n") for title in titles or named]
        lines = max(head.count("\n") + 1 if head else 0 for head in heads)
        # What the titles take, in units of the data; and a row of runs with its titles.
        inches = inches_of(place)[0]
        above = lines * 1.35 * look.small() / 72 * across * _CELL / inches
        row = _CELL + above
        for number, (weights, head) in enumerate(zip(stack, heads, strict=True)):
            middle = np.array([_CELL * (number % across), -row * (number // across)])
            top = middle[1] + 0.5 * _CELL
            place.text(middle[0], top, head, ha="center", va="bottom", fontsize=look.small(), linespacing=1.1)
            if np.isfinite(weights).all():
                unit = None if scale == "own" else shared
                _draw_run(
                    place, weights.astype(float), middle, groups, flat=flat, join=join, numbered=numbered, unit=unit
                )
            else:
                look_of_note: Any = {"ha": "center", "va": "center", "color": look.muted(), "fontsize": look.small()}
                place.text(middle[0], middle[1], "diverged", **look_of_note)
        place.set_xlim(-0.5 * _CELL, (across - 0.5) * _CELL)
        place.set_ylim(-row * (down - 1) - 0.56 * _CELL, 0.5 * _CELL + above)
        place.set_aspect("equal")
        place.set_axis_off()
        if legend and 1 < len(groups.names) <= len(look.ACCENTS) and any("set" in name for name in groups.names):
            _name_groups(place, groups)
    return place


def _check(runs: int, titles: Sequence[str] | None, dimensions: int | None, columns: int | None, scale: str) -> None:
    call = "embeddings"
    if not 1 <= runs <= _MOST_RUNS:
        rule = f"at most {_MOST_RUNS} are drawn side by side; choose some, as run.isel(seed=slice(8)) does"
        raise ValueError(f"{call}({runs} runs): {rule}")
    if titles is not None and len(titles) != runs:
        raise ValueError(f"{call}({len(titles)} titles for {runs} runs): there must be one for each")
    if dimensions not in (None, 2, 3):
        raise ValueError(f"{call}(dimensions={dimensions!r}): dimensions must be 2 or 3")
    if columns is not None and columns < 1:
        raise ValueError(f"{call}(columns={columns!r}): columns must be at least 1")
    if scale not in ("shared", "own"):
        raise ValueError(f"{call}(scale={scale!r}): scale must be 'shared' or 'own'")


def _draw_run(
    place: Axes,
    weights: Float[np.ndarray, "feature hidden"],
    middle: Float[np.ndarray, " 2"],
    groups: Groups,
    *,
    flat: bool,
    join: bool,
    numbered: bool,
    unit: float | None,
) -> None:
    """Draw the embeddings of one run around a point; without a unit as large as fits, with a bar for the scale."""
    points, share = _seen(weights, flat=flat)
    if unit is None:
        # What is drawn, with the origin, fills the square.
        low, high = (pick(np.vstack([points[:, :2], [0, 0]]), axis=0) for pick in (np.min, np.max))
        size = max(float((high - low).max()) / 2.0, 1e-12)
        _draw(place, points / size, middle - (low + high) / 2 / size, groups, flat=flat, join=join, numbered=numbered)
        _draw_bar(place, middle, size)
    else:
        _draw(place, points / unit, middle, groups, flat=flat, join=join, numbered=numbered)
        if flat:
            around = np.linspace(0, 2 * np.pi, 200)
            circle = middle + np.stack([np.cos(around), np.sin(around)], 1) / unit
            place.plot(*circle.T, color=look.band(), lw=1.0, zorder=0)
    if share < 0.995:
        place.text(
            middle[0], middle[1] - 0.5 * _CELL, f"{share:.0%} of |W|²", ha="center", va="bottom", color=look.muted(),
            fontsize=look.small(),
        )  # fmt: skip


def _name_groups(place: Axes, groups: Groups) -> None:
    for name, colour in zip(groups.names, groups.colours, strict=True):
        place.plot([], [], "o", color=colour, ms=4, label=name)
    place.legend(
        loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=min(3, len(groups.names)), handletextpad=0.1,
        columnspacing=0.8, borderaxespad=0.2,
    )  # fmt: skip


def _seen(
    weights: Float[np.ndarray, "feature hidden"], *, flat: bool
) -> tuple[Float[np.ndarray, "feature axis"], float]:
    """Positions across, up and (in space) towards the reader, and the share of |W|² that they show."""
    axes, share = 2 if flat else 3, 1.0
    if weights.shape[1] > axes:
        from tegum.analysis.geometry.embedding_views import view

        seen = view(weights[None], axes)
        positions, share = seen.positions[0], seen.share
    else:
        positions = np.pad(weights, ((0, 0), (0, axes - weights.shape[1])))
    if flat:
        return positions, share
    turned = positions @ np.array([[np.cos(_TURN), np.sin(_TURN), 0], [-np.sin(_TURN), np.cos(_TURN), 0], [0, 0, 1]])
    up = turned[:, 2] * np.cos(_LEAN) + turned[:, 1] * np.sin(_LEAN)
    towards = turned[:, 2] * np.sin(_LEAN) - turned[:, 1] * np.cos(_LEAN)
    return np.stack([turned[:, 0], up, towards], 1), share


def _draw(
    place: Axes,
    points: Float[np.ndarray, "feature axis"],
    middle: Float[np.ndarray, " 2"],
    groups: Groups,
    *,
    flat: bool,
    join: bool,
    numbered: bool,
) -> None:
    at = middle + points[:, :2]
    depth = np.zeros(len(points)) if flat else points[:, 2]
    if join:
        _join(place, points, at, groups)
    for members, colour in zip(groups.members, groups.colours, strict=True):
        for feature in members.tolist():
            place.plot(*np.stack([middle, at[feature]]).T, color=colour, lw=0.7 if join else 1.4, zorder=2,
                       alpha=0.5 if join else 1.0, solid_capstyle="butt")  # fmt: skip
            near = float(np.clip((depth[feature] + 1) / 2, 0, 1))
            size = 4.0 if flat else 3.2 + 2.6 * near
            place.plot(*at[feature], "o", color=colour, ms=size, mec=look.paper(), mew=0.5, zorder=3 + near)
    if numbered:
        for (across, up), features in _numbers(points):
            numbers = ",".join(map(str, features))
            place.text(middle[0] + across, middle[1] + up, numbers, ha="center", va="center", fontsize=look.small(),
                       zorder=5)  # fmt: skip
    place.plot(*middle, "+", color=look.muted(), ms=4, mew=0.7, zorder=1.8)


def _numbers(
    points: Float[np.ndarray, "feature axis"],
) -> Iterator[tuple[tuple[float, float], list[int]]]:
    """Where to write the numbers of which features: beyond their ends, and those of features that coincide together."""
    lengths = np.linalg.norm(points[:, :2], axis=1)
    # Near the origin numbers would overlap.
    left = [feature for feature in range(len(points)) if lengths[feature] > 0.2]
    while left:
        first, end = left[0], points[left[0], :2]
        near = [each for each in left if np.linalg.norm(points[each, :2] - end) < _APART]
        left = [each for each in left if each not in near]
        outside = end * (1 + (0.21 + 0.07 * (len(near) - 1)) / lengths[first])
        yield (float(outside[0]), float(outside[1])), near


def _join(
    place: Axes, points: Float[np.ndarray, "feature axis"], at: Float[np.ndarray, "feature 2"], groups: Groups
) -> None:
    norms = np.linalg.norm(points, axis=1)
    cosines = points @ points.T / np.maximum(np.outer(norms, norms), 1e-30)
    for one, other in combinations(range(len(groups.members)), 2):
        for i in groups.members[one].tolist():
            for j in groups.members[other].tolist():
                if cosines[i, j] <= _OPPOSITE and min(norms[i], norms[j]) > 0.3 * norms.max():
                    place.plot(*at[[i, j]].T, color=look.muted(), lw=0.7, ls=(0, (3, 2)), zorder=1)
    for members, colour in zip(groups.members, groups.colours, strict=True):
        if len(members) == 3:
            place.fill(*at[members].T, color=colour, alpha=0.16, lw=0, zorder=1.5)
        for pair in combinations(members.tolist(), 2):
            place.plot(*at[list(pair)].T, color=colour, lw=1.2, alpha=0.85, zorder=2.5, solid_capstyle="round")


def _draw_bar(place: Axes, middle: Float[np.ndarray, " 2"], unit: float) -> None:
    """A bar of a round length, about half as long as the longest embedding."""
    digit = 10.0 ** math.floor(math.log10(0.7 * unit))
    length = max(step * digit for step in (1, 2, 5) if step * digit <= 0.7 * unit)
    left, low = middle[0] - 0.5 * length / unit, middle[1] - 0.4 * _CELL
    place.plot([left, left + length / unit], [low, low], color=look.ink(), lw=1.6, solid_capstyle="butt")
    place.text(middle[0], low - 0.05, f"{length:g}", ha="center", va="top", fontsize=look.small())
