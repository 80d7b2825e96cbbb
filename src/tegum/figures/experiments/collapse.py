"""Six features in three pairs along density: what the solutions look like in the plane, and their losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from tegum.analysis.geometry.measures import canonical_pose
from tegum.analysis.statistics import wilson
from tegum.figures import style
from tegum.figures.drawn import new_figure, parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = ("0", "1", "2", "3", "PCA")
"""The names of the solutions."""

_PAIRS = (style.ACCENTS[0], style.ACCENTS[2], style.ACCENTS[1])
"""The colours of the three pairs."""


def colours() -> dict[str, Any]:
    """The colour of each solution, by name."""
    return dict(zip(NAMES, [*(style.accent(number) for number in (1, 2, 3, 0)), style.ink()], strict=True))


class SolutionPicture(NamedTuple):
    """A solution to be drawn."""

    name: str
    """The number of collapsed pairs, or "PCA"."""
    density: float
    weights: Float[np.ndarray, "6 2"]


class BestAlongDensity(NamedTuple):
    """The best solutions along density."""

    density: Float[np.ndarray, " density"]
    ratio: Float[np.ndarray, " density"]
    """Loss relative to that of the best linear model."""
    share: Float[np.ndarray, " density"]
    """The share of starts that find each."""
    names: tuple[str, ...]


def collapse(
    pictures: Sequence[SolutionPicture],
    best: BestAlongDensity,
    others: Sequence[tuple[float, float, str]],
    branches: Sequence[tuple[str, Float[np.ndarray, "_ 2"]]],
    changes: Sequence[tuple[str, float]],
    published: Mapping[str, tuple[float, float]],
    sampled: Sequence[tuple[float, int, int]],
) -> tuple[Figure, Figure]:
    """The best solutions along density, as pictures and by their losses; and the other solutions with their shares.

    Args:
        pictures: the solutions to draw, five at most.
        best: the best solutions.
        others: density, relative loss and name of every other solution.
        branches: each branch beyond the crossing where it stops being the best: its name, and density with relative
            excess loss over the best.
        changes: the name of each change ("0 → 1"), and its density.
        published: the published density range of each change, for comparison.
        sampled: for each density with mini-batch runs, the density, the runs that found the best, and all runs.

    """
    with style.drawing():
        least = float(best.density[0])
        first = new_figure(3.6 if style.is_narrow() else 4.6, layout="constrained")
        upper, lower = parts(first, 1, 3)
        for place, picture in zip(upper.subplots(1, 5), pictures, strict=False):
            _draw_picture(place, picture)
        for place in upper.axes[len(pictures) :]:
            place.set_visible(False)
        panel = lower.subplots()
        _draw_losses(panel, best)
        _draw_changes(panel, changes, published, least)
        _scale_densities((panel,), least)
        second = new_figure(3.6 if style.is_narrow() else 4.0, layout="constrained")
        panels = second.subplots(2, 1, sharex=True, height_ratios=(1.5, 1))
        _draw_excess(panels[0], best, others, branches)
        _draw_shares(panels[1], best, sampled)
        for each in panels:
            for _, density in changes:
                each.axvline(density, color=style.ink(), lw=0.8, zorder=0.5)
        _scale_densities(panels, least)
        second.align_ylabels(panels)
    return first, second


def _scale_densities(panels: Sequence[Axes], least: float) -> None:
    panels[0].set_xscale("log")
    panels[0].set_xlim(least, 1.0)
    few = (0.01, 0.03, 0.1, 0.3, 1.0) if style.is_narrow() else (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
    ticks = [tick for tick in few if tick >= least]
    for panel in panels:
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.set_xticks([], minor=True)
        panel.tick_params(axis="x", labelbottom=panel is panels[-1])
    panels[-1].set_xlabel("density p (log scale)")


def _draw_picture(place: Axes, picture: SolutionPicture) -> None:
    draw_pairs(place, picture.weights)
    title = "PCA" if picture.name == "PCA" else f"{picture.name} collapsed"
    if style.is_narrow():
        title = title.replace(" ", "\n")
    # Not in the colour of the solution, which may be too pale for letters.
    place.set_title(f"{title}\np = {picture.density:.2g}", pad=2, fontsize=style.small())


def draw_pairs(place: Axes, weights: Float[np.ndarray, "6 2"]) -> None:
    """Six embeddings in the plane, in canonical pose; each pair has a colour."""
    place.axhline(0, color=style.band(), lw=0.8, zorder=0)
    place.axvline(0, color=style.band(), lw=0.8, zorder=0)
    for feature, (x, y) in enumerate(canonical_pose(np.asarray(weights)).tolist()):
        colour, second = _PAIRS[feature // 2], feature % 2
        # The second of a pair is thin and dark on top of the broad, pale first: both show even when
        # they are collapsed.
        if second:
            place.plot([0, x], [0, y], color=colour, lw=1.4, zorder=3, solid_capstyle="butt")
            place.plot([x], [y], "o", ms=4.2, color=colour, zorder=3)
        else:
            pale = style.pale(colour, 0.5)
            arrow = {"arrowstyle": "-|>", "color": pale, "lw": 4.0, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 13}
            place.annotate("", (1.12 * x, 1.12 * y), xytext=(0, 0), arrowprops=arrow, zorder=2)
    place.set_xlim(-1.2, 1.2)
    place.set_ylim(-1.2, 1.2)
    place.set_aspect("equal")
    place.set_axis_off()


def _draw_losses(place: Axes, best: BestAlongDensity) -> None:
    place.plot(best.density, best.ratio, color=style.ink(), lw=0.8, zorder=2)
    for name, colour in colours().items():
        at = [k for k, each in enumerate(best.names) if each == name]
        if at:
            label = "PCA" if name == "PCA" else f"{name} collapsed"
            place.plot(best.density[at], best.ratio[at], "o", ms=4.0, color=colour, zorder=4, label=label)
    place.axhline(1.0, color=style.muted(), lw=0.8, ls=(0, (1, 2)))
    place.annotate("best linear model", (best.density[0], 1.0), xytext=(4, -3), textcoords="offset points", va="top",
                   color=style.muted(), fontsize=style.small())  # fmt: skip
    place.set_ylim(0, 1.5)
    place.set_yticks(np.arange(0, 1.01, 0.25))
    place.set_ylabel("loss / loss of\nbest linear model", y=0.33)
    # The curve starts low on the left.
    place.legend(loc="upper left", bbox_to_anchor=(0.0, 0.63), handletextpad=0.3, labelspacing=0.2,
                 alignment="left", borderaxespad=0.0)  # fmt: skip


def _draw_excess(
    place: Axes,
    best: BestAlongDensity,
    others: Sequence[tuple[float, float, str]],
    branches: Sequence[tuple[str, Float[np.ndarray, "_ 2"]]],
) -> None:
    """The excess loss of other solutions over the best one, in per cent."""
    ratios = dict(zip(best.density.tolist(), best.ratio.tolist(), strict=True))
    for name, colour in colours().items():
        dots = [(density, 100 * (ratio / ratios[density] - 1)) for density, ratio, each in others if each == name]
        if dots:
            place.plot(*np.array(dots).T, "o", ms=2.8, color=colour, mew=0, alpha=0.75, zorder=2)
    for name, line in branches:
        place.plot(line[:, 0], 100 * line[:, 1], color=colours().get(name, style.ink()), lw=1.6, zorder=3)
    place.set_ylim(0, 7)
    place.set_ylabel("excess loss\n(% of the best)")


def _draw_changes(
    panel: Axes, changes: Sequence[tuple[str, float]], published: Mapping[str, tuple[float, float]], least: float
) -> None:
    """Two rows of bars for the ranges of each best solution, here and as published; and the changes as lines."""
    for _, density in changes:
        panel.axvline(density, color=style.ink(), lw=0.8, zorder=0.5, ymax=1.46 / 1.5)
    ranges = {name: (density, density) for name, density in changes}
    inches = 0.8 * style.width() / np.log(1.0 / least)
    for label, bounds, bottom in (("here", ranges, 1.3), ("published", dict(published), 1.1)):
        for name, start, end in _spans(bounds, least):
            panel.fill_between(
                [start, end], bottom, bottom + 0.16, color=style.pale(colours().get(name, style.muted()), 0.7), lw=0,
                zorder=1,
            )  # fmt: skip
            # Where a range is too narrow its colour must do.
            if inches * np.log(end / start) > 0.1 + 0.07 * len(name):
                panel.text(
                    float(np.sqrt(start * end)), bottom + 0.075, name, ha="center", va="center",
                    fontsize=style.small(), zorder=5,
                )  # fmt: skip
        panel.annotate(
            label, (0, bottom + 0.075), xycoords=("axes fraction", "data"), xytext=(-4, 0), textcoords="offset points",
            ha="right", va="center", fontsize=style.small(), annotation_clip=False,
        )  # fmt: skip
    if style.is_narrow():
        return  # The caption has the numbers.
    for _, density in changes:
        panel.annotate(
            f"{density:.4f}", (density, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 1),
            textcoords="offset points", ha="center", va="bottom", fontsize=style.small(),
        )  # fmt: skip


def _spans(changes: Mapping[str, tuple[float, float]], least: float) -> list[tuple[str, float, float]]:
    """Name, start and end of each range between two changes."""
    found, start, name = [], least, None
    for change, (low, high) in sorted(changes.items(), key=lambda each: each[1]):
        name, after = change.split(" → ")
        found.append((name, start, low))
        start, name = high, after
    return [*found, (name, start, 1.0)] if name else []


def _draw_shares(place: Axes, best: BestAlongDensity, sampled: Sequence[tuple[float, int, int]]) -> None:
    place.plot(
        best.density, best.share, color=style.muted(), lw=1.2, marker="o", ms=2.5, label="starts on the exact loss"
    )
    for number, (density, hits, total) in enumerate(sampled):
        low, high = wilson(hits / total, total) if total else (0.0, 1.0)
        middle = hits / total if total else 0.5
        label = "mini-batch runs" if number == 0 else None
        place.errorbar(
            density, middle, [[middle - low], [high - middle]], fmt="D", ms=4.5, color=style.ACCENTS[4],
            mec=style.ink(), mew=0.6, ecolor=style.ink(), elinewidth=1.0, capsize=2.5, label=label, zorder=4,
        )  # fmt: skip
    place.set_ylim(0, 1.55 if style.is_narrow() else 1.35)
    place.set_yticks([0, 0.5, 1])
    place.set_ylabel("share that\nfind the best")
    place.legend(loc="upper left", ncols=1 if style.is_narrow() else 2, borderaxespad=0.0, labelspacing=0.2)
