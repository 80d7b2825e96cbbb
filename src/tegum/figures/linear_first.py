"""Linear solutions early in training: plateaus, the order of principal directions, and the onset of superposition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tegum.analysis.statistics import bootstrap_mean, wilson
from tegum.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL = 2.05
"""Inches that a panel is high."""

_GAP = 0.72
"""Inches between two rows."""

_LINE = 0.15
"""Inches that a line of the caption takes."""

_MARKERS = "os^Dv"


def linear_first(
    systems: Sequence[Any],
    orders: Mapping[tuple[str, str], Any],
    onsets: Mapping[str, Sequence[Any]],
    drawn: tuple[int, int],
    caption: str = "",
) -> Figure:
    """Six panels, in three rows.

    Args:
        systems: with `sets`, `hidden`, `steps`, `losses` and `runs`; these with `scale`, `loss`, `ranks`.
        orders: by (way, training), with `time`, `strengths`, `predicted` and `in_order`.
        onsets: by training, with `density`, `scale`, `hidden`, `steps`, `count`, `more` and `done`.
        drawn: sets and dimensions of the system whose losses are drawn.
        caption: set below the panels, in full lines.

    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(dict(style.SETTINGS)):
        text = style.wrapped(caption)
        below = 0.7 + _LINE * (text.count("\n") + 1)
        height = below + 3 * _PANEL + 2 * _GAP + 0.35
        figure = Figure(figsize=(style.WIDTH, height))
        places = figure.subplots(3, 2)
        top = (height - 0.35) / height
        figure.subplots_adjust(0.085, below / height, 0.985, top, wspace=0.32, hspace=_GAP / _PANEL)
        _draw_losses(places[0, 0], next(each for each in systems if (each.sets, each.hidden) == drawn))
        _draw_shares(places[0, 1], systems)
        _draw_strengths(places[1, 0], orders)
        _draw_orders(places[1, 1], orders)
        _draw_counts(places[2, 0], onsets["adamw"])
        _draw_onsets(places[2, 1], onsets["adamw"])
        figure.text(0.02, (below - 0.55) / height, text, va="top", fontsize=8.0, linespacing=1.35)
    return figure


def _draw_losses(place: Axes, system: Any) -> None:
    for rank, loss in enumerate(system.losses[: system.sets + 1].tolist()):
        place.axhline(loss, color=style.MUTED, lw=0.6, ls=(0, (2, 2)), zorder=1)
        place.annotate(
            f"rank {rank}", (1.0, loss), xycoords=("axes fraction", "data"), xytext=(2, 0), va="center",
            textcoords="offset points", fontsize=7.0, color=style.MUTED,
        )  # fmt: skip
    later = slice(1, None)
    for runs, colour in zip(system.runs, style.ACCENTS, strict=False):
        at = int(np.argmax(system.on_rank(runs)))
        place.plot(system.steps[later], runs.loss[at, later], color=colour, lw=1.3, label=_scale(runs.scale))
    place.set_xscale("log")
    place.set_yscale("log")
    place.set_xlim(10, system.steps[-1])
    place.set_xlabel("training step (log scale)")
    place.set_ylabel("population loss")
    place.set_title(f"{system.sets} sets of three, m = {system.hidden}", pad=4)
    place.legend(loc="lower left", borderaxespad=0.2, labelspacing=0.2, title="start scale", title_fontsize=8.0)


def _scale(scale: float) -> str:
    return "Xavier" if np.isnan(scale) else f"{scale:g}"


def _draw_shares(place: Axes, systems: Sequence[Any]) -> None:
    scales = [runs.scale for runs in systems[0].runs]
    places = np.arange(len(scales))
    colours = dict(zip(sorted({each.sets for each in systems}), style.ACCENTS, strict=False))
    for number, system in enumerate(systems):
        on = [system.on_rank(runs) for runs in system.runs]
        shares = np.array([each.mean() for each in on])
        ends = np.array([wilson(float(share), len(each)) for share, each in zip(shares, on, strict=True)]).T
        moved = places + 0.07 * (number - (len(systems) - 1) / 2)
        place.errorbar(
            moved, shares, np.abs(ends - shares), color=colours[system.sets], lw=1.2, elinewidth=0.8,
            ls="-" if system.hidden > 3 else (0, (3, 2)), marker=_MARKERS[number % len(_MARKERS)], ms=3.5,
            label=f"k = {system.sets}, m = {system.hidden}",
        )  # fmt: skip
    place.set_xticks(places, [_scale(scale) for scale in scales])
    place.set_ylim(-0.04, 1.04)
    place.set_xlabel("start scale")
    place.set_ylabel("share of runs")
    place.set_title("first plateau at the linear optimum", pad=4)
    place.legend(loc="upper right", borderaxespad=0.1, labelspacing=0.15, fontsize=7.0, handlelength=1.8)


