"""Outputs that are dead and come back to life: drops of the loss that no dimensionality shows.

An output x̂_i = ReLU(W_i·Wx + b_i) is dead while it is constantly 0: no input changes it, and no gradient reaches
its bias through it. When it comes back, its constant part alone lowers the loss, by up to E[x_i]² for a feature that
is not represented, while its dimensionality stays where it is. Counted together with jumps, such a drop would be one
without an event.

Times are in optimiser steps.
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
"""An output is dead if it is not positive even this many standard deviations above its mean."""

SETTLED = 0.9
"""A revival is over when this fraction of the bias's rise is done."""


@final
@dataclass(frozen=True)
class Revival:
    """An output that was dead and then alive, each for at least the length of a plateau."""

    seed: int
    """The seed of the run."""
    feature: int
    """The label of the feature."""
    start: int
    """The last step at which the output is dead."""
    end: int
    """The step at which its bias has done most of its rise."""
    before: float
    """The feature's dimensionality at the start."""
    after: float
    """The feature's dimensionality at the end."""

    @property
    def visible(self) -> bool:
        """Whether the dimensionality changes by as much as in a jump."""
        return abs(self.after - self.before) >= HEIGHT


@refusing
def dead_outputs(
    weights: xr.DataArray, bias: xr.DataArray, features: FeatureDistribution
) -> Bool[np.ndarray, "seed step feature"]:
    """Find which outputs of a ReLU model are constantly 0.

    Since 0 ≤ x ≤ 1, the pre-activation z_i = Σ_j (W Wᵀ)_ij x_j + b_i is never positive if b_i plus all positive
    couplings is not (each times the feature's largest value, where that is not 1). With many features that bound is
    never met. An output therefore also counts as dead if the mean of z_i plus `FAR` times its standard deviation is
    not positive, and no single feature makes it so: b_i + max_j (W Wᵀ)_ij ≤ 0. (At low density most of the mean comes
    from inputs that are 0, and one active feature is many standard deviations away.)

    Args:
        weights: W at every snapshot, dims (seed, step, feature, hidden).
        bias: b at every snapshot, dims (seed, step, feature).
        features: the feature distribution, with values that have a bound.

    Returns:
        Booleans, shape (seed, step, feature).

    Raises:
        ValueError: the dims are others, the numbers of features differ, or a feature has no largest value.

    Example:
        With W = 0 an output is dead exactly if its bias is not positive.

        >>> import tegum as tg
        >>> import numpy as np
        >>> import xarray as xr
        >>> coords = {"seed": [0], "step": [0], "feature": [0, 1]}
        >>> weights = xr.DataArray(np.zeros((1, 1, 2, 1)), coords, ("seed", "step", "feature", "hidden"))
        >>> bias = xr.DataArray([[[-0.1, 0.1]]], coords, ("seed", "step", "feature"))
        >>> tg.dead_outputs(weights, bias, tg.FeatureDistribution([tg.Independent(2, 0.1)])).tolist()
        [[[True, False]]]

    """
    return _dead("dead_outputs", weights, bias, features)


def _dead(
    call: str, weights: xr.DataArray, bias: xr.DataArray, features: FeatureDistribution
) -> Bool[np.ndarray, "seed step feature"]:
    """As `dead_outputs`, with errors that name `call`."""
    values, _ = arranged(weights, ("seed", "step", "feature", "hidden"), f"{call}(weights)")
    offset, _ = arranged(bias, ("seed", "step", "feature"), f"{call}(bias)")
    if features.n != values.shape[2]:
        raise ValueError(f"{call}(features of n={features.n}): the weights have {values.shape[2]} features")
    largest = np.concatenate([np.full(each.features, each.largest) for each in features.sets])
    if not np.isfinite(largest).all():
        odd = features.sets[features.set_of_feature[int(np.argmax(largest))]]
        raise ValueError(
            f"{call}(features=[…, {odd!r}, …]): features must have a largest value, without which hardly any "
            "output is constantly 0"
        )
    mean = np.asarray(features.first_moment())
    covariance = features.covariance()
    dead = np.empty(offset.shape, bool)
    # Run by run, as the couplings of all snapshots at once would not fit in memory.
    for row, (W, b) in enumerate(zip(values, offset, strict=True)):
        back = W.transpose(0, 2, 1)
        couplings = np.maximum(W @ back, 0) * largest
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
    """Find every output that was dead and comes back to life, in every run.

    Args:
        weights: W at every snapshot, dims (seed, step, feature, hidden), at evenly spaced steps.
        bias: b at every snapshot, dims (seed, step, feature).
        features: the feature distribution, with values that have a bound.
        rest: how long an output must be dead, and then alive, in steps.
        longest: how long its bias is followed afterwards, in steps.

    Returns:
        The revivals, ordered by seed, start and feature.

    Raises:
        ValueError: as for `dead_outputs`, or a number is not positive.

    Example:
        The bias of a model without weights becomes positive at step 5,000.

        >>> import tegum as tg
        >>> import numpy as np
        >>> import xarray as xr
        >>> step = np.arange(0, 10_001, 100)
        >>> coords = {"seed": [0], "step": step, "feature": [0]}
        >>> bias = xr.DataArray(np.where(step < 5_000, -0.1, 0.1)[None, :, None], coords, ("seed", "step", "feature"))
        >>> weights = xr.zeros_like(bias).expand_dims("hidden", -1)
        >>> found = tg.find_revivals(weights, bias, tg.FeatureDistribution([tg.Independent(1, 0.1)]))
        >>> [(revival.start, revival.end, revival.visible) for revival in found]
        [(4900, 5000, False)]

    """
    for name, value in (("rest", rest), ("longest", longest)):
        if not value > 0:
            raise ValueError(f"find_revivals({name}={value!r}): {name} must be above 0")
    dead = _dead("find_revivals", weights, bias, features)
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
