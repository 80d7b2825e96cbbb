"""The criteria of the experiment `collapse`, fixed before the run, and the answer in plain words."""

from __future__ import annotations

from itertools import pairwise

from tegum.experiments.collapse.findings import AGREEMENT_FACTOR, PCA_FROM, PUBLISHED, Landscape, hexagon
from tegum.experiments.summary import Criterion


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
            "Sparsest: a hexagon, no pair collapsed",
            "lowest_density.collapsed_pairs",
        ),
        Criterion(
            "collapsed_pairs_rise_with_density",
            "The number of collapsed pairs never falls as density rises, and takes the values 0, 1, 2 and 3.",
            all(low <= high for low, high in pairwise(rising)) and set(rising) == {0, 1, 2, 3},
            "Denser: never fewer collapsed pairs",
            "falls_of_collapsed_pairs_with_density",
        ),
        Criterion(
            "pca_when_dense",
            f"The best solution is PCA from density {PCA_FROM:g} upwards.",
            all(dense),
            f"From density {PCA_FROM:g}: PCA (loss over PCA's)",
            "dense.least_relative_loss" if found.of("PCA") else None,
        ),
        Criterion(
            "no_collapse_without_correlation",
            "Without correlation no pair collapses.",
            max(found.null) == 0,
            "Uncorrelated pairs never collapse",
            "null.collapsed_pairs",
        ),
        Criterion(
            "changes_agree_with_picture",
            f"The changes {', '.join(PUBLISHED)} all lie where the published figure has them, within a factor of "
            f"{AGREEMENT_FACTOR:g} ({agreeing}).",
            set(PUBLISHED) <= set(found.agreeing),
            f"All {len(PUBLISHED)} published changes agree",
            "changes_agreeing_with_picture",
        ),
    )


def answer(found: Landscape) -> str:
    """What was found, in plain words."""
    at = [f"{each.density:.3g}" for each in found.changes if not each.name.endswith("PCA")]
    pca = [each.density for each in found.changes if each.name.endswith("PCA")]
    then = f", and from {pca[-1]:.3g} on keeps only principal components" if pca else ""
    return (
        "As features become denser, the model ceases to tell the two features of a pair apart, one pair after the "
        f"other, at densities {', '.join(at) or 'that were not found'}{then}. Of the {len(PUBLISHED)} "
        f"published densities, {len(found.agreeing)} agree{'s' if len(found.agreeing) == 1 else ''}."
    )
