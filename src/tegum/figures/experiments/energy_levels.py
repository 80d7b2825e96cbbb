"""The figure of features that jump between energy levels, with the loss below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from tegum.analysis.geometry.polytopes import LEVELS
from tegum.figures import style
from tegum.figures.drawn import new_figure
from tegum.figures.experiments.energy_levels_panels import Share, draw_jumps, draw_shares

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tegum.analysis.dynamics.drops import Drop
    from tegum.analysis.dynamics.levels import Event, Jump

_LEAST_GAP = 0.052
"""The least distance between labels of levels, in units of dimensionality; closer ones would overlap."""

_PANELS = 4.7
"""The height of both panels of the run, in inches."""

_ENSEMBLE = 2.6
"""The height of the panels of the ensemble with the labels below them, in inches."""

_LOSS_FROM = 0.05
"""The range of the loss panel is that of the loss after this fraction of training."""


def energy_levels(
    dimensionality: xr.DataArray,
    loss: xr.DataArray,
    drops: Sequence[Drop[Event]],
    caption: str = "",
    jumps: Sequence[Jump] | None = None,
    shares: Sequence[Share] = (),
) -> Figure:
    """Draw one run in two panels over the training step: the dimensionality of each feature, and the loss.

    Features that jump in an event have strong colours, and all others pale ones. Events are numbered bands across both
    panels. The loss panel shows the range of late training; the early fall of the loss, a hundred times as large,
    leaves it at the top. With `jumps`, two panels on the ensemble are added below.

    Args:
        dimensionality: the dimensionality of each feature, with dims (step, feature).
        loss: the loss summed over features, with dims (step,).
        drops: the run's events with their drops of the loss, in the order in which they are numbered.
        caption: the text below the panels, wrapped to full lines.
        jumps: the late jumps of the whole ensemble, drawn by the levels between which they lead.
        shares: the shares measured on the whole ensemble, drawn next to the jumps.

    Raises:
        ValueError: the dims are not these.

    """
    for name, given, dims in (("dimensionality", dimensionality, ("step", "feature")), ("loss", loss, ("step",))):
        if set(given.dims) != set(dims):
            raise ValueError(f"energy_levels({name} with dims {given.dims}): it must have the dims {dims}")
    with style.drawing():
        note = style.Caption(caption)
        # In inches from the bottom: the caption, then the panels, whose size is fixed.
        under = 0.65 + note.height
        below = under if jumps is None else under + _ENSEMBLE
        height = below + _PANELS + 0.3
        figure = new_figure(figsize=(style.WIDTH, height))
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        figure.subplots_adjust(0.095, below / height, 0.79, (below + _PANELS) / height, hspace=0.08)
        _mark_events((upper, lower), drops)
        _draw_levels(upper)
        _draw_features(upper, dimensionality, drops)
        _draw_loss(lower, loss, dimensionality.sizes["feature"], drops)
        _scale_steps(lower, int(loss["step"][-1]))
        if jumps is not None:
            room = (under / height, (_ENSEMBLE - 0.95) / height)
            draw_jumps(figure.add_axes((0.095, room[0], 0.42, room[1])), jumps)
            draw_shares(figure.add_axes((0.73, room[0], 0.24, room[1])), shares)
        note.write(figure, under - 0.55)
    return figure


def _mark_events(panels: Sequence[Axes], drops: Sequence[Drop[Event]]) -> None:
    for number, drop in enumerate(drops, 1):
        for panel in panels:
            panel.axvspan(drop.event.start, drop.event.end, color=style.BAND, lw=0, zorder=0)
        middle = (drop.event.start + drop.event.end) / 2
        panels[0].annotate(
            str(number),
            (middle, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontweight="bold",
        )


def _scale_steps(panel: Axes, last: int) -> None:
    """Scale the axis by the square root of the step, since early levels form quickly and late jumps are far apart."""
    from matplotlib.ticker import FixedLocator

    panel.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
    panel.set_xlim(0, last)
    # Round numbers that are almost evenly spaced on this scale.
    steps = [0, *(share * last for share in (0.02, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0))]
    panel.xaxis.set_major_locator(FixedLocator(steps))
    panel.xaxis.set_major_formatter("{x:,.0f}")


def _draw_levels(panel: Axes) -> None:
    """Draw the ideal levels as lines, with their names on the right, spaced so that they do not overlap."""
    values = sorted(LEVELS.items(), key=lambda item: item[1])
    heights = _apart(np.array([float(value) for _, value in values]), _LEAST_GAP)
    for (name, value), height in zip(values, heights.tolist(), strict=True):
        digon = name == "digon"
        panel.axhline(
            float(value),
            color=style.INK if digon else style.MUTED,
            lw=0.9 if digon else 0.6,
            ls=(0, (5, 3)) if digon else (0, (1, 2)),
            zorder=1,
        )
        _name_level(panel, float(value), height, f"{value.numerator}/{value.denominator} {name}", digon)
    _name_level(panel, 0.0, 0.0, "0 not represented", True)


def _name_level(panel: Axes, value: float, height: float, text: str, strong: bool) -> None:
    panel.annotate(
        text,
        (1.0, value),
        xycoords=("axes fraction", "data"),
        xytext=(1.03, height),
        textcoords=("axes fraction", "data"),
        va="center",
        fontsize=8.0,
        color=style.INK if strong else style.MUTED,
        arrowprops={"arrowstyle": "-", "color": style.MUTED, "lw": 0.5, "shrinkA": 1, "shrinkB": 0},
    )


def _apart(values: Float[np.ndarray, " level"], gap: float) -> Float[np.ndarray, " level"]:
    """Move ascending values until neighbours are at least a gap apart, keeping the mean of each group."""
    groups = [[value] for value in values.tolist()]
    while True:
        spans = [np.mean(group) + gap * (np.arange(len(group)) - (len(group) - 1) / 2) for group in groups]
        close = [at for at in range(len(spans) - 1) if spans[at + 1][0] - spans[at][-1] < gap - 1e-9]
        if not close:
            return np.concatenate(spans)
        groups[close[0] : close[0] + 2] = [groups[close[0]] + groups[close[0] + 1]]


def _draw_features(panel: Axes, dimensionality: xr.DataArray, drops: Sequence[Drop[Event]]) -> None:
    features = dimensionality["feature"].values.tolist()
    steps = dimensionality["step"].values
    jumping = list(dict.fromkeys(jump.feature for drop in drops for jump in drop.event.jumps))
    accents = {feature: style.ACCENTS[number % len(style.ACCENTS)] for number, feature in enumerate(jumping)}
    calm = dict(zip(features, style.calm_colours(len(features)), strict=True))
    for feature in features:
        values = dimensionality.sel(feature=feature).values
        strong = feature in accents
        panel.plot(
            steps,
            values,
            color=accents.get(feature, calm[feature]),
            lw=1.5 if strong else 0.9,
            zorder=4 if strong else 2,
            label=f"feature {feature}" if strong else f"_feature {feature}",
            solid_capstyle="round",
        )
    top = float(dimensionality.max()) if dimensionality.notnull().any() else 0.0
    panel.set_ylim(-0.02, max(0.82, top + 0.03))
    panel.set_ylabel("feature dimensionality")
    panel.spines["bottom"].set_visible(False)
    panel.tick_params(axis="x", length=0)
    if accents:
        panel.legend(loc="upper right", ncols=min(4, len(accents)), borderaxespad=0.0)


def _draw_loss(panel: Axes, loss: xr.DataArray, features: int, drops: Sequence[Drop[Event]]) -> None:
    steps, values = loss["step"].values, loss.values
    panel.plot(steps, values, color=style.INK, lw=1.2, zorder=3)
    panel.set_xlabel("training step (square-root scale)")
    panel.set_ylabel("loss, sum over features")
    shown = values[(steps >= _LOSS_FROM * steps[-1]) & np.isfinite(values)]
    if not len(shown):
        return
    low, high = float(shown.min()), float(shown.max())
    # Noise alone must not fill the panel: a run in which nothing drops should look flat.
    span = max(high - low, 2e-3 * high) or 1.0
    panel.set_ylim(low - 0.1 * span, low + 1.15 * span)
    mean = panel.secondary_yaxis(
        "right", functions=(lambda y: np.divide(y, features), lambda y: np.multiply(y, features))
    )
    mean.set_ylabel("loss, mean over features")
    mean.spines["right"].set_visible(True)
    mean.ticklabel_format(useOffset=False)
    panel.text(
        0.012,
        0.97,
        f"\u2191 {values[0]:.2f}\nat step 0",
        transform=panel.transAxes,
        va="top",
        color=style.MUTED,
        fontsize=8,
    )
    for drop in drops:
        if np.isfinite(drop.size):
            large = abs(drop.size) > 0.15 * span
            after = float(loss.sel(step=drop.event.end))
            panel.annotate(
                f"{-drop.size:+.4f}".replace("-", "\u2212"),
                (drop.event.end, after + drop.size / 2 if large else after),
                # Next to the fall if it is large enough, otherwise below the line.
                xytext=(5, 0) if large else (2, -6),
                textcoords="offset points",
                va="center" if large else "top",
                zorder=5,
            )
