"""The figure of the experiment `collapse`, and its caption."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tegum.experiments.collapse.findings import PUBLISHED, Landscape

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(found: Landscape, caption: str) -> Figure:
    """The five pictures, over the loss of every branch against density, over how often each best one is found.

    Args:
        found: what is drawn.
        caption: set below the panels.

    """
    from tegum.figures.collapse import BestAlongDensity, SolutionPicture, collapse

    pictures = []
    for name in ("0", "1", "2", "3", "PCA"):
        if positions := found.of(name):
            solution = found.best[positions[len(positions) // 2]]
            pictures.append(SolutionPicture(name, solution.value, solution.weights))
    shares = [each.hits / each.starts for each in found.best]
    return collapse(
        pictures,
        BestAlongDensity(
            np.array(found.densities),
            np.array([state.ratio for state in found.states]),
            np.array(shares),
            tuple(state.name for state in found.states),
        ),
        [(each.value, state.ratio, state.name) for each, state in found.seen],
        found.branches,
        [(change.name, change.density) for change in found.changes],
        PUBLISHED,
        found.sampled,
        caption,
    )


def caption(found: Landscape) -> str:
    """What the figure shows, in sentences."""
    told = [f"{change.name} at {change.density:.4f} ({change.kind}; {change.agreement})" for change in found.changes]
    return (
        "Top: best solutions in canonical pose, a colour for each pair; of each pair one feature is a broad arrow, the "
        f"other a thin one with a dot. First panel: loss of the best of {found.best[0].starts} starts, and its name: "
        "the number of collapsed pairs, or PCA. Second: how much more other solutions cost that starts find (dots), "
        "and branches beyond the crossing up to which they are the best (lines). Vertical lines are changes of the "
        "name; bars compare them with the picture of Elhage et al. (2022), which has "
        f"{len(found.agreeing)} of its {len(PUBLISHED)} changes where they are. Third: how often the best solution is "
        f"found, with intervals of 95 %. {'; '.join(told) if told else 'The best solution never changes'}."
    )
