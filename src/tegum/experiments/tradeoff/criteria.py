"""The criteria of the experiment `tradeoff`, fixed before the run."""

from __future__ import annotations

import numpy as np

from tegum.experiments.framework import Criterion
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
        ),
        Criterion(
            "relative_loss_rises_with_strength",
            "At every density the relative loss never falls as strength rises.",
            found.along_strength.fallen == 0,
        ),
        Criterion(
            "mixtures_where_sparse_and_correlated",
            f"At least {100 * LEAST_MIXED:g} % of the points that are both sparse and correlated are mixtures.",
            bool(both) and bool(np.mean([mixture(shape) for shape in both]) >= LEAST_MIXED),
        ),
        Criterion(
            "no_shared_directions_without_correlation",
            f"Without correlation no two features share a direction at any density up to {SPARSE_UP_TO:g}.",
            not any(shared for density, shared in found.null if density <= SPARSE_UP_TO),
        ),
    )
