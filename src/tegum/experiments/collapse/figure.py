"""The figure of the experiment `collapse`, and its caption."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tegum.experiments.collapse.findings import PUBLISHED, Landscape

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(found: Landscape) -> tuple[Figure, Figure]:
    """The solutions as pictures, the loss of each branch against density, and how often the best one is found.

    Args:
        found: what is drawn.

    """
    from tegum.figures.experiments.collapse import BestAlongDensity, SolutionPicture, collapse

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
    )


def caption(found: Landscape) -> tuple[str, str]:
    """What the figures show, in sentences."""
    changes = [f"{change.name} at {change.density:.4f} ({change.kind}; {change.agreement})" for change in found.changes]
    return (
        "Best solutions in canonical pose, one colour per pair; one feature of each pair is a broad arrow, the "
        f"other a thin line with a dot. Below: loss of the best of {found.best[0].starts} starts, coloured by "
        "its number of collapsed pairs, or PCA. Vertical lines mark changes of the best solution; bars compare them "
        f"with the figure of Elhage et al. (2022), which agrees on {len(found.agreeing)} of its {len(PUBLISHED)} "
        f"changes. {'; '.join(changes) if changes else 'The best solution never changes'}.",
        "First panel: excess loss of the other solutions the starts find (dots), and of each branch beyond the "
        "crossing where it stops being the best (lines), coloured by the number of collapsed pairs. Second: share of "
        "runs that find the best solution, with 95 % intervals. Vertical lines mark changes of the best solution.",
    )
