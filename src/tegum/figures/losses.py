"""Losses over training with the measures as text: the figure of an experiment that does not draw its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tegum.data.schema import leading
from tegum.figures import style
from tegum.figures.drawn import new_figure

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL, _LINE = 2.1, 0.15
"""The height of a panel, and of a line of text, in inches."""

_BESIDE = 3
"""The most panels side by side."""

_LEGEND = 6
"""The Specs of a training have their own colours up to this many; more are drawn alike."""


_WIDE = 5
"""Losses that span more than this factor are drawn on a log axis."""


def losses(runs: Mapping[str, xr.Dataset], measures: Sequence[str], caption: str = "") -> Figure:
    """A panel for each training, with the loss of every run and the median of each Spec; measures below as text.

    Losses have a log axis if they span more than a factor of 5. Steps (for a flow, times) have one if snapshots are
    closer together at the beginning than at the end.

    Args:
        runs: trajectories, (seed, step) after the dimensions of several Specs, by the names of their trainings.
        measures: one line for each measure.
        caption: set below, in full lines.

    """
    with style.drawing():
        lines = [part for line in measures for part in style.wrapped(style.printable(line)).split("\n")]
        text = "\n".join([*lines, "", style.wrapped(style.printable(caption))]).strip("\n")
        across = min(len(runs), _BESIDE)
        down = math.ceil(len(runs) / _BESIDE)
        below = 0.75 + _LINE * (text.count("\n") + 1)
        height = below + down * _PANEL + (down - 1) * 0.75 + 0.35
        figure = new_figure(figsize=(style.WIDTH, height))
        places = figure.subplots(down, across, squeeze=False).ravel()
        figure.subplots_adjust(
            0.1, below / height, 0.985, 1 - 0.35 / height, wspace=0.45, hspace=0.75 / _PANEL
        )  # fmt: skip
        for number, (place, (name, run)) in enumerate(zip(places, runs.items(), strict=False)):
            _draw(place, name, run)
            if number % _BESIDE == 0:
                place.set_ylabel("loss, sum over features", labelpad=2)
        for place in places[len(runs) :]:
            place.set_visible(False)
        figure.text(0.02, (below - 0.6) / height, text, va="top", fontsize=8.0, linespacing=1.35)
    return figure


def _draw(place: Axes, name: str, run: xr.Dataset) -> None:
    several = leading(run)
    dims = (*several, "seed", "step")
    loss = run["loss"].transpose(*dims).values.reshape(-1, run.sizes["seed"], run.sizes["step"])
    flow = "time" in run.coords
    over = run["time"] if flow else run["step"]
    over = over.broadcast_like(run["loss"]).transpose(*dims).values.reshape(loss.shape)
    coloured = loss.shape[0] <= _LEGEND
    for spec in range(loss.shape[0]):
        colour = style.ACCENTS[spec] if coloured else style.MUTED
        share = max(0.06, min(0.5, 8 / (loss.shape[0] * loss.shape[1])))
        place.plot(over[spec].T, loss[spec].T, color=colour, lw=0.6, alpha=share)
        # A run that has diverged no longer has a loss.
        alive = np.isfinite(loss[spec]).any(0)
        middle = np.nanmedian(loss[spec][:, alive], axis=0)
        label = f"Spec {spec}" if several and coloured else None
        place.plot(over[spec, 0, alive], middle, color=colour, lw=1.5 if coloured else 0.8, label=label)
    finite = loss[np.isfinite(loss)]
    if finite.size and finite.max() > _WIDE * finite.min() > 0:
        place.set_yscale("log")
    x = over[0, 0]
    positive = x[x > 0]
    if len(positive) > 3 and positive[-1] - positive[-2] > 10 * (positive[1] - positive[0]):
        place.set_xscale("log")
    place.set_xlabel("time" if flow else "step")
    count = loss.shape[0] * loss.shape[1]
    place.set_title(f"{style.printable(name)}: {count:,} run{'' if count == 1 else 's'}", pad=4)
    if several and coloured and loss.shape[0] > 1:
        place.legend(loc="best", handlelength=1.4, labelspacing=0.25)
