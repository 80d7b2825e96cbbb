"""Losses over training with the measures as text: the figure of an experiment that does not draw its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tegum.figures import style
from tegum.figures.drawn import new_figure
from tegum.figures.plots.loss import loss

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

_PANEL = 2.1
"""The height of a panel, in inches."""

_BESIDE = 3
"""The most panels side by side."""


def losses(runs: Mapping[str, xr.Dataset], measures: Sequence[str]) -> Figure:
    """A panel for each training, with the loss of every run and the median of each Spec; measures below as text.

    Args:
        runs: trajectories, (seed, step) after the dimensions of several Specs, by the names of their trainings.
        measures: one line for each measure.

    """
    with style.drawing():
        text = "\n".join(part for line in measures for part in style.wrapped(style.printable(line)).split("\n"))
        beside = 1 if style.is_narrow() else _BESIDE
        across, down = min(len(runs), beside), math.ceil(len(runs) / beside)
        line = 1.4 * style.small() / 72
        below = 0.75 + line * (text.count("\n") + 1)
        height = below + down * _PANEL + (down - 1) * 0.75 + 0.35
        figure = new_figure(height)
        places = figure.subplots(down, across, squeeze=False).ravel()
        wide = style.width()
        figure.subplots_adjust(
            0.72 / wide, below / height, 1 - 0.11 / wide, 1 - 0.35 / height, wspace=0.45, hspace=0.75 / _PANEL
        )
        for number, (place, (name, run)) in enumerate(zip(places, runs.items(), strict=False)):
            loss(run, ax=place, style=None)
            count = run["loss"].size // run.sizes["step"]
            place.set_title(f"{style.printable(name)}: {count:,} run{'' if count == 1 else 's'}", pad=4)
            if (legend := place.get_legend()) is not None:
                # Beside the panel there are others.
                legend.set_loc("best")
                legend.set_bbox_to_anchor(None)
            if number % beside:
                place.set_ylabel("")
        for place in places[len(runs) :]:
            place.set_visible(False)
        figure.text(0.14 / wide, (below - 0.6) / height, text, va="top", fontsize=style.small(), linespacing=1.35)
    return figure