def _draw_strengths(place: Axes, orders: Mapping[tuple[str, str], Any]) -> None:
    order = orders["density", "flow"]
    for mode, colour in enumerate(style.ACCENTS[: order.measured.shape[1]]):
        name = f"λ = {order.eigenvalues[mode]:.3f}"
        place.plot(order.time, order.strengths[0, :, mode], color=colour, lw=1.4, label=name)
        place.plot([order.predicted[0, mode]] * 2, [0.38, 0.62], color=colour, lw=2.2, solid_capstyle="butt")
    place.set_xlim(0, order.time[-1])
    place.set_ylim(-0.03, 1.45)
    place.set_yticks([0, 0.5, 1])
    place.set_xlabel("time of the gradient flow")
    place.set_ylabel("strength |vᵀ W|²")
    place.set_title("principal directions, unequal densities", pad=4)
    place.legend(loc="upper left", ncols=4, columnspacing=0.8, handlelength=1.0, borderaxespad=0.1, fontsize=7.0)


def _draw_orders(place: Axes, orders: Mapping[tuple[str, str], Any]) -> None:
    ways = list(dict.fromkeys(way for way, _ in orders))
    names = {"flow": "gradient flow", "sgd": "SGD", "adamw": "AdamW"}
    for number, (training, name) in enumerate(names.items()):
        for at, way in enumerate(ways):
            if (way, training) not in orders:
                continue
            on = orders[way, training].in_order
            low, high = wilson(float(on.mean()), len(on))
            x = at + 0.2 * (number - 1)
            place.plot([x, x], [low, high], color=style.ACCENTS[number], lw=1.0)
            place.plot(x, on.mean(), _MARKERS[number], color=style.ACCENTS[number], ms=5, label=f"_{name}")
        place.plot([], [], _MARKERS[number], color=style.ACCENTS[number], ms=5, label=name)
    place.axhline(1 / 24, color=style.MUTED, lw=0.9, ls=(0, (4, 2)), zorder=0.5)
    place.set_xticks(range(len(ways)), ways)
    place.set_xlim(-0.5, len(ways) - 0.5)
    place.set_ylim(-0.04, 1.28)
    place.set_yticks([0, 0.25, 0.5, 0.75, 1])
    place.set_xlabel("in what the four sets differ")
    place.set_ylabel("share of runs")
    place.set_title("directions in the predicted order", pad=4)
    place.legend(loc="upper left", ncols=3, columnspacing=1.0, handletextpad=0.2, borderaxespad=0.1)


def _draw_counts(place: Axes, onsets: Sequence[Any]) -> None:
    least = np.nanmin([each.scale for each in onsets])
    for onset, colour in zip([each for each in onsets if each.scale == least], style.ACCENTS, strict=False):
        ratio = onset.count.mean(0) / onset.hidden
        later = onset.steps >= 10
        place.plot(onset.steps[later], ratio[later], color=colour, lw=1.3, label=f"p = {onset.density:g}")
        at = int(np.searchsorted(onset.steps, np.mean(onset.done(0.9))))
        place.plot(onset.steps[at], ratio[at], "o", color=colour, ms=4.5)
    place.axhline(1, color=style.MUTED, lw=0.9, ls=(0, (4, 2)), zorder=0.5)
    place.set_xscale("log")
    place.set_xlim(50, onsets[0].steps[-1])
    place.set_xlabel("training step (log scale)")
    place.set_ylabel("represented features / m")
    place.set_title(f"from starts of {least:g}", pad=4)
    place.legend(loc="upper left", borderaxespad=0.1, labelspacing=0.2)


def _draw_onsets(place: Axes, onsets: Sequence[Any]) -> None:
    scales = list(dict.fromkeys(_scale(each.scale) for each in onsets))
    for number, scale in enumerate(scales):
        group = [each for each in onsets if _scale(each.scale) == scale and np.isfinite(each.more).all()]
        densities = np.array([each.density for each in group]) * 1.06 ** (number - 1)
        means = np.array([each.more.mean() for each in group])
        ends = np.array([bootstrap_mean(each.more) for each in group]).T.reshape(2, -1)
        place.errorbar(
            densities, means, np.abs(ends - means), color=style.ACCENTS[number], marker=_MARKERS[number], ms=3.5,
            lw=1.3, elinewidth=0.8, label=f"start {scale}",
        )  # fmt: skip
        place.plot(densities, [each.done(0.9).mean() for each in group], color=style.ACCENTS[number], lw=1.0, ls=":")
    place.set_xscale("log")
    place.set_yscale("log")
    low, high = place.get_ylim()
    place.set_ylim(low, high * 4)
    shown = sorted({each.density for each in onsets})
    place.set_xticks(shown, [f"{each:g}" for each in shown])
    place.minorticks_off()
    place.set_xlabel("density p (log scale)")
    place.set_ylabel("training step (log scale)")
    place.set_title("onset of superposition", pad=4)
    place.legend(loc="upper left", ncols=2, columnspacing=1.0, borderaxespad=0.1, labelspacing=0.2)
