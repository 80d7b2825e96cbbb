"""The figure of the experiment `exact-vs-sampled`, and its caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tegum.experiments.exact_vs_sampled.findings import SYSTEMS, TwinnedRuns

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(found: Sequence[TwinnedRuns], caption: str) -> Figure:
    """One panel a system: both losses of one run on a log axis, with the index at each plateau.

    Args:
        found: what is drawn.
        caption: set below the panels.

    """
    from tegum.figures.twins import TwinPanel, twins

    panels = []
    for system in found:
        at, seed = system.drawn, system.seeds[system.drawn]
        marks = [(each.plateau.start, each.plateau.end, each.label) for each in system.of(seed)]
        panels.append(TwinPanel(SYSTEMS[system.name], system.steps, system.sampled[at], system.twin[at], tuple(marks)))
    return twins(panels, caption)


def caption(systems: Sequence[TwinnedRuns]) -> str:
    """What the figure shows, in sentences."""
    if not systems:
        return "No run trained to its end."
    sentences = [
        "Exact population loss of one run of each system, trained on mini-batches and without noise from the same "
        "start. Bands are plateaus of the noiseless run; the number is the index of the saddle found near each (min: a "
        "minimum; ?: none near)."
    ]
    for each in systems:
        seed = each.seeds[each.drawn]
        escaped = [found for found in each.seen if found.plateau.escaped]
        sentences.append(
            f"{each.name.capitalize()}: run {seed}; {sum(found.near for found in escaped)} of {len(escaped)} escaped "
            f"plateaus of {len(each.seeds)} runs are at saddles."
        )
    return " ".join(sentences)
