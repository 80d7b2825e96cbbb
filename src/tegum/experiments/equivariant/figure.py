"""The figure of the experiment `equivariant`, and its caption."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tegum.experiments.equivariant.findings import RotatedSolutions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN_WIDTHS = (0.15, 0.25, 0.4, 0.7, 1.5)
"""Tuning widths, in radians; embeddings are drawn at the grid width nearest to each."""


def figure(found: RotatedSolutions) -> tuple[Figure, Figure]:
    """Embeddings along width, shares of |W|² in the Fourier modes, the loss, and two families over width and density.

    Args:
        found: what is drawn.

    """
    from tegum.figures.experiments.equivariant import Family, FamilyPair, OrientationPicture, equivariant

    plane = found.one[0]
    chosen = [int(np.argmin(np.abs(np.log(np.array(plane.widths) / width)))) for width in DRAWN_WIDTHS]
    return equivariant(
        [OrientationPicture(plane.widths[k], plane.states[0][k].name, plane.best[0][k].weights) for k in chosen],
        [
            Family(
                each.hidden,
                np.array(each.widths),
                np.array([state.power for state in each.states[0]]),
                np.array([state.ratio for state in each.states[0]]),
                [(change.there.value, change.name) for change in found.changes if change.hidden == each.hidden],
            )
            for each in found.one
        ],
        [
            FamilyPair(each.hidden, each.widths, each.densities, [[one.name for one in row] for row in each.together])
            for each in found.two
        ],
    )


def caption(found: RotatedSolutions) -> tuple[str, str]:
    """What the figures show, in sentences."""
    changes = [
        f"m = {each.hidden}: {each.name} at {each.there.value:.3f} rad ({'abrupt' if each.jump else 'gradual'})"
        for each in found.changes
    ]
    first = found.one[0]
    return (
        f"One family of {first.size} orientations, density {first.densities[0]:g}, best of "
        f"{first.best[0][0].starts} starts. Embeddings for m = 2 at some tuning widths, coloured by orientation "
        "and joined in order. Below, for each m: shares of |W|² in the Fourier modes (stacked), and loss relative to "
        f"the best linear model (line); {'; '.join(changes)}.",
        f"Best solutions for two families of {found.two[0].size} orientations each, over width and density, "
        "by how they divide the m hidden dimensions.",
    )
