"""The figure of features that jump between energy levels, with the loss below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tegum.figures import style
from tegum.figures.drawn import new_figure
from tegum.figures.experiments.energy_levels_panels import Share, draw_jumps, draw_shares
from tegum.figures.plots.dimensionality import dimensionality, mark_bands, scale_steps

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tegum.analysis.dynamics.drops import Drop
    from tegum.analysis.dynamics.levels import Event, Jump

_LOSS_FROM = 0.05
"""The range of the loss panel is that of the loss after this fraction of training."""


def energy_levels(
    levels: xr.DataArray,
    loss: xr.DataArray,
    drops: Sequence[Drop[Event]],
    jumps: Sequence[Jump] = (),
    shares: Sequence[Share] = (),
) -> tuple[Figure, Figure]:
    """One run over the training step, the dimensionality of each feature above the loss; and panels on the ensemble.

    Features that jump in an event have strong colours, and all others pale ones. Events are numbered bands across both
    panels. The loss panel shows the range of late training; the early fall of the loss, a hundred times as large,
    leaves it at the top.

    Args:
        levels: the dimensionality of each feature, with dims (step, feature).
        loss: the loss summed over features, with dims (step,).
        drops: the run's events with their drops of the loss, in the order in which they are numbered.
        jumps: the late jumps of the whole ensemble, drawn by the levels between which they lead.
        shares: the shares measured on the whole ensemble, drawn next to the jumps.

    Raises:
        ValueError: the dims are not these.

    """
    for name, given, dims in (("levels", levels, ("step", "feature")), ("loss", loss, ("step",))):
        if set(given.dims) != set(dims):
            raise ValueError(f"energy_levels({name} with dims {given.dims}): it must have the dims {dims}")
    with style.drawing():
        narrow = style.is_narrow()
        first = new_figure(4.4 if narrow else 5.0, layout="constrained")
        upper, lower = first.subplots(2, 1, height_ratios=(3, 2))
        events = [drop.event for drop in drops]
        dimensionality(levels, ax=upper, events=events, labels=bool(events), style=None)
        mark_bands((lower,), events)
        upper.set_xlabel("")
        _draw_loss(lower, loss, levels.sizes["feature"], drops)
        scale_steps(lower, loss["step"].values, "square-root")
        first.align_ylabels((upper, lower))
        second = new_figure(4.6 if narrow else 2.7, layout="constrained")
        panels = second.subplots(2, 1) if narrow else second.subplots(1, 2, width_ratios=(1.5, 1))
        draw_jumps(panels[0], jumps)
        draw_shares(panels[1], shares)
    return first, second


def _draw_loss(panel: Axes, loss: xr.DataArray, features: int, drops: Sequence[Drop[Event]]) -> None:
    steps, values = loss["step"].values, loss.values
    panel.plot(steps, values, color=style.ink(), lw=1.2, zorder=3)
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
        0.99,
        0.97,
        f"\u2191 {values[0]:.2f} at step 0",
        transform=panel.transAxes,
        ha="right",
        va="top",
        color=style.muted(),
        fontsize=style.small(),
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
