"""The criteria of the experiment `tradeoff`, fixed before the run, and the answer in plain words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tegum.experiments.reporting import Measure, said
from tegum.experiments.summary import Criterion
from tegum.experiments.tradeoff.findings import SPARSE_UP_TO, TradeoffPlanes, mixture, sparse_and_correlated

LEAST_MIXED = 0.1
"""The least share of mixtures required among the grid points that are both sparse and correlated."""


def criteria(found: TradeoffPlanes) -> tuple[Criterion, ...]:
    """Whether each part of the claim holds."""
    both = sparse_and_correlated(found.main)
    return (
        Criterion(
            "relative_loss_rises_with_density",
            "At every strength the relative loss never falls as density rises.",
            found.along_density.fallen == 0,
            "Denser: relative loss rises (falls in)",
            "falls_of_relative_loss_with_density",
        ),
        Criterion(
            "relative_loss_rises_with_strength",
            "At every density the relative loss never falls as strength rises.",
            found.along_strength.fallen == 0,
            "More correlated: it rises (falls in)",
            "falls_of_relative_loss_with_strength",
        ),
        Criterion(
            "mixtures_where_sparse_and_correlated",
            f"At least {100 * LEAST_MIXED:g} % of the points that are both sparse and correlated are mixtures.",
            bool(both) and bool(np.mean([mixture(shape) for shape in both]) >= LEAST_MIXED),
            f"Sparse, correlated: mixtures (≥ {100 * LEAST_MIXED:g} %)",
            "sparse_and_correlated.mixtures",
        ),
        Criterion(
            "no_shared_directions_without_correlation",
            f"Without correlation no two features share a direction at any density up to {SPARSE_UP_TO:g}.",
            not any(shared for density, shared in found.null if density <= SPARSE_UP_TO),
            "Uncorrelated: no shared directions",
            "null.shared_directions",
        ),
    )


def answer(measured: Mapping[str, Measure]) -> str:
    """What was found, in plain words."""

    def of(key: str) -> str:
        return said(measured[key])

    return (
        "Over density and correlation, the best solution is pure superposition on "
        f"{of('superposition_without_collapse')} of the map, PCA on {of('pca')}, and a mixture on {of('mixtures')}. "
        f"{_towards(measured['falls_of_relative_loss_with_density'], 'As features become denser')}. "
        f"{_towards(measured['falls_of_relative_loss_with_strength'], 'As they become more correlated')}."
    )


def _towards(falls: Measure, change: str) -> str:
    """Whether the loss mostly comes nearer to PCA's with a change, given the share of steps in which it does not."""
    match falls.value:
        case None:
            return f"{change}, nothing was measured"
        case value if value <= 0.5:
            exceptions = "in every step" if value == 0 else f"except in {said(falls)} of the steps"
            return f"{change}, the loss nears PCA's, {exceptions}"
        case value:
            steps = "every step" if value == 1 else f"{said(falls)} of the steps"
            return f"{change}, it moves away from it, in {steps}"
