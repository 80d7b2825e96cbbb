"""The figures of two sets of three becoming an octahedron: polyhedra, loss with regimes, and the routes of all runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from tegum.analysis.geometry.measures import align_steps
from tegum.figures import style
from tegum.figures.drawn import new_figure, parts
from tegum.figures.plots.embeddings import embeddings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
) -> tuple[Figure, Figure]:
    """Draw polyhedra in a row with the loss below them; and the routes that all runs take.

    Args:
        pictures: the embeddings of one run, in the order of their steps.
        curve: the steps and the loss of that run; None to leave out polyhedra and loss.
        bands: the regimes of that run.
        tree: the number of runs for each configuration, route and final state.

    """
    with style.drawing():
        narrow = style.is_narrow()
        if curve is not None and len(pictures) > 0:
            columns = min(len(pictures), 4 if narrow else 8)
            rows = -(-len(pictures) // columns)
            high, low = 1.15 * rows, 2.2 if narrow else 2.6
            first = new_figure(high + low, layout="constrained")
            upper, lower = parts(first, high, low)
            _draw_row(upper.subplots(), pictures, columns)
            _draw_loss(lower.subplots(), *curve, bands, [each.step for each in pictures])
        else:
            first = new_figure(1.0)
            first.text(0.5, 0.5, "no run from a small start to draw", ha="center", color=style.muted())
        routes = {path[:2] for path in tree}
        second = new_figure(0.9 + (0.42 if narrow else 0.3) * max(len(routes), 2), layout="constrained")
        _draw_routes(second.subplots(), tree)
    return first, second


def _draw_row(place: Axes, pictures: Sequence[Picture], columns: int) -> None:
    seen = posed(np.stack([each.weights for each in pictures]))
    sets = {"set": ("feature", np.arange(6) // 3), "kind": ("feature", np.full(6, "correlated"))}
    titles = [f"{chr(ord('a') + k)}: step {each.step:,}" for k, each in enumerate(pictures)]
    embeddings(
        xr.DataArray(seen, dims=("step_", "feature", "hidden"), coords=sets), ax=place, titles=titles, labels=False,
        legend=False, join=True, scale="own", columns=columns, style=None,
    )  # fmt: skip


def posed(weights: Float[np.ndarray, "step 6 3"]) -> Float[np.ndarray, "step 6 3"]:
    """Rotate all snapshots into the pose of the last, with the axis through both centroids upright."""
    chained = np.asarray(align_steps(weights))
    axis = chained[-1, :3].mean(0) - chained[-1, 3:].mean(0)
    axis = axis / max(float(np.linalg.norm(axis)), 1e-30)
    first = chained[-1, 0] - (chained[-1, 0] @ axis) * axis
    first = first / max(float(np.linalg.norm(first)), 1e-30)
    return chained @ np.stack([first, np.cross(axis, first), axis], 1)


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
            place.axvspan(start, end, color=style.band(), lw=0, zorder=0)
        narrow = 0.85 * style.width() * np.log(end / start) / np.log(steps[-1] / first) < 0.9
        place.annotate(
            f"{motion} {share:.0%}" if narrow else f"{motion}\n{share:.0%}",
            (float(np.sqrt(start * end)), 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -4),
            textcoords="offset points",
            ha="center",
            va="top",
            rotation=90 if narrow else 0,
            fontsize=style.small(),
            linespacing=1.1,
        )
    for _, end, *_ in bands[:-1]:
        place.axvline(end, color=style.muted(), lw=0.6, ls=(0, (2, 2)), zorder=0.5)
    later = steps >= first
    steps, loss = steps[later], loss[later]
    place.plot(steps, loss, color=style.ink(), lw=1.4, zorder=3)
    for number, step in enumerate(marks):
        if step < first:
            continue
        height = float(np.interp(np.log(step), np.log(steps), np.log(loss)))
        place.plot(step, np.exp(height), "o", color=style.ink(), ms=3.2, zorder=4, clip_on=False)
        place.annotate(
            chr(ord("a") + number),
            (step, np.exp(height)),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=style.small(),
        )
    place.set_xscale("log")
    place.set_yscale("log")
    place.set_xlim(first, steps[-1])
    place.set_ylim(loss.min() / 1.3, loss.max() * (loss.max() / loss.min()) ** (1.3 if style.is_narrow() else 0.8))
    place.set_xlabel("training step (log scale)", labelpad=1)
    place.set_ylabel("population loss,\nsum over features")


def _draw_routes(place: Axes, tree: Mapping[tuple[str, str, str], int]) -> None:
    """Draw a bar for each configuration and route, as long as the number of runs and divided by their final states."""
    if not tree:
        place.axis("off")
        place.text(0.5, 0.5, "no runs from small starts", ha="center", va="center", color=style.muted())
        return
    totals: Counter[tuple[str, str]] = Counter()
    ends: Counter[str] = Counter()
    for (configuration, route, end), count in tree.items():
        totals[configuration, route] += count
        ends[end] += count
    rows = sorted(totals, key=lambda path: (-sum(n for each, n in totals.items() if each[0] == path[0]), path[0],
                                            -totals[path]))  # fmt: skip
    named = [name for name, _ in ends.most_common(4)]
    left = np.zeros(len(rows))
    for number, end in enumerate([*named, None]):
        counts = np.array(
            [
                sum(
                    n
                    for path, n in tree.items()
                    if path[:2] == row and (path[2] == end if end else path[2] not in named)
                )
                for row in rows
            ]
        )
        if counts.any():
            colour = style.accent(number) if end else style.faint()
            place.barh(range(len(rows)), counts, 0.68, left, color=colour, label=end or "other final states")
            left = left + counts
    for row, path in enumerate(rows):
        place.text(
            totals[path] + 0.01 * max(totals.values()), row, f" {totals[path]}", va="center", fontsize=style.small()
        )
    between = ",\n" if style.is_narrow() else ", "
    place.set_yticks(range(len(rows)), [between.join(path) for path in rows])
    place.tick_params(axis="y", length=0)
    place.invert_yaxis()
    place.set_xlim(0, 1.12 * max(totals.values()))
    place.locator_params(axis="x", integer=True, nbins=5)
    place.set_xlabel("runs")
    place.legend(
        loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2 if style.is_narrow() else 5, handlelength=0.9,
        handletextpad=0.4, columnspacing=1.0, borderaxespad=0.2,
    )  # fmt: skip
