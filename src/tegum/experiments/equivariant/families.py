"""What a solution keeps of a feature in many rotations, for one family of orientations and for two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float

from tegum.analysis.geometry.fourier import (
    ALIKE,
    equivariance_defect,
    kept_rotations,
    mode_power,
    mode_variances,
    multiplicities,
)
from tegum.analysis.linear.pca import angle_to_pca, linear_optimum
from tegum.analysis.linear.subspaces import principal_angles
from tegum.core.features.distribution import FeatureDistribution
from tegum.core.features.sets import Equivariant
from tegum.solutions.naming import is_pca
from tegum.solutions.solution import Solution

ONE_MODE_FROM = 0.99
"""A Fourier mode with at least this share of |W|² counts as the only one."""

DROPPED_BELOW = 0.05
"""One of two families counts as dropped if its share of |W|² is below this."""

COUNTED_SINGULAR_VALUES_FROM = 0.2
"""A singular value of a family counts towards its dimensions from this fraction of the largest."""

OWN_ANGLES_ABOVE, SHARED_ANGLES_BELOW = 1.2, 0.3
"""Principal angles between the hidden dimensions of two families, in radians: if all are above the first, each family
has dimensions of its own; if all are below the second, the two share theirs."""


@final
@dataclass(frozen=True, eq=False)
class FamilyState:
    """What a solution keeps of one family."""

    power: Float[np.ndarray, " frequency"]
    """The share of |W|² in each Fourier mode."""
    defect: float
    """The distance of W from equivariance (`tegum.equivariance_defect`)."""
    kept: int
    """The number of rotations that leave the Gram matrix unchanged."""
    shortest: float
    """The length of the shortest embedding, relative to the longest."""
    angle: float
    """The angle to the nearest principal subspace, in radians."""
    ratio: float
    """The loss, relative to that of the best linear model."""

    @property
    def name(self) -> str:
        """The kind of solution: "PCA", "regular" (all orientations are treated alike), or "uneven"."""
        if is_pca(self.angle, self.ratio):
            return "PCA"
        return "regular" if self.defect < ALIKE else "uneven"

    @property
    def polygon(self) -> bool:
        """Whether it is a regular polygon of all orientations: one frequency, which takes two dimensions."""
        frequency = int(self.power.argmax())
        two = frequency > 0 and 2 * frequency < self.size
        return two and bool(self.power[frequency] >= ONE_MODE_FROM) and self.defect < ALIKE

    size: int = 0
    """The number of orientations."""


@final
@dataclass(frozen=True, eq=False)
class TwoFamilies:
    """What a solution keeps of two families."""

    share: float
    """The smaller family's share of |W|²."""
    angles: Float[np.ndarray, " angle"]
    """Principal angles between the hidden dimensions of the two families, in radians."""
    families: tuple[FamilyState, FamilyState]
    """The state of each family by itself; `angle` and `ratio` are those of both together."""

    @property
    def name(self) -> str:
        """The kind of solution: "one dropped", "own dimensions", "shared dimensions" or "partly shared"."""
        if self.share < DROPPED_BELOW:
            return "one dropped"
        if (self.angles > OWN_ANGLES_ABOVE).all():
            return "own dimensions"
        return "shared dimensions" if (self.angles < SHARED_ANGLES_BELOW).all() else "partly shared"

    @property
    def pca(self) -> bool:
        """Whether the solution is PCA of both families together."""
        return is_pca(self.families[0].angle, self.families[0].ratio)

    @property
    def polygons(self) -> bool:
        """Whether each family is a regular polygon in dimensions of its own."""
        return self.name == "own dimensions" and all(each.polygon for each in self.families)


def rotating(size: int, density: float, width: float, families: int = 1) -> FeatureDistribution:
    """Independent families of `size` orientations each."""
    return FeatureDistribution([Equivariant(size, float(density), float(width))] * families)


def leading_modes(size: int, density: float, width: float, hidden: int) -> Float[np.ndarray, " frequency"]:
    """The shares of |W|² in a principal subspace, whose dimensions go by falling variance and are equally long."""
    left, share = hidden, np.zeros(size // 2 + 1)
    dimensions = multiplicities(size)
    for frequency in np.argsort(-mode_variances(size, density, width)[1]).tolist():
        share[frequency] = min(left, int(dimensions[frequency]))
        left -= int(share[frequency])
    return share / share.sum()


def state_of(solution: Solution, features: FeatureDistribution, rows: slice = slice(None)) -> FamilyState:
    """The state of all rows of a solution, or of one family's rows."""
    weights = solution.weights[rows]
    norms = np.linalg.norm(weights, axis=1)
    return FamilyState(
        power=mode_power(weights),
        defect=float(equivariance_defect(weights)),
        kept=int(kept_rotations(weights)),
        shortest=float(norms.min() / norms.max()) if norms.max() > 0 else 0.0,
        angle=float(angle_to_pca(solution.weights, features)),
        ratio=solution.loss / linear_optimum(features, weights.shape[1]).loss,
        size=len(weights),
    )


def together_of(solution: Solution, features: FeatureDistribution) -> TwoFamilies:
    """How two rotating features share the hidden space of a solution."""
    size = features.n // 2
    one, other = solution.weights[:size], solution.weights[size:]
    parts = [float(np.square(each).sum()) for each in (one, other)]
    # Row spaces: the hidden dimensions that each family takes.
    angles = principal_angles(one.T, other.T, COUNTED_SINGULAR_VALUES_FROM)
    first, second = (state_of(solution, features, rows) for rows in (slice(size), slice(size, None)))
    return TwoFamilies(min(parts) / sum(parts), angles[np.isfinite(angles)], (first, second))
