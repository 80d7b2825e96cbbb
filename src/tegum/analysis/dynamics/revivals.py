"""Outputs that are dead, and come back to life: drops of the loss that no dimensionality shows.

An output x̂_i = ReLU(W_i·Wx + b_i) is dead while it is constantly 0: nothing that the features do moves it, and no
gradient reaches its bias through it. When it comes back, its constant part alone lowers the loss, by up to E[x_i]²
for a feature that is not represented; its dimensionality stays where it is. Counted with jumps, such a drop would
be one without an event.

Times are in optimiser steps; dimensionality has no unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from jaxtyping import Bool

from tegum.analysis.dynamics.levels import FEWEST, HEIGHT, LONGEST, REST
from tegum.analysis.dynamics.windows import arranged, intervals, labels
from tegum.analysis.geometry.measures import dimensionality
from tegum.core.arguments import refusing

if TYPE_CHECKING:
    import xarray as xr

    from tegum.core.features.distribution import FeatureDistribution

FAR = 4.0
"""An output is dead where so many standard deviations above its mean it still does not come above 0."""

SETTLED = 0.9
"""A revival is over when so much of what the bias rises is done."""


@final
@dataclass(frozen=True)
class Revival:
    """One output that was dead and lives, for at least the time of a plateau each."""

    seed: int
    feature: int
    start: int
    """The last step at which it is dead."""
    end: int
    """The step at which its bias has done most of its rise."""
    before: float
    """The feature's dimensionality at the start."""
    after: float
    """And at the end."""

    @property
    def visible(self) -> bool:
        """Whether the dimensionality changes by as much as in a jump."""
        return abs(self.after - self.before) >= HEIGHT


@refusing
def dead_outputs(
    weights: xr.DataArray, bias: xr.DataArray, features: FeatureDistribution
) -> Bool[np.ndarray, "seed step feature"]:
    """Which outputs of a ReLU model are constantly 0.

    z_i = Σ_j (W Wᵀ)_ij x_j + b_i is never above 0 if b_i plus all positive couplings is not, since 0 ≤ x ≤ 1. With many
    features that bound is never met: an output counts as dead as well where the mean of z_i plus `FAR` times its
    standard deviation is not above 0, and no one feature alone brings it there: b_i + max_j (W Wᵀ)_ij ≤ 0. (At a low
    density most of the mean is made by inputs that are 0, and one active feature is many standard deviations away.)

    Args:
        weights: dims (seed, step, feature, hidden).
        bias: dims (seed, step, feature).
        features: with values in [0, 1].

    Raises:
        ValueError: the dims are others, or the features are not as many.

    """
    values, _ = arranged(weights, ("seed", "step", "feature", "hidden"), "dead_outputs(weights)")
    offset, _ = arranged(bias, ("seed", "step", "feature"), "dead_outputs(bias)")
    if features.n != values.shape[2]:
        raise ValueError(f"dead_outputs(features of n={features.n}): the weights have {values.shape[2]} features")
    mean = np.asarray(features.first_moment())
    covariance = np.asarray(features.second_moment()) - np.outer(mean, mean)
    dead = np.empty(offset.shape, bool)
    # Run by run: the couplings of all snapshots at once would fill the memory.
    for row, (W, b) in enumerate(zip(values, offset, strict=True)):
        back = W.transpose(0, 2, 1)
        couplings = np.maximum(W @ back, 0)
        most, alone = b + couplings.sum(-1), b + couplings.max(-1, initial=0.0)
        spread = np.sqrt(np.maximum((W @ (back @ covariance @ W) * W).sum(-1), 0))
        middle = b + (W @ (back @ mean)[..., None])[..., 0]
        dead[row] = np.minimum(most, np.maximum(alone, middle + FAR * spread)) <= 0
    return dead


@refusing
def find_revivals(
    weights: xr.DataArray,
    bias: xr.DataArray,
    features: FeatureDistribution,
    *,
    rest: int = REST,
    longest: int = LONGEST,
) -> list[Revival]:
    """All revivals of all runs, ordered by seed, start and feature.

    Args:
        weights: dims (seed, step, feature, hidden), recorded at evenly spaced steps.
        bias: dims (seed, step, feature).
        features: with values in [0, 1].
        rest: how long an output must be dead, and then alive, in steps.
        longest: the time in which the bias is followed, in steps.

    Raises:
        ValueError: as `dead_outputs`, or a number is not positive.

    """
    for name, value in (("rest", rest), ("longest", longest)):
        if not value > 0:
            raise ValueError(f"find_revivals({name}={value!r}): {name} must be above 0")
    dead = dead_outputs(weights, bias, features)
    offset, step = arranged(bias, ("seed", "step", "feature"), "find_revivals(bias)")
    width = max(FEWEST, intervals(rest, step) + 1)
    if len(step) < 2 * width:
        return []
    windows = np.lib.stride_tricks.sliding_window_view(dead, width, axis=1)
    # Position t: dead in the `width` snapshots that end at t, alive in as many after it.
    turns = windows[:, :-width].all(-1) & ~windows[:, width:].any(-1)
    found = []
    for row, place, feature in zip(*np.nonzero(turns), strict=True):
        at = int(place) + width - 1
        path = offset[row, at : at + intervals(longest, step) + 1, feature]
        rise = path - path[0]
        length = max(1, int(np.argmax(rise >= SETTLED * rise[-1]))) if rise[-1] > 0 else 1
        sizes = dimensionality(weights.isel(seed=row, step=[at, at + length]).transpose("step", "feature", "hidden"))
        before, after = sizes.values[:, feature].tolist()
        seed, name = labels(weights, "seed")[row], labels(weights, "feature")[feature]
        found.append(Revival(int(seed), int(name), int(step[at]), int(step[at + length]), before, after))
    return sorted(found, key=lambda revival: (revival.seed, revival.start, revival.feature))
