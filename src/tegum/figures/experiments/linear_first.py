"""The figure of linear solutions early in training: first plateaus, successive ranks, and onset of superposition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tegum.analysis.statistics import bootstrap_mean, wilson
from tegum.figures import style
from tegum.figures.drawn import new_figure, parts
from tegum.figures.plots.axes import inches_of, log_ticks, plain_decades

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "os^Dv"

_KINDS = {
    "linear": ("rank k", style.ACCENTS[1]),
    "begun": ("rank k where purest", style.ACCENTS[5]),
    "lower": ("lower rank", style.ACCENTS[2]),
    "antipodal": ("antipodal sets", style.ACCENTS[0]),
    "other": ("other", style.ACCENTS[4]),
    "none": ("no plateau", "faint"),
}

_WAYS = ("density", "importance", "size")


def linear_first(
    systems: Sequence[Any],
    orders: Mapping[tuple[str, str], Any],
    onsets: Mapping[str, Sequence[Any]],
    drawn: tuple[tuple[int, int], tuple[str, str]],
) -> tuple[Figure, Figure, Figure]:
    """First plateaus; the order in which directions are learned; and when superposition begins.

    Args:
        systems: alike sets, each with `sets`, `hidden`, `steps`, `losses`, `scales` and `runs`; these with `loss` and
            `kinds`.
        orders: unlike sets by (way, training), each with `steps`, `time`, `loss`, `losses`, `predicted`, `modes`,
            `in_order`, `on_time`, `ratio` and `plateaus_at`.
        onsets: independent features by training, each with `density`, `scale` and `onset`; this with `hidden`, `steps`,
            `count`, `total`, `disturbed`, `fallen`, `linear_interference`, `begins`, `done` and `at`.
        drawn: the sets and dimensions of the system, and the way and training of the ensemble, whose losses are drawn.

    """
    with style.drawing():
        narrow = style.is_narrow()
        shape = (3, 1) if narrow else (1, 3)
        system, order = drawn
        first = new_figure(6.2 if narrow else 2.9, layout="constrained")
        places = first.subplots(*shape)
        _draw_losses(places[0], next(each for each in systems if (each.sets, each.hidden) == system))
        spare = [each for each in systems if each.hidden >= 2 * each.sets]
        _draw_kinds(places[1], spare, "m = 2k")
        _draw_kinds(places[2], [each for each in systems if each not in spare], "m = 3")
        handles, labels = places[2].get_legend_handles_labels()
        first.legend(
            handles, labels, loc="outside lower center", ncols=3 if narrow else 6, columnspacing=1.0, handlelength=0.9,
            handletextpad=0.4,
        )  # fmt: skip
        second = new_figure(6.2 if narrow else 4.8, layout="constrained")
        panels = second.subplot_mosaic([["a"], ["b"], ["c"]] if narrow else [["a", "b"], ["c", "c"]])
        _draw_stairs(panels["a"], orders[order])
        _draw_ratios(panels["b"], orders)
        _draw_orders(panels["c"], orders)
        third = new_figure(7.6 if narrow else 4.4, layout="constrained")
        if narrow:
            places = third.subplots(5, 1, height_ratios=(1, 1, 1, 1.5, 1.2)).tolist()
        else:
            upper, lower = parts(third, 1, 1)
            places = [*upper.subplots(1, 3), *lower.subplots(1, 2)]
        _draw_courses(places[:3], onsets)
        _draw_onsets(places[3], onsets["adamw"])
        _draw_falls(places[4], onsets["adamw"])
    return first, second, third


def only_words(text: str) -> Figure:
    """Draw a figure without panels, for results in which some ensemble has no run to draw."""
    with style.drawing():
        figure = new_figure(1.0)
        figure.text(0.02, 0.5, style.wrapped(text), va="center", fontsize=style.small())
    return figure


def _draw_levels(place: Axes, losses: Any, most: int) -> None:
    """Draw the loss of the best linear solution of each rank, named as far as there is room; limits must be set."""
    low, high = np.log(place.get_ylim())
    line, last = 1.15 * style.small() / 72 / inches_of(place)[1] * (high - low), np.inf
    for rank, loss in enumerate(losses[: most + 1].tolist()):
        place.axhline(loss, color=style.muted(), lw=0.6, ls=(0, (2, 2)), zorder=1)
        if last - np.log(loss) >= line:
            place.annotate(
                f"rank {rank}", (1.0, loss), xycoords=("axes fraction", "data"), xytext=(2, 0), va="center",
                textcoords="offset points", fontsize=style.small(), color=style.muted(),
            )  # fmt: skip
            last = np.log(loss)


def _draw_losses(place: Axes, system: Any) -> None:
    for scale, runs, colour in zip(system.scales, system.runs, style.ACCENTS, strict=False):
        place.plot(system.steps[1:], runs.loss[0, 1:], color=colour, lw=1.3, label=_scale(scale))
    place.set_yscale("log")
    low, high = place.get_ylim()
    log_ticks(place, "x", np.array([10, system.steps[-1]]), 4)
    place.set_xlim(10, system.steps[-1])
    place.set_ylim(low, high)
    _draw_levels(place, system.losses, system.sets)
    place.set_xlabel("training step (log scale)")
    place.set_ylabel("population loss")
    place.set_title(f"{system.sets} sets of three, m = {system.hidden}")
    place.legend(
        loc="lower left", borderaxespad=0.2, labelspacing=0.15, title="start scale", handlelength=1.4,
    )  # fmt: skip


def _draw_stairs(place: Axes, order: Any) -> None:
    later = slice(1, None)
    place.plot(order.steps[later], order.loss[0, later], color=style.ACCENTS[1], lw=1.5)
    rate = order.time[-1] / order.steps[-1]
    for mode, time in enumerate(order.predicted[0].tolist()):
        middle = float(np.sqrt(order.losses[mode] * order.losses[mode + 1]))
        place.plot([time / rate] * 2, [middle / 1.12, middle * 1.12], color=style.ACCENTS[0], lw=2.2)
    place.set_yscale("log")
    plain_decades(place)
    log_ticks(place, "x", np.array([max(order.steps[1], 1), order.steps[-1]]), 4)
    place.set_xlim(order.steps[1], order.steps[-1])
    _draw_levels(place, order.losses, order.modes)
    place.set_xlabel("training step (log scale)")
    place.set_ylabel("population loss")
    place.set_title("eigenvalues far apart, SGD")


def _scale(scale: float) -> str:
    return "Xavier" if np.isnan(scale) else f"{scale:g}"


def _draw_kinds(place: Axes, systems: Sequence[Any], title: str) -> None:
    scales = systems[0].scales
    width = 0.8 / len(systems)
    for number, system in enumerate(sorted(systems, key=lambda each: each.sets)):
        at = np.arange(len(scales)) + width * (number - (len(systems) - 1) / 2)
        below = np.zeros(len(scales))
        for kind, (_, colour) in _KINDS.items():
            shares = np.array([np.mean([each == kind for each in runs.kinds]) for runs in system.runs])
            place.bar(at, shares, 0.9 * width, below, color=_colour(colour), lw=0)
            below += shares
    for name, colour in _KINDS.values():
        place.bar([0], [0], color=_colour(colour), label=name)
    place.set_xticks(range(len(scales)), [_scale(scale).replace("Xavier", "X") for scale in scales])
    place.set_ylim(0, 1)
    place.set_yticks([0, 0.5, 1])
    place.set_xlabel("start scale (X: Xavier)")
    place.set_ylabel("share of runs")
    place.set_title(f"{title}: k = {', '.join(str(each) for each in _sets(systems))}")


def _colour(name: str) -> Any:
    return style.faint() if name == "faint" else name


def _sets(systems: Sequence[Any]) -> list[int]:
    return sorted(each.sets for each in systems)


def _draw_ratios(place: Axes, orders: Mapping[tuple[str, str], Any]) -> None:
    for number, way in enumerate(_WAYS):
        for group in ("apart", "close"):
            order = orders[f"{group}-{way}", "sgd"]
            ratios = np.array([order.ratio(rank) for rank in range(1, order.modes + 1)])
            on = [order.plateaus_at(rank) for rank in range(1, order.modes + 1)]
            shares = np.array([each.mean() for each in on])
            ends = np.array([wilson(float(share), len(each)) for share, each in zip(shares, on, strict=True)]).T
            place.errorbar(
                # Side by side, because many values coincide.
                ratios * 1.035 ** (number - 1), shares, np.abs(ends - shares), color=style.ACCENTS[number], ls="",
                marker=_MARKERS[number], ms=4.5, mfc=style.paper() if group == "close" else None, elinewidth=0.8,
            )  # fmt: skip
        place.plot([], [], _MARKERS[number], color=style.ACCENTS[number], ms=4.5, label=way)
    place.set_xscale("log")
    place.set_xticks([1.5, 2, 3, 4, 6], ["1.5", "2", "3", "4", "6"])
    place.minorticks_off()
    place.set_ylim(-0.05, 1.45)
    place.set_yticks([0, 0.5, 1])
    place.set_xlabel("ratio of eigenvalues r, r + 1 (log)")
    place.set_ylabel("share of runs")
    place.set_title("plateau at rank r")
    place.legend(
        loc="upper left", ncols=3, columnspacing=0.9, handletextpad=0.2, borderaxespad=0.1,
        title="sets differ in", alignment="left", labelspacing=0.15,
    )  # fmt: skip


def _draw_orders(place: Axes, orders: Mapping[tuple[str, str], Any]) -> None:
    ways = [f"{group}-{way}" for group in ("close", "apart") for way in _WAYS]
    names = {"flow": "gradient flow", "sgd": "SGD", "adamw": "AdamW"}
    for number, (training, name) in enumerate(names.items()):
        for at, way in enumerate(ways):
            if (way, training) not in orders:
                continue
            order, x = orders[way, training], at + 0.26 * (number - 1)
            for on, moved, fill in ((order.in_order, -0.05, None), (order.on_time, 0.05, style.paper())):
                if training == "adamw" and fill:
                    continue
                low, high = wilson(float(on.mean()), len(on))
                colour = style.ACCENTS[number]
                place.plot([x + moved] * 2, [low, high], color=colour, lw=0.9, zorder=1.5)
                place.plot(x + moved, on.mean(), _MARKERS[number], color=colour, ms=4.2, mfc=fill or colour)
        place.plot([], [], _MARKERS[number], color=style.ACCENTS[number], ms=4.5, label=name)
    place.set_xticks(range(len(ways)), [way.replace("-", "\n").replace("importance", "import.") for way in ways])
    place.tick_params(axis="x", labelsize=7.0, pad=2)
    place.set_xlim(-0.5, len(ways) - 0.5)
    place.set_ylim(-0.05, 1.32)
    place.set_yticks([0, 0.5, 1])
    place.set_ylabel("share of runs")
    place.set_title("predicted order, predicted times", pad=4)
    place.legend(
        loc="upper left", ncols=3, columnspacing=1.0, handletextpad=0.2, borderaxespad=0.1, fontsize=style.small()
    )


def _draw_courses(places: Sequence[Axes], onsets: Mapping[str, Sequence[Any]]) -> None:
    group = onsets["adamw"]
    shown = [each for each in group if each.scale == np.nanmin([one.scale for one in group])]
    linear = max(onsets["linear"], key=lambda each: each.density)
    parts = (
        ("represented features / m", lambda each: each.count / each.hidden, 1.0),
        ("m / |W|²_F", lambda each: each.hidden / np.maximum(each.total, 1e-12), 1.0),
        ("interference", lambda each: each.disturbed, linear.onset.linear_interference),
    )
    for place, (name, of, level) in zip(places, parts, strict=True):
        place.axhline(level, color=style.muted(), lw=0.9, ls=(0, (4, 2)), zorder=0.5)
        for each, colour in [*zip(shown, style.ACCENTS, strict=False), (linear, style.ink())]:
            # Medians, because m/|W|²_F starts near infinity.
            onset = each.onset
            course, later = np.median(of(onset), 0), onset.steps >= 50
            label = "linear" if each is linear else f"p = {each.density:g}"
            place.plot(onset.steps[later], course[later], color=colour, lw=1.3, label=label)
            if each is not linear:
                at = int(np.searchsorted(onset.steps, np.mean(onset.done(0.9))))
                place.plot(onset.steps[at], course[at], "o", color=colour, ms=4)
        log_ticks(place, "x", np.array([50, group[0].onset.steps[-1]]), 4)
        place.set_xlim(50, group[0].onset.steps[-1])
        place.set_xlabel("training step (log scale)")
        place.set_title(name)
    places[1].set_ylim(0, 2)
    places[2].legend(loc="upper left", borderaxespad=0.1, labelspacing=0.15, handlelength=1.4,
                     ncols=2 if style.is_narrow() else 1)  # fmt: skip


def _draw_onsets(place: Axes, onsets: Sequence[Any]) -> None:
    for number, (scale, group) in enumerate(_by_scale(onsets)):
        start = "Xavier start" if scale == "Xavier" else f"start {scale}"
        for by, line in (("features", "-"), ("norm", ":")):
            _draw_means(place, [(each, each.onset.begins(by)) for each in group], number, line, start)
    place.set_yscale("log")
    low, high = place.get_ylim()
    place.set_ylim(low, high * 4)
    _over_density(place, onsets)
    place.set_ylabel("training step (log scale)")
    place.set_title("onset of superposition", pad=4)
    place.legend(
        loc="upper left", ncols=2, columnspacing=1.0, borderaxespad=0.1, labelspacing=0.2, fontsize=style.small()
    )


def _draw_falls(place: Axes, onsets: Sequence[Any]) -> None:
    for number, (_, group) in enumerate(_by_scale(onsets)):
        for by, line in (("features", "-"), ("norm", ":")):
            falls = [(each, each.onset.at(each.onset.fallen, each.onset.begins(by))) for each in group]
            _draw_means(place, falls, number, line, "")
    for level, name, moved in ((0.5, "early", -5), (0.9, "late", 5)):
        place.axhline(level, color=style.muted(), lw=0.9, ls=(0, (4, 2)), zorder=0.5)
        place.annotate(name, (1.0, level), xycoords=("axes fraction", "data"), xytext=(2, moved), va="center",
                       textcoords="offset points", fontsize=style.small(), color=style.muted())  # fmt: skip
    _over_density(place, onsets)
    place.set_ylim(-0.02, 1.05)
    place.set_ylabel("share of the fall")
    place.set_title("fall of the loss complete at onset", pad=4)


def _by_scale(onsets: Sequence[Any]) -> list[tuple[str, list[Any]]]:
    scales = dict.fromkeys(_scale(each.scale) for each in onsets)
    return [(scale, [each for each in onsets if _scale(each.scale) == scale]) for scale in scales]


def _draw_means(place: Axes, values: Sequence[tuple[Any, Any]], number: int, line: str, label: str) -> None:
    """Draw means over the runs with a finite value, shifted slightly apart; zeros have no place on a log axis."""
    kept = [(each.density * 1.06 ** (number - 1), row[np.isfinite(row)]) for each, row in values]
    kept = [(at, row) for at, row in kept if len(row)]
    densities, means = np.array([at for at, _ in kept]), np.array([row.mean() for _, row in kept])
    if label and not means.all():
        return  # Superposition from the start on: step 0 has no place on a log axis.
    ends = np.array([bootstrap_mean(row) for _, row in kept]).T.reshape(2, -1)
    place.errorbar(
        densities, means, np.abs(ends - means), color=style.ACCENTS[number], marker=_MARKERS[number], ms=3.5, lw=1.3,
        ls=line, elinewidth=0.8, label=label if line == "-" and label else None,
    )  # fmt: skip


def _over_density(place: Axes, onsets: Sequence[Any]) -> None:
    place.set_xscale("log")
    shown = sorted({each.density for each in onsets})
    place.set_xticks(shown, [f"{each:g}" for each in shown])
    place.minorticks_off()
    place.set_xlabel("density p (log scale)")
