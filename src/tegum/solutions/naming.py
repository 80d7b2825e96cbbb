"""What solutions are called: by the number of their collapsed sets, or PCA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from tegum.core.features.distribution import FeatureDistribution

PCA_ANGLE, PCA_LOSS = 0.05, 0.01
"""The largest angle to a principal subspace, in radians, and the largest part by which the loss may be below that of
the best linear model: up to both a solution is PCA."""


@dataclass(frozen=True)
class State:
    """What a solution is."""

    collapsed: int
    """The number of its collapsed sets."""
    angle: float
    """To the nearest principal subspace, in radians."""
    ratio: float
    """Its loss over that of the best linear model."""

    @property
    def pca(self) -> bool:
        """Whether it passes for PCA."""
        return is_pca(self.angle, self.ratio)

    @property
    def name(self) -> str:
        """The number of its collapsed sets, or "PCA"."""
        return "PCA" if self.pca else str(self.collapsed)


def is_pca(angle: float, ratio: float) -> bool:
    """Whether so large an angle and so large a part of the loss of the best linear model are those of PCA."""
    return angle < PCA_ANGLE and ratio >= 1 - PCA_LOSS


def state_of(weights: Float[np.ndarray, "feature hidden"], loss: float, features: FeatureDistribution) -> State:
    """What a solution of a loss is."""
    from tegum.analysis.linear.pca import angle_to_pca, linear_optimum
    from tegum.analysis.sets.collapse import collapsed_count

    linear = linear_optimum(features, weights.shape[1]).loss
    return State(int(collapsed_count(weights, features)), float(angle_to_pca(weights, features)), loss / linear)
