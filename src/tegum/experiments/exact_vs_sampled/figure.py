"""The figure of the experiment `exact-vs-sampled`, and its caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tegum.experiments.exact_vs_sampled.findings import SYSTEMS, TwinnedRuns

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(found: Sequence[TwinnedRuns]) -> Figure:
    """One panel per system: both losses of one run on a log axis, with the saddle index at each plateau.

    Args:
        found: what is drawn.

    """
    from tegum.figures.experiments.exact_vs_sampled import TwinPanel, twins

    panels = []
    for system in found:
        at, seed = system.drawn, system.seeds[system.drawn]
        marks = [(each.plateau.start, each.plateau.end, each.label) for each in system.of(seed)]
        panels.append(TwinPanel(SYSTEMS[system.name], system.steps, system.sampled[at], system.twin[at], tuple(marks)))
    return twins(panels)


def caption(systems: Sequence[TwinnedRuns]) -> str:
    """What the figure shows, in sentences."""
    if not systems:
        return "No run was trained to its end."
    sentences = [
        "Exact population loss of one run per system, trained on mini-batches and without noise from the same initial "
        "weights. Bands mark plateaus of the noiseless run, with the index of the saddle found nearby (min: a minimum; "
        "?: none nearby)."
    ]
    for each in systems:
        seed = each.seeds[each.drawn]
        escaped = [found for found in each.seen if found.plateau.escaped]
        sentences.append(
            f"{each.name.capitalize()}: run {seed}; {sum(found.near for found in escaped)} of {len(escaped)} escaped "
            f"plateaus in {len(each.seeds)} runs are at saddles."
        )
    return " ".join(sentences)
