"""The dimensionality of features over training, with the ideal levels and the events in which features jump."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, assert_never, get_args

import numpy as np
from jaxtyping import Float, Int

from tegum.analysis.geometry.polytopes import LEVELS
from tegum.core.arguments import refusing
from tegum.core.description import short
from tegum.figures import style as look
from tegum.figures.plots.axes import cells, check_numbers, drawing_on, inches_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from tegum.analysis.dynamics.levels import Event

Scale = Literal["square-root", "log", "linear"]
"""The scale of an axis of steps."""

_LEAST_GAP = 1.18
"""The least distance between the labels of levels, in lines of their type; closer ones would overlap."""


@refusing
def dimensionality(
    run: xr.Dataset | xr.DataArray,
    *,
    ax: Axes | None = None,
    events: Any = False,
    levels: bool = True,
    labels: bool = True,
    x_scale: Literal["square-root", "log", "linear"] = "square-root",
    style: str | None = look.SHEET,
) -> Axes:
    """Draw the dimensionality of every feature of one run over training, one line for each.

    Dotted lines are the dimensionalities at which features of toy models settle: 1/2 in a digon, 2/3 in a triangle, and
    so on. If events are marked, they are numbered bands, and the features that jump in them have strong colours.

    Args:
        run: a trajectory of one run, weights (step, feature, hidden), or its dimensionality (step, feature).
        ax: where to draw; by default on a new figure.
        events: whether to find and mark the late events in which features jump; or a list of those to mark, as
            `tg.group_jumps` gives them.
        levels: whether to draw the ideal levels, with their names at the right.
        labels: whether a legend names the features that jump in events, or all of them if there are few.
        x_scale: the scale of the steps; "square-root" shows both the fast beginning and late jumps.
        style: a style of matplotlib's; None leaves your own settings as they are.

    Returns:
        The Axes.

    Raises:
        ValueError: these are several runs or have no steps, the scale is unknown, or `events` holds something else.

    Example:
        >>> import numpy as np
        >>> import tegum as tg
        >>> import xarray as xr
        >>> digon = xr.DataArray(np.full((3, 2), 0.5), dims=("step", "feature"), coords={"step": [0, 10, 20]})
        >>> ax = tg.plot.dimensionality(digon, levels=False)
        >>> len(ax.lines), ax.get_ylabel()
        (2, 'feature dimensionality')

    """
    call = "dimensionality"
    if x_scale not in get_args(Scale):
        raise ValueError(f"{call}(x_scale={x_scale!r}): x_scale must be 'square-root', 'log' or 'linear'")
    values = _measured(call, run)
    if events is True:
        from tegum.analysis.dynamics.levels import find_jumps, group_jumps, late_jumps

        marked: Sequence[Event] = group_jumps(
            late_jumps(find_jumps(values.expand_dims("seed")), int(values["step"].values[-1]))
        )
    else:
        marked = _events(call, events)
    if x_scale == "log" and not (values["step"] > 0).any():
        raise ValueError(f"{call}(x_scale='log'): no step is positive, and so none has a logarithm")
    with drawing_on(ax, style, (6.4, 3.0), call) as place:
        mark_bands((place,), marked)
        _number(place, marked)
        _draw_features(place, values, [jump.feature for event in marked for jump in event.jumps])
        scale_steps(place, values["step"].values, x_scale)
        if levels:
            _draw_levels(place)
        if labels:
            _name_features(place, 1.5 if marked else 0.3)
    return place


def _events(call: str, events: Any) -> list[Event]:
    if events is False or events is None:
        return []
    try:
        marked = list(events)
    except TypeError:
        marked = [events]
    if all(hasattr(each, name) for each in marked for name in ("start", "end", "jumps")):
        return marked
    rule = "events must be True or False, or a list of events, as tg.group_jumps gives them"
    raise ValueError(f"{call}(events={short(events)}): {rule}")


def _measured(call: str, run: xr.Dataset | xr.DataArray) -> xr.DataArray:
    """The dimensionality of one run, with the dims (step, feature) and their coordinates."""
    from tegum.analysis.geometry.measures import dimensionality as measure

    array: Any = run["weights"] if "weights" in getattr(run, "data_vars", ()) else run
    if not hasattr(array, "to_dataset") or "step" not in array.dims or "feature" not in array.dims:
        raise ValueError(f"{call}(run): it must be a trajectory of one run, or dimensionalities (step, feature)")
    check_numbers(call, array, "run")
    values: xr.DataArray = measure(array) if "hidden" in array.dims else array  # type: ignore[assignment]
    stack, _ = cells(values, ("step", "feature"))
    if len(stack) != 1:
        raise ValueError(f"{call}({len(stack)} runs): it draws one; choose it, as run.isel(seed=0) does")
    one = values.isel({dim: 0 for dim in values.dims if dim not in ("step", "feature")}).transpose("step", "feature")
    missing = {dim: np.arange(one.sizes[dim]) for dim in ("step", "feature") if dim not in one.coords}
    return one.assign_coords(missing)


def mark_bands(panels: Sequence[Axes], events: Sequence[Event]) -> None:
    """Mark events by bands across panels."""
    for event in events:
        for panel in panels:
            panel.axvspan(event.start, event.end, color=look.band(), lw=0, zorder=0)


def _number(panel: Axes, events: Sequence[Event]) -> None:
    """Number events above a panel."""
    for number, event in enumerate(events, 1):
        panel.annotate(
            str(number),
            ((event.start + event.end) / 2, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontweight="bold",
            fontsize=look.small(),
        )


def scale_steps(place: Axes, steps: Int[np.ndarray, " step"], scale: Scale) -> None:
    """Scale the axis of steps, with few round ticks."""
    from matplotlib.ticker import FixedLocator, NullLocator

    first, last = int(steps[0]), max(int(steps[-1]), 1)
    match scale:
        case "square-root":
            # Levels form quickly at first, and late jumps are far apart.
            place.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
            place.set_xlim(first, last)
            digit = 10.0 ** np.floor(np.log10(last))
            round_ = max(step * digit for step in (1, 2, 5) if step * digit <= last)
            inches = inches_of(place)[0]
            parts = (0, 0.1, 0.4, 1.0) if inches < 4.0 else (0, 0.02, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
            ticks = [part * round_ for part in parts]
            if last >= 1.3 * round_:
                ticks.append(last)
            place.xaxis.set_major_locator(FixedLocator(ticks))
            place.xaxis.set_minor_locator(NullLocator())
            place.xaxis.set_major_formatter("{x:,.0f}")
            place.set_xlabel("training step (square-root scale)")
        case "log":
            place.set_xscale("log")
            place.set_xlim(float(steps[steps > 0][0]) if (steps > 0).any() else 1.0, last)
            place.set_xlabel("training step (log scale)")
        case "linear":
            place.set_xlim(first, last)
            place.set_xlabel("training step")
            place.locator_params(axis="x", nbins=5)
        case _:
            assert_never(scale)


def _draw_features(panel: Axes, dimensionality: xr.DataArray, jumping: Sequence[int]) -> None:
    features, steps = dimensionality["feature"].values.tolist(), dimensionality["step"].values
    accents = {feature: look.accent(number) for number, feature in enumerate(dict.fromkeys(jumping))}
    few = not accents and len(features) <= len(look.ACCENTS)
    colours = [look.accent(k) for k in range(len(features))] if few else look.calm_colours(len(features))
    for number, (feature, colour) in enumerate(zip(features, colours, strict=True)):
        strong = feature in accents
        panel.plot(
            steps,
            dimensionality.values[:, number],
            color=accents.get(feature, colour),
            lw=1.5 if strong else 0.9,
            zorder=4 if strong else 2,
            label=f"feature {feature}" if strong or few else f"_feature {feature}",
            solid_capstyle="round",
        )
    top = float(dimensionality.max()) if dimensionality.notnull().any() else 0.0
    panel.set_ylim(-0.02, max(0.82, top + 0.03))
    panel.set_ylabel("feature dimensionality")


def _name_features(panel: Axes, lines_above: float) -> None:
    """Name the lines that have a label, above the panel: "feature 0", and of those that follow the numbers alone."""
    lines, names = panel.get_legend_handles_labels()
    if lines:
        short = [names[0], *(name.rpartition(" ")[2] for name in names[1:])]
        panel.legend(
            lines, short, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(lines), handlelength=1.0,
            handletextpad=0.4, columnspacing=0.9, borderaxespad=lines_above,
        )  # fmt: skip


def _draw_levels(panel: Axes) -> None:
    """Draw the ideal levels as lines, with their names on the right, spaced so that they do not overlap."""
    values = sorted(LEVELS.items(), key=lambda item: item[1])
    low, high = panel.get_ylim()
    # What a line of type takes of the height of the panel, which a layout may still change a little.
    inches = inches_of(panel)[1]
    gap = _LEAST_GAP * look.small() / 72 / max(inches, 0.5) * (high - low)
    if high > 0.98:
        values.append(("one of its own", type(values[0][1])(1)))
    ideal = np.array([0.0, *(float(value) for _, value in values)])
    heights = apart(ideal, gap)
    names = ["0", *(f"{value} {'' if look.is_narrow() else name}".strip() for name, value in values)]
    if not look.is_narrow():
        names[0] = "0 not represented"
    for name, value, height in zip(names, ideal.tolist(), heights.tolist(), strict=True):
        digon = value == 0.5
        if value > 0:
            panel.axhline(
                value, color=look.ink() if digon else look.muted(), lw=0.9 if digon else 0.6,
                ls=(0, (1, 2)), zorder=1,
            )  # fmt: skip
        panel.annotate(
            name,
            (1.0, value),
            xycoords=("axes fraction", "data"),
            xytext=(1.03, height),
            textcoords=("axes fraction", "data"),
            va="center",
            fontsize=look.small(),
            color=look.ink() if digon or not value else look.muted(),
            arrowprops={"arrowstyle": "-", "color": look.muted(), "lw": 0.5, "shrinkA": 1, "shrinkB": 0},
        )


def apart(values: Float[np.ndarray, " level"], gap: float) -> Float[np.ndarray, " level"]:
    """Move ascending values until neighbours are at least a gap apart, keeping the mean of each group."""
    groups = [[value] for value in values.tolist()]
    while True:
        spans = [np.mean(group) + gap * (np.arange(len(group)) - (len(group) - 1) / 2) for group in groups]
        close = [at for at in range(len(spans) - 1) if spans[at + 1][0] - spans[at][-1] < gap - 1e-9]
        if not close:
            return np.concatenate(spans)
        groups[close[0] : close[0] + 2] = [groups[close[0]] + groups[close[0] + 1]]
