"""The names of solutions: the number of collapsed sets, or PCA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from tegum.core.features.distribution import FeatureDistribution

PCA_ANGLE, PCA_LOSS = 0.05, 0.01
"""A solution is PCA if its angle to a principal subspace, in radians, is below the first, and its loss is below that of
the best linear model by at most the second, a fraction."""


@dataclass(frozen=True)
class State:
    """The properties of a solution that decide its name."""

    collapsed: int
    """The number of collapsed sets."""
    angle: float
    """The angle to the nearest principal subspace, in radians."""
    ratio: float
    """The loss relative to that of the best linear model."""

    @property
    def pca(self) -> bool:
        """Whether the solution counts as PCA."""
        return is_pca(self.angle, self.ratio)

    @property
    def name(self) -> str:
        """The number of collapsed sets, or "PCA"."""
        return "PCA" if self.pca else str(self.collapsed)


def is_pca(angle: float, ratio: float) -> bool:
    """Whether a solution with this angle to a principal subspace and this relative loss counts as PCA."""
    return angle < PCA_ANGLE and ratio >= 1 - PCA_LOSS


def state_of(weights: Float[np.ndarray, "feature hidden"], loss: float, features: FeatureDistribution) -> State:
    """The state of a solution with these weights and this loss."""
    from tegum.analysis.linear.pca import angle_to_pca, linear_optimum
    from tegum.analysis.sets.collapse import collapsed_count

    linear = linear_optimum(features, weights.shape[1]).loss
    return State(int(collapsed_count(weights, features)), float(angle_to_pca(weights, features)), loss / linear)
