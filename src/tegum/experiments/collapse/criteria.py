"""The criteria of the experiment `collapse`, fixed before the run."""

from __future__ import annotations

from itertools import pairwise

from tegum.experiments.collapse.findings import AGREEMENT_FACTOR, PCA_FROM, PUBLISHED, Landscape, hexagon
from tegum.experiments.framework import Criterion


def criteria(found: Landscape) -> tuple[Criterion, ...]:
    """Whether each part of the claim holds."""
    rising = [state.collapsed for density, state in zip(found.densities, found.states, strict=True) if density < 1]
    dense = [state.pca for density, state in zip(found.densities, found.states, strict=True) if density >= PCA_FROM]
    agreeing = f"{', '.join(found.agreeing) or 'none'} {'does' if len(found.agreeing) == 1 else 'do'}"
    return (
        Criterion(
            "hexagon_at_lowest_density",
            "At the lowest density no pair is collapsed, and the features form a hexagon with partners side by side.",
            found.states[0].collapsed == 0 and hexagon(found.best[0].weights),
        ),
        Criterion(
            "collapsed_pairs_rise_with_density",
            "The number of collapsed pairs never falls as density rises, and takes the values 0, 1, 2 and 3.",
            all(low <= high for low, high in pairwise(rising)) and set(rising) == {0, 1, 2, 3},
        ),
        Criterion("pca_when_dense", f"The best solution is PCA from density {PCA_FROM:g} upwards.", all(dense)),
        Criterion("no_collapse_without_correlation", "Without correlation no pair collapses.", max(found.null) == 0),
        Criterion(
            "changes_agree_with_picture",
            f"The changes {', '.join(PUBLISHED)} all lie where the published figure has them, within a factor of "
            f"{AGREEMENT_FACTOR:g} ({agreeing}).",
            set(PUBLISHED) <= set(found.agreeing),
        ),
    )
