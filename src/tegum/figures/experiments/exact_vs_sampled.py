"""Losses of runs and of their noiseless twins, with the saddle index on each plateau."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tegum.figures import style
from tegum.figures.drawn import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WORD = 0.62
"""A band that is narrower than this has no room for the words "index 1", in inches."""


class TwinPanel(NamedTuple):
    """One run and its twin."""

    title: str
    steps: Int[np.ndarray, " step"]
    sampled: Float[np.ndarray, " step"]
    """The population loss of the run, summed over features."""
    twin: Float[np.ndarray, " step"]
    """The population loss of its noiseless twin."""
    plateaus: tuple[tuple[int, int, str], ...]
    """For each plateau, its first and last step, and its label."""


def twins(panels: Sequence[TwinPanel]) -> Figure:
    """Panels one below the other, loss and step both on log axes.

    Args:
        panels: at least one.

    Raises:
        ValueError: there is no panel.

    """
    if not panels:
        raise ValueError("twins([]): there must be at least one panel")
    with style.drawing():
        high = 2.1 if style.is_narrow() else 2.8
        figure = new_figure(high * len(panels) + 0.6, layout="constrained")
        axes = np.atleast_1d(figure.subplots(len(panels), 1, sharex=True))
        for place, panel in zip(axes, panels, strict=True):
            _draw(place, panel)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=2)
        axes[-1].set_xlabel("training step (log scale)")
    return figure


def _draw(place: Axes, panel: TwinPanel) -> None:
    inches = 0.85 * style.width() / np.log(panel.steps[-1] / max(panel.steps[0], 1))
    for start, end, label in panel.plateaus:
        place.axvspan(start, end, color=style.band(), lw=0, zorder=0)
        wide = inches * np.log(end / max(start, 1))
        name = label if wide < _WORD or label in ("min", "?") else f"index {label}"
        # At the top of the band, clear of the lines: where it is too narrow for a word, only the number.
        place.annotate(
            name,
            (float(np.sqrt(max(start, 1) * end)), 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -4),
            textcoords="offset points",
            ha="center",
            va="top",
            rotation=90 if wide < _WORD / 2 and name == "min" else 0,
            fontweight="bold",
            fontsize=style.small(),
        )
    place.plot(panel.steps, panel.sampled, color=style.ACCENTS[0], lw=1.6, label="mini-batches", zorder=3)
    place.plot(panel.steps, panel.twin, color=style.ACCENTS[1], lw=1.4, ls=(0, (5, 2)), label="without noise", zorder=4)
    place.set_xscale("log")
    place.set_yscale("log")
    place.set_xlim(panel.steps[0], panel.steps[-1])
    low, high = (pick([pick(panel.sampled), pick(panel.twin)]) for pick in (np.min, np.max))
    place.set_ylim(low / 1.4, high * 2.2)
    place.set_ylabel("population loss")
    place.set_title(panel.title, loc="left")
