"""The figure of two sets of three becoming an octahedron: polyhedra, loss with regimes, and tree of routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tegum.analysis.geometry.measures import align_steps
from tegum.figures import style
from tegum.figures.drawn import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SET_COLOURS = (style.ACCENTS[0], style.ACCENTS[1])
_POLYHEDRA_HEIGHT = 1.0
_LOSS_HEIGHT = 2.3
_TREE_HEIGHT = 1.9
"""The heights of the row of polyhedra, of the loss and of the tree of routes, in inches."""

_PAIR = -0.9
"""Features of different sets are joined by a line if the cosine between them is at most this."""


class Picture(NamedTuple):
    """The embeddings at one step."""

    step: int
    weights: Float[np.ndarray, "6 3"]


Band = tuple[int, int, str, str, float]
"""The first and last step of a regime, plateau or fall, its dominant motion, and the share of that motion."""


def octahedron(
    pictures: Sequence[Picture],
    curve: tuple[Int[np.ndarray, " step"], Float[np.ndarray, " step"]] | None,
    bands: Sequence[Band],
    tree: Mapping[tuple[str, str, str], int],
    caption: str = "",
) -> Figure:
    """Draw polyhedra in a row, the loss below them, and the tree of routes at the bottom.

    Args:
        pictures: the embeddings of one run, in the order of their steps.
        curve: the steps and the loss of that run; None to leave out polyhedra and loss.
        bands: the regimes of that run.
        tree: the number of runs for each configuration, route and final state.
        caption: the text below the panels, wrapped to their width.

    """
    with style.drawing():
        words = style.Caption(caption)
        below = 0.15 + words.height
        shown = curve is not None and len(pictures) > 0
        height = below + _TREE_HEIGHT + ((_LOSS_HEIGHT + _POLYHEDRA_HEIGHT + 0.85) if shown else 0.1)
        figure = new_figure(figsize=(style.WIDTH, height))
        if shown:
            assert curve is not None
            top = 1 - (0.25 + _POLYHEDRA_HEIGHT) / height
            _draw_row(figure, pictures, top, _POLYHEDRA_HEIGHT / height)
            bottom = (below + _TREE_HEIGHT + 0.45) / height
            place = figure.add_axes((0.11, bottom, 0.865, top - bottom - 0.08 / height))
            _draw_loss(place, *curve, bands, [each.step for each in pictures])
        _draw_tree(figure.add_axes((0.02, below / height, 0.96, (_TREE_HEIGHT - 0.1) / height)), tree)
        words.write(figure, below - 0.1)
    return figure


def _draw_row(figure: Figure, pictures: Sequence[Picture], bottom: float, height: float) -> None:
    seen = posed(np.stack([each.weights for each in pictures]))
    width = 0.96 / len(pictures)
    for number, (picture, points) in enumerate(zip(pictures, seen, strict=True)):
        place = figure.add_axes((0.02 + number * width, bottom, width, height))
        draw_polyhedron(place, points)
        place.set_title(f"{chr(ord('a') + number)}  {'' if number else 'step '}{picture.step:,}", pad=1, fontsize=8.0)


def posed(weights: Float[np.ndarray, "step 6 3"]) -> Float[np.ndarray, "step 6 3"]:
    """Rotate all snapshots into the pose of the last, with the axis through both centroids upright, seen from above."""
    chained = np.asarray(align_steps(weights))
    axis = chained[-1, :3].mean(0) - chained[-1, 3:].mean(0)
    axis = axis / max(float(np.linalg.norm(axis)), 1e-30)
    first = chained[-1, 0] - (chained[-1, 0] @ axis) * axis
    first = first / max(float(np.linalg.norm(first)), 1e-30)
    frame = np.stack([first, np.cross(axis, first), axis], 1)
    turn, tilt = np.deg2rad(20.0), np.deg2rad(28.0)
    spin = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    lean = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    return chained @ frame @ spin.T @ lean.T


def draw_polyhedron(place: Axes, points: Float[np.ndarray, "6 3"]) -> None:
    """Draw six embeddings, seen along the second axis with the third axis up; nearer ones are larger."""
    flat, depth = points[:, [0, 2]], -points[:, 1]
    norms = np.linalg.norm(points, axis=1)
    directions = points / np.maximum(norms, 1e-30)[:, None]
    for one in range(3):
        for other in range(3, 6):
            if directions[one] @ directions[other] <= _PAIR and min(norms[one], norms[other]) > 0.3:
                place.plot(*flat[[one, other]].T, color=style.MUTED, lw=0.7, ls=(0, (3, 2)), zorder=1)
    for number, colour in enumerate(_SET_COLOURS):
        own = np.arange(3 * number, 3 * number + 3)
        place.fill(*flat[own].T, color=colour, alpha=0.16, lw=0, zorder=1.5)
        for pair in combinations(own.tolist(), 2):
            place.plot(*flat[list(pair)].T, color=colour, lw=1.2, alpha=0.8, zorder=2, solid_capstyle="round")
        for feature in own.tolist():
            near = float(np.clip((depth[feature] + 1) / 2, 0, 1))
            place.plot(*np.stack([np.zeros(2), flat[feature]]).T, color=colour, lw=0.6, alpha=0.45, zorder=1.8)
            place.plot(*flat[feature], "o", color=colour, ms=3.4 + 2.4 * near, mec="white", mew=0.6, zorder=3 + near)
    place.plot(0, 0, "+", color=style.MUTED, ms=4, mew=0.7, zorder=2.5)
    place.set_xlim(-1.0, 1.0)
    place.set_ylim(-1.0, 1.0)
    place.set_aspect("equal")
    place.axis("off")


def _draw_loss(
    place: Axes,
    steps: Int[np.ndarray, " step"],
    loss: Float[np.ndarray, " step"],
    bands: Sequence[Band],
    marks: Sequence[int],
) -> None:
    # Step 0 has no place on a log axis.
    first = float(steps[steps > 0][0])
    for start, end, kind, motion, share in bands:
        if kind == "plateau":
            place.axvspan(start, end, color=style.BAND, lw=0, zorder=0)
        narrow = np.log(end / start) < 0.16 * np.log(steps[-1] / first)
        place.annotate(
            f"{motion} {share:.0%}" if narrow else f"{motion}\n{share:.0%}",
            (float(np.sqrt(start * end)), 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -4),
            textcoords="offset points",
            ha="center",
            va="top",
            rotation=90 if narrow else 0,
            fontsize=8.0,
            linespacing=1.1,
        )
    for _, end, *_ in bands[:-1]:
        place.axvline(end, color=style.MUTED, lw=0.6, ls=(0, (2, 2)), zorder=0.5)
    later = steps >= first
    steps, loss = steps[later], loss[later]
    place.plot(steps, loss, color=style.INK, lw=1.4, zorder=3)
    for number, step in enumerate(marks):
        if step < first:
            continue
        height = float(np.interp(np.log(step), np.log(steps), np.log(loss)))
        place.plot(step, np.exp(height), "o", color=style.INK, ms=3.2, zorder=4, clip_on=False)
        place.annotate(
            chr(ord("a") + number),
            (step, np.exp(height)),
            xytext=(-7 if step == steps[-1] else 4, 3),
            textcoords="offset points",
            fontsize=8.0,
        )
    place.set_xscale("log")
    place.set_yscale("log")
    place.set_xlim(first, steps[-1])
    place.set_ylim(loss.min() / 1.3, loss.max() * (loss.max() / loss.min()) ** 0.8)
    place.set_xlabel("training step (log scale)", labelpad=1)
    place.set_ylabel("population loss,\nsum over features")


def _draw_tree(place: Axes, tree: Mapping[tuple[str, str, str], int]) -> None:
    """Draw columns of configurations, routes and final states; the more runs, the wider the line."""
    place.set_xlim(0, 1)
    place.set_ylim(0, 1)
    place.axis("off")
    total = sum(tree.values())
    if not total:
        place.text(0.5, 0.5, "no runs from small starts", ha="center", va="center", color=style.MUTED)
        return
    columns = [{("small starts",): total}, _counts(tree, 1), _counts(tree, 2)]
    xs, titles = (0.08, 0.33, 0.59, 0.75), ("", "before the sets open", "route", "final state")
    heights: list[dict[tuple[str, ...], float]] = []
    for column in columns:
        order = sorted(column)
        heights.append({path: 0.86 * (1 - (k + 0.5) / len(order)) for k, path in enumerate(order)})
    for x, title in zip(xs, titles, strict=True):
        where = "left" if x == xs[-1] else "center"
        place.text(x, 0.98, title, ha=where, va="top", color=style.MUTED, fontsize=8.0)
    for level, column in enumerate(columns):
        for path, y in heights[level].items():
            if level:
                parent = path[:-1] if level > 1 else ("small starts",)
                place.plot(
                    [xs[level - 1] + 0.1, xs[level] - 0.1],
                    [heights[level - 1][parent], y],
                    color="#b9c2cc",
                    lw=0.8 + 7 * column[path] / total,
                    solid_capstyle="butt",
                    zorder=1,
                )
            place.text(
                xs[level], y, f"{path[-1]}  {column[path]}", ha="center", va="center", fontsize=8.0, zorder=3,
                bbox={"boxstyle": "round,pad=0.25", "fc": "white", "ec": style.MUTED, "lw": 0.6},
            )  # fmt: skip
    for path, y in heights[2].items():
        ends = {one[2]: count for one, count in tree.items() if one[:2] == path}
        counts = ", ".join(f"{end} {count}" for end, count in sorted(ends.items(), key=lambda item: -item[1]))
        place.text(xs[3], y, counts, ha="left", va="center", fontsize=8.0)


def _counts(tree: Mapping[tuple[str, str, str], int], depth: int) -> dict[tuple[str, ...], int]:
    found: dict[tuple[str, ...], int] = {}
    for path, count in tree.items():
        found[path[:depth]] = found.get(path[:depth], 0) + count
    return found
